"""The sentences about classes, small pictures and tables of results: what pages ask of them, in SQL."""

from __future__ import annotations

from typing import Any

import polars as pl

from saywell.explorer.tables import Tables
from saywell.transfer.text_sets import TextSet


def build_sentences(tables: Tables) -> None:
    """Make `said`, a line per text: its class, words, status, and what the study's rule says of it."""
    rule = str(tables.study.manifest.config.get("select", "")).replace("'", "''")
    scores = (
        f"(select text, score, rank, chosen from text_scores where rule = '{rule}' and not network)"
        if tables.has("text_scores")
        else "(select null::varchar as text, null::double as score, null::integer as rank,"
        " null::boolean as chosen where false)"
    )
    alone = (
        "(select text, status as verdict, value, ci_low, ci_high, control, floor, skill, q"
        " from sentence_scores where decides)"
        if tables.has("sentence_scores", "decides")
        else "(select null::varchar as text, null::varchar as verdict, null::double as value,"
        " null::double as ci_low, null::double as ci_high, null::double as control, null::varchar as floor,"
        " null::double as skill, null::double as q where false)"
    )
    against = (
        "(select first as text, second as other from contradictions union all"
        " select second, first from contradictions)"
        if tables.has("contradictions", "first", "second")
        else "(select null::varchar as text, null::varchar as other where false)"
    )
    gold = "t.gold" if tables.has("class_texts", "gold") else "null::boolean as gold"
    tables.build(f"""
        create table said as
        select t.id, t.class, t.text, t.status, t.component, t.quotation, t.describer, t.llm, t.source,
            {gold}, s.score, s.rank, coalesce(s.chosen, false) as chosen,
            a.verdict, a.value, a.ci_low, a.ci_high, a.control, a.floor, a.skill, a.q, c.at_odds
        from class_texts t left join {scores} s on s.text = t.id left join {alone} a on a.text = t.id
        left join (select p.text, list(o.text order by o.file_row_number) as at_odds
            from {against} p join class_texts o on o.id = p.other group by p.text) c on c.text = t.id
        order by t.class, s.rank nulls last, t.file_row_number""")


def text_row(tables: Tables, text: str) -> dict[str, Any] | None:
    """One text of a class; None where the study has no such thing."""
    if not tables.has("class_texts"):
        return None
    rows = tables.rows("select * from said where id = ?", [text])
    return rows[0] if rows else None


def stored_thumbnail(tables: Tables, example: str) -> bytes | None:
    """A small JPEG that the study kept; whatever does not begin like one is nothing."""
    if not tables.has("thumbnails", "example", "jpeg"):
        return None
    rows = tables.rows("select jpeg from thumbnails where example = ?", [example])
    jpeg = rows[0]["jpeg"] if rows else None
    return bytes(jpeg) if jpeg is not None and bytes(jpeg[:3]) == b"\xff\xd8\xff" else None


def results(tables: Tables, name: str) -> list[dict[str, Any]]:
    """The rows of `zero_shot` or `transfer_summary`, best first; none where the study has none."""
    if name not in ("zero_shot", "transfer_summary") or not tables.has(name, "accuracy"):
        return []
    found = tables.rows(f"select * exclude (file_row_number) from {name} order by accuracy desc nulls last")
    return [{"texts of": TextSet(*map(row.pop, TextSet._fields)).said, **row} for row in found]


def every_text(tables: Tables) -> pl.DataFrame:
    """All texts with the scores of the study's rule."""
    return tables.frame("select * from said order by class, rank nulls last")
