"""Statements that a language model proposes, shown texts of both ends of an outcome.

Some texts of either end are shown and statements asked for that hold more often at one of them (D5: Zhong et
al. 2023, arXiv 2302.14233). They are read on other describe texts, ranked by how well they tell the outcome
there, and the best are shown with further texts for the next round (propose, rank, vary, as iPrompt: Singh et
al. 2022, arXiv 2210.01848). Nothing is seen of select and score texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import rankdata

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE
from saywell.data.splits import hash_numbers
from saywell.describers.llm import LONGEST, clean
from saywell.description import Description
from saywell.language_models import DryRun, Request
from saywell.language_models.dry_run import made_up
from saywell.language_models.requests import Reply
from saywell.language_models.structured import tighter
from saywell.progress import increments
from saywell.readers.asking import Unanswered
from saywell.readers.reader import AsksLLM, Reader
from saywell.scorers.outcomes import Outcome
from saywell.studies.hypotheses.items import Items

if TYPE_CHECKING:
    from saywell.resources import Resources

PROPOSE = "propose_statements"
ASKED = "propose"
"""The step under which questions without an answer are stored."""
SAMPLES, ROUNDS = 6, 3
"""Requests a round, and rounds: 18 requests an outcome."""
SHOWN = 12
"""Texts of either end in a request."""
STATEMENTS, MOST_WORDS = 6, 15
"""Statements in an answer, and words of each, at most."""
BEST = 6
"""Statements of earlier rounds that are shown."""
KEPT = 30
"""Statements of an outcome that are kept."""
MOST_READ, MOST_ASKED = 2000, 24
"""Items that statements are ranked on at most; where reading them costs."""


def propose(
    outcome: Outcome,
    items: Items,
    examples: Examples,
    resources: Resources,
    *,
    samples: int = SAMPLES,
    rounds: int = ROUNDS,
    reader: Reader | None = None,
) -> list[Description]:
    """Statements about one text, those first that tell the outcome best on describe items not shown for them.

    At most `KEPT`, from `samples` requests in each of so many `rounds`; none where the outcome does not vary.
    They make no claim and are of no unit yet; `sources` are the texts that were shown. What repeats an
    answer of the prompt's own examples is none. For the ranking `reader` reads them, or without one the
    sentence encoder, by the cosine. A request without an answer is among `resources.lost`. The order of rows
    changes nothing.

    Raises InputError without a language model.
    """
    asker = _Asker(outcome, items, examples, resources, samples, reader)
    llm = resources.need_llm("the source of candidates 'llm'")
    found: dict[str, tuple[float, Description]] = {}
    with resources.progress("proposals by the LLM", rounds * samples) as advance:
        for number in range(rounds if asker.varies else 0):
            requests = asker.requests(number, [own.text for own in _ranked(found)[:BEST]])
            replies = llm.complete(requests, progress=increments(advance))
            fresh: dict[str, Description] = {}
            for own in asker.read(number, requests, replies, llm.name):
                if own.text.casefold() not in found:
                    fresh.setdefault(own.text.casefold(), own)
            clear = asker.clearness(list(fresh.values()))
            found |= {key: (z, own) for (key, own), z in zip(fresh.items(), clear, strict=True)}
    return _ranked(found)[:KEPT]


def _ranked(found: dict[str, tuple[float, Description]]) -> list[Description]:
    """The clearest first; of equals the one that was proposed first."""
    return [own for _, own in sorted(found.values(), key=lambda each: -each[0])]


def expect(
    llm: DryRun,
    outcome: Outcome,
    items: Items,
    examples: Examples,
    resources: Resources,
    *,
    samples: int = SAMPLES,
    rounds: int = ROUNDS,
    reader: Reader | None = None,
) -> None:
    """Count what `propose` would ask: the first round as it is, the others with made-up statements."""
    asker = _Asker(outcome, items, examples, resources, samples, reader)
    if not asker.varies:
        return
    llm.complete(asker.requests(0, []))
    with llm.guessing():
        for number in range(1, rounds):
            llm.complete(asker.requests(number, [made_up(BEST * number + n) for n in range(BEST)]))
        if isinstance(reader, AsksLLM):
            said = [Description("", made_up(n)) for n in range(rounds * samples * STATEMENTS)]
            asker.clearness(said)


class Proposed(BaseModel):
    """What could hold more often of one group of texts than of another."""

    model_config = ConfigDict(extra="forbid")
    statements: list[str] = Field(
        json_schema_extra=tighter(maxItems=STATEMENTS, items={"type": "string", "maxLength": LONGEST})
    )


@dataclass(frozen=True)
class _Asker:
    """Which texts are shown and which statements are ranked on; describe items alone.

    Half of what items say may be shown, which one its content decides; on the others statements are ranked.
    """

    outcome: Outcome
    items: Items
    examples: Examples
    resources: Resources
    samples: int
    reader: Reader | None

    @cached_property
    def _halves(self) -> tuple[Int[np.ndarray, " shown"], Int[np.ndarray, " held"]]:
        known = self.items.of(DESCRIBE)
        known = known[self.outcome.known[known]]
        names, place = np.unique(self._names(known), return_inverse=True)
        turns = np.argsort(np.argsort(hash_numbers(names.tolist(), self.resources.seed, "proposals")))[place]
        known, turns = known[np.argsort(turns, kind="stable")], np.sort(turns)
        return known[turns % 2 == 0], known[turns % 2 == 1]

    @cached_property
    def _ends(self) -> tuple[Int[np.ndarray, " high"], Int[np.ndarray, " low"]]:
        shown, _ = self._halves
        high, low = quarters(self.outcome.values[shown])
        return shown[high], shown[low]

    @property
    def varies(self) -> bool:
        """Whether there are two ends to show."""
        return all(len(end) for end in self._ends)

    def requests(self, number: int, best: Sequence[str]) -> list[Request]:
        """The questions of a round."""
        prompt = self.resources.prompt(PROPOSE)
        texts = self.examples.texts
        return [
            Request(
                ASKED,
                prompt.render(
                    about=self.outcome.name,
                    first=[texts[row] for row in first],
                    second=[texts[row] for row in second],
                    paired=self.items.pairs,
                    best=list(best),
                    most=STATEMENTS,
                    most_words=MOST_WORDS,
                ),
                Proposed,
                prompt.hash,
                max_tokens=100 + 60 * STATEMENTS,
                seed=self.resources.seed,
            )
            for first, second in self._groups(number)
        ]

    def read(
        self, number: int, requests: Sequence[Request], replies: Sequence[Reply], llm: str
    ) -> list[Description]:
        """What was proposed in a round; requests without an answer are added to `resources.lost`."""
        said = []
        groups = self._groups(number)
        for place, (request, reply, rows) in enumerate(zip(requests, replies, groups, strict=True), 1):
            if not isinstance(reply.parsed, Proposed):
                item = f"{self.outcome.name}: round {number + 1}, sample {place}"
                reason = f"{reply.status}: {reply.error or 'no reason given'}"
                self.resources.lost.append(Unanswered(ASKED, item, reason, reply.key, reply.status))
                continue
            sources = tuple(self.examples.ids[row] for row in np.concatenate(rows))
            said += [
                Description(
                    "", text, parts=(text,), sources=sources, llm=llm, prompt_hash=request.prompt_hash
                )
                for text in map(_worded, reply.parsed.statements[:STATEMENTS])
                if any(map(str.isalnum, text)) and not _in_examples(text, request)
            ]
        return said

    def clearness(self, said: Sequence[Description]) -> Float[np.ndarray, " statements"]:
        """How clearly each statement tells the outcome of items that are not shown, in whichever direction.

        z of the rank correlation of what is read with the outcome; 0 where nothing varies.
        """
        reader = self.reader
        held = self._halves[1][: MOST_READ if reader is None or not reader.costly else MOST_ASKED]
        if not said or not len(held):
            return np.zeros(len(said))
        rows = np.concatenate([self.items.first[held], *self._seconds(held)])
        if reader is None:
            texts = [own.text for own in said]
            vectors = self.resources.vectors(self.examples)[rows]
            numbers = self.resources.encode(self.examples, texts) @ vectors.T
        else:
            numbers = reader.open(self.examples, self.resources)(said, rows)
        if self.items.pairs:
            numbers = numbers[:, : len(held)] - numbers[:, len(held) :]
        return np.array([rank_z(own, self.outcome.values[held]) for own in numbers])

    def _seconds(self, some: Int[np.ndarray, " some"]) -> list[Int[np.ndarray, " some"]]:
        return [] if self.items.second is None else [self.items.second[some]]

    def _groups(self, number: int) -> list[tuple[Int[np.ndarray, " some"], Int[np.ndarray, " others"]]]:
        """For each question of a round the rows of the texts in its two groups.

        Of pairs the favoured text is in one and the other in the other. In every other question the groups
        change places: a statement may speak against the outcome.
        """
        found = []
        for sample in range(self.samples):
            purpose = f"proposals {number} {sample}"
            high, low = (self._drawn(end, purpose) for end in self._ends)
            if self.items.second is None:
                one, two = self.items.first[high[:SHOWN]], self.items.first[low[:SHOWN]]
            else:
                high, low = high[: SHOWN // 2], low[: SHOWN // 2]
                one = np.concatenate([self.items.first[high], self.items.second[low]])
                two = np.concatenate([self.items.second[high], self.items.first[low]])
            found.append((two, one) if sample % 2 else (one, two))
        return found

    def _drawn(self, some: Int[np.ndarray, " some"], purpose: str) -> Int[np.ndarray, " different"]:
        """Those of different content, in an order that this and the seed decide."""
        names, first = np.unique(self._names(some), return_index=True)
        order = np.argsort(hash_numbers(names.tolist(), self.resources.seed, purpose), kind="stable")
        return some[first[order]]

    def _names(self, some: Int[np.ndarray, " some"]) -> list[str]:
        """What items say, as the ids of their texts."""
        ids = self.examples.ids
        each = zip(self.items.first[some], *self._seconds(some), strict=True)
        return [" ".join(ids[row] for row in rows) for rows in each]


def _worded(statement: str) -> str:
    """One line of what can be printed, in the form in which claims are said: "texts that ..."."""
    text = clean(statement)
    return text[:1].lower() + text[1:] if text.startswith("Texts ") else text


def _in_examples(text: str, request: Request) -> bool:
    """Whether it is an answer of the prompt's examples, which small models repeat: it is of other texts."""
    return any(text in message.text for message in request.messages if message.role == "assistant")


def quarters(
    values: Float[np.ndarray, " items"],
) -> tuple[Bool[np.ndarray, " items"], Bool[np.ndarray, " items"]]:
    """Which values are of the highest quarter and which of the lowest.

    Equal values are on one side. Where both borders are one value, whatever is above it is high and the
    others are low; where it is the highest, it is high. None is either where all are equal.
    """
    if len(np.unique(values)) < 2:
        return np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=bool)
    low, high = np.quantile(values, [0.25, 0.75], method="nearest")
    if low < high:
        return values >= high, values <= low
    return (values > low, values <= low) if low < values.max() else (values >= low, values < low)


def rank_z(read: Float[np.ndarray, " items"], values: Float[np.ndarray, " items"]) -> float:
    """Spearman's rank correlation of what was read with the outcome, without its sign, by sqrt(n - 1).

    0 where nothing varies; NaN in what was read is left out.
    """
    known = ~np.isnan(read)
    one, two = (rankdata(own[known]) - (known.sum() + 1) / 2 for own in (read, values))
    spread = np.sqrt((one @ one) * (two @ two))
    return float(abs(one @ two) / spread * np.sqrt(known.sum() - 1)) if spread > 0 else 0.0
