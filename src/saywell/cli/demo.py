"""`saywell demo`: the whole job, twice, on data that ships with saywell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from saywell.cli.options import AsJson


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo's studies.")] = Path("demo"),
    json: AsJson = False,
) -> None:
    """Describe MiniLM's neurons, and classes of drawn pictures. No network, no LLM.

    What there is to find is known for both, so the demo also says how much of it was found.
    """
    from importlib.resources import as_file, files

    from saywell.cli.progress import Terminal
    from saywell.cli.show import print_studies
    from saywell.studies.neurons import describe_neurons
    from saywell.studies.planted import describe_planted_classes

    with as_file(files("saywell.data") / "demo" / "sentences.tsv") as corpus:
        neurons = describe_neurons(
            str(corpus),
            "minilm",
            out=out / "neurons",
            gold="tags",
            layers="1,4",
            command=sys.argv,
            progress=Terminal(),
        )
    classes = describe_planted_classes(
        out / "classes",
        world=out / "planted-world",
        per_class_images=40,
        shots=(1, 4),
        seeds=5,
        command=sys.argv,
        progress=Terminal(),
    )
    print_studies([neurons, classes], json=json)
