"""The command line as a user meets it: what it prints, what it writes, what it says to a mistake."""

from typer.testing import CliRunner, Result

from chainrule import cli

QUICK = ("--ensemble", "1", "--width", "8", "--depth", "1", "--epochs", "3")


def run(*arguments: object) -> Result:
    """The result of a command; an exception that is not the command line's own is raised."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def succeed(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def fail(*arguments: object) -> str:
    """The one line on stderr of a command that ends with exit code 2 and prints nothing else."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("chainrule: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("chainrule: ").rstrip("\n")


def write(path, text: str):
    path.write_text(text)
    return path
