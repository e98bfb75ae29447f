"""A reader that asks a language model: does the description hold of this example?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.language_models import Image
from saywell.readers.asking import Asking
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    import PIL.Image

    from saywell.resources import Resources

DETECT, DETECT_IMAGES, DETECTION = "detect_examples", "detect_images", "detection"
SIDE = 512
EXAMPLES_PER_REQUEST = 10


class Verdict(BaseModel):
    """Whether a description holds of one example, and how sure that is, 0 to 1."""

    model_config = ConfigDict(extra="forbid")
    item: int
    holds: Literal["yes", "no"]
    confidence: float

    def degree(self) -> float | None:
        """0 (certainly not) to 1 (certainly), 0.5 where unsure; None for an impossible confidence."""
        if not 0 <= self.confidence <= 1:
            return None
        return 0.5 + self.confidence / 2 * (1 if self.holds == "yes" else -1)


@dataclass(frozen=True)
class DetectionReader:
    """How sure a language model is that a description holds of an example (0 to 1).

    An example that got no usable answer is NaN and adds a row to `resources.lost`. Of pictures it is
    shown JPEGs of at most 512 pixels a side.
    """

    name: str = DETECTION
    version: int = 1
    costly: bool = True
    reads: tuple[Kind, ...] = ("text", "pair", "image")
    prompt: str = DETECT
    batch_size: int = EXAMPLES_PER_REQUEST

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Raises InputError where there is no language model."""
        images = examples.kind == "image"
        asking = Asking(
            resources.need_llm(f"the reader {self.name!r}"),
            resources.prompt(DETECT_IMAGES if images else self.prompt),
            Verdict,
            self.name,
            self.batch_size,
            resources.seed,
            resources.lost,
        )

        seen: dict[int, Image] = {}

        def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
            said = [description.text for description in descriptions]
            if images:
                new = {examples.ids[row]: row for row in np.unique(rows).tolist() if row not in seen}
                seen.update((new[id], as_jpeg(picture)) for id, picture in examples.pictures(list(new)))
            shown = seen.__getitem__ if images else examples.texts.__getitem__
            found = asking.numbers(said, rows_of_each(rows, len(said)), shown, _degree)
            return np.array(found).reshape(len(said), rows.shape[-1])

        return predict


def as_jpeg(picture: PIL.Image.Image, side: int = SIDE) -> Image:
    """The picture as it is sent: no side longer than `side` pixels."""
    small, file = picture.copy(), BytesIO()
    small.thumbnail((side, side))
    small.save(file, "JPEG", quality=90)
    return Image(file.getvalue())


def _degree(row: int, verdict: Verdict) -> float | str:
    degree = verdict.degree()
    return f"confidence {verdict.confidence!r} is not between 0 and 1" if degree is None else degree
