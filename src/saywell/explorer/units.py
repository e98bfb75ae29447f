"""The units of a study (neurons, classes, directions): what lists and searches ask of them, in SQL.

Three small tables in memory: `cards` (a line per unit, with description and score), `shown` (the
exemplars that a search reads) and `sentences` (their texts). What a card shows is report.card's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.explorer.filters import Filters
from saywell.explorer.tables import Tables

PAGE = 25
SHOWN = 8
"""Exemplars of a unit that the table shows and that a search reads."""
MOST_EXAMPLES = 50
"""Examples of each sort on the page of a unit."""
SEARCHED = 2000
"""Characters of a text that a search reads."""

_UNIT = {
    "kind": "varchar",
    "model": "varchar",
    "layer": "integer",
    "index": "integer",
    "sign": "integer",
    "name": "varchar",
    "std": "double",
    "threshold": "double",
    "state": "varchar",
}
_ORDERS = {
    "skill": "skill",
    "score": "value",
    "interval": "ci_low",
    "layer": "layer",
    "unit": "layer {order}, index {order}, sign",
    "description": "lower(text)",
    "verdict": "verdict",
    "density": "density",
}


class Found(NamedTuple):
    """One page of units, and how many there are on all pages."""

    rows: list[dict[str, Any]]
    total: int


def build_units(tables: Tables) -> None:
    """Make `cards`, `shown` and `sentences`; a study without a table of units has those it describes."""
    unit = ", ".join(
        f'u."{name}"' if tables.has("units", name) else f'null::{kind} as "{name}"'
        for name, kind in _UNIT.items()
    )
    known = tables.has("density", "unit", "density")
    density, often = ("o.density", "left join density o on o.unit = u.id") if known else ("null::double", "")
    # Of a hypothesis what came of its test says whether it is verified, and where it stands.
    tested, judged, place = "", "s.status", "null"
    if tables.has("hypotheses"):
        tested = "left join hypotheses h on h.unit = u.id"
        judged, place = "coalesce(h.status, s.status)", "h.file_row_number"
    tables.build(f"""
        create table cards as
        select row_number() over (
            order by skill desc nulls last, place, layer, index, sign desc, id)::integer as no,
            * exclude (place), lower(left(coalesce(text, ''), {SEARCHED}) || ' ' || id) as hay
        from (
            select u.id, {unit}, d.text, d.descriptors, d.describer, d.llm, d.description,
                coalesce(d.status, 'no description: none was written') as status,
                s.value, s.ci_low, s.ci_high, s.control, s.n, s.measure, s.reader, s.skill, s.floor,
                s.skill_low, s.skill_high, s.q, s.status as scored, {density} as density,
                case when coalesce(d.status, '') <> 'described' then 'no description'
                     when {judged} = 'verified' then 'verified' else 'not verified' end as verdict,
                {place} as place
            from {_units(tables)} u left join {_described(tables)} d on d.unit = u.id
            left join {_scored(tables)} s on s.unit = u.id and s.description = d.description {tested}
            {often})
        order by no""")
    tables.build("create unique index card_of on cards (id)")
    if tables.has("exemplars") and tables.has("examples", "text"):
        tables.build(f"""
            create table shown as
            select c.no as unit, e.rank, x.no as example, e.activation{_spans(tables)}
            from exemplars e join cards c on c.id = e.unit
            join (select id, file_row_number::integer as no from examples) x on x.id = e.example
            where e.part = '{DESCRIBE}' and e.rank < {SHOWN}""")
        tables.build(f"""
            create table sentences as select file_row_number::integer as no, id, text,
                lower(left(text, {SEARCHED})) as hay
            from examples where file_row_number in (select example from shown)""")
    else:
        tables.build("create table shown (unit integer, rank integer, example integer, activation float)")
        tables.build("create table sentences (no integer, id varchar, text varchar, hay varchar)")


class Listed:
    """What the cards of a list show: tables that are in memory, and small ones. See `report.card.Rows`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.pictures = tables.pictures
        self._said = dict(_IN_MEMORY)
        if self.pictures:
            del self._said["exemplars"], self._said["examples"]
        if tables.has("class_texts"):
            self._said["class_texts"] = "select * from said where {}"

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is such a table, with these columns."""
        return table in self._said or (table in _SMALL and self._tables.has(table, *columns))

    def where(self, table: str, column: str, values: Sequence[str] | None) -> pl.DataFrame:
        """Its rows with one of these values in a column."""
        if table not in self._said:
            return self._tables.where(table, column, values)
        chosen = f"{_IDS.get((table, column), column)} in (select unnest(?::varchar[]))"
        return self._tables.frame(self._said[table].format(chosen), [list(values or ())])


_SMALL = ("influence", "exemplars", "examples", "hypotheses")
"""Tables that are asked in their files where there is nothing in memory."""
_IDS = {
    ("units", "id"): "id",
    ("descriptions", "unit"): "id",
    ("scores", "unit"): "id",
    ("exemplars", "unit"): "c.id",
}
_IN_MEMORY = {
    "units": "select id, layer, index, sign, threshold from cards where {}",
    "descriptions": "select id as unit, description as id, text, status, describer, llm, descriptors,"
    " 0 as rank, true as selected from cards where description is not null and {}",
    "scores": "select id as unit, description, measure, reader, value, ci_low, ci_high, floor, control,"
    " skill, skill_low, skill_high, q, n, scored as status from cards where scored is not null and {}",
    "exemplars": "select c.id as unit, e.* exclude (unit, example), s.id as example from shown e"
    " join cards c on c.no = e.unit join sentences s on s.no = e.example where {} order by e.unit, e.rank",
    "examples": "select id, text from sentences where {}",
}
"""From the name of a table to what asks for its rows, with a place for the condition."""


def _spans(tables: Tables) -> str:
    """The columns that say which part of a text is responsible, where the study knows."""
    known = tables.has("exemplars", "span_start", "span_end")
    return ", e.span_start, e.span_end" if known else ""


def find_units(tables: Tables, filters: Filters, people: Mapping[str, str], *, most: int = PAGE) -> Found:
    """One page of what was asked for; `people` gives the action of whoever judged a unit last."""
    where, values = _where(tables, filters, people)
    order = "desc" if filters.falling else "asc"
    columns = _ORDERS[filters.sort].format(order=order + " nulls last")
    # The condition is what costs: one query that decides it once, another for the lines it chose.
    found = tables.rows(
        f"select c.no, count(*) over () as total from cards c where {where}"
        f" order by {columns} {order} nulls last, no"
        f" limit {most} offset {(filters.number - 1) * most}",
        values,
    )
    if not found:
        total = tables.rows(f"select count(*) as n from cards c where {where}", values)[0]["n"]
        return Found([], total)
    lines = units_at(tables, [row["no"] for row in found])
    return Found([lines[row["no"]] for row in found], found[0]["total"])


def every_unit(tables: Tables, filters: Filters, people: Mapping[str, str]) -> pl.DataFrame:
    """All that was asked for, best first, as a table."""
    where, values = _where(tables, filters, people)
    return tables.frame(f"select * from cards c where {where} order by no", values)


def unit_row(tables: Tables, unit: str) -> dict[str, Any] | None:
    """The line of one unit."""
    rows = tables.rows("select * from cards where id = ?", [unit])
    return rows[0] if rows else None


def units_at(tables: Tables, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Lines by their place in the order of skill."""
    rows = tables.rows("select * from cards where no in (select unnest(?))", [list(numbers)])
    return {row["no"]: row for row in rows}


def other_side(tables: Tables, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same unit going the other way."""
    rows = tables.rows(
        "select * from cards where layer = ? and index = ? and sign = - ?::integer and kind = ?",
        [row["layer"], row["index"], row["sign"], row["kind"]],
    )
    return rows[0] if rows else None


def unit_rows(tables: Tables, table: str, unit: str) -> list[dict[str, Any]]:
    """A unit's rows of a table, in the file's order, whatever columns the study gave it."""
    if not tables.has(table, "unit"):
        return []
    return tables.rows(
        f"select * exclude (file_row_number, unit) from {table} where unit = ? order by file_row_number",
        [unit],
    )


def choices(tables: Tables) -> dict[str, list[Any]]:
    """What the filters can be set to."""
    found = {
        name: [row["x"] for row in tables.rows(f"select distinct {sql} as x from cards order by 1")]
        for name, sql in (("layer", "layer"), ("status", "status"), ("sign", "sign"))
    }
    return {name: [x for x in values if x is not None] for name, values in found.items()}


def units_by_verdict(tables: Tables) -> dict[str, int]:
    """Units by verdict, and altogether."""
    counts = {
        row["verdict"]: row["n"] for row in tables.rows("select verdict, count(*) as n from cards group by 1")
    }
    return {"units": sum(counts.values()), **counts}


def _units(tables: Tables) -> str:
    """What is listed: units; else classes of images, or whatever has a description."""
    if tables.has("units", "id"):
        return "units"
    if tables.has("classes", "name"):
        return "(select name as id from classes)"
    return "(select distinct unit as id from descriptions)"


def _described(tables: Tables) -> str:
    """The description that stands for each unit."""
    columns = ("unit", "text", "descriptors", "describer", "llm", "status")
    if not tables.has("descriptions"):
        nothing = (f"null::varchar{'[]' * (name == 'descriptors')} as {name}" for name in columns)
        return f"(select {', '.join(nothing)}, null::varchar as description where false)"
    order = "case when selected then 0 else 1000000 end + coalesce(rank, 0)"
    return (
        f"(select {', '.join(columns)}, id as description from descriptions where file_row_number in"
        f" (select arg_min(file_row_number, {order}) from descriptions group by unit))"
    )


def _scored(tables: Tables) -> str:
    """The score that decides about each description; where a study does not say which, the first."""
    words = ("unit", "description", "floor", "measure", "reader", "status")
    numbers = ("value", "ci_low", "ci_high", "control", "n", "skill", "skill_low", "skill_high", "q")
    if not tables.has("scores"):
        nothing = [f"null::varchar as {name}" for name in words] + [f"null::double as {n}" for n in numbers]
        return f"(select {', '.join(nothing)} where false)"
    decides = (
        "decides"
        if tables.has("scores", "decides")
        else "file_row_number in (select min(file_row_number) from scores group by unit, description)"
    )
    return f"(select {', '.join((*words, *numbers))} from scores where {decides})"


def _where(tables: Tables, filters: Filters, people: Mapping[str, str]) -> tuple[str, list[Any]]:
    """The condition on `cards c`; whatever a reader wrote is a parameter."""
    parts, values = ["true"], []
    for word in filters.words:
        parts.append(
            "(contains(c.hay, lower(?)) or c.no in (select e.unit from shown e where e.example in"
            " (select s.no from sentences s where contains(s.hay, lower(?)))))"
        )
        values += [word] * 2
    if filters.layer:
        parts.append("c.layer = ?")
        values.append(int(filters.layer))
    if filters.side:
        parts.append(f"c.sign {'>' if filters.side == 'high' else '<'} 0")
    for name in ("verdict", "status"):
        if getattr(filters, name):
            parts.append(f"c.{name} = ?")
            values.append(getattr(filters, name))
    if filters.descriptor and tables.has("descriptors", "id", "text"):
        parts.append(
            "c.no in (select no from (select no, unnest(descriptors) as descriptor from cards)"
            " where descriptor in (select id from descriptors where contains(lower(text), lower(?))))"
        )
        values.append(filters.descriptor)
    if filters.least:
        parts.append("c.value >= ?")
        values.append(float(filters.least))
    if filters.person:
        judged = [unit for unit, action in people.items() if filters.person in (action, "none")]
        chosen, items = "c.id in (select unnest(?::varchar[]))", [judged]
        if tables.has("class_texts"):  # its sentences are judged one by one
            said = "select class from said where id in (select unnest(?::varchar[]))"
            chosen, items = f"({chosen} or c.id in ({said}))", [judged, judged]
        parts.append(f"{'not' if filters.person == 'none' else ''} {chosen}")
        values += items
    return " and ".join(parts), values
