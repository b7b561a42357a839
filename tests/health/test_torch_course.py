"""Trainings on PyTorch: schedules, early stopping, weight decay, modules that give more than one tensor."""

import numpy as np
import pytest
from tests.health.examples import blobs

from chainrule.health.describe import described
from chainrule.health.evidence import gather
from chainrule.health.examination import checkup
from chainrule.health.one_output import OneOutput
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.torch_course import Course
from chainrule.health.trainings import outputs_of, run


@pytest.fixture
def make_net(torch):
    """Of a class of its own, which has no counterpart in this library."""

    def make(gives=lambda z, h: z):
        torch.manual_seed(0)

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = torch.nn.Linear(2, 16), torch.nn.Linear(16, 3)

            def forward(self, x):
                h = torch.relu(self.first(x))
                return gives(self.last(h), h)

        return Net()

    return make


def training_of(torch, net, rate=0.1, **settings):
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    return described(net, blobs(), loss=torch.nn.CrossEntropyLoss(), optimizer=optimizer, **settings)


# ------------------------------------------------------------------------------------------ schedules


def test_a_schedule_is_stepped_after_each_epoch(torch, make_net):
    made = []

    def schedule(optimizer):
        made.append(torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5))
        return made[-1]

    training = training_of(torch, make_net(), epochs=3, schedule=schedule)
    run(training)
    assert made[-1].get_last_lr() == [0.1 * 0.5**3]
    run(training.with_rate(0.4))
    assert made[-1].get_last_lr() == pytest.approx([0.4 * 0.5**3])
    assert len(made) == 2


def test_a_rate_of_0_by_schedule_keeps_the_weights_after_the_first_epoch(torch, make_net):
    def stop(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: float(epoch < 1))

    one = run(training_of(torch, make_net(), epochs=1)).module
    three = run(training_of(torch, make_net(), epochs=3, schedule=stop)).module
    assert torch.equal(one.first.weight, three.first.weight)


def test_reduce_on_plateau_is_told_the_loss(torch, make_net):
    def schedule(optimizer):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)

    assert run(training_of(torch, make_net(), epochs=2, schedule=schedule)).is_finite


def test_a_scheduler_that_is_made_already_is_refused(torch, make_net):
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(TypeError, match="^schedule must be a function of an optimizer .* got StepLR$"):
        checkup(net, blobs(), optimizer=optimizer, schedule=scheduler)


# ------------------------------------------------------------------------------------- early stopping


def test_the_best_epoch_is_kept_and_a_rising_loss_stops(torch, make_net):
    training = training_of(torch, make_net(), epochs=30, early_stopping=2)
    module = training.backend.copied(training.module)
    course = Course(training, module, seed=0)
    assert len(course.training.X) == len(training.X) - round(0.15 * len(training.X))
    assert not course.epoch_ended(1.0)
    best = module.last.weight.detach().clone()
    answers = []
    for size in (1e3, 2e3):
        with torch.no_grad():
            module.last.weight.zero_()
            module.last.bias.copy_(torch.tensor([size, 0.0, 0.0]))  # always the same class, ever surer
        answers.append(course.epoch_ended(1.0))
    assert answers == [False, True]
    course.finish()
    assert torch.equal(module.last.weight, best)


def test_remedies_of_overfitting_apply(torch, make_net):
    training = training_of(torch, make_net(), epochs=30)
    evidence = gather(training, 0.1)
    stopped = PRESCRIPTIONS["early_stopping"].make(training, evidence)
    assert stopped.options["early_stopping"] == 3
    assert len(run(stopped).losses) <= 30
    stronger = PRESCRIPTIONS["more_regularisation"].make(training, evidence)
    assert stronger.optimizer.defaults["weight_decay"] == 0.01
    weaker = PRESCRIPTIONS["less_regularisation"].make(stronger, evidence)
    assert weaker.optimizer.defaults["weight_decay"] == 0.0


# ---------------------------------------------------------------------------- more than one output


def as_tuple(z, h):
    return z.argmax(dim=1), z, h


def as_dict(z, h):
    return {"loss": z.mean(), "logits": z, "hidden": h}


@pytest.mark.parametrize(("gives", "place"), [(as_tuple, "1"), (as_dict, "'logits'")])
def test_the_first_tensor_of_numbers_is_taken(torch, make_net, gives, place):
    net = make_net(gives)
    training = training_of(torch, net, epochs=5)
    assert run(training).after.score > 0.8
    notes = gather(training, 0.1).notes
    kind = type(gives(torch.zeros(2, 3), torch.zeros(2, 3))).__name__
    assert f"of the {kind} that the model gives, {place} is taken for its outputs" in notes
    X, _ = blobs()
    plain = make_net()
    np.testing.assert_array_equal(outputs_of(training.module, X[:9]), outputs_of(plain, X[:9]))
    assert not net._forward_hooks
    assert isinstance(net(torch.zeros(2, 2)), tuple | dict)


def test_what_holds_no_such_tensor_or_is_read_by_a_step_is_refused(torch, make_net):
    with pytest.raises(ValueError, match="must give a tensor of numbers with a row for each row of X"):
        OneOutput(2, (torch.zeros(2, dtype=torch.long), torch.zeros(3)))
    with pytest.raises(ValueError, match="^model must give one tensor with a row .* it gave tuple$"):
        training_of(torch, make_net(lambda z, h: (z.mean(), 3)))
    with pytest.raises(ValueError, match="where the step is the user's own"):
        training_of(torch, make_net(as_tuple), step=lambda module, optimizer, x, y: 0.0)
