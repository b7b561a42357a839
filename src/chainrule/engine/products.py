"""Matrix products over tiles: the walk around the kernels of ``tiles.py``.

Every number of a result is summed in the same order, term after term, whatever tile it falls into. How a
product is cut into tiles, or among threads, therefore changes no bit of it.
"""

from chainrule.engine._intrinsics import call_address
from chainrule.engine._jit import device
from chainrule.engine.blas import gemm
from chainrule.engine.objects import FAMILIES, MAX_ROWS, MAX_VECTORS
from chainrule.engine.tiles import ACCUMULATE, ADD_ROW, SET
from chainrule.engine.views import number_at, part

__all__ = ["NORMAL", "TRANSPOSED", "product", "product_with_transpose"]

# The two families of kernels, by their place in the table.
NORMAL, TRANSPOSED = 0, 1

# The transpose is the last entry of the table.
N_TILES = len(FAMILIES) * (MAX_ROWS + 1) * (MAX_VECTORS + 1)


@device
def height(rows_left, tallest):
    """Rows of the next tile."""
    if rows_left >= tallest:
        return tallest
    if rows_left >= 4:
        return 4
    return 2 if rows_left >= 2 else 1


# A right factor that spreads over more bytes than a second-level cache has, and that as many tiles read again
# and again, is first copied together.
BYTES_FOR_A_COPY = 1 << 20
TILES_FOR_A_COPY = 4


@device
def product(m, family, shape, left, right, result, what, scratch):
    """C = A B (family NORMAL) or Aᵀ B (TRANSPOSED), set or added. Addresses and strides are in bytes.

    ``shape`` is (rows, columns, n_terms); ``left``, ``right`` and ``result`` are (address, stride) of A, B
    and C. The columns of B that a group of tiles reads may be copied to ``scratch``, term after term: rows
    pages apart miss the caches time and again.
    """
    if m.gemm:
        beta = m.one if what == ACCUMULATE else m.zero
        blas_product(m, family == TRANSPOSED, False, shape, left, right, result, beta)
        return
    rows, columns, n_terms = shape
    (b, b_stride), (c, c_stride) = right, result
    copies = rows >= TILES_FOR_A_COPY * m.tallest and n_terms * b_stride > BYTES_FOR_A_COPY
    j = 0
    while j < columns:
        vectors = min(m.widest, (columns - j) // m.lanes)
        group = (b + j * m.itemsize, b_stride)
        if copies and vectors > 0:
            copy_rows(m, group[0], b_stride, n_terms, vectors * m.lanes, scratch)
            group = (scratch, vectors * m.lanes * m.itemsize)
        tiles_down(
            m,
            family,
            (rows, vectors, columns - j, n_terms),
            left,
            group,
            (c + j * m.itemsize, c_stride),
            what,
            0,
        )
        j += max(1, vectors) * m.lanes


@device
def product_with_transpose(m, shape, left, right, result, row, scratch):
    """C = A Bᵀ, with the numbers at ``row`` added to every row of C unless it is 0; B is (columns, n_terms).

    The kernels want the columns of a group side by side for each term: Bᵀ, copied to ``scratch``.
    """
    rows, columns, n_terms = shape
    (b, b_stride), (c, c_stride) = right, result
    if m.gemm:
        blas_product(m, False, True, shape, left, right, result, m.zero)
        if row:
            add_row(m, c, c_stride, rows, part(m, row, 0, columns))
        return
    group = m.widest * m.lanes
    for j in range(0, columns, group):
        n = min(group, columns - j)
        transposed_copy(m, b + j * b_stride, b_stride, n, n_terms, scratch, n * m.itemsize)
        i = 0
        while i < n:
            vectors = min(m.widest, (n - i) // m.lanes)
            offset = (j + i) * m.itemsize
            tiles_down(
                m, NORMAL, (rows, vectors, n - i, n_terms), left, (scratch + i * m.itemsize, n * m.itemsize),
                (c + offset, c_stride), ADD_ROW if row else SET, row + offset,
            )  # fmt: skip
            i += max(1, vectors) * m.lanes


@device
def tiles_down(m, family, shape, left, right, result, what, row):
    """The tiles of one group of columns, from the first row to the last.

    ``shape`` is (rows, vectors, columns, n_terms); without a whole vector, of ``columns`` numbers.
    """
    rows, vectors, columns, n_terms = shape
    (a, a_stride), (b, b_stride), (c, c_stride) = left, right, result
    step = a_stride if family == NORMAL else m.itemsize  # from the left factor of row i to that of row i + 1
    i = 0
    while i < rows:
        tall = height(rows - i, m.tallest)
        place = (family * (MAX_ROWS + 1) + tall) * (MAX_VECTORS + 1) + vectors
        call_address(
            number_at(m.tiles, place),
            (n_terms, a + i * step, a_stride, b, b_stride, c + i * c_stride, c_stride, what, row, columns),
        )
        i += tall


@device
def blas_product(m, transpose_a, transpose_b, shape, left, right, result, beta):
    """The same by a BLAS, where one was asked for."""
    (a, a_stride), (b, b_stride), (c, c_stride) = left, right, result
    rows, columns, n_terms = shape
    gemm(
        m.gemm, transpose_a, transpose_b, rows, columns, n_terms, a, a_stride // m.itemsize,
        b, b_stride // m.itemsize, beta, c, c_stride // m.itemsize,
    )  # fmt: skip


@device
def add_row(m, address, stride, n_rows, row):
    """Add the same numbers to every row of a matrix."""
    for i in range(n_rows):
        z = part(m, address + i * stride, 0, row.size)
        for j in range(row.size):
            z[j] += row[j]


@device
def copy_rows(m, source, stride, n_rows, n, target):
    """The first ``n`` numbers of each row, one row after the other."""
    for row in range(n_rows):
        old, new = part(m, source + row * stride, 0, n), part(m, target, row * n, n)
        for j in range(n):
            new[j] = old[j]


@device
def transposed_copy(m, a, a_stride, rows, columns, c, c_stride):
    """C (columns, rows) = Aᵀ: whole square blocks by the kernel, the edges number by number."""
    whole_rows, whole_columns = rows // m.lanes * m.lanes, columns // m.lanes * m.lanes
    for j in range(0, whole_columns, m.lanes):
        for i in range(0, whole_rows, m.lanes):
            call_address(
                number_at(m.tiles, N_TILES),
                (a + i * a_stride + j * m.itemsize, a_stride, c + j * c_stride + i * m.itemsize, c_stride),
            )
    for i in range(rows):
        first = whole_columns if i < whole_rows else 0
        copy_column(m, a + i * a_stride, first, columns, c + i * m.itemsize, c_stride)


@device
def copy_column(m, source, first, last, target, stride):
    """Entries [first, last) of a row become a column."""
    for j in range(first, last):
        part(m, target + j * stride, 0, 1)[0] = part(m, source, j, 1)[0]
