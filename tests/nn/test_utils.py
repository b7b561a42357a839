"""Clipping of gradients against its formula and PyTorch's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from tests.optim.problems import give, leaf

from chainrule import optim
from chainrule.nn.utils import clip_grad_norm_, clip_grad_value_
from chainrule.tape import Tensor


def parameters_with(gradients, dtype=np.float64):
    """Parameters with these gradients, and one without."""
    parameters = [leaf(np.zeros(np.shape(gradient)), dtype) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        give(parameter, gradient)
    return [*parameters, leaf([0.0])]


def gradients_of(parameters):
    return [parameter.grad.data for parameter in parameters if parameter.grad is not None]


def random_gradients(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in ((3, 4), (5,), ())]


@pytest.mark.parametrize("norm_type", [0.5, 1.0, 2, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.1, 1, 100.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch(norm_type, max_norm, dtype):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    ours = parameters_with(random_gradients(), dtype)
    theirs = [torch.nn.Parameter(torch.tensor(parameter.data)) for parameter in ours]
    for our, their in zip(ours[:-1], theirs, strict=False):
        their.grad = torch.tensor(our.grad.data.copy())
    total = clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    tolerance = 1e-10 if dtype == np.float64 else 1e-6
    assert total.data.dtype == dtype
    assert total.item() == pytest.approx(expected.item(), rel=tolerance)
    for our, their in zip(ours[:-1], theirs, strict=False):
        assert our.grad.data.dtype == dtype
        np.testing.assert_allclose(our.grad.data, their.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("clip_value", [0, 0.5, 100.0])
def test_torch_value(clip_value):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    ours = parameters_with([*random_gradients(), [math.nan, math.inf, -math.inf]])
    theirs = [torch.nn.Parameter(torch.tensor(parameter.data)) for parameter in ours]
    for our, their in zip(ours[:-1], theirs, strict=False):
        their.grad = torch.tensor(our.grad.data.copy())
    assert clip_grad_value_(ours, clip_value) is None
    torch.nn.utils.clip_grad_value_(theirs, clip_value)
    for our, their in zip(ours[:-1], theirs, strict=False):
        np.testing.assert_array_equal(our.grad.data, their.grad.numpy())


def test_by_hand():
    parameters = parameters_with([[3.0], [[0.0, 4.0]]])
    arrays = gradients_of(parameters)
    total = clip_grad_norm_((one for one in parameters), 1.0)
    assert isinstance(total, Tensor)
    assert (total.data.shape, total.item()) == ((), 5.0)
    np.testing.assert_allclose(arrays[0], [0.6], rtol=1e-6)  # in place
    np.testing.assert_allclose(arrays[1], [[0.0, 0.8]], rtol=1e-6)
    assert [parameter.grad._version for parameter in parameters[:2]] == [1, 1]
    assert clip_grad_norm_(parameters[0], 1.0).item() == pytest.approx(0.6, rel=1e-6)
    clip_grad_value_(parameters[0], 0.25)
    assert parameters[0].grad.data == 0.25
    assert parameters[0].grad._version == 3


shapes = arrays_of.array_shapes(min_dims=0, max_dims=2)
matrices = arrays_of.arrays(np.float64, shapes, elements=st.floats(-100, 100))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(matrices, max_size=4),
    st.floats(0.01, 100),
    st.sampled_from([1.0, 2.0, math.inf]),
)
def test_the_norm_is_that_of_one_vector_and_no_larger_than_allowed(gradients, max_norm, order):
    vector = np.concatenate([np.zeros(1), *(gradient.ravel() for gradient in gradients)])
    parameters = parameters_with(gradients)
    total = clip_grad_norm_(parameters, max_norm, order).item()
    assert total == pytest.approx(np.linalg.norm(vector, order))
    after = np.concatenate([np.zeros(1), *(gradient.ravel() for gradient in gradients_of(parameters))])
    assert np.linalg.norm(after, order) <= max_norm * (1 + 1e-12)
    if total < max_norm - 1e-5:
        np.testing.assert_array_equal(after, vector)
    elif total > 0:
        np.testing.assert_allclose(after, vector * min(1, max_norm / total), rtol=1e-4, atol=1e-12)


def test_nothing_to_clip():
    assert clip_grad_norm_([], 1.0).item() == 0.0
    assert clip_grad_norm_([leaf([1.0])], 1.0).item() == 0.0
    assert clip_grad_norm_(parameters_with([[0.0]]), 1.0).item() == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite(bad):
    with pytest.raises(RuntimeError, match=f"the norm of order 2.0 of the gradients is {bad}: "):
        clip_grad_norm_(parameters_with([[1.0, bad]]), 1.0, error_if_nonfinite=True)
    parameters = parameters_with([[1.0, bad]])
    assert not np.isfinite(clip_grad_norm_(parameters, 1.0).item())
    expected = [math.nan, math.nan] if bad != bad else [0.0, math.nan]
    np.testing.assert_array_equal(parameters[0].grad.data, expected)


def test_errors():
    for norm_type in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="norm_type must be above 0; got"):
            clip_grad_norm_([], 1.0, norm_type)
    with pytest.raises(ValueError, match="clip_value must be zero or a positive number; got -1"):
        clip_grad_value_([], -1)


def test_where_they_are():
    assert optim.clip_grad_norm_ is clip_grad_norm_
    assert optim.clip_grad_value_ is clip_grad_value_
