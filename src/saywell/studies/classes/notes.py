"""What a reader of a study of classes has to know beside its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from saywell.data.images import CLASSES, class_counts
from saywell.data.parts import PARTS, SELECT
from saywell.describers.class_texts.class_describer import CLASS_TEXTS, USABLE
from saywell.selection.of_texts import chosen_by, what_is_said
from saywell.selection.text_influence import TEXT_SCORES
from saywell.store.study import Metric, Study
from saywell.store.table import Table
from saywell.studies.classes.pool import Compared, name_free
from saywell.studies.spine import Run
from saywell.transfer.text_sets import ZERO_SHOT


@dataclass(frozen=True)
class ClassCounts:
    """Table `classes`."""

    tables: Sequence[Table] = (CLASSES,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(CLASSES, lambda: class_counts(run.examples))
        return []


@dataclass(frozen=True)
class Notes:
    """Classes without images or texts, rows that cannot say much, and what `more` there is to say."""

    compared: Compared
    more: Sequence[str] = ()
    tables: Sequence[Table] = ()

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        examples, rule = run.examples, self.compared.choice.rule
        if examples.converted.height:
            run.study.note(f"{examples.converted['row'].n_unique()} images were used after a conversion.")
        for kind, number in self.compared.space(run).pool.lost.items():
            run.study.note(
                f"{number} texts of the row {kind.said!r} cannot be read by the encoder, and are out."
            )
        for note in (*self.more, *_of_classes(run.study, rule), *_of_random_words(run.study, rule)):
            run.study.note(note)
        if run.study.manifest.config["shots"] and len(self.compared.images.select):
            run.study.note(
                f"Low-shot rows with selection '{SELECT}' use {len(self.compared.images.select)} labelled"
                " images beside the shots; those with selection 'shots' use none."
            )
        return []


def _of_classes(study: Study, rule: str) -> Iterator[str]:
    """What classes lack: images of a part, texts that can be used, texts that the rule can score."""
    classes = study.table(CLASSES)
    names = classes["name"].to_list()
    for part in PARTS:
        lacking = classes.filter(pl.col(part) == 0)["name"].to_list()
        if lacking:
            yield (
                f"{len(lacking)} of {len(names)} classes have no image to {part} with, such as"
                f" {lacking[0]!r}."
            )
    usable = study.table(CLASS_TEXTS).filter(pl.col("status").is_in(USABLE))
    said = usable.select(id="id", says=pl.Series(what_is_said(usable)))
    ranked = (
        study.table(TEXT_SCORES).filter(rule=rule, network=False).join(said, left_on="text", right_on="id")
    )
    best = ranked.filter(~pl.col("chosen"), pl.col("rank") <= study.manifest.config["per_class"])
    lost = best.join(ranked.filter("chosen"), on="says", how="semi").height
    if lost:
        most = study.manifest.config["per_class"]
        yield (
            f"{lost} texts that are among the {most} best of their class say the same as a better one, and"
            " are not chosen."
        )
    lacking = [name for name in names if name not in set(usable["class"])]
    if lacking:
        yield f"{len(lacking)} classes have no usable text, such as {lacking[0]!r}."
    chosen = study.table(TEXT_SCORES).filter(pl.col("chosen"), rule=rule, network=False)
    missing = [name for name in names if name not in set(chosen["class"]) and name not in lacking]
    if missing:
        yield (
            f"{len(missing)} classes have texts, but none that {rule} can score (such as"
            f" {missing[0]!r}): texts alone never choose them."
        )
    few, offered = (table.group_by("class").len()["len"] for table in (chosen, usable))
    if len(few) and len(offered) and few.median() == offered.median():
        yield "Half of the classes or more have no more texts than are chosen: rules differ little."


def _of_random_words(study: Study, rule: str) -> Iterator[str]:
    """Whether random words that the rule chose do as well as the texts."""
    for texts in (chosen_by(rule), name_free(chosen_by(rule))):
        for row in study.table(ZERO_SHOT).filter(**texts._asdict()).iter_rows(named=True):
            over, low, high = (row[f"over_random{end}"] for end in ("", "_low", "_high"))
            if over is not None and low <= 0:
                yield (
                    f"The texts of {texts.said!r} classify test images at {row['accuracy']:.3f}, and"
                    f" random words that the same rule chose at {row['accuracy'] - over:.3f} (difference"
                    f" {over:+.3f}, {low:+.3f} to {high:+.3f}): this accuracy does not show that the"
                    " texts are true."
                )
