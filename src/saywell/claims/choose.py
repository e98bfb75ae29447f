"""Which of the formulas found is kept, and is it more than chance: by examples the search has not seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

LEVEL, LEAST_GAIN = 0.05, 0.02
MOST_SWAPS, DRAWN = 4_000_000, 20_000
"""Pairs of counts that are added up; of more, so many are drawn."""


class Shown(NamedTuple):
    """What formulas say of the examples on which they were found, and which of these fire."""

    said: Bool[np.ndarray, "formulas shown"]
    fires: Bool[np.ndarray, " shown"]


def choose(
    said: Bool[np.ndarray, "formulas examples"],
    fires: Bool[np.ndarray, " examples"],
    sizes: Float[np.ndarray, " formulas"],
    shown: Shown | None = None,
    *,
    silent: float = 1.0,
    gain: float = LEAST_GAIN,
) -> int:
    """Which formula to keep: a short one unless a longer is clearly better on these examples.

    Of each number of atoms the best by F1, over these examples and those it was found on (`shown`; two that
    are alike in size were found by as many trials, and few examples tell little), less `gain` times
    what it has beyond that number (phrases of a topic are parts of an atom). The best of the smallest number
    stands until that of a larger one beats it, on these examples alone, by `gain` for each atom more
    and in a paired test (`paired_p`) at `LEVEL`. Of equals the first. Give examples whose response is known;
    where those that do not fire are a sample, F1 counts each for `silent` of them.
    """
    whole = np.floor(sizes)
    f1 = _f1(said, fires, silent)
    among = (
        f1
        if shown is None
        else _f1(np.hstack([said, shown.said]), np.concatenate([fires, shown.fires]), silent)
    )
    among = among - gain * (sizes - whole)
    kept = -1
    for size in np.unique(whole):
        of_size = np.flatnonzero(whole == size)
        best = int(of_size[among[of_size].argmax()])
        if kept < 0 or (
            f1[best] - f1[kept] >= gain * (size - whole[kept])
            and paired_p(said[kept], said[best], fires) <= LEVEL
        ):
            kept = best
    return kept


def _f1(
    said: Bool[np.ndarray, "formulas examples"], fires: Bool[np.ndarray, " examples"], silent: float = 1.0
) -> Float[np.ndarray, " formulas"]:
    hits, alarms = (said & fires).sum(1), (said & ~fires).sum(1)
    return 2 * hits / np.maximum(hits + silent * alarms + fires.sum(), 1)


def paired_p(
    one: Bool[np.ndarray, " examples"],
    other: Bool[np.ndarray, " examples"],
    fires: Bool[np.ndarray, " examples"],
) -> float:
    """One-sided p of `other` being the better, if both were equally good: exact, save on thousands.

    Better by `kappa`, since where many examples fire F1 rises with saying yes more often, whatever to. Yeh
    (2000), "More accurate tests for the statistical significance of result differences": under the null
    hypothesis the answers of the two on any example on which they differ could as well be swapped. All
    depends on how many of these that fire, and that do not, `other` holds of: two binomial counts.
    """
    both, differ = one & other, one != other
    firing, silent = int((differ & fires).sum()), int((differ & ~fires).sum())
    hits, said, fired = int((both & fires).sum()), int(both.sum()), int(fires.sum())

    def ahead(
        right: Int[np.ndarray, "*swaps"], wrong: Int[np.ndarray, "*swaps"]
    ) -> Float[np.ndarray, "*swaps"]:
        left_right, left_wrong = firing - right, silent - wrong
        return kappa(hits + right, said + right + wrong, fired, len(fires)) - kappa(
            hits + left_right, said + left_right + left_wrong, fired, len(fires)
        )

    if firing * silent > MOST_SWAPS:  # of so many the counts are drawn
        random = np.random.default_rng(0)
        right, wrong = (random.binomial(of, 0.5, DRAWN) for of in (firing, silent))
        weights = np.full(DRAWN, 1 / DRAWN)
    else:
        right, wrong = np.arange(firing + 1)[:, None], np.arange(silent + 1)[None, :]
        weights = stats.binom.pmf(right, firing, 0.5) * stats.binom.pmf(wrong, silent, 0.5)
    seen = ahead((other & differ & fires).sum(), (other & differ & ~fires).sum())
    return float(min(1.0, weights[ahead(right, wrong) >= seen - 1e-12].sum()))


def kappa(
    hits: Int[np.ndarray, "*some"], said: Int[np.ndarray, "*some"], fired: int, examples: int
) -> Float[np.ndarray, "*some"]:
    """Cohen's kappa (1960) of saying and firing: F1 less what chance gives, near F1 where few fire."""
    chance = said * fired
    return 2 * (hits * examples - chance) / np.maximum(examples * (said + fired) - 2 * chance, 1)


def gate(
    said: Bool[np.ndarray, "*formulas examples"], fires: Bool[np.ndarray, "*formulas examples"], *, tried: int
) -> Bool[np.ndarray, "*formulas"]:
    """Whether a formula has more hits than chance: Fisher's exact test, upper tail, at `LEVEL`.

    `tried` is how many formulas were compared on these examples (Bonferroni); what the search compared on
    others is no test on these. Give examples whose response is known.
    """
    hits, known = (said & fires).sum(-1), np.shape(said)[-1]
    return stats.hypergeom.sf(hits - 1, known, fires.sum(-1), said.sum(-1)) * tried <= LEVEL


def borne_out(
    said: Bool[np.ndarray, "formulas examples"], fires: Bool[np.ndarray, " examples"]
) -> Bool[np.ndarray, " formulas"]:
    """Which formulas pass the `gate`, all of them being tried.

    Where some of these have a higher F1 than saying yes to every example, those alone: no other can be
    verified.
    """
    through = gate(said, fires, tried=len(said))
    telling = through & (_f1(said, fires) > 2 * fires.sum() / (len(fires) + fires.sum()))
    return telling if telling.any() else through
