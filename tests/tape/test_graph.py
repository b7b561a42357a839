"""The record itself: long chains, memory and cycles, threads, what the errors say, and who shares memory."""

import gc
import threading
import tracemalloc
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from chainrule import tape
from chainrule.tape.graph import Node

LONG = 100_000


@pytest.fixture
def x():
    return tape.tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)


@pytest.fixture
def no_collector():
    """Only reference counts free memory here, so that a cycle would be seen to stay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive():
    """How many tensors and nodes there are."""
    # By type: isinstance asks every object for its class, and some warn then.
    return Counter(type(one).__name__ for one in gc.get_objects() if type(one) in (Node, tape.Tensor))


# -- long chains -----------------------------------------------------------------------------------


def longest(step):
    start = tape.tensor(np.ones(1), requires_grad=True)
    value = start
    for index in range(LONG):
        value = step(value, index)
    return start, value


def test_a_chain_of_100_000_operations_goes_backward_and_is_freed(no_collector):
    before = alive()
    start, value = longest(lambda y, index: y * 1.0001 if index % 2 else y - 0.0001)
    value.backward()
    assert start.grad.item() == pytest.approx(1.0001 ** (LONG // 2), rel=1e-9)
    del start, value
    assert alive() == before


def test_a_long_chain_is_freed_without_backward(no_collector):
    before = alive()
    start, value = longest(lambda y, _: y.sin())
    assert alive()["Node"] >= LONG
    del start, value
    assert alive() == before


def test_a_long_chain_of_views_goes_backward_and_is_freed(no_collector):
    before = alive()
    start, value = longest(lambda y, index: y.reshape((1, 1) if index % 2 else (1,)))
    value.backward()
    assert start.grad.item() == 1.0
    del start, value
    assert alive() == before


def test_a_long_chain_of_changes_in_place_goes_backward_and_is_freed(no_collector):
    before = alive()
    start = tape.tensor(np.ones(2), requires_grad=True)
    value = start * 1.0
    for _ in range(LONG // 4):
        value += 0.5
        value[0:1] += 1.0
    value.sum().backward()
    np.testing.assert_array_equal(start.grad.data, 1.0)
    del start, value
    assert alive() == before


def test_a_long_chain_has_first_and_second_derivatives():
    start = tape.tensor(1.0, requires_grad=True)
    value = start
    for _ in range(2000):
        value = value * 1.0 + start * start
    (first,) = tape.grad(value, start, create_graph=True)
    (second,) = tape.grad(first, start)
    assert first.item() == pytest.approx(4001.0)
    assert second.item() == pytest.approx(4000.0)


# -- memory ----------------------------------------------------------------------------------------


def training_step(w, b):
    data = np.linspace(-1, 1, 3000).reshape(1000, 3)
    loss = (((data @ w + b).tanh() - 0.5) ** 2).mean()
    loss.backward()
    with tape.no_grad():
        for p in (w, b):
            p -= 0.1 * p.grad
            p.grad = None


def dropped(w, b):
    h = (np.ones((1000, 3)) @ w).exp()
    h.softmax(dim=0).sum()


def views_in_place(w, b):
    h = w * 2
    part = h[1:]
    part *= w[:2]
    h[0] = b
    flat = h.reshape(-1).unsqueeze(0)
    flat += 1.0
    (part.sum() + h.prod()).backward()
    w.grad = b.grad = None


def views_in_place_dropped(w, b):
    h = w * 2
    one, two = h[1:], h.T
    one *= 3
    two += 1
    one.sum()


def buffer_in_place(w, b):
    buffer = tape.zeros(3, 3, dtype=np.float64)
    for row in range(3):
        buffer[row] = w[:, 0] * row
    buffer.sum().backward()
    w.grad = None


def hooks_and_retained(w, b):
    h = w * 2
    h.retain_grad()
    h.register_hook(lambda g: g * 2)
    handle = w.register_hook(lambda g: g + 1)
    (h * h).sum().backward()
    handle.remove()
    w.grad = None


def second_derivatives(w, b):
    (g,) = tape.grad(((w @ w.T).tanh() * b).sum(), w, create_graph=True)
    (g.norm() - 1).square().backward()
    w.grad = b.grad = None


def second_derivatives_dropped(w, b):
    (g,) = tape.grad((w**3).sum(), w, create_graph=True)
    tape.grad(g.sum(), w, create_graph=True)


def failed_backward(w, b):
    h = w.exp()
    h += 1
    with pytest.raises(RuntimeError, match="in-place"):
        h.sum().backward()


def graph_retained(w, b):
    loss = w.exp().sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    w.grad = None


def taken_apart_and_put_together(w, b):
    parts = [*w.split(1), *w.unbind(1), w.sort(dim=0).values.ravel()]
    np.concatenate([part.ravel() for part in parts]).logsumexp(dim=0).backward()
    w.grad = None


STEPS = (training_step, dropped, views_in_place, views_in_place_dropped, buffer_in_place, hooks_and_retained,
         second_derivatives, second_derivatives_dropped, failed_backward, graph_retained,
         taken_apart_and_put_together)  # fmt: skip


def start():
    rng = np.random.default_rng(0)
    return (
        tape.tensor(rng.normal(size=(3, 1)), requires_grad=True),
        tape.tensor(rng.normal(size=1), requires_grad=True),
    )


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_nothing_of_a_step_stays_alive(step, no_collector):
    w, b = start()
    step(w, b)
    before = alive()
    for _ in range(3):
        step(w, b)
        assert alive() == before


def array_memory():
    """Bytes of the entries of all arrays; the interpreter's lists of spare objects are not in it."""
    of_arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([of_arrays]).traces)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_the_level_of_memory_returns_after_each_step(step, no_collector):
    w, b = start()
    tracemalloc.start()
    try:
        levels = []
        for _ in range(8):
            step(w, b)
            levels.append((array_memory(), tracemalloc.get_traced_memory()[0]))
    finally:
        tracemalloc.stop()
    arrays, everything = zip(*levels[3:], strict=True)
    assert set(arrays) == {arrays[0]}
    assert (
        everything[-1] - everything[0] < 20_000
    )  # one intermediate array of training_step has 8,000 or more


def test_backward_frees_what_the_graph_kept(x, no_collector):
    y = x.exp()
    loss = y.sum()
    assert y.grad_fn.saved is not None
    loss.backward()
    assert y.grad_fn.saved is None
    assert y.grad_fn.out is None


def test_only_what_the_gradients_read_is_kept(x):
    big = np.ones((3, 1))
    node = (x + big).grad_fn
    assert [type(item).__name__ for item in node.saved] == ["Known", "Known"]
    constant = tape.tensor(np.ones(3))
    product = (x * constant).grad_fn
    assert [type(item).__name__ for item in product.saved] == ["Known", "Saved"]
    assert product.keeps
    assert not node.keeps


def test_a_tensor_without_gradient_keeps_nothing():
    y = tape.tensor(np.ones(3))
    assert (y * 2).exp().grad_fn is None


# -- threads ---------------------------------------------------------------------------------------


def in_threads(functions):
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_each_thread_has_its_own_mode(x):
    seen = {}
    inside, looked = threading.Event(), threading.Event()

    def quiet():
        with tape.no_grad():
            inside.set()
            assert looked.wait(10)
            seen["quiet"] = (tape.is_grad_enabled(), (x * 2).requires_grad)

    def other():
        assert inside.wait(10)
        seen["other"] = (tape.is_grad_enabled(), (x * 2).requires_grad)
        looked.set()

    in_threads([quiet, other])
    assert seen == {"quiet": (False, False), "other": (True, True)}
    assert tape.is_grad_enabled()


def test_a_thread_begins_recording_even_from_within_no_grad():
    seen = []
    with tape.no_grad():
        in_threads([lambda: seen.append(tape.is_grad_enabled())])
    assert seen == [True]


def test_graphs_of_several_threads_do_not_mix():
    found = {}

    def work(number):
        def function():
            w = tape.tensor(np.full(5, float(number)), requires_grad=True)
            for _ in range(200):
                w.grad = None
                (w * w * number).sum().backward()
            found[number] = w.grad.data

        return function

    in_threads([work(number) for number in range(1, 5)])
    for number, gradient in found.items():
        np.testing.assert_array_equal(gradient, 2.0 * number * number)


# -- errors ----------------------------------------------------------------------------------------


@contextmanager
def runtime_error(*words):
    with pytest.raises(RuntimeError) as caught:
        yield
    for word in words:
        assert word in str(caught.value)


def test_a_changed_value_is_named_with_operation_shape_and_both_versions(x):
    y = x * 2
    z = y.sin()
    y += 1
    y += 1
    with runtime_error("in-place", "input 0 of sin", "shape (3,)", "at version 2", "version 0"):
        z.sum().backward()


def test_a_changed_output_is_named(x):
    y = x.exp()
    y *= 2
    with runtime_error("the output of exp", "at version 1", "expected version 0"):
        y.sum().backward()


def test_a_freed_graph_is_named_with_what_to_do(x):
    y = x.exp().sum()
    y.backward()
    with runtime_error("second time", "exp", "retain_graph=True"):
        y.backward()


def test_the_other_errors_say_what_came_and_what_to_do(x):
    with runtime_error("one entry", "(3,)", "gradient="):
        (x * 2).backward()
    with runtime_error("requires no gradient", "no_grad()"):
        x.detach().sum().backward()
    with runtime_error("(3,)", "(2,)"):
        (x * 2).backward(np.ones(2))
    with runtime_error("leaf", "add", "no_grad()"):
        x += 1
    with runtime_error("view of a leaf", "multiply", "no_grad()"):
        x[0:1].mul_(2)
    with runtime_error("input 0", "not used", "allow_unused=True"):
        tape.grad(x.sum(), tape.tensor(1.0, requires_grad=True))
    with runtime_error("input 0", "does not require grad"):
        tape.grad(x.sum(), tape.tensor(1.0))
    with runtime_error("detach()"):
        (x * 2).numpy()
    with runtime_error("hook", "(3,)", "(2,)"):
        y = x * 2
        y.register_hook(lambda g: g[:2])
        y.sum().backward()
    with runtime_error("int64", "float64"):
        tape.tensor(np.array([1, 2])).requires_grad_()
    with runtime_error("expanded"):
        tape.tensor(np.ones((1, 3))).expand(2, 3).add_(1.0)
    with runtime_error("made within no_grad()"):
        with tape.no_grad():
            view = (x * 2)[0:1]
        view += x[0]


def test_a_refused_change_in_place_changes_nothing(x):
    before = x.data.copy()
    for change in (lambda: x.add_(1), lambda: x[0:2].mul_(2), lambda: x.__setitem__(0, 9.0)):
        with pytest.raises(RuntimeError, match="leaf"):
            change()
    np.testing.assert_array_equal(x.data, before)
    assert x._version == 0


def test_an_error_on_the_way_back_leaves_the_mode_as_it_was(x):
    def hook(gradient):
        raise KeyError("hook")

    x.register_hook(hook)
    with pytest.raises(KeyError):
        x.sum().backward()
    assert tape.is_grad_enabled()


# -- whose memory ----------------------------------------------------------------------------------


def leaves(n):
    return [tape.tensor(np.ones((2, 2)), requires_grad=True) for _ in range(n)]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda a, b, c: a + b + c,
        lambda a, b, c: a.reshape(4).reshape(2, 2) + b.T + c.sum(),
        lambda a, b, c: np.concatenate([a, b, c]),
        lambda a, b, c: np.stack([a, b, c])[:, 0],
        lambda a, b, c: a.expand(3, 2, 2) + b[0] + c,
        lambda a, b, c: (a @ b).sum() + c.mean(dim=0),
    ],
)
def test_gradients_share_memory_with_nobody(function, create_graph):
    many = leaves(3)
    output = function(*many)
    gradient = np.ones(output.shape)
    given = tape.tensor(gradient)
    given.data = gradient
    output.backward(given, create_graph=create_graph)
    arrays = [leaf.grad.data for leaf in many] + [leaf.data for leaf in many] + [gradient]
    for index, one in enumerate(arrays):
        assert one.flags.writeable
        for other in arrays[:index]:
            assert not np.shares_memory(one, other)
    np.testing.assert_array_equal(gradient, 1.0)


def test_results_of_grad_share_memory_with_nobody():
    a, b = leaves(2)
    gradient = np.ones((2, 2))
    first, second = tape.grad(a + b, [a, b], gradient)
    assert not np.shares_memory(first.data, second.data)
    assert not np.shares_memory(first.data, gradient)


def test_accumulation_does_not_reach_the_gradient_that_was_given():
    (a,) = leaves(1)
    gradient = np.ones((2, 2))
    for _ in range(2):
        (a + a + a).backward(gradient)
    np.testing.assert_array_equal(gradient, 1.0)
    np.testing.assert_array_equal(a.grad.data, 6.0)


def test_an_index_changed_later_does_not_change_the_gradient(x):
    index, mask = np.array([0, 0]), np.array([True, False, False])
    y = x[index].sum() + 10 * x[mask].sum()
    z = x * 1
    z[index] = 0.0
    index[:], mask[:] = 2, False
    (y + z.sum()).backward()
    np.testing.assert_array_equal(x.grad.data, [12.0, 1.0, 1.0])


def test_a_retained_gradient_of_a_tensor_that_is_gone_is_dropped(x):
    y = x * 2
    y.retain_grad()
    z = y.sum()
    del y
    z.backward()
    np.testing.assert_array_equal(x.grad.data, 2.0)
