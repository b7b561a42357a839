"""The command line: train on a CSV file, predict with the saved model, explain a network.

Exit codes: 0 is fine; 1, the model is worse than was asked for, or does not learn; 2, what a user can get
wrong, answered by one line on stderr. A file is written whole or not at all. Everything heavy is imported
inside the commands, so that ``--help`` is quick.
"""

from chainrule.cli import book, checkup, derive, evaluate, explain, export, info, predict, train, tune
from chainrule.cli.application import app, main

__all__ = ["app", "main"]

# The order is that of ``chainrule --help``.
app.command("train", help="Train a network to predict one column of a CSV file, test it and save it.")(
    train.train
)
app.command("tune", help="Search for the settings that learn a CSV file best, train with them and save.")(
    tune.tune
)
app.command("predict", help="Predict the target column for the rows of a CSV file.")(predict.predict)
app.command("evaluate", help="Measure a saved model on a CSV file with the target, with 95 % intervals.")(
    evaluate.evaluate
)
app.command("info", help="Show what a saved model is: its network, columns and training.")(info.info)
app.command("export", help="Write a saved model as ONNX, or as NumPy source.")(export.export)
app.command("checkup", help="Say why a network does not learn a table, with proof that the remedy works.")(
    checkup.checkup
)
app.command("explain", help="Show one step of gradient descent with every number, as done by hand.")(
    explain.explain
)
app.command("derive", help="Derive the gradients of a network, layer by layer, and count what they cost.")(
    derive.derive
)
app.command("book", help="Compute a textbook chapter on backpropagation, and judge its claims.")(book.book)
