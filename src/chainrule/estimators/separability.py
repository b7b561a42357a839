"""Linear separability, decided with a proof, and the bound on a perceptron's mistakes.

Rosenblatt's theorem: on data with yᵢ(w*·xᵢ + b*) ≥ γ > 0 the perceptron that begins with zero weights makes
at most ‖w*‖² R² / γ² updates. With b* as one more weight, of a feature that is 1 in every row:

- each update adds at least ηγ to wₖ·w*, since yᵢ(w*·xᵢ) ≥ γ: wₖ·w* ≥ kηγ;
- each adds at most η²R² to ‖wₖ‖², since it comes of a mistake, yᵢ(wₖ·xᵢ) ≤ 0: ‖wₖ‖ ≤ √k ηR;
- by Cauchy and Schwarz kηγ ≤ √k ηR ‖w*‖, whatever η is.

What sign(0) = +1 has to do with it. A point on the plane counts as +1, so a positive point there is no
mistake and a negative one is. Either way a mistake has yᵢzᵢ ≤ 0, which is all that the proof asks; the bound
holds. The other direction: the perceptron stops at a plane with z ≥ 0 on the positive points and z < 0 on
the negative ones, which is less than the theorem's yᵢzᵢ > 0. **With a bias the two are the same property of
the data**: of finitely many negative points one has the greatest z, and half of it moved into b makes every
inequality strict. So it is *strict* separability that ``is_separable`` decides, and the perceptron comes to
rest on exactly the data for which it holds. Without a bias they are not the same: a positive point at the
origin is classified rightly by every w, and separated by none.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import linprog
from sklearn.utils import check_X_y
from sklearn.utils.multiclass import check_classification_targets

from chainrule.estimators.rational import EPSILON, Plane, common_point_or_plane, margins, rows_below_one

__all__ = ["MaximumMargin", "Separability", "is_separable", "maximum_margin", "mistake_bound"]

# Exact elimination takes time with the cube of the features, and half a second at this number of them.
EXACT_FEATURES = 30
# How far the two combinations of a common point that was not proved exactly may be apart, in half ranges of
# a feature. Exact proofs begin with the rows whose weights are above it.
TOLERANCE = 1e-8
# Relative duality gap above which a plane is not given out as the one of maximum margin.
LARGEST_GAP = 1e-6


@dataclass(frozen=True, eq=False)
class Separability:
    """Whether two classes are linearly separable, and the proof. True or false by itself.

    Attributes
    ----------
    separator : (ndarray of shape (d,), float) or None
        w and b with yᵢ(w·xᵢ + b) ≥ 1 for every row, which has been verified exactly. They are floats; only
        if no rounding of the plane separates the rows, fractions (w an array of them).
    combination : ndarray of shape (n,) or None
        Weights λ ≥ 0 that sum to 1 over each class, with Σ₊ λᵢ xᵢ = Σ₋ λᵢ xᵢ: a point of both convex hulls,
        so that no plane can part them. Fractions where ``exact``, else floats.
    exact : bool
        Whether the proof was verified in exact rational arithmetic. If not, the two sums differ by at most
        1e-8 of a feature's half range.
    """

    separator: Plane | None
    combination: np.ndarray | None
    exact: bool

    def __bool__(self) -> bool:
        return self.separator is not None


@dataclass(frozen=True, eq=False)
class MaximumMargin:
    """The plane that is farthest from the nearest rows, the bias counted as one more weight.

    Attributes
    ----------
    weight : ndarray of shape (d,)
    bias : float
        Scaled so that the least yᵢ(w·xᵢ + b) is 1.
    margin : float
        γ = 1/‖(w, b)‖, the least yᵢ(w·xᵢ + b) of the plane with ‖(w, b)‖ = 1.
    radius : float
        R = max ‖(xᵢ, 1)‖.
    bound : float
        (R/γ)² = ‖(w, b)‖² R², the most mistakes that a perceptron can make.
    gap : float
        ‖(w, b)‖² is at most this much, relative to it, above the least possible, by weak duality. Rounding,
        and no more, if the Karush-Kuhn-Tucker conditions hold.
    """

    weight: np.ndarray
    bias: float
    margin: float
    radius: float
    bound: float
    gap: float


def is_separable(X: Any, y: Any) -> Separability:
    """Whether a plane has all rows of one class strictly on one side and all of the other on the other.

    A linear program: the greatest t with yᵢ(w·xᵢ + b) ≥ t and |wⱼ| ≤ 1 is positive if there is such a plane,
    and 0 if not; then its dual solution is a point of both convex hulls. Features are brought to [−1, 1]
    first, so the scale of the data does not matter. What the solver finds in floating point is then proved
    in fractions; and where it cannot be, because the classes (nearly) touch, an exact simplex method
    decides, begun with the solver's rows.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Taken as float64.
    y : array-like of shape (n,)
        Labels of at most two classes; the greater is +1. If there is but one, it is −1 where it says so, else
        +1.

    Returns
    -------
    Separability
        True or false, with the plane or the common point. A plane is always verified exactly; a common
        point, if there are at most 30 features.

    Raises
    ------
    ValueError
        If y has more than two classes, or X is not finite.
    ArithmeticError
        If there are more features than that and neither proof holds to the tolerance.

    Notes
    -----
    Strict separability; see the module for what sign(0) = +1 changes about it: with a bias, nothing.

    References
    ----------
    Boyd & Vandenberghe, "Convex Optimization", 2004, section 8.6.1. Minsky & Papert, "Perceptrons", 1969,
    for XOR.

    Examples
    --------
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> weight, bias = is_separable(X, [0, 1, 1, 1]).separator  # OR
    >>> [bool(z > 0) for z in X @ weight + bias]
    [False, True, True, True]
    >>> xor = is_separable(X, [0, 1, 1, 0])
    >>> bool(xor), xor.exact, [str(share) for share in xor.combination]
    (False, True, ['1/2', '1/2', '1/2', '1/2'])
    """
    X, sign = _checked(X, y)
    if abs(sign.sum()) == len(sign):
        return Separability((np.zeros(X.shape[1]), float(sign[0])), None, exact=True)
    plane, combination = _solve_linear_program(X, sign)
    if not len(rows_below_one(X, sign, plane)):
        return Separability(plane, None, exact=True)
    if X.shape[1] <= EXACT_FEATURES:
        return _decide_exactly(X, sign, combination)
    if _distance(X, sign, combination) <= TOLERANCE:
        return Separability(None, combination, exact=False)
    raise ArithmeticError(
        f"the classes are too close to decide in floating point, and X has {X.shape[1]} features, too many "
        f"(above {EXACT_FEATURES}) to decide exactly"
    )


def maximum_margin(X: Any, y: Any) -> MaximumMargin:
    """The separating plane of maximum margin, the bias counted as one more weight.

    min ‖w‖² subject to yᵢ(w·xᵢ) ≥ 1, rows with a constant feature 1: a quadratic program, solved by Goldfarb
    and Idnani's dual active-set method, which ends with the optimum and not with an approximation.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
        As for ``is_separable``.

    Returns
    -------
    MaximumMargin

    Raises
    ------
    ValueError
        If the data is not linearly separable.
    ArithmeticError
        If rounding keeps the plane from being proved optimal to 1e-6, which takes bounds beyond about 1e18.

    References
    ----------
    Goldfarb & Idnani, "A numerically stable dual method for solving strictly convex quadratic programs",
    Mathematical Programming 27, 1983.

    Examples
    --------
    >>> best = maximum_margin([[0.0], [2.0]], [-1, 1])
    >>> best.weight.round(12), round(best.bias, 12), round(best.bound, 9)
    (array([1.]), -1.0, 10.0)
    """
    X, sign = _checked(X, y)
    if not is_separable(X, sign):
        raise ValueError(
            "X and y are not linearly separable, so no plane has a margin; is_separable(X, y) gives the proof"
        )
    rows = sign[:, None] * np.column_stack([X, np.ones(len(X))])
    with np.errstate(over="ignore"):
        radius = float(np.linalg.norm(rows, axis=1).max())
    if not np.isfinite(radius):
        raise ArithmeticError("the rows of X are too long to square their norms in floating point")
    # A power of two, so that no row is rounded. Afterwards the norms are at most about 1.
    unit = 2.0 ** np.round(np.log2(radius))
    plane, active, multipliers = _active_set(rows / unit)
    plane = plane / unit
    least = _least_margin(X, sign, plane)
    if least <= 0:
        raise ArithmeticError("the margin is too small, relative to the data, for floating point")
    plane = plane / least
    squared = float(plane @ plane)
    gap = max(squared / _lower_bound(rows[active], multipliers) - 1, 0.0)
    if not gap <= LARGEST_GAP:
        raise ArithmeticError(
            f"the plane of maximum margin could not be found: relative duality gap {gap:.1e}"
        )
    return MaximumMargin(plane[:-1], float(plane[-1]), squared**-0.5, radius, squared * radius**2, gap)


def mistake_bound(X: Any, y: Any) -> float:
    """The most updates that a perceptron can make on separable data: ‖w*‖² R² / γ², with the best w*.

    The bias is one of the weights, of a feature that is 1 in every row. The bound holds for zero initial
    weights, any order of the rows, any η, and rows of equal weight; the module has the proof.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
        As for ``is_separable``.

    Returns
    -------
    float
        ``maximum_margin(X, y).bound``.

    Raises
    ------
    ValueError, ArithmeticError
        As ``maximum_margin``; ValueError if the data is not linearly separable.

    References
    ----------
    Novikoff, "On convergence proofs on perceptrons", 1962.

    Examples
    --------
    >>> from chainrule.estimators.perceptron import Perceptron
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]  # AND
    >>> round(mistake_bound(X, y), 9)
    51.0
    >>> perceptron = Perceptron(tol=None).fit(X, y)
    >>> perceptron.converged_, perceptron.n_updates_ <= mistake_bound(X, y)
    (True, True)
    """
    return maximum_margin(X, y).bound


# -- the data --------------------------------------------------------------------------------------


def _checked(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """X as float64, and y as signs."""
    X, y = check_X_y(X, y, dtype=np.float64)
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) > 2:
        raise ValueError(f"y must have at most two classes; it has {len(classes)}: {classes}")
    is_positive = np.full(len(y), classes[0] != -1) if len(classes) == 1 else y == classes[1]
    return X, np.where(is_positive, 1.0, -1.0)


# -- separability ----------------------------------------------------------------------------------


def _solve_linear_program(X: np.ndarray, sign: np.ndarray) -> tuple[Plane, np.ndarray]:
    """The solver's plane, scaled to margins of about 2, and its λ, each right only if the other is not."""
    centre = X.max(axis=0) / 2 + X.min(axis=0) / 2
    half_range = X.max(axis=0) / 2 - X.min(axis=0) / 2
    half_range[half_range == 0] = 1
    scaled = (X - centre) / half_range
    n, d = X.shape
    # Variables w, b, t; minimise −t.
    solution = linprog(
        [0] * (d + 1) + [-1],
        A_ub=np.column_stack([-sign[:, None] * scaled, -sign, np.ones(n)]),
        b_ub=np.zeros(n),
        bounds=[(-1, 1)] * d + [(None, None)] * 2,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solution.x is None:
        raise ArithmeticError(f"the linear program was not solved: {solution.message}")
    with np.errstate(all="ignore"):  # no plane comes of it then; what does is verified
        weight = 2 * solution.x[:d] / half_range / solution.x[-1]
        bias = 2 * solution.x[d] / solution.x[-1] - weight @ centre
    combination = np.maximum(-solution.ineqlin.marginals, 0)
    for one in (sign > 0, sign < 0):
        total = combination[one].sum()
        combination[one] = combination[one] / total if total > 0 else 1 / one.sum()
    return (weight, float(bias)), combination


def _decide_exactly(X: np.ndarray, sign: np.ndarray, combination: np.ndarray) -> Separability:
    """Decide for a few rows; add some that the plane between these does not separate, until none is left."""
    chosen = set(np.flatnonzero(combination > TOLERANCE).tolist())
    while True:
        rows = sorted(chosen)
        weights, plane = common_point_or_plane(X[rows], sign[rows])
        if plane is None:
            exact = np.full(len(X), Fraction(0), dtype=object)
            exact[rows] = weights
            return Separability(None, exact, exact=True)
        for candidate in (_rounded(plane), plane):
            wrong = rows_below_one(X, sign, candidate)
            if not len(wrong):
                return Separability(candidate, None, exact=True)
        # The worst row of each class; ``wrong`` is what the fractions leave, and none of it was chosen.
        missed = margins(X[wrong], sign[wrong], plane)
        for side in (1, -1):
            of_side = [pair for pair in zip(missed, wrong.tolist(), strict=True) if sign[pair[1]] == side]
            chosen.update(row for _, row in sorted(of_side)[:1])


def _rounded(plane: Plane) -> Plane:
    """A plane of fractions in floats; not finite where they are too great for one."""
    try:
        return plane[0].astype(np.float64), float(plane[1])
    except OverflowError:
        return np.full(len(plane[0]), np.nan), np.nan


def _distance(X: np.ndarray, sign: np.ndarray, combination: np.ndarray) -> float:
    """How far the two combinations are apart, in half ranges of the feature where it is farthest."""
    half_range = X.max(axis=0) / 2 - X.min(axis=0) / 2
    differences = (sign * combination) @ (X - X[0])
    return float(np.max(np.abs(differences) / np.where(half_range > 0, half_range, 1)))


# -- maximum margin --------------------------------------------------------------------------------


def _active_set(rows: np.ndarray) -> tuple[np.ndarray, list[int], np.ndarray]:
    """min ‖w‖² subject to aᵢ·w ≥ 1: w, the rows that hold it, and their multipliers.

    From w = 0 on, w is the optimum for the rows of the active set. The row that is most violated enters.
    """
    n, d = rows.shape
    weight, active, multipliers = np.zeros(d), list[int](), np.zeros(0)
    for _ in range(10 * (n + d)):
        violation = 1 - rows @ weight
        violation[active] = 0
        entering = int(violation.argmax())
        if violation[entering] <= 4 * d * EPSILON * (1 + np.linalg.norm(weight)):
            break
        active = _enter(rows, active, multipliers, entering, violation[entering])
        # w = Nλ with Nᵀw = 1, the active rows being the columns of N = QR.
        Q, R = np.linalg.qr(rows[active].T)
        inner = solve_triangular(R, np.ones(len(active)), trans="T")
        weight, multipliers = Q @ inner, solve_triangular(R, inner)
    return weight, active, np.maximum(multipliers, 0)


def _enter(
    rows: np.ndarray, active: list[int], multipliers: np.ndarray, entering: int, violation: float
) -> list[int]:
    """The active set with a row more, and without those whose multipliers fall to 0 on the way there."""
    row, active = rows[entering], list(active)
    while True:
        # The row's part in the span of the active ones, N r, and the rest of it.
        Q, R = np.linalg.qr(rows[active].T)
        inner = Q.T @ row
        rest = row - Q @ inner
        r = solve_triangular(R, inner) if active else inner
        square = float(rest @ rest)
        full_step = violation / square if square > (1e-13) ** 2 * (row @ row) else np.inf
        ratios = np.divide(multipliers, r, out=np.full(len(active), np.inf), where=r > 0)
        step = min(full_step, ratios.min(initial=np.inf))
        if step == np.inf:
            raise ArithmeticError("the margin is too small, relative to the data, for floating point")
        if step == full_step:
            return [*active, entering]
        violation -= step * square
        leaving = int(ratios.argmin())
        multipliers = np.delete(multipliers - step * r, leaving)
        del active[leaving]


def _least_margin(X: np.ndarray, sign: np.ndarray, plane: np.ndarray) -> float:
    """The least yᵢ(w·xᵢ + b), exact until it is rounded at the end."""
    weight, bias = plane[:-1], plane[-1]
    approximate = sign * (X @ weight + bias)
    error = (len(plane) + 8) * EPSILON * (np.abs(X) @ np.abs(weight) + abs(bias))
    candidates = approximate - error <= (approximate + error).min()
    return float(min(margins(X[candidates], sign[candidates], (weight, bias))))


def _lower_bound(rows: np.ndarray, multipliers: np.ndarray) -> float:
    """Weak duality: (Σλ)²/‖Σ λᵢaᵢ‖² ≤ ‖w‖² for all λ ≥ 0 and all w with aᵢ·w ≥ 1. Exact until the end."""
    shares = [Fraction(one) for one in multipliers]
    combined = [
        sum(share * Fraction(value) for share, value in zip(shares, column, strict=True))
        for column in rows.T.tolist()
    ]
    return float(sum(shares) ** 2 / sum(value**2 for value in combined))
