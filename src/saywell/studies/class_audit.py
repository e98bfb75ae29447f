"""What a study of classes claims, derived again from its own tables and stored runs."""

from __future__ import annotations

import re
from collections.abc import Hashable

import polars as pl

from saywell.store.study import Metric, Study
from saywell.studies import class_evaluation as evaluation
from saywell.studies import class_worth
from saywell.transfer.cross_modal import Outcome


def transfer_again(study: Study) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `transfer` and `transfer_summary`, from which test images each run got right."""
    config = study.manifest.config
    runs: dict[tuple[int, str], dict[Hashable, Outcome]] = {}
    for path in sorted(study.arrays("transfer").glob("*.safetensors")):
        found = re.fullmatch(r"(\d+)-(\w+)", path.stem)
        if found:
            runs[int(found[1]), found[2]] = evaluation.read_outcomes(path)
    return evaluation.transfer_tables(runs, range(config["seeds"]), seed=config["seed"])


def figures(study: Study) -> list[Metric]:
    """The headline figures."""
    config, names = study.manifest.config, study.table("classes")["name"].to_list()
    return class_worth.class_metrics(study, names, config["select"], config["seed"])
