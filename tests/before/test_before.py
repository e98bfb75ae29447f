"""Eight small studies as they were on the day they were frozen: all stays, or a line says why it moved.

Beside this file stands a table a study (`NAME.parquet`, a row a column, its values as JSON) and
`hashes.json`, which shows in a review which columns a new freeze moved. The worlds the studies are of, and
how they are made, are in `conftest.py`. Strings, whole numbers, truth values and nulls must be equal; floats
may differ by 1e-5 of themselves, or 5e-6, which is what another machine's sums do to them. Rows are matched
by the table's key, and must stand in the same order. What differs from run to run is in `LEFT_OUT`.

A table or column that is named, placed or coded otherwise today gets a line in `CHANGES`, which brings it
back to what it was: then its values are still compared. Where values themselves are meant to be others,
freeze the study anew:

    pytest tests/before --freeze "why the figures may move"         # or with -k STUDY, for one

The reason is kept in `hashes.json`. Without one there is nothing to freeze: mend the code. A study is written
down with its changes taken back, so the lines in `CHANGES` stay.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from saywell.transfer.text_sets import TextSet

HERE = Path(__file__).parent
HASHES = HERE / "hashes.json"
VERSIONS = ("torch", "numpy", "scipy", "scikit-learn", "polars", "pillow")
FIRST = ("neurons", "neurons-extracted", "neurons-llm", "classes", "classes-written", "exam", "exam-images")
"""Those that `CHANGES` bring back to what they were; a later one is frozen as it is."""
STUDIES = (*FIRST, "neurons-claims")
SHOWN = 3
LEFT_OUT = {"exam_costs.seconds": "a clock's", "thumbnails.jpeg": "the bytes are the JPEG encoder's"}

Rows = dict[str, list]
"""Columns of one table, by name."""


@dataclass(frozen=True)
class Table:
    """A table in plain values, and the columns that identify its rows."""

    rows: Rows
    key: tuple[str, ...] = ()


Tables = dict[str, Table]


@dataclass(frozen=True)
class Change:
    """What stands elsewhere today than on the day of the freeze, and why.

    `was` and `now` are a table ("scores") or a column ("scores.value"); without `was` it is new, without
    `now` it is gone.

    * A table's `now` may also be a function of all of today's tables that returns the old rows.
    * A column's `now` may be several; `value` makes the old value of theirs (a mapping for one of them; what
      it does not hold stays). It may stand in another table: `on` says which columns of its old table (by
      today's names) match which of that one.
    * `order`: that table's rows may stand in any order.
    """

    why: str
    was: str = ""
    now: str | tuple[str, ...] | Callable[[Tables], Rows] = ""
    value: Callable[..., Any] | Mapping = field(default_factory=dict)
    on: Mapping[str, str] = field(default_factory=dict)
    order: bool = False
    studies: tuple[str, ...] = FIRST


NEURONS = ("neurons", "neurons-extracted", "neurons-llm")
CLASSES = ("classes", "classes-written")
EXAMS = ("exam", "exam-images")
TRAINED = {"describe": "train", "select": "validation", "score": "test"}
CALIBRATED = TRAINED | {"describe": "calibration"}
PARTS = "one word for who may see an example, in every study"


def _without_fields(tables: Tables) -> Rows:
    """Figures without the fields that say what their names say."""
    rows = tables["metrics"].rows
    kept = [n for n, figure in enumerate(rows["figure"]) if figure not in ("figure", "by")]
    found = {column: [values[n] for n in kept] for column, values in rows.items()}
    # Where the control has as many, the figure's note says so now.
    noted = [v.split(" With random weights, where")[0] if isinstance(v, str) else v for v in found["value"]]
    return found | {"value": noted}


def _without_verified(tables: Tables) -> Rows:
    """The same without how many descriptions are verified, which no figure said of classes."""
    rows = _without_fields(tables)
    kept = [n for n, name in enumerate(rows["name"]) if not name.startswith("verified")]
    return {column: [values[n] for n in kept] for column, values in rows.items()}


def _by_mean(measure: str, reader: str) -> str:
    return f"{measure}-{'dual-encoder' if reader == 'mean-of-texts' else reader}"


def _variant(figure: str, rule: str, calibrated: bool, tags: str, control: str) -> str:
    """How a curve was called: what stood beside one against the threshold did not say of which rule."""
    own = rule + ", calibrated" * calibrated
    if figure.endswith("against threshold") and control:
        own = ""
    return ", ".join(filter(None, (own, control))) + " (lexical tags)" * (tags == "lexical")


def _said(*fields) -> str:
    return TextSet(*fields).said


def _rule(rule: str, network: bool) -> str:
    return rule + ", network" * network


_TEXTS = "which texts a row is about stands in columns"
_CLASSES = ("classes", "classes-written")
_MEASURE_AND_READER = "who reads and what is measured are two columns"


def _of_described(today: Tables) -> Rows:
    """Rows of contrasts of those units that have a description."""
    said = today["descriptions"].rows
    units = {unit for unit, text in zip(said["unit"], said["text"], strict=True) if text}
    rows = today["contrasts"].rows
    kept = [n for n, unit in enumerate(rows["unit"]) if unit in units]
    return {column: [values[n] for n in kept] for column, values in rows.items()}


CHANGES: list[Change] = [
    *(
        Change(
            _MEASURE_AND_READER,
            f"{t}.scorer",
            (f"{t}.measure", f"{t}.reader"),
            value="{}-{}".format,
            studies=tuple(study for study in FIRST if study not in CLASSES),
        )
        for t in ("scores", "floors", "control_scores")
    ),
    Change(
        "which curve is meant stands in columns",
        "curves.variant",
        tuple(f"curves.{c}" for c in ("figure", "rule", "calibrated", "tags", "control")),
        value=_variant,
    ),
    *(
        Change(_TEXTS, f"{t}.method", tuple(f"{t}.{c}" for c in TextSet._fields), value=_said)
        for t in ("zero_shot", "transfer", "transfer_summary")
    ),
    Change(_TEXTS, "text_scores.rule", ("text_scores.rule", "text_scores.network"), value=_rule),
    *(
        Change(
            "who wrote is one describer of classes; how each text was made stands beside it, the rule in the settings",
            "descriptions.describer",
            "descriptions.describer",
            value={"class-texts": was},
            studies=(study,),
        )
        for study, was in (
            ("classes", "given, ift-proponent"),
            ("classes-written", "two-stage, ift-proponent"),
        )
    ),
    Change("pictures of classes have no tags", now="descriptions.tagger", studies=_CLASSES),
    Change("figures say in fields what their names say", "metrics", _without_fields),
    *(
        Change("classes are units like any others", now=table, studies=_CLASSES)
        for table in ("units", "exemplars", "contrasts")
    ),
    Change("and verified beside a control", now="control_scores", studies=_CLASSES),
    Change("which is a figure like any other", "metrics", _without_verified, studies=_CLASSES),
    *(
        Change(
            "the reader has the name of what it does",
            f"{t}.scorer",
            (f"{t}.measure", f"{t}.reader"),
            value=_by_mean,
            studies=_CLASSES,
        )
        for t in ("scores", "floors")
    ),
    *(
        Change(
            "a class is a unit",
            f"{t}.floor",
            f"{t}.floor",
            value={"another unit": "another class"},
            studies=_CLASSES,
        )
        for t in ("scores", "floors")
    ),
    Change("a unit says where its values stand, so that no row order or name has to", now="units.module"),
    Change("as above", now="units.place"),
    *(
        Change(PARTS, f"{table}.split", f"{table}.part", value=called, studies=studies)
        for table in ("examples", "exemplars", "associations", "scores", "floors")
        for called, studies in ((CALIBRATED, NEURONS), (TRAINED, CLASSES))
    ),
    Change(
        "who wrote is a describer, and who tagged stands beside",
        "descriptions.describer",
        ("descriptions.describer", "descriptions.tagger"),
        value=lambda _, tagger: tagger,
        studies=NEURONS,
    ),
    *(
        Change(why, now=f"scores.{column}")
        for column, why in (("stated", "what it promised"), ("meant", "and where a unit should fire"))
    ),
    *(
        Change("who wrote stands beside what it scores", now=f"{t}.describer", studies=NEURONS + CLASSES)
        for t in ("scores", "floors")
    ),
    Change(
        "a describer sees contrasts of every unit, not only of those that it will describe",
        "contrasts",
        _of_described,
        studies=NEURONS,
    ),
    Change(
        "with gold tags nothing is encoded, so exemplars fall into no clusters: no empty table",
        "meanings",
        studies=("neurons",),
    ),
    *(
        Change("an exam is a study like any other", now=table, studies=EXAMS)
        for table in (
            "units examples rejected converted exemplars contrasts candidates descriptors tags descriptions"
            " scores floors counterexamples metrics"
        ).split()
    ),
    *(
        Change("several readers may sit by one exam", now=f"{table}.reader", studies=EXAMS)
        for table in ("exam_answers", "exam_summary")
    ),
    *(Change(PARTS, f"classes.{was}", f"classes.{now}", studies=CLASSES) for now, was in TRAINED.items()),
    *(
        Change(PARTS, f"{table}.selection", f"{table}.selection", value=TRAINED, studies=CLASSES)
        for table in ("transfer", "transfer_summary")
    ),
]
"""Deliberate changes, one line each, the reason first."""


def read(folder: Path) -> Tables:
    """Tables and metrics of a study folder, without what differs from run to run."""
    found = {}
    for name, told in json.loads((folder / "study.json").read_text("utf-8"))["tables"].items():
        frame = pl.read_parquet(folder / f"{name}.parquet")
        kept = [column for column in frame.columns if f"{name}.{column}" not in LEFT_OUT]
        found[name] = Table(frame.select(kept).to_dict(as_series=False), tuple(told["key"]))
    if (folder / "metrics.json").exists():
        figures = []
        for metric in json.loads((folder / "metrics.json").read_text("utf-8")):
            for figure, value in metric.items():
                inner = value if isinstance(value, dict) else {"": value}
                figures += [(metric["name"], figure, of, v) for of, v in inner.items() if figure != "name"]
        columns = zip(*figures, strict=True)
        key = ("name", "figure", "of")
        rows = dict(zip((*key, "value"), map(list, columns), strict=True))
        found["metrics"] = Table(rows, key)
    return found


def as_before(study: str, today: Tables, frozen: Tables, changes: list[Change]) -> tuple[Tables, Tables]:
    """Today's tables with every change taken back; and the frozen ones less what is gone."""
    mine = [change for change in changes if study in change.studies]
    whole = [change for change in mine if "." not in change.was + _first(change)]
    parts = [change for change in mine if change not in whole and not change.order]
    found, frozen = dict(today), dict(frozen)
    place = {name: name for name in frozen}
    """frozen name -> today's, of tables"""
    for change in whole:
        if isinstance(change.now, str):
            found.pop(change.now, None)
        if not change.now and not change.order:
            frozen.pop(change.was, None)
    for change in whole:
        if callable(change.now) and change.was in frozen:
            found[change.was] = Table(change.now(today), frozen[change.was].key)
        elif change.was and change.now in today:
            found[change.was] = today[str(change.now)]
            place[change.was] = str(change.now)
    found = {name: Table(dict(table.rows), table.key) for name, table in found.items()}
    back = {name: was for was, name in place.items()}
    for change in parts:
        for column in _all(change):
            table, _, name = column.partition(".")
            was = back.get(table)
            if was in found and not (was in frozen and name in frozen[was].rows):
                found[was].rows.pop(name, None)
    for change in parts:
        table, _, name = change.was.partition(".")
        if table not in frozen or table not in found:
            continue
        if not change.now:
            rows = {c: values for c, values in frozen[table].rows.items() if c != name}
            frozen[table] = Table(rows, frozen[table].key)
        elif place[table] in today:
            found[table].rows[name] = _old_values(change, today, place[table])
    return found, frozen


def _first(change: Change) -> str:
    return next(iter(_all(change)), "")


def _all(change: Change) -> tuple[str, ...]:
    if isinstance(change.now, str):
        return (change.now,) if change.now else ()
    return change.now if isinstance(change.now, tuple) else ()


def _old_values(change: Change, today: Tables, own: str) -> list:
    columns = []
    for column in _all(change):
        table, _, name = column.partition(".")
        values = today[table].rows[name]
        if table != own:
            other = zip(*(today[table].rows[c] for c in change.on.values()), strict=True)
            at = dict(zip(other, values, strict=True))
            values = [at[row] for row in zip(*(today[own].rows[c] for c in change.on), strict=True)]
        columns.append(values)
    value = change.value
    if isinstance(value, Mapping):
        return [value.get(v, v) if isinstance(v, str | int) else v for v in columns[0]]
    return [value(*row) for row in zip(*columns, strict=True)]


def differences(study: str, frozen: Tables, today: Tables, changes: list[Change]) -> list[str]:
    """What moved, by table and column, with the first rows of each."""
    now, before = as_before(study, today, frozen, changes)
    free = {change.was for change in changes if change.order and study in change.studies}
    told = [f"{name}: this table is new" for name in sorted(now.keys() - before.keys())]
    told += [f"{name}: this table is gone" for name in sorted(before.keys() - now.keys())]
    for name in sorted(now.keys() & before.keys()):
        old, new, key = before[name].rows, now[name].rows, before[name].key
        told += [f"{name}.{c}: this column is new" for c in new.keys() - old.keys()]
        told += [f"{name}.{c}: this column is gone" for c in old.keys() - new.keys()]
        if not set(key) <= new.keys():
            continue
        old_at, new_at = _places(old, key), _places(new, key)
        if len(new_at) != _height(new):
            told.append(f"{name}: {_height(new) - len(new_at)} rows have the key of another")
        for word, some in (("gone", old_at.keys() - new_at.keys()), ("new", new_at.keys() - old_at.keys())):
            if some:
                told.append(f"{name}: {len(some)} rows are {word}: {sorted(some, key=str)[:SHOWN]}")
        both = [row for row in old_at if row in new_at]
        if name not in free and both != [row for row in new_at if row in old_at]:
            told.append(f"{name}: the rows stand in another order")
        for column in sorted(old.keys() & new.keys() - set(key)):
            pairs = [(row, old[column][old_at[row]], new[column][new_at[row]]) for row in both]
            moved = [f"{row}: {a!r} -> {b!r}" for row, a, b in pairs if not same(a, b)]
            if moved:
                told.append(
                    f"{name}.{column}: {len(moved)} of {len(both)} values, " + "; ".join(moved[:SHOWN])
                )
    return told


def _places(rows: Rows, key: tuple[str, ...]) -> dict[tuple, int]:
    """A row's place by its key; by its number where there is no key."""
    columns = [rows[c] for c in key] or [range(_height(rows))]
    return {row: n for n, row in enumerate(zip(*columns, strict=True))}


def _height(rows: Rows) -> int:
    return len(next(iter(rows.values()), ()))


def same(a: Any, b: Any) -> bool:
    """Whether two values are one: floats to 1e-5 of themselves or 5e-6, anything else exactly."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    numbers = {type(a), type(b)}
    if float in numbers and numbers <= {int, float}:
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=5e-6) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


def freeze(study: str, tables: Tables, why: str) -> None:
    """Write a study down, and the reason, and hashes of its columns for the eyes of a reviewer."""
    rows = [
        (name, ",".join(table.key), column, json.dumps(_short(values, 9), ensure_ascii=False))
        for name, table in sorted(tables.items())
        for column, values in table.rows.items()
    ]
    columns = {"table": pl.String, "key": pl.String, "column": pl.String, "values": pl.String}
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    frame.write_parquet(HERE / f"{study}.parquet", compression="zstd", compression_level=22)
    told = json.loads(HASHES.read_text("utf-8")) if HASHES.exists() else {}
    told[study] = {
        "why": [*told.get(study, {}).get("why", []), why],
        "versions": {package: metadata.version(package) for package in VERSIONS},
        "tables": {
            name: {column: _hash(values) for column, values in table.rows.items()}
            for name, table in sorted(tables.items())
        },
    }
    HASHES.write_text(json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")


def _hash(values: list) -> str:
    return hashlib.blake2b(json.dumps(_short(values, 5)).encode(), digest_size=8).hexdigest()


def _short(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    return [_short(v, digits) for v in value] if isinstance(value, list) else value


def thaw(study: str) -> Tables:
    """A study as it was frozen."""
    found: Tables = {}
    for name, key, column, values in pl.read_parquet(HERE / f"{study}.parquet").iter_rows():
        found.setdefault(name, Table({}, tuple(key.split(",")) if key else ())).rows[column] = json.loads(
            values
        )
    return found


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_as_it_was(study, make, request):
    today = read(make(study))
    if why := request.config.getoption("--freeze", default=None):
        there = (HERE / f"{study}.parquet").exists()
        freeze(study, as_before(study, today, thaw(study), CHANGES)[0] if there else today, why)
    told = differences(study, thaw(study), today, CHANGES)
    versions = json.loads(HASHES.read_text("utf-8"))[study]["versions"]
    others = {
        package: metadata.version(package)
        for package in versions
        if versions[package] != metadata.version(package)
    }
    if told:
        versions = f"versions other than frozen: {others or 'none'}"
        pytest.fail("\n".join([f"{study} moved ({versions})", *told]), pytrace=False)


OLD = {
    "scores": Table({"unit": ["a", "b"], "split": ["test", "select"], "f1": [0.5, None]}, ("unit",)),
    "units": Table(
        {"id": ["a", "b"], "state": ["live", "dead: silent"], "mean": [1.0, 2.0], "old": [1, 1]}, ("id",)
    ),
}
NEW = {
    "marks": Table({"unit": ["b", "a"], "part": ["select", "score"], "f1": [None, 0.5], "n": [4, 5]}),
    "units": Table({"id": ["a", "b"], "state": ["live", "dead"], "reason": ["", "silent"]}),
    "statistics": Table({"unit": ["b", "a"], "mean": [2.0, 1.0 + 1e-7]}),
}
TAKEN_BACK = [
    Change("a better word", was="scores", now="marks"),
    Change("told once", was="scores", order=True),
    Change("part is the word", was="scores.split", now="marks.part", value={"score": "test"}),
    Change("how many were read", now="marks.n"),
    Change(
        "one column, one meaning",
        was="units.state",
        now=("units.state", "units.reason"),
        value=lambda state, reason: f"{state}: {reason}" if reason else state,
    ),
    Change("statistics stand alone", was="units.mean", now="statistics.mean", on={"id": "unit"}),
    Change("a table of their own", now="statistics"),
    Change("nobody read it", was="units.old"),
]


def test_declared_changes_are_taken_back_and_each_is_needed():
    assert differences("exam", OLD, NEW, TAKEN_BACK) == []
    assert differences("exam", OLD, NEW, [replace(change, studies=("classes",)) for change in TAKEN_BACK])
    for change in TAKEN_BACK:
        assert differences("exam", OLD, NEW, [c for c in TAKEN_BACK if c is not change]), change.why
    whole = [c for c in TAKEN_BACK if c.was != "scores"]
    made = Change("made of two", was="scores", now=lambda today: OLD["scores"].rows)
    assert differences("exam", OLD, NEW, [*whole, made, Change("gone into scores", now="marks")]) == []


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("f1", [0.5001, None], ["scores.f1: 1 of 2 values, ('a',): 0.5 -> 0.5001"]),
        ("f1", [0.5, 0.0], ["scores.f1: 1 of 2 values, ('b',): None -> 0.0"]),
        ("f1", [0.5000001, None], []),
        ("split", ["test", "Test"], ["scores.split: 1 of 2 values, ('b',): 'select' -> 'Test'"]),
        ("unit", ["a", "c"], ["scores: 1 rows are gone: [('b',)]", "scores: 1 rows are new: [('c',)]"]),
        ("unit", ["b", "a"], ["scores: the rows stand in another order", "scores.split", "scores.f1"]),
        ("q", [1, 1], ["scores.q: this column is new"]),
    ],
)
def test_what_moved_is_named(column, values, told):
    today = OLD | {"scores": Table(OLD["scores"].rows | {column: values}, ("unit",))}
    found = sorted(differences("exam", OLD, today, []))
    assert len(found) == len(told)
    assert all(any(line.startswith(start) for line in found) for start in told), found
