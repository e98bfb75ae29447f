"""From the bytes of an image file to RGB pixels, or to the reason why there are none."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from saywell.data.files import NotRegular, check_regular, open_regular
from saywell.store.table import Table

if TYPE_CHECKING:
    from PIL import Image

THUMBNAILS = Table("thumbnails", {"example": pl.String, "jpeg": pl.Binary}, key=("example",))
"""Small pictures of the images that pages show."""
SMALLEST = 8  # pixels on the shorter side; fewer show nothing that a text could describe
MOST_PIXELS = 100_000_000  # of 8 bits a channel; one of 16 bits counts as two
MOST_BYTES = 256 * 2**20  # of one image file
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is decoded, told by content and never by name: Pillow hands some others to programs.

MPO, which many cameras write, is a kind of JPEG."""
_PLAIN = ("1", "L", "P", "RGB")  # becoming RGB loses nothing


class BadPicture(Exception):
    """These bytes are no usable picture: `reason` is one of a few words, `detail` says what is so."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Picture:
    """RGB pixels, 8 bits a channel; `changes` says what had to be done that alters what is seen."""

    pixels: Image.Image
    changes: tuple[str, ...] = ()


def picture_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises BadPicture with one of these reasons: 'missing', 'not a file' (a folder, pipe or device),
    'unreadable', 'too large'.
    """
    try:
        size = check_regular(path)
        if size > MOST_BYTES:
            raise BadPicture("too large", f"{size:,} bytes")
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise BadPicture("missing", "there is no such file") from error
    except NotRegular as error:
        raise BadPicture("not a file", error.strerror or "it is no regular file") from error
    except (OSError, ValueError) as error:  # no permission, a NUL in the name
        raise BadPicture("unreadable", str(getattr(error, "strerror", None) or error)) from error
    if len(data) > MOST_BYTES:
        raise BadPicture("too large", f"more than {MOST_BYTES:,} bytes")
    return data


def open_picture(data: bytes) -> Image.Image:
    """The picture in an image file of one of the FORMATS, its size known and nothing decoded yet.

    Every picture that saywell opens comes through here. Warnings are the caller's to silence.

    Raises BadPicture as `decode` does.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise BadPicture("empty file", "0 bytes")
    # Pillow's decoders raise nearly anything on broken data, so every exception out of Pillow is
    # the file's fault; the checks that are ours stand outside the try blocks.
    try:
        Image.init()
        known = [name for name in FORMATS if name in Image.OPEN]  # AVIF is new in Pillow
        image = Image.open(io.BytesIO(data), formats=known)
    except UnidentifiedImageError:
        raise BadPicture(
            "not an image", f"begins with {data[:12]!r}; read are {', '.join(FORMATS)}"
        ) from None
    except Image.DecompressionBombError as error:
        raise BadPicture("too large", str(error)) from error
    except Exception as error:
        raise BadPicture("corrupt", _words(error)) from error
    width, height = image.size
    depth = _depth(image, data)
    if width * height * depth > MOST_PIXELS * 8:
        deep = f" of {depth} bits a channel" if depth > 8 else ""
        raise BadPicture(
            "too large", f"{width} x {height} pixels{deep}, more than {MOST_PIXELS * 8 // depth:,} altogether"
        )
    if min(width, height) < SMALLEST:
        raise BadPicture("too small", f"{width} x {height} pixels, fewer than {SMALLEST} on the shorter side")
    return image


def decode(data: bytes) -> Picture:
    """The picture in an image file of one of the FORMATS, upright and in RGB.

    What loses or invents something is told in `changes`: CMYK and other colour spaces, 16 bits a
    channel, transparency (laid on white), turning as the EXIF orientation says, the further pictures
    of an MPO file.

    Raises BadPicture with one of these reasons: 'empty file', 'not an image', 'truncated',
    'corrupt', 'animated', 'several pages', 'too small', 'too large', 'unknown brightness'.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about metadata and sizes: judged here
        return _decode(data)


def _decode(data: bytes) -> Picture:
    from PIL import ImageOps

    image = open_picture(data)
    changes = list(_check_frames(image))
    try:
        image.load()
        turned = image.getexif().get(0x0112, 1) in range(2, 9)
        ImageOps.exif_transpose(image, in_place=True)  # a copy would take as much memory again
    except Exception as error:
        reason = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise BadPicture(reason, _words(error)) from error
    if turned:
        changes.append("turned upright as its EXIF orientation says")
    rgb, change = _to_rgb(image)
    if change:
        changes.append(change)
    elif _is_deep_png(data):
        changes.append("16 bits a channel to 8")
    return Picture(rgb, tuple(changes))


def _check_frames(image: Image.Image) -> tuple[str, ...]:
    try:
        if not getattr(image, "is_animated", False):  # told without going through all of them
            return ()
        frames = int(getattr(image, "n_frames", 1)) if image.format != "GIF" else "several"
    except Exception as error:
        raise BadPicture("corrupt", _words(error)) from error
    if image.format == "MPO":  # what many cameras write: one photograph and previews of it
        return (f"the first of {frames} pictures of an MPO file",)
    if image.format == "TIFF":
        raise BadPicture("several pages", f"{frames} pages")
    raise BadPicture("animated", f"{frames} frames")


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    mode = image.mode
    if mode.startswith("I"):
        return _from_deep(image), "16 bits a channel to 8"
    if mode == "F":
        raise BadPicture("unknown brightness", "floating-point pixels without a range")
    try:
        if image.has_transparency_data:
            from PIL import Image as module

            layer = image if mode == "RGBA" else image.convert("RGBA")
            if layer.getextrema()[3] == (255, 255):  # type: ignore[index]
                return layer.convert("RGB"), None
            white = module.new("RGBA", layer.size, (255, 255, 255, 255))
            white.alpha_composite(layer)
            return white.convert("RGB"), "transparency laid on white"
        rgb = image.convert("RGB")
    except Exception as error:
        raise BadPicture("corrupt", _words(error)) from error
    return rgb, None if mode in _PLAIN else f"{mode} to RGB, without a colour profile"


def _from_deep(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255 and turns most such pictures white."""
    from PIL import Image as module

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise BadPicture("unknown brightness", f"whole-number pixels from {values.min()} to {values.max()}")
    return module.fromarray((values // 257).astype(np.uint8)).convert("RGB")


def _depth(image: Image.Image, data: bytes) -> int:
    """Bits a channel, as far as Pillow or the header tells; 8 where there are fewer."""
    if image.mode in ("I", "F"):
        return 32
    return 16 if image.mode.startswith("I;16") or _is_deep_png(data) else 8


def _is_deep_png(data: bytes) -> bool:
    # Pillow keeps the upper byte of 16-bit colour PNGs without a word; the header tells.
    return data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 24 and data[24] == 16


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
