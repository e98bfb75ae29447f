"""How the latents of a study stand to one another, at the tokens of its examples.

near duplicates, and latents that others split        relations       units/relations.py
letters whose latents others absorb, and which        absorption      units/absorption.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.data.splits import hash_numbers
from saywell.scorers.intervals import wilson_interval
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.spine import Run
from saywell.units.absorption import Letter, Words, absorption
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.relations import FEWEST, cosines, duplicates, firings, splits
from saywell.units.responses import RowNumbers
from saywell.units.token_activations import TokenActivations
from saywell.units.token_matrix import token_matrix
from saywell.units.tokens import Tokens

TOKENS, LATENTS = "tokens", "latents that fire often enough"
PAIRS_SHUFFLED, SPLIT_SHUFFLED = "pairs that fire together, tokens shuffled", "split latents, tokens shuffled"
DUPLICATE, PART, WHOLE = "duplicate", "part", "whole"
RELATIONS = Table(
    "relations",
    {
        "unit": pl.String,
        "relation": pl.String,
        "other": pl.String,
        "together": pl.Int64,
        "jaccard": pl.Float64,
        "inside": pl.Float64,
        "covers": pl.Float64,
        "cosine": pl.Float64,
    },
    key=("unit", "relation", "other"),
)
"""What other units are to a unit: a near `duplicate`; a `part`, into several of which it is split; or the
`whole` that it is a part of. `together`: tokens at which both fire. `inside`: of the other's firings the
share at which the unit fires; `covers`: of the unit's the share at which the other fires. `cosine` of their
decoder directions."""
COMPARED = Table("compared", {"what": pl.String, "value": pl.Float64}, key=("what",))
"""What was compared for `relations`, and the most that chance gives: thresholds are above it."""
ABSORPTION = Table(
    "absorption",
    {
        "letter": pl.String,
        "main": pl.List(pl.String),
        "f1": pl.Float64,
        "f1_chance": pl.Float64,
        "probe_f1": pl.Float64,
        "probe_chance": pl.Float64,
        "tested": pl.Boolean,
        "words": pl.Int64,
        "told": pl.Int64,
        "missed": pl.Int64,
        "absorbed": pl.Int64,
        "by_chance": pl.Int64,
    },
    key=("letter",),
)
"""First letters of words: which units stand for one, how well, and at how many of the tokens that a probe
tells (`told`) none of them fires (`missed`) because another has absorbed the word (`absorbed`). `by_chance`:
at how many of the missed the same is found of another letter's probe. See `saywell.units.absorption`."""
ABSORBERS = Table(
    "absorbers",
    {
        "unit": pl.String,
        "letter": pl.String,
        "word": pl.String,
        "tokens": pl.Int64,
        "cosine": pl.Float64,
        "share": pl.Float64,
        "special": pl.Float64,
    },
    key=("unit", "letter", "word"),
)
"""Units that fire in place of those of a letter, for which word, at how many tokens; see
`saywell.units.absorption.Absorber`."""
MOST_TOKENS = 200_000
"""Tokens that are compared at most: of whole examples, drawn by their ids."""
MOST_WORDS = 20_000
"""Tokens that start a word, of each half, at most."""
_STARTS = pl.Schema({"example": pl.Int64, "position": pl.Int64, "piece": pl.String})
_WORD = re.compile(r"(?<!\w)[A-Za-z]+(?!\w)")
DICTIONARY = ("dictionary", "dictionary.safetensors")
"""Where a study keeps its own."""


def has_directions(run: Run) -> bool:
    """Whether the study keeps a dictionary."""
    return run.study.arrays(DICTIONARY[0]).joinpath(DICTIONARY[1]).is_file()


def stored_decoder(run: Run) -> np.ndarray:
    """The direction of each unit, in the order of the study's units."""
    folder, name = DICTIONARY
    units = run.subject.activations.units
    rows = Dictionary.load(run.study.arrays(folder) / name).decoder.numpy()[units["place"].to_numpy()]
    return rows * units["sign"].fill_null(1).to_numpy()[:, None]


@dataclass(frozen=True)
class Relations:
    """Tables `relations` and `compared`."""

    tables: Sequence[Table] = (RELATIONS, COMPARED)

    def add(self, run: Run) -> list[Metric]:
        """Shares of the latents that have a near duplicate, and that others split."""
        with run.resources.progress("relations", 1):
            run.study.tables(self.tables, lambda: self._made(run))
        return relation_figures(*map(run.study.table, self.tables))

    def again(self, run: Run) -> tuple[Sequence[pl.DataFrame], list[Metric]]:
        """Both, not stored, and the figures."""
        made = self._made(run)
        return made, relation_figures(*made)

    def _made(self, run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
        rows = drawn_rows(run, np.arange(len(run.examples)), MOST_TOKENS)
        fires = firings(token_matrix(run.subject.activations, rows).activations)
        ids = run.subject.activations.units["id"].to_list()
        return relation_tables(fires, stored_decoder(run), ids, run.resources.seed)


def relation_tables(
    fires: sp.csr_matrix, decoder: np.ndarray, ids: Sequence[str], seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `relations` and `compared`, of firings at tokens x units and the direction of each unit."""
    near = duplicates(fires, decoder, seed=seed)
    rows: list[tuple[object, ...]] = []
    for pair, cosine in zip(zip(*near.pairs, strict=True), near.cosine, strict=True):
        one, other, n, m, both = map(int, pair)
        jaccard = both / (n + m - both)
        rows.append((ids[one], DUPLICATE, ids[other], both, jaccard, both / m, both / n, cosine))
        rows.append((ids[other], DUPLICATE, ids[one], both, jaccard, both / n, both / m, cosine))
    split = splits(fires, fires)
    for found in split:
        whole = np.full(len(found.parts), found.whole)
        along = cosines(decoder, decoder, whole, found.parts)
        both = np.rint(found.covers * fires[:, [found.whole]].sum())
        jaccard = 1 / (1 / found.covers + 1 / found.inside - 1)
        for part, *own in zip(found.parts, both, jaccard, found.inside, found.covers, along, strict=True):
            together, index, inside, covers, cosine = map(float, own)
            one, other, at = ids[found.whole], ids[part], int(together)
            rows.append((one, PART, other, at, index, inside, covers, cosine))
            rows.append((other, WHOLE, one, at, index, covers, inside, cosine))
    shuffled = fires[np.random.default_rng([seed, 1]).permutation(fires.shape[0])]
    enough = int((np.asarray(fires.sum(0)).ravel() >= FEWEST).sum())
    compared = [
        (TOKENS, float(fires.shape[0])),
        (LATENTS, float(enough)),
        ("largest cosine by chance", near.chance_cosine),
        ("largest Jaccard index, tokens shuffled", near.chance_jaccard),
        (PAIRS_SHUFFLED, float(near.chance_pairs)),
        (SPLIT_SHUFFLED, float(len(splits(fires, shuffled)))),
    ]
    return RELATIONS.frame(sorted(rows, key=lambda row: row[:3])), COMPARED.frame(compared)


def relation_figures(relations: pl.DataFrame, compared: pl.DataFrame) -> list[Metric]:
    """Shares of the latents that fire often enough to tell."""
    known = dict(compared.iter_rows())
    n = int(known[LATENTS])
    said = (
        ("near duplicates", DUPLICATE, min(1.0, 2 * known[PAIRS_SHUFFLED] / max(n, 1)), "have one"),
        ("split latents", PART, known[SPLIT_SHUFFLED] / max(n, 1), "are shared out among others"),
    )
    figures = []
    for name, relation, shuffled, what in said:
        share = wilson_interval(relations.filter(relation=relation)["unit"].n_unique(), n)
        none = n == 0
        figures.append(
            Metric(
                name=name,
                value=None if none else share.value,
                ci_low=None if none else share.low,
                ci_high=None if none else share.high,
                n=n,
                of=f"latents that fire at {FEWEST} tokens or more",
                controls={"tokens shuffled": None if none else shuffled},
                higher_is_better=False,
                note=f"Share of the latents that {what}.",
            )
        )
    return figures


@dataclass(frozen=True)
class Absorption:
    """Tables `absorption` and `absorbers` of texts: learned on describe examples, asked of score examples."""

    tables: Sequence[Table] = (ABSORPTION, ABSORBERS)

    def add(self, run: Run) -> list[Metric]:
        """The rate, over the letters that have latents."""
        with run.resources.progress("absorption", 1):
            run.study.tables(self.tables, lambda: self._made(run))
        return absorption_figures(run.study.table(ABSORPTION))

    def again(self, run: Run) -> tuple[Sequence[pl.DataFrame], list[Metric]]:
        """Both, not stored, and the figure."""
        made = self._made(run)
        return made, absorption_figures(made[0])

    def _made(self, run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
        kept = run.subject.activations.responses
        if not isinstance(kept, TokenActivations) or kept.tokens is None:
            return ABSORPTION.empty(), ABSORBERS.empty()
        texts, seed = run.examples.table["text"].to_list(), run.resources.seed
        starts = [
            word_starts(texts, kept.tokens, drawn_rows(run, part.rows, MOST_TOKENS))
            for part in (run.examples.parts.describe, run.examples.parts.score)
        ]
        pieces = sorted({piece for own in starts for piece in own["piece"].unique()})
        later = hash_numbers(pieces, seed, "first letters") % np.uint64(2) == 1
        learn, check = (
            _words(run, own, pieces, wanted) for own, wanted in zip(starts, (~later, later), strict=True)
        )
        if not len(learn.words) or not len(check.words):
            return ABSORPTION.empty(), ABSORBERS.empty()
        letters, absorbers = absorption(learn, check, stored_decoder(run), seed=seed)
        ids = run.subject.activations.units["id"].to_list()
        return letter_table(letters, ids), ABSORBERS.frame(
            [
                (ids[own.latent], _letter(own.letter), pieces[own.word], own.tokens, *own[4:])
                for own in absorbers
            ]
        )


def letter_table(letters: Sequence[Letter], ids: Sequence[str]) -> pl.DataFrame:
    """Table `absorption`."""
    return ABSORPTION.frame(
        [
            (
                _letter(own.letter),
                [ids[latent] for latent in own.main],
                own.f1,
                own.f1_chance,
                own.probe_f1,
                own.probe_chance,
                own.tested,
                own.words,
                own.told,
                own.missed,
                own.absorbed,
                own.by_chance,
            )
            for own in letters
        ]
    )


def absorption_figures(letters: pl.DataFrame) -> list[Metric]:
    """The rate over all letters that have a probe and latents; nothing where none has."""
    tested = letters.filter("tested")
    told, absorbed, chance = (int(tested[name].sum()) for name in ("told", "absorbed", "by_chance"))
    rate = wilson_interval(absorbed, told)
    if not told:
        return []
    return [
        Metric(
            name="absorbed first letters",
            value=rate.value,
            ci_low=rate.low,
            ci_high=rate.high,
            n=told,
            of=f"words' first tokens, of {tested.height} letters that latents stand for",
            controls={"another letter's probe": chance / told},
            higher_is_better=False,
            note="Of words whose first letter a linear probe tells, the share at which no latent of that"
            " letter fires and another latent stands in for it.",
        )
    ]


def word_starts(texts: Sequence[str], tokens: Tokens, rows: RowNumbers) -> pl.DataFrame:
    """example, position, piece: the tokens that start a word of the letters a to z, and their part of it.

    In small letters. Pieces of one letter are left out: of them the token is the letter.
    """
    found: list[tuple[int, int, str]] = []
    for row in rows.tolist():
        here = slice(int(tokens.starts[row]), int(tokens.starts[row + 1]))
        content, spans = np.flatnonzero(tokens.content[here]), tokens.spans[here]
        text: str = texts[int(row)]
        ends = spans[content, 1]
        for word in _WORD.finditer(text):
            first = int(np.searchsorted(ends, word.start(), side="right"))
            if first < len(content):
                begin, end = spans[content[first]].tolist()
                piece = text[word.start() : min(end, word.end())].lower()
                if not text[begin : word.start()].strip() and len(piece) > 1:
                    found.append((row, int(content[first]), piece))
    return pl.DataFrame(found, schema=_STARTS, orient="row")


def _words(run: Run, starts: pl.DataFrame, pieces: Sequence[str], wanted: np.ndarray) -> Words:
    """What fires where some of the pieces start, at MOST_WORDS tokens at most: the first of each first."""
    number = {piece: place for place, piece in enumerate(pieces) if wanted[place]}
    own = starts.filter(pl.col("piece").is_in(list(number)))
    own = own.with_columns(nth=pl.int_range(pl.len()).over("piece"))
    own = own.sort("nth", "example", "position").head(MOST_WORDS).sort("example", "position")
    rows = own["example"].unique().sort().to_numpy()
    known = token_matrix(run.subject.activations, rows)
    at = pl.DataFrame({"example": known.rows, "position": known.positions}).with_row_index("line")
    line = own.join(at, on=["example", "position"], how="left", maintain_order="left")["line"].to_numpy()
    letters = np.array([ord(piece[0]) - ord("a") for piece in pieces])
    words = np.array([number[piece] for piece in own["piece"]], dtype=np.int64)
    return Words(known.activations[line], words, letters)


def drawn_rows(run: Run, rows: RowNumbers, most: int) -> RowNumbers:
    """Examples, drawn by their ids, that have so many tokens at most; all where that is enough."""
    kept = run.subject.activations.responses
    sizes = np.ones(len(rows), dtype=np.int64)
    if isinstance(kept, TokenActivations):
        tokens = kept.tokens
        sizes = np.full(len(rows), 64) if tokens is None else tokens.contents[rows]
    keys = hash_numbers([run.examples.ids[row] for row in rows], run.resources.seed, "relations")
    order = np.argsort(keys, kind="stable")
    return np.sort(rows[order[np.cumsum(sizes[order]) <= most]])


def _letter(number: int) -> str:
    return chr(ord("a") + number)
