"""`saywell demo`: the whole job, four times, on data that ships with saywell."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import AsJson

if TYPE_CHECKING:
    from saywell.store.study import Study

_TEXTS = 2000
"""Of the demo's 4,682, for stars and features: enough to find what there is, in half a minute."""


class Demo(StrEnum):
    """What can be shown."""

    neurons = "neurons"
    classes = "classes"
    features = "features"
    hypotheses = "hypotheses"


def demo(
    what: Annotated[list[Demo] | None, typer.Argument(help="By default all of it.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the demo's studies.")] = Path("demo"),
    json: AsJson = False,
) -> None:
    """Describe MiniLM's neurons and features, classes of drawn pictures, and what goes with planted stars.

    No network, no LLM. What there is to find is known, so the demo also says how much of it was found.
    """
    from saywell.cli.show import print_studies

    make = {
        Demo.neurons: _neurons,
        Demo.classes: _classes,
        Demo.features: _features,
        Demo.hypotheses: _hypotheses,
    }
    studies = {one: make[one](out) for one in dict.fromkeys(what or Demo)}
    print_studies(list(studies.values()), json=json)
    if Demo.hypotheses in studies and not json:
        _print_planted(studies[Demo.hypotheses])


def _neurons(out: Path) -> Study:
    from importlib.resources import as_file, files

    from saywell.cli.progress import Terminal
    from saywell.studies.neurons import describe_neurons

    with as_file(files("saywell.data") / "demo" / "sentences.tsv") as corpus:
        return describe_neurons(
            str(corpus),
            "minilm",
            out=out / "neurons",
            gold="tags",
            layers="1,4",
            command=sys.argv,
            progress=Terminal(),
        )


def _classes(out: Path) -> Study:
    from saywell.cli.progress import Terminal
    from saywell.studies.planted import describe_planted_classes

    return describe_planted_classes(
        out / "classes",
        world=out / "planted-world",
        per_class_images=40,
        shots=(1, 4),
        seeds=5,
        command=sys.argv,
        progress=Terminal(),
    )


def _features(out: Path) -> Study:
    from importlib.resources import as_file, files

    from saywell.cli.progress import Terminal
    from saywell.studies.features import describe_features

    with as_file(files("saywell.data") / "demo" / "sentences.tsv") as corpus:
        return describe_features(
            str(corpus),
            model="minilm",
            at="encoder.layer.2",
            train="topk:512:8",
            limit=_TEXTS,
            some=200,
            reader=["claims", "lexical"],
            out=out / "features",
            command=sys.argv,
            progress=Terminal(),
        )


def _hypotheses(out: Path) -> Study:
    from saywell.cli.progress import Terminal
    from saywell.studies.planted import find_planted_hypotheses

    return find_planted_hypotheses(out / "hypotheses", limit=_TEXTS, command=sys.argv, progress=Terminal())


def _print_planted(study: Study) -> None:
    """What was planted, and which hypothesis says it."""
    from saywell.cli.terminal import open_console, plain
    from saywell.studies.planted import planted_found

    console, planted = open_console(), planted_found(study)
    found = planted["hypothesis"].count()
    console.print(f"Planted in the stars, and found: {found} of {planted.height}", style="bold")
    for text, effect, hypothesis, f1 in planted.iter_rows():
        said = "not found" if hypothesis is None else f"{hypothesis}, F1 {f1:.2f}"
        console.print(plain(f"  {effect:+.1f} stars: {text} ({said})"), markup=False)
