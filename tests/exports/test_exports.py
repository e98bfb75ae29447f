"""What is written for other tools: by their schemas, and read back as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from saywell.cli import app
from saywell.data.others import read_descriptions, read_items
from saywell.errors import InputError
from saywell.exports import delphi, neuronpedia, saedashboard
from saywell.exports.forms import FOLDERS, FORMS, write_folder
from saywell.exports.names import checked_identifier, file_name
from saywell.exports.shown import How, pieces
from saywell.store.study import Study
from saywell.studies.check import check_descriptions, peaks_shared
from word_latents import MODULE, WORDS, Counts, no_page


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """Every form, with what was said of it."""
    folder = tmp_path_factory.mktemp("forms")
    return {to: (folder / to, write_folder(study, to, folder / to, How(texts=5))) for to in FOLDERS}


def described(study):
    rows = study.descriptions.filter(pl.col("text") != "").select("unit", "text").iter_rows()
    return {int(unit.split("/")[1]): text for unit, text in rows}


def json_of(path):
    return json.loads(path.read_text("utf-8"))


# ---- the limits of POST /api/feature/upload-batch


def check_upload(batch):
    assert set(batch) == {"modelId", "source", "features"}
    assert re.fullmatch(r"[a-z0-9_.-]+", batch["modelId"]) and re.fullmatch(
        r"\d+-[a-z0-9_-]+", batch["source"]
    )
    assert 1 <= len(batch["features"]) <= 128
    for feature in batch["features"]:
        assert set(feature) <= {
            "index",
            "density",
            "topLogits",
            "bottomLogits",
            "explanations",
            "activations",
        }
        assert isinstance(feature["index"], int) and 0 <= feature["density"] <= 1
        for told in feature.get("explanations", []):
            assert set(told) <= {"text", "methodName", "modelName"} and 1 <= len(told["text"]) <= 512
        assert feature["activations"]
        for shown in feature["activations"]:
            assert set(shown) <= {"tokens", "values", "quantileMax", "quantileMin", "quantileFraction"}
            assert 1 <= len(shown["tokens"]) <= 1024 and len(shown["tokens"]) == len(shown["values"])
            assert all(isinstance(token, str) for token in shown["tokens"])
            assert all(isinstance(value, int | float) for value in shown["values"])


def test_neuronpedia_batches_keep_to_its_limits(study, written):
    folder, notes = written["neuronpedia"]
    (own,) = folder.iterdir()
    assert own.name == "5-saywell-latent" and [f.name for f in own.iterdir()] == ["batch-0.json"]
    batch = json_of(own / "batch-0.json")
    check_upload(batch)
    assert batch["modelId"] == "tiny-model" and batch["source"] == own.name
    assert {f["index"]: f["explanations"][0]["text"] for f in batch["features"]} == described(study)
    texts = set(study.examples["text"])
    for feature in batch["features"]:
        word = WORDS[feature["index"]]
        for shown in feature["activations"]:
            assert "".join(shown["tokens"]) in texts
            at = [n for n, value in enumerate(shown["values"]) if value > 0]
            assert at and all(shown["tokens"][n].strip() == word for n in at)
            assert {shown["values"][n] for n in at} == {1 + feature["index"] / 8}
        assert len(feature["activations"]) == 5
    assert notes == ["1 units fire in no text that is shown and are left out: latent/8."]


def test_batches_are_cut_and_what_is_too_long_is_said(study, tmp_path, monkeypatch):
    monkeypatch.setattr(neuronpedia, "MOST_FEATURES", 3)
    monkeypatch.setattr(neuronpedia, "MOST_LETTERS", 15)
    monkeypatch.setattr("saywell.exports.shown.MOST_TOKENS", 4)
    notes = write_folder(study, "neuronpedia", tmp_path / "n", How(texts=2))
    batches = [json_of(tmp_path / "n" / "5-saywell-latent" / f"batch-{n}.json") for n in range(3)]
    assert [len(batch["features"]) for batch in batches] == [3, 3, 2]
    long = [n for n, text in described(study).items() if len(text) > 15]
    assert [f["index"] for b in batches for f in b["features"] if "explanations" not in f] == long
    assert f"{len(long)} descriptions have more than" in " ".join(notes) and "around the peak" in " ".join(
        notes
    )
    for feature in (f for b in batches for f in b["features"]):
        for shown in feature["activations"]:
            assert len(shown["tokens"]) <= 4 and max(shown["values"]) > 0


def test_ranges_and_promoted_tokens_where_the_study_has_them(study, tmp_path, put_tables):
    shutil.copytree(study.path, tmp_path / "s")
    rows = study.exemplars.filter(unit="latent/0", part="describe").head(4)
    ranges = pl.DataFrame(
        {
            "unit": rows["unit"],
            "part": rows["part"],
            "bin": pl.Series([0, 1, 3, 3], dtype=pl.Int32),
            "rank": pl.Series([0, 0, 0, 1], dtype=pl.Int32),
            "low": pl.Series([0.1, 0.2, 0.5, 0.5], dtype=pl.Float32),
            "high": pl.Series([0.2, 0.3, 0.9, 0.9], dtype=pl.Float32),
            "example": rows["example"],
        }
    )
    moved = [("latent/0", sign, rank, f"t{sign}{rank}", sign * 0.5) for sign in (1, -1) for rank in range(22)]
    schema = {"unit": pl.String, "sign": pl.Int8, "rank": pl.Int32, "token": pl.String, "value": pl.Float64}
    put_tables(tmp_path / "s", ranges=ranges, promoted=pl.DataFrame(moved, schema=schema, orient="row"))
    own = Study(tmp_path / "s")
    write_folder(own, "neuronpedia", tmp_path / "n", How(texts=1))
    batch = json_of(tmp_path / "n" / "5-saywell-latent" / "batch-0.json")
    check_upload(batch)
    feature = batch["features"][0]
    assert [a.get("quantileMin") for a in feature["activations"]] == [None, 0.5, 0.5, 0.2]  # none twice
    assert feature["activations"][1]["quantileFraction"] == 0.25
    assert [one["token"] for one in feature["topLogits"]] == [f"t1{n}" for n in range(20)]
    write_folder(own, "saedashboard", tmp_path / "d", How(texts=1))
    shown = json_of(tmp_path / "d" / "batch-0.json")["features"]
    assert (
        shown[0]["neg_str"][0] == "t-10" and shown[0]["neg_values"][0] == -0.5 and shown[1]["pos_str"] == []
    )
    assert shown[0]["activations"][1]["bin_contains"] == 0.25


# ---- there and back


@pytest.mark.parametrize("to", ["neuronpedia", "neuronpedia-jsonl", "delphi", "embedding-atlas"])
def test_what_is_written_reads_back_as_it_was(to, study, written):
    folder = written[to][0]
    found = read_descriptions(folder / "features.parquet" if to == "embedding-atlas" else folder)
    assert dict(found.table.select("index", "text").iter_rows()) == described(study)
    if to.startswith("neuronpedia"):
        assert found.table.row(0, named=True)["source"] == "5-saywell-latent"
        assert {n: {peak.strip() for peak in peaks} for n, peaks in found.peaks.items()} == {
            n: {word} for n, word in enumerate(WORDS[:-1])
        }


def test_a_check_of_what_was_written_and_of_another_dictionary(study, written, tmp_path, monkeypatch):
    monkeypatch.setattr("saywell.studies.spine.write_report", no_page)
    found = read_descriptions(written["neuronpedia"][0])
    assert peaks_shared(found, study) == [7, 7]  # of a sign alone nothing can be said
    others = replace(found, peaks={n: ["zebra"] for n in range(8)})
    how = {"encoder": Counts(), "reader": ["lexical"]}
    check = check_descriptions(others, study, out=tmp_path / "c", **how)
    assert any("Of 7 units" in note and "another dictionary" in note for note in check.manifest.notes)
    table = check.table("checked")
    assert table["text"].to_list() == table["own"].to_list() and (table["value"] == table["own_value"]).all()
    spans = ["unit", "part", "rank", "span_start", "span_end"]
    own = study.exemplars.filter(pl.col("unit").is_in(table["unit"].implode())).select(spans)
    assert check.exemplars.select(spans).equals(own)  # so that it can be told where descriptions point
    assert check.scores["localised"].count()


def test_tables_read_back(study, tmp_path):
    for form in ("parquet", "jsonl"):
        ran = CliRunner().invoke(
            app, ["export", str(study.path), "--to", form, "--out", str(tmp_path / f"a.{form}")]
        )
        assert ran.exit_code == 0
        found = read_descriptions(tmp_path / f"a.{form}").table
        assert {int(u.split("/")[1]): t for u, t in found.select("unit", "text").iter_rows()} == described(
            study
        )


def test_saedashboard_batches_have_what_its_reader_wants(study, written):
    folder, notes = written["saedashboard"]
    batch = json_of(folder / "batch-0.json")
    assert {"model_id": "tiny-model", "layer": 5, "sae_set": "saywell-latent"}.items() <= batch.items()
    feature = batch["features"][3]
    assert set(feature) >= {
        "feature_index",
        "pos_str",
        "frac_nonzero",
        "freq_hist_data_bar_heights",
        "vector",
    }
    shown = feature["activations"][0]
    assert shown["tokens"][shown["qualifying_token_index"]].strip() == "../../x"
    assert (shown["bin_min"], shown["bin_max"], shown["bin_contains"]) == (-1, 1.375, -1)
    tokens = sum(len(text.split()) for text in study.examples["text"])
    fires = sum(text.split().count("../../x") for text in study.examples["text"])
    assert feature["frac_nonzero"] == pytest.approx(fires / tokens, rel=1e-4)
    assert json_of(folder / "skipped_indexes.json")["skipped_indexes"] == [8]
    peaks = {item.index: {peak.strip() for peak in item.peaks} for item in read_items(folder)}
    assert peaks == {n: {word} for n, word in enumerate(WORDS[:-1])}
    assert "no place for words" in notes[0] or "no place for words" in notes[1]


def test_neuronpedia_rows_have_the_columns_of_its_tables(study, written):
    import gzip

    own = written["neuronpedia-jsonl"][0] / "tiny-model" / "5-saywell-latent"
    assert {f.name for f in own.iterdir() if f.is_file()} == {
        f"{name}.jsonl" for name in ("release", "model", "sourceset", "source")
    }

    def rows(kind):
        with gzip.open(own / kind / "batch-0.jsonl.gz") as file:
            return [json.loads(line) for line in file]

    activation = rows("activations")[0]
    asked = "id tokens index layer modelId maxValue maxValueTokenIndex minValue values creatorId dataSource dataIndex"
    asked += " dfaValues dfaTargetIndex dfaMaxValue lossValues logitContributions binMin binMax binContains"
    assert set(activation) == {*asked.split(), "qualifyingTokenIndex", "zIndices", "zValues"}
    assert activation["values"][activation["maxValueTokenIndex"]] == activation["maxValue"]
    features = rows("features")
    assert (
        len(features) == len(WORDS) and features[8]["frac_nonzero"] == 0
    )  # one that never fires is one of them
    assert features[0]["hookName"] == MODULE
    explanations, scores = rows("explanations"), rows("scores")
    assert len({row["id"] for row in [*explanations, *rows("activations")]}) == len(explanations) + 40
    assert {s["explanationId"] for s in scores} <= {e["id"] for e in explanations} and scores
    by_unit = dict(study.verdicts().select("unit", "value").iter_rows())
    assert scores[0]["value"] == pytest.approx(by_unit["latent/0"], rel=1e-4)
    assert set(json.loads(scores[0]["jsonDetails"])) >= {"status", "floor", "control", "skill", "n"}
    assert "verified" in explanations[0]["notes"]


def test_delphi_latents_are_where_the_texts_say(study, written):
    folder = written["delphi"][0]
    (hook,) = (folder / "latents").iterdir()
    assert hook.name == "model-layers.5.mlp"  # no path from data
    assert {f.name for f in hook.iterdir()} == {"0_8.safetensors", "config.json"}
    arrays = load_file(hook / "0_8.safetensors")
    assert (arrays["locations"].dtype, arrays["activations"].dtype) == (np.uint16, np.float16)
    rows, positions, latents = arrays["locations"].T
    assert (arrays["tokens"][rows, positions] == latents + 1).all()  # as latent n fires on token n + 1
    assert (np.diff(latents.astype(int)) >= 0).all() and arrays["tokens"].shape[1] == delphi.CONTEXT
    counts = {
        n: sum(text.split().count(word) for text in study.examples["text"]) for n, word in enumerate(WORDS)
    }
    assert np.bincount(latents, minlength=9).tolist() == list(counts.values())
    own = json_of(folder / "scores" / "claims" / "model-layers.5.mlp_latent0.txt")
    assert {one["activating"] for one in own} == {True, False}
    for one in own:
        assert one["activating"] == any(one["activations"]) == ("soup" in "".join(one["str_tokens"]).split())
        assert one["prediction"] == one["activating"] and one["correct"]  # the description says "soup"
        assert len(one["activations"]) == len(one["str_tokens"])
    config = json_of(hook / "config.json")
    assert config["cache_ctx_len"] == 256 and config["n_splits"] == 1 and config["model_name"] == "tiny-model"


def test_delphi_files_are_split_by_latents_and_wide_values_kept(study, tmp_path, monkeypatch):
    monkeypatch.setattr(delphi, "MOST_CODES", 1)
    monkeypatch.setattr("saywell.units.token_activations.BLOCK", 2)
    write_folder(study, "delphi", tmp_path / "d", How())
    files = sorted((tmp_path / "d" / "latents" / "model-layers.5.mlp").glob("*.safetensors"))
    edges = sorted(tuple(map(int, file.stem.split("_"))) for file in files)
    assert edges[0][0] == 0 and edges[-1][1] == 8 and len(edges) > 1
    assert all(a[1] + 1 == b[0] for a, b in pairwise(edges))


PEER = os.environ.get("SAYWELL_DELPHI")


@pytest.mark.skipif(not PEER, reason="SAYWELL_DELPHI names no Python with eai-delphi 0.1.3")
def test_delphi_reads_its_cache(study, written, tmp_path):
    """By delphi's own loader: the activations of every latent, and its explanations."""
    code = Path(__file__).with_name("delphi_reads.py")
    ran = subprocess.run(
        [str(PEER), str(code), str(written["delphi"][0])], capture_output=True, text=True, env={"PATH": ""}
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    counts = {
        n: sum(text.split().count(word) for text in study.examples["text"]) for n, word in enumerate(WORDS)
    }
    assert {int(n): one["count"] for n, one in told["latents"].items()} == {
        n: c for n, c in counts.items() if c
    }
    assert all(one["highest"] == 1 + int(n) / 8 for n, one in told["latents"].items())
    assert told["explanations"] == {f"model-layers.5.mlp_latent{n}": t for n, t in described(study).items()}


# ---- Embedding Atlas


def test_atlas_tables_join(study, written):
    folder, notes = written["embedding-atlas"]
    examples, features = (pl.read_parquet(folder / f"{name}.parquet") for name in ("examples", "features"))
    assert examples["id"].equals(study.examples["id"]) and features["feature"].is_unique().all()
    pairs = examples.explode("features").drop_nulls("features").unnest("features")
    assert set(pairs["feature"]) <= set(features["feature"])
    for text, own in examples.select("text", "features").iter_rows():
        said = {one["index"] for one in own}
        assert said == {n for n, word in enumerate(WORDS) if word in text.split()}
    assert examples.schema["features"] == pl.List(
        pl.Struct({"feature": pl.String, "source": pl.String, "index": pl.Int32})
    )
    assert "embedding-atlas examples.parquet --features features --text text --vector vector" in notes[-2]
    labels = pl.read_parquet(folder / "labels.parquet")
    verified = study.verdicts().filter(status="verified")
    assert labels.columns == ["x", "y", "text", "level", "priority"] and labels.height == verified.height > 0
    vectors = np.array(examples["vector"].to_list())
    away = vectors - vectors.mean(0)
    spread = np.linalg.svd(away, compute_uv=False)
    flat = examples.select("x", "y").to_numpy()
    np.testing.assert_allclose(np.linalg.norm(flat, axis=0), spread[:2], rtol=1e-4)


# ---- what is refused


@pytest.mark.parametrize(
    ("how", "to", "says"),
    [
        (How(model="A B"), "neuronpedia", "--model-id 'A B' is no name for Neuronpedia"),
        (How(source_set="../x"), "saedashboard", "--source-set '../x' is no name"),
    ],
)
def test_names_that_cannot_be(how, to, says, study, tmp_path):
    with pytest.raises(InputError, match=re.escape(says)):
        write_folder(study, to, tmp_path / "o", how)
    assert not list(tmp_path.iterdir())  # nothing half


def test_only_verified_units_and_other_names(study, tmp_path):
    how = How(model="gpt2-small", source_set="res-jb", layer=3, verified=True)
    write_folder(study, "neuronpedia", tmp_path / "o", how)
    batch = json_of(tmp_path / "o" / "3-res-jb" / "batch-0.json")
    verified = study.verdicts().filter(status="verified")["unit"].to_list()
    assert [f"latent/{f['index']}" for f in batch["features"]] == sorted(verified)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="is there already"):
        write_folder(study, "delphi", tmp_path / "full", How())


def test_a_study_without_tokens_says_so(study, tmp_path, put_tables):
    shutil.copytree(study.path, tmp_path / "s")
    for file in (tmp_path / "s" / "arrays" / "activations").iterdir():
        file.unlink()
    bare = Study(tmp_path / "s")
    for to in ("neuronpedia", "saedashboard", "delphi"):
        with pytest.raises(InputError, match="keeps no activations by token"):
            write_folder(bare, to, tmp_path / to, How())
    notes = write_folder(bare, "neuronpedia-jsonl", tmp_path / "j", How())
    assert "descriptions and no texts" in notes[-1]
    assert read_descriptions(tmp_path / "j").table.height == len(described(study))
    units = bare.units.with_columns(module=pl.lit(None, pl.String))
    put_tables(tmp_path / "s", units=units)
    with pytest.raises(InputError, match="--layer N"):
        write_folder(Study(tmp_path / "s"), "neuronpedia-jsonl", tmp_path / "k", How())


def test_the_command(study, tmp_path):
    def ran(*args):
        return CliRunner().invoke(app, ["export", str(study.path), *args], catch_exceptions=False)

    with pytest.raises(InputError, match=", ".join(FORMS)):
        ran("--to", "xml")
    with pytest.raises(InputError, match="--out FOLDER"):
        ran("--to", "delphi")
    assert ran("--to", "saedashboard", "--out", str(tmp_path / "d"), "--texts", "1").exit_code == 0
    assert len(json_of(tmp_path / "d" / "batch-0.json")["features"][0]["activations"]) == 1


@pytest.mark.parametrize("name", ["layers.5.mlp", "a/../b", "..", "", "C:\\x", "\u2603", "x" * 500])
def test_no_name_of_a_file_is_a_path(name):
    made = file_name(name)
    assert made == Path(made).name and made not in ("", ".", "..") and len(made) <= 128
    if name in ("..", "a/../b", "x" * 500):
        with pytest.raises(InputError, match="is no name for Neuronpedia"):
            checked_identifier(name, "model-id")


def test_pieces_join_to_the_text():
    assert pieces("ab  cd e ", [2, 5, 5, 8]) == ["ab", "  c", "", "d e "]
    assert pieces("", []) == [] and saedashboard.FEATURES == 128
