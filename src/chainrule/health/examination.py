"""``checkup``: why a network is not learning, what to do, and the proof that it helps."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chainrule.atomic_files import write_atomically
from chainrule.health.describe import described, is_torch
from chainrule.health.diagnosis import Finding, diagnose, is_failing
from chainrule.health.evidence import Clock, Evidence, gather
from chainrule.health.inspection import curvature_of, spectrum_of
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.proof import Proof, Trial
from chainrule.health.trainings import Training

__all__ = ["Checkup", "checkup", "examine"]

# How much of the budget goes into measuring; the rest is for trying remedies.
MEASURING = 0.5


def checkup(
    model: Any,
    data: tuple[Any, Any],
    loss: Any = None,
    optimizer: Any = None,
    validation: Any = None,
    budget: str | float = "5s",
    curvature: bool = False,
    **settings: Any,
) -> Checkup:
    """Say why a network is not learning, or that it does.

    The model is examined as it is given, at the start of its training: its data, its first step, three gates
    (can it memorise 32 examples, does any learning rate help, does it look at its inputs), and the training
    itself as far as the budget reaches. A finding is critical only where the network fails to learn and,
    where there was time, a remedy was seen to help. The model is never changed.

    Parameters
    ----------
    model : chainrule.nn.Module, MLPClassifier, MLPRegressor, or torch.nn.Module
        Of an estimator, fitted or not, its network before training. A PyTorch module that `from_torch` can
        convert, as it can its loss and its optimizer, runs on this library's engine; any other on PyTorch's
        autograd, as a copy on the CPU.
    data : (X, y)
        Rows to learn from: X (n, d), y class indices or labels (n,), or numbers. What a PyTorch module takes
        may be of any shape (n, ...), whole numbers too; it gives (n,), (n, k), or numbers of the shape of y.
    loss : str, loss module or callable, optional
        By default cross-entropy for classes and the squared error for numbers. With a PyTorch module a
        callable is a function (outputs, y) of its tensors.
    optimizer : Optimizer, torch optimizer or float, optional
        A number is Adam's learning rate. Of an optimizer over the model's parameters its class, its groups
        and their settings are taken.
    validation : (X, y), optional
        Rows to judge by; otherwise a fifth is held out.
    budget : str or float
        Such as "5s" or "1m"; a number is seconds.
    curvature : bool
        Measure the Hessian of the loss where the training ended, too: largest and smallest eigenvalues, trace
        and index. That takes longer than the budget.
    **settings
        ``batch_size``, ``epochs``, ``step`` (the user's own training step: (module, optimizer, x, y) -> loss)
        and what ``chainrule.fit`` takes: ``l2``, ``class_weight``, ...; on PyTorch, ``clip_norm``,
        ``early_stopping`` and ``schedule``, a function of an optimizer that gives a scheduler to step after
        each epoch.

    Returns
    -------
    Checkup

    Raises
    ------
    TypeError, ValueError
        If the model, the data or a setting cannot be used; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from chainrule import nn, optim
    >>> X, y = load_digits(return_X_y=True)
    >>> net = nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1))
    >>> checkup(net, (X / 16, y), optimizer=optim.Adam(lr=1e-2), budget="20s").ok
    True
    >>> for layer in (net[0], net[2]):
    ...     layer.weight = np.zeros(layer.weight.shape)
    >>> report = checkup(net, (X / 16, y), optimizer=optim.Adam(lr=1e-2), budget="20s")
    >>> report.ok, report.findings[0].code
    (False, 'symmetry')
    """
    training = described(model, data, loss=loss, optimizer=optimizer, validation=validation, **settings)
    seconds = seconds_of(budget)
    with _left_alone(model):
        report = examine(training, seconds, curvature=curvature)
    report.model = model
    return report


def _left_alone(model: Any) -> contextlib.AbstractContextManager[None]:
    """What the user's code does to the model that it was given is undone, where the model is PyTorch's."""
    if not is_torch(model):
        return contextlib.nullcontext()
    from chainrule.health.torch_backend import left_alone

    return left_alone(model)


def examine(training: Training, budget: float = 5.0, seed: int = 0, curvature: bool = False) -> Checkup:
    """`checkup` of a training that is described already."""
    clock = Clock(budget)
    evidence = gather(training, MEASURING * budget, seed)
    findings = diagnose(evidence, clock, (seed,))
    # After the remedies, which come first.
    evidence = replace(
        evidence,
        spectrum=spectrum_of(evidence, clock),
        curvature=curvature_of(evidence) if curvature else None,
    )
    return Checkup(evidence, findings)


def seconds_of(budget: str | float) -> float:
    """A time such as "5s", "2m" or a number of seconds."""
    if isinstance(budget, int | float) and not isinstance(budget, bool) and budget > 0:
        return float(budget)
    read = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", str(budget))
    seconds = float(read[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[read[2] or "s"] if read else 0.0
    if not seconds > 0:
        raise ValueError(f"budget must be a time such as '5s' or '1m'; got {budget!r}")
    return seconds


class Checkup:
    """What a checkup found.

    Attributes
    ----------
    evidence : Evidence
        Everything that was measured.
    findings : list of Finding
        The most probable cause first; what follows from a cause is under it.
    model : object
        What was given to `checkup`, which it leaves as it is; None of a `Training`.
    """

    def __init__(self, evidence: Evidence, findings: list[Finding]) -> None:
        self.evidence, self.findings = evidence, findings
        self.model: Any = None

    def __str__(self) -> str:
        from chainrule.health.text import to_text

        return to_text(self)

    def __repr__(self) -> str:
        critical = [one.code for one in self.findings if one.critical]
        return f"Checkup(ok={self.ok}, critical={critical})"

    def to_json(self, path: str | os.PathLike[str] | None = None, proofs: Sequence[Proof] = ()) -> str:
        """Everything as JSON; written to a file too, if a path is given."""
        from chainrule.health.plain import to_plain

        text = json.dumps(to_plain(self, proofs), indent=2, allow_nan=False)
        if path is not None:
            write_atomically(path, text.encode())
        return text

    def to_html(self, path: str | os.PathLike[str], proofs: Sequence[Proof] = ()) -> None:
        """One page that needs nothing but itself, with figures.

        Parameters
        ----------
        path : path
        proofs : sequence of Proof
            What ``prescribe`` gave, to be shown too.
        """
        from chainrule.health.page import to_page

        write_atomically(path, to_page(self, proofs).encode())

    @property
    def ok(self) -> bool:
        """Whether the network learns: nothing critical was found."""
        return not self.fails and not any(one.critical for one in self.findings)

    @property
    def fails(self) -> bool:
        """Whether a gate, or the training itself, failed."""
        return is_failing(self.evidence)

    def prescribe(
        self, verify: bool = True, seeds: Sequence[int] = (0, 1, 2), budget: str | float = "60s"
    ) -> list[Proof]:
        """Remedies, each run from the same starts as the training without it; the best first.

        Parameters
        ----------
        verify : bool
            Run them; otherwise those of the findings are given as they are, with no numbers.
        seeds : sequence of int
            Starts: 0 is the model's own, others are other draws from its weights.
        budget : str or float
            After so long no other is begun.

        Returns
        -------
        list of Proof
            Where ``verify``, those that helped; empty if nothing did.
        """
        clock = Clock(seconds_of(budget))
        with _left_alone(self.model):
            return self._prescribed(verify, seeds, clock)

    def _prescribed(self, verify: bool, seeds: Sequence[int], clock: Clock) -> list[Proof]:
        codes = self._codes() if self.findings else list(PRESCRIPTIONS)
        trial = Trial(self.evidence, clock, seeds if verify else ())
        proofs = [proof for proof in map(trial.of, codes) if proof is not None]
        if not verify:
            return proofs
        return sorted((proof for proof in proofs if proof.helped), key=lambda proof: -proof.gain)

    def _codes(self) -> list[str]:
        """The remedies of the findings, in their order, and of what follows from them."""
        from chainrule.health.rules import RULES

        found: list[str] = []
        for finding in self.findings:
            for one in (finding, *finding.consequences):
                found += [code for code in RULES[one.code].prescriptions if code not in found]
        return found

    def apply(self, proof: Proof) -> Training:
        """The training with a remedy, a new one: its ``module`` and what else was changed.

        Of a PyTorch module that was examined as it is, ``module`` is one of PyTorch's. Of one that was
        converted it is one of this library's; ``chainrule.exports.to_torch(training.module)`` takes it back.
        """
        if not isinstance(proof, Proof):
            raise TypeError(f"apply takes one of what prescribe() gave; got {type(proof).__name__}")
        training = proof.training
        return training.altered(module=training.backend.copied(training.module))
