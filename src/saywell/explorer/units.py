"""The tables of a study of units (neurons, features, directions): what pages ask of them, in SQL.

Three small tables in memory answer nearly everything: `cards` (a line per unit, with description
and score), `shown` (the exemplars that a card shows) and `sentences` (their texts).
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
MOST_EXEMPLARS = 50
SEARCHED = 2000
"""Characters of a text that a search reads."""

_UNIT = {
    "kind": "varchar",
    "model": "varchar",
    "layer": "integer",
    "index": "integer",
    "sign": "integer",
    "name": "varchar",
    "mean": "double",
    "std": "double",
    "minimum": "double",
    "maximum": "double",
    "threshold": "double",
    "fires": "double",
    "state": "varchar",
    "histogram": "integer[]",
}
_ORDERS = {
    "skill": "skill",
    "score": "value",
    "interval": "ci_low",
    "layer": "layer",
    "unit": "layer {order}, index {order}, sign",
    "description": "lower(text)",
    "verdict": "verdict",
}
_EXEMPLAR = "e.rank, s.id as example, s.text, e.activation, e.span_start, e.span_end"


class Found(NamedTuple):
    """One page of units, and how many there are on all pages."""

    rows: list[dict[str, Any]]
    total: int


def build_units(tables: Tables) -> None:
    """Make `cards`, `shown`, `sentences` and `named`; columns that the files lack are null."""
    described = _described(tables)
    scored = _scored(tables)
    unit = ", ".join(
        f'u."{name}"' if tables.has("units", name) else f'null::{kind} as "{name}"'
        for name, kind in _UNIT.items()
    )
    tables.build(f"""
        create table cards as
        select row_number() over (
            order by skill desc nulls last, layer, index, sign desc, id)::integer as no, *,
            lower(left(coalesce(text, ''), {SEARCHED}) || ' ' || id) as hay
        from (
            select u.id, {unit}, d.text, d.descriptors, d.describer, d.llm, d.description,
                coalesce(d.status, 'no description: none was written') as status,
                s.value, s.ci_low, s.ci_high, s.control, s.n, s.measure, s.reader, s.skill, s.floor,
                s.skill_low, s.skill_high, s.q,
                case when coalesce(d.status, '') <> 'described' then 'no description'
                     when s.status = 'verified' then 'verified' else 'not verified' end as verdict
            from units u left join {described} d on d.unit = u.id
            left join {scored} s on s.unit = u.id and s.description = d.description)
        order by no""")
    tables.build("create unique index card_of on cards (id)")
    if tables.has("exemplars", "unit", "example") and tables.has("examples", "text"):
        part = f"e.part = '{DESCRIBE}' and" if tables.has("exemplars", "part") else ""
        tables.build(f"""
            create table shown as
            select c.no as unit, e.rank, x.no as example, e.activation, e.span_start, e.span_end
            from exemplars e join cards c on c.id = e.unit
            join (select id, file_row_number::integer as no from examples) x on x.id = e.example
            where {part} e.rank < {SHOWN}""")
        tables.build(f"""
            create table sentences as select file_row_number::integer as no, id, text,
                lower(left(text, {SEARCHED})) as hay
            from examples where file_row_number in (select example from shown)""")
    else:
        tables.build("""
            create table shown (unit integer, rank integer, example integer, activation float,
                span_start integer, span_end integer)""")
        tables.build("create table sentences (no integer, id varchar, text varchar, hay varchar)")
    if tables.has("associations", "unit", "descriptor") and tables.has("descriptors", "text"):
        tables.build(f"""
            create table named as
            select c.no as unit, d.text, a.hits, a.exemplars, a.lift, a.q, a.enriched, a.composed
            from associations a join cards c on c.id = a.unit
            join descriptors d on d.id = a.descriptor
            where a.part = '{DESCRIBE}' and (a.enriched or a.composed)""")
    else:
        tables.build("""
            create table named (unit integer, text varchar, hits integer, exemplars integer,
                lift double, q double, enriched boolean, composed boolean)""")


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


def shown_exemplars(tables: Tables, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The strongest sentences of some units, by unit."""
    names = {row["no"]: row["id"] for row in rows}
    found = tables.rows(
        f"select e.unit, {_EXEMPLAR} from shown e join sentences s on s.no = e.example"
        " where e.unit in (select unnest(?)) order by e.unit, e.rank",
        [list(names)],
    )
    return _with_tags(tables, rows, _by_unit(found, names))


def all_exemplars(tables: Tables, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The strongest sentences of one unit, as many as the study kept."""
    if not tables.has("exemplars", "unit") or not tables.has("examples", "text"):
        return []
    part = f"e.part = '{DESCRIBE}' and" if tables.has("exemplars", "part") else ""
    found = tables.rows(
        f"select {_EXEMPLAR} from exemplars e join examples s on s.id = e.example"
        f" where {part} e.unit = ? order by e.rank limit {MOST_EXEMPLARS}",
        [row["id"]],
    )
    return _with_tags(tables, [row], {row["id"]: found})[row["id"]]


def with_texts(tables: Tables, table: str, unit: str) -> list[dict[str, Any]]:
    """A unit's rows of a table of examples (`counterexamples`, `contrasts`), with their texts."""
    if not tables.has(table, "unit", "example", "rank") or not tables.has("examples", "text"):
        return []
    has = tables.columns[table]
    activation = "e.activation" if "activation" in has else "null as activation"
    kind = "e.kind" if "kind" in has else "null as kind"
    return tables.rows(
        f"select s.id as example, s.text, {activation}, {kind} from {table} e"
        " join examples s on s.id = e.example where e.unit = ? order by kind, e.rank"
        f" limit {MOST_EXEMPLARS}",
        [unit],
    )


def named_descriptors(
    tables: Tables, rows: Sequence[Mapping[str, Any]], most: int = 8
) -> dict[str, list[dict[str, Any]]]:
    """The descriptors that dominate some units' exemplars, highest lift first, by unit."""
    names = {row["no"]: row["id"] for row in rows}
    found = tables.rows(
        "select * from named where unit in (select unnest(?)) order by unit, lift desc", [list(names)]
    )
    return {unit: group[:most] for unit, group in _by_unit(found, names).items()}


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


def _described(tables: Tables) -> str:
    if not tables.has("descriptions", "unit", "text", "status"):
        return (
            "(select null::varchar as unit, null::varchar as text, null::varchar[] as descriptors,"
            " null::varchar as describer, null::varchar as llm, null::varchar as description,"
            " null::varchar as status where false)"
        )
    has = tables.columns["descriptions"]
    optional = ", ".join(
        name if name in has else f"null::{kind} as {name}"
        for name, kind in (("descriptors", "varchar[]"), ("describer", "varchar"), ("llm", "varchar"))
    )
    wanted = "case when selected then 0 else 1000000 end" if "selected" in has else "0"
    order = f"{wanted} + {'coalesce(rank, 0)' if 'rank' in has else '0'}"
    return (
        f"(select unit, text, status, id as description, {optional} from descriptions"
        f" where file_row_number in (select arg_min(file_row_number, {order})"
        " from descriptions group by unit))"
    )


def _scored(tables: Tables) -> str:
    """The score that decides about each description: the first of the file."""
    optional = (("floor", "varchar"), ("skill_low", "double"), ("skill_high", "double"), ("q", "double"))
    if not tables.has("scores", "unit", "description", "value"):
        numbers = ", ".join(
            f"null::double as {name}" for name in ("value", "ci_low", "ci_high", "control", "skill")
        )
        others = ", ".join(f"null::{kind} as {name}" for name, kind in optional)
        return (
            f"(select null::varchar as unit, null::varchar as description, {numbers}, {others},"
            " null::bigint as n, null::varchar as measure, null::varchar as reader,"
            " null::varchar as status where false)"
        )
    has = tables.columns["scores"]
    skill = "skill" if "skill" in has else "value - control as skill"
    others = ", ".join(name if name in has else f"null::{kind} as {name}" for name, kind in optional)
    return (
        f"(select unit, description, value, ci_low, ci_high, control, n, measure, reader, status, {skill},"
        f" {others} from scores where file_row_number in"
        " (select min(file_row_number) from scores group by unit, description))"
    )


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
        without = "not" if filters.person == "none" else ""
        parts.append(f"c.id {without} in (select unnest(?::varchar[]))")
        values.append(judged)
    return " and ".join(parts), values


def _by_unit(found: Sequence[dict[str, Any]], names: Mapping[int, str]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for row in found:
        grouped[names[row["unit"]]].append(row)
    return grouped


def _with_tags(
    tables: Tables, rows: Sequence[Mapping[str, Any]], exemplars: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Say of each exemplar whether it carries a descriptor of its unit's description."""
    wanted = {row["id"]: frozenset(row["descriptors"] or ()) for row in rows}
    carried: dict[str, set[str]] = {}
    if tables.has("tags", "example", "descriptor"):
        examples = {one["example"] for group in exemplars.values() for one in group}
        for row in tables.rows(
            "select example, descriptor from tags where example in (select unnest(?::varchar[]))",
            [list(examples)],
        ):
            carried.setdefault(row["example"], set()).add(row["descriptor"])
    return {
        unit: [
            {**one, "carries": not wanted[unit].isdisjoint(carried.get(one["example"], ()))} for one in group
        ]
        for unit, group in exemplars.items()
    }
