"""`saywell classes` and `saywell classify`: options and messages."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from saywell.cli import app
from saywell.errors import InputError
from saywell.studies.dual_encoder import check_encoder, open_encoder
from saywell.studies.settings import ClassSettings, settings_of


def asked(**options):
    return settings_of(ClassSettings, options=options)


def test_shots_are_numbers_with_commas():
    assert asked(shots="1,2, 16").shots == [1, 2, 16] and asked(shots="").shots == []
    for wrong in ("one", "0", "1;2", "-1"):
        with pytest.raises(InputError, match="shots='"):
            asked(shots=wrong)


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
        check_encoder(asked(**options))


class Sees:
    """A vision encoder: the mean colour and the shorter side."""

    name, fingerprint, dim = "sees", "f" * 32, 4

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen += [image.size for image in images]
        means = [[*np.asarray(i).mean(axis=(0, 1)), min(i.size)] for i in images]
        return np.array(means, dtype=np.float32)


def reads(texts):
    return np.stack([np.random.default_rng(len(text)).normal(size=5) for text in texts])


reads.name = "reads"


def folder_of(folder, sizes, column="label"):
    folder.mkdir()
    lines = [f"path,{column}"]
    for n, size in enumerate(sizes):
        Image.new("RGB", size, (10 * n, 255 - 10 * n, 7 * n % 90)).save(folder / f"{n}.png")
        lines.append(f"{n}.png,{'x' * (1 + n)}")
    (folder / "t.csv").write_text("\n".join(lines))
    return str(folder / "t.csv")


@pytest.fixture
def sees(monkeypatch):
    one = Sees()
    monkeypatch.setattr("saywell.studies.dual_encoder.open_vision_encoder", lambda *a, **k: one)
    monkeypatch.setattr("saywell.studies.dual_encoder.open_sentence_encoder", lambda *a, **k: reads)
    return one


def test_joined_for_pictures_of_the_size_of_yours(sees, tmp_path):
    mine = folder_of(tmp_path / "mine", [(12, 9)] * 3 + [(50, 50)], column="kind")
    theirs = folder_of(tmp_path / "theirs", [(30, 36)] * 20 + [(9, 9)])
    _, notes = open_encoder(asked(vision="minilm", join_on=theirs), mine, "kind")
    assert sees.seen == [(30, 36)] * 20 + [(9, 9)] + [(9, 11)] * 20
    assert notes == ["20 pictures of --join-on are also learned from at 9 pixels, the size of yours."]


def test_nothing_is_said_where_nothing_is_larger(sees, tmp_path):
    mine = folder_of(tmp_path / "mine", [(40, 30)] * 3)
    theirs = folder_of(tmp_path / "theirs", [(30, 36)] * 20)
    _, notes = open_encoder(asked(vision="minilm", join_on=theirs), mine, "label")
    assert sees.seen == [(30, 36)] * 20 and notes == []


def run(arguments, command="classes"):
    """What the command prints, or the mistake that it tells."""
    result = CliRunner().invoke(app, [command, *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, InputError), result.exception
        return str(result.exception)
    return result.output


def test_a_dry_run_checks_columns_files_and_the_encoder(tmp_path, capsys):
    mine = folder_of(tmp_path / "mine", [(8, 8)] * 3)
    (tmp_path / "texts.json").write_text('{"x": ["a"], "xx": ["b"], "xxx": ["c"]}')
    given = [
        mine,
        "--texts",
        str(tmp_path / "texts.json"),
        "--encoder",
        "planted",
        "--dry-run",
        "--out",
        str(tmp_path / "out"),
    ]
    said = run(given)
    assert said.startswith("3 classes; options, columns and files can be used\n"), said
    for more, words in (
        (["--label", "kind"], "'kind'"),
        (["--texts", "nowhere.json"], "nowhere.json"),
        (["--encoder", "./nowhere"], "./nowhere"),
        (["--llm", "nobody:model"], "nobody"),
        (["--vision", "v"], "give one of --encoder"),
        (["--shots", "many"], "many"),
    ):
        assert words in run([*given, *more]), more
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_neurons_checks_its_texts_and_the_model(tmp_path):
    file = tmp_path / "t.csv"
    words = [" ".join(f"w{(7 * n + 11 * k) % 97}" for k in range(6)) for n in range(20)]
    file.write_text("text,kind\n" + "\n".join(f"{line},a" for line in words))
    given = [str(file), "--out", str(tmp_path / "out"), "--dry-run"]
    good = [*given, "--model", "minilm"]
    said = run(good, "neurons")
    assert said.startswith(
        "20 texts, 9216 neurons; options, columns and files can be used\nno language model"
    )
    for more, words in (
        (["--text", "body"], "body"),
        (["--tags", "themes"], "themes"),
        (["--model", "./nowhere"], "./nowhere"),
    ):
        assert words in run([*good, *more], "neurons"), more
    assert not (tmp_path / "out").exists()
