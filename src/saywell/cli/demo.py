"""`saywell demo`: the whole job on data that ships with saywell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo's studies.")] = Path("demo"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe MiniLM's neurons on a corpus whose descriptors are known. No network, no LLM."""
    from importlib.resources import as_file, files

    from saywell.cli.progress import terminal_progress
    from saywell.cli.show import print_study
    from saywell.studies.neurons import describe_neurons

    with as_file(files("saywell.data") / "demo" / "sentences.tsv") as corpus:
        study = describe_neurons(
            str(corpus), "minilm", out=out / "neurons", gold="tags", command=sys.argv,
            progress=terminal_progress,
        )  # fmt: skip
    print_study(study, json=json)
