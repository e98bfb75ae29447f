"""Pictures with what is said of them, to join a vision encoder and a sentence encoder on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from saywell.data.image_sources import open_source
from saywell.data.pictures import BadPicture, decode
from saywell.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MOST = 20_000
"""Pictures in memory at once; a linear map gains little from more."""


class Captioned(NamedTuple):
    """Pictures, their captions, and the names of those that cannot be used."""

    pictures: list[Image.Image]
    captions: list[str]
    rejected: list[str]


def load_captioned(
    source: str | Path, *, image: str = "image", label: str = "label", most: int = MOST
) -> Captioned:
    """The pictures of a source (as in `load_images`) with the text in column `label`, one a row.

    Unlike names of classes, captions may be equal or nearly so. At most the first `most` are read.

    Raises InputError where the source cannot be used or none of its pictures can.
    """
    opened = open_source(source, image, label, None)
    rows = opened.rows.select("name", "label").rows()
    found = Captioned([], [], [])
    for row, blob in opened.fetch(range(min(len(rows), most))):
        name, caption = rows[row]
        try:
            if isinstance(blob, BadPicture):
                raise blob
            picture = decode(blob).pixels
        except BadPicture:
            found.rejected.append(name)
            continue
        if not (caption or "").strip():
            found.rejected.append(name)
            continue
        found.pictures.append(picture)
        found.captions.append(" ".join(str(caption).split()))
    if not found.pictures:
        raise InputError(f"{str(source)[:200]!r} has no usable picture with a caption to join on")
    return found
