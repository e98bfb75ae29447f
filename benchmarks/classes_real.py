"""The study of classes on photographs, drawings and textures, without a dual encoder.

    python benchmarks/classes_real.py --data ../shared/data --models ../shared/models --out FOLDER
        [--only cifar10 pacs dtd clip] [--shots 1,2,4,8,16] [--seeds 5]

MobileNet-v2 features are joined to MiniLM by a ridge map, fitted on one picture of each of the
1,000 ImageNet classes, also at the size of the study's own, and its name. Texts are the published
descriptors of `llm_descriptors` for the same classes. The PACS domains are one study each. Prints
Markdown tables; features are kept in FOLDER, so a second run is quick.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image

from classes_planted import print_tables
from saywell.data.captioned import load_captioned, seen_at, typical_side
from saywell.data.images import load_images
from saywell.encoders.cache import EmbeddingCache
from saywell.encoders.joined import join_encoders
from saywell.encoders.precomputed import open_precomputed
from saywell.encoders.sentence import open_sentence_encoder
from saywell.encoders.vision import VisionEncoder, open_vision_encoder
from saywell.store.study import Study
from saywell.studies.classes import describe_classes
from saywell.transfer.text_sets import TextSet

PACS_NAMES = {
    "dog": ["dog"],
    "horse": ["horse"],
    "elephant": ["elephant"],
    "house": ["house"],
    "person": ["man", "woman"],
    "guitar": ["acoustic guitar", "electric guitar"],
}
GIRAFFE = [
    "a giraffe has a very long neck",
    "long thin legs",
    "brown patches on a pale yellow coat",
    "two short horns on the head",
    "a small head high above the ground",
    "a long dark tongue",
    "a tail with a dark tuft",
    "large dark eyes",
    "a mane along the neck",
    "a sloping back",
]
"""No published file describes giraffes; these were written for this table."""


class KeptVision:
    """A vision encoder whose features are kept on disk, by pixels."""

    def __init__(self, inner: VisionEncoder, path: Path) -> None:
        self.name, self.fingerprint, self.dim = inner.name, inner.fingerprint, inner.dim
        self._inner, self._cache = inner, EmbeddingCache(path)

    def __call__(self, images: Sequence[Image.Image]) -> np.ndarray:
        """The features, computed where they are not kept."""
        return np.concatenate([self._some(images[n : n + 64]) for n in range(0, len(images), 64)])

    def _some(self, images: Sequence[Image.Image]) -> np.ndarray:
        keys = [
            blake2b(f"{self.fingerprint}{i.size}".encode() + i.tobytes(), digest_size=16).digest()
            for i in images
        ]
        found = self._cache.find(keys, self.dim)
        missing = [n for n, key in enumerate(keys) if key not in found]
        if missing:
            made = dict(
                zip((keys[n] for n in missing), self._inner([images[n] for n in missing]), strict=True)
            )
            self._cache.add(made.items())
            found |= made
        return np.stack([found[key] for key in keys])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["dtd", "pacs", "cifar10", "clip"])
    parser.add_argument("--shots", default="1,2,4,8,16")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--select", default="stepwise")
    parser.add_argument("--features", action="store_true", help="only compute features")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    vision = KeptVision(
        open_vision_encoder(str(options.models / "mobilenet-v2-imagenet")), options.out / "features.sqlite"
    )
    if options.features:
        for name in ("imagenet1k_one_each", "dtd10", "pacs", "cifar10_test"):
            found = load_captioned(options.data / "images" / f"{name}.parquet", label="label_name")
            shown = found.pictures
            if name.startswith("imagenet"):
                shown, _ = seen_at(shown, 32)
            for start in range(0, len(shown), 64):
                vision(shown[start : start + 64])
            print(name, flush=True)
        return
    descriptors = pl.read_parquet(options.data / "llm_descriptors" / "llm_descriptors.parquet")
    pictures, captions, _ = load_captioned(
        options.data / "images" / "imagenet1k_one_each.parquet", label="label_name", caption="a photo of a {}"
    )
    sentence = open_sentence_encoder("minilm")
    for name, source, texts, compare in tasks(options.data, descriptors, options.out, options.only):
        started = time.perf_counter()
        label = "label_name" if source.suffix == ".parquet" else "label"
        side = typical_side(source, label=label)
        encoder = join_encoders(vision, sentence, pictures, captions, side=side)
        print(f"<!-- {name}: {side} pixels, penalty {encoder.mapping.strength:g} -->", flush=True)
        study = describe_classes(
            source,
            out=options.out / name,
            encoder=encoder,
            texts=texts,
            compare=compare,
            select=options.select,
            shots=[int(s) for s in options.shots.split(",") if s],
            seeds=options.seeds,
            label=label,
            split="split",
            progress=told,
        )
        print(f"\n## {name} ({time.perf_counter() - started:.0f} s)\n", flush=True)
        print_tables(study)
    if "clip" in options.only:
        clip_space(options.data / "clip_space", options.out)
    print_overview([Study(file.parent) for file in sorted(options.out.glob("*/study.json"))])


def print_overview(studies: Sequence[Study]) -> None:
    """All studies in the folder side by side: accuracy without images, and with one a class."""
    names = [study.path.name for study in studies]
    chosen = [
        "clip-only",
        "clip-standardised",
        "ift-proponent",
        "text-influence-all",
        "stepwise",
        "random words, searched",
    ]
    zero_shot = ["class names", "all texts", *chosen, "random words, name-free, searched"]
    one_shot = ["images only", "class names", "all texts", *chosen, "images and validation images"]
    for title, methods, found in (
        ("zero-shot", zero_shot, [study.table("zero_shot") for study in studies]),
        (
            "one image a class, validation beside",
            one_shot,
            [
                study.table("transfer_summary").filter(shots=1, selection="select", training="two-phase")
                for study in studies
            ],
        ),
    ):
        print(f"\n| {title} | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for method in methods:
            cells = [
                f"{row['accuracy']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
                for table in found
                for row in table.iter_rows(named=True)
                if TextSet(*(row[c] for c in TextSet._fields)).said == method
            ]
            print(f"| {method} | {' | '.join(cells)} |")


def tasks(
    data: Path, descriptors: pl.DataFrame, out: Path, only: Sequence[str]
) -> Iterator[tuple[str, Path, Path, list[Path]]]:
    """Name, images, texts to choose from, and files to compare with."""
    images = data / "images"
    if "dtd" in only:
        names = pl.read_parquet(images / "dtd10.parquet", columns=["label_name"])["label_name"]
        yield (
            "dtd",
            images / "dtd10.parquet",
            *_files(descriptors.filter(dataset="dtd"), {n: [n] for n in names.unique()}, out, "dtd"),
        )
    if "pacs" in only:
        table = pl.read_parquet(images / "pacs.parquet")
        known = descriptors.filter(pl.col("dataset").is_in(["cifar10", "cifar100", "imagenet"]))
        for domain in ("photo", "art_painting", "cartoon", "sketch"):
            part = table.filter(domain=domain)
            source = _folder(part, out / f"pacs-{domain}-images")
            yield (f"pacs-{domain}", source, *_files(known, PACS_NAMES, out, "pacs"))
    if "cifar10" in only:
        names = pl.read_parquet(images / "cifar10_test.parquet", columns=["label_name"])
        wanted = {n: [n] for n in names["label_name"].unique()}
        own = descriptors.filter(dataset="cifar10")
        source = fresh_split(images / "cifar10_test.parquet", out / "cifar10-images.parquet")
        yield "cifar10", source, *_files(own, wanted, out, "cifar10")


def fresh_split(source: Path, target: Path) -> Path:
    """CIFAR-10 with a split of its own: 600 pictures to choose with, and 800 test pictures.

    No figure here was made from the test pictures before.

    Earlier figures used the split by hash: 400 of its test pictures were looked at often. Now 800
    of its 1,200 training pictures are the test, and its validation pictures and half of its test
    pictures choose; the rest trains.
    """
    earlier = load_images(source, label="label_name").table.sort("id")
    parts = dict.fromkeys(earlier["row"], "train")
    trained = earlier.filter(part="describe")
    for _, share in trained.group_by("label", maintain_order=True):
        parts |= dict.fromkeys(share["row"].head(80), "test")
    parts |= dict.fromkeys(earlier.filter(part="select")["row"], "validation")
    for _, share in earlier.filter(part="score").group_by("label", maintain_order=True):
        parts |= dict.fromkeys(share["row"].head(20), "validation")
    table = pl.read_parquet(source).with_row_index()
    kept = table.filter(pl.col("index").is_in(list(parts)))
    split = pl.Series([parts[row] for row in kept["index"]])
    kept.drop("index").with_columns(split=split).write_parquet(target)
    return target


def _files(
    descriptors: pl.DataFrame, wanted: dict[str, list[str]], out: Path, name: str
) -> tuple[Path, list[Path]]:
    """All texts of all sources as candidates, at most 40 of a source and class.

    The sources that know every class come as files of their own, too.
    """
    every: dict[str, list[str]] = {}
    by_source: dict[str, dict[str, list[str]]] = {}
    for label, names in sorted(wanted.items()):
        found = descriptors.filter(pl.col("class").is_in(names)).sort("source", "position")
        for source, part in found.group_by("source", maintain_order=True):
            texts = part["descriptor"].head(40).to_list()
            by_source.setdefault(str(source[0]), {})[label] = texts
            every.setdefault(label, []).extend(texts)
    if name == "pacs":
        every["giraffe"] = GIRAFFE
    path = out / f"{name}-texts.json"
    path.write_text(json.dumps(every))
    files = []
    for source, texts in by_source.items():
        if set(texts) == set(every):
            file = out / f"{name}-{source.replace(' ', '-').replace('(', '').replace(')', '')}.json"
            file.write_text(json.dumps(texts))
            files.append(file)
    return path, sorted(files)


def _folder(table: pl.DataFrame, folder: Path) -> Path:
    """A CSV of path, label and split, with the pictures beside it as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, row in enumerate(table.iter_rows(named=True)):
        file = folder / f"{number:04}.img"
        file.write_bytes(row["image"]["bytes"])
        rows.append({"path": file.name, "label": row["label_name"], "split": row["split"]})
    pl.DataFrame(rows).write_csv(folder / "images.csv")
    return folder / "images.csv"


def clip_space(folder: Path, out: Path) -> None:
    """Fifty true CLIP embeddings: zero-shot by names, as a check of the arithmetic."""
    table = pl.read_parquet(folder / "images50.parquet")
    listed = json.loads((folder / "names.json").read_text())["coco80"]
    encoder = open_precomputed(
        folder / "images50.safetensors",
        folder / "text_embeddings.safetensors",
        text_tensor="coco80",
        names=listed,
    )
    words = {
        "dog": "dog",
        "cat": "cat",
        "man": "person",
        "woman": "person",
        "car": "car",
        "ship": "boat",
        "train": "train",
    }
    subjects = table["subject"].to_list()
    rows = [row for row, subject in enumerate(subjects) if subject in words]
    ids = pl.DataFrame({"id": [str(r) for r in rows], "row": rows})
    vectors = encoder.image_vectors(ids, ids["id"].to_list())
    for name, among in (("6 names", sorted(set(words.values()))), ("80 COCO names", listed)):
        texts = encoder.encode_texts(among)
        guess = (vectors @ texts.T).argmax(1)
        right = sum(among[g] == words[subjects[r]] for g, r in zip(guess, rows, strict=True))
        print(f"\nclip_space, {name}: {right} of {len(rows)}")


@contextmanager
def told(label: str, total: int) -> Iterator[Callable[[int], None]]:
    started = time.perf_counter()
    yield lambda done: None
    print(f"<!-- {label}: {time.perf_counter() - started:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
