"""The card of a unit: everything that a study's tables say of it, in one record.

Terminal, report pages and explorer show this record and nothing else, so they cannot differ. It goes
by the tables that are there, whatever the study asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from html import escape
from typing import Any, NamedTuple, Protocol

import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.errors import InputError
from saywell.report.formats import joined
from saywell.report.hypothesis_words import Hypothesis, hypotheses_of
from saywell.report.latents import NOTHING, Latent, latents_of
from saywell.report.tables import ASKED, asked
from saywell.store.study import Study

VERIFIED, DESCRIBED = "verified", "described"
EXCERPT = 280
"""Characters of a sentence that are shown, around its responsible part."""
_READERS = {"dual-encoder": "image-text encoder", "detection": "LLM", "lexical": "words"}
_OF_SENTENCES = ("another_class", "nearest_sibling", "always", "class_name")
_SPAN, _BIN = ("span_start", "span_end"), ("bin", "low", "high")
_REGION = ("region_left", "region_top", "region_right", "region_bottom")


@dataclass(frozen=True)
class Example:
    """An example that speaks for or against a description."""

    id: str
    text: str
    """The sentence; of an image its name."""
    value: float | None
    """The unit's activation on it; of a class's training image its influence."""
    span: tuple[int, int] | None = None
    """The part of `text` that is responsible, in characters, end exclusive."""
    region: tuple[float, float, float, float] | None = None
    """The part of a picture that is responsible: left, top, right, bottom, as shares of its sides."""
    carries: bool = False
    """Whether a tag says that a descriptor of the description holds of it."""

    def marked(self, left: str = "[", right: str = "]") -> str:
        """The text with the responsible part between two marks."""
        if self.span is None:
            return self.text
        start, end = self.span
        return self.text[:start] + left + self.text[start:end] + right + self.text[end:]

    def cut(self, most: int) -> Example:
        """The same with about so many characters of its text, those around the responsible part."""
        text, (start, end) = self.text, self.span or (0, 0)
        start, end = max(0, min(start, len(text))), max(0, min(end, len(text)))
        end = max(start, min(end, start + most // 2))
        room = most - (end - start)
        first = 0 if len(text) <= most else max(0, start - room // 2)
        last = min(len(text), first + most)
        before = ("…" if first else "") + text[first:start]
        after = text[end:last] + ("…" if last < len(text) else "")
        span = (len(before), len(before) + end - start) if end > start else None
        return replace(self, text=before + text[start:end] + after, span=span)


@dataclass(frozen=True)
class Reading:
    """How one reader, who sees the description alone, predicts the unit on held-out examples."""

    reader: str
    """In words."""
    score: float | None
    """F1, 0 to 1, higher is better; None where nothing could be tested."""
    ci_low: float | None
    ci_high: float | None
    floor: str | None
    """What should fail and does best: another unit's words, a constant answer ..."""
    floor_score: float | None
    skill: float | None
    """Score less that of the best floor."""
    skill_low: float | None
    skill_high: float | None
    q: float | None
    n: int
    verdict: str
    """Of the reader who decides that of the description, else the reader's own."""
    verifies: bool | None = None
    """Whether this reader alone verifies it; None where it could not be tested."""
    localised: float | None = None
    """Of `localised_n` texts the share whose responsible span the description points at."""
    localised_low: float | None = None
    localised_high: float | None = None
    localised_n: int = 0
    by_chance: float | None = None
    """The share of all words of these texts that it points at."""
    floors: dict[str, float | None] = field(default_factory=dict)
    """The same for everything that should fail."""


@dataclass(frozen=True)
class Written:
    """What one describer wrote of a unit, and how it fared."""

    id: str
    text: str
    """Empty where there is none; `status` says why."""
    status: str
    describer: str
    llm: str | None
    selection: str | None
    """The rule that chose its sentences, where one did."""
    texts: tuple[str, ...]
    """Its parts: descriptors, or the chosen sentences of a class, best first."""
    parts: tuple[str, ...]
    """Their ids."""
    readings: tuple[Reading, ...]
    """The first one decides what is verified."""
    at_words: dict[str, Any] | None = None
    """Its row of table `token_scores`: how it agrees with the very words on which the unit fires."""

    @property
    def score(self) -> Reading | None:
        """What the reader who decides makes of it."""
        return self.readings[0] if self.readings else None

    @property
    def verified(self) -> bool:
        """Whether it held on examples that its writer never saw."""
        return self.score is not None and self.score.verdict == VERIFIED

    @property
    def verdict(self) -> str:
        """In two words."""
        if self.status != DESCRIBED:
            return "no description"
        return VERIFIED if self.verified else "not verified"

    @property
    def why_not(self) -> str:
        """Why there is no text."""
        return self.status.removeprefix("no description: ")


class Bin(NamedTuple):
    """A part of the range of a unit's activations, and some of the examples in it."""

    low: float
    high: float
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Sentence:
    """A sentence about a class that could be chosen, and what each rule says of it."""

    id: str
    text: str | None
    component: str | None
    status: str
    quotation: str | None
    gold: bool | None
    chosen: bool
    scores: dict[str, float | None]
    score: Reading | None = None
    """What the strictest reader makes of it alone, class names masked; None where nobody was asked."""
    contradicts: dict[str, str] = field(default_factory=dict)
    """Chosen sentences of the class, by id, that seem to exclude it, and in what: a colour ..."""
    repeats: str | None = None
    """The chosen sentence that says the same, where one does and this is not chosen."""

    @property
    def verified(self) -> bool:
        """Whether it is verified by itself."""
        return self.score is not None and self.score.verdict == VERIFIED


_NOBODY = Written("", "", "no description: none was written", "", None, None, (), (), ())


@dataclass(frozen=True)
class Unit:
    """One unit with its descriptions and what speaks for and against them."""

    id: str
    row: dict[str, Any]
    """Its row of table `units`: layer, sign, threshold ...; empty where the study has no such table."""
    written: tuple[Written, ...]
    """By describer, the one that stands for the unit first; never empty."""
    pictures: bool
    """Whether its examples are images."""
    exemplars: tuple[Example, ...] = ()
    """The strongest examples that descriptions were made from; of a class, images that help it."""
    contrasts: tuple[Example, ...] = ()
    """Examples on which it does not fire."""
    unforeseen: tuple[Example, ...] = ()
    """Held-out examples on which the unit fires although the description does not say so."""
    silent: tuple[Example, ...] = ()
    """Held-out examples of which the description holds and on which the unit does not fire."""
    proponents: tuple[Example, ...] = ()
    """Of a class, training images that help it."""
    opponents: tuple[Example, ...] = ()
    """Of a class, training images that harm it."""
    descriptors: tuple[dict[str, Any], ...] = ()
    """Those that its exemplars carry more often than chance, highest lift first."""
    meanings: tuple[dict[str, Any], ...] = ()
    """Rows of table `meanings`: its exemplars in clusters, each described by itself."""
    sentences: tuple[Sentence, ...] = ()
    """Of a class, all its texts, the chosen ones first."""
    article: dict[str, Any] | None = None
    """Of a class, where its knowledge came from."""
    hypothesis: Hypothesis | None = None
    """What it was said to go with, and what came of that."""
    density: float | None = None
    """The share of all tokens at which it fires."""
    ranges: tuple[Bin, ...] = ()
    """Examples drawn from all over the range of its activations, the lowest first."""
    near_misses: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    """Examples on which it is silent, by why it might not have been: "same token", "nearest"."""
    latent: Latent = NOTHING
    """Its output side, and how it stands to others."""

    @property
    def first(self) -> Written:
        """The description that stands for the unit."""
        return self.written[0]

    @property
    def description(self) -> str:
        """Its text; empty where there is none, and `status` says why."""
        return self.first.text

    @property
    def status(self) -> str:
        """ "described", or why there is no description."""
        return self.first.status

    @property
    def texts(self) -> tuple[str, ...]:
        """The parts of the description, best first."""
        return self.first.texts

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How each reader fares with the description, the one who decides first."""
        return self.first.readings

    @property
    def score(self) -> Reading | None:
        """What the reader who decides makes of the description."""
        return self.first.score

    @property
    def verified(self) -> bool:
        """Whether the description held on examples that its writer never saw."""
        return self.first.verified

    @property
    def verified_by(self) -> tuple[str, ...]:
        """The readers who by themselves verify it, whoever decides."""
        return tuple(one.reader for one in self.readings if one.verifies)

    @property
    def judged_by(self) -> str:
        """Who decides that it is verified, and who says so too without deciding, in words."""
        decides, *others = self.readings
        supports = [one.reader for one in others if one.verifies]
        said = f"decided by {decides.reader}"
        return f"{said}, supported by {joined(supports)}" if supports else said

    @property
    def chosen(self) -> tuple[Sentence, ...]:
        """Of a class, the sentences that describe it, best first."""
        return tuple(one for one in self.sentences if one.chosen)

    @property
    def to_begin_with(self) -> tuple[str, ...]:
        """The parts of the description; of a class those first that are verified by themselves."""
        first = sorted(self.chosen, key=lambda one: not one.verified)
        return tuple(one.text for one in first if one.text) or self.texts

    @property
    def of_sentences(self) -> str:
        """How many chosen sentences are verified alone, how many pairs seem to contradict each other.

        Empty where nobody was asked about any.
        """
        tested = [one for one in self.chosen if one.score is not None]
        pairs = sum(len(one.contradicts) for one in self.chosen) // 2
        told = f"{sum(one.verified for one in tested)} of {len(tested)} sentences verified alone"
        odds = f"{pairs} {'pair' if pairs == 1 else 'pairs'} at odds"
        return ", ".join([told] * bool(tested) + [odds] * bool(pairs))

    @property
    def sign(self) -> int:
        """1: it fires going high; -1: going low."""
        return -1 if (self.row.get("sign") or 1) < 0 else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `saywell show --json` prints them."""
        said = {
            "description": self.description,
            "status": self.status,
            "texts": list(self.texts),
            "verified": self.verified,
            "verified_by": list(self.verified_by),
            "readings": [asdict(one) for one in self.readings],
        }
        return {"id": self.id, **said, **{k: v for k, v in asdict(self).items() if k != "id"}}

    def __repr__(self) -> str:
        lines = [f"{self.id}: {self.description or self.status}"]
        for one in self.readings:
            if one.score is not None and one.skill is not None:
                lines.append(
                    f"  {one.reader}: F1 {one.score:.2f}, floor {one.floor_score:.2f}"
                    f" ({one.floor}), {one.verdict}"
                )
        lines += [f"  {_value(one.value)}  {one.cut(EXCERPT).marked()}" for one in self.exemplars[:3]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A card for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(one.reader)}</td><td>F1 {_value(one.score)}</td>"
            f"<td>floor {_value(one.floor_score)} ({escape(one.floor or '')})</td>"
            f"<td>{escape(one.verdict)}</td></tr>"
            for one in self.readings
        )
        items = "".join(f"<li>{_marked_html(one.cut(EXCERPT))}</li>" for one in self.exemplars[:5])
        return (
            f"<div><b>{escape(self.id)}</b>: {escape(self.description or self.status)}"
            f"<table>{rows}</table><ol>{items}</ol></div>"
        )


class Rows(Protocol):
    """Where the tables of a study are asked: in memory, or by SQL."""

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is such a table, with these columns."""
        ...

    def where(self, table: str, column: str, values: Sequence[str] | None) -> pl.DataFrame:
        """Its rows with one of these values in a column (all where None), in their order."""
        ...

    @property
    def pictures(self) -> bool:
        """Whether the examples are images."""
        ...


class StudyRows:
    """A study's tables: each read once where all of it is asked for, else the rows alone that are."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._read: dict[str, pl.DataFrame] = {}

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is such a table, with these columns."""
        there = table in self._study.manifest.tables
        return there and (not columns or {*columns} <= {*self._scan(table).collect_schema()})

    def where(self, table: str, column: str, values: Sequence[str] | None) -> pl.DataFrame:
        """Its rows with one of these values in a column (all where None), in their order."""
        if values is None:
            if table not in self._read:
                self._read[table] = self._study.table(ASKED.get(table, table))
            return self._read[table]
        return self._scan(table).filter(pl.col(column).is_in(list(values))).collect()

    @property
    def pictures(self) -> bool:
        """Whether the examples are images."""
        return self.has("examples") and of_pictures(self._scan("examples"))

    def _scan(self, table: str) -> pl.LazyFrame:
        if table in self._read:
            return self._read[table].lazy()
        return self._study.scan(ASKED.get(table, table))


def of_pictures(examples: pl.DataFrame | pl.LazyFrame) -> bool:
    """Whether these examples are images: none has a text, and none is a pair of texts."""
    table = examples.lazy()
    said = [name for name in ("text", "first") if name in table.collect_schema()]
    return not any(table.select(pl.col(said).is_not_null().any()).collect().row(0)) if said else True


def read_unit(study: Study, unit: str, *, examples: int = 8) -> Unit:
    """One unit, or one class by its name, with at most so many examples of each sort.

    Raises InputError for a unit that the study does not have; the message names the nearest.
    """
    found = read_units(StudyRows(study), [unit], examples=examples)
    if unit not in found:
        table, column = ("units", "id") if "units" in study.manifest.tables else ("descriptions", "unit")
        known = asked(study, table)[column]
        raise unknown_unit(unit, known.unique(maintain_order=True).to_list())
    return found[unit]


def read_units(rows: Rows, ids: Sequence[str], *, examples: int = 8) -> dict[str, Unit]:
    """The cards of those of these units that there are, with at most so many examples of each sort."""
    own = {row["id"]: row for row in _of(rows, "units", ids, "id").to_dicts()}
    written = _written(rows, ids)
    sorts = {
        "exemplars": strongest(rows, ids),
        "contrasts": _of(rows, "contrasts", ids),
        "proponents": _influential(rows, ids, "proponent"),
        "opponents": _influential(rows, ids, "opponent"),
    }
    against = _of(rows, "counterexamples", ids)
    if against.height:
        # Several describers have several accounts of a unit; these are of the one that stands for it.
        standing = {own[0].id for own in written.values()}
        against = against.filter(pl.col("description").is_in(standing))
        sorts |= {kind: against.filter(kind=kind) for kind in ("unforeseen", "silent")}
    shown = {sort: _cut(table, examples) for sort, table in sorts.items()}
    shown |= {sort: _described_from(_of(rows, sort, ids)) for sort in ("ranges", "near_misses")}
    of_sort = {sort: table.partition_by("unit", as_dict=True) for sort, table in shown.items()}
    named = pl.concat([table["example"] for table in shown.values()]).unique()
    words = dict(shown_words(rows, named.to_list()).iter_rows()) if rows.has("examples", "id") else {}
    carried = _carried(rows, shown["exemplars"])
    lists = {
        "descriptors": _by_unit(_descriptors(rows, ids)),
        "meanings": _by_unit(_of(rows, "meanings", ids)),
    }
    hypotheses = {one.unit: one for one in reversed(hypotheses_of(rows, ids))}
    articles = _by_unit(_of(rows, "articles", ids, "class"), "class")
    sentences, pictures = _sentences(rows, ids, written), rows.pictures
    latents = latents_of(rows, ids)
    density = _of(rows, "density", ids)
    densities = {} if density.is_empty() else dict(density.select("unit", "density").iter_rows())

    def rows_of(sort: str, unit: str) -> list[dict[str, Any]]:
        found = of_sort.get(sort, {}).get((unit,))
        return [] if found is None else found.to_dicts()

    def seen(sort: str, unit: str, carriers: frozenset[str] = frozenset()) -> tuple[Example, ...]:
        return tuple(example_of(row, words.get(row["example"], ""), carriers) for row in rows_of(sort, unit))

    def by(sort: str, unit: str, *names: str) -> dict[tuple[Any, ...], tuple[Example, ...]]:
        found: dict[tuple[Any, ...], tuple[Example, ...]] = {}
        for row, one in zip(rows_of(sort, unit), seen(sort, unit), strict=True):
            key = tuple(row[name] for name in names)
            found[key] = (*found.get(key, ()), one)
        return found

    found = {}
    for unit in ids:
        if unit not in own and unit not in written:
            continue
        said = written.get(unit, (_NOBODY,))
        names = {name for one in said for name in one.parts}
        carriers = frozenset(example for example, name in carried if name in names)
        found[unit] = Unit(
            id=unit,
            row={name: value for name, value in own.get(unit, {}).items() if name != "id"},
            written=said,
            pictures=pictures,
            exemplars=seen("exemplars", unit, carriers),
            contrasts=seen("contrasts", unit),
            unforeseen=seen("unforeseen", unit),
            silent=seen("silent", unit),
            proponents=seen("proponents", unit),
            opponents=seen("opponents", unit),
            descriptors=tuple(lists["descriptors"].get(unit, ())),
            meanings=tuple(lists["meanings"].get(unit, ())),
            sentences=sentences.get(unit, ()),
            article=next(iter(articles.get(unit, ())), None),
            hypothesis=hypotheses.get(unit),
            density=densities.get(unit),
            ranges=tuple(Bin(low, high, own) for (_, low, high), own in by("ranges", unit, *_BIN).items()),
            near_misses={why: own for (why,), own in by("near_misses", unit, "why").items()},
            latent=latents.get(unit, NOTHING),
        )
    return found


def strongest(rows: Rows, ids: Sequence[str] | None = None) -> pl.DataFrame:
    """unit, rank, example, value and the responsible part of the examples that speak for units.

    They are the exemplars that descriptions were made from; where there are none, training images that
    help a class.
    """
    if not rows.has("exemplars"):
        return _influential(rows, ids, "proponent")
    table = _of(rows, "exemplars", ids)
    return table.filter(part=DESCRIBE) if "part" in table.columns else table


def shown_words(rows: Rows, ids: Sequence[str] | None = None) -> pl.DataFrame:
    """example, words of examples by id: a sentence, both of a pair, or the name of an image."""
    table = rows.where("examples", "id", ids)
    shown: list[pl.Expr | str] = [name for name in ("text", "name", "id") if name in table.columns]
    if {"first", "second"} <= set(table.columns):
        shown.insert(0, pl.concat_str("first", pl.lit(" | "), "second"))
    return table.select(example="id", words=pl.coalesce(shown))


def unknown_unit(unit: str, known: Sequence[str]) -> InputError:
    """The error for a unit that is not there, with the nearest that is."""
    near = [one for one in known if unit.isdigit() and one.endswith(f"/{unit}")]
    near = near or get_close_matches(unit, known[:50_000], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}? Its" if near else "; its"
    many = f" ({len(known):,} in all)" if len(known) > 1 else ""
    called = f"{hint} units are called like {known[0]!r}{many}" if known else "; it has no units yet"
    return InputError(f"the study has no unit {unit!r}{called}")


def reader_name(reader: str) -> str:
    """Who reads, in words: "sentence-encoder" is the sentence encoder."""
    return _READERS.get(reader, reader.replace("-", " "))


def _of(rows: Rows, table: str, ids: Sequence[str] | None, column: str = "unit") -> pl.DataFrame:
    """A table's rows of these units; without columns where there is none."""
    return rows.where(table, column, ids) if rows.has(table, column) else pl.DataFrame()


def _influential(rows: Rows, ids: Sequence[str] | None, side: str) -> pl.DataFrame:
    """Training images that help or harm a class, in the classifier that was looked at first."""
    table = _of(rows, "influence", ids, "class")
    if table.is_empty():
        return pl.DataFrame(schema={"unit": pl.String, "rank": pl.Int32, "example": pl.String})
    return table.filter(side=side, model=table["model"][0]).rename({"class": "unit"})


def _cut(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """The first of each unit, by rank."""
    if table.is_empty():
        return pl.DataFrame(schema={"unit": pl.String, "example": pl.String})
    return table.sort("rank", maintain_order=True).group_by("unit", maintain_order=True).head(most)


def _described_from(table: pl.DataFrame) -> pl.DataFrame:
    """Of examples of several parts those that may be seen by who describes: nothing that is scored on."""
    if table.is_empty():
        return pl.DataFrame(schema={"unit": pl.String, "example": pl.String})
    return table.filter(part=DESCRIBE)


def _by_unit(table: pl.DataFrame, column: str = "unit") -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in table.iter_rows(named=True):
        grouped.setdefault(row.pop(column), []).append(row)
    return grouped


def example_of(row: Mapping[str, Any], text: str, carriers: frozenset[str] = frozenset()) -> Example:
    """From a row of a table of examples that speak for units."""
    span, region = (tuple(row.get(name) for name in names) for names in (_SPAN, _REGION))
    return Example(
        row["example"],
        text,
        row["activation"] if "activation" in row else row.get("value"),
        None if None in span else _trimmed(text, *span),  # type: ignore[arg-type]
        None if None in region else region,  # type: ignore[arg-type]
        row["example"] in carriers,
    )


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the spaces before it, which many tokenizers count to a token."""
    inside = text[start:end]
    return (start + len(inside) - len(inside.lstrip()), end) if inside.strip() else (start, end)


def _written(rows: Rows, ids: Sequence[str]) -> dict[str, tuple[Written, ...]]:
    """Descriptions by unit, those that stand for it first."""
    table = _of(rows, "descriptions", ids)
    if table.is_empty():
        return {}
    table = table.sort("selected", "rank", descending=[True, False], maintain_order=True)
    floors: dict[tuple[str, ...], dict[str, float | None]] = {}
    whose = ("description", "measure", "reader")
    for row in _of(rows, "floors", ids).iter_rows(named=True):
        floors.setdefault(tuple(row[name] for name in whose), {})[row["floor"]] = row["value"]
    readings: dict[str, list[Reading]] = {}
    scores = _of(rows, "scores", ids)
    if "decides" in scores.columns:
        scores = scores.sort("decides", descending=True, maintain_order=True)
    for row in scores.iter_rows(named=True):
        fared = _reading(row, floors.get(tuple(row[name] for name in whose), {}))
        readings.setdefault(row["description"], []).append(fared)
    at_words = {row["description"]: row for row in _of(rows, "token_scores", ids).iter_rows(named=True)}
    named = table["descriptors"].explode().drop_nulls().unique().to_list()
    words: dict[str, str] = {}
    for source in ("descriptors", "class_texts"):
        if named and rows.has(source, "id", "text"):
            words |= dict(rows.where(source, "id", named).select("id", "text").iter_rows())
    found: dict[str, list[Written]] = {}
    for row in table.iter_rows(named=True):
        parts = tuple(row["descriptors"] or ())
        texts = tuple(words[part] for part in parts if part in words)
        found.setdefault(row["unit"], []).append(
            Written(
                id=row["id"],
                text=row["text"] or "",
                status=row["status"] or _NOBODY.status,
                describer=row["describer"] or "",
                llm=row["llm"],
                selection=row.get("selection"),
                texts=texts or ((row["text"],) if row["text"] else ()),
                parts=parts,
                readings=tuple(readings.get(row["id"], ())),
                at_words=at_words.get(row["id"]),
            )
        )
    return {unit: tuple(own) for unit, own in found.items()}


def _reading(row: Mapping[str, Any], floors: dict[str, float | None]) -> Reading:
    return Reading(
        reader=reader_name(row["reader"]),
        score=row["value"],
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        floor=row["floor"],
        floor_score=row["control"],
        skill=row["skill"],
        skill_low=row["skill_low"],
        skill_high=row["skill_high"],
        q=row["q"],
        n=row["n"] or 0,
        verdict=row["status"] or "not tested",
        verifies=row.get("verifies", row["status"] == VERIFIED),
        **{name: row.get(name) for name in ("localised", "localised_low", "localised_high", "by_chance")},
        localised_n=row.get("localised_n") or 0,
        floors=floors,
    )


def _carried(rows: Rows, exemplars: pl.DataFrame) -> list[tuple[str, str]]:
    """Examples and the descriptors that they carry."""
    if exemplars.is_empty() or not rows.has("tags", "example", "descriptor"):
        return []
    tags = rows.where("tags", "example", exemplars["example"].unique().to_list())
    return tags.select("example", "descriptor").rows()


def _descriptors(rows: Rows, ids: Sequence[str]) -> pl.DataFrame:
    """unit, text and how the exemplars carry it; enriched and composed ones, highest lift first."""
    table = _of(rows, "associations", ids)
    if table.is_empty() or not rows.has("descriptors", "text"):
        return pl.DataFrame()
    table = table.filter(pl.col("enriched") | pl.col("composed"), part=DESCRIBE)
    names = rows.where("descriptors", "id", table["descriptor"].unique().to_list()).select("id", "text")
    return table.join(names, left_on="descriptor", right_on="id", maintain_order="left").sort(
        "lift", descending=True, maintain_order=True
    )


def _sentences(
    rows: Rows, ids: Sequence[str], written: Mapping[str, Sequence[Written]]
) -> dict[str, tuple[Sentence, ...]]:
    """All texts about classes, the chosen ones first, then those that the study's rule prefers."""
    table = _of(rows, "class_texts", ids, "class")
    if table.is_empty():
        return {}
    scores: dict[str, dict[str, float | None]] = {}
    for row in _of(rows, "text_scores", ids, "class").iter_rows(named=True):
        if not row["network"]:
            scores.setdefault(row["text"], {})[row["rule"]] = row["score"]
    alone, against = _alone(rows, ids), _contradictions(rows, ids)
    kept = {name for own in written.values() for name in own[0].parts}
    told = [(row["id"], row.get("same_as") or row["id"], row["text"]) for row in table.iter_rows(named=True)]
    said = {says: text for name, says, text in told if name in kept}
    repeats = {name: said[says] for name, says, _ in told if name not in kept and says in said}
    found: dict[str, list[Sentence]] = {}
    for row in table.iter_rows(named=True):
        first = written.get(row["class"], (_NOBODY,))[0]
        found.setdefault(row["class"], []).append(
            Sentence(
                id=row["id"],
                text=row["text"],
                component=row["component"],
                status=row["status"],
                quotation=row["quotation"],
                gold=row.get("gold"),
                chosen=row["id"] in first.parts,
                scores=scores.get(row["id"], {}),
                score=alone.get(row["id"]),
                contradicts=against.get(row["id"], {}),
                repeats=repeats.get(row["id"]),
            )
        )

    def place(unit: str, one: Sentence) -> tuple[int, float]:
        first = written.get(unit, (_NOBODY,))[0]
        score = one.scores.get(first.selection or "")
        chosen = first.parts.index(one.id) if one.chosen else len(first.parts)
        return chosen, float("inf") if score is None else -score

    return {unit: tuple(sorted(own, key=lambda one: place(unit, one))) for unit, own in found.items()}


def _alone(rows: Rows, ids: Sequence[str]) -> dict[str, Reading]:
    """By sentence what the reader who decides makes of it alone."""
    table = _of(rows, "sentence_scores", ids)
    own = () if table.is_empty() else table.filter("decides").iter_rows(named=True)
    return {row["text"]: _reading(row, {name: row[name] for name in _OF_SENTENCES}) for row in own}


def _contradictions(rows: Rows, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """By sentence those that seem to exclude it, and in what."""
    found: dict[str, dict[str, str]] = {}
    for row in _of(rows, "contradictions", ids).iter_rows(named=True):
        for one, other in ((row["first"], row["second"]), (row["second"], row["first"])):
            found.setdefault(one, {})[other] = row["kind"]
    return found


def _marked_html(one: Example) -> str:
    if one.span is None:
        return escape(one.text)
    start, end = one.span
    parts = (one.text[:start], one.text[start:end], one.text[end:])
    before, span, after = map(escape, parts)
    return f"{before}<mark>{span}</mark>{after}"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
