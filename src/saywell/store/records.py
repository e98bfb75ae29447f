"""What a study says, read as a person would: one unit, a search, the best few, one tidy table.

Everything here is derived from the tables that are there, so it holds for every kind of study.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from html import escape
from typing import Any

import polars as pl

from saywell.errors import InputError
from saywell.store.study import Study

VERIFIED = "verified"
_DESCRIBED = "described"
_SEEN = 10
"""Exemplars of a unit that are searched, and among which the one to show is chosen."""
_SHORT, _LONG, _NEAR = 80, 160, 0.5
EXCERPT = 280
"""Characters of a sentence that are shown, around its responsible part."""
_READERS = {"dual-encoder": "image-text encoder", "detection": "LLM", "lexical": "words"}


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


@dataclass(frozen=True)
class Unit:
    """One unit with its description and what speaks for and against it."""

    id: str
    description: str
    """Empty where there is none; `status` says why."""
    status: str
    texts: tuple[str, ...]
    """The parts of the description: descriptors, or the chosen sentences of a class, best first."""
    readings: tuple[Reading, ...]
    """The first one decides what is verified."""
    exemplars: tuple[Example, ...]
    """The strongest examples that the description was made from; of a class, images that help it."""
    unforeseen: tuple[Example, ...]
    """Held-out examples on which the unit fires although the description does not say so."""
    silent: tuple[Example, ...]
    """Held-out examples of which the description holds and on which the unit does not fire."""
    pictures: bool
    """Whether its examples are images, and its texts sentences about them: so of a class."""

    @property
    def score(self) -> Reading | None:
        """What the reader who decides makes of the description."""
        return self.readings[0] if self.readings else None

    @property
    def verified(self) -> bool:
        """Whether the description held on examples that its writer never saw."""
        return self.score is not None and self.score.verdict == VERIFIED

    @property
    def verified_by(self) -> tuple[str, ...]:
        """The readers by whom it is verified."""
        return tuple(one.reader for one in self.readings if one.verdict == VERIFIED)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `saywell show --json` prints them."""
        return asdict(self) | {"verified": self.verified, "verified_by": list(self.verified_by)}

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


def read_unit(study: Study, unit: str, *, examples: int = 8) -> Unit:
    """One unit, or one class by its name, with at most so many examples of each sort.

    Raises InputError for a unit that the study does not have; the message names the nearest.
    """
    written = study.descriptions
    own = written.filter(unit=unit).sort("selected", "rank", descending=[True, False])
    if own.is_empty():
        raise unknown_unit(unit, written["unit"].unique(maintain_order=True).to_list())
    row = own.row(0, named=True)
    has = study.manifest.tables
    readings: tuple[Reading, ...] = ()
    if "scores" in has:
        scored = study.scores.filter(unit=unit, description=row["id"])
        readings = tuple(_reading(one) for one in scored.iter_rows(named=True))
    against: dict[str, tuple[Example, ...]] = {"unforeseen": (), "silent": ()}
    if "counterexamples" in has:
        found = study.table("counterexamples").filter(unit=unit).sort("rank")
        against = {kind: _examples(study, found.filter(kind=kind).head(examples)) for kind in against}
    return Unit(
        id=unit,
        description=row["text"],
        status=row["status"],
        texts=tuple(_texts(study, row)),
        readings=readings,
        exemplars=_examples(study, _strongest(study, [unit]).head(examples)),
        **against,
        pictures=_of_pictures(study),
    )


def unknown_unit(unit: str, known: Sequence[str]) -> InputError:
    """The error for a unit that is not there, with the nearest that is."""
    near = get_close_matches(unit, known[:50_000], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}? Its" if near else "; its"
    called = f"{hint} units are called like {known[0]!r}" if known else "; it has no units yet"
    return InputError(f"the study has no unit {unit!r}{called}")


def tidy_table(study: Study) -> pl.DataFrame:
    """One row per unit, verified ones first, then those whose skill is surely high (its lower end).

    unit, description   its name and its words; "" where it has none
    verdict             "verified", "not verified", or why there is no description or no test
    score, ci_low, ci_high    F1 of the reader who decides, with its 95 % interval
    floor_score, floor, skill the best of what should fail, its name, and score less floor_score
    reader, verified_by       who decides; every reader by whom it is verified
    example             a strong example around its responsible part, which is between « and »
    """
    written = (
        study.descriptions.sort("selected", "rank", descending=[True, False])
        .unique("unit", keep="first", maintain_order=True)
        .select("unit", "status", description="text", _id="id")
    )
    scored = pl.DataFrame(schema=_SCORED)
    if "scores" in study.manifest.tables:
        keys = {"unit": "unit", "_id": "description"}
        by = (
            study.scores.filter(status=VERIFIED)
            .group_by("unit", "description", maintain_order=True)
            .agg(verified_by="reader")
        )
        scored = (
            study.verdicts()
            .join(by, on=["unit", "description"], how="left")
            .select(
                **keys,
                verdict="status",
                score="value",
                ci_low="ci_low",
                ci_high="ci_high",
                floor_score="control",
                floor="floor",
                skill="skill",
                skill_low="skill_low",
                reader="reader",
                verified_by="verified_by",
            )
        )
    table = written.join(scored, on=["unit", "_id"], how="left", maintain_order="left")
    shown = _shown_examples(study, table)
    return (
        table.join(shown, on="unit", how="left", maintain_order="left")
        .with_columns(
            verdict=pl.when(pl.col("status") != _DESCRIBED)
            .then("status")
            .otherwise(pl.col("verdict").fill_null("not tested")),
            reader=pl.col("reader").map_elements(reader_name, return_dtype=pl.String),
            verified_by=pl.col("verified_by")
            .fill_null([])
            .list.eval(pl.element().map_elements(reader_name, return_dtype=pl.String)),
        )
        .sort(
            pl.col("verdict") == VERIFIED,
            "skill_low",
            "skill",
            descending=True,
            nulls_last=True,
            maintain_order=True,
        )
        .select(
            "unit",
            "description",
            "verdict",
            "score",
            "ci_low",
            "ci_high",
            "floor_score",
            "floor",
            "skill",
            "reader",
            "verified_by",
            "example",
        )
    )


_SCORED: dict[str, Any] = {
    "unit": pl.String,
    "_id": pl.String,
    "verdict": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "floor_score": pl.Float64,
    "floor": pl.String,
    "skill": pl.Float64,
    "skill_low": pl.Float64,
    "reader": pl.String,
    "verified_by": pl.List(pl.String),
}


def search_units(study: Study, words: str, *, limit: int = 20) -> pl.DataFrame:
    """Rows of `tidy_table` whose description, name or strong examples say all the words, best first.

    A word is found where a word begins with it, whatever the case. Units whose description says
    them come first, verified before others, then by the number of strong examples that say them,
    which is column `found`; equals stand as in `tidy_table`.

    Raises InputError without a word.
    """
    wanted = words.split()
    if not wanted:
        raise InputError(f"there is no word to search for in {words!r}; give one, such as 'refund'")
    study = _Held(study)
    table = tidy_table(study)
    in_examples = _found_in_examples(study, wanted)
    in_words = pl.all_horizontal(
        *(pl.concat_str("unit", pl.lit(" "), "description").str.contains(_begins(word)) for word in wanted)
    )
    return (
        table.join(in_examples, on="unit", how="left", maintain_order="left")
        .with_columns(pl.col("found").fill_null(0), _said=in_words)
        .filter(pl.col("_said") | (pl.col("found") > 0))
        .sort("_said", pl.col("verdict") == VERIFIED, "found", descending=True, maintain_order=True)
        .drop("_said")
        .head(limit)
    )


def best_units(study: Study, number: int = 10) -> list[Unit]:
    """A few verified units to begin with: believed by most readers, of high skill, short and unlike.

    Those verified by most readers come first, then those whose skill is surely high (the lower end
    of its interval). No two share a word of their descriptions while there are others, none has more
    than its share of a layer, and each is shown with another example.
    """
    if "scores" not in study.manifest.tables:
        return []
    study = _Held(study)
    counted = study.scores.filter(status=VERIFIED).group_by("unit", "description").len("readers")
    rows = (
        study.verdicts()
        .filter(status=VERIFIED)
        .join(study.descriptions.select("id", "text"), left_on="description", right_on="id")
        .join(counted, on=["unit", "description"])
        .sort("readers", "skill_low", "unit", descending=[True, True, False], nulls_last=True)
    )
    layers: dict[str, Any] = {}
    if "units" in study.manifest.tables:
        layers = dict(study.units.select("id", "layer").iter_rows())
    shown = _say_it(study, rows)
    candidates = [
        Candidate(row["unit"], row["text"], layers.get(row["unit"]), shown.get(row["unit"], True))
        for row in rows.iter_rows(named=True)
    ]
    picked = _unlike(candidates, number, len(set(layers.values())))
    used: set[str] = set()
    found = []
    for unit in picked:
        record = read_unit(study, unit, examples=_SEEN)
        first = choose_example(record.exemplars, record.texts, used)
        if first is not None:
            used.add(first.id)
            rest = tuple(one for one in record.exemplars if one is not first)
            record = replace(record, exemplars=(first, *rest))
        found.append(record)
    return found


def readers_of(study: Study) -> pl.DataFrame:
    """By reader: how many descriptions it tested, and how many of them it verifies.

    reader (in words), tested, verified; the reader who decides comes first.
    """
    return (
        study.scores.group_by("reader", maintain_order=True)
        .agg(tested=pl.col("skill").is_not_null().sum(), verified=(pl.col("status") == VERIFIED).sum())
        .with_columns(pl.col("reader").map_elements(reader_name, return_dtype=pl.String))
    )


def verified_by_all(study: Study) -> int:
    """Descriptions that every reader who tested them verifies."""
    by = study.scores.group_by("unit", "description").agg(all=(pl.col("status") == VERIFIED).all())
    return int(by["all"].sum())


def reader_name(reader: str) -> str:
    """Who reads, in words: "sentence-encoder" is the sentence encoder."""
    return _READERS.get(reader, reader.replace("-", " "))


def choose_example(exemplars: Iterable[Example], texts: Sequence[str], used: set[str]) -> Example | None:
    """The example to show a description with: not shown before, says it, short, strong."""
    wanted = {stem for text in texts for stem in _first_letters(text)}

    def place(rank: int, one: Example) -> tuple[bool, bool, bool, bool, bool, int]:
        span = one.text[slice(*one.span)] if one.span else "x"
        return (
            one.id in used,
            not wanted & _first_letters(span),
            not wanted & _first_letters(one.text),
            not any(letter.isalnum() for letter in span),
            len(one.text) > _LONG,
            rank,
        )

    ranked = sorted(enumerate(exemplars), key=lambda pair: place(*pair))
    return ranked[0][1] if ranked else None


class _Held(Study):
    """A study whose tables are read once, for a question that looks at several units."""

    def __init__(self, study: Study) -> None:
        self.path, self.manifest, self._verified = study.path, study.manifest, study._verified
        self._read: dict[str, pl.DataFrame] = {}

    def table(self, name: str) -> pl.DataFrame:
        """The table, from memory the second time."""
        if name not in self._read:
            self._read[name] = super().table(name)
        return self._read[name]


@dataclass(frozen=True)
class Candidate:
    """A verified unit that could be shown first."""

    unit: str
    text: str
    layer: int | None
    said: bool
    """Whether its strong examples say its words, so that a person sees at once what is meant."""


def _unlike(candidates: Sequence[Candidate], number: int, layers: int) -> list[str]:
    """Units to show, from candidates in order of preference; rules give way one by one."""
    share = -(-number // layers) + 1 if layers > 1 else number
    picked: list[Candidate] = []
    for said, most_alike, longest, most_a_layer in (
        (True, 0.0, _SHORT, share),
        (True, 0.0, None, share),
        (True, 0.0, None, number),
        (False, 0.0, None, number),
        (False, _NEAR, None, number),
    ):
        for one in candidates:
            if len(picked) >= number:
                break
            if one in picked or one.said < said or (longest and len(one.text) > longest):
                continue
            if sum(other.layer == one.layer for other in picked) >= most_a_layer:
                continue
            if all(_alike(one.text, other.text) <= most_alike for other in picked):
                picked.append(one)
    return [one.unit for one in candidates if one in picked]


def _say_it(study: Study, rows: pl.DataFrame) -> dict[str, bool]:
    """Whether a third of a unit's strong examples say a word of its description, by unit."""
    if _of_pictures(study):
        return {}
    stems = {unit: _first_letters(text) for unit, text in rows.select("unit", "text").iter_rows()}
    seen = _strongest(study, list(stems)).filter(pl.col("rank") < _SEEN)
    said: dict[str, list[bool]] = {}
    for unit, words in (
        seen.join(_shows(study), on="example", maintain_order="left").select("unit", "words").iter_rows()
    ):
        said.setdefault(unit, []).append(bool(stems[unit] & _first_letters(words)))
    return {unit: 3 * sum(found) >= len(found) for unit, found in said.items()}


def _alike(one: str, other: str) -> float:
    """Share of the shorter text's words that the other has too, by their first five letters."""
    a, b = _first_letters(one), _first_letters(other)
    return len(a & b) / min(len(a), len(b)) if a and b else 1.0


def _first_letters(text: str) -> set[str]:
    """The first five letters of the words that mean something; of short texts, of all words."""
    words = re.findall(r"\w+", text[:2000].casefold())
    return {word[:5] for word in words if len(word) > 3} or {word[:5] for word in words}


def _begins(word: str) -> str:
    return rf"(?i)(?:^|[^\w]){re.escape(word)}"


def _reading(row: dict[str, Any]) -> Reading:
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
        n=row["n"],
        verdict=row["status"],
    )


def _strongest(study: Study, units: Sequence[str] | None = None) -> pl.DataFrame:
    """unit, rank, example, value, span_start, span_end of the examples that speak for units."""
    has = study.manifest.tables
    columns = ("unit", "rank", "example", "value", "span_start", "span_end")
    if "exemplars" in has:
        rows = study.exemplars
        described = rows.head(1)["part"]  # those that were described from are written first
        rows = rows.filter(pl.col("part").is_in(described.implode())).rename({"activation": "value"})
    elif "influence" in has:
        rows = study.table("influence").filter(side="proponent")
        first = rows["model"].first()
        rows = (
            rows.filter(model=first)
            .rename({"class": "unit"})
            .with_columns(span_start=pl.lit(None, pl.Int32), span_end=pl.lit(None, pl.Int32))
        )
    else:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    if units is not None:
        rows = rows.filter(pl.col("unit").is_in(list(units)))
    return rows.select(columns).sort("unit", "rank")


def _of_pictures(study: Study) -> bool:
    examples = study.examples
    return "text" not in examples.columns or examples["text"].null_count() == examples.height


def _shows(study: Study) -> pl.DataFrame:
    """example, words: a sentence, or the name of an image."""
    examples = study.examples
    shown = [name for name in ("text", "name", "id") if name in examples.columns]
    return examples.select(example="id", words=pl.coalesce(shown))


def _examples(study: Study, rows: pl.DataFrame) -> tuple[Example, ...]:
    return _with_words(rows.join(_shows(study), on="example", how="left", maintain_order="left"))


def _with_words(rows: pl.DataFrame) -> tuple[Example, ...]:
    value = "value" if "value" in rows.columns else "activation"
    return tuple(
        Example(
            row["example"],
            row["words"] or "",
            row[value],
            None if row.get("span_start") is None else (row["span_start"], row["span_end"]),
        )
        for row in rows.iter_rows(named=True)
    )


def _texts(study: Study, row: dict[str, Any]) -> list[str]:
    """The parts of a description, by the table that its ids stand in; else the description."""
    for table in ("class_texts", "descriptors"):
        if row["descriptors"] and table in study.manifest.tables:
            words = dict(study.table(table).select("id", "text").iter_rows())
            return [words[id] for id in row["descriptors"] if id in words]
    return [row["text"]] if row["text"] else []


def _shown_examples(study: Study, written: pl.DataFrame) -> pl.DataFrame:
    """unit, example: of each unit the example to show, its responsible part marked."""
    rows = _strongest(study).filter(pl.col("rank") < _SEEN)
    rows = rows.join(_shows(study), on="example", how="left", maintain_order="left")
    texts = dict(written.select("unit", "description").iter_rows())
    shown = []
    for (unit,), own in rows.group_by("unit", maintain_order=True):
        first = choose_example(_with_words(own), [texts.get(unit, "")], set())
        shown.append((unit, first.cut(EXCERPT).marked("«", "»") if first else None))
    return pl.DataFrame(shown, schema={"unit": pl.String, "example": pl.String}, orient="row")


def _found_in_examples(study: Study, wanted: Sequence[str]) -> pl.DataFrame:
    """unit, found: on how many of a unit's strong examples all the words stand."""
    says = pl.all_horizontal(*(pl.col("words").str.contains(_begins(word)) for word in wanted))
    saying = _shows(study).filter(says).select("example")
    return (
        _strongest(study)
        .filter(pl.col("rank") < _SEEN)
        .join(saying, on="example", how="semi")
        .group_by("unit")
        .agg(found=pl.len())
    )


def _marked_html(one: Example) -> str:
    if one.span is None:
        return escape(one.text)
    start, end = one.span
    parts = (one.text[:start], one.text[start:end], one.text[end:])
    before, span, after = map(escape, parts)
    return f"{before}<mark>{span}</mark>{after}"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
