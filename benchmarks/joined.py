"""What a map between two encoders learns from pictures of the size it will be asked about.

    python benchmarks/joined.py --data ../shared/data --models ../shared/models --out FOLDER

MobileNet-v2 and MiniLM are joined on one picture of each of 1,000 ImageNet classes and "a photo of a
NAME", with and without copies shrunk to 32 pixels. First table: zero-shot accuracy among 10 names on
classes that were held out (10 folds of classes, 200 draws of names a fold). Second: zero-shot
accuracy by class name over all pictures of other sets, PACS by domain. Features are kept in
FOLDER/features.sqlite, which `classes_real.py` shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from classes_real import KeptVision
from saywell.data.captioned import load_captioned, seen_at
from saywell.data.splits import hash_numbers
from saywell.encoders.joined import LinearMap, fit_map
from saywell.encoders.sentence import SentenceEncoder, open_sentence_encoder
from saywell.encoders.vision import open_vision_encoder
from saywell.transfer.zero_shot import class_embeddings, name_texts, predict

SIDE, FOLDS, NAMES, DRAWS = 32, 10, 10, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    images = options.data / "images"
    vision = KeptVision(
        open_vision_encoder(str(options.models / "mobilenet-v2-imagenet")), options.out / "features.sqlite"
    )
    sentence = open_sentence_encoder("minilm")
    pictures, names, _ = load_captioned(images / "imagenet1k_one_each.parquet", label="label_name")
    seen, of = seen_at(pictures, SIDE)
    features = np.concatenate([vision(seen[n : n + 64]) for n in range(0, len(seen), 64)])
    plain, small = features[: len(names)], np.zeros((len(names), features.shape[1]))
    small[of[len(names) :]] = features[len(names) :]
    vectors = sentence([f"a photo of a {name}" for name in names])

    def joined(keep: np.ndarray, copies: bool, method: str = "ridge") -> LinearMap:
        rows = np.concatenate([plain[keep], small[keep]]) if copies else plain[keep]
        times = 1 + copies
        kept = [names[k] for k in np.flatnonzero(keep)]
        return fit_map(rows, np.tile(vectors[keep], (times, 1)), kept * times, method=method)

    print(f"| learned from | pictures as they are | at {SIDE} pixels |\n|---|---|---|")
    fold = hash_numbers(names, 0, "joined") % FOLDS
    for copies in (False, True):
        found = {True: [], False: []}
        for held in range(FOLDS):
            mapping = joined(fold != held, copies)
            for shrunk, x in ((False, plain), (True, small)):
                own = fold == held
                found[shrunk].append(among(mapping.map_images(x[own]), mapping.map_texts(vectors[own]), held))
        row = [f"{np.mean(found[s]):.3f}" for s in (False, True)]
        print(f"| pictures{' and copies' if copies else ''} | {' | '.join(row)} |", flush=True)

    sets = dict(other_sets(images, vision))
    print(f"\n| map | {' | '.join(sets)} |\n|---|{'---|' * len(sets)}")
    everything = np.ones(len(names), dtype=bool)
    for method in ("ridge", "orthogonal"):
        for copies in (False, True):
            mapping = joined(everything, copies, method)
            cells = [f"{by_name(mapping, sentence, *own):.3f}" for own in sets.values()]
            label = f"{method}, {'with' if copies else 'no'} copies ({mapping.strength:.3g})"
            print(f"| {label} | {' | '.join(cells)} |", flush=True)


def among(images: np.ndarray, texts: np.ndarray, seed: int) -> float:
    """How often an image's own text is nearest among NAMES drawn ones."""
    random, similar = np.random.default_rng(seed), images @ texts.T
    right = []
    for _ in range(DRAWS):
        some = random.choice(len(similar), NAMES, replace=False)
        right.append((similar[np.ix_(some, some)].argmax(1) == np.arange(NAMES)).mean())
    return float(np.mean(right))


def other_sets(images: Path, vision: KeptVision) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Name, features and class names of the sets to be classified."""
    for name, file in (("CIFAR-10", "cifar10_test"), ("DTD", "dtd10"), ("PACS", "pacs")):
        found = load_captioned(images / f"{file}.parquet", label="label_name")
        x = np.concatenate([vision(found.pictures[n : n + 64]) for n in range(0, len(found.pictures), 64)])
        labels = np.array(found.captions)
        if name != "PACS":
            yield name, (x, labels)
            continue
        domains = pl.read_parquet(images / f"{file}.parquet", columns=["domain"])["domain"]
        for domain in ("photo", "art_painting", "cartoon", "sketch"):
            rows = (domains == domain).to_numpy()
            yield f"PACS {domain}", (x[rows], labels[rows])


def by_name(mapping: LinearMap, sentence: SentenceEncoder, x: np.ndarray, labels: np.ndarray) -> float:
    """Zero-shot accuracy with class names in the usual templates."""
    names = sorted(set(labels))
    texts, place = name_texts(names)
    means = class_embeddings(mapping.map_texts(sentence(texts)), place, len(names))
    guess = predict(mapping.map_images(x), means)
    return float((np.array(names)[guess] == labels).mean())


if __name__ == "__main__":
    main()
