"""A run of delphi's: latents it caches and reads itself, explanations, and scores.

Texts stand one after another in rows of 256 tokens, as delphi has them: so no row is mostly padding, and
what a latent does at a token is at that token's place. The last row is filled with token 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saywell.data.splits import hash_numbers
from saywell.errors import SaywellError
from saywell.exports.names import file_name
from saywell.exports.shown import Shown
from saywell.exports.writing import as_json
from saywell.studies.again import stored_run
from saywell.studies.described import DESCRIPTIONS, stored_descriptions
from saywell.studies.spine import Run

CONTEXT = 256
MOST_CODES = 1 << 24
"""Of a file, about."""
MOST_TEXTS = 50
"""On which a latent fires, and on which it does not, whose readings are written."""
UNREAD = "Of {} readers there are no scores, as what they read with cannot be had here"
WIDE = "Activations of {} files are float32, as float16 would lose some"


def write_delphi(shown: Shown, folder: Path) -> None:
    """latents/HOOK/START_END.safetensors and config.json, explanations/HOOK_latentN.txt, scores/READER/..."""
    from safetensors.numpy import save_file

    hook = file_name(shown.hook or "hook")
    own = folder / "latents" / hook
    own.mkdir(parents=True)
    tokens = _tokens(shown)
    files = 0
    for start, stop in _splits(shown):
        locations, values = _codes(shown, start, stop)
        small = locations.max(initial=0) < 2**16
        half = values.astype(np.float16)
        if not np.isfinite(half).all() or ((half == 0) & (values != 0)).any():
            half = values
            shown.tell(WIDE, [f"{start}_{stop - 1}"])
        arrays = {
            "locations": locations.astype(np.uint16 if small else np.uint32),
            "activations": half,
            "tokens": tokens,
        }
        save_file(arrays, own / f"{start}_{stop - 1}.safetensors")
        files += 1
    (own / "config.json").write_bytes(as_json(_config(shown, tokens, files)))
    described = {}
    (folder / "explanations").mkdir()
    for feature in shown.features(None, shots=False):
        if feature.text:
            described[feature.unit] = f"{hook}_latent{feature.index}.txt"
            (folder / "explanations" / described[feature.unit]).write_bytes(as_json(feature.text))
    _scores(shown, described, folder / "scores")


def _tokens(shown: Shown) -> np.ndarray:
    """Ids [rows, context] of all texts, end to end."""
    packed = shown.tokens.tokens
    assert packed is not None
    rows = -(-len(packed.ids) // CONTEXT)
    whole = np.zeros(rows * CONTEXT, dtype=np.int64)
    whole[: len(packed.ids)] = packed.ids
    return whole.reshape(rows, CONTEXT)


def _splits(shown: Shown) -> Iterator[tuple[int, int]]:
    """Stretches of latents, one after the other, each of about as many codes as a file is to have."""
    start = 0
    for places in shown.tokens.blocks_of(np.arange(shown.tokens.width), MOST_CODES):
        stop = int(places[-1]) + 1
        yield start, stop
        start = stop


def _codes(shown: Shown, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Row, position and latent (from `start`) of every code above 0, by latent; and the codes."""
    packed = shown.tokens.tokens
    assert packed is not None
    located, values = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for first in range(start, stop, 256):
        places = range(first, min(stop, first + 256))
        for place, fired in zip(places, shown.tokens.fired_each(list(places)), strict=True):
            at = packed.starts[fired.rows] + fired.positions
            latent = np.full(len(at), place - start)
            located.append(np.stack([at // CONTEXT, at % CONTEXT, latent], axis=1))
            values.append(fired.values)
    return np.concatenate(located), np.concatenate(values)


def _scores(shown: Shown, described: Mapping[str, str], folder: Path) -> None:
    """READER/HOOK_latentN.txt: of some score texts what a reader says of each, in delphi's ClassifierOutput.

    Drawn by chance, as many at most on which the latent fires as on which it does not; readers that cost, and
    those whose model cannot be had here, are left out.
    """
    kept = stored_run(shown.study, (), {})
    written = shown.study.table(DESCRIPTIONS).filter("selected", pl.col("unit").is_in(list(described)))
    scores = shown.study.scores.join(written.select("id"), left_on="description", right_on="id")
    said = {own.unit: own for own in stored_descriptions(shown.study, written)}
    drawn = _Drawn(shown, kept, list(said))
    for reader in kept.question.readers:
        own = scores.filter(pl.col("threshold").is_not_null(), reader=reader.name)
        if reader.costly or own.is_empty():
            continue
        try:
            predict = reader.open(kept.examples, kept.resources)
        except SaywellError:
            shown.tell(UNREAD, [reader.name])
            continue
        into = folder / file_name(reader.name)
        into.mkdir(parents=True)
        for unit, threshold in own.select("unit", "threshold").iter_rows():
            rows, fires = drawn.of(unit)
            read = predict([said[unit]], rows)[0]
            entries = [
                drawn.entry(unit, int(row), bool(fired), float(value), threshold)
                for row, fired, value in zip(rows, fires, read, strict=True)
            ]
            (into / described[unit]).write_bytes(as_json(entries))


class _Drawn:
    """Score texts of each unit, and what it does at their tokens."""

    def __init__(self, shown: Shown, kept: Run, units: Sequence[str]) -> None:
        self.shown, self.kept = shown, kept
        score = kept.examples.parts.score.rows
        keys = hash_numbers([kept.examples.ids[row] for row in score], kept.resources.seed, "delphi")
        self.score = score[np.argsort(keys, kind="stable")]
        self.place = dict(shown.units.select("id", "place").iter_rows())
        self.of = lru_cache(maxsize=2)(self._of)
        self.fired = lru_cache(maxsize=2)(self._fired)

    def _of(self, unit: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of texts, those first on which it fires, and whether it does."""
        values, fires = self.kept.subject.activations.both([unit], self.score)
        yes = self.score[fires[0]][:MOST_TEXTS]
        no = self.score[~fires[0] & ~np.isnan(values[0])][:MOST_TEXTS]
        return np.concatenate([yes, no]), np.repeat([True, False], [len(yes), len(no)])

    def _fired(self, unit: str) -> dict[int, list[float]]:
        """By row what it does at each token."""
        rows, _ = self.of(unit)
        found = self.shown.tokens.fired(self.place[unit], rows)
        return {int(row): self.shown.values(int(row), found) for row in rows}

    def entry(self, unit: str, row: int, fires: bool, read: float, threshold: float) -> dict[str, Any]:
        """One answer; none where the reader gave none."""
        says = None if np.isnan(read) else read >= threshold
        return {
            "str_tokens": self.shown.strings(row)[0],
            "activations": self.fired(unit)[row],
            "distance": 1 if fires else -1,
            "activating": fires,
            "prediction": says,
            "probability": None,
            "correct": None if says is None else says == fires,
        }


def _config(shown: Shown, tokens: np.ndarray, files: int) -> dict[str, Any]:
    """delphi's CacheConfig, and the model's name; the data set is the study's own."""
    return {
        "dataset_repo": shown.study.path.name,
        "dataset_split": "all",
        "dataset_name": "",
        "dataset_column": "text",
        "batch_size": 32,
        "cache_ctx_len": CONTEXT,
        "n_tokens": int(tokens.size),
        "n_splits": files,
        "model_name": str(shown.study.manifest.config.get("model") or shown.model),
    }
