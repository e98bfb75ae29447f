"""What influence adds to the choice of texts when some training images carry the wrong class.

    python benchmarks/classes_noise.py [--images 60] [--draws 10]

The planted world, with the class of a share of the training images drawn anew at random; validation
images keep theirs, or suffer the same. Prints the AUROC of good texts inside classes of each rule, mean
over draws of the noise, and the differences to `clip-standardised`, which is `ift-proponent` with
every image weighing the same, with 95 % intervals over classes and draws.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from saywell.data.images import load_images
from saywell.data.parts import DESCRIBE, SELECT
from saywell.data.planted import encoder_folder
from saywell.data.planted.world import write_pictures
from saywell.encoders.dual import open_dual_encoder
from saywell.influence.tracin import Labelled
from saywell.scorers.intervals import LEVEL, RESAMPLES
from saywell.selection.text_influence import Measured, clip_only, score_texts, standardised
from saywell.studies.classes.figures import auroc_within
from saywell.studies.planted import planted_gold

SHARES = (0.0, 0.1, 0.2, 0.4, 0.6)
RULES = ("clip-only", "clip-standardised", "ift-proponent", "text-influence-all", "stepwise")
AGAINST, BASE = ("ift-proponent", "text-influence-all"), "clip-standardised"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60, help="pictures a class")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    encoder = open_dual_encoder(str(encoder_folder()))
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder) / "images", options.images, 0)
        shown = load_images(Path(folder) / "images")
        ids = shown.table["id"].to_list()
        place = {id: row for row, id in enumerate(ids)}
        vectors = np.zeros((len(ids), encoder.dim), dtype=np.float32)
        for id, picture in shown.pictures():
            vectors[place[id]] = encoder.encode_images([picture])[0]
    names = list(shown.classes)
    labels = np.array([names.index(name) for name in shown.table["label"]])
    train, beside = (np.flatnonzero((shown.table["part"] == part).to_numpy()) for part in (DESCRIBE, SELECT))
    gold = planted_gold().filter(pl.col("class").is_in(names))
    texts = encoder.encode_texts(gold["text"].to_list())
    text_class = np.array([names.index(name) for name in gold["class"]])
    good = gold["good"].to_numpy()

    head = " | ".join(RULES)
    more = " | ".join(f"{rule} - {BASE}" for rule in AGAINST)
    print(f"| wrong classes | validation | {head} | {more} |")
    print(f"|---|---|{'---|' * (len(RULES) + len(AGAINST))}")
    for share in SHARES:
        for noisy in (False, True) if share else (False,):
            drawn = [
                counted(
                    vectors,
                    wrong(labels, train, beside, share, noisy, draw),
                    train,
                    beside,
                    texts,
                    text_class,
                    good,
                    len(names),
                )
                for draw in range(options.draws if share else 1)
            ]
            cells = [f"{auroc([own[rule] for own in drawn]):.3f}" for rule in RULES]
            for rule in AGAINST:
                value, low, high = gained(drawn, rule, BASE)
                cells.append(f"{value:+.3f} ({low:+.3f} to {high:+.3f})")
            kept = "noisy, too" if noisy else "clean"
            print(f"| {share:.0%} | {kept} | {' | '.join(cells)} |", flush=True)


def wrong(
    labels: np.ndarray, train: np.ndarray, beside: np.ndarray, share: float, noisy: bool, draw: int
) -> np.ndarray:
    """The labels with a share of those of the training images drawn from all classes."""
    random, result = np.random.default_rng(draw), labels.copy()
    for rows in (train, beside) if noisy else (train,):
        hit = rows[random.random(len(rows)) < share]
        result[hit] = random.integers(0, labels.max() + 1, len(hit))
    return result


Counts = dict[str, tuple[np.ndarray, np.ndarray]]


def counted(
    vectors: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    beside: np.ndarray,
    texts: np.ndarray,
    text_class: np.ndarray,
    good: np.ndarray,
    classes: int,
) -> Counts:
    """Pairs in order and pairs there are, of each class, for each rule."""
    seen, check = (Labelled(vectors[rows], labels[rows]) for rows in (train, beside))
    scores = score_texts([Measured(seen, check, classes=classes)], texts, text_class)
    z = standardised(vectors[train] @ texts.T, labels[train])
    scores[BASE] = clip_only(z, labels[train], text_class)
    return {rule: auroc_within(scores[rule], good, text_class, classes) for rule in RULES}


def auroc(counts: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([won.sum() / pairs.sum() for won, pairs in counts]))


def gained(drawn: list[Counts], rule: str, base: str) -> tuple[float, float, float]:
    """The mean difference, and its interval over resampled classes and draws of the noise."""
    won = np.stack([own[rule][0] - own[base][0] for own in drawn])
    pairs = drawn[0][rule][1]
    random, many = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        draws = random.integers(0, len(won), len(won))
        own = random.integers(0, len(pairs), len(pairs))
        many.append(won[np.ix_(draws, own)].sum() / (pairs[own].sum() * len(draws)))
    low, high = np.quantile(many, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(won.sum() / (pairs.sum() * len(won))), float(low), float(high)


if __name__ == "__main__":
    main()
