"""What a reader of a study of classes has to know beside its figures."""

from __future__ import annotations

import polars as pl

from saywell.data.examples import Examples
from saywell.data.images import class_counts
from saywell.data.parts import PARTS, SELECT
from saywell.describers.class_texts.class_describer import USABLE
from saywell.store.study import StudyWriter
from saywell.studies.class_rows import Pool, chosen_by, name_free
from saywell.studies.class_subject import Space


def write_notes(study: StudyWriter, shown: Examples, space: Space, pool: Pool, rule: str) -> None:
    """Refused images, classes without images or texts, and rows that cannot say much."""
    for note in shown.notes:
        study.note(note)
    if shown.rejected.height:
        counts = shown.rejected["reason"].value_counts(sort=True).sort("count", "reason")
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.iter_rows())
        study.note(f"{shown.rejected.height} of {shown.total_rows} images were not used: {listed}.")
    if shown.converted.height:
        study.note(f"{shown.converted['row'].n_unique()} images were used after a conversion.")
    for part in PARTS:
        without = class_counts(shown).filter(pl.col(part) == 0)["name"].to_list()
        if without:
            study.note(
                f"{len(without)} of {len(space.names)} classes have no image to {part} with, such as"
                f" {without[0]!r}."
            )
    usable = study.table("class_texts").filter(pl.col("status").is_in(USABLE))
    without = [name for name in space.names if name not in set(usable["class"])]
    if without:
        study.note(f"{len(without)} classes have no usable text, such as {without[0]!r}.")
    chosen = study.table("text_scores").filter(pl.col("chosen"), rule=rule, network=False)
    missing = [n for n in space.names if n not in set(chosen["class"]) and n not in without]
    if missing:
        study.note(
            f"{len(missing)} classes have texts, but none that {rule} can score (such as"
            f" {missing[0]!r}): texts alone never choose them."
        )
    for kind, number in pool.lost.items():
        study.note(f"{number} texts of the row {kind.said!r} cannot be read by the encoder, and are out.")
    few = chosen.group_by("class").len()["len"]
    offered = usable.group_by("class").len()["len"]
    if len(few) and len(offered) and few.median() == offered.median():
        study.note("Half of the classes or more have no more texts than are chosen: rules differ little.")
    zero_shot = study.table("zero_shot")
    for texts in (chosen_by(rule), name_free(chosen_by(rule))):
        found = zero_shot.filter(**texts._asdict())
        if found.is_empty():
            continue
        row = found.row(0, named=True)
        over, low, high = (row[f"over_random{end}"] for end in ("", "_low", "_high"))
        if over is not None and low <= 0:
            study.note(
                f"The texts of {texts.said!r} classify test images at {row['accuracy']:.3f}, and"
                f" random words that the same rule chose at {row['accuracy'] - over:.3f} (difference"
                f" {over:+.3f}, {low:+.3f} to {high:+.3f}): this accuracy does not show that the"
                " texts are true."
            )
    if study.manifest.config["shots"] and SELECT in shown.table["part"]:
        size = len(space.rows[SELECT])
        study.note(
            f"Low-shot rows with selection '{SELECT}' use {size} labelled images beside the shots;"
            " those with selection 'shots' use none."
        )
