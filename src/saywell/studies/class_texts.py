"""Steps 1 and 2 of the study of classes: what is known of every class, and the texts about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from saywell.data.descriptor_files import load_descriptors
from saywell.data.knowledge import WIKIPEDIA, Knowledge, load_knowledge
from saywell.data.wikipedia import Wiki
from saywell.describers.class_describer import USABLE, WRITING, extract_classes
from saywell.describers.class_describer import describe_classes as write_texts
from saywell.describers.given import GIVEN, given_texts
from saywell.encoders.dual import DualEncoder
from saywell.encoders.precomputed import Precomputed
from saywell.errors import InputError
from saywell.language_models import LanguageModel, load_prompt
from saywell.progress import Progress
from saywell.store.study import Study, StudyWriter
from saywell.studies.class_subject import Steps


def article_tables(
    study: StudyWriter,
    local: Knowledge | None,
    names: Sequence[str],
    wiki: Wiki | None,
    context: Sequence[str],
    progress: Progress,
) -> None:
    """Step 1: tables `articles` and `passages`."""

    def make() -> tuple[pl.DataFrame, pl.DataFrame]:
        found = local
        if found is None:
            asked = wiki or Wiki(cache=study.path / "wikipedia")
            with progress("articles", len(names)) as advance:
                found = load_knowledge(
                    WIKIPEDIA, names, wiki=asked, context=context, progress=Steps(advance)
                )
        if found.unused:
            study.note(
                f"{len(found.unused)} articles belong to no class, such as {found.unused[0]!r}."
            )
        return found.articles, found.passages

    study.tables(("articles", "passages"), make)


def text_table(
    study: StudyWriter,
    names: list[str],
    encoder: DualEncoder,
    llm: LanguageModel | None,
    given: str | Path | Mapping[str, Sequence[str]] | None,
    superclass: str,
    gold: pl.DataFrame | None,
    prompts: Path | None,
    seed: int,
    progress: Progress,
) -> pl.DataFrame:
    """Step 2, in one of three ways: given texts, an LLM, or sentences of the articles."""
    knowledge = Knowledge(study.table("articles"), study.table("passages"))
    if given is not None:
        source = GIVEN if isinstance(given, Mapping) else Path(given).name
        table = given_texts(*load_descriptors(given, names), names, encoder, source)
    elif llm is not None:
        chosen = {n: load_prompt(n, prompts) for n in WRITING}
        with progress("texts", len(names)) as advance:
            table = write_texts(
                names, knowledge, encoder, llm, superclass=superclass, prompts=chosen, seed=seed,
                progress=Steps(advance),
            )  # fmt: skip
    else:
        table = extract_classes(names, knowledge, encoder)
    if isinstance(encoder, Precomputed):
        known = pl.col("text").is_in(encoder.texts)
        usable = pl.col("status").is_in(USABLE)
        table = table.with_columns(
            status=pl.when(usable & ~known).then(pl.lit("no vector")).otherwise("status")
        )
    if not table["status"].is_in(USABLE).any():
        common = table["status"].mode().sort()[0]
        raise InputError(
            f"there is no usable text for any of the {len(names)} classes (most often: {common});"
            " give llm=..., knowledge=... or texts=..."
        )
    return table if gold is None else _with_gold(table, gold)


def _with_gold(table: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Column `gold`: whether the article's sentence that a text was taken from is a good one."""
    known: dict[str, list[tuple[str, bool]]] = {}
    for name, text, good in gold.select("class", "text", "good").iter_rows():
        known.setdefault(name, []).append((text, good))
    found = []
    for name, text, quotation in table.select("class", "text", "quotation").iter_rows():
        said = (quotation or text).strip(" .")
        found.append(next((good for s, good in known.get(name, []) if said and said in s), None))
    return table.with_columns(gold=pl.Series(found, dtype=pl.Boolean))


def usable_texts(study: Study, names: Sequence[str]) -> tuple[pl.DataFrame, np.ndarray]:
    """The texts that can be chosen, and the place of the class of each."""
    table = study.table("class_texts").filter(pl.col("status").is_in(USABLE))
    place = {name: number for number, name in enumerate(names)}
    return table, np.array([place[name] for name in table["class"]], dtype=np.int64)
