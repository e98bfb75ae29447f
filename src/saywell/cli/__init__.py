"""The command line: one file per command, each calling one public function."""

from __future__ import annotations

import sys

import typer

from saywell.cli.audit import audit, verify
from saywell.cli.calls import calls
from saywell.cli.classes import classes
from saywell.cli.classify import classify
from saywell.cli.demo import demo
from saywell.cli.doctor import doctor
from saywell.cli.exam import exam
from saywell.cli.neuron import neuron
from saywell.cli.neurons import neurons
from saywell.cli.plot import plot
from saywell.cli.serve import serve
from saywell.cli.show import show
from saywell.errors import SaywellError

_INTERRUPTED = 130  # what Typer makes of Ctrl-C

app = typer.Typer(
    name="saywell",
    help="Describe what is in data and models in words, and prove whether the words are true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    neurons, classes, demo, show, neuron, classify, audit, verify, exam, plot, serve,
    calls, doctor,
):  # fmt: skip
    app.command()(command)


def main() -> None:
    """Run the command line; a user's mistake is one message, a bug keeps its traceback."""
    try:
        app()
    except SystemExit as done:
        if done.code == _INTERRUPTED:
            typer.echo("saywell: stopped; the same command goes on from here", err=True)
        raise
    except SaywellError as error:
        typer.secho(f"saywell: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
