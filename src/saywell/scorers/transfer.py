"""How much texts gain in transfer: accuracies and paired differences, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval
from saywell.transfer.cross_modal import IMAGES_ONLY, Outcome


def mean_over_seeds_and_examples(
    values: Float[np.ndarray, "seeds examples"], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """The mean with a 95 % interval that resamples seeds and examples, each as a whole.

    Seeds of a low-shot run differ more than test examples do; an interval over examples alone
    would be too narrow. `n` counts examples.
    """
    seeds, examples = values.shape
    if seeds == 0 or examples == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    random = np.random.default_rng(seed)
    by_seed = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    by_example = (
        random.multinomial(examples, np.full(examples, 1 / examples), size=resamples) / examples
    )
    drawn = ((by_seed @ values.astype(float)) * by_example).sum(1)
    tails = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tails, 1 - tails])
    return Interval(float(values.mean()), float(low), float(high), examples)


def paired_difference(
    method: Bool[np.ndarray, "seeds examples"],
    control: Bool[np.ndarray, "seeds examples"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Accuracy of `method` minus that of `control` (above 0 is better), seed by seed and"
    " image by image."""
    difference = method.astype(float) - control.astype(float)
    return mean_over_seeds_and_examples(difference, seed=seed, resamples=resamples)


def transfer_table(
    outcomes: Mapping[str, Outcome], *, control: str = IMAGES_ONLY, seed: int = 0
) -> pl.DataFrame:
    """One row a method: accuracy and difference to `control`, with intervals, in the order given.

    Columns: method, accuracy, low, high, difference, difference_low, difference_high, chosen
    (mean over seeds of the learning rate or weight), seeds, n.
    """
    base = outcomes[control].correct
    rows = []
    for name, outcome in outcomes.items():
        level = mean_over_seeds_and_examples(outcome.correct, seed=seed)
        gain = paired_difference(outcome.correct, base, seed=seed)
        rows.append(
            {
                "method": name,
                "accuracy": level.value,
                "low": level.low,
                "high": level.high,
                "difference": gain.value,
                "difference_low": gain.low,
                "difference_high": gain.high,
                "chosen": float(outcome.chosen.mean()),
                "seeds": len(outcome.correct),
                "n": level.n,
            }
        )
    return pl.DataFrame(rows)
