"""The chapter's snippet (section 7): PyTorch's program with two import lines changed, nothing else."""

import numpy as np
import pytest

PROGRAM = """
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
X = torch.randn(32, 784)
y = torch.randint(0, 10, (32,))

losses = []
for step in range(20):
    optimizer.zero_grad()
    logits = model(X)
    loss = criterion(logits, y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

lines = []
for name, parameter in model.named_parameters():
    lines.append(f"{name:10s} {tuple(parameter.shape)} {parameter.grad.norm().item():.4f}")
with torch.no_grad():
    predicted = model(X).argmax(dim=1)
    accuracy = (predicted == y).float().mean().item()
"""

IMPORTS = {
    "chainrule": "import chainrule as torch\nfrom chainrule import nn\n",
    "torch": "import torch\nimport torch.nn as nn\n",
}


@pytest.mark.parametrize("library", IMPORTS)
def test_the_same_program_runs_in_both(library):
    if library == "torch":
        pytest.importorskip("torch", reason="compares with PyTorch")
    names = {}
    exec(IMPORTS[library] + PROGRAM, names)
    assert names["losses"][0] == pytest.approx(np.log(10), abs=0.3)
    assert names["losses"][-1] < 0.1
    assert names["accuracy"] == 1.0
    assert [line.split(")")[0] + ")" for line in names["lines"]] == [
        "0.weight   (128, 784)", "0.bias     (128,)", "2.weight   (10, 128)", "2.bias     (10,)",
    ]  # fmt: skip


def test_both_take_the_same_path():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    import chainrule
    from chainrule import nn, optim

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(32, 20)), rng.integers(0, 5, 32)
    ours = nn.Sequential(
        nn.Linear(20, 16, dtype=np.float64, rng=1), nn.GELU(), nn.Linear(16, 5, dtype=np.float64, rng=2)
    )
    theirs = torch.nn.Sequential(torch.nn.Linear(20, 16), torch.nn.GELU(), torch.nn.Linear(16, 5)).double()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    pairs = [(ours, optim.Adam(ours.parameters(), lr=0.01), chainrule.tensor, nn.CrossEntropyLoss()),
             (theirs, torch.optim.Adam(theirs.parameters(), lr=0.01), torch.tensor,
             torch.nn.CrossEntropyLoss())]  # fmt: skip
    for model, optimizer, tensor, criterion in pairs:
        for _ in range(30):
            optimizer.zero_grad()
            criterion(model(tensor(X)), tensor(y)).backward()
            optimizer.step()
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.state_dict()[name], parameter.detach().numpy(), rtol=1e-9, atol=1e-10)
