"""From the bytes of an image file to RGB pixels, or to the reason why there are none."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SMALLEST = 8  # pixels on the shorter side; fewer show nothing that a text could describe
MOST_PIXELS = 100_000_000
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


def decode(data: bytes) -> Picture:
    """The picture in an image file of any format that Pillow reads, upright and in RGB.

    What loses or invents something is told in `changes`: CMYK and other colour spaces, 16 bits a
    channel, transparency (laid on white), turning as the EXIF orientation says, the further pictures
    of an MPO file.

    Raises BadPicture with one of these reasons: 'empty file', 'not an image', 'truncated',
    'corrupt', 'animated', 'several pages', 'too small', 'too large', 'unknown brightness'.
    """
    if not data:
        raise BadPicture("empty file", "0 bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about metadata and sizes: judged here
        return _decode(data)


def _decode(data: bytes) -> Picture:
    from PIL import Image, ImageOps, UnidentifiedImageError

    # Pillow's decoders raise nearly anything on broken data, so every exception out of Pillow is
    # the file's fault; the checks that are ours stand outside the try blocks.
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadPicture("not an image", f"begins with {data[:12]!r}") from None
    except Image.DecompressionBombError as error:
        raise BadPicture("too large", str(error)) from error
    except Exception as error:
        raise BadPicture("corrupt", _words(error)) from error

    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadPicture(
            "too large", f"{width} x {height} pixels, more than {MOST_PIXELS:,} altogether"
        )
    if min(width, height) < SMALLEST:
        raise BadPicture(
            "too small", f"{width} x {height} pixels, fewer than {SMALLEST} on the shorter side"
        )
    changes = list(_check_frames(image))
    try:
        image.load()
        turned = ImageOps.exif_transpose(image)
    except Exception as error:
        reason = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise BadPicture(reason, _words(error)) from error
    if turned.size != image.size or image.getexif().get(0x0112, 1) not in (0, 1):
        changes.append("turned upright as its EXIF orientation says")
    rgb, change = _to_rgb(turned)
    if change:
        changes.append(change)
    elif _is_deep_png(data):
        changes.append("16 bits a channel to 8")
    return Picture(rgb, tuple(changes))


def _check_frames(image: Image.Image) -> tuple[str, ...]:
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception as error:
        raise BadPicture("corrupt", _words(error)) from error
    if frames <= 1:
        return ()
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

            layer = image.convert("RGBA")
            if layer.getextrema()[3] == (255, 255):  # type: ignore[index]
                return layer.convert("RGB"), None
            white = module.new("RGBA", layer.size, (255, 255, 255, 255))
            return module.alpha_composite(white, layer).convert("RGB"), "transparency laid on white"
        rgb = image.convert("RGB")
    except Exception as error:
        raise BadPicture("corrupt", _words(error)) from error
    return rgb, None if mode in _PLAIN else f"{mode} to RGB, without a colour profile"


def _from_deep(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255 and turns most such pictures white."""
    from PIL import Image as module

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadPicture(
            "unknown brightness", f"whole-number pixels from {values.min()} to {values.max()}"
        )
    return module.fromarray((values // 257).astype(np.uint8)).convert("RGB")


def _is_deep_png(data: bytes) -> bool:
    # Pillow keeps the upper byte of 16-bit colour PNGs without a word; the header tells.
    return data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 24 and data[24] == 16


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
