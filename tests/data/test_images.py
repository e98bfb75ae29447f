from __future__ import annotations

import io
import os
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saywell.data.image_duplicates import difference_hash, near_duplicate_images, thumbnail
from saywell.data.images import class_counts, class_names, content_id, load_images, parts_by_class
from saywell.data.parts import PARTS
from saywell.errors import InputError


def photo(seed, size=32):
    """A smooth random picture: what a photograph is to the hash, unlike noise."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    for number, name in enumerate(["red kite", "blue_tit", "Wa\u0308lder"]):
        (root / name).mkdir(parents=True)
        for k in range(10):
            photo(number * 100 + k).save(root / name / f"{k}.png")
    return root


def test_a_folder_of_class_folders(folder):
    images = load_images(folder)
    assert images.total_rows == 30 and images.rejected.is_empty() and images.converted.is_empty()
    assert class_counts(images).rows() == [(n, 6, 2, 2) for n in ("Wälder", "blue tit", "red kite")]
    row = images.table.filter(name="red kite/3.png").row(0, named=True)
    assert row["id"] == content_id((folder / "red kite" / "3.png").read_bytes())
    assert (row["label"], row["width"], row["height"]) == ("red kite", 32, 32)
    assert images.table["id"].is_sorted()


def test_pictures_are_read_lazily_and_by_id(folder):
    images = load_images(folder)
    wanted = images.table["id"].to_list()[::7]
    found = dict(images.pictures(wanted))
    assert set(found) == set(wanted)
    for id, picture in found.items():
        name = images.table.filter(id=id)["name"][0]
        assert np.array_equal(np.asarray(picture), np.asarray(Image.open(folder / name)))
    with pytest.raises(InputError, match="no image with the id 'nope'"):
        next(images.pictures(["nope"]))
    photo(999).save(folder / images.table["name"][0])
    with pytest.raises(InputError, match="has changed since it was loaded"):
        list(images.pictures())


def test_pictures_are_shown_in_the_order_asked_for_and_those_of_a_part_are_all_there_are(folder, monkeypatch):
    monkeypatch.setattr("saywell.data.examples._PICTURES", 4)
    images = load_images(folder)
    whole = dict(images.pictures())
    rows = [7, 3, 3, 25, 0, 11, 29, 7, 2]
    for row, picture in zip(rows, images.show(rows), strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(whole[images.ids[row]]))
    assert len(list(images.show())) == 30
    told = images.only(images.parts.describe)
    assert dict(told.pictures()).keys() == set(images.table.filter(part="describe")["id"])
    assert len(list(told.show())) == len(told) == 18
    with pytest.raises(InputError, match="no image with the id"):
        told.pictures([images.table.filter(part="score")["id"][0]])
    with pytest.raises(InputError, match="are images and have no text"):
        told.texts  # noqa: B018


def test_every_bad_file_is_reported_by_name(folder):
    good = png(photo(0))
    (folder / "red kite" / "text.jpg").write_text("no picture")
    (folder / "red kite" / "cut.png").write_bytes(png(photo(50, 200))[:-2000])
    (folder / "red kite" / "dot.png").write_bytes(png(Image.new("RGB", (1, 1))))
    (folder / "red kite" / "nothing.png").write_bytes(b"")
    (folder / "red kite" / "again.png").write_bytes(good)
    (folder / "outside.png").write_bytes(png(photo(77)))
    (folder / "red kite" / ".hidden").write_text("not looked at")
    Image.new("CMYK", (16, 16), (0, 255, 90, 0)).save(folder / "red kite" / "print.jpg")
    images = load_images(folder)
    assert {r["name"]: r["reason"] for r in images.rejected.iter_rows(named=True)} == {
        "red kite/text.jpg": "not an image",
        "red kite/cut.png": "truncated",
        "red kite/dot.png": "too small",
        "red kite/nothing.png": "empty file",
        "red kite/again.png": "duplicate",
        "outside.png": "no label",
    }
    assert images.rejected.filter(reason="duplicate")["detail"][0] == "of red kite/0.png"
    assert images.converted.select("name", "change").rows() == [
        ("red kite/print.jpg", "CMYK to RGB, without a colour profile")
    ]
    assert len(images.table) + len(images.rejected) == images.total_rows


def test_a_pipe_among_the_images_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "red kite" / "pipe.png")
    (folder / "red kite" / "zero.png").symlink_to("/dev/zero")
    rejected = load_images(folder).rejected
    assert dict(rejected.select("name", "reason").iter_rows()) == {
        "red kite/pipe.png": "not a file",
        "red kite/zero.png": "not a file",
    }


def test_the_real_bad_files(shared, folder):
    for name in ("truncated.jpg", "not_an_image.jpg"):
        data = (shared / "data" / "images" / "bad_files" / name).read_bytes()
        (folder / "red kite" / name).write_bytes(data)
    rejected = load_images(folder).rejected
    assert dict(rejected.select("name", "reason").iter_rows()) == {
        "red kite/not_an_image.jpg": "not an image",
        "red kite/truncated.jpg": "truncated",
    }


def test_copies_with_other_labels_are_all_refused(folder):
    photo(0).save(folder / "blue_tit" / "copy.bmp")
    images = load_images(folder)
    assert images.rejected["reason"].to_list() == ["conflicting labels"] * 2
    assert set(images.rejected["name"]) == {"blue_tit/copy.bmp", "red kite/0.png"}


def test_near_duplicates_share_a_split(folder):
    for k in range(10):
        photo(k).resize((48, 48)).save(folder / "red kite" / f"{k}.jpg", quality=70)
    images = load_images(folder)
    assert len(images.table) == 40
    by_group = images.table.group_by("group").agg(pl.col("part").n_unique(), pl.len())
    assert by_group["part"].max() == 1
    assert Counter(by_group["len"].to_list()) == {2: 10, 1: 20}
    alone = load_images(folder, near=None)
    assert alone.table.group_by("group").len()["len"].max() == 1


def test_the_same_whatever_the_source(folder, tmp_path):
    images = load_images(folder)
    names, blobs, labels = [], [], []
    for name in sorted(images.table["name"], reverse=True):
        names.append(name)
        blobs.append((folder / name).read_bytes())
        labels.append(name.split("/")[0])
    structs = [{"bytes": b, "path": None} for b in blobs]
    pl.DataFrame({"image": structs, "label": labels}).write_parquet(tmp_path / "a.parquet", row_group_size=7)
    pl.DataFrame({"picture": blobs, "label": labels}).write_parquet(tmp_path / "b.parquet")
    lines = [f'"{folder.name}/{n}","{label}"' for n, label in zip(names, labels, strict=True)]
    (tmp_path / "c.csv").write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    for other in (
        load_images(tmp_path / "a.parquet"),
        load_images(tmp_path / "b.parquet", image="picture"),
        load_images(tmp_path / "c.csv"),
    ):
        assert other.fingerprint == images.fingerprint
        assert other.table.drop("row", "name").equals(images.table.drop("row", "name"))
        ids = [other.table["id"][i] for i in (20, 3, 11)]
        assert {i for i, _ in other.pictures(ids)} == set(ids)


def test_a_saved_dataset_with_class_labels(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = sorted(folder.rglob("*.png"))
    names = ["blue_tit", "red kite", "Wa\u0308lder", "never seen"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    data = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": f.read_bytes(), "path": None} for f in files],
            "label": [names.index(f.parent.name) for f in files],
        },
        features=features,
    )
    data.save_to_disk(tmp_path / "saved")
    images = load_images(tmp_path / "saved")
    assert images.table.drop("row", "name").equals(load_images(folder).table.drop("row", "name"))
    assert class_counts(images).filter(name="never seen").row(0) == ("never seen", 0, 0, 0)
    parts = datasets.DatasetDict(train=data.select(range(20)), test=data.select(range(20, 30)))
    parts.save_to_disk(tmp_path / "parts")
    split = load_images(tmp_path / "parts").table
    assert split.filter(pl.col("row") >= 20)["part"].unique().to_list() == ["score"]
    data.to_parquet(tmp_path / "hub.parquet")
    assert load_images(tmp_path / "hub.parquet").fingerprint == images.fingerprint


def test_a_split_of_the_sources_own_is_kept_and_does_not_leak(tmp_path):
    pictures = [photo(k) for k in range(20)]
    blobs = [png(p) for p in pictures]
    parts = ["train"] * 14 + ["test"] * 6
    blobs[0] = png(pictures[19].resize((40, 40)))  # nearly the last test image
    blobs[1] = png(pictures[18])  # exactly the one before it
    frame = pl.DataFrame({"image": blobs, "label": ["a", "b"] * 10, "part": parts})
    frame = frame.with_columns(
        label=pl.when(pl.int_range(20).is_in([0, 19])).then(pl.lit("b")).otherwise("label")
    )
    frame = frame.with_columns(
        label=pl.when(pl.int_range(20).is_in([1, 18])).then(pl.lit("a")).otherwise("label")
    )
    frame.write_parquet(tmp_path / "x.parquet")
    images = load_images(tmp_path / "x.parquet", split="part")
    assert images.rejected.select("row", "reason").rows() == [(0, "in two splits"), (1, "duplicate")]
    tested = images.table.filter(part="score")["row"].sort().to_list()
    assert tested == list(range(14, 20))
    counts = Counter(images.table["part"])
    assert counts["describe"] + counts["select"] == 12 and counts["select"] in (2, 3)


def test_folders_called_train_and_test_are_splits(folder, tmp_path):
    root = tmp_path / "both"
    root.mkdir()
    for part in ("train", "test"):
        for name in ("red kite", "blue_tit"):
            (root / part / name).mkdir(parents=True)
            for k in range(5):
                photo(hash((part, name, k)) % 10**6).save(root / part / name / f"{k}.png")
    images = load_images(root)
    assert list(images.classes) == ["blue tit", "red kite"]
    for name, part in images.table.select("name", "part").iter_rows():
        assert (part == "score") == name.startswith("test/")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "gone", "there is no file or folder"),
        (lambda p: (p / "x.txt").write_text("a") and p / "x.txt", "ends in '.txt'"),
        (lambda p: p, "holds no class folders"),
        (
            lambda p: (p / "x.csv").write_text("file,label\na,b") and p / "x.csv",
            "no column 'path'; columns: 'file', 'label'",
        ),
        (
            lambda p: (p / "x.csv").write_text("path,label\nno.png,b") and p / "x.csv",
            r"1 images, of which none is usable \(1 missing\)",
        ),
        (
            lambda p: (p / "x.parquet").write_bytes(b"nonsense") and p / "x.parquet",
            "cannot be read as Parquet",
        ),
    ],
)
def test_sources_that_cannot_be_used(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        load_images(make(tmp_path))


def test_numbers_are_no_class_names(tmp_path):
    frame = pl.DataFrame({"image": [png(photo(1))], "label": [3], "label_name": ["dog"]})
    frame.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"give label=\.\.\. one of 'label_name'"):
        load_images(tmp_path / "x.parquet")
    assert class_counts(load_images(tmp_path / "x.parquet", label="label_name"))["describe"].to_list() == [1]


@pytest.mark.parametrize("twins", [["Dog", "dog"], ["red_kite", "red kite"], ["a", "a"], ["é", "e\u0301"]])
def test_class_names_that_read_the_same_are_an_error(twins):
    with pytest.raises(InputError, match="which read the same"):
        class_names(twins, "x")


def test_a_thousand_classes(tmp_path):
    frame = pl.DataFrame(
        {"image": [png(photo(k, 8)) for k in range(1000)], "label": [f"class {k}" for k in range(1000)]}
    )
    frame.write_parquet(tmp_path / "x.parquet")
    images = load_images(tmp_path / "x.parquet")
    assert len(images.classes) == 1000
    assert images.table.filter(pl.col("part") != "describe").is_empty()


def test_real_images(shared):
    images = load_images(shared / "data" / "images" / "pacs.parquet", label="label_name")
    assert len(images.classes) == 7 and len(images.table) >= 690
    assert class_counts(images).select(pl.col("score").min()).item() >= 18
    assert images.table.group_by("group").agg(pl.col("part").n_unique())["part"].max() == 1


# ---- splitting and near duplicates


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=1, max_size=60), st.randoms())
def test_splits_are_whole_groups_and_do_not_depend_on_order(drawn, random):
    n = len(drawn)
    labels, groups = [f"c{a}" for a, _ in drawn], np.array([b for _, b in drawn])
    ids = [f"{k:04d}" for k in range(n)]
    splits = parts_by_class(labels, ids, groups, 0, (0.6, 0.2, 0.2))
    assert len({(g, s) for g, s in zip(groups, splits, strict=True)}) == len(set(groups))
    order = list(range(n))
    random.shuffle(order)
    again = parts_by_class(
        [labels[k] for k in order], [ids[k] for k in order], groups[order], 0, (0.6, 0.2, 0.2)
    )
    assert again == [splits[k] for k in order]


@pytest.mark.parametrize(
    ("n", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (10, (6, 2, 2)), (100, (60, 20, 20))]
)
def test_split_sizes_of_a_class(n, expected):
    splits = parts_by_class(["a"] * n, [str(k) for k in range(n)], np.arange(n), 3, (0.6, 0.2, 0.2))
    assert tuple(splits.count(s) for s in PARTS) == expected


def test_seed_decides_the_split():
    ids = [str(k) for k in range(50)]
    one, two = (parts_by_class(["a"] * 50, ids, np.arange(50), seed, (0.6, 0.2, 0.2)) for seed in (0, 1))
    assert one != two


def features(pictures):
    hashes = np.array([difference_hash(p) for p in pictures], dtype=np.uint64)
    return hashes, np.stack([thumbnail(p) for p in pictures])


def test_copies_are_found_and_others_are_not():
    originals = [photo(k, 64) for k in range(60)]
    copies = [p.resize((30, 30), Image.Resampling.BICUBIC) for p in originals]
    groups = near_duplicate_images(*features(originals + copies))
    assert groups.tolist() == [*range(60), *range(60)]


def test_like_outlines_of_other_colours_are_not_the_same():
    red = Image.new("RGB", (64, 64), (255, 255, 255))
    red.paste((200, 0, 0), (16, 16, 48, 48))
    blue = Image.new("RGB", (64, 64), (255, 255, 255))
    blue.paste((0, 0, 200), (16, 16, 48, 48))
    assert near_duplicate_images(*features([red, blue, red.resize((32, 32))])).tolist() == [0, 1, 0]


def test_blocks_do_not_change_the_groups(monkeypatch):
    pictures = [photo(k // 2, 30 + k % 2) for k in range(40)]
    whole = near_duplicate_images(*features(pictures))
    monkeypatch.setattr("saywell.data.image_duplicates._PAIRS_AT_ONCE", 50)
    monkeypatch.setattr("saywell.data.image_duplicates._COMPARED_AT_ONCE", 3)
    assert np.array_equal(near_duplicate_images(*features(pictures)), whole)


@pytest.mark.parametrize("near", [-1, 51, "much", True])
def test_tolerances_out_of_range(folder, near):
    with pytest.raises(InputError, match="is not a mean difference of 0 to 50"):
        load_images(folder, near=near)
