"""Pictures with captions, which may repeat and need not be names of classes."""

from __future__ import annotations

import pytest
from PIL import Image

from saywell.data.captioned import load_captioned
from saywell.errors import InputError


def test_captions_may_repeat_and_broken_pictures_are_named(tmp_path):
    for n in range(3):
        Image.new("RGB", (9, 9), (60 * n, 0, 0)).save(tmp_path / f"{n}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "t.csv").write_text(
        "path,label\n0.png,a Dog\n1.png,A dog\n2.png,a Dog\nbroken.png,x\n"
    )
    found = load_captioned(tmp_path / "t.csv")
    assert found.captions == ["a Dog", "A dog", "a Dog"] and found.rejected == ["broken.png"]
    assert [p.getextrema()[0] for p in found.pictures] == [(0, 0), (60, 60), (120, 120)]
    assert load_captioned(tmp_path / "t.csv", most=1).captions == ["a Dog"]


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "t.csv").write_text("path,label\nbroken.png,x\n")
    with pytest.raises(InputError, match="no usable picture"):
        load_captioned(tmp_path / "t.csv")
