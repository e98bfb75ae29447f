"""Where the reasoning in a reply ends, told by the shape of its marks and never by their names.

What a model thinks before it answers stands in <think> ... </think>, in [THINK] ... [/THINK], before
a lone </think>, in messages such as <|channel|>analysis<|message|> ..., and next year in something
else. All of these are marks: a name in brackets. A section ends at the mark of its name with a slash,
at a mark that differs in one part of its name (<|begin_of_thought|>, <|end_of_thought|>), or where
the next message begins. The answer stands after the last of them. Where that cannot be told there is
no answer: asking again costs a call; a draft taken for the answer is a wrong number nobody notices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_MARK = re.compile(
    r"(?P<left>[<\[({«‹◁⟨⟪【「『〈《〔［｛＜❮❬⟦]{1,2})[|｜]?(?P<slash>[/\\]?)[|｜]?"
    r"(?P<name>[^\W\d][\w:.▁-]{0,60}(?:\ [\w:.-]{1,30}){0,4})"
    r"(?:\s{1,9}[\w:-]{1,40}\s?=\s?(?:\"[^\"<>]{0,200}\"|'[^'<>]{0,200}'|[^\s\"'<>]{1,200})){0,9}"
    r"\s?(?P<right>[|｜]?[>\])}»›▷⟩⟫】」』〉》〕］｝＞❯❭⟧]{1,2})(?!\()"
)
# Brackets that prose has other uses for: they open a section only where a slash closes it.
_OF_PROSE = frozenset("({«‹【「『〈《〔［｛⟪")
_PARTS = re.compile(r"[_▁:.\s-]+|(?<=[^\W\d])(?=\d)")
_MOST_MARKS = 1000


class Mark(NamedTuple):
    """A mark and its place, end exclusive."""

    start: int
    end: int
    name: str
    closes: bool
    opens: bool
    """Whether it opens a section even where nothing closes it."""
    message: bool
    """Whether it has the shape <|name|>, by which chat formats divide messages."""


class Final(NamedTuple):
    """The part of a reply in which its answer may stand, or the problem: why there is none.

    `alone`: only an answer with nothing beside it counts, because a mark closes this part.
    `outside`: what stands before this place is in no section either; an answer there was meant too.
    """

    start: int
    end: int
    alone: bool = False
    problem: str | None = None
    outside: int = 0


def after_reasoning(text: str, skip: Sequence[tuple[int, int]] = ()) -> Final:
    """The part of `text` after all reasoning. Marks inside the spans `skip`, in order, are none."""
    marks = _marks(text, skip)
    if len(marks) > _MOST_MARKS:
        return Final(0, 0, problem=f"it holds more than {_MOST_MARKS} marks of sections")
    last = _before_last_words(text, marks)
    begins = marks[last - 1].end if last else 0
    ends = marks[last].start if last < len(marks) else len(text)
    known_to_close = {mark.name: mark.start for mark in marks if mark.closes}
    start, shut, outside = 0, False, len(text)
    unclosed: list[Mark] = []
    sections: list[str] = []
    for place, mark in enumerate(marks):
        partner = _partner(mark, unclosed)
        if partner is None and not mark.closes:
            if place < last and (mark.opens or known_to_close.get(mark.name, -1) > mark.start):
                unclosed.append(mark)
            continue
        if place >= last and mark.name in sections:
            return Final(0, 0, problem=f"it ends within one of several sections {mark.name!r}")
        if partner is not None:
            if (
                place >= last and unclosed[partner + 1 :]
            ):  # a stray mark inside does not begin what is closed here
                begins = min(begins, unclosed[partner].end)
            outside = min(outside, unclosed[partner].start)
            del unclosed[partner:]
        elif not (unclosed and not text[: unclosed[0].start].strip()):
            # It closes what was opened before the reply, and with it all that this holds.
            begins = min(begins, start) if place >= last and unclosed else begins
            unclosed = []
            outside = outside if place >= last else 0
        sections.append(mark.name)
        start, shut = (start, True) if place >= last else (mark.end, False)
    if unclosed:
        if not _begins_another_message(text, unclosed):
            opened = text[unclosed[-1].start : unclosed[-1].end]
            return Final(0, 0, problem=f"it ends within a section {opened!r} that is not closed")
        start, shut = max(start, unclosed[-1].end), shut or start < unclosed[-1].end
        begins, outside = max(begins, start), min(outside, unclosed[0].start)
    return Final(begins if shut else start, ends, shut, outside=min(outside, start))


def final_text(text: str) -> str:
    """A reply in free words without its reasoning; empty when it holds nothing else.

    Such a text may have marks of its own. Only a section that it begins with, what stands before a
    closing mark that nothing opened, and all messages but the last are reasoning.
    """
    marks = _marks(text, ())[:_MOST_MARKS]
    start = 0
    unclosed: list[Mark] = []
    for mark in marks:
        partner = _partner(mark, unclosed)
        if partner is not None:
            start = start if text[start : unclosed[partner].start].strip() else mark.end
            del unclosed[partner:]
        elif mark.closes:
            start, unclosed = mark.end, []
        else:
            unclosed.append(mark)
    left = [mark for mark in unclosed if mark.start >= start]
    messages = [mark for mark in left if mark.message]
    last = _before_last_words(text, messages)
    if last:
        if not _begins_another_message(text, messages[:last]):
            return ""
        start = messages[last - 1].end
    elif left and left[0].opens and not text[start : left[0].start].strip():
        return ""
    return text[start : messages[last].start if last < len(messages) else len(text)].strip()


def _marks(text: str, skip: Sequence[tuple[int, int]]) -> list[Mark]:
    spans = iter([*skip, (len(text), len(text) + 1)])
    low, high = next(spans)
    found: list[Mark] = []
    position = 0
    while (match := _MARK.search(text, position)) and len(found) < 20 * _MOST_MARKS:
        while high <= match.start():
            low, high = next(spans)
        if low < match.end():
            position = high if low <= match.start() else match.start() + 1
            continue
        position = match.start() + 1
        bracket, name = match["left"][0], match["name"]
        angle = bracket != "[" and bracket not in _OF_PROSE
        closes = bool(match["slash"])
        line = text[max(0, match.start() - 80) : match.start()].rpartition("\n")[2]
        if angle and " " in name:
            continue  # as in "a <b and c> d"
        first = not line.strip() or bool(found and found[-1].end == match.start())
        opens = not closes and (angle or (bracket == "[" and first))
        message = opens and angle and match["right"][0] in "|｜"
        found.append(Mark(*match.span(), name.casefold(), closes, opens, message))
        position = match.end()
    closed = {mark.name for mark in found if mark.closes}
    return [mark for mark in found if mark.closes or mark.opens or mark.name in closed]


def _before_last_words(text: str, marks: Sequence[Mark]) -> int:
    """How many marks stand before the last words of the text."""
    count, end = len(marks), len(text)
    while count and not text[marks[count - 1].end : end].strip():
        count -= 1
        end = marks[count].start
    return count


def _partner(mark: Mark, unclosed: Sequence[Mark]) -> int | None:
    """The place of the innermost open mark that `mark` closes; one of its very name goes first."""
    innermost = range(len(unclosed) - 1, -1, -1)
    if not mark.closes:
        return next((p for p in innermost if _differ_in_one_part(unclosed[p].name, mark.name)), None)
    same = next((p for p in innermost if unclosed[p].name == mark.name), None)
    if same is not None:
        return same
    return next((p for p in innermost if _is_short_for(unclosed[p].name, mark.name)), None)


def _is_short_for(first: str, second: str) -> bool:
    """Whether one name begins with the other, as in <thinking> ... </think>."""
    short, long = sorted((first, second), key=len)
    return len(short) >= 4 and long.startswith(short)


def _differ_in_one_part(first: str, second: str) -> bool:
    ours, theirs = _PARTS.split(first), _PARTS.split(second)
    if len(ours) != len(theirs) or len(ours) < 2:
        return False
    return sum(a != b for a, b in zip(ours, theirs, strict=True)) == 1


def _begins_another_message(text: str, marks: Sequence[Mark]) -> bool:
    """Whether the last open mark begins a message after another, under a label of its own.

    As in <|channel|>analysis<|message|> ... <|end|><|start|>assistant<|channel|>final<|message|>.
    """
    if not marks or not marks[-1].message:
        return False
    labels = [
        text[before.end : mark.start].strip()
        for before, mark in pairwise(marks)
        if mark.name == marks[-1].name
    ]
    return len(labels) > 1 and labels[-1] not in labels[:-1]
