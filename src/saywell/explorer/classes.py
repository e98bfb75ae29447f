"""The tables of a study of classes: what pages ask of them, in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from saywell.data.parts import PARTS
from saywell.explorer.filters import Filters
from saywell.explorer.tables import Tables
from saywell.explorer.units import PAGE, Found
from saywell.transfer.text_sets import TextSet

_RULES = ("ift-literal", "ift-proponent", "text-influence", "nearest", "stepwise", "clip-only")
"""Rules whose scores a card shows beside those of the study's own."""


def build_classes(tables: Tables) -> None:
    """Make `said`, a line per text: its class, words, status, and what the study's rule says of it."""
    rule = str(tables.study.manifest.config.get("select", "")).replace("'", "''")
    texts = tables.columns.get("class_texts", frozenset())
    optional = ", ".join(
        f"t.{name}" if name in texts else f"null::{kind} as {name}"
        for name, kind in (
            ("component", "varchar"),
            ("quotation", "varchar"),
            ("describer", "varchar"),
            ("llm", "varchar"),
            ("source", "varchar"),
            ("gold", "boolean"),
        )
    )
    if texts:
        scores = (
            f"(select text, score, rank, chosen from text_scores where rule = '{rule}' and not network)"
            if tables.has("text_scores", "text", "rule", "score", "rank", "chosen")
            else "(select null::varchar as text, null::double as score, null::integer as rank,"
            " null::boolean as chosen where false)"
        )
        tables.build(f"""
            create table said as
            select t.id, t.class, t.text, t.status, {optional}, s.score, s.rank,
                coalesce(s.chosen, false) as chosen
            from class_texts t left join {scores} s on s.text = t.id
            order by t.class, s.rank nulls last, t.file_row_number""")
    else:
        tables.build("""
            create table said (id varchar, class varchar, text varchar, status varchar,
                component varchar, quotation varchar, describer varchar, llm varchar, source varchar,
                gold boolean, score double, rank integer, chosen boolean)""")


def find_classes(tables: Tables, filters: Filters, people: Mapping[str, str]) -> Found:
    """One page of classes, by name, with counts and the texts chosen first."""
    where, values = ["true"], []
    for word in filters.words:
        where.append(
            "(contains(lower(c.name), lower(?)) or c.name in"
            " (select class from said where contains(lower(text), lower(?))))"
        )
        values += [word] * 2
    if filters.person:
        judged = [item for item, action in people.items() if filters.person in (action, "none")]
        without = "not" if filters.person == "none" else ""
        where.append(
            f"c.name in (select class from said where id {without} in (select unnest(?::varchar[])))"
        )
        values.append(judged)
    condition = " and ".join(where)
    total = tables.rows(f"select count(*) as n from classes c where {condition}", values)[0]["n"]
    counts = ", ".join(f'c."{part}"' for part in PARTS)
    rows = tables.rows(
        f"""select c.name, {counts}, coalesce(t.texts, 0) as texts,
            coalesce(t.chosen, 0) as chosen, t.first
        from classes c left join (
            select class, count(*) filter (status in ('grounded', 'ungrounded')) as texts,
                count(*) filter (chosen) as chosen, list(text) filter (chosen)[1:3] as first
            from said group by class) t on t.class = c.name
        where {condition} order by lower(c.name), c.name
        limit {PAGE} offset {(filters.number - 1) * PAGE}""",
        values,
    )
    return Found(rows, total)


def class_row(tables: Tables, name: str) -> dict[str, Any] | None:
    """The line of one class."""
    rows = tables.rows("select * from classes where name = ?", [name])
    return rows[0] if rows else None


def class_texts(tables: Tables, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A class's texts, the chosen ones first, with their scores by rule; and the rules that score."""
    rows = tables.rows("select * from said where class = ? order by rank nulls last", [name])
    if not tables.has("text_scores", "text", "rule", "score"):
        return [{**row, "scores": {}} for row in rows], []
    wanted = list(dict.fromkeys((str(tables.study.manifest.config.get("select", "")), *_RULES)))
    found = tables.rows(
        "select text, rule, score from text_scores where class = ? and not network"
        " and rule in (select unnest(?))",
        [name, wanted],
    )
    scores: dict[str, dict[str, float]] = {}
    for one in found:
        scores.setdefault(one["text"], {})[one["rule"]] = one["score"]
    rules = [rule for rule in wanted if any(rule in of for of in scores.values())]
    return [{**row, "scores": scores.get(row["id"], {})} for row in rows], rules


def text_row(tables: Tables, text: str) -> dict[str, Any] | None:
    """One text of a class."""
    rows = tables.rows("select * from said where id = ?", [text])
    return rows[0] if rows else None


def influential(tables: Tables, name: str) -> dict[str, list[dict[str, Any]]]:
    """The training images that help a class most and that harm it, by side."""
    if not tables.has("influence", "class", "side", "example", "value"):
        return {}
    if not tables.has("thumbnails", "example", "jpeg"):
        return {}
    found = tables.rows(
        "select i.side, i.example, i.value from influence i where i.class = ?"
        " and i.model = (select model from influence order by file_row_number limit 1)"
        " and i.example in (select example from thumbnails) order by i.side, i.rank",
        [name],
    )
    sides: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        sides.setdefault(row["side"], []).append(row)
    return sides


def stored_thumbnail(tables: Tables, example: str) -> bytes | None:
    """A small JPEG that the study kept; whatever does not begin like one is nothing."""
    if not tables.has("thumbnails", "example", "jpeg"):
        return None
    rows = tables.rows("select jpeg from thumbnails where example = ?", [example])
    jpeg = rows[0]["jpeg"] if rows else None
    return bytes(jpeg) if jpeg is not None and bytes(jpeg[:3]) == b"\xff\xd8\xff" else None


def article_shown(tables: Tables, name: str) -> dict[str, Any] | None:
    """Where a class's knowledge came from."""
    if not tables.has("articles", "class", "status", "title", "url"):
        return None
    rows = tables.rows("select * exclude (text) from articles where class = ?", [name])
    return rows[0] if rows else None


def results(tables: Tables, name: str) -> list[dict[str, Any]]:
    """The rows of `zero_shot` or `transfer_summary`, best first; none where the study has none."""
    if name not in ("zero_shot", "transfer_summary") or not tables.has(name, "accuracy"):
        return []
    found = tables.rows(f"select * exclude (file_row_number) from {name} order by accuracy desc nulls last")
    return [{"texts of": TextSet(*map(row.pop, TextSet._fields)).said, **row} for row in found]


def every_text(tables: Tables) -> pl.DataFrame:
    """All texts with the scores of the study's rule."""
    return tables.frame("select * from said order by class, rank nulls last")
