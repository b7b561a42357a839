"""Parity with PyTorch: reductions over axes, and softmax and its kin."""

import numpy as np
from tests.tape.parity import Programs, check

REDUCTIONS = Programs()

PLACES = {"all": {}, "0": {"dim": 0}, "-1 kept": {"dim": -1, "keepdim": True}, "two": {"dim": (0, 2)}}

for _place, _options in PLACES.items():
    for _name in ("sum", "mean"):
        REDUCTIONS.add(
            f"{_name} over {_place}", lambda xp, x, _n=_name, _o=_options: getattr(x, _n)(**_o), (2, 3, 4)
        )
    for _name in ("amax", "amin"):
        REDUCTIONS.add(
            f"{_name} over {_place}", lambda xp, x, _n=_name, _o=_options: getattr(x, _n)(**_o), (2, 3, 4)
        )
        REDUCTIONS.add(
            f"{_name} over {_place} at ties",
            lambda xp, x, _n=_name, _o=_options: getattr(x.floor() + (x - x.detach()), _n)(**_o), (2, 3, 4),
        )  # fmt: skip
    if _place != "two":
        REDUCTIONS.add(f"prod over {_place}", lambda xp, x, _o=_options: x.prod(**_o), (2, 3, 4))
    if _place != "all":
        REDUCTIONS.add(f"logsumexp over {_place}", lambda xp, x, _o=_options: x.logsumexp(**_o), (2, 3, 4))
    # Of 2 entries with correction 2 there is only NaN, and a warning from PyTorch.
    for _correction in (0, 1) if _place == "0" else (0, 1, 2):
        _more = {**_options, "correction": _correction}
        for _name in ("var", "std"):
            REDUCTIONS.add(
                f"{_name} over {_place}, correction {_correction}",
                lambda xp, x, _n=_name, _o=_more: getattr(x, _n)(**_o), (2, 3, 4),
            )  # fmt: skip
for _order in (1, 2, 3, float("inf")):
    REDUCTIONS.add(f"norm {_order}", lambda xp, x, _p=_order: x.norm(_p), (3, 4))
    REDUCTIONS.add(f"norm {_order} by rows", lambda xp, x, _p=_order: x.norm(_p, dim=1, keepdim=True), (3, 4))
for _name in ("softmax", "log_softmax"):
    for _dim in (0, 1, -1):
        REDUCTIONS.add(
            f"{_name} over {_dim}", lambda xp, x, _n=_name, _d=_dim: getattr(x, _n)(dim=_d), (3, 4, 2)
        )
for _dim in (0, -1):
    REDUCTIONS.add(f"cumsum over {_dim}", lambda xp, x, _d=_dim: x.cumsum(dim=_d), (3, 4))
    REDUCTIONS.add(f"values of max over {_dim}", lambda xp, x, _d=_dim: x.max(dim=_d).values, (3, 4))
    REDUCTIONS.add(
        f"values of min over {_dim}", lambda xp, x, _d=_dim: x.min(dim=_d, keepdim=True)[0], (3, 4)
    )
    REDUCTIONS.add(f"sort over {_dim}", lambda xp, x, _d=_dim: x.sort(dim=_d).values, (3, 4))
    REDUCTIONS.add(
        f"sort down over {_dim}", lambda xp, x, _d=_dim: x.sort(dim=_d, descending=True).values, (3, 4)
    )


@REDUCTIONS.loss((3, 4))
def max_of_all(xp, x):
    return x.max() - x.min()


@REDUCTIONS.walk((3, 4))
def indices_of_chosen(xp, x):
    return [
        x.max(dim=1).indices,
        x.argmax(dim=0),
        x.argmin(),
        x.sort(dim=1).indices,
        x.argmax(dim=1, keepdim=True),
    ]


@REDUCTIONS.walk((3, 4))
def any_and_all(xp, x):
    return [(x > 0).any(), (x > 0).all(dim=1), (x > 9).any(dim=0)]


@REDUCTIONS.loss((3, 4))
def prod_with_a_zero(xp, x):
    mask = np.ones((3, 4))
    mask[1, 2] = 0
    return (x * xp.tensor(mask)).prod(dim=0)


@REDUCTIONS.loss((3, 4))
def prod_with_two_zeros(xp, x):
    mask = np.ones((3, 4))
    mask[1, 2] = mask[1, 3] = 0
    return (x * xp.tensor(mask)).prod()


@REDUCTIONS.loss((3, 4))
def normalised_rows(xp, x):
    return (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True, correction=0)


@REDUCTIONS.loss(())
def sum_of_one_number(xp, x):
    return x.sum() * x.mean()


@REDUCTIONS.loss((0,), (2,))
def sum_of_nothing(xp, x, y):
    return x.sum() + y.sum()


@REDUCTIONS.loss((3, 4))
def norm_at_zero(xp, x):
    return (x * 0.0).norm(dim=1)


@REDUCTIONS.cases()
def test_reductions(program):
    check(program)
