"""What a new image is, by the descriptions that a study chose, and which of them said so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from saywell.data.images import CLASSES
from saywell.data.pictures import BadPicture, decode, picture_bytes
from saywell.describers.class_texts.class_describer import CLASS_TEXTS
from saywell.encoders.joined import JoinedEncoder, save_map
from saywell.encoders.vectors import unit_length
from saywell.errors import InputError, StudyError
from saywell.selection.text_influence import TEXT_SCORES
from saywell.store.files import read_array, write_arrays
from saywell.store.study import Metric, Study
from saywell.store.table import Table
from saywell.studies.classes.pool import Compared
from saywell.studies.spine import Run
from saywell.transfer.zero_shot import class_embeddings, class_scores

if TYPE_CHECKING:
    from PIL import Image

READER = "arrays/reader.safetensors"
MAP = "arrays/map.safetensors"
EncodeImages = Callable[[Sequence["Image.Image"]], np.ndarray]


def classify_images(
    study: Study | str | Path,
    files: Sequence[str | Path],
    *,
    encode: EncodeImages | None = None,
    classes: int = 3,
    texts: int = 3,
) -> pl.DataFrame:
    """The likeliest classes of each image file, and the descriptions that speak for each.

    Columns: file, problem (null, or why the file cannot be used), rank (1: the likeliest), class,
    score (mean cosine with the class's chosen texts), texts, evidence (of each text, best first: by
    how many standard deviations its cosine lies above its mean over the training images). A file that
    cannot be used is one row with its `problem`.

    `encode` turns RGB pictures into unit vectors; by default the study's encoder is opened again.

    Raises InputError where the study's encoder sees no new images, StudyError for another kind of
    study or one that is not finished.
    """
    opened = study if isinstance(study, Study) else Study(study)
    if opened.manifest.kind != "classes":
        raise StudyError(
            f"{str(opened.path)!r} is a study of {opened.manifest.kind}; classify needs one that"
            " `saywell classes` made"
        )
    if not opened.has(READER):
        raise StudyError(
            f"the study {str(opened.path)!r} is {opened.manifest.status}; run it to the end first"
        )
    path = opened.file(READER)
    names = opened.table(CLASSES)["name"].to_list()
    said = chosen_texts(opened)
    vectors, mean, spread = (read_array(path, key) for key in ("vectors", "mean", "spread"))
    place = {name: number for number, name in enumerate(names)}
    text_class = np.array([place[name] for name in said["class"]], dtype=np.int64)
    strings = said["text"].to_list()
    see = encode or open_image_encoder(opened)
    rows = []
    for file in files:
        try:
            picture = decode(picture_bytes(Path(file))).pixels
        except BadPicture as bad:
            rows.append((str(file), f"{bad.reason}: {bad.detail}", 1, None, None, [], []))
            continue
        image = see([picture])
        scores = class_scores(image, class_embeddings(vectors, text_class, len(names)))[0]
        evidence = (unit_length(image) @ unit_length(vectors).T - mean)[0] / spread
        best = np.argsort(-scores, kind="stable")[:classes]
        for rank, number in enumerate((c for c in best if np.isfinite(scores[c])), 1):
            own = np.flatnonzero(text_class == number)
            strongest = own[np.argsort(-evidence[own], kind="stable")][:texts]
            rows.append(
                (
                    str(file),
                    None,
                    rank,
                    names[number],
                    float(scores[number]),
                    [strings[t] for t in strongest],
                    evidence[strongest].astype(float).tolist(),
                )
            )
    schema = {
        "file": pl.String,
        "problem": pl.String,
        "rank": pl.Int32,
        "class": pl.String,
        "score": pl.Float64,
        "texts": pl.List(pl.String),
        "evidence": pl.List(pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def chosen_texts(study: Study) -> pl.DataFrame:
    """The texts that the study's rule chose, best first in each class: id, class, text, rank."""
    scores = study.table(TEXT_SCORES).filter(rule=study.manifest.config["select"], network=False, chosen=True)
    texts = study.table(CLASS_TEXTS).select("id", "text")
    return (
        scores.rename({"text": "id"})
        .join(texts, on="id", maintain_order="left")
        .select("id", "class", "text", "rank")
        .sort("class", "rank")
    )


@dataclass(frozen=True)
class KeepReader:
    """What `classify_images` goes by: the chosen texts as vectors, and what describe images make of them."""

    compared: Compared
    tables: Sequence[Table] = ()

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        reader = run.resources.dual_encoder
        joined = reader if isinstance(reader, JoinedEncoder) else None
        files = (READER,) if joined is None else (READER, MAP)

        def keep() -> None:
            if joined is not None:
                save_map(joined.mapping, run.study.path / MAP)
            self._keep(run)

        run.study.step("reader", keep, files=files)
        return []

    def _keep(self, run: Run) -> None:
        space = self.compared.space(run)
        table, vectors = space.usable[0], space.pool.vectors[space.pool.texts]
        row = {id: number for number, id in enumerate(table["id"])}
        kept = vectors[[row[id] for id in chosen_texts(run.study)["id"]]]
        cosine = unit_length(np.asarray(self.compared.images.train.features)) @ unit_length(kept).T
        spread = cosine.std(0)
        arrays = {"vectors": kept, "mean": cosine.mean(0), "spread": np.where(spread > 0, spread, 1)}
        write_arrays(
            run.study.path / READER,
            {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()},
        )


def open_image_encoder(study: Study) -> EncodeImages:
    """What turned this study's images into vectors, opened again.

    Raises InputError for vectors from files, and for an encoder that has changed since.
    """
    from saywell.encoders.dual import open_dual_encoder
    from saywell.encoders.joined import load_map
    from saywell.encoders.vision import open_vision_encoder

    config = study.manifest.config
    if config["joined"] is not None:
        vision, mapping = open_vision_encoder(config["joined"][0]), load_map(study.file(MAP))
        return lambda pictures: mapping.map_images(vision(pictures))
    name = config["encoder"]
    if name.startswith("precomputed:"):
        raise InputError(
            f"the study's vectors were read from {name!r}, which cannot see new images; make the"
            " study with an encoder to classify"
        )
    encoder = open_dual_encoder(name)
    if encoder.fingerprint != study.manifest.inputs["encoder"]:
        raise InputError(
            f"the encoder {name!r} is not the one that the study was made with; its vectors would mean"
            " something else"
        )
    return encoder.encode_images
