"""``watched``: what ``fit`` measured, as layers, beside what the tape's hooks see of the same steps."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from chainrule import fit, nn, optim, tensor
from chainrule.health import watched
from chainrule.health.watching import watch

MEASURED = ("fan_in", "width", "h_rms", "delta_rms", "weight_norm", "gradient_norm", "saturated", "bare")
ABSENT = ("z_mean", "z_std", "duplicates", "spread", "weight_std")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def small(activation=nn.Tanh):
    return nn.Sequential(
        nn.Linear(64, 24, rng=0),
        nn.BatchNorm1d(24),
        activation(),
        nn.Residual(nn.Sequential(nn.Linear(24, 24, rng=1), nn.Sigmoid())),
        nn.Linear(24, 10, rng=2),
    )


def deep(activation, depth=8):
    layers = [part for k in range(depth) for part in (nn.Linear(64, 64, rng=k), activation())]
    return nn.Sequential(*layers, nn.Linear(64, 10, rng=99))


def trained(net, data, every=8, **how):
    settings = {"epochs": 3, "optimizer": optim.Adam(lr=1e-3), "verbose": 0, **how}
    return fit(net, *data, loss=nn.CrossEntropyLoss(), telemetry_every=every, **settings)


def by_hooks(net, data, n_steps, batch_size, rate):
    """The same steps of plain gradient descent on the tape, all of them looked at."""
    X, y = data
    optimizer = optim.SGD(net.parameters(), lr=rate)
    with watch(net, optimizer, every=1) as w:
        for k in range(n_steps):
            rows = slice(k * batch_size, (k + 1) * batch_size)
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(net(tensor(X[rows])), y[rows])
            loss.backward()
            optimizer.step()
    return w.report()


@pytest.mark.parametrize("executor", ["engine", "reference"])
def test_the_numbers_are_those_that_hooks_measure(digits, executor):
    data = digits[0][:80], digits[1][:80]  # batches of 32, 32 and 16
    hooks = by_hooks(small(), data, 3, 32, rate=0.1)
    net = small()
    history = trained(
        net, data, every=1, epochs=1, optimizer=optim.SGD(lr=0.1), shuffle=False, executor=executor
    )
    report = watched(history, net)
    assert [one.step for one in report.snapshots] == [one.step for one in hooks.snapshots] == [1, 2, 3]
    for ours, theirs in zip(report.snapshots, hooks.snapshots, strict=True):
        assert ours.n_rows == theirs.n_rows
        assert [one.name for one in ours.layers] == [one.name for one in theirs.layers]
        assert [one.activation for one in ours.layers] == ["tanh", "sigmoid", None]
        for layer, other in zip(ours.layers, theirs.layers, strict=True):
            assert layer.activation == other.activation
            for name in MEASURED:
                np.testing.assert_allclose(
                    getattr(layer, name), getattr(other, name), rtol=2e-4, err_msg=name
                )
            assert all(np.isnan(getattr(layer, name)) for name in ABSENT)
    for name, steps in hooks.update_ratios.items():
        if name != "0.bias":  # its gradient is 0 before batch normalisation, but for rounding
            np.testing.assert_allclose(report.update_ratios[name], steps, rtol=2e-3, err_msg=name)


def test_a_vanishing_error_signal_is_found(digits):
    net = deep(nn.Sigmoid)
    report = watched(trained(net, digits), net)
    assert not report.ok
    assert [one.code for one in report.findings if one.critical] == ["vanishing"]
    assert report.findings[0].where == "0"
    assert report.findings[0].measured > 1e3
    assert "‖δ‖ is" in str(report)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_a_healthy_training_is_silent(digits, activation):
    net = nn.Sequential(nn.Linear(64, 64, rng=0), activation(), nn.Linear(64, 10, rng=1))
    report = watched(trained(net, digits), net)
    assert report.ok
    assert report.findings == []
    assert report.notes
    assert report.n_steps == 3 * 57


def test_a_layer_that_is_dead_as_a_whole_is_found(digits):
    net = deep(nn.ReLU, depth=2)
    net[0].bias = np.full(64, -100.0)
    report = watched(trained(net, digits), net)
    assert [one.code for one in report.findings if one.critical] == ["dead_relu"]
    assert report.snapshots[-1].layers[0].dead == 1.0
    assert np.isnan(report.snapshots[-1].layers[1].dead)


def test_the_first_thing_that_is_not_finite_is_named(digits):
    net = deep(nn.ReLU, depth=2)
    report = watched(trained(net, digits, every=1, optimizer=optim.SGD(lr=1e30), epochs=2), net)
    assert report.findings[0].code == "non_finite"
    assert report.findings[0].critical
    assert "everything was finite" in report.findings[0].detail


def test_of_a_module_that_the_tape_runs_only_the_weights_are_known(digits):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(64, 16, rng=0), nn.Linear(16, 10, rng=1)

        def forward(self, x):
            return self.last(self.first(x).tanh())

    net = Own()
    history = trained(net, digits, every=32, epochs=1)
    report = watched(history, net)
    assert history.executor == "tape"
    assert "own forward" in report.notes[0]
    assert [one.name for one in report.snapshots[0].layers] == ["first", "last"]
    assert np.isnan(report.snapshots[0].layers[0].h_rms)
    assert report.snapshots[0].layers[0].weight_norm > 0
    assert report.ok


def test_errors_name_the_argument(digits):
    net = small()
    history = trained(net, digits, epochs=1)
    with pytest.raises(TypeError, match="history must be what chainrule.fit gave back; got list"):
        watched([], net)
    with pytest.raises(TypeError, match="module must be a module of chainrule.nn; got str"):
        watched(history, "net")
    with pytest.raises(
        ValueError, match="batch_size must be that of the training, 1797 rows in 57 steps; got 64"
    ):
        watched(history, net, batch_size=64)
    with pytest.raises(ValueError, match="module must be the one that was trained, with 8 parameter arrays"):
        watched(history, nn.Sequential(nn.Linear(64, 10, rng=0)))
    with pytest.raises(ValueError, match="history must hold telemetry of every epoch"):
        watched(trained(net, digits, every=0, epochs=1), net)
