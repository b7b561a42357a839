"""More parameters than samples: what the test error does below, at and beyond interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.double_descent import (
    CLASSES,
    Peak,
    RandomFeatures,
    TrainedNetworks,
    least_norm,
    peak_of,
    random_features,
    readout_by_descent,
    trained_networks,
)
from chainrule.book.plots import COLOURS, Curve, Mark, Scale, curves
from chainrule.book.verdict import Effort, Verdict, judged, spread_of

__all__ = ["section"]

# A peak is a rise by a quarter that is undone again; it is at the threshold if within a factor of two.
_PEAK, _NEAR = 1.25, 2.0
# By how much larger a share of wrong classes counts as worse.
_WORSE = 0.02
_AT = Mark("parameters = targets", x=1.0)


@dataclass(frozen=True, eq=False)
class _Course:
    """A test error against the parameters for each target: each of n samples has one for each class."""

    model: str
    measure: str
    x: np.ndarray
    errors: np.ndarray  # a row a seed

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.errors.mean(axis=0))

    @property
    def peak(self) -> Peak:
        # Of the median: at the threshold one seed in a few is larger than all others together.
        return peak_of(self.x.tolist(), np.median(self.errors, axis=0))

    @property
    def peaks_at_threshold(self) -> bool:
        return self.peak.height >= _PEAK and 1 / _NEAR <= self.peak.at <= _NEAR

    def excess(self, x: float) -> float:
        """The error of the model nearest to x parameters a target, less the best of the smaller ones'."""
        at = int(np.argmin(np.abs(np.log(self.x / x))))
        return float(self.mean[at] - self.mean[:at].min())


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    widths = (10, 20, 40, 60, 80, 90, 100, 110, 125, 160, 250, 400, 1000)
    features = random_features(
        100, widths, ridges=(0.0, 1e-3, 1e-2, 1e-1), seeds=range(effort.choose(full=50, quick=8))
    )
    trained = tuple(
        trained_networks(
            100,
            effort.choose(
                full=(4, 6, 8, 10, 13, 16, 20, 26, 40, 80, 160, 320), quick=(4, 8, 13, 20, 40, 160)
            ),
            loss=loss,
            noise=noise,
            steps=effort.choose(full=8000, quick=2000),
            seeds=range(effort.choose(full=12, quick=3)),
        )
        for loss, noise in (
            ("half_squared_error", 0.0),
            ("half_squared_error", 0.2),
            ("softmax_cross_entropy", 0.2),
        )
    )
    courses = (*_feature_courses(features), *_trained_courses(trained))
    n = features.n
    return Section(
        "double-descent",
        "More parameters than samples",
        "8",
        (
            Words(
                "A model with enough parameters can agree with any training set, wrong labels included. The "
                "least that allows it is the interpolation threshold. The chapter says that the test error "
                "has a peak there, falls again beyond, and that far beyond networks generalize."
            ),
            Words(
                f"The task: {CLASSES} handwritten digits from {n} examples, of which a share may be given a "
                "label at random; the test labels are right. First a model whose threshold is known: a "
                "hidden ReLU layer H that is drawn and stays, and an output layer V that is solved for. For "
                f"each of {CLASSES} outputs there are n equations and as many unknowns as features, so the "
                "threshold is at as many features as samples."
            ),
            Equation(
                r"\min_V \; \| H V - Y \|^2 + \lambda \| V \|^2, \quad \lambda \to 0: "
                r"\; V = H^{+} Y"
            ),
            Code(least_norm, "Of the many V that fit beyond the threshold, the one of least norm."),
            Check(
                "Where gradient descent from zero ends, against the solution of least norm",
                readout_by_descent(),
                1e-6,
            ),
            _feature_figure(features),
            _ridge_figure(features),
            Words(
                "At the threshold there is just one V that fits, whatever its size, and it amplifies what "
                "the features cannot express as well as the noise. Hence a peak without any wrong label too. "
                "Beyond it, there is a choice among those that fit, and the smallest is taken."
            ),
            Words(
                "Then networks both of whose layers are trained by Adam. Nothing says where their threshold "
                "is. With the squared error it is expected where the parameters are as many as the targets, "
                f"n times {CLASSES}, which is the scale of the next two figures."
            ),
            Code(trained_networks),
            _loss_figure(trained),
            _wrong_figure(trained),
            _table(courses),
            _peak_verdict(courses),
            Words(
                f"Ten times as many parameters as samples is, with {CLASSES} classes, as many as there are "
                "targets: where the squared error's threshold is expected. What is ten times as much for one "
                "output is nothing to spare for ten."
            ),
            _ten_times_verdict(courses),
            _overfit_verdict(courses),
        ),
        {"features": features, "trained": trained},
    )


def _feature_courses(found: RandomFeatures) -> Iterator[_Course]:
    x = np.array(found.widths) / found.n
    shown = [(k, 0) for k in range(len(found.noises))] + [(len(found.noises) - 1, 2)]
    for k, r in shown:
        ridge = f", ridge {found.ridges[r]:g}" if found.ridges[r] else ""
        name = f"random features, {_labels(found.noises[k])}{ridge}"
        yield _Course(name, "squared error", x, found.squared[k, r])
        yield _Course(name, "wrong classes", x, found.wrong[k, r])


def _trained_courses(found: tuple[TrainedNetworks, ...]) -> Iterator[_Course]:
    for one in found:
        x = np.array(one.parameters) / (one.n * CLASSES)
        if one.loss == "half_squared_error":
            name = f"trained, {_labels(one.noise)}"
            yield _Course(name, "squared error", x, one.squared)
        else:
            name = f"trained by cross-entropy, {_labels(one.noise)}"
        yield _Course(name, "wrong classes", x, one.wrong)


def _labels(noise: float) -> str:
    return f"{noise:.0%} of labels drawn" if noise else "true labels"


def _band(name: str, x: np.ndarray, errors: np.ndarray, colour: str, *, dashed: bool = False) -> Curve:
    """The median over the seeds, and their middle half."""
    low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75), axis=0)
    return Curve(
        name, x.tolist(), middle.tolist(), colour, dashed, not dashed, low=low.tolist(), high=high.tolist()
    )


def _feature_figure(found: RandomFeatures) -> Figure:
    x = np.array(found.widths) / found.n
    shown = [
        _band(_labels(noise), x, found.squared[k, 0], colour)
        for (k, noise), colour in zip(enumerate(found.noises), COLOURS, strict=False)
    ]
    peaks = [peak_of(x.tolist(), np.median(found.squared[k, 0], axis=0)) for k in range(len(found.noises))]
    where = " and ".join(f"{one.at:g}" for one in peaks)
    return Figure(
        "descent-features",
        "Random features, least squares",
        curves(
            "Test error of random features against features for each sample",
            shown,
            Scale("features / samples", log=True),
            Scale("squared error on the test", log=True),
            marks=(Mark("features = samples", x=1.0),),
        ),
        f"The peaks are at {where} features a sample, {min(one.height for one in peaks):.0f} and "
        f"{max(one.height for one in peaks):.0f} times the least error on their higher side. Medians and the "
        f"middle half of {found.squared.shape[2]} draws of examples and features.",
    )


def _ridge_figure(found: RandomFeatures) -> Figure:
    x, k = np.array(found.widths) / found.n, len(found.noises) - 1
    shown = [
        _band(f"ridge {ridge:g}" if ridge else "least norm", x, found.wrong[k, r], colour)
        for (r, ridge), colour in zip(enumerate(found.ridges), COLOURS, strict=False)
    ]
    at = found.widths.index(found.n)
    bare, ridged = found.wrong[k, 0, :, at].mean(), found.wrong[k, 1:, :, at].mean(axis=1).min()
    return Figure(
        "descent-ridge",
        "What a ridge does to the peak",
        curves(
            "Share of wrong classes against features for each sample, for several ridges",
            shown,
            Scale("features / samples", log=True),
            Scale("wrong classes on the test", low=0.0),
            marks=(Mark("features = samples", x=1.0),),
        ),
        f"{_labels(found.noises[k])}. At the threshold {bare:.0%} of the classes are wrong without a ridge "
        f"and {ridged:.0%} with the best of these: the peak belongs to the fit without a penalty.",
    )


def _loss_figure(found: tuple[TrainedNetworks, ...]) -> Figure:
    squared = [one for one in found if one.loss == "half_squared_error"]
    shown = []
    for one, colour in zip(squared, COLOURS, strict=False):
        x = np.array(one.parameters) / (one.n * CLASSES)
        shown.append(_band(_labels(one.noise), x, one.squared, colour))
        shown.append(
            Curve("", x.tolist(), np.median(one.train_squared, axis=0).tolist(), colour, dashed=True)
        )
    return Figure(
        "descent-trained",
        "Trained networks: the squared error",
        curves(
            "Squared error of trained networks against parameters for each target",
            shown,
            Scale("parameters / (samples × outputs)", log=True),
            Scale("squared error", low=0.0),
            marks=(_AT,),
        ),
        "Test error, and dashed the training error, whose descent to 0 is the threshold. The test error's "
        f"highest peak: {'; '.join(map(_peak_words, squared))}. Medians and the middle half of "
        f"{len(squared[0].squared)} draws.",
    )


def _peak_words(one: TrainedNetworks) -> str:
    x = np.array(one.parameters) / (one.n * CLASSES)
    peak = peak_of(x.tolist(), np.median(one.squared, axis=0))
    where = "none to speak of" if peak.height < _PEAK else f"at {peak.at:.2g}, {peak.height:.2g} times"
    return f"{_labels(one.noise)}, {where}"


def _wrong_figure(found: tuple[TrainedNetworks, ...]) -> Figure:
    shown = [
        _band(
            ("squared, " if one.loss == "half_squared_error" else "cross-entropy, ") + _labels(one.noise),
            np.array(one.parameters) / (one.n * CLASSES),
            one.wrong,
            colour,
        )
        for one, colour in zip(found, COLOURS, strict=False)
    ]
    return Figure(
        "descent-classes",
        "Trained networks: wrong classes",
        curves(
            "Share of wrong classes on the test against parameters for each target",
            shown,
            Scale("parameters / (samples × outputs)", log=True),
            Scale("wrong classes on the test", low=0.0),
            marks=(_AT,),
        ),
        "The same networks, and others trained by cross-entropy, judged by the class they name. The highest "
        f"peak of any of the medians is {max(map(_class_peak, found)):.2g} times what is on either side.",
    )


def _class_peak(one: TrainedNetworks) -> float:
    return peak_of(one.widths, np.median(one.wrong, axis=0)).height


def _table(courses: tuple[_Course, ...]) -> Table:
    rows = []
    for one in courses:
        peak, is_peak = one.peak, one.peak.height >= _PEAK
        at = f"{peak.at:.2g}" if is_peak else "none"
        rows.append(
            (one.model, one.measure, at, f"{peak.height:.2g}", f"{one.mean[:-1].min():.2g}",
             f"{one.mean[-1]:.2g}")
        )  # fmt: skip
    return Table(
        ("model", "measure", "peak at", "height", "best narrower", "widest"),
        tuple(rows),
        numeric=4,
        caption="Where the median test error has its peak, in parameters a target, and how many times the "
        f"least error on its higher side it is; below {_PEAK:g} it is called none. Then mean test "
        "errors: the best of all but the widest model, and the widest.",
    )


def _peak_verdict(courses: tuple[_Course, ...]) -> Verdict:
    good = [one.peaks_at_threshold for one in courses]
    there = [f"{one.model} ({one.measure})" for one in courses if one.peaks_at_threshold]
    return Verdict(
        claim="Test error peaks at the interpolation threshold and falls again",
        section="8",
        expected=f"a peak of {_PEAK:g} times what is on either side, within a factor of {_NEAR:g} of as many "
        "parameters as targets",
        measured=f"in {sum(good)} of {len(good)} cases: {'; '.join(there) or 'none'}",
        spread="heights "
        + spread_of([one.peak.height for one in courses], "cases, each the median of its draws"),
        verdict=judged(good),
    )


def _ten_times_verdict(courses: tuple[_Course, ...]) -> Verdict:
    """At ten times the samples in all, and at ten times the samples for each output."""
    courses = tuple(one for one in courses if one.measure == "wrong classes")
    at, beyond = ([one.excess(x) for one in courses] for x in (10 / CLASSES, 10.0))
    return Verdict(
        claim="Networks with ten times as many parameters as samples generalize",
        section="8",
        expected=f"wrong classes on the test at most {_WORSE:.0%} more than in the best smaller model",
        measured=f"so in {sum(one <= _WORSE for one in at)} of {len(at)} cases at ten times in all, one "
        f"parameter a target; in {sum(one <= _WORSE for one in beyond)} of {len(beyond)} at ten times "
        "for each output",
        spread="excess " + spread_of([*at, *beyond], "cases"),
        verdict=judged([one <= _WORSE for one in (*at, *beyond)]),
    )


def _overfit_verdict(courses: tuple[_Course, ...]) -> Verdict:
    courses = tuple(one for one in courses if one.measure == "wrong classes")
    excess = [one.excess(float(one.x[-1])) for one in courses]
    return Verdict(
        claim="More parameters need not overfit",
        section="8",
        expected=f"wrong classes of the widest at most {_WORSE:.0%} more than of the best narrower model, "
        "with wrong labels among the training set too",
        measured=f"so in {sum(one <= _WORSE for one in excess)} of {len(excess)} cases",
        spread="excess " + spread_of(excess, "cases"),
        verdict=judged([one <= _WORSE for one in excess]),
    )
