"""Would a person believe it? Verified descriptions drawn by a seed, each beside its four strongest sentences.

    python benchmarks/believable.py STUDY [--count 30] [--seed 0]
    python benchmarks/believable.py STUDY --shuffled   # the same units, each text with another's response
    python benchmarks/believable.py STUDY --as-texts   # the same latents, claims searched on whole texts

Prints Markdown: how many descriptions are verified by whom, how far they point at what made their units
respond, and of the verified ones the share of which no marked word of the eight strongest sentences has
anything to do with the description (fulfils its claim, or shares a word with it). Where activations are
known at tokens, also how descriptions agree with the words on which units fire (table `token_scores`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.data.splits import hash_numbers
from saywell.data.words import content_words, grown_to_words
from saywell.describers.claims import Claims
from saywell.description import Description
from saywell.readers.claims import ClaimReader
from saywell.resources import Resources
from saywell.scorers.evaluate import HeldOut
from saywell.store.study import Study, deciding_rows
from saywell.studies.again import stored_run
from saywell.studies.described import described_units, description_table
from saywell.studies.spine import Run, control_scores, evaluated
from saywell.studies.spine import shuffled as shuffled_subject
from saywell.studies.token_scores import token_scores
from saywell.units.responses import Sparse, order_of
from saywell.units.token_activations import TokenActivations

STRONGEST, SHOWN = 8, 4


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("study", type=Path)
    asked.add_argument("--count", type=int, default=30)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--shuffled", action="store_true")
    asked.add_argument("--as-texts", action="store_true")
    given = asked.parse_args()
    study = Study(given.study)
    run = stored_run(study, [], {})
    if given.shuffled:
        shuffled(run, given.seed)
        return
    examples = run.examples
    if given.as_texts:
        descriptions, scores = as_texts(run)
        verified = verified_of(descriptions, scores)
        at_words(run, descriptions, verified)
        drawn(study, verified, given)
        return
    verified = verified_of(study.descriptions, study.scores)
    marked = strongest(study, verified["unit"].to_list())
    point = ClaimReader().pointing(examples, Resources())
    row = {id: number for number, id in enumerate(examples.ids)}
    fits = []
    for unit, text, claim in verified.select("unit", "text", "claim").iter_rows():
        description = Description(unit, text, claim=claim or "")
        hits = [
            fit(description, sentence, start, end, point(description, row[example]) or [])
            for example, sentence, start, end in marked[unit]
        ]
        fits.append(np.mean(hits) if hits else np.nan)
    fits = np.array(fits)
    tell(study, verified)
    print(
        f"Of {len(fits):,} verified, {np.mean(fits > 0):.1%} have a marked word that fits among the"
        f" {STRONGEST} strongest; on average {np.nanmean(fits):.0%} of the marked words fit.\n"
    )
    at_words(run, study.descriptions, verified)
    drawn(study, verified, given)


def drawn(study: Study, verified: pl.DataFrame, given: argparse.Namespace) -> None:
    """Some of the verified descriptions with their strongest sentences."""
    marked = strongest(study, verified["unit"].to_list())
    order = np.argsort(hash_numbers(verified["unit"].to_list(), given.seed, "drawn"), kind="stable")
    for place in order[: given.count].tolist():
        unit, text, value = verified.row(place)[:3]
        print(f"* **{text}** (`{unit}`, F1 {value:.2f})")
        for _, sentence, start, end in marked[unit][:SHOWN]:
            print(f"    * {around(sentence, start, end)}")


def as_texts(run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Claims about whole texts that point at the strongest tokens, as neurons have them, and their scores.

    Of activations at tokens nothing is seen but the strongest of each text.
    """
    activations, (claims, reader) = run.subject.activations, (Claims(topics=False), ClaimReader())
    rows = np.arange(len(run.examples))
    places = np.arange(activations.responses.width)
    responses = activations.responses
    assert isinstance(responses, TokenActivations)
    whole = Sparse.of(responses.columns(rows, places), order_of(run.examples.ids))
    subject = replace(run.subject, activations=replace(activations, responses=whole))
    question = replace(run.question, describers=[claims], readers=[reader], shared=frozenset())
    now = replace(run, question=question, subject=subject)
    evidence = subject.evidence(run.examples, run.resources.seed)
    said = subject.written(claims, run.examples, run.resources, run.study)
    described = described_units(claims.name, 0, said, evidence, None)
    held = HeldOut(subject.activations, run.examples, described.units, run.resources.seed, subject.exemplars)
    found = evaluated(now, described, [(reader, reader.open(run.examples, run.resources))], held)
    texts = description_table([claims], [said], described.ids, None)
    return texts, found.scores


def at_words(run: Run, descriptions: pl.DataFrame, verified: pl.DataFrame) -> None:
    """How descriptions agree with the words on which their units fire, on score examples."""
    table = token_scores(run, descriptions)
    if not table.height:
        return
    chosen = descriptions.filter("selected", pl.col("text") != "")["id"]
    print("| | n | precision | recall | F1 | activation | another | frequent | skill above 0 |")
    print("|---|---|---|---|---|---|---|---|---|")
    own = table.filter(pl.col("description").is_in(chosen.implode()))
    for name, some in (
        ("described", own),
        ("verified", own.filter(pl.col("unit").is_in(verified["unit"].implode()))),
    ):
        names = ("precision", "recall", "f1", "activation", "another", "frequent")
        means = [some[column].mean() or 0 for column in names]
        sure = (some["skill_low"] > 0).sum()
        print(f"| {name} | {some.height:,} | {' | '.join(f'{m:.3f}' for m in means)} | {sure:,} |")
    print()


def shuffled(run: Run, seed: int) -> None:
    """How many of 1,000 units are described, and verified, where every text has another's response."""
    control = shuffled_subject(run, 1000, seed)
    asked = replace(
        run.question, describers=[Claims(topics=False)], readers=[ClaimReader()], shared=frozenset()
    )
    found = control_scores(replace(run, question=asked), control)
    print(f"{len(control.activations.units):,} units with shuffled texts: {len(found)} described,")
    print(f"{(found['status'] == 'verified').sum()} verified.")


def verified_of(descriptions: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Unit, text, F1, claim and describer of the descriptions that stand for their units and are verified."""
    texts = descriptions.filter("selected").select("id", "text", "claim")
    scores = deciding_rows(scores).filter(status="verified")
    both = scores.join(texts, left_on="description", right_on="id")
    return both.select("unit", "text", "value", "claim", "describer").sort("unit")


def strongest(study: Study, units: list[str]) -> dict[str, list[tuple[str, str, int, int]]]:
    """By unit the strongest describe examples with a marked span: id, text, start, end."""
    shown = (
        study.exemplars.filter(pl.col("unit").is_in(units), part=DESCRIBE)
        .filter(pl.col("span_start").is_not_null())
        .join(study.examples.select("id", "text"), left_on="example", right_on="id")
        .sort("unit", "rank")
    )
    found: dict[str, list[tuple[str, str, int, int]]] = {unit: [] for unit in units}
    for unit, *rest in shown.select("unit", "example", "text", "span_start", "span_end").iter_rows():
        if len(found[unit]) < STRONGEST:
            found[unit].append(tuple(rest))
    return found


def fit(
    description: Description, sentence: str, start: int, end: int, pointed: list[tuple[int, int]]
) -> bool:
    """Whether a marked word is pointed at, or one of the description's own words."""
    first, last = grown_to_words(sentence, start, end)
    at = any(a < last and first < b for a, b in pointed)
    return at or bool(content_words(sentence[first:last]) & content_words(description.text))


def around(sentence: str, start: int, end: int, room: int = 45) -> str:
    """The marked span in bold with some letters on either side."""
    before, after = sentence[max(0, start - room) : start], sentence[end : end + room]
    return (
        f"{'…' * (start > room)}{before}**{sentence[start:end]}**{after}{'…' * (len(sentence) > end + room)}"
    )


def tell(study: Study, verified: pl.DataFrame) -> None:
    """Who verifies how many, and where descriptions point."""
    described = study.descriptions.filter(pl.col("text") != "")["unit"].n_unique()
    print(f"{described:,} of {study.units.height:,} units described, {verified.height:,} verified.\n")
    print("| describer | reader | described | verified by it alone | F1 | localised |")
    print("|---|---|---|---|---|---|")
    for (describer, reader), own in study.scores.group_by("describer", "reader", maintain_order=True):
        alone, f1, localised = own["verifies"].sum(), own["value"].mean() or 0, own["localised"].mean()
        where = "" if localised is None else f"{localised:.2f}"
        print(f"| {describer} | {reader} | {own.height:,} | {alone:,} | {f1:.2f} | {where} |")
    by = verified["describer"].value_counts(sort=True).iter_rows()
    print("\nOf the verified: " + ", ".join(f"{name} {count:,}" for name, count in by) + ".\n")


if __name__ == "__main__":
    main()
