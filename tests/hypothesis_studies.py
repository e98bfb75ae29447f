"""A small study of hypotheses on disk, with real texts and numbers. Tests load this by path."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl

from saywell.claims.english import english
from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import parse
from saywell.data.parts import SCORE
from saywell.data.splits import hash_numbers
from saywell.data.texts import load_texts
from saywell.resources import Resources
from saywell.scorers.intervals import benjamini_hochberg
from saywell.scorers.outcomes import Outcome
from saywell.store.study import write_study
from saywell.studies.described import DESCRIPTIONS
from saywell.studies.hypotheses import tables
from saywell.studies.hypotheses.evidence import evidence
from saywell.studies.hypotheses.items import Asked, Items
from saywell.units.statistics import UNITS

CLAIMS = (
    *(
        'word("even")',
        'word("and")',
        'word("to")',
        'class("number")',
        'form("hour")',
        'word("with", "without")',
    ),
    *('mark("?")', 'word("not")', 'phrase("customer service")', 'word("never")', "long(20)", 'suffix("ing")'),
    *('word("the")', 'word("perfectly")', 'word("you")', 'word("quilt")'),
)
PLANTED = {
    'word("even")': 1.0,
    'word("and")': 0.8,
    'word("to")': -0.5,
    'class("number")': -0.8,
    'form("hour")': -1.2,
}
"""What goes with stars, and is favoured."""


def asked(*, pairs: bool = False, raters: int = 0) -> Asked:
    """Sentences of the demo with planted stars, or in pairs of which one is favoured."""
    rows = pl.read_csv(files("saywell.data").joinpath("demo/sentences.tsv").read_bytes(), separator="\t")
    examples = load_texts(rows.head(1000).drop("tags"), fractions=(0.25, 0.25, 0.5))
    random, execute = np.random.default_rng(0), Executor(Ground(examples, Resources()))
    likes = sum(weight * execute(parse(claim)).examples for claim, weight in PLANTED.items())
    if not pairs:
        stars = np.clip(np.round(3.4 + likes + random.normal(size=len(examples))), 1, 5)
        items = Items(
            np.arange(len(examples)), None, examples.table["part"].to_numpy(), np.arange(len(examples))
        )
        return Asked(
            examples, items, (Outcome("stars", "ordinal", stars, "stars"),), np.zeros((len(stars), 0))
        )
    first, second = [], []
    for part in ("describe", "select", "score"):
        own = np.flatnonzero(examples.table["part"].to_numpy() == part)
        first += own[0 : len(own) // 2 * 2 : 2].tolist()
        second += own[1::2].tolist()
    favoured = likes[first] - likes[second] + random.logistic(size=len(first)) > 0
    items = Items(
        np.array(first), np.array(second), examples.table["part"].to_numpy()[first], np.arange(len(first))
    )
    who = pl.Series([f"rater {n % raters}" for n in range(len(first))]) if raters else None
    outcome = Outcome("preferred", "binary", favoured.astype(float))
    return Asked(examples, items, (outcome,), np.zeros((len(first), 0)), raters=who)


def write_hypotheses(
    path: Path, *, pairs: bool = False, words: tuple[str, ...] = (), covariates=("length",)
) -> Path:
    """The study; `words` are said as free hypotheses beside the claims, with numbers of no meaning."""
    what = asked(pairs=pairs, raters=6)
    execute = Executor(Ground(what.examples, Resources()))
    readings = np.array([execute(parse(claim)).examples for claim in CLAIMS], dtype=float)
    said = [(english(parse(claim)), claim, "claims") for claim in CLAIMS]
    for number, word in enumerate(words):
        said.append((word, "", "latents"))
        readings = np.vstack([readings, readings[number]])
    tested = _tested(what, said, readings, covariates)
    resources = Resources()
    units = [{"id": row["unit"], "kind": "hypothesis", "sign": 1, "state": "ok"} for row in tested]
    described = [
        {
            **{
                "id": row["description"],
                "unit": row["unit"],
                "text": row["text"],
                "describer": row["found_by"],
            },
            **{"rank": 0, "selected": True, "status": "described", "claim": row["claim"]},
        }
        for row in tested
    ]
    frame = tables.HYPOTHESES.frame(
        [tuple(row[name] for name in tables.HYPOTHESES.columns) for row in tested]
    )
    order = [[text for text, _, _ in said].index(text) for text in frame["text"]]
    with write_study(path, kind="hypotheses", config={"target": what.outcomes[0].name}, inputs={}) as study:
        study.table(what.examples.declared, lambda: what.examples.table)
        study.table(UNITS, lambda: pl.DataFrame(units, schema=dict(UNITS.columns)))
        study.table(DESCRIPTIONS, lambda: pl.DataFrame(described, schema=dict(DESCRIPTIONS.columns)))
        study.table(tables.HYPOTHESES, lambda: frame)
        study.table(tables.EVIDENCE, lambda: evidence(what, frame, readings[order], resources))
        study.table(tables.STATEMENTS, lambda: tables.STATEMENTS.frame(_candidates(tested)))
        study.table(
            tables.SHUFFLED, lambda: tables.SHUFFLED.frame([(n, 16, int(n == 7), 0) for n in range(20)])
        )
        study.table(tables.JOINT, lambda: tables.JOINT.frame(_joint(what)))
        study.table(tables.POWER, lambda: tables.POWER.frame(_power(what.outcomes[0])))
        if pairs:
            _preferences(study, what, tested, readings[order])
        study.write_metrics([])
    return path


def _tested(what, said, readings, covariates) -> list[dict]:
    score, outcome = what.items.of(SCORE), what.outcomes[0]
    y, rows = outcome.values[score], []
    for number, (reading, (text, claim, found_by)) in enumerate(
        zip(what.items.read(readings), said, strict=True)
    ):
        x = reading[score]
        x = x - x.mean() if what.items.second is None else x
        effect = x @ (y - y.mean()) / max(x @ x, 1e-9)
        error = np.sqrt(((y - y.mean() - effect * x) ** 2).mean() / max(x @ x, 1e-9))
        z = effect / error
        holds = reading[score] != 0
        few = holds.sum() < 5
        p = float(np.exp(-0.717 * abs(z) - 0.416 * z * z))
        signed = np.where(reading[score] > 0, y, 1 - y) if what.items.second is not None else y
        rows.append(
            {
                **{"unit": f"s{number}", "description": f"s{number}#0", "text": text, "claim": claim},
                **{"found_by": found_by, "reader": "claims", "outcome": outcome.name},
                **{"unit_of_effect": outcome.unit, "direction": 1 if effect >= 0 else -1, "n": len(score)},
                **{"holds": int(holds.sum()), "share": float(holds.mean())},
                "mean_with": float(signed[holds].mean()) if holds.any() else None,
                "mean_without": 0.5 if what.items.second is not None else float(y[~holds].mean()),
                **{"effect": effect, "ci_low": effect - 1.96 * error, "ci_high": effect + 1.96 * error},
                "effect_alone": effect * (1.0, 1.3, -0.4)[number % 3] if covariates else None,
                "ci_low_alone": effect - 2.5 * error if covariates else None,
                "ci_high_alone": effect + 2.5 * error if covariates else None,
                **{"at_length": effect, "ci_low_at_length": effect, "ci_high_at_length": effect},
                **{"covariates": list(covariates), "z": z, "p": p, "by_permutation": bool(holds.sum() < 30)},
                **{"few": few, "order": number},
            }
        )
    q = benjamini_hochberg(np.array([row["p"] for row in rows]))
    for row, own in zip(rows, q, strict=True):
        row |= {
            "q": float(own),
            "p_bonferroni": min(1.0, len(rows) * row["p"]),
            "repeats": "",
            "pairs": what.items.pairs,
        }
        row["status"] = "too few" if row["few"] else "verified" if own <= 0.05 else "not shown"
    rows.sort(key=lambda row: (row["status"] != "verified", row["p"]))
    for number, row in enumerate(rows, 1):
        row["hypothesis"] = f"h{number}"
    if len(rows) > 3:
        rows[3]["repeats"] = "h1"
    return rows


def _candidates(tested: list[dict]) -> list[tuple]:
    own = [
        (t["unit"], t["found_by"], t["text"], t["claim"], t["outcome"], t["z"], t["share"], True)
        for t in tested
    ]
    return own + [
        (f"c{n}", ("claims", "latents", "topics")[n % 3], "x", "", "stars", 0.1, 0.1, False)
        for n in range(900)
    ]


def _joint(what: Asked) -> list[tuple]:
    name, measure = what.outcomes[0].name, "R2" if what.outcomes[0].unit else "AUC"
    up = 0.0 if measure == "R2" else 0.5
    of = (
        ("verified", 0.21, 7),
        ("tested", 0.24, 16),
        ("probe", 0.38, 384),
        ("length", 0.02, 1),
        ("covariates", 0.02, 1),
    )
    return [(name, model, measure, up + v, up + v - 0.04, up + v + 0.04, 800, n) for model, v, n in of]


def _preferences(study, what: Asked, tested: list[dict], readings) -> None:
    items, y = what.items, what.outcomes[0].values
    early, rows = items.of("describe", "select"), []
    for row, read in zip(tested, items.read(readings)[:, early], strict=True):
        there = read != 0
        if not there.any():
            continue
        for_it = np.where(read > 0, y[early], 1 - y[early])[there]
        own = (float(there.mean()), float((read > 0)[there].mean()), float(for_it.mean()))
        rows.append((row["unit"], row["found_by"], row["text"], row["claim"], *own, row["z"]))
    rows.sort(key=lambda row: -row[4])
    study.table(tables.MEASURABLE, lambda: tables.MEASURABLE.frame(rows))
    of = [
        (
            f"rater {n}",
            f"h{h}",
            40 + n,
            0.3 * n - 0.5 * h,
            0.3 * n - 0.5 * h - 0.4,
            0.3 * n - 0.5 * h + 0.4,
            0.6 - 0.5 * h,
        )
        for n in range(6)
        for h in (1, 2, 3)
    ]
    study.table(tables.RATERS, lambda: tables.RATERS.frame(of))
    gains = (("all", 0.0), ("level", 0.001), ("weights", 0.021), ("alone", -0.2))
    worth = [
        ("preferred", model, 0.65 - gain, gain, gain - 0.01, gain + 0.01, "AUC", 0.7 + gain, 400)
        for model, gain in gains
    ]
    study.table(tables.BY_RATER, lambda: tables.BY_RATER.frame(worth))
    ids, keys = what.examples.ids, np.argsort(hash_numbers([str(n) for n in early], 0, "argued"))[:30]
    argued = [
        (
            str(early[k]),
            ids[items.first[early[k]]],
            ids[items.second[early[k]]],
            ["h1", "h2"],
            float(y[early[k]]),
            0.1,
            30.0 - n,
        )
        for n, k in enumerate(keys)
    ]
    study.table(tables.ARGUED, lambda: tables.ARGUED.frame(argued))


def _power(outcome: Outcome) -> list[tuple]:
    of = ((0.02, 0.9, 0.45, 3900), (0.1, 0.41, 0.2, 3600), (0.3, 0.26, 0.13, 3300))
    return [
        (outcome.name, outcome.unit, 800, 16, share, least, effect, more) for share, least, effect, more in of
    ]
