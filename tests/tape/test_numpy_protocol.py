"""NumPy's functions on tensors: recorded, or refused; never a number without its history."""

import warnings

import numpy as np
import pytest
from tests.tape.examples import CUBE, X, Y, numbers

from chainrule.tape import Tensor, gradcheck, tensor
from chainrule.tape.numpy_protocol import FUNCTIONS, UFUNCS

SQUARE = numbers((3, 3), seed=30)
VECTOR = numbers((4,), seed=31)

# Function: calls, each a tuple of positional arguments and one of keywords.
CALLS: dict = {
    "where": [((X > 0, X, Y), {})],
    "clip": [
        ((X, -0.5, 0.5), {}),
        ((X,), {"min": 0.1}),
        ((X, None, 0.3), {}),
        ((X, VECTOR - 2, VECTOR + 2), {}),
    ],
    "copy": [((X,), {})],
    "reshape": [((X, (2, 6)), {}), ((X, -1), {})],
    "ravel": [((X,), {})],
    "transpose": [((X,), {}), ((CUBE, (2, 0, 1)), {})],
    "permute_dims": [((CUBE, (2, 0, 1)), {})],
    "swapaxes": [((CUBE, 0, -1), {})],
    "moveaxis": [((CUBE, 0, -1), {}), ((CUBE, (0, 1), (-1, 0)), {}), ((CUBE, (2, 0), (0, 1)), {})],
    "squeeze": [((X[None, :, None],), {}), ((X[None, :, None], 2), {}), ((X[None, :, None], (0, -2)), {})],
    "expand_dims": [((X, 0), {}), ((X, -1), {}), ((X, (0, 2)), {})],
    "broadcast_to": [((VECTOR, (3, 4)), {}), ((np.array(2.0), 3), {})],
    "flip": [((X,), {}), ((X, 0), {}), ((X,), {"axis": (0, -1)})],
    "roll": [((X, 1), {}), ((X, -2, 1), {}), ((X, 5, -1), {}), ((X, (1, 2), (0, 1)), {})],
    "concatenate": [(([X, Y],), {}), (([X, Y], 1), {}), (([X, VECTOR], None), {})],
    "stack": [(([X, Y],), {}), (([X, Y], -1), {})],
    "vstack": [(([X, VECTOR],), {})],
    "hstack": [(([X, Y],), {}), (([VECTOR, VECTOR],), {}), (([np.array(1.0), VECTOR],), {})],
    "split": [((X, 2, 1), {}), ((X, [1], 0), {}), ((X, [1, 3], -1), {})],
    "take_along_axis": [((X, np.argsort(X, 1), 1), {})],
    "take": [((X, [0, 5, 5]), {}), ((X, [0, 2, 2], 1), {}), ((X, 1, 0), {})],
    "repeat": [((X, 2), {}), ((X, 2, 0), {}), ((X, [1, 0, 2, 1], 1), {})],
    "tile": [((X, 2), {}), ((X, (2, 3)), {}), ((VECTOR, (2, 1, 2)), {})],
    "diagonal": [((X,), {}), ((X, 1), {}), ((CUBE, -1, 0, 2), {})],
    "diag": [((X,), {}), ((X, -1), {}), ((VECTOR,), {}), ((VECTOR, 2), {}), ((VECTOR, -1), {})],
    "trace": [((X,), {}), ((X, 1), {}), ((CUBE, 0, 1, 2), {})],
    "tril": [((X,), {}), ((X, 1), {}), ((CUBE, -1), {})],
    "triu": [((X,), {}), ((X, -1), {})],
    "cumsum": [((X,), {}), ((X, 0), {}), ((X,), {"axis": -1})],
    "sort": [((X,), {}), ((X, 0), {})],
    "dot": [
        ((X, Y.T), {}),
        ((X, VECTOR), {}),
        ((VECTOR, VECTOR), {}),
        ((X, np.array(2.0)), {}),
        ((VECTOR, numbers((2, 4, 3))), {}),
    ],
    "inner": [((X, Y), {}), ((VECTOR, X), {}), ((VECTOR, VECTOR), {}), ((X, np.array(2.0)), {})],
    "outer": [((VECTOR, X[0]), {}), ((X, VECTOR), {})],
    "tensordot": [((X, Y), {}), ((X, Y.T, 1), {}), ((X, Y), {"axes": ((0,), (0,))})],
    "einsum": [(("ij,ij->i", X, Y), {})],
    "norm": [
        ((X,), {}),
        ((X, "fro"), {}),
        ((X, None, 0), {}),
        ((X, 1, 0), {}),
        ((X, np.inf, -1), {}),
        ((VECTOR, 3), {}),
        ((X,), {"axis": (0, 1), "keepdims": True}),
    ],
    "round": [((X,), {}), ((X, 1), {})],
    "around": [((X,), {"decimals": 2})],
    "std": [((X,), {}), ((X, 0), {"ddof": 1}), ((CUBE,), {"axis": (0, 2), "keepdims": True})],
}
CALLS["var"] = CALLS["std"]
for _name in ("sum", "mean", "prod", "max", "min", "amax", "amin"):
    CALLS[_name] = [((CUBE,), {}), ((CUBE, 1), {}), ((CUBE,), {"axis": (0, -1), "keepdims": True})]

CASES = [
    pytest.param(function, *call, id=f"{function.__name__}-{number}")
    for function in FUNCTIONS
    for number, call in enumerate(CALLS.get(function.__name__, []))
]


def is_number(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def wrapped(arguments, leaves):
    """The arguments with leaves in place of arrays of floats, also within lists."""
    made = []
    for value in arguments:
        if isinstance(value, list) and any(is_number(one) for one in value):
            made.append(wrapped(value, leaves))
        else:
            made.append(next(leaves) if is_number(value) else value)
    return made


def floats(arguments):
    for value in arguments:
        if isinstance(value, list):
            yield from floats(value)
        elif is_number(value):
            yield value


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_function_has_a_call(function):
    assert CALLS.get(function.__name__), f"no call of numpy.{function.__name__} is tested"


@pytest.mark.parametrize(("function", "arguments", "options"), CASES)
def test_as_on_arrays_and_recorded(function, arguments, options):
    expected = function(*arguments, **options)
    leaves = [tensor(x, requires_grad=True) for x in floats(arguments)]

    def of(*given):
        return function(*wrapped(arguments, iter(given)), **options)

    found = of(*leaves)
    many = isinstance(found, list)
    for ours, theirs in zip(found if many else [found], expected if many else [expected], strict=True):
        assert isinstance(ours, Tensor)
        assert ours.requires_grad
        np.testing.assert_allclose(ours.data, theirs, rtol=1e-12)
        assert ours.shape == np.shape(theirs)
    assert gradcheck(of, leaves)


# -- what is not recorded is refused -------------------------------------------------------------------


def leaf(values=SQUARE):
    return tensor(np.array(values), requires_grad=True)


@pytest.mark.parametrize(
    "call",
    [
        np.add.reduce,
        np.multiply.accumulate,
        lambda x: np.add.outer(x, x),
        lambda x: np.add.at(x, 0, 1.0),
        lambda x: np.add.reduceat(x, [0, 1]),
        lambda x: np.exp(x, where=x.data > 0),
        lambda x: np.exp(x, dtype=np.float32),
        lambda x: np.exp(x, casting="no"),
        np.modf,
        np.spacing,
        lambda x: np.heaviside(x, 0.0),
        lambda x: np.exp(x, out=np.empty((3, 3))),
        lambda x: np.sum(x, out=np.empty(())),
        lambda x: np.sum(x, where=x.data > 0),
        lambda x: np.sum(x, initial=1.0),
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.mean(x, where=x.data > 0),
        lambda x: np.clip(x, 0, 1, out=x),
        lambda x: np.concatenate([x, x], out=np.empty((6, 3))),
        lambda x: np.cumsum(x, dtype=np.float32),
        np.linalg.inv,
        np.fft.fft,
        lambda x: np.convolve(x[0], x[0]),
        np.median,
        lambda x: np.linalg.norm(x, 2),
        lambda x: np.linalg.norm(x, "nuc"),
        lambda x: np.var(x, mean=1.0),
        lambda x: np.add(np.ones((3, 3)), 1.0, out=np.ones((3, 3)), where=x),
        lambda x: np.copyto(np.ones((3, 3)), x),
        lambda x: np.stack([x], out=np.empty((1, 3, 3))),
        lambda x: np.sort(x, kind="stable", order="a"),
        lambda x: np.reshape(x, (9,), order="F"),
        np.where,
        lambda x: np.clip(x, 0, 1, where=x.data > 0),
        lambda x: np.einsum("ij->j", x, out=np.empty(3)),
        lambda x: np.einsum(x, [0, 1]),
    ],
)
def test_raises(call):
    x = leaf()
    with pytest.raises(TypeError):
        call(x)
    np.testing.assert_array_equal(x.data, SQUARE)


def test_the_message_says_what_to_do():
    with pytest.raises(TypeError, match=r"numpy\.median of a tensor is not recorded.*detach\(\)"):
        np.median(leaf())
    with pytest.raises(TypeError, match=r"numpy\.add\.reduce of a tensor is not recorded.*detach\(\)"):
        np.add.reduce(leaf())
    with pytest.raises(TypeError, match=r"numpy\.exp with where of a tensor is not recorded"):
        np.exp(leaf(), where=True)


def test_without_gradients_everything_works():
    x = tensor(SQUARE)
    np.testing.assert_array_equal(np.median(x).data, np.median(SQUARE))
    np.testing.assert_array_equal(np.linalg.inv(x).data, np.linalg.inv(SQUARE))
    np.testing.assert_array_equal(np.add.reduce(x).data, SQUARE.sum(axis=0))
    np.testing.assert_array_equal(np.asarray(x), SQUARE)
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(leaf())


# -- a walk through NumPy --------------------------------------------------------------------------------

# Only shape and dtype matter to these; or they write files or settings, or print.
_CONSTANT = {"zeros_like", "ones_like", "empty_like", "full_like"}
# A second argument is a dtype to these, or a setting: of a tensor there nothing but the dtype is read.
_SECOND_IS_A_SETTING = {
    "array",
    "asanyarray",
    "asarray",
    "asarray_chkfinite",
    "ascontiguousarray",
    "asfortranarray",
    "asmatrix",
    "bmat",
    "empty",
    "indices",
    "ones",
    "real_if_close",
    "require",
    "zeros",
}
# Steps, by the table without a derivative.
_WITHOUT_DERIVATIVE = {"floor_divide"}
_SKIPPED_BEGINNINGS = (
    "save",
    "set",
    "load",
    "from",
    "gen",
    "show",
    "test",
    "info",
    "get",
    "open",
    "print",
    "_",
)


def public_functions():
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft.")):
        for name in dir(module):
            function = getattr(module, name)
            skipped = name in _CONSTANT or name.startswith(_SKIPPED_BEGINNINGS)
            if callable(function) and not isinstance(function, type) and not skipped:
                yield pytest.param(function, id=prefix + name)


ATTEMPTS = [
    lambda x: (x,),
    lambda x: (x, x),
    lambda x: (x, 1),
    lambda x: (x, 0, 1),
    lambda x: ([x, x],),
    lambda x: (1.0, x),
    lambda x: (np.ones((3, 3)), x),
    lambda x: (x, x, x),
    lambda x: ((3, 3), x),
    lambda x: (x.data > 0, x),
    lambda x: (x.data > 0, x, x),
    lambda x: (x, [0, 1], 0),
    lambda x: (x, (9,)),
    lambda x: (np.sum, 0, x),
    lambda x: ("ij->i", x),
    lambda x: (x[0],),
    lambda x: (x[0], x[1]),
    lambda x: (x[0], x[1], x[2]),
    lambda x: ([x[0], x[1]],),
    lambda x: (x[0], 2),
    lambda x: (np.ones(3), x[0]),
    lambda x: (x, [x.data > 0], [x]),
]


def dropped(value):
    """Whether there are floats or complex numbers in a result that have lost their history."""
    if isinstance(value, Tensor):
        return value.dtype.kind in "fc" and not value.requires_grad
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "fcO"
    if isinstance(value, list | tuple):
        return any(dropped(one) for one in value)
    return isinstance(value, float | complex)


@pytest.mark.parametrize("function", list(public_functions()))
def test_no_function_drops_the_tape(function):
    outcomes = []
    for attempt in ATTEMPTS:
        x = leaf()
        arguments = attempt(x)
        if function.__name__ in _SECOND_IS_A_SETTING and not isinstance(arguments[0], Tensor | list):
            arguments = (x,)
        before = [one.copy() for one in arguments if isinstance(one, np.ndarray)]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                value = function(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it raises, nothing was dropped
                outcomes.append(error)
                continue
        outcomes.append(value)
        if function.__name__ in _WITHOUT_DERIVATIVE:
            assert isinstance(value, Tensor)
            assert not value.requires_grad
            continue
        assert not dropped(value), f"{function.__name__}{arguments} gives {value!r}"
        for one, old in zip([a for a in arguments if isinstance(a, np.ndarray)], before, strict=True):
            np.testing.assert_array_equal(one, old)
    assert len(outcomes) == len(ATTEMPTS)


def test_ufuncs_are_found_by_their_names():
    assert UFUNCS[np.exp].name == "exp"
    assert np.exp(leaf()).grad_fn.name == "exp"
