"""Sentences about classes on the planted world: which say the same, which contradict each other, which hold.

Every sentence of the planted articles has a claim, such as `shape=star`, so what is right follows from claims
and from the pictures: two sentences say the same where their claims are equal, and contradict each other
where both claim something of one attribute and no value agrees; a sentence is good where it is true of its
class and of few others. `--near` prints the first two, which take seconds; without it classes are also
described, for several worlds.

    python benchmarks/class_sentences.py [--near] [--worlds 3]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from saywell.data.planted.articles import Sentence, article, sentences
from saywell.data.planted.world import CLASSES
from saywell.describers.class_texts.statements import contradiction, first_saying_it, statement
from saywell.encoders.checkpoints import PLANTED
from saywell.encoders.dual import open_dual_encoder
from saywell.encoders.sentence import open_sentence_encoder
from saywell.encoders.vectors import unit_length
from saywell.studies.planted import describe_planted_classes
from saywell.transfer.zero_shot import mask_names

NAMES = list(CLASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--worlds", type=int, default=3)
    asked = parser.parse_args()
    same()
    nearness()
    against()
    for world in () if asked.near else range(asked.worlds):
        verdicts(world)


def of_class(name: str) -> list[Sentence]:
    """Sentences that say something of a picture."""
    return [own for paragraph in article(name) for own in paragraph if own.claim]


def same() -> None:
    """What is dropped at each cosine, and whether it says the same."""
    encoder = open_dual_encoder(PLANTED)
    print("cosine from | dropped | rightly")
    for threshold in (0.8, 0.85, 0.9, 0.95, 0.98):
        right = total = 0
        for name in NAMES:
            own = of_class(name)
            texts = [sentence.text for sentence in own]
            found = first_saying_it(
                texts, unit_length(np.asarray(encoder.encode_texts(texts))), NAMES, at_least=threshold
            )
            dropped = [(own[place], own[first]) for place, first in enumerate(found) if place != first]
            total += len(dropped)
            right += sum(one.claim == other.claim for one, other in dropped)
        print(f"{threshold:.2f} | {total} | {right}")


def nearness() -> None:
    """How near a sentence encoder has two sentences of one claim, and two that say another colour."""
    encoder, cosines = open_sentence_encoder("minilm"), []
    for name in NAMES:
        own = of_class(name)
        vectors = np.asarray(encoder(mask_names([sentence.text for sentence in own], NAMES)))
        pairs = itertools.combinations(range(len(own)), 2)
        cosines += [float(vectors[a] @ vectors[b]) for a, b in pairs if own[a].claim == own[b].claim]
    orange, pink = np.asarray(encoder(["The skin is orange.", "The skin is pink."]))
    print(f"MiniLM: median cosine {np.median(cosines):.2f} of one claim; orange and pink {orange @ pink:.2f}")


def against() -> None:
    """Pairs of one class that are said to contradict each other, and those that do."""
    counted: Counter[tuple[bool, bool]] = Counter()
    for name in NAMES:
        for one, other in itertools.combinations(of_class(name), 2):
            first, second = one.claim or {}, other.claim or {}
            do = any(not first[key] & second[key] for key in first.keys() & second.keys())
            counted[
                contradiction(statement(one.text, NAMES), statement(other.text, NAMES)) is not None, do
            ] += 1
    said = counted[True, True] + counted[True, False]
    do = counted[True, True] + counted[False, True]
    print(f"at odds: {said} of {counted.total()} pairs, {counted[True, True]} rightly; {do} contradict")


def verdicts(world: int) -> None:
    """Verdicts on sentences by what is known of them."""
    known = {}
    for label, text, gold in sentences().select("label", "text", "gold").iter_rows():
        known.setdefault(label, []).append((text, gold))
    with tempfile.TemporaryDirectory() as folder:
        study = describe_planted_classes(
            Path(folder) / "study",
            world=Path(folder) / "world",
            world_seed=world,
            per_class_images=40,
            shots=(),
            seeds=1,
        )
        quoted = study.table("class_texts").select("id", "quotation")
        scores = study.table("sentence_scores").join(quoted, left_on="text", right_on="id")
        pairs = study.table("contradictions").height
        dropped = next((note.split()[0] for note in study.manifest.notes if "say the same" in note), 0)
        accuracy = next(m.value for m in study.headline() if m.figure == "zero-shot accuracy")
    kinds = [
        next(gold for text, gold in known[unit] if quotation.strip(" .") in text)
        for unit, quotation in scores.select("unit", "quotation").iter_rows()
    ]
    table = (
        scores.with_columns(kind=pl.Series(kinds))
        .filter("chosen")
        .group_by("kind")
        .agg(
            chosen=pl.len(),
            verified=(pl.col("status") == "verified").sum(),
            exchanged=(pl.col("exchanged") == "verified").sum(),
        )
        .sort("kind")
    )
    print(f"world {world}: {dropped} near duplicates, {pairs} pairs at odds, zero-shot {accuracy:.3f}")
    for row in table.iter_rows():
        print(" | ".join(map(str, row)))


if __name__ == "__main__":
    main()
