"""What a language model thinks of the descriptions, shown blind beside others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.describers.class_texts.class_describer import CLASS_TEXTS
from saywell.describers.class_texts.describer import as_unanswered
from saywell.progress import increments
from saywell.scorers.judge import JUDGE, JUDGEMENTS, judge_descriptions
from saywell.selection.of_texts import CLIP_ONLY
from saywell.selection.text_influence import TEXT_SCORES
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.classes.pool import Compared
from saywell.studies.spine import Run

JUDGED = (CLIP_ONLY, "random")
"""Rules whose texts the judge compares with those of the study's own."""
_SHOWN = 3


@dataclass(frozen=True)
class Judge:
    """Table `judgements`, of three texts of every source a class."""

    compared: Compared
    tables: Sequence[Table] = (JUDGEMENTS,)

    def add(self, run: Run) -> list[Metric]:
        """Figures follow in `figures.py`."""
        run.study.table(JUDGEMENTS, lambda: self._table(run))
        return []

    def _table(self, run: Run) -> pl.DataFrame:
        resources, examples = run.resources, run.examples
        sources, train = self._sources(run), examples.table.filter(part=DESCRIBE)
        with resources.progress("judge", 0) as advance:
            table = judge_descriptions(
                {name: sources.get(name, {}) for name in self.compared.images.names},
                lambda name: [
                    picture
                    for _, picture in examples.pictures(train.filter(label=name)["id"].head(2).to_list())
                ],
                resources.need_llm("the judge"),
                resources.prompt(JUDGE),
                seed=resources.seed,
                progress=increments(advance),
            )
        item = pl.concat_str("class", "repeat", "criterion", separator=": ")
        run.study.unanswered("judge", as_unanswered(table.filter(pl.col("status") != "ok"), "judge", item))
        return table

    def _sources(self, run: Run) -> dict[str, dict[str, list[str]]]:
        """By class and source the first texts."""
        names = self.compared.images.names
        texts = dict(run.study.table(CLASS_TEXTS).select("id", "text").iter_rows())
        ranked = run.study.table(TEXT_SCORES).drop_nulls("rank").filter(network=False).sort("rank")
        sources: dict[str, dict[str, list[str]]] = {}
        for source in dict.fromkeys((self.compared.choice.rule, *JUDGED)):
            first = ranked.filter(rule=source).group_by("class", maintain_order=True)
            for name, ids in first.agg(pl.col("text").head(_SHOWN)).iter_rows():
                sources.setdefault(name, {})[source] = [texts[id] for id in ids]
        for file, (lines, place) in self.compared.files.items():
            for line, number in zip(lines, place.tolist(), strict=True):
                own = sources.setdefault(names[int(number)], {}).setdefault(file, [])
                if len(own) < _SHOWN:
                    own.append(line)
        return sources
