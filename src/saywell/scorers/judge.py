"""A language model as a judge of descriptions: blind, in random order, and asked twice.

After section A.8 of arXiv 2511.07897: two images of a class, several descriptions of several
sources, which is best and in which order for being helpful, informative and relevant. The judge
does not learn who wrote what. The same question is put again, and once with the order turned
around: a judge that does not agree with itself has no say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from pydantic import BaseModel

from saywell.language_models import DryRun, LanguageModel, Prompt, Request
from saywell.language_models.dry_run import made_up
from saywell.language_models.requests import Image, Message, need_open
from saywell.scorers.intervals import Interval, share_interval
from saywell.store.table import Table

if TYPE_CHECKING:
    from PIL import Image as PillowImage

JUDGEMENTS = Table(
    "judgements",
    {
        "class": pl.String,
        "repeat": pl.String,
        "criterion": pl.String,
        "order": pl.List(pl.String),
        "ranking": pl.List(pl.String),
        "status": pl.String,
        "detail": pl.String,
    },
    key=("class", "repeat", "criterion"),
)
"""What an LLM made of the descriptions of several sources, shown blind in the given order."""
JUDGE = "judge_descriptions"
CRITERIA = ("helpful", "informative", "relevant")
FIRST, AGAIN, TURNED = "first", "again", "turned around"
REPEATS = (FIRST, AGAIN, TURNED)
_SIDE = 224


class Ranking(BaseModel):
    """Numbers of the descriptions, best first, for each criterion."""

    helpful: list[int]
    informative: list[int]
    relevant: list[int]


def judge_descriptions(
    sources: Mapping[str, Mapping[str, Sequence[str]]],
    pictures: Callable[[str], Sequence[PillowImage.Image]],
    model: LanguageModel,
    prompt: Prompt,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Table `judgements`: class -> source -> descriptions, judged three times a class.

    Columns: class, repeat ('first', 'again', 'turned around'), criterion, order (sources as they
    were shown), ranking (sources, best first; null where there is no answer), status, detail.
    Sources with the same texts are shown once, under the first one's name; classes with fewer than
    two different sources are left out. `pictures` gives a class's.
    """
    need_open(model)
    asked: list[tuple[str, str, list[str]]] = []
    requests = []
    random = np.random.default_rng(seed)
    for name, by_source in sources.items():
        different: dict[tuple[str, ...], str] = {}
        for source, texts in by_source.items():
            if texts:
                different.setdefault(tuple(texts), source)
        shown = list(different.values())
        if len(shown) < 2:
            continue
        order = [shown[i] for i in random.permutation(len(shown))]
        images = [Image(_jpeg(picture)) for picture in pictures(name)]
        for repeat in REPEATS:
            placed = order[::-1] if repeat == TURNED else order
            listing = [
                (number, "\n".join(f"- {text}" for text in by_source[source]))
                for number, source in enumerate(placed, 1)
            ]
            *before, question = prompt.render(name=name, listing=listing, criteria=CRITERIA)
            message = Message("user", (question.text, *images))
            # Another seed is another question to the cache, and to a judge that is not sure.
            number = seed + (repeat == AGAIN)
            requests.append(Request("judge", (*before, message), Ranking, prompt.hash, 0.0, 300, number))
            asked.append((name, repeat, placed))
    rows = []
    replies = model.complete(requests, progress=progress)
    for (name, repeat, placed), reply in zip(asked, replies, strict=True):
        for criterion in CRITERIA:
            numbers = getattr(reply.parsed, criterion) if reply.parsed is not None else []
            status, detail, ranking = reply.status, reply.error or "", None
            if reply.parsed is not None and sorted(numbers) == list(range(1, len(placed) + 1)):
                ranking = [placed[number - 1] for number in numbers]
            elif reply.parsed is not None:
                status, detail = "unparsed", f"{numbers[:20]} is no order of {len(placed)} numbers"
            rows.append((name, repeat, criterion, placed, ranking, status, detail))
    return JUDGEMENTS.frame(rows)


def expect_judgements(
    llm: DryRun, classes: Sequence[str], sources: Sequence[str], prompt: Prompt, *, seed: int = 0
) -> None:
    """Count what judging takes before there are texts, with made-up ones and two pictures a class."""
    from PIL import Image as pillow

    numbers = {source: 3 * place for place, source in enumerate(dict.fromkeys(sources))}
    texts = {source: [made_up(first + n) for n in range(3)] for source, first in numbers.items()}
    blank = [pillow.new("RGB", (_SIDE, _SIDE))] * 2
    with llm.guessing():
        judge_descriptions(dict.fromkeys(classes, texts), lambda name: blank, llm, prompt, seed=seed)


def share_best(judgements: pl.DataFrame, source: str, criterion: str) -> Interval:
    """How often a source is ranked first; the mean over a class's repeats, interval over classes."""
    answered = judgements.filter(criterion=criterion).drop_nulls("ranking")
    by_class = (
        answered.filter(pl.col("order").list.contains(source))
        .group_by("class", maintain_order=True)
        .agg(best=(pl.col("ranking").list.first() == source).mean())
    )
    return share_interval(by_class["best"].to_numpy())


def self_agreement(judgements: pl.DataFrame, repeat: str) -> Interval:
    """How often the judge names the same best one in `repeat` as at first, interval over classes."""
    answered = judgements.drop_nulls("ranking").with_columns(best=pl.col("ranking").list.first())
    first = answered.filter(repeat=FIRST).select("class", "criterion", "best")
    again = answered.filter(repeat=repeat).select("class", "criterion", other="best")
    both = (
        first.join(again, on=["class", "criterion"], maintain_order="left")
        .group_by("class", maintain_order=True)
        .agg(same=(pl.col("best") == pl.col("other")).mean())
    )
    return share_interval(both["same"].to_numpy())


def _jpeg(picture: PillowImage.Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    kept = BytesIO()
    small.save(kept, "JPEG", quality=85)
    return kept.getvalue()
