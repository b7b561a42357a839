"""Update rules against their formulas and scikit-learn; each in its two forms."""

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from tests.optim.problems import N, gradients, start

from chainrule.optim import OPTIMIZERS, RULES, RULES_OF_THREE, SGD, Adam, AdamW, RMSprop


def run(optimizer, w, table, rates=None):
    """All steps by the array rule; returns the parameters after each."""
    w, state, after = w.copy(), np.zeros((optimizer.rule.n_states, len(w))), []
    rates = np.full(len(table), optimizer.lr) if rates is None else rates
    coefficients = optimizer.coefficients(rates, 0)
    assert coefficients.shape == (len(table), 8)
    for row, g in zip(coefficients, table, strict=True):
        before = g.copy()
        optimizer.rule.update(w, state, g, row)
        np.testing.assert_array_equal(g, before)
        after.append(w.copy())
    return np.array(after)


VARIANTS = {
    "sgd": SGD(lr=0.1),
    "momentum": SGD(lr=0.1, momentum=0.9),
    "dampening": SGD(lr=0.1, momentum=0.9, dampening=0.3),
    "nesterov": SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "upwards": SGD(lr=0.1, momentum=0.9, weight_decay=0.01, maximize=True),
    "decoupled": SGD(lr=0.1, momentum=0.9, decoupled_weight_decay=0.3),
    "rate in velocity": SGD(lr=0.1, momentum=0.9, nesterov=True, rate_in_velocity=True),
    "adam": Adam(lr=0.1),
    "adam, decay": Adam(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    "epsilon hat": Adam(lr=0.1, epsilon_hat=True),
    "adamw": AdamW(lr=0.1),
    "amsgrad": Adam(lr=0.1, amsgrad=True),
    "rmsprop": RMSprop(lr=0.1, weight_decay=0.01),
    "rmsprop, momentum": RMSprop(lr=0.1, alpha=0.9, momentum=0.9),
    "centered": RMSprop(lr=0.1, eps=1e-3, centered=True, maximize=True),
    "centered, momentum": RMSprop(lr=0.1, eps=1e-3, centered=True, momentum=0.9),
}
COMPILED = [name for name, one in VARIANTS.items() if one.rule.scalar_update is not None]


@pytest.mark.parametrize("name", COMPILED)
def test_scalar_update_equals_update(name):
    optimizer = VARIANTS[name]
    table, w, state = gradients(), start(), np.zeros((2, N))
    numbers = [(one, 0.0, 0.0) for one in w.tolist()]
    for row, g in zip(optimizer.coefficients(np.linspace(0.1, 0.01, 50), 0), table, strict=True):
        optimizer.rule.update(w, state, g, row)
        numbers = [
            optimizer.rule.scalar_update(*one, slope, tuple(row))
            for one, slope in zip(numbers, g.tolist(), strict=True)
        ]
        np.testing.assert_allclose(np.array(numbers).T, np.array([w, *state]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", VARIANTS)
def test_updates_keep_single_precision(name):
    optimizer = VARIANTS[name]
    w, state = start().astype(np.float32), np.zeros((optimizer.rule.n_states, N), np.float32)
    row = optimizer.coefficients(np.array([0.1]), 0)[0].astype(np.float32)
    optimizer.rule.update(w, state, gradients()[0].astype(np.float32), row)
    assert w.dtype == state.dtype == np.float32
    assert np.isfinite(w).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_shape_of_the_arrays_does_not_matter(name):
    """Nor whether the state is one array or several, nor how they lie in memory."""
    optimizer, g = VARIANTS[name], gradients()[0]
    row = optimizer.coefficients(np.array([0.1]), 0)[0]
    w = start()
    optimizer.rule.update(w, np.zeros((optimizer.rule.n_states, N)), g, row)
    matrix = np.asfortranarray(start().reshape(5, 6))
    state = [np.zeros((5, 6), order=order) for order in "CFC"[: optimizer.rule.n_states]]
    optimizer.rule.update(matrix, state, g.reshape(5, 6), row)
    np.testing.assert_array_equal(matrix.ravel(), w)
    number = np.array(start()[4])
    optimizer.rule.update(number, [np.zeros(()) for _ in state], np.array(g[4]), row)
    np.testing.assert_array_equal(number, w[4])


def test_every_rule_has_a_variant():
    rules = RULES | RULES_OF_THREE
    assert {optimizer.rule.name for optimizer in VARIANTS.values()} == set(rules)
    assert {type(optimizer) for optimizer in VARIANTS.values()} == set(OPTIMIZERS.values())
    assert all(rule.name == name and rule.formula and rule.source for name, rule in rules.items())
    assert {rule.n_states for rule in RULES.values()} == {2}
    assert {(rule.n_states, rule.scalar_update) for rule in RULES_OF_THREE.values()} == {(3, None)}


def test_first_steps_by_hand():
    w, g = np.array([1.0]), np.array([[0.5], [0.5]])
    np.testing.assert_allclose(run(SGD(lr=0.1), w, g).ravel(), [0.95, 0.9])
    after = run(SGD(lr=0.1, momentum=0.9), w, g).ravel()
    np.testing.assert_allclose(after, [0.95, 0.95 - 0.1 * (0.45 + 0.5)])
    # Dampening spares the first step: v = 0.5, then 0.9 · 0.5 + 0.6 · 0.5.
    after = run(SGD(lr=0.1, momentum=0.9, dampening=0.4), w, g).ravel()
    np.testing.assert_allclose(after, [0.95, 0.95 - 0.1 * 0.75])
    # Nesterov: v = 0.5, then w − η (μ v + g)
    after = run(SGD(lr=0.1, momentum=0.9, nesterov=True), w, g)
    np.testing.assert_allclose(after[0], 1 - 0.1 * (0.45 + 0.5))
    # Adam's first step has the length η whatever the gradient: m̂ = g, v̂ = g².
    np.testing.assert_allclose(run(Adam(lr=0.1), w, g)[0], 0.9, atol=1e-8)
    np.testing.assert_allclose(run(Adam(lr=0.1, maximize=True), w, g)[0], 1.1, atol=1e-8)
    np.testing.assert_allclose(run(SGD(lr=0.1, weight_decay=0.2), w, g)[0], 1 - 0.1 * (0.5 + 0.2))
    np.testing.assert_allclose(run(SGD(lr=0.1, decoupled_weight_decay=0.2), w, 0 * g)[0], 1 - 0.1 * 0.2)
    # Upwards, decay still pulls towards zero.
    np.testing.assert_allclose(
        run(SGD(lr=0.1, weight_decay=0.2, maximize=True), w, g)[0], 1 + 0.1 * (0.5 - 0.2)
    )
    # RMSprop: s = 0.19 · 0.25, so that the step is 0.5 / √s = 1 / √0.19; centered, the variance is
    # (0.19 − 0.19²) · 0.25.
    np.testing.assert_allclose(run(RMSprop(lr=0.1, alpha=0.81, eps=0), w, g)[0], 1 - 0.1 / 0.19**0.5)
    after = run(RMSprop(lr=0.1, alpha=0.81, eps=0, centered=True), w, g)[0]
    np.testing.assert_allclose(after, 1 - 0.1 / (0.19 * 0.81) ** 0.5)


def test_amsgrad_never_forgets_a_large_gradient():
    g = np.array([[10.0]] + [[0.1]] * 200)
    plain, never = (
        run(Adam(lr=0.1, betas=(0.0, 0.5), amsgrad=amsgrad), np.zeros(1), g) for amsgrad in (False, True)
    )
    assert abs(plain[-1] - plain[-2])[0] == pytest.approx(0.1, rel=1e-3)
    # √(0.5 · 10²), without bias correction by now
    assert abs(never[-1] - never[-2])[0] == pytest.approx(0.1 * 0.1 / 50**0.5, rel=1e-3)


def test_a_variance_that_rounding_makes_negative_counts_as_none():
    for rule, zeros in (("rmsprop_centered", []), ("rmsprop_centered_momentum", [0.0])):
        state = [np.array([value]) for value in (*zeros, 1.0, 1.0 - 1e-15)]
        w = np.array([0.0])
        # α = 1: mean and square stay as they are, and the step is g / ε.
        (RULES | RULES_OF_THREE)[rule].update(w, state, np.array([2.0]), np.array([0, 0, 0, 1, 1, 0, 1, 0.5]))
        assert w == -4.0
    found = RULES["rmsprop_centered"].scalar_update(0.0, 1.0, 1.0 - 1e-15, 2.0, (0, 0, 0, 1, 1, 0, 1, 0.5))
    assert found == (-4.0, 1.0, 1.0 - 1e-15)


@pytest.mark.parametrize("name", VARIANTS)
def test_coefficients_count_the_steps_taken(name):
    optimizer, rates = VARIANTS[name], np.linspace(0.1, 0.2, 10)
    whole = optimizer.coefficients(rates, 5)
    np.testing.assert_array_equal(
        np.vstack([optimizer.coefficients(rates[:4], 5), optimizer.coefficients(rates[4:], 9)]), whole
    )
    np.testing.assert_array_equal(whole, optimizer.coefficients(rates, 5))  # the object keeps no state


# -- scikit-learn ----------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_scikit_learn_sgd(nesterov):
    """Its velocity holds the rate: v ← μ v − η g. The rate changes here, so the form matters."""
    w = start()
    theirs = SGDOptimizer([w], 0.1, "invscaling", momentum=0.9, nesterov=nesterov, power_t=0.5)
    rates = 0.1 / (np.arange(50) + 1.0) ** 0.5
    expected = []
    for rate, g in zip(rates, gradients(), strict=True):
        theirs.learning_rate = rate
        theirs.update_params([w], [g])
        expected.append(w.copy())
    ours = SGD(lr=0.1, momentum=0.9, nesterov=nesterov, rate_in_velocity=True)
    np.testing.assert_allclose(run(ours, start(), gradients(), rates), expected, rtol=1e-12, atol=1e-12)
    outside = SGD(lr=0.1, momentum=0.9, nesterov=nesterov)
    assert np.abs(run(outside, start(), gradients(), rates) - expected).max() > 1e-3


def test_scikit_learn_adam():
    w = start()
    theirs = AdamOptimizer([w], 0.1, 0.8, 0.95, 1e-4)
    expected = []
    for g in gradients():
        theirs.update_params([w], [g])
        expected.append(w.copy())
    settings = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4}
    found = run(Adam(**settings, epsilon_hat=True), start(), gradients())
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert np.abs(run(Adam(**settings), start(), gradients()) - expected).max() > 1e-6
