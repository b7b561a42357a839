"""The remedies of section 4: the designs are what they are called, and a remedy changes one thing."""

from dataclasses import asdict

import numpy as np
import pytest

from chainrule import nn
from chainrule.book.experiments.remedies import (
    PATIENTS,
    REMEDIES,
    Budget,
    Outcome,
    deep_network,
    try_remedies,
)
from chainrule.book.sections import remedies as section


class TestDesigns:
    @pytest.mark.parametrize("remedy", sorted(set(REMEDIES) - {"none", "ReLU and He's weights"}))
    def test_a_remedy_changes_one_thing_at_most(self, remedy):
        for design in PATIENTS.values():
            before, after = asdict(design), asdict(REMEDIES[remedy](design))
            changed = {name for name in before if before[name] != after[name]}
            assert len(changed - {"gain"}) <= 1

    def test_depth_counts_the_layers_with_weights(self):
        net = deep_network(PATIENTS["sigmoid"], [4, 5, 5, 5, 2], seed=0)
        assert sum(isinstance(one, nn.Linear) for one in net) == 4

    def test_small_weights_are_pytorchs_default(self):
        net = deep_network(PATIENTS["ReLU, weights too small"], [100, 400, 3], seed=0)
        weight = net[0].weight.detach().numpy()
        assert 0.099 < np.abs(weight).max() <= 0.1

    def test_batch_norm_stands_before_the_activation(self):
        design = REMEDIES["batch normalization"](PATIENTS["sigmoid"])
        kinds = [type(one) for one in deep_network(design, [4, 5, 2], seed=0)]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.Sigmoid, nn.Linear]


def test_a_shallow_network_learns_with_any_activation():
    budget = Budget(depth=2, width=32, epochs=10, rates=(0.05,), seeds=(0,))
    for outcome in try_remedies(budget, [("sigmoid", "none"), ("sigmoid", "ReLU")]):
        assert outcome.median > 0.8


def test_refuses_an_unknown_remedy():
    with pytest.raises(ValueError, match="a patient and a remedy, got 'sigmoid' and 'prayer'"):
        try_remedies(Budget(), [("sigmoid", "prayer")])


@pytest.mark.parametrize(
    ("accuracies", "verdict"), [((0.9, 0.9), "holds"), ((0.9, 0.1), "depends"), ((0.1, 0.1), "fails")]
)
def test_the_verdict_is_decided_by_the_accuracies(accuracies, verdict):
    outcomes = [Outcome("a patient", "a remedy", 0.1, np.array([one])) for one in accuracies]
    assert section._verdict("a claim", outcomes).verdict == verdict


@pytest.mark.parametrize(
    ("exploding", "vanishing", "verdict"), [(0.5, 0.1, "holds"), (0.5, 0.5, "depends"), (0.1, 0.1, "fails")]
)
def test_clipping_is_judged_by_where_it_helps(exploding, vanishing, verdict):
    clipped = {
        patient: Outcome(patient, "clipping", 0.1, np.array([exploding if "large" in patient else vanishing]))
        for patient in PATIENTS
    }
    assert section._clipping_verdict(clipped).verdict == verdict
