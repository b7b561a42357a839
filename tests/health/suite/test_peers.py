"""Other tools' rules: each fires on what it describes, and not on a healthy training."""

from functools import cache

import numpy as np
import pytest

from chainrule.health.suite import CASES, CONTROLS, FAMILIES, peers
from chainrule.health.suite.recorder import record, snapshot
from chainrule.health.suite.twins import Twin
from chainrule.optim import SGD

# After which the rules have fired already.
EPOCHS = {
    "long-training-diabetes": 60,
    "fast-sgd-plane": 15,
    "frozen-iris": 5,
    "relu-output-plane": 8,
    "deep-sigmoid-circles": 8,
}


@cache
def recorded(name):
    training = next(case for case in (*CASES, *CONTROLS) if case.name == name).training(0)
    return record(training.altered(epochs=EPOCHS.get(name, training.epochs)))


@pytest.fixture(scope="module")
def healthy():
    return recorded("diabetes")


@pytest.mark.parametrize(
    ("name", "peer", "rule"),
    [
        ("dead-relu-circles", "sagemaker", "dead_relu"),
        ("dead-relu-circles", "sagemaker", "vanishing_gradient"),
        ("dead-relu-circles", "sagemaker", "all_zero"),
        ("dead-relu-circles", "autotrainer", "dying_relu"),
        ("dead-relu-circles", "deepdiagnosis", "dead_node"),
        ("fast-sgd-plane", "sagemaker", "exploding_tensor"),
        ("fast-sgd-plane", "autotrainer", "exploding"),
        ("fast-sgd-plane", "deepdiagnosis", "numerical_error"),
        ("fast-sgd-plane", "deepdiagnosis", "loss_not_decreasing"),
        ("nan-cells-cancer", "sagemaker", "exploding_tensor"),
        ("saturated-sigmoid-digits", "sagemaker", "saturated_activation"),
        ("saturated-tanh-half", "deepdiagnosis", "saturated_activation"),
        ("slow-sgd-cancer", "sagemaker", "loss_not_decreasing"),
        ("slow-sgd-cancer", "autotrainer", "slow_convergence"),
        ("long-training-diabetes", "sagemaker", "overfit"),
        ("long-training-diabetes", "sagemaker", "overtraining"),
        ("rare-class-cancer", "sagemaker", "class_imbalance"),
        ("zero-weights-circles", "sagemaker", "poor_weight_initialization"),
        ("zero-weights-circles", "sagemaker", "weight_update_ratio"),
        ("zero-weights-circles", "deepdiagnosis", "unchanged_weight"),
        ("zero-weights-circles", "deepdiagnosis", "accuracy_not_increasing"),
        ("deep-sigmoid-circles", "autotrainer", "vanishing"),
        ("linear-xor", "autotrainer", "oscillating_loss"),
        ("relu-output-plane", "deepdiagnosis", "out_of_range"),
        ("frozen-iris", "sagemaker", "weight_update_ratio"),
    ],
)
def test_a_rule_fires_on_what_it_describes(name, peer, rule):
    assert rule in peers.fired(peer, recorded(name))


@pytest.mark.parametrize("peer", peers.PEERS)
def test_no_rule_fires_on_a_healthy_training(peer, healthy):
    assert peers.fired(peer, healthy) == []


def test_every_named_cause_is_a_code_of_a_rule():
    rules = {name for peer in peers.PEERS.values() for name in peer}
    assert set(peers.NAMED_CAUSES) <= rules
    assert {cause for causes in peers.NAMED_CAUSES.values() for cause in causes} <= set(FAMILIES)


def test_a_recording_has_the_start_and_every_epoch(healthy):
    epochs = healthy.training.epochs
    assert len(healthy.snapshots) == epochs + 1
    assert len(healthy.train) == len(healthy.validation) == epochs
    assert healthy.train[-1].loss < healthy.train[0].loss


def test_a_loop_by_hand_is_recorded_like_fit():
    """The same steps on the tape, with another order of the rows: the same epochs, nearly the same end."""
    training = Twin("iris", (8,), optimizer=SGD(lr=0.1), batch_size=10, epochs=30)(0)
    by_fit = record(training)
    by_hand = record(training.altered(loss=training.loss.forward))
    assert len(by_hand.snapshots) == len(by_fit.snapshots)
    for one, other in zip(by_hand.snapshots[0].weights, by_fit.snapshots[0].weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert by_hand.train[-1].loss == pytest.approx(by_fit.train[-1].loss, abs=0.05)


def test_a_snapshot_leaves_the_module_as_it_was():
    training = Twin("iris", (8,), norm=True)(0)
    before = training.module.state_dict()
    one = snapshot(training, training.module)
    assert all((training.module.state_dict()[key] == array).all() for key, array in before.items())
    assert not training.module[0].weight.grad
    assert not training.module[2]._forward_hooks
    assert [activation.name for activation in one.activations] == ["relu"]
    np.testing.assert_array_equal(one.activations[0].h, np.maximum(one.activations[0].z, 0))
    assert [gradient.shape for gradient in one.gradients] == [(8, 4), (3, 8)]


def test_frozen_layers_have_no_gradient():
    one = recorded("frozen-iris").snapshots[-1]
    assert (len(one.weights), len(one.gradients), len(one.bias_gradients)) == (4, 1, 1)
