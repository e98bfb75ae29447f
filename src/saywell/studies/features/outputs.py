"""What latents of a causal language model do to what comes next, beside what makes them respond.

tokens that each promotes and suppresses, directly       promoted     units/unembedding.py
some of them held at a level, on score texts             clamped      units/outputs.py
whether a description of the input is all there is       works
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from scipy import stats

from saywell.data.splits import hash_numbers
from saywell.describers.describer import Evidence
from saywell.errors import InputError
from saywell.scorers.beside_random import rank_p, studentised
from saywell.scorers.intervals import benjamini_hochberg, bootstrap_mean, wilson_interval
from saywell.store.study import Metric, StudyWriter, deciding_rows
from saywell.store.table import Table
from saywell.studies.spine import Run
from saywell.studies.verified import VERIFIED
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.rules import Codes
from saywell.units.firing import OK
from saywell.units.hook_points import HookPoint, hook_points, tokens_at
from saywell.units.latents import AtHook, Latents
from saywell.units.models import LoadedModel
from saywell.units.outputs import Direction, Effect, Held, Place, Text, drawn_directions, effects
from saywell.units.responses import Fired, RowNumbers
from saywell.units.tokens import Tokens
from saywell.units.unembedding import Causal, causal_of

STRENGTHENED, SILENCED = "strengthened", "silenced"
MEASURES = ("divergence", "promoted")
PROMOTED = Table(
    "promoted",
    {
        "unit": pl.String,
        "sign": pl.Int8,
        "rank": pl.Int32,
        "token": pl.String,
        "token_id": pl.Int32,
        "value": pl.Float64,
    },
    key=("unit", "sign", "rank"),
)
"""Tokens whose logits a unit's direction raises (sign 1) or lowers (-1) most on the direct path, through the
last norm and the unembedding; see `saywell.units.unembedding` for what `value` is."""
_OF_MEASURE = {
    **dict.fromkeys(("", "_random", "_low", "_high", "_p"), pl.Float64),
    "_drawn": pl.List(pl.Float64),
}
CLAMPED = Table(
    "clamped",
    {
        "unit": pl.String,
        "way": pl.String,
        "level": pl.Float64,
        "texts": pl.Int32,
        "tokens": pl.Int32,
        **{f"{measure}{column}": kind for measure in MEASURES for column, kind in _OF_MEASURE.items()},
    },
    key=("unit", "way"),
)
"""What comes next on score texts where a unit is held: `strengthened` at its strongest describe activation,
at all tokens; `silenced` at 0, where it fires. `divergence`: KL from before to after, in nats, mean over
tokens; `promoted`: mean change of log p of the tokens that it promotes (null where none are known). `_drawn`:
the same of random directions as long, of each with the tokens that it promotes, and `_random` their mean;
`_low`, `_high`: 95 % interval over texts of how far the unit is above that; `_p`: how rare it is among
them."""
WORKS = Table(
    "works",
    {
        "unit": pl.String,
        "acts": pl.Boolean,
        "p": pl.Float64,
        "q": pl.Float64,
        "q_random": pl.Float64,
        "works": pl.String,
    },
    key=("unit",),
)
"""Whether a unit `acts` on what comes next, and where what is known of it holds: "input" (its description is
verified and it does not act), "output" (it acts, and no description is verified), "both" or "neither". It
acts if random directions seldom do as much: `p` is the smallest that table `clamped` has of it, times how
many it has, and `q` over the units that were held at most 0.05. `q_random`: the same of one of the random
directions."""
INPUT, OUTPUT, BOTH, NEITHER = "input", "output", "both", "neither"
MOST_PROMOTED = 10
TEXTS, TOKENS = 8, 64
"""Texts on which a unit is held, and tokens of each, at most."""
_FEWEST = 4
_RATE, _TINY = 0.05, 1e-12
_ADDED = ("embeddings", "resid_pre", "resid_mid", "resid_post", "attn_out_post", "mlp_out_post")
"""Kinds of places whose numbers are of the residual stream, or are added to it as they are."""


@dataclass(frozen=True)
class OutputSide:
    """Tables `promoted` and `clamped`: of all latents the first, of `units` of them the second.

    `outputs`: the place that a transcoder's latents write to, where that is not the one that they read.
    """

    units: int
    outputs: AtHook | None = None
    tables: Sequence[Table] = (PROMOTED, CLAMPED)

    def add(self, run: Run) -> list[Metric]:
        """No figures; a note where there is no output side, or only an indirect one."""
        run.study.tables(self.tables, lambda: self._made(run))
        return []

    def _made(self, run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
        source = run.question.source
        if not isinstance(source, Latents) or not isinstance(source.vectors, AtHook):
            return PROMOTED.empty(), CLAMPED.empty()
        at = self.outputs or source.vectors
        if not isinstance(at.model, LoadedModel):
            return PROMOTED.empty(), CLAMPED.empty()
        try:
            causal = causal_of(at.model)
        except InputError as error:
            run.study.note(f"There is no output side: {error}.")
            return PROMOTED.empty(), CLAMPED.empty()
        promoted, direct = PROMOTED.empty(), is_added(at.model, at.point)
        if direct:
            promoted = promoted_table(causal, source.dictionary, at.model, run.subject.activations.units)
        else:
            run.study.note(
                f"What is at {at.point.name!r} is not added to the residual stream as it is, so its latents"
                " promote no tokens directly; what holding them does is measured."
            )
        if at.point.norm is not None:
            run.study.note(f"Latents at {at.point.name!r}, inside a norm, are not held.")
            return promoted, CLAMPED.empty()
        return promoted, clamped_table(run, source, at, causal, direct, self.units)


def is_added(model: LoadedModel, point: HookPoint) -> bool:
    """Whether what is at a place is of the residual stream, or is added to it as it is."""
    known = hook_points(model).filter(pl.col("what").is_in(_ADDED))
    return (point.module, point.side) in set(known.select("module", "side").iter_rows())


@dataclass(frozen=True)
class Promotes:
    """Tells who explains latents which tokens each promotes; nothing where there is no direct way to them.

    `dictionary`: its file, below a study's folder.
    """

    at: AtHook
    dictionary: str

    def __call__(self, evidence: Evidence, study: StudyWriter) -> dict[str, list[str]]:
        """By unit, most first."""
        model = self.at.model
        if not isinstance(model, LoadedModel) or not is_added(model, self.at.point):
            return {}
        try:
            causal = causal_of(model)
        except InputError:  # an encoder has none; the notes say so
            return {}
        dictionary = Dictionary.load(study.file(self.dictionary))
        table = promoted_table(causal, dictionary, model, evidence.units).filter(sign=1).sort("unit", "rank")
        return dict(table.group_by("unit", maintain_order=True).agg("token").iter_rows())


def promoted_table(
    causal: Causal, dictionary: Dictionary, model: LoadedModel, units: pl.DataFrame
) -> pl.DataFrame:
    """Table `promoted`."""
    places, signs = torch.from_numpy(units["place"].to_numpy().astype(np.int64)), _signs(units)
    directions = dictionary.decoder[places] * torch.from_numpy(signs)[:, None]
    frames = []
    for sign, found in zip((1, -1), causal.promoted(directions, MOST_PROMOTED), strict=True):
        count = found.tokens.shape[1]
        known = np.unique(found.tokens)
        words = {int(token): model.tokenizer.decode([int(token)]) for token in known}
        frames.append(
            pl.DataFrame(
                {
                    "unit": np.repeat(units["id"].to_numpy(), count),
                    "sign": np.full(found.tokens.size, sign),
                    "rank": np.tile(np.arange(1, count + 1), units.height),
                    "token": [words[token] for token in found.tokens.ravel().tolist()],
                    "token_id": found.tokens.ravel(),
                    "value": found.values.ravel().astype(np.float64),
                }
            )
        )
    return pl.concat(frames).cast(dict(PROMOTED.columns))  # type: ignore[arg-type]


def clamped_table(
    run: Run, source: Latents, at: AtHook, causal: Causal, direct: bool, most: int
) -> pl.DataFrame:
    """Table `clamped`, of so many units that fire, drawn by their ids.

    `direct`: their directions are of the residual stream, so that there are tokens that they promote.
    """
    assert isinstance(at.model, LoadedModel)
    units, seed = run.subject.activations.units.filter(state=OK), run.resources.seed
    keys = hash_numbers(units["id"], seed, "output side")
    chosen = np.sort(np.argsort(keys, kind="stable")[:most])
    drawn = units[chosen]
    place = Place(causal.model, causal.prefix + at.point.module, at.point.side)
    tokens, score = tokens_at(at.model, run.examples, bos=at.bos), run.examples.parts.score.rows
    by_hash = hash_numbers([run.examples.ids[row] for row in score], seed, "output side")
    score = score[np.argsort(by_hash, kind="stable")]
    rows: list[tuple[object, ...]] = []
    with run.resources.progress("output side", drawn.height) as advance:
        for unit, key in zip(drawn.iter_rows(named=True), keys[chosen], strict=True):
            latent, sign = unit["place"], int(unit["sign"] or 1)
            random = drawn_directions(source.dictionary.out, int(key))
            asked = np.zeros((1 + len(random), 0), dtype=np.int64)
            if direct:
                every = torch.cat([source.dictionary.decoder[latent : latent + 1] * sign, random])
                asked = causal.promoted(every, MOST_PROMOTED)[0].tokens
            direction = direction_of(source.dictionary, latent, sign)
            fired = run.subject.activations.fired(unit["id"])
            every, where = held_texts(fired, tokens, score)
            level = _strongest(fired, run.examples.parts.describe.rows)
            for way, to, some in ((STRENGTHENED, level, every), (SILENCED, 0.0, where)):
                if some:
                    found = effects(place, Held(direction, to, random, asked), some)
                    rows.append((unit["id"], way, to, len(some), found.tokens, *_beside(found, seed)))
            advance(1)
    told = [name for name in CLAMPED.columns if not name.endswith("_p")]
    return with_p(pl.DataFrame(rows, schema={name: CLAMPED.columns[name] for name in told}, orient="row"))


def with_p(clamped: pl.DataFrame) -> pl.DataFrame:
    """Table `clamped`, with how rare each effect is among those of random directions."""
    columns = {f"{measure}_p": pl.Series(_rarity(clamped, measure)).fill_nan(None) for measure in MEASURES}
    return CLAMPED.check(clamped.with_columns(**columns))


def _rarity(clamped: pl.DataFrame, measure: str, direction: int = 0) -> np.ndarray:
    """p of each row, NaN where it was not measured; with 1 that of its first random direction, by the others.

    Logarithms of divergences of random directions are normal, which gives p of Student's t. Of promoted
    tokens the tails are heavy: p is the rank among all random directions of that way to hold.
    """
    p = np.full(clamped.height, np.nan)
    for way in (STRENGTHENED, SILENCED):
        mine = np.flatnonzero(((clamped["way"] == way) & clamped[measure].is_not_null()).to_numpy())
        if len(mine):
            some = clamped[mine.tolist()]
            drawn = np.array(some[f"{measure}_drawn"].to_list())
            effects = np.column_stack([some[measure].to_numpy(), drawn])[:, direction:]
            if measure == "divergence":
                effects = np.log(np.maximum(effects, _TINY))
            elif way == SILENCED:  # which lowers what it promotes
                effects = -effects
            above = np.stack([studentised(row) for row in effects])
            rank = rank_p(above[:, 0], above[:, 1:])
            p[mine] = stats.t.sf(above[:, 0], above.shape[1] - 2) if measure == "divergence" else rank
    return p


def _strongest(fired: Fired, describe: RowNumbers) -> float:
    """The strongest activation on describe examples; on any, of a unit that fires on none of them."""
    mine = np.isin(fired.rows, describe)
    return float((fired.values[mine] if mine.any() else fired.values).max())


def _signs(units: pl.DataFrame) -> np.ndarray:
    return units["sign"].fill_null(1).to_numpy().astype(np.float32)


def direction_of(dictionary: Dictionary, latent: int, sign: int = 1) -> Direction:
    """What one unit of a latent's activation adds, at each vector where the dictionary scales them."""
    row = dictionary.decoder[latent] * sign

    def scaled(passed: torch.Tensor) -> torch.Tensor:
        own = dictionary.to(passed.device)
        every = torch.arange(len(passed), device=passed.device)
        none = Codes(every[:0], every[:0], passed[:0, 0])
        one = Codes(every, torch.full_like(every, latent), torch.full_like(passed[:, 0], sign))
        return own.decode(one, passed) - own.decode(none, passed)

    if dictionary.scaling is not None and dictionary.scaling.undone:
        return scaled
    return lambda passed: row.to(passed).expand(len(passed), -1)


def _beside(found: Effect, seed: int) -> Iterator[float | list[float] | None]:
    """The columns of both measures."""
    for effect in (found.divergence, found.promoted):
        if np.isnan(effect).any():
            yield from [None] * 5
            continue
        above = bootstrap_mean(effect[0] - effect[1:].mean(0), seed=seed)
        drawn = effect[1:].mean(1)
        yield from (float(effect[0].mean()), float(drawn.mean()), above.low, above.high, drawn.tolist())


@dataclass(frozen=True)
class Works:
    """Table `works`, from what holding units did and how their descriptions fared."""

    tables: Sequence[Table] = (WORKS,)

    def add(self, run: Run) -> list[Metric]:
        """Share of the units held that act, and of the verified ones that do not."""
        return works_figures(run.study.table(WORKS, lambda: self._table(run)))

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table, not stored, and the figures."""
        table = self._table(run)
        return [table], works_figures(table)

    def _table(self, run: Run) -> pl.DataFrame:
        verified = deciding_rows(run.study.scores).filter(status=VERIFIED)["unit"]
        return works_table(run.study.table(CLAMPED), set(verified))


def works_table(clamped: pl.DataFrame, verified: Collection[str]) -> pl.DataFrame:
    """Table `works`, of the units that were held."""
    ids = clamped["unit"].unique(maintain_order=True).to_list()
    p, p_random = (_over_ways(clamped, direction) for direction in (0, 1))
    rows = []
    for unit, *own in zip(ids, p, benjamini_hochberg(p), benjamini_hochberg(p_random), strict=True):
        acts, holds = bool(own[1] <= _RATE), unit in verified
        works = (BOTH if holds else OUTPUT) if acts else INPUT if holds else NEITHER
        rows.append((unit, acts, *map(float, own), works))
    return WORKS.frame(rows)


def _over_ways(clamped: pl.DataFrame, direction: int) -> np.ndarray:
    """By unit the smallest p, times how many it has."""
    every = [clamped.select("unit", p=_rarity(clamped, measure, direction)) for measure in MEASURES]
    known = pl.concat(every).filter(pl.col("p").is_not_nan())
    least = known.group_by("unit").agg(p=(pl.col("p").min() * pl.len()).clip(0, 1))
    units = clamped.select("unit").unique(maintain_order=True)
    return units.join(least, on="unit", how="left", maintain_order="left")["p"].fill_null(1.0).to_numpy()


def works_figures(works: pl.DataFrame) -> list[Metric]:
    """None where no unit was held."""
    if works.is_empty():
        return []
    acting, n = int(works["acts"].sum()), works.height
    true = works.filter(pl.col("works").is_in([INPUT, BOTH]))
    share, only = wilson_interval(acting, n), wilson_interval(true.filter(works=INPUT).height, true.height)
    figures = [
        Metric(
            name="act on what comes next",
            value=share.value,
            ci_low=share.low,
            ci_high=share.high,
            n=n,
            of="latents that were held at a level",
            controls={"random directions as long": works.filter(pl.col("q_random") <= _RATE).height / n},
            note="Share of the latents that change the next token more than random directions as long do.",
        )
    ]
    if true.height:
        figures.append(
            Metric(
                name="hold for the input alone",
                value=only.value,
                ci_low=only.low,
                ci_high=only.high,
                n=true.height,
                of="verified latents that were held at a level",
                higher_is_better=False,
                note="Share of the verified latents that do not act on what comes next.",
            )
        )
    return figures


# ---- the texts on which units are held


def held_texts(fired: Fired, tokens: Tokens, rows: RowNumbers) -> tuple[list[Text], list[Text]]:
    """The first of some texts, to be held at all tokens; and those on which a unit fires, to be held there.

    Of each the first tokens alone. `fired` is by example, then position.
    """
    every: list[Text] = []
    where: list[Text] = []
    for row in rows.tolist():
        start, stop = int(tokens.starts[row]), int(tokens.starts[row + 1])
        here = slice(start, min(stop, start + TOKENS))
        active = np.zeros(here.stop - start, dtype=np.float32)
        own = slice(*np.searchsorted(fired.rows, [row, row + 1]))
        inside = fired.positions[own] < len(active)
        active[fired.positions[own][inside]] = fired.values[own][inside]
        content = tokens.content[here]
        if len(every) < TEXTS and content.sum() >= _FEWEST:
            every.append(Text(tokens.ids[here], active, content))
        if len(where) < TEXTS and inside.any():
            where.append(Text(tokens.ids[here], active, active > 0))
        if len(every) == len(where) == TEXTS:
            break
    return every, where
