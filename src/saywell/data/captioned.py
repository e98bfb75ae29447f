"""Pictures with what is said of them, to join a vision encoder and a sentence encoder on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int

from saywell.data.image_sources import Blob, open_source
from saywell.data.pictures import BadPicture, decode, open_picture
from saywell.data.tables import shown
from saywell.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MOST = 20_000
"""Pictures in memory at once; a linear map gains little from more."""
MUCH = 1.5
"""How many times larger a picture is before it looks different to a model when it is shrunk."""


class Captioned(NamedTuple):
    """Pictures, their captions, and the names of those that cannot be used."""

    pictures: list[Image.Image]
    captions: list[str]
    rejected: list[str]


def load_captioned(
    source: Any, *, image: str = "image", label: str = "label", caption: str = "{}", most: int = MOST
) -> Captioned:
    """The pictures of a source (as in `load_images`) with the text in column `label`, one a row.

    Unlike names of classes, captions may be equal or nearly so. `caption` is put around each text, in
    the place of {}: names of things are read better in a sentence. At most the first `most` are read.

    Raises InputError where the source cannot be used or none of its pictures can.
    """
    if "{}" not in caption:
        raise InputError(f"caption={caption!r} has no {{}} for the name to stand in")
    opened = open_source(source, image, label, None)
    rows = opened.rows.select("name", "label").rows()
    found = Captioned([], [], [])
    for row, blob in opened.fetch(range(min(len(rows), most))):
        name, said = rows[row]
        try:
            if isinstance(blob, BadPicture):
                raise blob
            picture = decode(blob).pixels
        except BadPicture:
            found.rejected.append(name)
            continue
        if not (said or "").strip():
            found.rejected.append(name)
            continue
        found.pictures.append(picture)
        found.captions.append(caption.replace("{}", " ".join(str(said).split())))
    if not found.pictures:
        raise InputError(f"{shown(source)} has no usable picture with a caption to join on")
    return found


def typical_side(source: Any, *, image: str = "image", label: str | None = "label", most: int = 200) -> int:
    """The median shorter side, in pixels, of the pictures of a source (as in `load_images`).

    Read from the headers of at most `most` pictures with a label, evenly spaced over the rows; of
    two in the middle, the smaller. Those whose header cannot be read are left out; where that is all
    of them, so many others are looked at, until one can be read.

    Raises InputError where the source cannot be used or no header can be read.
    """
    opened = open_source(source, image, label, None)
    rows = (opened.rows if label is None else opened.rows.drop_nulls("label"))["row"].to_list()
    rounds = max(1, -(-len(rows) // most))
    for first in range(rounds):
        # Every so-manieth row, from another one in each round: each row is looked at once.
        sample = rows[first::rounds]
        sides = [side for _, blob in opened.fetch(sample) if (side := _shorter_side(blob)) is not None]
        if sides:
            return median_low(sides)
    raise InputError(
        f"{shown(source)} has no usable picture among {len(rows)} looked at; give pictures"
        " that Pillow can read"
    )


def seen_at(pictures: Sequence[Image.Image], side: int) -> tuple[list[Image.Image], Int[np.ndarray, " seen"]]:
    """The pictures, then a shrunk copy of each much larger than `side`; and which each one is of.

    The second value holds a place in `pictures` for every one returned: what is known of the
    pictures, such as vectors of their captions, is `known[of]`. Features of small pictures differ
    from those of large ones that show the same, and a map that was fitted on both serves both.

    Raises InputError for a side below 1.
    """
    if side < 1:
        raise InputError(f"side={side!r} is no size of pictures; give 1 pixel or more")
    larger = [k for k, picture in enumerate(pictures) if much_larger(picture, side)]
    copies = [shrunk(pictures[k], side) for k in larger]
    return [*pictures, *copies], np.array([*range(len(pictures)), *larger], dtype=np.int64)


def much_larger(picture: Image.Image, side: int) -> bool:
    """Whether the shorter side is more than MUCH times `side` pixels."""
    return min(picture.size) > MUCH * side


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """An RGB picture with `side` pixels on its shorter side (Lanczos), its shape kept to a pixel.

    A picture that is no larger is returned as it is.
    """
    from PIL import Image

    shorter = min(picture.size)
    if shorter <= side:
        return picture
    width, height = (round(pixels * side / shorter) for pixels in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _shorter_side(blob: Blob) -> int | None:
    if isinstance(blob, BadPicture):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about metadata and sizes
        try:
            return min(open_picture(blob).size)
        except BadPicture:
            return None
