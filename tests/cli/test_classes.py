"""`saywell classes` and `saywell classify`: options and messages."""

from __future__ import annotations

import pytest

from saywell.cli.classes import opened_encoder, parse_shots
from saywell.errors import InputError

NOTHING = {
    "vision": None, "sentences": "minilm", "join_on": None, "join_label": "label",
    "image_vectors": None, "text_vectors": None, "device": None,
}  # fmt: skip


def test_shots_are_numbers_with_commas():
    assert parse_shots("1,2, 16") == [1, 2, 16] and parse_shots("") == []
    for wrong in ("one", "0", "1;2", "-1"):
        with pytest.raises(InputError, match="--shots"):
            parse_shots(wrong)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give one of --encoder"),
        ({"vision": "a", "image_vectors": "b"}, "give one of --encoder"),
        ({"vision": "a"}, "--vision needs --join-on"),
        ({"image_vectors": "b"}, "--image-vectors needs --text-vectors"),
    ],
)
def test_an_encoder_is_named_in_one_way(options, words):
    with pytest.raises(InputError, match=words):
        opened_encoder(None, **(NOTHING | options))
