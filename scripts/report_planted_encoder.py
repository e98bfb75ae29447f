"""Print how well the planted encoder sees, and how far its articles mislead it.

    python scripts/report_planted_encoder.py src/saywell/data/planted/encoder

All pictures are of the planted classes, which the encoder has not met.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from transformers import AutoProcessor, CLIPModel

from saywell.data.planted.articles import LABELS, sentences
from saywell.data.planted.captions import ADJECTIVES, PLACES
from saywell.data.planted.scenes import ATTRIBUTES
from saywell.data.planted.world import CLASSES, pictures

TEMPLATES = ("a picture of a {} figure", "it is {}", "a {} thing", "the body is {}")
PHRASES = {
    **{a: {v: words[0] for v, words in ADJECTIVES[a].items()} for a in ADJECTIVES},
    "layout": {value: words[0] for value, words in PLACES.items()},
    "count": dict(zip(ATTRIBUTES["count"], ("a single", "two", "three", "four"), strict=True)),
}
OWN_TEMPLATES = {
    "count": ("{} figures", "a picture of {} shapes"),
    "layout": ("placed {}", "it lies {}", "figures {}"),
    "ground": ("on a {} background", "the ground is {}"),
}


def main() -> None:
    """Print the tables for the encoder folder named on the command line."""
    parser = argparse.ArgumentParser(description="Print how well the planted encoder sees")
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--per-class", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = CLIPModel.from_pretrained(options.encoder).eval()
    processor = AutoProcessor.from_pretrained(options.encoder)
    shown = list(pictures(options.per_class, options.seed))
    images = embed_images(model, processor, [picture.image for picture in shown])
    labels = np.array([list(CLASSES).index(picture.label) for picture in shown])
    texts = sentences()
    embedded = embed_texts(model, processor, texts["text"].to_list())

    print("attribute: zero-shot accuracy from one word a value, chance")
    for attribute, values in ATTRIBUTES.items():
        answers = np.array([values.index(getattr(p.scene, attribute)) for p in shown])
        templates = OWN_TEMPLATES.get(attribute, TEMPLATES)
        words = [[t.format(PHRASES[attribute][v]) for t in templates] for v in values]
        prompts = np.stack([embed_texts(model, processor, w).mean(0) for w in words])
        right = (images @ unit(prompts).T).argmax(1) == answers
        # Mean over values, since the classes show some values far more than others.
        balanced = np.mean([right[answers == k].mean() for k in np.unique(answers)])
        print(f"  {attribute:8} {right.mean():.3f} (balanced {balanced:.3f}), {1 / len(values):.3f}")

    print("\nclass: zero-shot accuracy from the mean of its texts (chance 0.062)")
    of_class = np.array([list(CLASSES).index(label) for label in texts["label"]])
    gold = texts["gold"].to_numpy()
    names = embed_texts(model, processor, [f"a picture of a {name}" for name in CLASSES])
    print(f"  name only           {accuracy(images, labels, names):.3f}")
    for kind in (*LABELS, "all"):
        rows = np.ones(len(gold), bool) if kind == "all" else gold == kind
        prototypes = np.stack([embedded[rows & (of_class == c)].mean(0) for c in range(16)])
        print(f"  {kind:19} {accuracy(images, labels, prototypes):.3f}")

    cosine = embedded @ images.T
    own = np.array([cosine[i, labels == c].mean() for i, c in enumerate(of_class)])
    other = np.array([cosine[i, labels != c].mean() for i, c in enumerate(of_class)])
    good = gold == "visible-true"
    print("\nAUROC for visible-true sentences, mean over classes")
    for name, score in (("CLIP-only: mean cosine", own), ("own less other classes", own - other)):
        print(f"  {name:24} {by_class(good, score, of_class, np.ones(len(good), bool)):.3f}", end="")
        for kind in LABELS[1:]:
            rows = good | (gold == kind)
            print(f"  against {kind} {by_class(good, score, of_class, rows):.3f}", end="")
        print()
    print(
        texts.with_columns(cosine=own, lift=own - other)
        .group_by("gold")
        .agg(pl.col("cosine").mean(), pl.col("cosine").std().alias("spread"), pl.col("lift").mean())
    )

    print("\nlinear classifier: images only; with all texts; with visible-true texts (5 draws)")
    rng = np.random.default_rng(0)
    half = np.array([picture.number < options.per_class // 2 for picture in shown])
    for shots in (1, 2, 4, 8, 16):
        scores = []
        for _ in range(5):
            chosen = np.concatenate(
                [rng.permutation(np.flatnonzero(half & (labels == c)))[:shots] for c in range(16)]
            )
            scores.append(
                [
                    fit(images[chosen], labels[chosen], embedded[rows], of_class[rows]).score(
                        images[~half] - images[chosen].mean(0), labels[~half]
                    )
                    for rows in (np.zeros(len(good), bool), np.ones(len(good), bool), good)
                ]
            )
        print(f"  {shots:2} shots " + "  ".join(f"{x:.3f}" for x in np.mean(scores, 0)))


def embed_images(model: CLIPModel, processor, images: list[Image.Image]) -> np.ndarray:
    """Unit embeddings [n, dim]."""
    with torch.no_grad():
        pixels = processor.image_processor(images, return_tensors="pt")["pixel_values"]
        projected = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        return unit(projected.numpy())


def embed_texts(model: CLIPModel, processor, texts: list[str]) -> np.ndarray:
    """Unit embeddings [n, dim]."""
    with torch.no_grad():
        tokens = processor.tokenizer(texts, padding=True, return_tensors="pt")
        pooled = model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return unit(model.text_projection(pooled).numpy())


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows, each divided by its length."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def accuracy(images: np.ndarray, labels: np.ndarray, prototypes: np.ndarray) -> float:
    """Share of images nearest, by mean cosine, to the prototype of their class."""
    return float(((images @ prototypes.T).argmax(1) == labels).mean())


def by_class(good: np.ndarray, score: np.ndarray, of_class: np.ndarray, rows: np.ndarray) -> float:
    """Mean over classes of the AUROC among the class's sentences in `rows`."""
    each = []
    for c in np.unique(of_class):
        mine = rows & (of_class == c)
        each.append(roc_auc_score(good[mine], score[mine]))
    return float(np.mean(each))


def fit(
    images: np.ndarray, labels: np.ndarray, texts: np.ndarray, of_class: np.ndarray
) -> LogisticRegression:
    """A linear head on images and texts, each modality centred, texts weighing half as much."""
    x, y, weight = images - images.mean(0), labels, np.ones(len(labels))
    if len(texts):
        x = np.concatenate([x, texts - texts.mean(0)])
        y = np.concatenate([y, of_class])
        weight = np.concatenate([weight, np.full(len(texts), 0.5 * len(labels) / len(texts))])
    return LogisticRegression(C=30, max_iter=300).fit(x, y, sample_weight=weight)


if __name__ == "__main__":
    main()
