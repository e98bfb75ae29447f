"""What an image classifier's outputs and channels look like as units: time, memory, states, accuracy.

    python benchmarks/image_units.py MODEL IMAGES.parquet [--label COLUMN]

MODEL is a folder or hub name, IMAGES a Parquet file with images and the names that the classifier knows.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from saywell.data.images import load_images
from saywell.resources import Resources
from saywell.units.activations import Activations
from saywell.units.models import load_vision_model
from saywell.units.pooling import Pooling
from saywell.units.statistics import unit_table
from saywell.units.vision import Vision


def main() -> None:
    """Print a line for outputs, and for channels by maximum and by mean."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("--label", default="label_name")
    arguments = parser.parse_args()
    table = pl.read_parquet(arguments.images).select("image", label=arguments.label)
    # Two classes whose names differ in case only are refused; numbered, they are told apart.
    numbers = dict(table.with_row_index("row").select("row", "label").iter_rows())
    named = table.with_columns(label=pl.format("{} {}", pl.int_range(pl.len()), "label"))
    examples = load_images(named, near=None)
    truth = np.array([numbers[row] for row in examples.table["row"]])
    model = load_vision_model(arguments.model, device="cpu")
    runs: list[tuple[str, Pooling]] = [("outputs", "max"), ("channels", "max"), ("channels", "mean")]
    for what, pool in runs:
        source = Vision.of(model, what, pool=pool)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            stored = source.collect(examples, Path(folder), Resources())
            seconds = time.perf_counter() - started
            units = unit_table(source.units(), stored, source.firing, examples.parts.describe)
            states = dict(units["state"].value_counts(sort=True).iter_rows())
            line = (
                f"{what}, {pool}: {units.height} units, {len(examples)} pictures, {seconds:.0f} s, {states}"
            )
            if what == "outputs":
                activations = Activations(stored, units, source.firing)
                values = activations.of(units["id"].to_list(), np.arange(len(examples)))
                right = units["name"].to_numpy()[values.argmax(0)] == truth
                line += f", accuracy {right.mean():.3f}"
            print(line, flush=True)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
