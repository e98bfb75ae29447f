"""Descriptions of others, as their own tools write them."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pytest

from saywell.data.others import read_descriptions, read_items
from saywell.errors import InputError

HOSTILE = ["../../x\u0000\ud800 <script>", 'a "quoted", list\nof lines', "=cmd|' /C calc'!A0"]
CLEAN = ["../../x \ufffd <script>", *HOSTILE[1:]]


def _json(path, value, packed=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def _lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _upload(folder):
    """As in Neuronpedia's POST /api/feature/upload-batch."""
    for number, some in enumerate(([0, 1], [2])):
        features = [
            {
                "index": 10 * n,
                "density": 0.1,
                "explanations": [{"text": HOSTILE[n], "methodName": "m", "modelName": "l"}],
                "activations": [{"tokens": ["a", f" peak{n}"], "values": [0, 2.5]}],
            }
            for n in some
        ]
        batch = {"modelId": "gpt2-small", "source": "5-res", "features": features}
        _json(folder / f"batch-{number}.json", batch)
    return folder


def _download(folder):
    """As in the folders v1/MODEL/SOURCE of Neuronpedia's exports, whose explanations are in files of 1,024."""
    own = folder / "v1" / "gpt2-small" / "5-res"
    whose = {"modelId": "gpt2-small", "layer": "5-res"}
    rows = [
        {"id": f"c{n}", **whose, "index": str(10 * n), "description": text, "embedding": "[0.1]"}
        | {"typeName": "m", "explanationModelName": "l"}
        for n, text in enumerate(HOSTILE)
    ]
    _lines(own / "explanations" / "batch-0.jsonl.gz", rows[:2])
    _lines(own / "explanations" / "batch-1.jsonl.gz", rows[2:])
    seen = [
        {"id": f"a{n}", **whose, "index": str(10 * n), "tokens": ["a", f" peak{n}"], "values": [0.0, 2.5]}
        for n in range(3)
    ]
    _lines(own / "activations" / "batch-0.jsonl.gz", seen)
    _lines(own / "source.jsonl", [{"id": "5-res", "modelId": "gpt2-small"}])
    return folder


def _answer(folder):
    """As GET /api/feature/MODEL/SOURCE/INDEX answers, one file for each."""
    for n, text in enumerate(HOSTILE):
        told = {"description": text, "typeName": "m", "explanationModelName": "l", "scores": []}
        shown = {"tokens": ["a", f" peak{n}"], "values": [0, 2.5]}
        whose = {"modelId": "gpt2-small", "layer": "5-res", "index": str(10 * n)}
        _json(folder / f"{n}.json", {**whose, "explanations": [told], "activations": [shown]})
    return folder


def _plain_explanations(folder):
    """As one list of explanations, packed."""
    whose = {"modelId": "gpt2-small", "layer": "5-res", "typeName": "m", "explanationModelName": "l"}
    rows = [{**whose, "index": 10 * n, "description": text} for n, text in enumerate(HOSTILE)]
    folder.mkdir(exist_ok=True)
    return _json(folder / "all.json.gz", rows, packed=True)


@pytest.mark.parametrize("written", [_upload, _download, _answer, _plain_explanations])
def test_neuronpedia_in_all_its_forms(written, tmp_path):
    found = read_descriptions(written(tmp_path / "np"))
    assert found.table.select("index", "text", "by", "llm", "model", "source", "layer").rows() == [
        (10 * n, text, "m", "l", "gpt2-small", "5-res", "5") for n, text in enumerate(CLEAN)
    ]
    if written is not _plain_explanations:
        assert found.peaks == {0: [" peak0"], 10: [" peak1"], 20: [" peak2"]}


def test_delphi_explanations_beside_its_scores(tmp_path):
    for n, text in enumerate(CLEAN):
        _json(tmp_path / "run" / "explanations" / f"layers.5.mlp_latent{10 * n}.txt", text)
        _json(tmp_path / "run" / "scores" / "detection" / f"layers.5.mlp_latent{10 * n}.txt", [{"a": 1}])
    for folder in (tmp_path / "run", tmp_path / "run" / "explanations"):
        found = read_descriptions(folder).table.sort("index")
        assert found.select("index", "text", "hookpoint").rows() == [
            (10 * n, text, "layers.5.mlp") for n, text in enumerate(CLEAN)
        ]
    with pytest.raises(InputError, match="one JSON string"):
        read_descriptions(tmp_path / "run" / "scores" / "detection" / "layers.5.mlp_latent0.txt")


def test_saedashboard_says_what_latents_respond_to_and_nothing_of_it(tmp_path):
    seen = {"bin_min": -1, "bin_max": 99, "bin_contains": -1, "qualifying_token_index": 0}
    features = [
        {"feature_index": n, "activations": [{**seen, "tokens": ["a", f" p{n}"], "values": [0.1, 3.0]}]}
        for n in range(3)
    ]
    batch = {"model_id": "m", "layer": 5, "sae_set": "res", "sae_id_suffix": "x", "features": features}
    _json(tmp_path / "d" / "batch-0.json", batch)
    _json(tmp_path / "d" / "skipped_indexes.json", {"model_id": "m", "skipped_indexes": [7]})
    items = list(read_items(tmp_path / "d"))
    assert [(item.index, list(item.peaks), item.origin["source"]) for item in items] == [
        (n, [f" p{n}"], "5-res__x") for n in range(3)
    ]
    with pytest.raises(InputError, match=r"no description of a unit, only what 3 units respond to"):
        read_descriptions(tmp_path / "d")


PUBLISHED = pl.DataFrame(  # the columns of the published descriptions of GPT-2 small's latents
    {
        "model": ["gpt2-small"] * 4,
        "layer": pl.Series([3, 3, 3, 9], dtype=pl.Int8),
        "feature": pl.Series([122637, 122637, 5, 5], dtype=pl.Int32),
        "sae_site": ["mlp-out"] * 3 + ["resid-post"],
        "sae_size": ["128k"] * 3 + ["32k"],
        "method": ["VocabProj", "MaxAct", "MaxAct", "MaxAct"],
        "description": ["energy cycles", 'occurrences of the word "natural."', "x", "y"],
        "input_success": [True, True, False, True],
        "output_success": [False] * 4,
    }
)


@pytest.mark.parametrize("form", ["frame", "parquet", "csv", "jsonl"])
def test_tables_of_several_dictionaries_and_writers(form, tmp_path):
    source = PUBLISHED if form == "frame" else tmp_path / f"d.{form}"
    if form != "frame":
        {"parquet": pl.DataFrame.write_parquet, "csv": pl.DataFrame.write_csv}.get(
            form, pl.DataFrame.write_ndjson
        )(PUBLISHED, source)
    found = read_descriptions(source)
    assert found.origin == ("model", "layer", "sae_site", "sae_size") and found.origins().height == 2
    one = found.only({"layer": "3", "by": "maxact"})
    assert one.table.select("index", "text").rows() == [(122637, PUBLISHED["description"][1]), (5, "x")]
    with pytest.raises(InputError, match=r"no description with layer '4'; there is '3', '9'"):
        found.only({"layer": "4"})
    with pytest.raises(InputError, match=r"which 'site' they are of; it says model, layer"):
        found.only({"site": "4"})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"unit": ["a"], "words": ["b"]}, "needs a column that says of which unit"),
        ({"index": ["1.5"], "text": ["b"]}, r"row 1 of the DataFrame has the number of a unit '1.5'"),
        ({"index": [-1], "text": ["b"]}, "'-1', which is none"),
        ({"index": [1], "text": ["  "]}, "holds no description of a unit"),
    ],
)
def test_what_cannot_be_told_is_refused(table, says):
    with pytest.raises(InputError, match=says):
        read_descriptions(pl.DataFrame(table))


def test_numbers_of_units_and_what_is_left_out_is_said(tmp_path):
    table = pl.DataFrame({"unit": [3, 3, 4, None], "text": ["a", "a", "", "b"]})
    found = read_descriptions(table)
    assert found.table.select("unit", "index", "text").rows() == [(None, 3, "a"), (None, None, "b")]
    assert [note.split(" rows")[0] for note in found.notes] == ["1", "1"]
    for name, content, says in (
        ("a.json", b'{"x"', "cannot be read as JSON"),
        ("b.jsonl", b'{"index": 1, "text": "a"}\n{', "line 2 of"),
        ("c.json", b'[{"a": 1}]', "entry 1 of .* names no unit"),
        ("d.jsonl.gz", b"no gzip", "cannot be read as JSON"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=says):
            read_descriptions(tmp_path / name)
    with pytest.raises(InputError, match="did you mean"):
        read_descriptions(tmp_path / "aa.json")
