"""The BLAS binding: products by address, and a library that is given back as it was found."""

import threading

import numba
import numpy as np
import pytest
from tests.engine.test_parity import entries
from tests.engine.test_threads import big_training
from threadpoolctl import threadpool_info, threadpool_limits

from chainrule.engine import EngineExecutor, blas, executor
from chainrule.engine._jit import OPTIONS
from chainrule.engine.blas import gemm, gemm_address, library_name, one_blas_thread


def blas_threads():
    return {info["filepath"]: info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def a_blas_is_asked_for(monkeypatch):
    monkeypatch.setenv("CHAINRULE_BLAS", "scipy")


@pytest.fixture(autouse=True)
def more_than_one_thread():
    """Every library starts with three threads, so that "restored" is not the same as "still 1"."""
    with threadpool_limits(3, user_api="blas"):
        assert blas_threads()
        assert set(blas_threads().values()) == {3}
        yield


@numba.njit(**OPTIONS)
def call_gemm(address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    gemm(address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc)


def product(a, b, transpose_a=False, transpose_b=False, beta=0.0, c=None):
    """op(A) op(B) + beta C by the engine's routine."""
    m, k = a.shape[::-1] if transpose_a else a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    c = np.full((m, n), np.nan, a.dtype) if c is None else c.copy()
    where = [array.ctypes.data for array in (a, b, c)]
    address = gemm_address(a.dtype)
    beta = a.dtype.type(beta)
    call_gemm(
        address,
        transpose_a,
        transpose_b,
        m,
        n,
        k,
        where[0],
        a.shape[1],
        where[1],
        b.shape[1],
        beta,
        where[2],
        n,
    )
    return c


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_products(dtype, transpose_a, transpose_b):
    rng = np.random.default_rng(0)
    for m, n, k in [(1, 1, 1), (3, 5, 4), (17, 1, 9), (40, 30, 70)]:
        a = rng.normal(size=(k, m) if transpose_a else (m, k)).astype(dtype)
        b = rng.normal(size=(n, k) if transpose_b else (k, n)).astype(dtype)
        expected = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
        tolerance = 1e-5 if dtype == np.float32 else 1e-13
        # β = 0 overwrites: what was there before, even NaN, is not read.
        np.testing.assert_allclose(
            product(a, b, transpose_a, transpose_b), expected, rtol=tolerance, atol=tolerance
        )
        c = rng.normal(size=(m, n)).astype(dtype)
        np.testing.assert_allclose(
            product(a, b, transpose_a, transpose_b, 1.0, c), expected + c, rtol=tolerance, atol=tolerance
        )


def test_the_library_is_chosen_by_the_environment(monkeypatch):
    assert library_name() == "scipy"
    monkeypatch.delenv("CHAINRULE_BLAS")
    assert library_name() == ""
    assert gemm_address(np.float32) == 0
    monkeypatch.setenv("CHAINRULE_BLAS", "atlas")
    with pytest.raises(ValueError, match="CHAINRULE_BLAS must be 'scipy' or 'mkl'; got 'atlas'"):
        library_name()


def test_mkl_that_is_not_installed_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_BLAS", "mkl")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    blas._mkl.cache_clear()
    with pytest.raises(ValueError, match="no mkl is installed"):
        gemm_address(np.float32)


def test_without_a_blas_its_threads_are_left_alone(monkeypatch):
    monkeypatch.delenv("CHAINRULE_BLAS")
    before = blas_threads()
    with one_blas_thread():
        assert blas_threads() == before


def test_addresses():
    assert gemm_address(np.float32) != gemm_address(np.float64)
    assert gemm_address(np.dtype("float32")) == gemm_address(np.float32)


# -- the guard -------------------------------------------------------------------------------------


def test_one_thread_inside_what_was_before_outside():
    before = blas_threads()
    with one_blas_thread():
        assert set(blas_threads().values()) == {1}
    assert blas_threads() == before


def test_nested():
    before = blas_threads()
    with one_blas_thread():
        with one_blas_thread():
            assert set(blas_threads().values()) == {1}
        assert set(blas_threads().values()) == {1}
    assert blas_threads() == before


def test_restored_after_an_error():
    before = blas_threads()
    with pytest.raises(RuntimeError, match="inside"), one_blas_thread():
        raise RuntimeError("inside")
    assert blas_threads() == before


def test_overlapping_holders_of_several_threads():
    """The last one to leave restores, whoever came first."""
    before = blas_threads()
    entered, first_left = threading.Event(), threading.Event()
    seen = []

    def late():
        with one_blas_thread():
            entered.set()
            first_left.wait(10)
            seen.append(set(blas_threads().values()))

    other = threading.Thread(target=late)
    with one_blas_thread():
        other.start()
        assert entered.wait(10)
    seen.append(set(blas_threads().values()))
    first_left.set()
    other.join()
    assert seen == [{1}, {1}]
    assert blas_threads() == before


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_run_restores_the_library(n_threads):
    before = blas_threads()
    case = big_training()
    engine = case.run(EngineExecutor, n_threads=n_threads).executor
    assert blas_threads() == before
    engine.predict(case.X)
    engine.gradient(case.examples())
    assert blas_threads() == before


def test_concurrent_runs_restore_the_library():
    before = blas_threads()
    case = big_training()
    workers = [threading.Thread(target=case.run, args=(EngineExecutor,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert blas_threads() == before


def test_a_thread_other_than_the_main_one_holds_too():
    before = blas_threads()
    seen = []

    def hold():
        with one_blas_thread():
            seen.append(set(blas_threads().values()))

    other = threading.Thread(target=hold)
    other.start()
    other.join()
    assert seen == [{1}]
    assert blas_threads() == before


def test_a_failing_run_restores_the_library(monkeypatch):
    before = blas_threads()
    case = big_training()

    def fail(*arguments):
        raise RuntimeError("no")

    for name in entries(executor):
        monkeypatch.setattr(executor, name, fail)
    for n_threads in (1, 2):
        with pytest.raises(RuntimeError, match="no"):
            case.run(EngineExecutor, n_threads=n_threads)
    assert blas_threads() == before


def test_a_forked_child_starts_with_no_holders():
    guard = blas._SingleThreadGuard()
    guard._holders = 1  # as in a parent that trains,
    guard._lock.acquire()  # while another of its threads is just about to
    guard.forget()
    assert guard._holders == 0
    assert not guard._lock.locked()
