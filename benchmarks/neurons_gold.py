"""The figures of docs/results.md on real sentences with gold tags.

    .venv/bin/python benchmarks/neurons_gold.py [--texts FILE] [--tags COLUMN] [--model minilm] [--out STUDY]

Prints precision@2, recall@2 and Jaccard with intervals, controls, references, bounds. By default on the
3,044 restaurant sentences of SemEval-2014 task 4 (five gold categories) where they are at hand,
otherwise on the demo corpus and its gold tags.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from saywell.cli.progress import Terminal
from saywell.studies.neurons import describe_neurons

HERE = Path(__file__).resolve().parent
RESTAURANTS = HERE.parent.parent / "shared" / "data" / "restaurants.parquet"
DEMO = HERE.parent / "src" / "saywell" / "data" / "demo" / "sentences.tsv"


def main() -> None:
    """Run the study and print its headline table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=Path, default=RESTAURANTS if RESTAURANTS.exists() else DEMO)
    parser.add_argument("--tags", default=None)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    tags = options.tags or ("categories" if options.texts == RESTAURANTS else "tags")
    with tempfile.TemporaryDirectory() as folder:
        study = describe_neurons(
            options.texts,
            options.model,
            out=options.out or Path(folder) / "study",
            tags=tags,
            progress=Terminal(),
        )
        print(f"{options.texts.name}, tags {tags!r}, model {options.model}\n")
        print(f"{'':<36}{'value':>7}{'95 % interval':>16}   controls, references, bounds")
        for m in study.headline():
            interval = f"{m.ci_low:.3f} to {m.ci_high:.3f}" if m.ci_low is not None else ""
            marks = {**m.controls, **m.reference, **m.ceiling}
            shown = ", ".join(f"{name} {v:.3f}" for name, v in marks.items() if v is not None)
            print(f"{m.name:<36}{m.value or float('nan'):>7.3f}{interval:>16}   {shown}")


if __name__ == "__main__":
    main()
