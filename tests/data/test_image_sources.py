"""Where images come from: folders told by what they hold, columns by what is in them."""

from __future__ import annotations

import io
import os
from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saywell.data.images import class_counts, load_images
from saywell.errors import InputError

NAMES = ["barn owl", "coot"]
ONCE = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def photo(seed, size=16):
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def png(seed):
    buffer = io.BytesIO()
    photo(seed).save(buffer, "PNG")
    return buffer.getvalue()


BLOBS = [png(k) for k in range(60)]


def fill(root, tree, start=0):
    """Folders with so many images each; 'a/b': 3. Returns the number used."""
    for path, count in tree.items():
        (root / path).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            (root / path / f"{k}.png").write_bytes(BLOBS[start])
            start += 1
    return start


TREE = {"barn owl": 5, "coot": 5}
SPLIT = {f"{part}/{name}": 5 for part in ("train", "test") for name in NAMES}


# ---- folders


WORD = st.from_regex(r"[a-z0-9@$#_]{1,9}", fullmatch=True).filter(
    lambda w: w not in ("train", "test", "val", "dev", "valid", "training", "testing", "validation")
)


@ONCE
@given(WORD, st.sampled_from(["AppleDouble", "hidden", "notes", "nested and empty"]))
def test_a_folder_without_images_is_no_class_whatever_its_name(tmp_path_factory, name, holds):
    root = tmp_path_factory.mktemp("pictures")
    for tree in (TREE, SPLIT):
        top = root / str(len(tree))
        fill(top, tree)
        stray = top / name / "barn owl"
        stray.mkdir(parents=True)
        if holds == "AppleDouble":
            (stray / "0.png").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
        elif holds == "hidden":
            (stray / "._0.png").write_bytes(BLOBS[0])
        elif holds == "notes":
            (stray / "readme.txt").write_text("words")
        images = load_images(top)
        assert list(images.classes) == NAMES
        assert set(images.rejected["reason"]) <= {"no label"}
        assert len(images.table) + len(images.rejected) == images.total_rows


def test_what_archives_leave_is_no_class_even_when_empty_but_a_class_may_be_empty(tmp_path):
    fill(tmp_path, {**TREE, "__MACOSX": 0, "grebe": 0})
    assert list(load_images(tmp_path).classes) == ["barn owl", "coot", "grebe"]


@ONCE
@given(WORD)
def test_a_folder_of_images_beside_splits_is_named(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("pictures")
    fill(root, SPLIT)
    (root / name).mkdir()
    (root / name / "x.png").write_bytes(BLOBS[50])
    with pytest.raises(InputError, match="beside them") as caught:
        load_images(root)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "counts", "notes"),
    [
        (SPLIT, {"describe": 8, "select": 2, "score": 10}, 1),
        (
            {f"{p}/{n}": 5 for p in ("train", "val") for n in NAMES},
            {"describe": 8, "select": 10, "score": 2},
            1,
        ),
        ({f"Training/{n}": 5 for n in NAMES}, {"describe": 6, "select": 2, "score": 2}, 0),
        ({f"birds/pictures/{n}": 5 for n in NAMES}, {"describe": 6, "select": 2, "score": 2}, 1),
        (
            {**{f"train/{n}": 5 for n in NAMES}, "test": 5},
            {"describe": 6, "select": 2, "score": 2},
            0,
        ),  # no labels
        ({"train": 5, "bus": 5}, {"describe": 6, "select": 2, "score": 2}, 0),  # classes of vehicles
        ({"train/steam": 3, "train/diesel": 2, "bus": 5}, {"describe": 6, "select": 2, "score": 2}, 1),
        (
            {f"{n}/{p}": 5 for p in ("Train", "test") for n in NAMES},
            {"describe": 8, "select": 2, "score": 10},
            2,
        ),
        (
            {f"{n}/{p}": 5 for p in ("train", "young") for n in NAMES},
            {"describe": 12, "select": 4, "score": 4},
            1,
        ),
        ({f"{n}/test": 5 for n in NAMES}, {"describe": 6, "select": 2, "score": 2}, 1),
        ({"train/coot": 5, "test/coot": 5, "test/barn owl": 5}, {"describe": 4, "select": 1, "score": 10}, 2),
    ],
)
def test_layouts(tmp_path, tree, counts, notes):
    fill(tmp_path, tree)
    images = load_images(tmp_path, near=None)
    assert Counter(images.table["part"]) == counts
    assert len(images.notes) == notes
    expected = {"bus", "train"} if "bus" in tree else set(NAMES)
    assert set(images.classes) == expected
    if "test" in tree:
        assert set(images.rejected["reason"]) == {"no label"} and len(images.rejected) == 5


def test_a_made_test_split_is_a_share_of_train_and_shares_no_group(tmp_path):
    frame = pl.DataFrame({"image": BLOBS[:40], "label": NAMES * 20, "part": ["train"] * 30 + ["dev"] * 10})
    frame.write_parquet(tmp_path / "x.parquet")
    images = load_images(tmp_path / "x.parquet", split="part", near=None)
    counts = Counter(images.table["part"])
    assert counts["select"] == 10 and counts["describe"] + counts["score"] == 30
    assert 6 <= counts["score"] <= 9 and "no test split" in images.notes[0]
    with pytest.raises(InputError, match="but no train"):
        frame = frame.with_columns(part=pl.col("part").replace({"train": "test"}))
        frame.write_parquet(tmp_path / "y.parquet")
        load_images(tmp_path / "y.parquet", split="part")


def test_a_dataset_with_one_part_is_not_divided(tmp_path):
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=NAMES)
    features = datasets.Features({"img": datasets.Image(), "label": label})
    rows = {"img": [{"bytes": b, "path": None} for b in BLOBS[:10]], "label": [0, 1] * 5}
    data = datasets.Dataset.from_dict(rows, features=features)
    whole = load_images(data)
    for part in ("train", "test"):
        datasets.DatasetDict({part: data}).save_to_disk(tmp_path / part)
        assert load_images(tmp_path / part).fingerprint == whole.fingerprint
    assert class_counts(whole)["describe"].sum() == 6
    assert "column 'img'" in whole.notes[0]


# ---- columns


def arrow_types():
    yield pa.string()
    yield pa.large_string()
    yield pa.string_view()
    yield pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize("dtype", list(arrow_types()), ids=str)
def test_paths_of_every_type_of_text(tmp_path, dtype):
    fill(tmp_path / "files", {"": 8})
    paths = pa.array([f"files/{k}.png" for k in range(8)], pa.string()).cast(dtype)
    labels = pa.array(NAMES * 4, pa.string()).cast(dtype)
    pq.write_table(pa.table({"photo": paths, "label": labels}), tmp_path / "x.parquet")
    images = load_images(tmp_path / "x.parquet")
    assert len(images.table) == 8 and list(images.classes) == NAMES
    assert dict(images.pictures()).keys() == set(images.table["id"])


@pytest.mark.parametrize("dtype", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
def test_bytes_of_every_type(tmp_path, dtype):
    table = pa.table({"image": pa.array(BLOBS[:8], dtype), "label": NAMES * 4})
    pq.write_table(table, tmp_path / "x.parquet")
    assert len(load_images(tmp_path / "x.parquet").table) == 8


def test_the_same_from_tables_in_memory(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pl.DataFrame({"image": BLOBS[:12], "label": NAMES * 6})
    frame.write_parquet(tmp_path / "0.parquet")
    expected = load_images(tmp_path / "0.parquet")
    (tmp_path / "parts").mkdir()
    for n in range(3):
        frame[n * 4 : n * 4 + 4].write_parquet(tmp_path / "parts" / f"{n}.parquet")
    sources = (
        frame,
        frame.to_arrow(),
        pandas.DataFrame(frame.to_dict(as_series=False)),
        frame.to_dicts(),
        tmp_path / "parts",
        str(tmp_path / "parts" / "*.parquet"),
    )
    for source in sources:
        images = load_images(source)
        assert images.fingerprint == expected.fingerprint
        assert images.table.drop("name").equals(expected.table.drop("name"))
        ids = images.table["id"].to_list()[::5]
        assert {id for id, _ in images.pictures(ids)} == set(ids)


def test_pictures_and_arrays_in_lists():
    rows = [{"image": photo(k), "label": NAMES[k % 2]} for k in range(6)]
    rows += [{"image": np.asarray(photo(k)), "label": NAMES[k % 2]} for k in range(6, 10)]
    rows += [{"image": 7, "label": "coot"}, {"image": None, "label": "coot"}]
    images = load_images(rows)
    assert len(images.table) == 10
    assert images.rejected["reason"].to_list() == ["no image", "no image"]


def test_the_column_of_images_is_found_or_asked_for(tmp_path):
    frame = pl.DataFrame({"n": range(8), "scan": BLOBS[:8], "species": NAMES * 4})
    images = load_images(frame)
    assert len(images.table) == 8
    assert [note.split(" was read")[0] for note in images.notes] == [
        "The column 'scan'",
        "The column 'species'",
    ]
    with pytest.raises(InputError, match=r"'scan' and 'mask' could be meant; say which with image=\.\.\."):
        load_images(frame.with_columns(mask=pl.col("scan")))
    with pytest.raises(InputError, match=r"'species' and 'place' could be meant; say which with label="):
        load_images(frame.with_columns(place=pl.lit("pond")))


def test_names_of_classes_in_tables_of_text_keep_their_zeros(tmp_path):
    fill(tmp_path, {"": 8})
    rows = "".join(f"{k}.png;{['007', '08'][k % 2]}\n" for k in range(8))
    (tmp_path / "x.csv").write_text("path;label\n" + rows)
    assert list(load_images(tmp_path / "x.csv").classes) == ["007", "08"]


# ---- limit


def test_a_limit_keeps_shares_and_what_a_smaller_one_kept(tmp_path):
    labels = ["common"] * 45 + ["rare"] * 10 + ["one"]
    frame = pl.DataFrame({"image": BLOBS[:56], "label": labels})
    kept = {}
    for limit in (3, 12, 28, 56, 99):
        images = load_images(frame, limit=limit, near=None)
        kept[limit] = set(images.table["id"])
        assert len(kept[limit]) == min(limit, 56) and images.total_rows == 56
        counts = Counter(images.table["label"])
        assert set(counts) == set(labels)
        for name, all_of_it in Counter(labels).items():
            assert abs(counts[name] - max(1, all_of_it * min(limit, 56) / 56)) <= 1.5
    assert kept[3] < kept[12] < kept[28] < kept[56] == kept[99]
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    assert set(load_images(shuffled, limit=12, near=None).table["id"]) == kept[12]
    assert set(load_images(frame, limit=12, seed=1, near=None).table["id"]) != kept[12]
    for limit in (2, 0, 2.5, True):
        with pytest.raises(InputError, match=f"limit={limit}"):
            load_images(frame, limit=limit)


def test_a_limit_decodes_only_what_it_keeps(monkeypatch):
    seen = []
    from saywell.data import images as module

    whole = module.decode
    monkeypatch.setattr(module, "decode", lambda data: seen.append(data) or whole(data))
    load_images(pl.DataFrame({"image": BLOBS, "label": NAMES * 30}), limit=9, near=None)
    assert len(seen) == 9


def test_names_that_no_utf8_can_hold(tmp_path):
    rows = [{"image": BLOBS[k], "label": "coot\ud83d" if k % 2 else "owl"} for k in range(6)]
    assert list(load_images(rows).classes) == ["coot?", "owl"]
    fill(tmp_path, TREE)
    odd = os.fsencode(tmp_path / "coot") + b"/caf\xe9.png"
    try:
        (tmp_path / "coot" / "0.png").rename(os.fsdecode(odd))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    images = load_images(tmp_path)
    assert "coot/caf?.png" in images.table["name"] and len(dict(images.pictures())) == 10
