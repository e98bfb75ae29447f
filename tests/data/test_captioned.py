"""Pictures with captions, which may repeat and need not be names of classes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from saywell.data.captioned import load_captioned, seen_at, shrunk, typical_side
from saywell.errors import InputError


def test_captions_may_repeat_and_broken_pictures_are_named(tmp_path):
    for n in range(3):
        Image.new("RGB", (9, 9), (60 * n, 0, 0)).save(tmp_path / f"{n}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "t.csv").write_text("path,label\n0.png,a Dog\n1.png,A dog\n2.png,a Dog\nbroken.png,x\n")
    found = load_captioned(tmp_path / "t.csv")
    assert found.captions == ["a Dog", "A dog", "a Dog"] and found.rejected == ["broken.png"]
    assert [p.getextrema()[0] for p in found.pictures] == [(0, 0), (60, 60), (120, 120)]
    assert load_captioned(tmp_path / "t.csv", most=1).captions == ["a Dog"]
    said = load_captioned(tmp_path / "t.csv", most=1, caption="this is {}, {}!").captions
    assert said == ["this is a Dog, a Dog!"]
    with pytest.raises(InputError, match=r"has no \{\}"):
        load_captioned(tmp_path / "t.csv", caption="this is")


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "t.csv").write_text("path,label\nbroken.png,x\n")
    with pytest.raises(InputError, match="no usable picture"):
        load_captioned(tmp_path / "t.csv")


def pictures(folder, sizes):
    """A CSV of pictures of these sizes, in three formats by turns."""
    lines = ["path,label"]
    for n, size in enumerate(sizes):
        name = f"{n}.{('png', 'jpg', 'webp')[n % 3]}"
        Image.new("RGB", size, (9, 9, n % 256)).save(folder / name)
        lines.append(f"{name},c")
    (folder / "t.csv").write_text("\n".join(lines))
    return folder / "t.csv"


def test_the_typical_side_is_the_median_of_shorter_sides(tmp_path):
    table = pictures(tmp_path, [(90, 20), (20, 80), (30, 31), (500, 400), (21, 21)])
    assert typical_side(table) == 21
    with table.open("a") as file:
        file.write("\n0.png,")  # without a label, so nobody's picture: 20 would be the median of six
    assert typical_side(table) == 21


def test_of_two_in_the_middle_the_smaller(tmp_path):
    assert typical_side(pictures(tmp_path, [(10, 10), (400, 300)])) == 10


def test_broken_pictures_have_no_side_and_do_no_harm(tmp_path):
    table = pictures(tmp_path, [(64, 40)] * 3)
    whole = (tmp_path / "0.png").read_bytes()
    Image.new("RGB", (7, 90)).save(tmp_path / "icon.gif")
    broken = {
        "nothing.png": b"",
        "words.png": b"no picture",
        "head.png": whole[:20],
        "icon.gif": (tmp_path / "icon.gif").read_bytes(),
        "a.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    }
    # A header that claims more pixels than Pillow opens; and pictures too small to be used, of which
    # there are enough to be in the middle.
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    broken["bomb.png"] = whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    broken |= {f"icon{n}.gif": broken["icon.gif"] for n in range(4)}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    with table.open("a") as file:
        file.write("".join(f"\n{name},c" for name in [*broken, "missing.png"]))
    assert typical_side(table) == 40
    for n in range(3):
        next(tmp_path.glob(f"{n}.*")).unlink()
    with pytest.raises(InputError, match=r"t\.csv' has no usable picture among 14 looked at"):
        typical_side(table)


def test_pixels_are_not_read(tmp_path):
    # The header of a picture that breaks off says how large it is.
    table = pictures(tmp_path, [(64, 40)])
    file = tmp_path / "0.png"
    file.write_bytes(file.read_bytes()[:60])
    assert typical_side(table) == 40


def test_the_sample_is_spread_over_the_rows(tmp_path):
    table = pictures(tmp_path, [(10, 10)] * 8 + [(50, 50)] * 12)
    assert typical_side(table, most=5) == 50  # the first five are small
    assert typical_side(table, most=1) == 10


def test_where_no_picture_of_the_sample_can_be_read_others_are_looked_at(tmp_path):
    table = pictures(tmp_path, [(10, 10)] * 4 + [(50, 50)] * 4)
    for n in (0, 3, 6):  # all that a sample of three of eight looks at
        next(tmp_path.glob(f"{n}.*")).write_bytes(b"no picture")
    assert typical_side(table, most=3) == 50
    for n in (1, 4, 7):
        next(tmp_path.glob(f"{n}.*")).write_bytes(b"no picture")
    assert typical_side(table, most=3) == 10
    next(tmp_path.glob("2.*")).write_bytes(b"no picture")
    assert typical_side(table, most=3) == 50


def test_no_rows_no_side(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(InputError, match="no usable picture among 0"):
        typical_side(tmp_path / "t.csv")
    with pytest.raises(InputError, match="no column 'kind'"):
        typical_side(tmp_path / "t.csv", label="kind")


def test_copies_follow_the_pictures_in_their_order():
    pictures = [
        Image.new("RGB", size, (k, 0, 0)) for k, size in enumerate([(40, 30), (9, 50), (15, 21), (90, 16)])
    ]  # the third is just not much larger than 10
    seen, of = seen_at(pictures, 10)
    assert seen[:4] == pictures and of.tolist() == [0, 1, 2, 3, 0, 3]
    assert [picture.size for picture in seen[4:]] == [(13, 10), (56, 10)]
    assert [picture.getpixel((0, 0)) for picture in seen[4:]] == [(0, 0, 0), (3, 0, 0)]
    none, of = seen_at([], 10)
    assert none == [] and of.shape == (0,)
    with pytest.raises(InputError, match="side=0 is no size"):
        seen_at(pictures, 0)


def test_shrinking_averages_and_leaves_small_pictures_alone():
    fine = Image.fromarray(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (32, 48))).convert("RGB")
    coarse = shrunk(fine, 16)
    assert coarse.size == (24, 16)
    assert np.abs(np.asarray(coarse).astype(int)[2:-2, 2:-2] - 127).max() < 15  # skipping would give 0 or 255
    assert shrunk(coarse, 16) is coarse and shrunk(coarse, 17) is coarse
