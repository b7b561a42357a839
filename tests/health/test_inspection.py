"""The Jacobian spectrum and the Hessian of a checkup: when they are measured, and where they are shown."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.health.checkups import X, Y, case, net

from chainrule import nn, optim
from chainrule.health import curvature, jacobian_spectrum
from chainrule.health.evidence import Clock
from chainrule.health.examination import checkup
from chainrule.health.inspection import drawn_rows, spectrum_of
from chainrule.health.page import to_page
from chainrule.health.text import to_text
from chainrule.health.words import flow_words


@pytest.fixture(scope="module")
def measured():
    return checkup(net(), (X, Y), optimizer=optim.Adam(lr=1e-2), budget="20s", epochs=3, curvature=True)


def test_the_spectrum_is_that_of_the_start():
    evidence = case("deep sigmoid").evidence
    training = evidence.training
    expected = jacobian_spectrum(training.module, training.X, training.y, training.loss)
    np.testing.assert_allclose(evidence.spectrum.flow.ratio, expected.flow.ratio)
    np.testing.assert_array_equal(evidence.spectrum.rows, expected.rows)
    plain = json.loads(case("deep sigmoid").to_json())["spectrum"]
    np.testing.assert_allclose(plain["flow"]["derivative_factor"], expected.flow.derivative_factor)
    assert [one["name"] for one in plain["layers"]] == [one.name for one in expected.layers]
    np.testing.assert_allclose(
        plain["end_to_end"]["singular_values"], expected.end_to_end.singular_values.mean(axis=0)
    )


def test_a_vanishing_error_signal_is_split_into_weights_and_slopes():
    report = case("deep sigmoid")
    flow = report.evidence.spectrum.flow
    words = flow_words(report.evidence.spectrum)
    assert f"multiplies δ by {np.exp(np.log(flow.ratio).mean()):.3g}: weights" in words
    assert f"times slopes {np.exp(np.log(flow.derivative_factor).mean()):.3g} (mean of 8)" in words
    assert words in " ".join(to_text(report).split())
    assert words in to_page(report)
    # The two factors are all there is of the ratio.
    np.testing.assert_allclose(flow.weight_factor * flow.derivative_factor, flow.ratio)


def test_without_a_finding_of_flow_nothing_is_said_of_it():
    report = case("healthy")
    assert report.evidence.spectrum is not None
    assert "multiplies δ" not in to_text(report)
    assert flow_words(None) == ""


def test_a_large_network_and_one_without_time_are_not_measured():
    evidence = case("healthy").evidence
    assert spectrum_of(evidence, Clock(10.0)) is not None
    assert spectrum_of(evidence, Clock(-1.0)) is None
    wide = replace(evidence.start.layers[0], fan_in=300, width=300)
    assert spectrum_of(replace(evidence, start=replace(evidence.start, layers=(wide,))), Clock(1e9)) is None
    assert spectrum_of(replace(evidence, start=None), Clock(10.0)) is None


def test_a_loss_that_takes_no_double_precision_leaves_a_random_error_signal():
    def loss(outputs, y):
        if outputs.dtype == np.float64:
            raise TypeError("float32 alone")
        return nn.CrossEntropyLoss()(outputs, y)

    evidence = case("healthy").evidence
    found = spectrum_of(replace(evidence, training=evidence.training.altered(loss=loss)), Clock(10.0))
    assert found.flow.source == "random"
    assert evidence.spectrum.flow.source == "loss"


def test_the_hessian_is_that_of_the_end(measured):
    evidence = measured.evidence
    training = evidence.training
    rows = drawn_rows(len(training.X), 256)
    expected = curvature(evidence.ran.module, training.X[rows], training.y[rows], training.loss)
    np.testing.assert_array_equal(evidence.curvature.top, expected.top)
    plain = json.loads(measured.to_json())["curvature"]
    assert plain["top"] == expected.top.tolist()
    assert plain["index"] == expected.index
    assert plain["trace"] == expected.trace


def test_the_hessian_is_shown(measured):
    page, text = to_page(measured), to_text(measured)
    assert "<h2>Curvature</h2>" in page
    for words in ("largest eigenvalues of the Hessian", "trace", "index"):
        assert words in page
        assert words in " ".join(text.split())
    assert f"{measured.evidence.curvature.top[0]:.3g}" in text


def test_the_hessian_is_not_measured_unasked():
    assert case("healthy").evidence.curvature is None
    assert "<h2>Curvature</h2>" not in to_page(case("healthy"))
    assert "Curvature" not in to_text(case("healthy"))


def test_what_cannot_be_measured_is_noted():
    def loss(outputs, y):
        return nn.CrossEntropyLoss()(outputs, y) * float("nan")

    with np.errstate(all="ignore"):
        report = checkup(net(), (X, Y), loss=loss, budget="20s", epochs=1, curvature=True)
    assert report.evidence.curvature is None
    assert any("the curvature could not be measured" in note for note in report.evidence.notes)
