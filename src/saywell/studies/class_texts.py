"""Steps 1 and 2 of the study of classes: what is known of every class, and the texts about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from saywell.data.knowledge import ARTICLES, PASSAGES, WIKIPEDIA, Knowledge, load_knowledge
from saywell.data.wikipedia import Wiki
from saywell.describers.class_texts.class_describer import USABLE, WRITING, extract_texts, write_texts
from saywell.describers.class_texts.given import GIVEN, given_texts
from saywell.encoders.dual import DualEncoder
from saywell.encoders.precomputed import Precomputed
from saywell.language_models import LanguageModel, load_prompt
from saywell.language_models.requests import Status
from saywell.progress import Progress, silent
from saywell.store.study import Study, StudyWriter
from saywell.studies.class_request import check_usable
from saywell.studies.class_subject import Steps

_NO_ANSWER = tuple(status for status in get_args(Status) if status not in ("ok", "empty"))
"""What becomes of a question to a language model without an answer; "empty" is said of texts, too."""


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
                found = load_knowledge(WIKIPEDIA, names, wiki=asked, context=context, progress=Steps(advance))
        if found.unused:
            study.note(f"{len(found.unused)} articles belong to no class, such as {found.unused[0]!r}.")
        return found.articles, found.passages

    study.tables((ARTICLES, PASSAGES), make)


def text_table(
    study: StudyWriter,
    names: list[str],
    encoder: DualEncoder,
    llm: LanguageModel | None,
    given: tuple[list[str], np.ndarray] | None,
    source: str | Path | Mapping[str, Sequence[str]] | None,
    ready: pl.DataFrame | None,
    superclass: str,
    gold: pl.DataFrame | None,
    prompts: Path | None,
    seed: int,
    progress: Progress,
) -> pl.DataFrame:
    """Step 2: `ready` where there are texts already, else what `written_texts` makes now."""
    table = ready
    if table is None:
        knowledge = Knowledge(study.table("articles"), study.table("passages"))
        table = written_texts(
            names, knowledge, encoder, llm, given, source, superclass, prompts, seed, progress
        )
        if llm is not None and given is None:
            lost = table.filter(pl.col("status").is_in(_NO_ANSWER))
            item = pl.concat_str("class", pl.col("component").fill_null(""), separator=": ")
            study.unanswered("class texts", as_unanswered(lost, "class texts", item))
    return table if gold is None else _with_gold(table, gold)


def written_texts(
    names: list[str],
    knowledge: Knowledge,
    encoder: DualEncoder,
    llm: LanguageModel | None,
    given: tuple[list[str], np.ndarray] | None,
    source: str | Path | Mapping[str, Sequence[str]] | None,
    superclass: str = "",
    prompts: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> pl.DataFrame:
    """The texts in one of three ways: given ones, an LLM's, or sentences of the articles.

    Raises InputError where none of them can be used.
    """
    if given is not None:
        name = Path(source).name if isinstance(source, str | Path) else GIVEN
        table = given_texts(*given, names, encoder, name)
    elif llm is not None:
        chosen = {n: load_prompt(n, prompts) for n in WRITING}
        with progress("texts", len(names)) as advance:
            table = write_texts(
                names,
                knowledge,
                encoder,
                llm,
                superclass=superclass,
                prompts=chosen,
                seed=seed,
                progress=Steps(advance),
            )
    else:
        table = extract_texts(names, knowledge, encoder)
    if isinstance(encoder, Precomputed):
        known = pl.col("text").is_in(encoder.texts)
        usable = pl.col("status").is_in(USABLE)
        table = table.with_columns(
            status=pl.when(usable & ~known).then(pl.lit("no vector")).otherwise("status")
        )
    check_usable(table, names)
    return table


def as_unanswered(rows: pl.DataFrame, step: str, item: pl.Expr) -> pl.DataFrame:
    """Rows with `status` and `detail` as the table `unanswered`."""
    reason = pl.concat_str("status", pl.col("detail").fill_null(""), separator=": ")
    return rows.select(
        step=pl.lit(step), item=item, reason=reason, call=pl.lit(None, pl.String), status="status"
    )


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
