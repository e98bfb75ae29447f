from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saywell.data.pictures import FORMATS, BadPicture, decode


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def gradient(mode="RGB", size=(32, 24)):
    values = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0]).astype(np.uint8)
    return Image.fromarray(np.stack([values, values[::-1], values[:, ::-1]], axis=2)).convert(mode)


def raw_png(size, depth, rows=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, depth, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_colour_png(size=16):
    """A 16-bit RGB PNG, which Pillow reads but does not write."""
    row = b"\x00" + struct.pack(">HHH", 40000, 20000, 1000) * size
    return raw_png(size, 16, row * size)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_plain_modes_become_rgb_without_a_word(mode):
    image = gradient(mode)
    picture = decode(encoded(image))
    assert picture.changes == ()
    assert np.array_equal(np.asarray(picture.pixels), np.asarray(image.convert("RGB")))


def test_cmyk_is_converted_and_said():
    picture = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert picture.changes == ("CMYK to RGB, without a colour profile",)
    red, green, blue = picture.pixels.getpixel((8, 8))
    assert red > 200 and green < 60 and blue < 60


def test_sixteen_bit_grey_keeps_its_range():
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    picture = decode(encoded(Image.fromarray(values)))
    assert picture.changes == ("16 bits a channel to 8",)
    assert np.array_equal(np.asarray(picture.pixels)[:, :, 0], values // 257)


def test_sixteen_bit_colour_is_said():
    picture = decode(deep_colour_png())
    assert picture.changes == ("16 bits a channel to 8",)
    assert np.abs(np.array(picture.pixels.getpixel((3, 3))) - [155, 78, 4]).max() <= 1


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    picture = decode(encoded(image))
    assert picture.changes == ("transparency laid on white",)
    assert picture.pixels.getpixel((0, 0)) == (255, 255, 255)
    opaque = decode(encoded(Image.new("RGBA", (16, 16), (255, 0, 0, 255))))
    assert opaque.changes == () and opaque.pixels.getpixel((0, 0)) == (255, 0, 0)


def test_exif_orientation_is_applied_and_said():
    image = gradient()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(encoded(image, "JPEG", exif=exif))
    assert picture.pixels.size == (24, 32)
    assert picture.changes == ("turned upright as its EXIF orientation says",)


def test_the_first_picture_of_an_mpo_is_used():
    data = encoded(gradient(), "MPO", save_all=True, append_images=[gradient("L").convert("RGB")])
    assert decode(data).changes == ("the first of 2 pictures of an MPO file",)


FRAMES = [gradient(), gradient().transpose(Image.Transpose.FLIP_TOP_BOTTOM)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, this is text", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (encoded(gradient(size=(300, 300)), "JPEG")[:1500], "truncated"),
        (deep_colour_png(64)[:-30], "truncated"),
        (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "animated"),
        (encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "animated"),
        (encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), "animated"),
        (encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "several pages"),
        (encoded(Image.new("RGB", (1, 1))), "too small"),
        (encoded(Image.new("RGB", (500, 7))), "too small"),
        (raw_png(20_000, 8), "too large"),
        (raw_png(11_000, 8), "too large"),
        (encoded(Image.fromarray(np.ones((16, 16), np.float32)), "TIFF"), "unknown brightness"),
        (encoded(Image.fromarray(np.full((16, 16), -5, np.int32)), "TIFF"), "unknown brightness"),
    ],
)
def test_what_is_refused_and_why(data, reason):
    with pytest.raises(BadPicture) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert caught.value.detail


def every_format_that_pillow_writes():
    Image.init()
    for name in sorted(Image.SAVE):
        try:
            yield name, encoded(gradient(), name)
        except Exception:  # wants another mode, a palette, a program ...
            continue


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_only_the_formats_listed_reach_a_decoder(monkeypatch):
    """By content: a name such as photo.jpg says nothing, and no other decoder is even asked."""
    written = dict(every_format_that_pillow_writes())
    assert {"PNG", "JPEG", "EPS", "TGA"} <= set(written)
    asked = []
    for name, (factory, accept) in list(Image.OPEN.items()):

        def spy(*given, name=name, factory=factory):
            asked.append(name)
            return factory(*given)

        monkeypatch.setitem(Image.OPEN, name, (spy, accept))
    for name, data in written.items():
        try:
            decode(data)
        except BadPicture as bad:
            # MPO is a JPEG to every reader; some containers cannot be told from those listed.
            assert name not in FORMATS or bad.reason in ("animated", "several pages")
    assert set(asked) <= set(FORMATS)
    with pytest.raises(BadPicture, match="not an image"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def test_depth_counts_in_what_is_too_large():
    deep, plain = raw_png(8_000, 16), raw_png(8_000, 8)
    with pytest.raises(BadPicture, match="8000 x 8000 pixels of 16 bits a channel, more than 50,000,000"):
        decode(deep)
    with pytest.raises(BadPicture) as caught:
        decode(plain)  # has no pixels, but its size is none to refuse
    assert caught.value.reason in ("truncated", "corrupt")


def test_a_damaged_checksum_is_corrupt():
    data = bytearray(encoded(gradient(size=(64, 64))))
    place = data.index(b"IDAT") + 10
    data[place] ^= 0xFF
    with pytest.raises(BadPicture) as caught:
        decode(bytes(data))
    assert caught.value.reason in ("corrupt", "truncated")


SEEDS = [encoded(gradient(), f) for f in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damage_is_a_picture_or_a_reason_and_never_another_error(data, choose):
    damaged = bytearray(data)
    for _ in range(choose.draw(st.integers(1, 6))):
        damaged[choose.draw(st.integers(0, len(damaged) - 1))] = choose.draw(st.integers(0, 255))
    cut = bytes(damaged[: choose.draw(st.integers(1, len(damaged)))])
    try:
        picture = decode(cut)
    except BadPicture as bad:
        assert bad.reason and bad.detail
    else:
        assert picture.pixels.mode == "RGB"
