"""Every loss record against SciPy, scikit-learn, central differences and PyTorch."""

import math

import numpy as np
import pytest
from scipy import special
from sklearn import metrics
from tests.strategies import setting_choices, targets_for

from chainrule.functions import LOSSES, get_loss
from chainrule.functions.losses import softmax

every_record = pytest.mark.parametrize("record", LOSSES.values(), ids=LOSSES)
N, D = 40, 4


@pytest.fixture
def z(rng):
    return rng.normal(0.0, 1.5, (N, D))


def one_hot(labels):
    return np.eye(D)[labels]


# -- values ----------------------------------------------------------------------------------------


def test_the_names():
    assert set(LOSSES) == {
        "half_squared_error", "softmax_cross_entropy", "binary_cross_entropy", "absolute_error", "huber",
        "quantile", "poisson",
    }  # fmt: skip
    assert all(record.name == name for name, record in LOSSES.items())


def closed_form(name, z, y, setting):
    """The loss of each example, written with another library's functions."""
    if name == "softmax_cross_entropy":
        y = (1 - setting) * y + setting / D
        return special.rel_entr(y, special.softmax(z, axis=1)).sum(axis=1) + special.entr(y).sum(axis=1)
    if name == "binary_cross_entropy":
        p = special.expit(z)
        return -(special.xlogy(y, p) + special.xlog1py(1 - y, -p)).sum(axis=1)
    per_row = {
        "half_squared_error": lambda t, p: D / 2 * metrics.mean_squared_error(t, p),
        "absolute_error": lambda t, p: D * metrics.mean_absolute_error(t, p),
        "huber": lambda t, p: special.huber(setting, t - p).sum(),
        "quantile": lambda t, p: D * metrics.mean_pinball_loss(t, p, alpha=setting),
        "poisson": lambda t, p: D / 2 * metrics.mean_poisson_deviance(t, np.exp(p)),
    }[name]
    values = np.array([per_row(t, p) for t, p in zip(y, z, strict=True)])
    if name == "poisson" and not setting:
        values = values - (special.xlogy(y, y) - y).sum(axis=1)
    return values


@every_record
def test_value(record, z, rng):
    y = targets_for(record, N, D, rng)
    dense = one_hot(y) if y.ndim == 1 else y
    settings = [0.0, 1.0] if record.name == "poisson" else setting_choices(record)
    for setting in settings:
        expected = closed_form(record.name, z, dense, setting)
        np.testing.assert_allclose(record.value(z, y, setting), expected, rtol=1e-11, atol=1e-12)


def test_against_scikit_learn_means(z, rng):
    labels = rng.integers(0, D, N)
    expected = metrics.log_loss(labels, special.softmax(z, axis=1), labels=range(D))
    assert get_loss("log_loss").value(z, labels).mean() == pytest.approx(expected, rel=1e-12)
    both = rng.integers(0, 2, N)
    expected = metrics.log_loss(both, special.expit(z[:, 0]))
    assert LOSSES["binary_cross_entropy"].value(z[:, :1], both[:, None]).mean() == pytest.approx(
        expected, rel=1e-12
    )


def test_multi_label(z, rng):
    """Several independent yes-or-no questions: the sum of the losses of each."""
    y = rng.integers(0, 2, (N, D)).astype(float)
    record = LOSSES["binary_cross_entropy"]
    singles = [record.value(z[:, [j]], y[:, [j]]) for j in range(D)]
    np.testing.assert_allclose(record.value(z, y), np.sum(singles, axis=0), rtol=1e-13)
    slopes = [record.gradient(z[:, [j]], y[:, [j]]) for j in range(D)]
    np.testing.assert_allclose(record.gradient(z, y), np.hstack(slopes), rtol=1e-13)


def test_two_classes_by_softmax_or_by_sigmoid(rng):
    z, labels = rng.normal(size=(N, 1)), rng.integers(0, 2, N)
    two = LOSSES["softmax_cross_entropy"].value(np.hstack([0 * z, z]), labels)
    np.testing.assert_allclose(LOSSES["binary_cross_entropy"].value(z, labels[:, None]), two, rtol=1e-12)


def test_quantile_minimizer():
    """The constant that minimizes the pinball loss is the quantile."""
    y = np.arange(101.0)[:, None]
    losses = [LOSSES["quantile"].value(np.full_like(y, c), y, 0.8).sum() for c in range(101)]
    assert np.argmin(losses) == 80


# -- gradients -------------------------------------------------------------------------------------


@every_record
def test_gradient(record, z, rng):
    width = 1e-6
    y = targets_for(record, N, D, rng)
    if y.ndim == 2 and record.name in ("absolute_error", "quantile"):
        assert np.abs(z - y).min() > 10 * width
    for setting in setting_choices(record):
        expected = np.empty((N, D))
        for j in range(D):
            step = width * np.eye(D)[j]
            expected[:, j] = (record.value(z + step, y, setting) - record.value(z - step, y, setting)) / (
                2 * width
            )
        np.testing.assert_allclose(record.gradient(z, y, setting), expected, rtol=1e-7, atol=1e-8)


def test_equation_4(z, rng):
    """δ = ŷ − y for each loss with its canonical link."""
    labels = rng.integers(0, D, N)
    for name, y in [
        ("softmax_cross_entropy", one_hot(labels)), ("half_squared_error", rng.normal(size=(N, D))),
        ("binary_cross_entropy", rng.uniform(size=(N, D))),
        ("poisson", rng.poisson(2.0, (N, D)).astype(float)),
    ]:  # fmt: skip
        record = LOSSES[name]
        np.testing.assert_allclose(record.gradient(z, y), record.link(z) - y, rtol=1e-12, atol=1e-14)


def test_gradients_where_there_is_no_derivative():
    """On the kink: 0, from the interval of subgradients."""
    z = np.array([[1.0]])
    for name in ("absolute_error", "quantile"):
        assert LOSSES[name].gradient(z, z) == 0.0
        assert LOSSES[name].element(1.0, 1.0, 0.3) == (0.0, 0.0)
    assert LOSSES["huber"].gradient(np.array([[2.0, -2.0]]), np.zeros((1, 2)), 1.0).tolist() == [[1.0, -1.0]]


# -- the compiled engine's versions ----------------------------------------------------------------


def rows_of(record, z, y, setting):
    """Values and gradients by ``row``, ``class_row`` or ``element``, on Python's numbers."""
    values, slopes = [], np.empty(z.shape)
    for i, row in enumerate(z):
        if y.ndim == 1:
            values.append(record.class_row(row, y[i], slopes[i], setting))
        elif record.row is not None:
            values.append(record.row(row, y[i], slopes[i], setting))
        else:
            pairs = [record.element(a, b, setting) for a, b in zip(row.tolist(), y[i].tolist(), strict=True)]
            values.append(sum(value for value, _ in pairs))
            slopes[i] = [slope for _, slope in pairs]
    return np.array(values), slopes


@every_record
def test_rows_and_elements_equal_arrays(record, z, rng):
    z[0] = 20 * z[0]
    y = targets_for(record, N, D, rng)
    forms = [y, one_hot(y)] if y.ndim == 1 else [y]
    if record.class_row is not None:
        forms.append(rng.dirichlet(np.ones(D), N))
        forms.append(3.0 * rng.uniform(size=(N, D)))  # rows of weights that do not sum to one
    if record.name == "poisson":
        forms.append(rng.poisson(0.5, (N, D)).astype(float))  # zeros, where y log y is 0
    for targets in forms:
        for setting in {*setting_choices(record), *((0.0,) if record.name == "poisson" else ())}:
            values, slopes = rows_of(record, z, targets, setting)
            np.testing.assert_allclose(values, record.value(z, targets, setting), rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(slopes, record.gradient(z, targets, setting), rtol=1e-11, atol=1e-12)


@every_record
def test_either_rows_or_elements(record):
    assert (record.element is None) == (record.row is not None)
    assert record.class_row is None or record.row is not None


def test_class_indices_one_hot_rows_and_soft_targets_are_one_loss(z, rng):
    labels = rng.integers(0, D, N)
    record = LOSSES["softmax_cross_entropy"]
    for smoothing in (0.0, 0.1, 1.0):
        soft = (1 - smoothing) * one_hot(labels) + smoothing / D
        for function in (record.value, record.gradient):
            by_index = function(z, labels, smoothing)
            np.testing.assert_allclose(
                function(z, one_hot(labels), smoothing), by_index, rtol=1e-13, atol=1e-15
            )
            np.testing.assert_allclose(function(z, soft, 0.0), by_index, rtol=1e-12, atol=1e-14)


# -- far out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [r for r in LOSSES.values() if r.name != "poisson"], ids=lambda r: r.name)
def test_stable_for_large_outputs_in_single_precision(record, rng):
    z = np.array([[1e4, -1e4, 0.0, 1.0], [-1e4, -1e4, 1e4, 1e4]], np.float32)
    y = targets_for(record, 2, D, rng)
    targets = [y, *([np.array([1, 0]), one_hot([1, 0]).astype(np.float32)] if y.ndim == 1 else [])]
    for one in targets:
        one = one if one.ndim == 1 else one.astype(np.float32)
        with np.errstate(all="raise", under="ignore"):
            value = record.value(z, one, np.float32(record.setting))
            gradient = record.gradient(z, one, np.float32(record.setting))
        assert value.dtype == gradient.dtype == np.float32
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        values, slopes = rows_of(record, z.astype(np.float64), one, record.setting)
        np.testing.assert_allclose(value, values, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-6)


def test_large_logits_known_values():
    z = np.array([[1e4, -1e4]], np.float32)
    assert LOSSES["softmax_cross_entropy"].value(z, np.array([0])) == 0.0
    assert LOSSES["softmax_cross_entropy"].value(z, np.array([1])) == 2e4
    assert LOSSES["binary_cross_entropy"].value(z, np.array([[1.0, 0.0]], np.float32)) == 0.0
    assert LOSSES["binary_cross_entropy"].element(1e4, 1.0, 0.0) == (0.0, 0.0)
    assert LOSSES["binary_cross_entropy"].element(-1e4, 1.0, 0.0) == (1e4, -1.0)


def test_poisson_overflows_to_its_true_value_without_a_warning():
    z = np.array([[1e4]], np.float32)
    y = np.array([[2.0]], np.float32)
    assert LOSSES["poisson"].value(z, y) == np.inf
    assert LOSSES["poisson"].gradient(z, y) == np.inf
    assert LOSSES["poisson"].link(z) == np.inf
    assert np.isfinite(LOSSES["poisson"].value(-z, y)).all()


@every_record
def test_nan_is_seen(record, rng):
    z = np.array([[np.nan, 0.0, 1.0, 2.0], [1.0, 2.0, np.nan, 0.5]])
    y = targets_for(record, 2, D, rng)
    assert np.isnan(record.value(z, y, record.setting)).all()
    assert np.isnan(rows_of(record, z, y, record.setting)[0]).all()


@every_record
def test_dtype_is_kept(record, rng):
    z = rng.normal(size=(3, D)).astype(np.float32)
    y = targets_for(record, 3, D, rng)
    y = y if y.ndim == 1 else y.astype(np.float32)
    setting = np.float32(record.setting)
    assert record.value(z, y, setting).dtype == record.gradient(z, y, setting).dtype == np.float32
    assert record.link(z).dtype == np.float32


# -- links -----------------------------------------------------------------------------------------


def test_links(z):
    expected = {
        "identity": z, "sigmoid": special.expit(z), "exp": np.exp(z),
        "softmax": np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    }  # fmt: skip
    for record in LOSSES.values():
        np.testing.assert_allclose(record.link(z), expected[record.link_name], rtol=1e-12)
    np.testing.assert_allclose(softmax(z + 1e4), softmax(z), rtol=1e-10)


# -- targets ---------------------------------------------------------------------------------------


@every_record
def test_targets_are_checked(record):
    for y, message in [
        (np.array(["a", "b"]), "dtype <U1"),
        (np.array([None, 1.0], object), "dtype object"),
        (np.ones((2, D + 1)), rf"y must have shape \(n, {D}\), one column an output; got \(2, {D + 1}\)"),
        (np.full((2, D), np.nan), "NaN or infinity"),
        (np.full((2, D), np.inf), "NaN or infinity"),
    ]:
        with pytest.raises(ValueError, match=message):
            record.check_targets(y, D)


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("binary_cross_entropy", [[0.0, 1.5]], r"y must lie in \[0, 1\] for this loss; got \[0.0, 1.5\]"),
        ("binary_cross_entropy", [[-1, 1]], r"got \[-1.0, 1.0\]"),
        ("poisson", [[1.0, -2.0]], "y must be non-negative for the Poisson loss; got -2.0"),
        ("softmax_cross_entropy", [0, 2], "class indices from 0 to 1, one an output; got 0 to 2"),
        ("softmax_cross_entropy", [-1, 0], "got -1 to 0"),
        (
            "softmax_cross_entropy",
            [0.0, 1.0],
            r"integer class indices or an \(n, 2\) array; got dtype float64",
        ),
        ("softmax_cross_entropy", [[0.5, -0.5]], "y as class probabilities must be non-negative; got -0.5"),
        (
            "half_squared_error",
            [1.0, 2.0, 3.0],
            r"y must have shape \(n, 2\), one column an output; got \(3, 1\)",
        ),
        ("half_squared_error", np.ones((2, 2, 2)), r"got \(2, 2, 2\)"),
    ],
)
def test_wrong_targets(name, y, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name].check_targets(y, 2)


def test_targets_as_the_executors_take_them():
    dense = LOSSES["half_squared_error"].check_targets
    assert dense([1, 2, 3], 1).tolist() == [[1.0], [2.0], [3.0]]
    assert dense([1, 2, 3], 1).dtype == np.float64
    assert dense(np.ones((2, 1), np.float32), 1).dtype == np.float32
    assert dense(np.asfortranarray(np.ones((3, 2))), 2).flags.c_contiguous
    classes = LOSSES["softmax_cross_entropy"].check_targets
    for y in ([0, 2], np.array([0, 2], np.uint8), np.array([[0], [2]])):
        assert classes(y, 3).tolist() == [0, 2]
        assert classes(y, 3).dtype == np.int64
    assert classes([True, False], 2).tolist() == [1, 0]
    assert classes([[0, 1], [1, 0]], 2).dtype == np.float64


def test_find_by_name_and_alias():
    for name, record in LOSSES.items():
        assert get_loss(name) is record
    assert get_loss("squared_error") is LOSSES["half_squared_error"]
    assert get_loss("cross_entropy") is get_loss("log_loss") is LOSSES["softmax_cross_entropy"]
    with pytest.raises(
        ValueError, match=r"loss must be one of absolute_error, .*; got 'hubert'\. Did you mean 'huber'"
    ):
        get_loss("hubert")


@every_record
def test_described(record):
    for text in ("formula", "latex", "gradient_formula", "gradient_latex", "source", "link_name"):
        assert getattr(record, text).strip()
    assert (record.setting_name is None) <= (record.setting == 0.0)


# -- PyTorch ---------------------------------------------------------------------------------------


@every_record
def test_torch(record, z, rng):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    functional = torch.nn.functional
    losses = {
        "half_squared_error": lambda t, y, s: 0.5 * functional.mse_loss(t, y, reduction="sum"),
        "softmax_cross_entropy": lambda t, y, s: functional.cross_entropy(
            t, y, reduction="sum", label_smoothing=s
        ),
        "binary_cross_entropy": lambda t, y, s: functional.binary_cross_entropy_with_logits(
            t, y, reduction="sum"
        ),
        "absolute_error": lambda t, y, s: functional.l1_loss(t, y, reduction="sum"),
        "huber": lambda t, y, s: functional.huber_loss(t, y, reduction="sum", delta=s),
        "quantile": lambda t, y, s: torch.maximum(s * (y - t), (s - 1) * (y - t)).sum(),
        "poisson": lambda t, y, s: functional.poisson_nll_loss(t, y, reduction="sum"),
    }
    y = targets_for(record, N, D, rng)
    for targets in [y, *([rng.dirichlet(np.ones(D), N)] if y.ndim == 1 else [])]:
        for setting in [0.0] if record.name == "poisson" else setting_choices(record):
            outputs = torch.tensor(z, requires_grad=True)
            loss = losses[record.name](outputs, torch.tensor(targets), setting)
            loss.backward()
            assert record.value(z, targets, setting).sum() == pytest.approx(loss.item(), rel=1e-12)
            expected = outputs.grad.numpy()
            np.testing.assert_allclose(record.gradient(z, targets, setting), expected, rtol=1e-11, atol=1e-13)


def test_math_of_one_element():
    assert LOSSES["poisson"].element(0.0, 0.0, 1.0) == (1.0, 1.0)
    value, slope = LOSSES["poisson"].element(0.0, 2.0, 1.0)
    assert (value, slope) == (pytest.approx(1 + 2 * math.log(2) - 2), -1.0)
