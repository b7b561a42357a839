"""Each fault changes what it says, and nothing else."""

import numpy as np
import pytest

from chainrule import nn
from chainrule.health.suite import faults
from chainrule.health.suite.data import load
from chainrule.health.suite.twins import Twin
from chainrule.health.trainings import run
from chainrule.optim import SGD
from chainrule.tape import Tensor

FIELDS = ("module", "X", "y", "loss", "optimizer", "batch_size", "epochs", "validation", "options", "step")


@pytest.fixture
def twin():
    return Twin("iris", (6, 5), optimizer=SGD(lr=0.1, momentum=0.5), batch_size=10, epochs=2)(0)


def changed(edited, twin):
    return {name for name in FIELDS if getattr(edited, name) is not getattr(twin, name)}


def weights(training):
    return [layer.weight.data for layer in faults.linear_layers(training.module)]


def biases(training):
    return [layer.bias.data for layer in faults.linear_layers(training.module)]


def assert_all_equal(arrays, expected):
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, other)


# --------------------------------------------------------------------------------------------------- starts


def test_constant_weights(twin):
    edited = faults.constant_weights(0.25)(twin)
    assert changed(edited, twin) == {"module"}
    assert all((array == 0.25).all() for array in weights(edited))
    assert not any(array.any() for array in biases(edited))


def test_scaled_weights(twin):
    edited = faults.scaled_weights(10)(twin)
    assert changed(edited, twin) == {"module"}
    assert_all_equal(weights(edited), [array * 10 for array in weights(twin)])
    assert_all_equal(biases(edited), biases(twin))


def test_scaled_hidden_weights(twin):
    edited = faults.scaled_hidden_weights(10)(twin)
    assert_all_equal(weights(edited)[:-1], [array * 10 for array in weights(twin)[:-1]])
    np.testing.assert_array_equal(weights(edited)[-1], weights(twin)[-1])


def test_scaled_output(twin):
    edited = faults.scaled_output(100)(twin)
    assert_all_equal(weights(edited)[:-1], weights(twin)[:-1])
    np.testing.assert_array_equal(weights(edited)[-1], weights(twin)[-1] * 100)


def test_hidden_biases(twin):
    edited = faults.hidden_biases(-10.0, share=0.5)(twin)
    first, second, last = biases(edited)
    np.testing.assert_array_equal(first, [-10] * 3 + [0] * 3)
    np.testing.assert_array_equal(second, [-10] * 2 + [0] * 3)
    np.testing.assert_array_equal(last, biases(twin)[-1])
    assert_all_equal(weights(edited), weights(twin))


# --------------------------------------------------------------------------------------------- architecture


def test_activations(twin):
    edited = faults.activations("sigmoid")(twin)
    assert changed(edited, twin) == {"module"}
    kinds = [type(one) for one in edited.module]
    assert kinds == [nn.Linear, nn.Sigmoid, nn.Linear, nn.Sigmoid, nn.Linear]
    assert_all_equal(weights(edited), weights(twin))


def test_sigmoids_have_their_own_start(twin):
    edited = faults.sigmoids()(twin)
    assert type(edited.module[1]) is nn.Sigmoid
    assert np.abs(weights(edited)[0]).max() <= np.sqrt(6 / (4 + 6))


def test_deeper(twin):
    edited = faults.deeper(3, "tanh")(twin)
    assert len(faults.linear_layers(edited.module)) == 6
    np.testing.assert_array_equal(weights(edited)[0], weights(twin)[0])
    np.testing.assert_array_equal(weights(edited)[-1], weights(twin)[-1])


def test_without_normalization_and_shortcuts():
    made = Twin("iris", (6, 6, 6), norm=True, residual=True)(0)
    edited = faults.without_normalization(made)
    assert not any(isinstance(one, nn.BatchNorm1d) for one in edited.module.modules())
    assert_all_equal(weights(edited), weights(made))
    edited = faults.without_shortcuts(made)
    assert not any(isinstance(one, nn.Residual) for one in edited.module.modules())
    assert any(isinstance(one, nn.Residual) for one in made.module.modules())
    assert_all_equal(weights(edited), weights(made))


def test_output_activation_and_softmax(twin):
    X = twin.X[:5]
    edited = faults.output_activation("tanh")(twin)
    np.testing.assert_allclose(edited.module(X), np.tanh(twin.module(X)), rtol=1e-5)
    edited = faults.softmax_before_loss(twin)
    np.testing.assert_allclose(edited.module(X).sum(axis=1), 1, rtol=1e-5)
    assert changed(edited, twin) == {"module"}


def test_dropout():
    made = Twin("iris", (6, 6), dropout=0.1)(0)
    edited = faults.dropout(0.95)(made)
    assert [one.p for one in edited.module.modules() if isinstance(one, nn.Dropout)] == [0.95, 0.95]
    assert [one.p for one in made.module.modules() if isinstance(one, nn.Dropout)] == [0.1, 0.1]


def test_head_only(twin):
    edited = faults.head_only(twin)
    trained = [layer.weight.requires_grad for layer in faults.linear_layers(edited.module)]
    assert trained == [False, False, True]
    after = [layer.weight.data for layer in faults.linear_layers(run(edited).module)]
    assert_all_equal(after[:-1], weights(twin)[:-1])
    assert (after[-1] != weights(twin)[-1]).any()


# -------------------------------------------------------------------------------------------- loss and steps


def test_loss_sign(twin):
    edited = faults.loss_sign(twin)
    assert changed(edited, twin) == {"loss"}
    z = Tensor(np.zeros((3, 3), np.float32))
    y = np.array([0, 1, 2])
    assert float(edited.loss(z, y).data) == pytest.approx(-np.log(3))


def test_maximized(twin):
    edited = faults.maximized(twin)
    assert changed(edited, twin) == {"optimizer"}
    assert edited.optimizer.defaults == {**twin.optimizer.defaults, "maximize": True}


def test_gradients_add_up_without_zero_grad(twin):
    edited = faults.not_zeroed(twin)
    assert changed(edited, twin) == {"step"}
    module = twin.module.copy()
    optimizer = SGD(module.parameters(), lr=0.0)
    x, y = Tensor(twin.X[:8]), twin.y[:8]
    edited.step(module, optimizer, x, y)
    once = module[0].weight.grad.data.copy()
    edited.step(module, optimizer, x, y)
    np.testing.assert_allclose(module[0].weight.grad.data, 2 * once, rtol=1e-5)


def test_settings(twin):
    edited = faults.rate_times(100)(twin)
    assert changed(edited, twin) == {"optimizer"}
    assert edited.learning_rate == pytest.approx(10)
    assert edited.optimizer.defaults["momentum"] == 0.5
    assert faults.weight_decay(0.3)(twin).optimizer.defaults["weight_decay"] == 0.3
    edited = faults.option(l2=2.0)(twin)
    assert (changed(edited, twin), edited.options) == ({"options"}, {"l2": 2.0})
    assert faults.longer(7)(twin).epochs == 14
    weighted = twin.altered(options={"class_weight": "balanced", "l2": 0.1})
    assert faults.unweighted(weighted).options == {"l2": 0.1}


# ----------------------------------------------------------------------------------------------------- data


def test_inputs(twin):
    (X, measured), y = load("iris").raw, twin.y
    edited = faults.raw_inputs("iris")(twin)
    assert changed(edited, twin) == {"X", "validation"}
    np.testing.assert_array_equal(edited.X, X)
    np.testing.assert_array_equal(edited.validation[0], measured)
    assert edited.y is y
    for edit, expected in [
        (faults.scaled_inputs(255), twin.X * 255),
        (faults.scaled_column(100), twin.X * np.array([100, 1, 1, 1], np.float32)),
        (faults.offset_inputs(10), twin.X + 10),
    ]:
        np.testing.assert_allclose(edit(twin).X, expected, rtol=1e-6)
        assert edit(twin).X.dtype == np.float32
        assert changed(edit(twin), twin) == {"X", "validation"}


def test_targets(twin):
    made = Twin("plane")(0)
    edited = faults.scaled_targets(10.0, 3.0)(made)
    np.testing.assert_allclose(edited.y, made.y * 10 + 3, rtol=1e-5)
    np.testing.assert_allclose(edited.validation[1], made.validation[1] * 10 + 3, rtol=1e-5)
    assert edited.X is made.X
    edited = faults.shuffled_targets(twin)
    np.testing.assert_array_equal(np.bincount(edited.y), np.bincount(twin.y))
    assert (edited.y != twin.y).mean() > 0.5
    assert changed(edited, twin) == {"y", "validation"}


def test_noise_inputs(twin):
    edited = faults.noise_inputs(twin)
    assert edited.X.shape == twin.X.shape
    assert abs(np.corrcoef(edited.X[:, 0], twin.X[:, 0])[0, 1]) < 0.3


def test_rows(twin):
    edited = faults.few_rows(20)(twin)
    np.testing.assert_array_equal(edited.X, twin.X[:20])
    assert edited.validation is twin.validation
    assert edited.n_steps == twin.n_steps
    edited = faults.rare_class(1, 3)(twin)
    counts = np.bincount(twin.y)
    np.testing.assert_array_equal(np.bincount(edited.y), [counts[0], 3, counts[2]])


def test_cells(twin):
    edited = faults.broken_cells(float("nan"))(twin)
    assert changed(edited, twin) == {"X"}
    assert np.isnan(edited.X).sum() == 3
    assert np.isfinite(twin.X).all()


def test_logarithm():
    made = faults.log_first(faults.raw_inputs("digits_half")(Twin("digits_half")(0)))
    edited = faults.bare_logarithm(made)
    assert np.isfinite(made.module(made.X)).all()
    with np.errstate(all="ignore"):
        assert not np.isfinite(edited.module(edited.X)).all()
