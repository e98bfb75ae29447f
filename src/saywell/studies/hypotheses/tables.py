"""Tables of a study of hypotheses. Effects are in the outcome's own units: shares of 1, stars, clicks."""

from __future__ import annotations

import polars as pl

from saywell.store.table import Table

OUTCOMES = Table("outcomes", {"outcome": pl.String, "kind": pl.String, "unit": pl.String}, key=("outcome",))
"""What is to be explained. `kind`: binary, ordinal, count or real; `unit`: what a difference of 1 is, empty
where it is a share."""
ITEMS = Table(
    "items",
    {
        "item": pl.String,
        "first": pl.String,
        "second": pl.String,
        "outcomes": pl.List(pl.Float64),
        "covariates": pl.List(pl.Float64),
        "cluster": pl.Int64,
        "rater": pl.String,
    },
    key=("item",),
)
"""Rows of the source, by their numbers: of each its text, or the two of a pair; each outcome, in the order of
OUTCOMES, null where it is not known; what is held equal, as numbers; what it has in common with others
(`cluster`, null where every item stands alone); and who said it."""
STATEMENTS = Table(
    "statements",
    {
        "unit": pl.String,
        "found_by": pl.String,
        "text": pl.String,
        "claim": pl.String,
        "outcome": pl.String,
        "z": pl.Float64,
        "share": pl.Float64,
        "chosen": pl.Boolean,
    },
    key=("unit",),
)
"""Statements that could be hypotheses. `found_by`: claims, latents, topics, llm. `claim`: what it says
in a form that is executed; empty where it is words alone. `outcome`, `z`: with what it goes most on
describe and select examples, and how clearly (a score statistic; its sign is the direction). `share`:
of these examples of which it holds. `chosen`: put to the test."""
HYPOTHESES = Table(
    "hypotheses",
    {
        "hypothesis": pl.String,
        "unit": pl.String,
        "description": pl.String,
        "text": pl.String,
        "claim": pl.String,
        "found_by": pl.String,
        "reader": pl.String,
        "outcome": pl.String,
        "unit_of_effect": pl.String,
        "direction": pl.Int8,
        "n": pl.Int64,
        "holds": pl.Int64,
        "share": pl.Float64,
        "mean_with": pl.Float64,
        "mean_without": pl.Float64,
        "effect": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "effect_alone": pl.Float64,
        "ci_low_alone": pl.Float64,
        "ci_high_alone": pl.Float64,
        "covariates": pl.List(pl.String),
        "at_length": pl.Float64,
        "ci_low_at_length": pl.Float64,
        "ci_high_at_length": pl.Float64,
        "z": pl.Float64,
        "p": pl.Float64,
        "by_permutation": pl.Boolean,
        "q": pl.Float64,
        "p_bonferroni": pl.Float64,
        "status": pl.String,
        "order": pl.Int32,
        "repeats": pl.String,
        "pairs": pl.Boolean,
    },
    key=("hypothesis",),
)
"""Statements put to the test on score examples, and what came of it, best first.

`hypothesis`: its number as a word, "h1". `reader`: who read the score examples, from the words alone.
`outcome`: what it is said to go with, `direction` 1: up, -1: down, as found on describe and select
examples. `n`: score items that were read, `holds`: of which it holds; of pairs those in which it holds
of one text alone. `mean_with`, `mean_without`: of the outcome where it holds and where not; of pairs
the share of those in which it holds of one text alone that have that text favoured, and 0.5. `effect`:
the difference that it makes with covariates held equal, with a 95 % interval; `_alone`: without them.
`covariates`: what is held equal, by the names that were asked for. `_at_length`: the effect with the
number of words held equal as well; null where the statement hardly varies among texts of one length.
z, p: of the test (two-sided), q after Benjamini and Hochberg over all that were tested, p_bonferroni
after Bonferroni. `status`: "verified" where q is at most 0.05 and the direction is the one found, "the
other way" where q is and it is not, "not shown", "too few" where nothing could be said whatever the
truth, or "not told apart" where it hardly varies among items of equal covariates and was not tested.
`order`: by what each adds to those before on describe and select examples, from 1. `repeats`:
the hypothesis before it that it says again; it is not counted.
`pairs`: whether its items are pairs of texts of which one is favoured, or texts."""
SHUFFLED = Table(
    "shuffled_targets",
    {"shuffle": pl.Int32, "tested": pl.Int64, "verified": pl.Int64, "bonferroni": pl.Int64},
    key=("shuffle",),
)
"""The whole search once more with outcomes dealt out anew: how many hypotheses were put to the test,
and how many were verified, with nothing to find."""
JOINT = Table(
    "joint",
    {
        "outcome": pl.String,
        "model": pl.String,
        "measure": pl.String,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "n": pl.Int64,
        "features": pl.Int64,
    },
    key=("outcome", "model"),
)
"""How well score examples are told by a linear model fitted on describe and select examples. `model`:
verified (readings of verified hypotheses), tested (of all put to the test), probe (vectors of the
texts), length, covariates. `measure`: AUC, or R2."""
MEASURABLE = Table(
    "measurable",
    {
        "unit": pl.String,
        "found_by": pl.String,
        "text": pl.String,
        "claim": pl.String,
        "differs": pl.Float64,
        "first": pl.Float64,
        "expressed": pl.Float64,
        "z": pl.Float64,
    },
    key=("unit",),
)
"""What varies between the two texts of a pair, whatever is favoured. `differs`: share of pairs in which
it holds of one text alone; `first`: share of these in which that is the first; `expressed`: share in
which it is favoured; z: of that. Most varying first; describe and select pairs."""
RATERS = Table(
    "raters",
    {
        "rater": pl.String,
        "hypothesis": pl.String,
        "n": pl.Int64,
        "weight": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "of_all": pl.Float64,
    },
    key=("rater", "hypothesis"),
)
"""What each rater favours: log odds for a text of which the hypothesis holds, drawn towards that of all
raters (`of_all`) the more, the fewer items (`n`) the rater said. Fitted on describe and select items."""
BY_RATER = Table(
    "by_rater",
    {
        "outcome": pl.String,
        "model": pl.String,
        "loss": pl.Float64,
        "gain": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "measure": pl.String,
        "value": pl.Float64,
        "n": pl.Int64,
    },
    key=("outcome", "model"),
)
"""How well score items are told by weights fitted on describe and select items. `model`: all (one set of
weights), level (besides, how high each rater goes, or leans to the first of a pair), weights (besides, what
each rater favours, drawn towards all: RATERS), alone (each rater's own items say all). `loss`: log loss in
nats, or mean squared error of an outcome that is not binary; `gain`: how much lower than that of all, with
a 95 % interval over items. `measure`: AUC, or R2."""
ARGUED = Table(
    "argued",
    {
        "item": pl.String,
        "first": pl.String,
        "second": pl.String,
        "hypotheses": pl.List(pl.String),
        "said": pl.Float64,
        "predicted": pl.Float64,
        "odds": pl.Float64,
    },
    key=("item",),
)
"""Pairs whose favourite verified hypotheses argue against, for a second look; the most doubtful first.
`item`: the pair; `first`, `second`: ids of its texts; `said`: 1 where the first was favoured;
`predicted`: chance of that by the joint model fitted on the other pairs; `odds`: against what was said.
`hypotheses`: those that argue."""
READINGS = Table(
    "readings",
    {"unit": pl.String, "reader": pl.String, "example": pl.String, "holds": pl.Boolean},
    key=("unit", "example"),
)
"""What a reader that was asked for says of score texts, of the clearest statements; null: no answer. This
stands in the place of what was read for the search."""
EVIDENCE = Table(
    "evidence",
    {
        "hypothesis": pl.String,
        "side": pl.String,
        "rank": pl.Int32,
        "item": pl.String,
        "example": pl.String,
        "other": pl.String,
        "value": pl.Float64,
        "span_start": pl.Int32,
        "span_end": pl.Int32,
    },
    key=("hypothesis", "side", "rank"),
)
"""Score texts of which a hypothesis holds, drawn by chance: some that go the way it says (`side` for), some
that go the other way (against). `item`: the row of the source; `example`: the text of which it holds, `other`
the other one of a pair; `value`: the outcome, of pairs 1 where `example` is favoured. The span is what it
points at, in characters of `example`."""
POWER = Table(
    "power",
    {
        "outcome": pl.String,
        "unit_of_effect": pl.String,
        "n": pl.Int64,
        "tests": pl.Int64,
        "share": pl.Float64,
        "detectable": pl.Float64,
        "effect": pl.Float64,
        "needed": pl.Int64,
    },
    key=("outcome", "share"),
)
"""What could have been found. Of a statement that holds of `share` of the `n` score items, `detectable` is
the smallest effect that is significant in 4 of 5 studies, at 0.05 over the number of tests (null where no
effect can be as large); `needed`: score
items that it would take for the smaller `effect`."""
