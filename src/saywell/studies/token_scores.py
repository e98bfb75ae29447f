"""How well descriptions agree with the very words on which their units fire, on score examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from saywell.claims.execute import Executor
from saywell.claims.fired import FiredWords, fired_words, words_at
from saywell.claims.ground import Ground
from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, SCORE, ScoreRows
from saywell.data.splits import hash_numbers
from saywell.description import Description
from saywell.readers.claims import claim_of
from saywell.scorers.floors import ANOTHER, NONE, another_unit
from saywell.scorers.intervals import bootstrap_mean
from saywell.scorers.token_scores import Resampled, points_alike
from saywell.store.study import Metric, deciding_rows
from saywell.store.table import Table
from saywell.studies.described import DESCRIPTIONS
from saywell.studies.spine import Run
from saywell.units.activations import Activations

MOST_LETTERS = 10_000_000
"""Letters of the score texts that are looked at; of more, texts are drawn by their ids."""
FREQUENT, EVERY = "most frequent word", "every word"
_F = pl.Float64
TOKEN_SCORES = Table(
    "token_scores",
    {
        "unit": pl.String,
        "description": pl.String,
        "describer": pl.String,
        "part": pl.String,
        **{f"{name}{end}": _F for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")},
        "activation": _F,
        "control": _F,
        "floor": pl.String,
        "skill": _F,
        "skill_low": _F,
        "skill_high": _F,
        "another": _F,
        "frequent": _F,
        "every": _F,
        "words": pl.Int64,
        "fired": pl.Int64,
        "said": pl.Int64,
        "beside": _F,
    },
    key=("unit", "description"),
)
"""Of each description that says of which words it holds how these agree with the words on which the unit
fires, on score examples. A piece of a word is part of that word.

`fired` of the `words` looked at fire it, and `said` are pointed at; F1 and skill have intervals over texts,
precision and recall Wilson's. `activation` is the share of the unit's activation that is pointed at.
Floors: the F1 of `another` unit's description, of the word that is `frequent` among those that fire the unit
most in describe examples, and of `every` word; `control` is the best of those that do not point at nearly the
same words, `floor` its name, skill = f1 - control.
`beside` is the share of the model's tokens on which the unit fires that are on no word or sign: white space.
"""
TOKEN_F1 = "token_f1"


@dataclass(frozen=True)
class TokenScores:
    """Table `token_scores`, and the mean F1 of the descriptions that are verified."""

    tables: Sequence[Table] = (TOKEN_SCORES,)

    def add(self, run: Run) -> list[Metric]:
        """See above; nothing where it is not known at which tokens units fire."""
        table = run.study.table(
            TOKEN_SCORES, lambda: token_scores(run), uses=("activations", DESCRIPTIONS.name)
        )
        return _figures(run, table)

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The same, not stored."""
        table = token_scores(run)
        return [table], _figures(run, table)


def token_scores(run: Run, descriptions: pl.DataFrame | None = None) -> pl.DataFrame:
    """Table `token_scores` of these descriptions; without any, of those of the study."""
    examples, activations, seed = run.examples, run.subject.activations, run.resources.seed
    if examples.kind != "text" or not activations.at_tokens:
        return TOKEN_SCORES.empty()
    descriptions = run.study.table(DESCRIPTIONS) if descriptions is None else descriptions
    written = descriptions.filter(pl.col("text") != "", (pl.col("claim") != "") | pl.col("llm").is_null())
    rows = _drawn(examples, seed)
    part = examples.only(rows)
    ground = Ground(part, run.resources)
    execute, corpus = Executor(ground), ground.corpus
    resampled = Resampled(corpus.text, len(part), seed)
    place = np.full(len(examples), -1)
    place[rows.rows] = np.arange(len(rows))
    usual = _usual_words(run, written["unit"].to_list())

    def pointed(text: str, claim: str) -> Bool[np.ndarray, " words"] | None:
        said = claim_of(Description("", text, claim=claim or ""), claimed_alone=False)
        return None if said is None else execute(said).tokens

    found = []
    every = np.ones(len(corpus), dtype=bool)
    with run.resources.progress("words that fire units", written.height) as advance:
        for _, own in written.group_by("describer", maintain_order=True):
            said = list(own.select("text", "claim").iter_rows())
            others = another_unit([text for text, _ in said], own["unit"].to_list(), seed=seed)
            for number, (unit, id, describer) in enumerate(own.select("unit", "id", "describer").iter_rows()):
                advance(1)
                mask = pointed(*said[number])
                if mask is None:
                    continue
                words = _fired(ground, activations, unit, place)
                floors = {
                    ANOTHER: _another(mask, (pointed(*said[n]) for n in others[number] if n != NONE)),
                    FREQUENT: corpus.tokens_of(usual.get(unit, [])),
                    EVERY: every,
                }
                one = resampled.agreement(mask, words.tokens, words.values, floors)
                found.append(
                    (
                        *(unit, id, describer, SCORE),
                        *(v for each in (one.precision, one.recall, one.f1) for v in each[:3]),
                        one.activation,
                        one.floors[one.floor],
                        one.floor,
                        *one.skill[:3],
                        *(one.floors[name] for name in (ANOTHER, FREQUENT, EVERY)),
                        *(len(corpus), len(words.tokens), int(mask.sum())),
                        words.beside / words.pieces if words.pieces else float("nan"),
                    )
                )
    return TOKEN_SCORES.frame(found).with_columns(pl.selectors.float().fill_nan(None))


def _fired(
    ground: Ground, activations: Activations, unit: str, place: Int[np.ndarray, " examples"]
) -> FiredWords:
    """On which words and signs a unit fires; `place`: of each example its text, -1 where it has none."""
    found = activations.fired(unit)
    spans, texts = activations.spans(found), place[found.rows]
    here = texts >= 0
    return fired_words(ground.corpus, texts[here], spans[here], found.values[here])


def _drawn(examples: Examples, seed: int) -> ScoreRows:
    rows = examples.parts.score.rows
    letters = np.array([len(examples.texts[row]) for row in rows], dtype=np.int64)
    if letters.sum() <= MOST_LETTERS:
        return ScoreRows(rows)
    keys = hash_numbers([examples.ids[row] for row in rows], seed, "texts of token scores")
    order = np.argsort(keys, kind="stable")
    drawn = order[np.cumsum(letters[order]) <= MOST_LETTERS]
    return ScoreRows(np.sort(rows[drawn]))


def _usual_words(run: Run, units: Sequence[str]) -> dict[str, list[str]]:
    """Of each unit the word that fires it most often among its exemplars; of equals the strongest."""
    shown = run.subject.exemplars.filter(
        pl.col("unit").is_in(units), pl.col("span_start").is_not_null(), part=DESCRIBE
    ).sort("unit", "rank")
    examples = run.examples.only(run.examples.parts.describe)
    corpus, place = Ground(examples, run.resources).corpus, {id: n for n, id in enumerate(examples.ids)}
    texts = np.array([place[id] for id in shown["example"]], dtype=np.int64)
    spans = shown.select("span_start", "span_end").to_numpy().astype(np.int64).reshape(-1, 2)
    seen: dict[str, dict[str, int]] = {}
    for unit, token in zip(shown["unit"], words_at(corpus, texts, spans).tolist(), strict=True):
        if token >= 0:
            form, counts = corpus.forms[int(corpus.form[token])], seen.setdefault(unit, {})
            counts[form] = counts.get(form, 0) + 1
    return {unit: [max(counts, key=lambda form: counts[form])] for unit, counts in seen.items()}


def _another(
    own: Bool[np.ndarray, " words"], others: Iterator[Bool[np.ndarray, " words"] | None]
) -> Bool[np.ndarray, " words"]:
    """The first that does not point at nearly the same words; none at all where all do."""
    apart = (other for other in others if other is not None and not points_alike(own, other))
    return next(apart, np.zeros(len(own), dtype=bool))


def _figures(run: Run, table: pl.DataFrame) -> list[Metric]:
    """The mean F1 at tokens of descriptions that stand for their units and are verified."""
    if not table.height:
        return []
    verified = deciding_rows(run.study.scores).filter(status="verified")["description"]
    chosen = run.study.descriptions.filter("selected")["id"]
    own = table.filter(
        pl.col("description").is_in(verified.implode()), pl.col("description").is_in(chosen.implode())
    )
    if not own.height:
        return []
    value = bootstrap_mean(own["f1"].to_numpy().astype(float), seed=run.resources.seed)
    means = own.select("another", "frequent", "every").mean().row(0)
    return [
        Metric(
            name="mean F1 at words of verified descriptions",
            figure=TOKEN_F1,
            value=value.value,
            ci_low=value.low,
            ci_high=value.high,
            n=value.n,
            of="verified descriptions that say at which words",
            controls={str(name): one for name, one in zip((ANOTHER, FREQUENT, EVERY), means, strict=True)},
        )
    ]
