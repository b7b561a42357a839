"""The command line: train on a CSV file, predict with the saved model, explain a network.

What a user can get wrong is answered by one line on stderr and exit code 2. A file is written whole or not
at all. Everything heavy is imported inside the commands, so that ``--help`` is quick.
"""

from chainrule.cli import derive, explain, predict, train
from chainrule.cli.application import app, main

__all__ = ["app", "main"]

# The order is that of ``chainrule --help``.
app.command("train", help="Train a network to predict one column of a CSV file, test it and save it.")(
    train.train
)
app.command("predict", help="Predict the target column for the rows of a CSV file.")(predict.predict)
app.command("explain", help="Show one step of gradient descent with every number, as done by hand.")(
    explain.explain
)
app.command("derive", help="Derive the gradients of a network, layer by layer, and count what they cost.")(
    derive.derive
)
