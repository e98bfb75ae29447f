"""The command line: one file per command, each calling one public function."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer

from saywell.cli.audit import audit, verify
from saywell.cli.calls import calls
from saywell.cli.check import check
from saywell.cli.classes import classes
from saywell.cli.classify import classify
from saywell.cli.demo import demo
from saywell.cli.doctor import doctor
from saywell.cli.exam import exam
from saywell.cli.export import export
from saywell.cli.features import features
from saywell.cli.hypotheses import hypotheses
from saywell.cli.match import match
from saywell.cli.neuron import neuron
from saywell.cli.neurons import neurons
from saywell.cli.places import places
from saywell.cli.plot import plot
from saywell.cli.serve import serve
from saywell.cli.show import show
from saywell.cli.units import units
from saywell.errors import SaywellError
from saywell.studies.settings import nearest

_INTERRUPTED = 130  # what Typer makes of Ctrl-C
_OF_THE_MACHINE = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.EDQUOT)
_UsageError: Any = typer.BadParameter.__base__  # Typer carries its own copy of click's

COMMANDS = {
    demo: "Run four studies on data that ships with saywell.",
    neurons: "Say what each neuron of a language model responds to.",
    classes: "Describe classes of images with the texts that help.",
    features: "Say what the latents of a dictionary (SAE) respond to.",
    units: "Say what numbers, columns or directions of your own respond to.",
    hypotheses: "Find what in texts goes with a target, and test it.",
    check: "Test descriptions that others wrote of a study's units.",
    match: "Find a study's units in another layer, seed or model.",
    show: "Print a study's best descriptions and its figures.",
    neuron: "Show one neuron or class with its evidence.",
    export: "Write a study's descriptions as CSV, Parquet or JSON lines.",
    serve: "Explore studies in a browser.",
    plot: "Save one of a study's charts.",
    classify: "Say what images show, by the chosen descriptions.",
    audit: "Derive a study's tables and figures again.",
    verify: "Derive all that a study claims of one unit again.",
    places: "List the places in a model, by all their names.",
    exam: "Measure describers on units whose truth is known.",
    calls: "Sum up a study's language-model calls.",
    doctor: "Say which language-model providers can be used here.",
}

app = typer.Typer(
    name="saywell",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich alone takes as long to import as all the rest of --help
)
for command, words in COMMANDS.items():
    app.command(short_help=words)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from saywell import __version__

        typer.echo(f"saywell {__version__}")
        raise typer.Exit


@app.callback()
def _saywell(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Describe what is in data and models in words, and prove whether the words are true."""


def main() -> None:
    """Run the command line; a user's mistake is one line, a bug keeps its traceback."""
    # Threads that wait for each other sleep: where they spin and something else runs on the machine, sentence
    # vectors take many times as long. OpenMP reads it when torch is loaded, which no command has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        done = app(prog_name="saywell", standalone_mode=False)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            typer.secho(_usage(error), fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except SaywellError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        where = f" {error.filename!r}" if error.filename else ""
        _refuse(f"{(error.strerror or 'cannot be done').lower()}:{where or ' the disk'}")
    else:
        if done == _INTERRUPTED:
            typer.echo("saywell: stopped; the same command goes on from here", err=True)
        sys.exit(done)


def _refuse(words: str) -> None:
    typer.secho(f"saywell: {words}", fg=typer.colors.RED, err=True)
    sys.exit(2)


def _usage(error: Any) -> str:
    """What is wrong with the words given, the nearest right one, and where the right ones stand."""
    context, path = error.ctx, "saywell" if error.ctx is None else error.ctx.command_path
    words = error.format_message().rstrip(".")
    wrong = getattr(error, "option_name", None)
    if wrong is not None and context is not None:
        known = [name for param in context.command.params for name in param.opts]
        near = nearest(wrong, known)
        words = f"no option {wrong!r}" + (f"; did you mean {near!r}?" if near else "")
    return f"{path}: {words[0].lower()}{words[1:]} ({path} --help)"
