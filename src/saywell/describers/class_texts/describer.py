"""Texts about classes: written by a language model in two stages, taken from articles, or given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.data.examples import Kind
from saywell.data.knowledge import ARTICLES, PASSAGES, WIKIPEDIA, Knowledge, load_knowledge
from saywell.data.wikipedia import Wiki
from saywell.describers.class_texts.class_describer import (
    CLASS_TEXTS,
    USABLE,
    WRITING,
    extract_texts,
    write_texts,
)
from saywell.describers.class_texts.given import GIVEN, given_texts
from saywell.describers.class_texts.statements import first_saying_it
from saywell.describers.describer import Evidence
from saywell.description import Description
from saywell.encoders.precomputed import Precomputed
from saywell.errors import InputError
from saywell.language_models.requests import Status
from saywell.progress import increments
from saywell.resources import Resources
from saywell.store.study import Study, StudyWriter
from saywell.store.table import Table

_NO_ANSWER = tuple(status for status in get_args(Status) if status not in ("ok", "empty"))
"""What becomes of a question to a language model without an answer; "empty" is said of texts, too."""


class GivenTexts(NamedTuple):
    """Texts that somebody has written already, the place of the class of each, and what they are called."""

    texts: list[str]
    text_class: Int[np.ndarray, " texts"]
    called: str = GIVEN


@dataclass(frozen=True)
class ClassTexts:
    """Describes a class by all texts about it that can be used, as they stand in table `class_texts`.

    They are `given`, or written by the language model where there is one, or else sentences of articles:
    those of `knowledge`, or such as `wiki` fetches (words of `context` say what an ambiguous name means).
    `superclass` is what all classes are. `gold` (class, text, good) is kept beside the texts and decides
    nothing. `ready` is what `written` gave, where somebody has asked before.
    """

    given: GivenTexts | None = None
    knowledge: Knowledge | None = None
    wiki: Wiki | None = None
    context: Sequence[str] = ()
    superclass: str = ""
    gold: pl.DataFrame | None = None
    ready: pl.DataFrame | None = None
    name: str = "class-texts"
    version: int = 1
    kinds: Sequence[Kind] = ("image",)
    needs_tags: bool = False
    tables: Sequence[Table] = (ARTICLES, PASSAGES, CLASS_TEXTS)

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """As in `Describer`; no example is looked at."""
        names = evidence.ids
        self.write(evidence, resources, study)
        texts = usable_texts(study, names)[0]
        return class_descriptions(names, texts, "no description: it has no usable text")

    def write(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> None:
        """Tables `articles`, `passages` and `class_texts`."""
        names = evidence.ids
        study.tables((ARTICLES, PASSAGES), lambda: self._articles(names, resources, study))

        def make() -> pl.DataFrame:
            table = self.ready
            if table is None:
                table = self.written(
                    names, Knowledge(study.table(ARTICLES), study.table(PASSAGES)), resources
                )
                if resources.llm is not None and self.given is None:
                    lost = table.filter(pl.col("status").is_in(_NO_ANSWER))
                    item = pl.concat_str("class", pl.col("component").fill_null(""), separator=": ")
                    study.unanswered("class texts", as_unanswered(lost, "class texts", item))
            table = with_repeats(table, names, lambda texts: resources.encode(evidence.examples, texts))
            return table if self.gold is None else _with_gold(table, self.gold)

        study.table(CLASS_TEXTS, make)

    def written(self, names: Sequence[str], knowledge: Knowledge, resources: Resources) -> pl.DataFrame:
        """The texts, in one of the three ways. Raises InputError where none of them can be used."""
        encoder, llm = resources.dual_encoder, resources.llm
        if self.given is not None:
            texts, text_class, called = self.given
            table = given_texts(texts, text_class, names, encoder, called)
        elif llm is not None:
            with resources.progress("texts", len(names)) as advance:
                table = write_texts(
                    names,
                    knowledge,
                    encoder,
                    llm,
                    superclass=self.superclass,
                    prompts={name: resources.prompt(name) for name in WRITING},
                    seed=resources.seed,
                    progress=increments(advance),
                )
        else:
            table = extract_texts(names, knowledge, encoder)
        if isinstance(encoder, Precomputed):
            lacks = pl.col("status").is_in(USABLE) & ~pl.col("text").is_in(encoder.texts)
            table = table.with_columns(status=pl.when(lacks).then(pl.lit("no vector")).otherwise("status"))
        check_usable(table, names)
        return table

    def _articles(self, names: Sequence[str], resources: Resources, study: StudyWriter) -> tuple:
        found = self.knowledge
        if found is None:
            wiki = self.wiki or Wiki(cache=study.path / "wikipedia")
            with resources.progress("articles", len(names)) as advance:
                found = load_knowledge(
                    WIKIPEDIA, names, wiki=wiki, context=self.context, progress=increments(advance)
                )
        if found.unused:
            study.note(f"{len(found.unused)} articles belong to no class, such as {found.unused[0]!r}.")
        return found.articles, found.passages


def check_usable(texts: pl.DataFrame, names: Sequence[str]) -> None:
    """Raise InputError where table `class_texts` has no text that can be chosen."""
    if not texts["status"].is_in(USABLE).any():
        common = texts["status"].mode().sort()[0]
        raise InputError(
            f"there is no usable text for any of the {len(names)} classes (most often: {common});"
            " give texts=... (--texts), knowledge=... (--knowledge) or a language model, llm=..."
            " (--llm)"
        )


def with_repeats(
    table: pl.DataFrame, names: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray]
) -> pl.DataFrame:
    """Table `class_texts` with column `same_as`, of usable texts; `encode` makes unit vectors of texts."""
    found: dict[str, str] = {}
    for _, own in table.filter(pl.col("status").is_in(USABLE)).group_by("class", maintain_order=True):
        texts, ids = own["text"].to_list(), own["id"].to_list()
        firsts = first_saying_it(texts, encode(texts), names).tolist()
        found |= {ids[place]: ids[first] for place, first in enumerate(firsts) if first != place}
    same = pl.col("id").replace_strict(found, default=None, return_dtype=pl.String)
    return table.with_columns(same_as=same if found else pl.lit(None, pl.String))


def usable_texts(study: Study, names: Sequence[str]) -> tuple[pl.DataFrame, Int[np.ndarray, " texts"]]:
    """The texts of these classes that can be chosen, and the place of the class of each."""
    usable = pl.col("status").is_in(USABLE) & pl.col("class").is_in(names)
    table = study.table(CLASS_TEXTS).filter(usable)
    place = {name: number for number, name in enumerate(names)}
    return table, np.array([place[name] for name in table["class"]], dtype=np.int64)


def class_descriptions(names: Sequence[str], texts: pl.DataFrame, without: str) -> list[Description]:
    """Rows of table `class_texts`, best first, as descriptions of classes; `without`: why there is none."""
    by_class = {key: own for (key,), own in texts.group_by("class", maintain_order=True)}
    found = []
    for name in names:
        own = by_class.get(name)
        if own is None:
            found.append(Description(name, "", without))
            continue
        llm, prompt, sources = (
            own[column].drop_nulls().unique().sort().to_list() for column in ("llm", "prompt_hash", "source")
        )
        found.append(
            Description(
                name,
                " ".join(own["text"]),
                parts=tuple(own["text"]),
                descriptors=tuple(own["id"]),
                sources=tuple(sources),
                llm=",".join(llm) or None,
                prompt_hash=",".join(prompt) or None,
            )
        )
    return found


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
