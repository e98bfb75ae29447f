"""Small studies on disk, with hostile words wherever words can stand. Conftests load this by path."""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import saywell
from saywell.report.class_charts import PLANE
from saywell.report.tables import ASKED
from saywell.store.study import Metric, Study, write_study
from saywell.store.table import Table

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "photo\u202egpj.exe",
    "zero\x00byte",
    "</style></script><b>",
    "{{7*7}} ${1} <!-- ",
    "long" * 250_000,
    "👋🏽 שלום عالم",
    "=cmd|' /C calc'!A0",
]
UNITS = 40
SET = {"role": "rule", "network": False, "name_free": False, "weighted": False, "searched": False}


def write_latents(path: Path) -> Path:
    """As `write_neurons`, with all that is known of latents, hostile words wherever words can stand."""
    unit, other = "layer.0/0", "layer.1/1"
    place = {"span_start": 1, "span_end": 4}
    measured = ("", "_random", "_low", "_high", "_p", "_p_random")
    share = ("precision", "recall", "f1")
    more: dict[str, list[dict[str, Any]]] = {
        "density": [{"unit": f"layer.{n % 3}/{n}", "density": n / 1000} for n in range(UNITS)],
        "ranges": [
            {"unit": unit, "part": part, "bin": b, "rank": r, "low": b / 2, "high": b / 2 + 0.5}
            | {"example": example, "activation": b / 2 + r / 10, **place}
            for part, example in (("describe", "e3"), ("score", "e5"))
            for b in range(4)
            for r in range(2)
        ],
        "near_misses": [
            {"unit": unit, "part": part, "why": why, "rank": 0, "example": example, **place}
            for part, example in (("describe", "e6"), ("score", "e8"))
            for why in ("same token", "nearest", HOSTILE[0])
        ],
        "token_scores": [
            {"unit": unit, "description": f"{unit}#0", "describer": "claims", "part": "score"}
            | {f"{name}{end}": 0.5 for name in share for end in ("", "_low", "_high")}
            | {"floor": HOSTILE[0], "control": 0.1, "words": 1000, "fired": 20, "said": 10}
        ],
        "promoted": [
            {"unit": unit, "sign": sign, "rank": n, "token": token, "token_id": n, "value": sign / (n + 1)}
            for sign in (1, -1)
            for n, token in enumerate([" the", "\n", *HOSTILE])
        ],
        "clamped": [
            {"unit": unit, "way": way, "level": 2.5, "texts": 8, "tokens": 64}
            | {f"{name}{end}": 0.02 for name in ("divergence", "promoted") for end in measured}
            for way in ("strengthened", "silenced", HOSTILE[0])
        ],
        "works": [{"unit": unit, "acts": True, "q": 0.01, "q_random": 0.6, "works": "both"}],
        "relations": [
            {"unit": a, "relation": relation, "other": b, "together": 30, "jaccard": 0.8}
            | {"inside": 0.9, "covers": 0.8, "cosine": 0.7}
            for relation, a, b in (
                ("duplicate", unit, other),
                ("duplicate", other, unit),
                ("part", unit, HOSTILE[0]),
                ("whole", unit, other),
            )
        ],
        "compared": [{"what": HOSTILE[0], "value": 0.25}],
        "absorption": [
            {
                "letter": letter,
                "main": [unit, HOSTILE[1]],
                "f1": 0.9,
                "f1_chance": 0.1,
                "tested": letter == "s",
            }
            | {"told": 100, "missed": 30, "absorbed": 20, "by_chance": 1}
            for letter in "st"
        ],
        "absorbers": [{"unit": unit, "letter": "s", "word": HOSTILE[1], "tokens": 9}],
        "fit": [
            {"dictionary": HOSTILE[0], "format": HOSTILE[1], "latents": 40, "vectors": 900}
            | {"explained": 0.8, "explained_low": 0.7, "explained_high": 0.9, "explained_turned": 0.4}
            | {"active": 16.0, "active_turned": 15.5}
        ],
    }
    return write_neurons(path, more=more)


def write_neurons(
    path: Path, *, model: str = "a <b> model", shift: int = 0, more: Mapping[str, list[dict[str, Any]]] = {}
) -> Path:
    """A study of neurons: 40 units going high, described and scored, and going low, flat.

    `shift` moves every description so many descriptors on, for a second study to compare with; `more`: rows
    of other tables.
    """
    units = [_unit(number, sign, model) for sign in (1, -1) for number in range(UNITS)]
    examples = [
        {"id": f"e{n}", "part": ("describe", "select", "score")[n % 3], "text": text, "tags": None, "row": n}
        for n, text in enumerate(
            text for text in (*HOSTILE, "the battery died", "a fine soup") for _ in range(3)
        )
    ]
    shown = [row for row in examples if row["part"] == "describe"]
    names = [*HOSTILE, "battery life", "soup"]

    def named(number: int) -> int:
        return (number + shift) % len(names)

    described = [unit["id"] for unit in units if unit["sign"] > 0]
    tables: dict[str, list[dict[str, Any]]] = {
        "rejected": [{"row": 5, "reason": HOSTILE[0], "detail": "x"}],
        "examples": examples,
        "descriptors": [
            {"id": f"d{n}", "text": text, "members": [text], "mentions": 3} for n, text in enumerate(names)
        ],
        "tags": [{"example": "e0", "descriptor": "d0", "source": "encoder", "score": 1.0}],
        "unanswered": [{"step": "tags", "item": "e1", "reason": HOSTILE[1], "call": None}],
        "units": units,
        "exemplars": [
            {
                "unit": unit["id"],
                "part": "describe",
                "rank": rank,
                "example": row["id"],
                "activation": 2.0 - 0.1 * rank,
                "span_start": 1,
                "span_end": min(9, len(row["text"])),
            }
            for n, unit in enumerate(units)
            if unit["sign"] > 0
            for rank, row in enumerate((shown[n % 12 :] + shown)[:8])
        ],
        "associations": [
            {
                "unit": unit,
                "part": "describe",
                "descriptor": f"d{named(n)}",
                "hits": 5,
                "exemplars": 8,
                "composition": 0.6,
                "lift": 4.0,
                "p": 0.001,
                "q": 0.01,
                "composed": True,
                "enriched": True,
            }
            for n, unit in enumerate(described)
        ],
        "descriptions": [
            {
                "id": f"{unit['id']}#0",
                "unit": unit["id"],
                "text": names[named(n)] if unit["sign"] > 0 else "",
                "describer": "extractive",
                "llm": None,
                "prompt_hash": None,
                "sources": [],
                "descriptors": [f"d{named(n)}"] if unit["sign"] > 0 else [],
                "rank": 0,
                "selected": unit["sign"] > 0,
                "status": "described" if unit["sign"] > 0 else "no description: it is flat",
            }
            for n, unit in enumerate(units)
        ],
        "scores": [_score(number) for number in range(UNITS)],
        "floors": [
            {
                "unit": unit,
                "description": f"{unit}#0",
                "measure": "f1",
                "reader": "tags",
                "part": "score",
                "floor": floor,
                "value": 0.2,
            }
            for unit in described
            for floor in HOSTILE[:2]
        ],
        "counterexamples": [
            {
                "unit": unit,
                "description": f"{unit}#0",
                "kind": kind,
                "rank": 0,
                "example": "e2",
                "activation": 0.5,
                "predicted": 1.0,
            }
            for unit in described
            for kind in ("silent", "unforeseen")
        ],
        "contrasts": [
            {"unit": unit, "rank": n, "example": f"e{3 * n}", "activation": 0.1}
            for unit in described
            for n in range(8)
        ],
        **more,
    }
    with write_study(path, kind="neurons", config={"model": model, "llm": HOSTILE[1]}, inputs={}) as writing:
        for name, rows in tables.items():
            writing.table(every_table()[name], lambda name=name, rows=rows: _frame(name, rows))
        writing.write_metrics(
            [
                Metric(
                    name="precision@2",
                    value=0.5,
                    ci_low=0.4,
                    ci_high=0.6,
                    n=9,
                    of="sentences",
                    controls={"most frequent": 0.2},
                    ceiling={"best possible": 0.9},
                )
            ]
        )
        writing.note(HOSTILE[0])
    return path


def write_classes(path: Path) -> Path:
    """A study of classes with hostile names and texts, thumbnails, and both tables of results."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (16, 16), (180, 60, 60)).save(file, "JPEG")
    names = [*HOSTILE[:7], "robin"]
    texts = [
        {
            "id": f"t{c}-{n}",
            "class": name,
            "component": "beak",
            "text": f"{text} of {c}",
            "status": "grounded",
            "passage": None,
            "quotation": HOSTILE[0],
            "support": 1.0,
            "visibility": 0.5,
            "tokens": 5,
            "source": "article",
            "describer": "extractive",
            "llm": None,
            "prompt_hash": None,
            "detail": None,
        }
        for c, name in enumerate(names)
        for n, text in enumerate((*HOSTILE[:4], "a red breast"))
    ]
    row = {
        "accuracy": 0.6,
        "ci_low": 0.5,
        "ci_high": 0.7,
        "difference": 0.1,
        "difference_low": 0.0,
        "difference_high": 0.2,
        "n": 50,
    }
    tables: dict[str, list[dict[str, Any]]] = {
        "examples": [
            {
                "id": f"i{n}",
                "part": "describe",
                "label": names[n % len(names)],
                "name": HOSTILE[0],
                "row": n,
                "width": 8,
                "height": 8,
                "group": None,
            }
            for n in range(16)
        ],
        "classes": [{"name": name, "describe": 2, "select": 1, "score": 1} for name in names],
        "class_texts": texts,
        "text_scores": [
            {
                "text": text["id"],
                "class": text["class"],
                "rule": rule,
                "network": False,
                "score": 1.0 - 0.1 * n,
                "rank": n + 1,
                "chosen": n < 2,
            }
            for rule in ("ift-proponent", "nearest")
            for n, text in ((int(t["id"].split("-")[1]), t) for t in texts)
        ],
        "sentence_scores": [
            {"unit": text["class"], "text": text["id"], "reader": "mean-of-texts", "measure": "f1"}
            | {"chosen": text["id"].endswith(("0", "4")), "decides": True, "scorer_version": 4}
            | dict.fromkeys(
                ("value", "ci_low", "ci_high", "control", "skill", "skill_low", "skill_high"), 0.5
            )
            | {"p": 0.01, "q": 0.02, "n": 9, "status": "verified", "floor": HOSTILE[0], "unanswered": 0}
            | {"threshold": 0.1, "resamples": 400, "another_class": 0.1, "nearest_sibling": 0.1}
            | {"always": 0.1, "class_name": None, "exchanged": None}
            for text in texts
        ],
        "contradictions": [
            {"unit": name, "first": f"t{c}-0", "second": f"t{c}-4", "kind": HOSTILE[0]}
            for c, name in enumerate(names)
        ],
        "influence": [
            {
                "model": "linear",
                "class": names[0],
                "side": side,
                "rank": n,
                "example": f"i{n}",
                "value": 1.0 - n if side == "proponent" else n - 1.0,
            }
            for side in ("proponent", "opponent")
            for n in range(3)
        ],
        "descriptions": [
            {
                "id": f"{name}#0",
                "unit": name,
                "text": " ".join(t["text"] for t in own[:2]),
                "describer": "extractive",
                "llm": None,
                "prompt_hash": None,
                "sources": ["article"],
                "descriptors": [t["id"] for t in own[-1:] + own[:1]],
                "rank": 0,
                "selected": True,
                "status": "described",
            }
            for name in names
            for own in ([t for t in texts if t["class"] == name],)
        ],
        "scores": [
            _score(n) | {"unit": name, "description": f"{name}#0", "measure": "f1", "reader": "dual-encoder"}
            for n, name in enumerate(names)
        ],
        "floors": [
            {
                "unit": name,
                "description": f"{name}#0",
                "measure": "f1",
                "reader": "dual-encoder",
                "part": "score",
                "floor": "always",
                "value": 0.2,
            }
            for name in names
        ],
        "counterexamples": [
            {
                "unit": name,
                "description": f"{name}#0",
                "kind": kind,
                "rank": 0,
                "example": "i2",
                "activation": 0.0,
                "predicted": 1.0,
            }
            for name in names[:3]
            for kind in ("silent", "unforeseen")
        ],
        "thumbnails": [{"example": f"i{n}", "jpeg": file.getvalue()} for n in range(3)]
        + [{"example": "fake", "jpeg": b"<svg onload=alert(1)>"}],
        "zero_shot": [{"method": HOSTILE[0], **SET, "texts": 3, **row}],
        "transfer_summary": [
            {
                "method": HOSTILE[1],
                **SET,
                "training": "then",
                "shots": 1,
                "selection": "shots",
                "seeds": 3,
                **row,
            }
        ],
    }
    with write_study(
        path, kind="classes", config={"encoder": "an encoder", "select": "ift-proponent"}, inputs={}
    ) as writing:
        for name, rows in tables.items():
            writing.table(every_table()[name], lambda name=name, rows=rows: _frame(name, rows))
        figure = {"value": 0.6, "ci_low": 0.5, "ci_high": 0.7, "n": 50, "of": "test images"}
        name = "zero-shot accuracy"
        writing.write_metrics([Metric(name=f"{name}, {HOSTILE[0]}", figure=name, **figure)])
    return path


def read_study(path: Path) -> Study:
    """A study that one of the writers left."""
    return Study(path)


@cache
def every_table() -> dict[str, Table]:
    """All tables that any module of saywell declares, by name."""
    found = {}
    for told in pkgutil.walk_packages(saywell.__path__, "saywell."):
        if told.name.split(".")[1] not in ("cli", "explorer", "report", "__main__"):
            with suppress(ImportError):  # of packages that are not installed
                for value in vars(importlib.import_module(told.name)).values():
                    if isinstance(value, Table):
                        found[value.name] = value
    return {**ASKED, **found, PLANE.name: PLANE}


def _frame(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Columns that no row has are null, so a study stays readable when its schema grows."""
    return pl.DataFrame(rows, schema=dict(every_table()[name].columns))


def _unit(number: int, sign: int, model: str) -> dict[str, Any]:
    return {
        "id": f"layer.{number % 3}/{number}" + ("" if sign > 0 else "-"),
        "kind": "ffn",
        "model": model,
        "layer": number % 3,
        "index": number,
        "sign": sign,
        "name": HOSTILE[1],
        "mean": 0.1,
        "std": 0.2,
        "minimum": 0.0,
        "maximum": 2.0,
        "threshold": 1.0,
        "fires": 0.05,
        "state": "ok" if sign > 0 else "flat",
        "histogram": [9, 4, 2, 1],
    }


def _score(number: int) -> dict[str, Any]:
    value = 0.9 - number / 50
    return {
        "unit": f"layer.{number % 3}/{number}",
        "description": f"layer.{number % 3}/{number}#0",
        "measure": "f1",
        "reader": "tags",
        "scorer_version": 1,
        "part": "score",
        "value": value,
        "ci_low": max(0.0, value - 0.1),
        "ci_high": value + 0.1,
        "control": 0.2,
        "n": 99,
        "status": "verified" if value - 0.1 > 0.2 else "not verified",
        "verifies": value - 0.1 > 0.2,
        "decides": True,
        "floor": HOSTILE[0],
        "skill": value - 0.2,
        "skill_low": value - 0.3,
        "skill_high": value - 0.1,
        "p": 0.01,
        "q": 0.02,
    }
