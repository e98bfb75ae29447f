"""Who decides, against the rule said in a plain loop; and what a description then is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.scorers.deciding import decided, strictest_f1
from saywell.scorers.localisation import COLUMNS
from saywell.scorers.score_tables import SCORED

VERDICTS = {True: "verified", False: "not verified", None: "not tested"}


def table(rows):
    """(description, reader, verifies, q, skill)"""
    columns = ["description", "reader", "verifies", "q", "skill"]
    frame = pl.DataFrame(
        rows,
        schema=dict(zip(columns, [*[pl.String] * 2, pl.Boolean, *[pl.Float64] * 2], strict=True)),
        orient="row",
    )
    status = pl.col("verifies").map_elements(VERDICTS.get, return_dtype=pl.String, skip_nulls=False)
    lacking = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in SCORED.types.items() if name not in columns
    ]
    return (
        frame.with_columns(lacking)
        .with_columns(unit=pl.col("description").str.head(2), status=status)
        .select(list(SCORED.columns))
    )


def pointing(rows=()):
    """(description, reader, localised, low, by chance)"""
    full = [(d, r, share, low, 1.0, 9, chance) for d, r, share, low, chance in rows]
    schema = {"description": pl.String, "reader": pl.String, **COLUMNS}
    return pl.DataFrame(full, schema=schema, orient="row")


def verdicts(found):
    own = found.filter("decides").select("description", "reader", "status").rows()
    assert len(own) == found["description"].n_unique()
    return {description: (reader, status) for description, reader, status in own}


def by_loop(rows, claimed, supporting):
    """The one who decides, as it is said."""
    read = [row for row in rows if row[2] is not None]
    if not read:
        return rows[0]
    executes = [row for row in read if row[1] == "claims" and row[0] in claimed]
    if executes:
        return executes[0]
    may = [row for row in read if row[1] not in supporting] or read
    return min(may, key=lambda row: (row[2], -row[3], row[4]))


@pytest.mark.parametrize("seed", range(30))
def test_the_strictest_who_may_decides(seed):
    random = np.random.default_rng(seed)
    readers = random.permutation(["claims", "lexical", "tags", "sentence-encoder", "mine"]).tolist()
    claimed = {f"u{n}#0" for n in range(20) if random.random() < 0.3}
    supporting = {name for name in readers if random.random() < 0.4}
    rows = [
        (f"u{n}#0", name, *((None, None, None) if random.random() < 0.2 else drawn(random)))
        for name in readers
        for n in range(20)
    ]
    found = decided(table(rows), pointing(), claimed=claimed, supporting=supporting)
    own = verdicts(found)
    for n in range(20):
        mine = [row for row in rows if row[0] == f"u{n}#0"]
        _, reader, verifies, *_ = by_loop(mine, claimed, supporting)
        supported = verifies and reader in supporting
        assert own[f"u{n}#0"] == (reader, "supported" if supported else VERDICTS[verifies])
    assert found["verifies"].to_list() == [row[2] for row in rows], "each reader's own stays"
    other = found.filter(~pl.col("decides"))
    assert other["status"].to_list() == [VERDICTS[yes] for yes in other["verifies"]]
    again = decided(
        found.with_columns(status=table(rows)["status"]), pointing(), claimed=claimed, supporting=supporting
    )
    assert again.equals(found)


def drawn(random):
    return bool(random.random() < 0.5), float(random.integers(0, 3)) / 50, float(random.integers(0, 3)) / 10


def test_equally_strict_readers_stand_in_their_order():
    rows = [("u0#0", name, True, 0.01, 0.2) for name in ("b", "a", "c")]
    assert verdicts(decided(table(rows))) == {"u0#0": ("b", "verified")}


@pytest.mark.parametrize(
    ("points", "status", "localised"),
    [
        ([], "unplaced", None),
        (
            [("b", 0.9, 0.6, 0.1)],
            "verified",
            0.9,
        ),  # of the first who does, where the one who decides does not
        ([("a", 0.4, 0.3, 0.1), ("b", 0.9, 0.6, 0.1)], "elsewhere", 0.4),
        ([("a", 0.6, 0.3, 0.35)], "elsewhere", 0.6),  # not surely more than by chance
        ([("a", 0.5, 0.3, 0.1)], "verified", 0.5),
        ([("shares", 0.9, 0.8, 0.1)], "unplaced", None),  # who cannot decide cannot place either
        ([("shares", 0.9, 0.8, 0.1), ("c", 0.9, 0.8, 0.1)], "verified", 0.9),
    ],
)
def test_a_description_has_to_point_at_what_is_responsible(points, status, localised):
    rows = [
        ("u0#0", "shares", True, 0.01, 0.9),
        ("u0#0", "a", True, 0.02, 0.1),
        ("u0#0", "b", True, 0.01, 0.2),
    ]
    rows += [("u0#0", "c", True, 0.01, 0.3)]
    told = pointing([("u0#0", *point) for point in points])
    found = decided(table(rows), told, supporting={"shares"}, placed={"u0"})
    assert verdicts(found) == {"u0#0": ("a", status)}
    assert found.filter("decides")["localised"].item() == localised
    others = found.filter(~pl.col("decides"))
    assert set(others["status"]) == {"verified"} and others["localised"].count() == sum(
        p[0] != "a" for p in points
    )
    free = decided(table(rows), pointing(), supporting={"shares"}, placed={"u1"})
    assert verdicts(free) == {"u0#0": ("a", "verified")}, "no span of this unit is known"


@pytest.mark.parametrize(("share", "status"), [(0.9, "supported"), (0.2, "elsewhere"), (None, "unplaced")])
def test_who_only_supports_is_held_to_the_place_as_well(share, status):
    rows = [("u0#0", "shares", True, 0.01, 0.9), ("u0#0", "words", None, None, None)]
    told = pointing([] if share is None else [("u0#0", "shares", share, share - 0.1, 0.05)])
    found = decided(table(rows), told, supporting={"shares"}, placed={"u0"})
    assert verdicts(found) == {"u0#0": ("shares", status)}


def test_descriptions_are_chosen_by_the_strictest_who_may_decide():
    nothing = np.nan
    by_reader = {
        "tags": np.array([0.9, 0.9, 0.3, 0.3, nothing]),
        "lexical": np.array([0.5, nothing, 0.6, nothing, nothing]),
        "mine": np.array([0.7, 0.2, nothing, nothing, nothing]),
        "claims": np.array([0.8, 0.1, nothing, nothing, nothing]),
    }
    claimed = np.array([True, False, True, False, True])
    found = strictest_f1(by_reader, claimed, {"tags"})
    np.testing.assert_array_equal(found, [0.8, 0.1, 0.6, 0.3, nothing])
