"""Unit by unit what other tools show of one: its words, and the texts in which it fires, token by token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.errors import InputError
from saywell.exports.names import checked_identifier, identifier
from saywell.report.tables import deciding_scores, selected_descriptions
from saywell.scorers.deciding import VERIFIED
from saywell.store.study import Study

if TYPE_CHECKING:
    from saywell.units.responses import Fired
    from saywell.units.token_activations import TokenActivations

ARRAYS = "activations"
RANGES, PROMOTED = "ranges", "promoted"
"""Tables that a study of features may have."""
MOST_TOKENS = 1024
"""Of a text that Neuronpedia takes."""
NUMBERED = "{} units are left out, as the form tells units by their number and shows them going high"
SILENT = "{} units fire in no text that is shown and are left out"
CUT = f"Of {{}} texts the {MOST_TOKENS:,} tokens around the peak are shown"
_UNITS, _AT_ONCE = 8192, 256
_LAYER = re.compile(r"(?:^|[./])(?:h|layers?|blocks?)\.(\d+)(?:\.|$)")


@dataclass(frozen=True)
class How:
    """What a form may need and a study cannot say, and how much is shown.

    `model`: the id of the model there; `source_set`: what the units are called beside their layer; `layer`:
    that of units which do not say of which they are. `texts`: texts of a unit at most; `verified`: whether
    only units whose description is verified.
    """

    model: str | None = None
    source_set: str | None = None
    layer: int | None = None
    texts: int = 20
    verified: bool = False


class Shot(NamedTuple):
    """A text in which a unit fires. Tokens joined are the text, or the part of it that is shown."""

    example: str
    tokens: list[str]
    values: list[float]
    peak: int
    """The token on which it is strongest."""
    within: tuple[float, float, float] | None = None
    """Drawn from a range of the unit's activations: its ends, and the share of all that lie in it; None of
    the strongest."""


class Feature(NamedTuple):
    """A unit by its number, with the description that stands for it, where there is one."""

    unit: str
    index: int
    text: str
    describer: str
    llm: str
    score: dict[str, Any] | None
    """The row of table `scores` of who decides about the description."""
    density: float | None
    """The share of tokens on which it fires."""
    shots: list[Shot]
    raises: Sequence[tuple[str, float]] = ()
    """Tokens whose logits it raises most, directly, and by how much."""
    lowers: Sequence[tuple[str, float]] = ()

    @property
    def highest(self) -> float:
        """The largest activation that is shown."""
        return max((max(shot.values) for shot in self.shots), default=0.0)


@dataclass(frozen=True)
class Shown:
    """The units of a study that have numbers, layer by layer; `told` has what was left out on the way."""

    study: Study
    how: How
    told: dict[str, list[str]] = field(default_factory=dict)
    """Sentences with a place for a number, each with what it is about."""

    @property
    def notes(self) -> list[str]:
        """What was left out, in sentences."""
        found = []
        for sentence, which in self.told.items():
            once = list(dict.fromkeys(which))
            found.append(f"{sentence.format(len(once))}: {', '.join(once[:4])}{', ...' * (len(once) > 4)}.")
        return found

    def tell(self, sentence: str, which: Iterable[str]) -> None:
        """Note something of units or texts."""
        self.told.setdefault(sentence, []).extend(which)

    @cached_property
    def model(self) -> str:
        """The model's id. Raises InputError for one that is none."""
        if self.how.model is not None:
            return checked_identifier(self.how.model, "model-id")
        named = (
            self.study.manifest.config.get("model")
            or self.study.units["model"].drop_nulls().head(1).to_list()
        )
        if not named:
            raise InputError(
                f"{str(self.study.path)!r} does not say of which model its units are: --model-id NAME"
            )
        return identifier(named if isinstance(named, str) else str(named[0]))

    @cached_property
    def source_set(self) -> str:
        """What the units are called beside their layer."""
        if self.how.source_set is not None:
            return checked_identifier(self.how.source_set, "source-set")
        return f"saywell-{identifier(str(self.units['kind'][0]))}"

    @cached_property
    def units(self) -> pl.DataFrame:
        """id, kind, index, layer, place, module; by layer, then number. Raises InputError for none."""
        table = self.study.units
        if self.how.verified:
            table = table.filter(pl.col("id").is_in(self._verified))
        high = table.filter(pl.col("sign").fill_null(1) > 0, pl.col("index").is_not_null())
        if high.height < table.height:
            self.tell(NUMBERED, set(table["id"]) - set(high["id"]))
        if high.is_empty():
            none = "no unit with a verified description" if self.how.verified else "no unit with a number"
            raise InputError(f"{str(self.study.path)!r} has {none}")
        if "module" not in high.columns:
            high = high.with_columns(module=pl.lit(None, pl.String))
        layers = [
            layer if layer is not None else _layer_of(module)
            for layer, module in high.select("layer", "module").iter_rows()
        ]
        high = high.with_columns(layer=pl.Series(layers, dtype=pl.Int32))
        if self.how.layer is not None:
            if high["layer"].drop_nulls().n_unique() > 1:
                raise InputError(
                    f"--layer {self.how.layer}: the units say themselves that they are of several layers"
                )
            high = high.with_columns(layer=pl.lit(self.how.layer, pl.Int32))
        columns = ("id", "kind", "index", "layer", "place", "module")
        return high.select(columns).sort("layer", "index", "id")

    @cached_property
    def layers(self) -> list[int]:
        """Layers that have units. Raises InputError where units do not say of which they are."""
        if self.units["layer"].null_count():
            raise InputError("the units do not say of which layer they are, and the form tells: --layer N")
        return self.units["layer"].unique().sort().to_list()

    def source(self, layer: int) -> str:
        """The id of a source: its layer, and what its units are called."""
        return f"{layer}-{self.source_set}"

    @cached_property
    def tokens(self) -> TokenActivations:
        """What units do at tokens. Raises InputError where the study does not know."""
        from saywell.units.responses import open_responses  # with torch, which the explorer does without
        from saywell.units.token_activations import TokenActivations

        found = open_responses(self.study.arrays(ARRAYS), self.study.examples.height)
        if not isinstance(found, TokenActivations) or found.tokens is None:
            raise InputError(
                f"{str(self.study.path)!r} keeps no activations by token, which this form shows; studies of"
                " saywell features of texts do"
            )
        return found

    @cached_property
    def hook(self) -> str | None:
        """The place in the model that the units are of."""
        modules = self.units["module"].drop_nulls().unique()
        return str(modules[0]) if len(modules) == 1 else None

    @property
    def longest(self) -> int:
        """Tokens of the longest text, those counted that are its own."""
        packed = self.tokens.tokens
        return 0 if packed is None else int(packed.contents.max(initial=0))

    def features(self, layer: int | None, *, shots: bool = True) -> Iterator[Feature]:
        """Units of a layer (None: of all) by number; without `shots` with their words alone.

        Some thousand are looked up at a time, so that memory does not grow with their number.
        """
        own = self.units if layer is None else self.units.filter(layer=layer)
        density = self._density if shots else None
        for units in own.iter_slices(_UNITS):
            words, scores = (_by_unit(table, units) for table in (self._standing, self._scores))
            wanted = self._wanted(units) if shots else _WANTED
            moved = self._moved(units) if shots else {}
            for some in units.iter_slices(_AT_ONCE):
                seen = self._shots(some, wanted.filter(pl.col("unit").is_in(some["id"]))) if shots else {}
                for id, index, place in some.select("id", "index", "place").iter_rows():
                    said = words.get(id, {})
                    yield Feature(
                        unit=id,
                        index=index,
                        text=said.get("text") or "",
                        describer=said.get("describer") or "",
                        llm=said.get("llm") or "",
                        score=scores.get(id),
                        density=None if density is None else float(density[place]),
                        shots=seen.get(id, []),
                        raises=moved.get((id, 1), ()),
                        lowers=moved.get((id, -1), ()),
                    )

    def firing(self, layer: int) -> Iterator[Feature]:
        """Those that fire in a text that can be shown."""
        for feature in self.features(layer):
            if feature.shots:
                yield feature
            else:
                self.tell(SILENT, [feature.unit])

    def _wanted(self, units: pl.DataFrame) -> pl.DataFrame:
        """Which examples of each unit are shown, strongest first, then those of its ranges, high to low."""
        strongest = self._rows_of("exemplars", units).filter(pl.col("rank") < self.how.texts)
        frames = [strongest.sort("unit", "rank").select("unit", "example", **_NO_RANGE)]
        if RANGES in self.study.manifest.tables:
            ranges = self._rows_of(RANGES, units).sort("unit", -pl.col("bin"), "rank")
            share = 1 / (1 + pl.col("bin").max().over("unit"))  # each has as many of the describe examples
            frames.append(
                ranges.select("unit", "example", pl.col("low", "high").cast(pl.Float64), share=share)
            )
        return pl.concat(frames).unique(["unit", "example"], keep="first", maintain_order=True)

    def _rows_of(self, table: str, units: pl.DataFrame) -> pl.DataFrame:
        """Of a large table the describe rows of some units; the others are not kept in memory."""
        rows = pl.scan_parquet(self.study.verify(table), glob=False)
        return rows.filter(pl.col("unit").is_in(units["id"].implode()), pl.col("part") == DESCRIBE).collect()

    def _moved(self, units: pl.DataFrame) -> dict[tuple[str, int], list[tuple[str, float]]]:
        """Tokens whose logits each unit raises (1) or lowers (-1) most, where the study knows."""
        if PROMOTED not in self.study.manifest.tables:
            return {}
        rows = pl.scan_parquet(self.study.verify(PROMOTED), glob=False)
        rows = rows.filter(pl.col("unit").is_in(units["id"].implode())).sort("unit", "sign", "rank").collect()
        found: dict[tuple[str, int], list[tuple[str, float]]] = {}
        for unit, sign, token, value in rows.select("unit", "sign", "token", "value").iter_rows():
            found.setdefault((unit, sign), []).append((token, exact(value)))
        return found

    def _shots(self, units: pl.DataFrame, wanted: pl.DataFrame) -> dict[str, list[Shot]]:
        rows = {id: self._rows[id] for id in wanted["example"].unique()}
        asked = np.array(sorted(set(rows.values())), dtype=np.int64)
        found = self.tokens.fired_each(units["place"].to_list(), asked)
        fired = dict(zip(units["id"], found, strict=True))
        result: dict[str, list[Shot]] = {}
        for unit, example, low, high, share in wanted.select(_WANTED.columns).iter_rows():
            own, row = fired[unit], rows[example]
            start, stop = np.searchsorted(own.rows, [row, row + 1])
            if start == stop:
                continue
            tokens, values = self.strings(row)[0], self.values(row, own)
            within = None if low is None else (low, high, share)
            if len(tokens) > MOST_TOKENS:
                self.tell(CUT, [example])
            result.setdefault(unit, []).append(_shot(example, tokens, values, within))
        return result

    def values(self, row: int, fired: Fired) -> list[float]:
        """Of a text what a unit does at each of its tokens, by all that it does."""
        start, stop = np.searchsorted(fired.rows, [row, row + 1])
        tokens, where = self.strings(row)
        values = [0.0] * len(tokens)
        for at, value in zip(
            fired.positions[start:stop].tolist(), fired.values[start:stop].tolist(), strict=True
        ):
            values[where[at]] = exact(value)
        return values

    @cached_property
    def strings(self) -> Callable[[int], tuple[list[str], np.ndarray]]:
        """Of a row's text its tokens but special ones, and of each position its number among them."""
        texts = self.study.examples["text"].to_list()
        packed = self.tokens.tokens
        assert packed is not None

        @lru_cache(maxsize=16_384)
        def strings(row: int) -> tuple[list[str], np.ndarray]:
            here = slice(packed.starts[row], packed.starts[row + 1])
            content = packed.content[here]
            ends = packed.spans[here][content][:, 1]
            return pieces(texts[row], ends), np.cumsum(content) - 1

        return strings

    @cached_property
    def _density(self) -> np.ndarray:
        return self.tokens.density()

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.study.examples["id"])}

    @cached_property
    def _standing(self) -> pl.DataFrame:
        written = selected_descriptions(self.study, "text", "describer", "llm")
        return written.filter(pl.col("text") != "")

    @cached_property
    def _scores(self) -> pl.DataFrame:
        has = "scores" in self.study.manifest.tables
        return (
            deciding_scores(self.study)
            if has
            else pl.DataFrame(schema={"unit": pl.String, "status": pl.String})
        )

    @cached_property
    def _verified(self) -> list[str]:
        return self._scores.filter(status=VERIFIED)["unit"].to_list()


_NO_RANGE: dict[str, Any] = dict.fromkeys(("low", "high", "share"), pl.lit(None, pl.Float64))
_WANTED = pl.DataFrame(
    schema={"unit": pl.String, "example": pl.String} | dict.fromkeys(("low", "high", "share"), pl.Float64)
)


def _by_unit(table: pl.DataFrame, units: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows of some units."""
    return {row["unit"]: row for row in table.filter(pl.col("unit").is_in(units["id"].implode())).to_dicts()}


def pieces(text: str, ends: Sequence[int] | np.ndarray) -> list[str]:
    """A text cut at the ends of its tokens, what stands between two going to the second.

    Joined, they are the text. Of tokens that are parts of one character the first has it.
    """
    cuts = np.maximum.accumulate(np.concatenate([[0], np.asarray(ends, dtype=np.int64)]))
    found = [text[a:b] for a, b in pairwise(cuts.tolist())]
    if found:
        found[-1] += text[cuts[-1] :]
    return found


def exact(value: float) -> float:
    """In five digits, which tell every stored activation (11 bits) from any other."""
    return float(f"{value:.5g}")


def _shot(example: str, tokens: Sequence[str], values: Sequence[float], within: Any) -> Shot:
    """At most as many tokens as may be shown, those around the peak."""
    peak = values.index(max(values))
    start = max(0, min(peak - MOST_TOKENS // 2, len(tokens) - MOST_TOKENS))
    here = slice(start, start + MOST_TOKENS)
    return Shot(example, list(tokens[here]), list(values[here]), peak - start, within)


def _layer_of(module: str | None) -> int | None:
    """The layer that a module's path names: 5 of model.layers.5.mlp."""
    found = None if module is None else _LAYER.search(module)
    return None if found is None else int(found[1])
