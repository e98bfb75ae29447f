"""What a study hands to a language model and what it gets back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from saywell.errors import InputError

Role = Literal["system", "user", "assistant"]
Status = Literal["ok", "refused", "empty", "truncated", "overflow", "filtered", "unparsed", "failed"]

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded picture (PNG, JPEG, GIF or WebP bytes) as a part of a message."""

    data: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Image:
        """The picture stored at `path`, as it is."""
        return cls(path.read_bytes())

    @property
    def media_type(self) -> str:
        """The MIME type, told from the first bytes and never from a file name."""
        for signature, media_type in _SIGNATURES:
            if self.data.startswith(signature):
                return media_type
        raise InputError(
            f"an image begins with {self.data[:8]!r}, which is not PNG, JPEG, GIF or WebP; "
            "convert it to one of these"
        )

    @property
    def sha256(self) -> str:
        """Hash of the content; stands for the picture in cache keys and in the ledger."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: a text, or texts and images in order."""

    role: Role
    content: str | tuple[str | Image, ...]

    @property
    def text(self) -> str:
        """The text parts joined by newlines."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part for part in self.content if isinstance(part, str))

    @property
    def images(self) -> tuple[Image, ...]:
        """The image parts in order."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a language model.

    `step` names the part of the study that asks (the ledger sums by it), `prompt_hash` the prompt
    file it was rendered from and `items` how many things it asks about (a server that rejects many
    may take fewer); none of them is seen by the model, so none is in the cache key. `answer` is the
    pydantic model that the reply must parse into; None asks for free text, or for one of `choices`,
    words that the messages say to answer with.

    Raises InputError for choices that are fewer than two, not different, or have space around them.
    """

    step: str
    messages: tuple[Message, ...]
    answer: type[BaseModel] | None = None
    prompt_hash: str | None = None
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int | None = None
    items: int = 1
    choices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.choices is None:
            return
        if self.answer is not None:
            raise InputError(f"a request asks for an answer or for one of {self.choices!r}, not for both")
        if len(set(self.choices)) < max(2, len(self.choices)) or any(
            not choice or choice != choice.strip() for choice in self.choices
        ):
            raise InputError(
                f"choices={self.choices!r} must be two or more different words without space around them"
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request.

    `text` is the raw reply, kept whatever became of it; without its reasoning where free text was
    asked for and the status is "ok". `parsed` is set only when the status is "ok" and the request
    named an answer model. Where one of some choices was asked for, `text` is the choice and
    `probabilities` how probable the model found each, which add up to 1; None where it tells no
    probabilities. Anything but "ok" is *unscored*: leave it out of
    means and count it. `cost_usd` None means that the price is not known. `cached` replies cost
    nothing this time; their tokens and cost are those of the call that fetched them. Where it was
    asked more than once (see again.py) it carries the sums. `max_tokens` is the last limit on its
    length; `rejected` marks a failure that stays, however often the same is asked, `too_long` one of a
    question that the model did not read to its end.
    """

    status: Status
    text: str = ""
    parsed: BaseModel | None = None
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    seconds: float = 0.0
    attempts: int = 0
    cached: bool = False
    key: str = ""
    model: str = ""
    max_tokens: int | None = None
    rejected: bool = False
    too_long: bool = False
    probabilities: dict[str, float] | None = None


def need_open(model: Any) -> None:
    """Raises InputError for a model's name where the model itself is needed."""
    if isinstance(model, str):
        raise InputError(
            f"{model!r} is a model's name, and here an open model is asked: give"
            f" open_language_model({model!r}, calls=FILE)"
        )


class LanguageModel(Protocol):
    """Anything that answers requests: a provider, a local checkpoint, a script, a dry run."""

    @property
    def name(self) -> str:
        """Provider and model, as in "openai:gpt-x"; goes into tables."""
        ...

    def complete(
        self, requests: Sequence[Request], *, progress: Callable[[int], None] | None = None
    ) -> list[Reply]:
        """One reply per request, in order. `progress` is told how many are done so far."""
        ...
