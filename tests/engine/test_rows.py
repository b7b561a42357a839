"""What happens to the rows of a batch before the first operation and after the last."""

import numpy as np
import pytest
import scipy.sparse
from tests.engine.calling import DTYPES, WHOLE, call, empty, is_untouched, padded, row_parts, stride_of

from chainrule.engine import rows

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_cut = pytest.mark.parametrize("pieces", [[WHOLE], row_parts(2), row_parts(3), row_parts(40)])
N, ROWS, WIDTH = 30, 11, 21


@pytest.fixture
def order(rng):
    return rng.permutation(N)[:ROWS].astype(np.int64)


@every_dtype
@pytest.mark.parametrize("per_example", [0, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("total_weight", [0.0, 200.0])
def test_begin(rng, order, dtype, per_example, weighted, total_weight):
    weights = rng.uniform(size=N).astype(dtype)
    step = {
        "n_rows": ROWS, "order": order, "weights": weights if weighted else 0, "total_weight": total_weight,
        "loss_scale": 0.5, "clip": 0.1,
    }  # fmt: skip
    result = call(rows.begin(dtype), step, per_example=per_example)
    total = total_weight or (weights[order].sum(dtype=np.float64) if weighted else ROWS)
    assert result["share"] == pytest.approx(0.5 / total, rel=1e-14)
    assert result["factor"] == (pytest.approx(1 / total, rel=1e-14) if per_example else 1.0)
    assert result["clip"] == 1.0


@every_dtype
@pytest.mark.parametrize(("per_example", "factor"), [(0, 1.0), (1, 0.0)])
def test_a_batch_without_weight_has_no_share(order, dtype, per_example, factor):
    step = {"n_rows": ROWS, "order": order, "weights": np.zeros(N, dtype), "loss_scale": 1.0}
    result = call(rows.begin(dtype), step, per_example=per_example)
    assert (result["share"], result["factor"]) == (0.0, factor)


def test_point_rows(order):
    table = np.full(ROWS + 1, -1, np.int64)
    call(rows.point_rows(), {"n_rows": ROWS, "order": order, "X": 1000}, row_bytes=84, table=table)
    np.testing.assert_array_equal(table, [*(1000 + 84 * order), -1])


@every_dtype
@every_cut
@pytest.mark.parametrize("sparse", [False, True])
def test_gathering(rng, order, dtype, pieces, sparse):
    X = rng.normal(size=(N, WIDTH)).astype(dtype) * (rng.random((N, WIDTH)) < 0.3)
    X[order[3]] = 0.0
    target = empty((ROWS, WIDTH), dtype)
    step = {"n_rows": ROWS, "order": order, "X": X}
    if sparse:
        stored = scipy.sparse.csr_matrix(X)
        columns, starts = stored.indices.astype(np.int64), stored.indptr.astype(np.int64)
        step.update(X=stored.data, sparse_columns=columns, sparse_starts=starts)
    kernel = rows.gather_sparse(dtype) if sparse else rows.gather_rows(dtype)
    for piece in pieces:
        call(kernel, step, width=WIDTH, target=target, stride=stride_of(target), **piece)
    np.testing.assert_array_equal(target, X[order])
    assert is_untouched(target)


@every_dtype
@every_cut
def test_write_output(rng, dtype, pieces):
    z, output = padded(rng.normal(size=(ROWS, WIDTH)), dtype), np.full((ROWS + 9, WIDTH), -1.0, dtype)
    step = {"n_rows": ROWS, "output": output, "start": 4}
    for piece in pieces:
        call(rows.write_output(dtype), step, z=z, stride=stride_of(z), width=WIDTH, **piece)
    np.testing.assert_array_equal(output[4 : 4 + ROWS], z)
    assert (output[:4] == -1.0).all()
    assert (output[4 + ROWS :] == -1.0).all()


@every_dtype
def test_sum_losses(rng, dtype):
    losses, total = rng.normal(size=ROWS + 1).astype(dtype), np.array([10.0])
    call(rows.sum_losses(dtype), {"n_rows": ROWS}, losses=losses, total=total)
    assert total[0] == pytest.approx(10.0 + ROWS * losses[:-1].sum(dtype=np.float64), rel=1e-14)
