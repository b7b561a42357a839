"""Training data is checked once, at the door: every message names the argument."""

import numpy as np
import pytest
import scipy.sparse

from chainrule import nn
from chainrule.execution import OPERATION_FIELDS, SLOT_FIELDS, Examples, Instructions, Penalty, prepare
from chainrule.optim import SGD
from chainrule.plan import lower
from chainrule.reference import ReferenceExecutor

REGRESSION = lower(nn.Linear(3, 2), "half_squared_error")
CLASSES = lower(nn.Linear(3, 2), "softmax_cross_entropy")
X, Y, LABELS = np.ones((4, 3)), np.ones((4, 2)), np.array([0, 1, 1, 0])


# -- what comes out --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_and_layout(dtype):
    examples = prepare(REGRESSION, np.asfortranarray(X), Y.tolist(), [1, 2, 3, 0], dtype=dtype)
    assert isinstance(examples, Examples)
    assert len(examples) == 4
    for array in (examples.X, examples.y, examples.weights):
        assert array.dtype == dtype
        assert array.flags.c_contiguous
    assert examples.weights.tolist() == [1, 2, 3, 0]
    assert prepare(REGRESSION, X, Y).weights is None
    assert prepare(REGRESSION, X, Y).X.dtype == np.float32  # the default


def test_data_that_is_right_is_not_copied():
    examples = prepare(REGRESSION, X, Y, dtype=np.float64)
    assert examples.X is X or np.shares_memory(examples.X, X)
    assert np.shares_memory(examples.y, Y)


def test_numbers_of_other_kinds():
    for kind in (np.int32, np.uint8, bool, np.float16):
        examples = prepare(REGRESSION, X.astype(kind), Y.astype(kind), dtype=np.float64)
        np.testing.assert_array_equal(examples.X, X)
        np.testing.assert_array_equal(examples.y, Y)
    assert prepare(CLASSES, X, LABELS.astype(np.int8)).y.dtype == np.int64
    assert prepare(CLASSES, X, np.eye(2)[LABELS]).y.dtype == np.float32
    one_output = lower(nn.Linear(3, 1), "half_squared_error")
    assert prepare(one_output, X, [1, 2, 3, 4]).y.tolist() == [[1], [2], [3], [4]]


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
def test_sparse(make):
    dense = np.array([[0, 1, 0], [2, 0, 0], [0, 0, 0], [0, 3, 4]], float)
    examples = prepare(REGRESSION, make(dense), Y)
    assert examples.X.format == "csr"
    assert examples.X.dtype == np.float32
    np.testing.assert_array_equal(examples.X.toarray(), dense)


# -- errors ----------------------------------------------------------------------------------------


def with_one(array, value):
    array = array.astype(float)
    array.flat[1] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((4, 2)), Y), r"^X must have shape \(n, 3\); got \(4, 2\)"),
        ((np.ones(3), Y), r"^X must have shape \(n, 3\); got \(3,\)"),
        ((np.ones((4, 3, 1)), Y), r"^X must have shape \(n, 3\); got \(4, 3, 1\)"),
        ((scipy.sparse.eye(4).tocsr(), Y), r"^X must have shape \(n, 3\); got \(4, 4\)"),
        ((np.array([["a", "b", "c"]]), Y), "^X must be numeric; got dtype <U1"),
        ((np.array([[None, 1, 2]], object), Y), "^X must be numeric; got dtype object"),
        ((X.astype(complex), Y), "^X must be numeric; got dtype complex128"),
        ((with_one(X, np.nan), Y), "^X contains NaN, infinity or a value too large for float32"),
        ((with_one(X, -np.inf), Y), "^X contains NaN"),
        ((scipy.sparse.csr_matrix(with_one(X, np.nan)), Y), "^X contains NaN"),
        ((np.ones((0, 3)), np.ones((0, 2))), "^X is empty: it must have at least one row"),
        ((X, np.ones((3, 2))), "^y must have one target a row of X, 4; got 3"),
        ((X, np.ones((4, 3))), r"^y must have shape \(n, 2\), one column an output; got \(4, 3\)"),
        ((X, with_one(Y, np.nan)), "^y contains NaN or infinity"),
        ((X, [["a", "b"]] * 4), "^y must be numeric"),
        ((X, Y, np.ones(3)), r"^weights must have shape \(4,\); got \(3,\)"),
        ((X, Y, np.ones((4, 1))), r"^weights must have shape \(4,\); got \(4, 1\)"),
        ((X, Y, [1, 1, -1, 1]), "^weights must be finite, non-negative and not all zero"),
        ((X, Y, [1, 1, np.nan, 1]), "^weights must be finite"),
        ((X, Y, np.zeros(4)), "^weights must be finite, non-negative and not all zero"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare(REGRESSION, *arguments)
    with pytest.raises(ValueError, match=message.replace("^", "^validation ")):
        prepare(REGRESSION, *arguments, name="validation ")


def test_errors_of_class_labels():
    with pytest.raises(ValueError, match="^y must hold class indices from 0 to 1, one an output; got 0 to 2"):
        prepare(CLASSES, X, [0, 1, 2, 0])
    with pytest.raises(ValueError, match="^y must have one target a row of X, 4; got 2"):
        prepare(CLASSES, X, [0, 1])


def test_too_large_for_single_precision():
    for arguments in [(with_one(X, 1e300), Y), (X, with_one(Y, 1e300)), (X, Y, with_one(np.ones(4), 1e300))]:
        with pytest.raises(ValueError, match=r"^(X|y|weights) "):
            prepare(REGRESSION, *arguments, dtype=np.float32)
        prepare(REGRESSION, *arguments, dtype=np.float64)


def test_weights_that_are_no_numbers():
    with pytest.raises(ValueError, match="^weights "):
        prepare(REGRESSION, X, Y, ["a", "b", "c", "d"])


# -- the objects -----------------------------------------------------------------------------------


def test_defaults():
    instructions = Instructions(None, 2, SGD().rule, np.zeros((2, 8)), np.zeros((2, 8)))
    assert instructions.penalty == Penalty(0.0, 0.0, False)
    assert (instructions.clip_norm, instructions.first_step, instructions.seed) == (0.0, 0, 0)
    assert (instructions.decay_all, instructions.telemetry_every) == (False, 0)


def test_report_has_a_column_for_each_field():
    executor = ReferenceExecutor(REGRESSION, np.ones(8), np.empty(0))
    coefficients = SGD().coefficients(np.full(2, 0.1), 0)
    report = executor.run(
        prepare(REGRESSION, X, Y, dtype=np.float64),
        Instructions(None, 2, SGD().rule, coefficients, np.zeros((2, 8)), telemetry_every=1),
    )
    assert report.operations.shape == (2, 1, len(OPERATION_FIELDS))
    assert report.slots.shape == (2, 2, len(SLOT_FIELDS))
