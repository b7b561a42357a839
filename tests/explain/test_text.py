"""The text of a step: every number in it is a stored one, at the precision that is printed."""

import math
import re

import numpy as np
import pytest
from tests.explain.networks import NETWORKS, data, linear, network
from tests.explain.reading import NUMBER, chunks, matrices, printed, result, shown

from chainrule import nn
from chainrule.explain import Step, explain_step, worked_example
from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.plan import LossTerm

# -- single numbers --------------------------------------------------------------------------------

FUNCTIONS = {
    "exp": math.exp,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "sqrt": math.sqrt,
    "tanh": math.tanh,
}


def lines(text: str) -> list[tuple[str, list[str]]]:
    """Tag and formulas of every line of equations."""
    found = []
    text = re.sub(r"(\n {9,}|   )(where|for) .*", "", text)  # a remark
    text = re.sub(r"\n +(?==)|\n {9,}(?=\S)", " ", text)  # a line that was too long
    for line in text.split("\n"):
        match = re.match(r"^ ?(?:\((\d\*?)\)| {3,5}) +(\S.*)$", line)
        if match and re.search(r" [=←] ", match[2]):
            found.append((match[1] or "", re.split(r" [=←] ", match[2])))
    return found


def scalar(value) -> float:
    return float(np.asarray(value).item())


def expected(step: Step, after: bool) -> dict[str, float]:
    """What the letters of a network of single numbers stand for."""
    values = {"x": step.x, "y": step.targets, "t": step.targets, "η": step.lr}
    values["ŷ"] = step.prediction_after if after else step.prediction
    values["ℒ"] = step.loss_after if after else step.loss
    for one in step.layers:
        l = one.layer.number
        values |= {f"z{l}": one.z_after if after else one.z, f"h{l}": one.h_after if after else one.h}
        values |= {f"δ{l}": one.delta, f"∂ℒ/∂h{l}": one.signal}
        if one.layer.activation is not None:
            values[f"{one.layer.activation.activation}'(z{l})"] = one.slope
        letters = {"weight": "γ", "bias": "β"} if one.normalisation else {"weight": "w", "bias": "b"}
        for name, letter in letters.items():
            if name in one.parameters:
                values[f"{letter}{l}"] = one.parameters[name]
                values[f"∂ℒ/∂{letter}{l}"] = one.gradients[name]
        normalisation = one.normalisation_after if after else one.normalisation
        if normalisation is not None:
            for letter, name in {"μ": "mean", "v": "variance", "ĥ": "normal", "g": "below"}.items():
                values[f"{letter}{l}"] = getattr(normalisation, name)
            values[f"∂ℒ/∂ĥ{l}"] = normalisation.delta
    return {name: scalar(value) for name, value in values.items()}


def check_scalar_text(step: Step, digits: int = 4) -> int:
    """Each line ends with the number that its left side stands for; returns how many lines there were."""
    before, again = step.to_text(digits).split("Forward again")
    count = 0
    for text, after in ((before, False), (again, True)):
        names = expected(step, after)
        updated = _updated(step)
        for _, (left, *steps) in lines(text):
            is_update = len(steps) > 1 and steps[0].startswith(f"{left} - η")
            stored = updated[left] if is_update else names[left]
            result = re.match(rf"{NUMBER}$", steps[-1])
            assert result, steps
            assert result[0] == shown(stored, digits), left
            count += 1
    return count


def _updated(step: Step) -> dict[str, float]:
    found = {}
    for one in step.layers:
        letters = {"weight": "γ", "bias": "β"} if one.normalisation else {"weight": "w", "bias": "b"}
        found |= {f"{letters[name]}{one.layer.number}": scalar(value) for name, value in one.updated.items()}
    return found


def single(*modules: nn.Module, loss="half_squared_error", y=0.7, lr=0.3) -> Step:
    return explain_step(nn.Sequential(*modules).eval(), 0.8, y, loss, lr)


def test_worked_example_reads_as_by_hand():
    text = worked_example().to_text()
    for line in (
        "(1)  z1 = w1 x + b1 = 0.5 * 1 + 0 = 0.5",
        "(2)  h1 = sigmoid(z1) = 1 / (1 + exp(-0.5)) = 0.6225",
        "(1)  z2 = w2 h1 + b2 = -1 * 0.6225 + 0.1 = -0.5225",
        "(2)  ŷ = z2 = -0.5225",
        "ℒ = 1/2 (z2 - y)^2 = 1/2 (-0.5225 - 0)^2 = 0.1365",
        "(4)  δ2 = ŷ - y = -0.5225 - 0 = -0.5225",
        "(6)  ∂ℒ/∂w2 = δ2 h1 = -0.5225 * 0.6225 = -0.3252",
        "(7)  ∂ℒ/∂b2 = δ2 = -0.5225",
        "(5)  sigmoid'(z1) = sigmoid(z1) (1 - sigmoid(z1)) = sigmoid(0.5) (1 - sigmoid(0.5)) = 0.235",
        "(5)  δ1 = w2 δ2 sigmoid'(z1) = -1 * (-0.5225) * 0.235 = 0.1228",
        "w2 ← w2 - η ∂ℒ/∂w2 = -1 - 0.5 * (-0.3252) = -0.8374",
        "(2)  ŷ = z2 = -0.1355",
        "The loss fell from 0.1365 to 0.009182, by a factor of 14.86.",
    ):
        assert line in text
    assert check_scalar_text(worked_example()) == 28
    assert str(worked_example()) == text


def test_the_misprint_of_the_chapter_is_named():
    said = " ".join(worked_example().to_text().split())
    assert (
        "A misprint: the last row of the chapter's table has ŷ = -0.236, ℒ = 0.0279 and a factor of 4.9"
        in said
    )
    assert "give -0.1355, 0.00918 and 14.9" in said
    assert "b2 = 0.2613" in said


@pytest.mark.parametrize("digits", [1, 3, 7, 17])
def test_digits_are_as_many_as_asked_for(digits):
    check_scalar_text(worked_example(), digits)


@pytest.mark.parametrize("digits", [0, 18, 2.0, True])
def test_digits_that_cannot_be(digits):
    with pytest.raises(ValueError, match="digits must be a whole number from 1 to 17; got"):
        worked_example().to_text(digits)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("weight", [0.9, -0.9])
def test_numbers_of_every_activation(name, weight):
    module = nn.Sequential(linear(1, 1, 0), nn.activation_module(name), linear(1, 1, 1))
    module.load_state_dict({"0.weight": [[weight]]}, strict=False)
    check_scalar_text(explain_step(module, 0.8, 0.7, "half_squared_error", 0.3))


def test_a_value_is_not_said_twice():
    step = single(linear(1, 1, 0), nn.Identity(), linear(1, 1, 1))
    h = shown(scalar(step.layers[0].h))
    assert f"(2)  h1 = identity(z1) = {h}\n" in step.to_text()
    assert rf"h_{{1}} &= \mathrm{{identity}}(z_{{1}}) = {h} \tag{{2}}" in step.to_latex()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_numbers_of_every_loss(name, scale):
    y = 0 if LOSSES[name].class_row else 1.0
    for setting in {LOSSES[name].setting, 0.3}:
        step = single(linear(1, 1, 0), nn.Tanh(), linear(1, 1, 1), loss=LossTerm(name, setting, scale), y=y)
        assert check_scalar_text(step) > 20


@pytest.mark.parametrize(
    "modules",
    [
        lambda: (linear(1, 1, 0), nn.BatchNorm1d(1), nn.Tanh(), linear(1, 1, 1)),
        lambda: (linear(1, 1, 0), nn.LayerNorm(1, eps=0.1), linear(1, 1, 1)),
        lambda: (linear(1, 1, 0), nn.Residual(nn.Sequential(linear(1, 1, 1), nn.Tanh())), nn.Dropout()),
        lambda: (linear(1, 1, 0, bias=False), nn.Residual(nn.Sigmoid()), linear(1, 1, 1), nn.Softplus()),
    ],
)
def test_numbers_of_every_kind_of_layer(modules):
    assert check_scalar_text(single(*modules())) > 15


@pytest.mark.parametrize("seed", range(3))
def test_substituted_arithmetic_gives_the_result(seed):
    """What stands before the last equality sign is computed as it is written."""
    rng = np.random.default_rng(seed)
    module = nn.Sequential(
        linear(1, 1, seed), nn.Sigmoid(), nn.Residual(linear(1, 1, seed + 1)), linear(1, 1, seed + 2)
    )
    step = explain_step(module, rng.normal(), rng.normal(), "half_squared_error", 0.3)
    computed = 0
    for _, (_, *steps) in lines(step.to_text(digits=12)):
        if len(steps) < 2 or not re.search(r"\d [*+-] |exp\(|\) \(", steps[-2]) or "'" in steps[-2]:
            continue
        source = re.sub(r"(?<=[\d)]) (?=[(a-z])", " * ", steps[-2].replace("^", "**"))
        if not re.search(r"[a-zδ∂]\d", source):
            assert eval(source, {}, FUNCTIONS) == pytest.approx(float(steps[-1]), rel=1e-9, abs=1e-12)
            computed += 1
    assert computed > 15


# -- matrices --------------------------------------------------------------------------------------


def stored(step: Step) -> set[str]:
    """Every array of a step, its vectors as rows and as columns, as it is printed."""
    arrays = [step.x, step.targets, step.prediction, step.prediction_after]
    arrays += [one[:, None] for one in (step.losses, step.losses_after, step.shares)]
    for one in step.layers:
        arrays += [one.z, one.h, one.slope, one.delta, one.signal, one.z_after, one.h_after]
        arrays += [*one.parameters.values(), *one.gradients.values(), *one.updated.values()]
        for each in (one.normalisation, one.normalisation_after):
            arrays += [] if each is None else [each.mean, each.variance, each.normal, each.delta, each.below]
    both = [np.atleast_2d(one) for one in arrays]
    return {str(printed(one)) for one in (*both, *(one.T for one in both))}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_rows", [1, 3])
def test_every_matrix_is_a_stored_one(name, n_rows):
    x, y = data("softmax_cross_entropy", n_rows, 3, 2)
    step = explain_step(network(name), x, y, nn.CrossEntropyLoss(weight=[1.0, 2.0]), 0.1)
    known, count = stored(step), 0
    for chunk in chunks(step.to_text()):
        for _, _, rows in matrices(chunk):
            assert str(rows) in known, "\n".join(chunk)
            count += 1
    assert count > 10


def test_lines_end_with_the_matrix_that_they_say():
    x, y = data("half_squared_error", 3, 3, 2)
    step = explain_step(network("deep"), x, y, "half_squared_error", 0.1)
    before, again = step.to_text().split("Forward again")
    forward_and_back, updates = (
        part.split("\n") for part in before.split("Forward\n")[1].split("The step\n")
    )
    for one in step.layers:
        l = one.layer.number
        said = {
            f"Z{l}": one.z,
            f"Δ{l}": one.delta,
            f"∂ℒ/∂W{l}": one.gradients["weight"],
            f"∂ℒ/∂b{l}": one.gradients["bias"],
        }
        for name, value in said.items():
            assert result(forward_and_back, name) == printed(value), name
        for name in ("weight", "bias"):
            letter = {"weight": "W", "bias": "b"}[name]
            assert result(updates, f"{letter}{l}") == printed(one.updated[name])
        assert result(again.split("\n"), f"Z{l}") == printed(one.z_after)
    assert result(again.split("\n"), "Ŷ") == printed(step.prediction_after)


def test_no_line_is_longer_than_a_page():
    x, y = data("half_squared_error", 3, 3, 2)
    for name in NETWORKS:
        text = explain_step(network(name), x, y, "half_squared_error", 0.1).to_text()
        assert max(map(len, text.split("\n"))) <= 120


def test_a_large_matrix_is_shown_by_its_edges_and_said_to_be():
    module = nn.Sequential(linear(30, 25, 0), nn.ReLU(), linear(25, 1, 1))
    x, y = data("half_squared_error", 22, 30, 1)
    step = explain_step(module, x, y, "half_squared_error", 0.1)
    text = step.to_text()
    assert (
        "Matrices of more than 20 rows or 10 columns are abbreviated to their first and last three." in text
    )
    given = next(one for chunk in chunks(text) for one in matrices(chunk) if " X = " in "".join(chunk))[2]
    assert [len(row) for row in given] == [7] * 7
    cells = printed(x)
    assert given[0] == [*cells[0][:3], "…", *cells[0][-3:]]
    assert set(given[3]) == {"⋮"}
    assert given[6] == [*cells[-1][:3], "…", *cells[-1][-3:]]
    assert len(text.split("\n")) < 400


def test_what_is_small_enough_is_shown_whole():
    module = nn.Sequential(linear(10, 20, 0))
    x, y = data("half_squared_error", 20, 10, 20)
    step = explain_step(module, x[:1], y[:1, :10] if y.shape[1] == 10 else y[:1], "half_squared_error", 0.1)
    assert printed(step.parameters["0.weight"]) in [
        one[2] for c in chunks(step.to_text()) for one in matrices(c)
    ]


# -- words -----------------------------------------------------------------------------------------


def said(step: Step) -> str:
    return " ".join(step.to_text().split())


def test_why_the_last_error_signal_is_by_4_or_by_3():
    x, y = data("softmax_cross_entropy", 2, 3, 2)
    loss = "softmax_cross_entropy"
    canonical = said(explain_step(network("deep"), x, y, loss, 0.1))
    assert "Δ3 by (4), because softmax with softmax_cross_entropy is a canonical pair" in canonical
    assert "(4) Δ3 = (Ŷ - T) / 2" in canonical
    own_link = said(explain_step(network("output activation"), x, y, loss, 0.1))
    assert "Δ2 by (3), and not (4), because an activation stands between the last z and the loss" in own_link
    assert "(3) ∂ℒ/∂H2 = (softmax(z) - t) / 2" in own_link
    assert "(5) Δ2 = ∂ℒ/∂H2 ⊙ softplus'(Z2)" in own_link
    identity = said(explain_step(network("identity"), x, y, loss, 0.1))
    assert "(4) Δ2 = (Ŷ - T) / 2" in identity
    rows = np.array([[0.5, 0.2], [0.1, 0.1]])
    uneven = said(explain_step(network("deep"), x, rows, loss, 0.1))
    assert "because the targets of an example do not sum to 1." in uneven
    assert "(3) Δ3 = (softmax(z) sum_c t_c - t) / 2" in uneven
    huber = said(explain_step(network("deep"), x, rows, nn.HuberLoss(), 0.1))
    assert "because huber with the link identity is no canonical pair. The loss is 0.5 times huber" in huber


def test_what_the_step_did_to_the_loss():
    module = nn.Sequential(linear(1, 1, 0))
    module.load_state_dict({"0.weight": [[1.0]], "0.bias": [0.0]})
    fell, stayed, rose = (
        said(explain_step(module, 1.0, y, "half_squared_error", lr))
        for y, lr in ((0.0, 0.1), (1.0, 0.1), (0.0, 9))
    )
    assert "The loss fell from 0.5 to 0.32, by a factor of 1.562." in fell
    assert "The loss was 0 and is 0." in stayed
    assert "The loss rose from 0.5 to 144.5: the learning rate is too large for this step." in rose
    below_zero = said(explain_step(module, 1.0, 9.0, nn.PoissonNLLLoss(), 0.01))
    assert re.search(r"The loss fell from -\S+ to -\S+\.$", below_zero)


def test_what_the_targets_are():
    x, y = data("softmax_cross_entropy", 2, 3, 2)
    sharp = said(explain_step(network("deep"), x, y, "softmax_cross_entropy", 0.1))
    assert "T holds the targets, one row an example; a class by its number is a row with a single 1." in sharp
    smooth = said(explain_step(network("deep"), x, y, nn.CrossEntropyLoss(label_smoothing=0.2), 0.1))
    assert "mixed with the uniform distribution: label_smoothing is 0.2." in smooth
    assert "holds the targets" not in worked_example().to_text()


def test_mode_and_batch_are_said():
    x, y = data("half_squared_error", 3, 3, 2)
    text = said(explain_step(network("batch norm"), x, y, "half_squared_error", 0.1, training=True))
    assert "a batch of 3 examples, one a row" in text
    assert "the loss is the mean over the rows" in text.lower()
    assert "as in training" in text
    assert "(1*) μ2 = mean_rows(Z1)" in text
    assert "as in evaluation" in said(explain_step(network("batch norm"), x, y, "half_squared_error", 0.1))


def test_repr_is_short():
    assert repr(worked_example()) == "Step(loss=0.1365, loss_after=0.009182, layers=2)"
