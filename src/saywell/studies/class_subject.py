"""The images of a study of classes: as tables, and as vectors with their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from saywell.data.images import Images
from saywell.encoders.cache import EmbeddingCache, embed_images
from saywell.encoders.dual import DualEncoder
from saywell.progress import Progress
from saywell.store.study import StudyWriter


def example_tables(study: StudyWriter, shown: Images) -> None:
    """Tables `examples`, `rejected`, `converted` and `classes`."""
    study.table("examples", lambda: shown.examples)
    study.table("rejected", lambda: shown.rejected)
    study.table("converted", lambda: shown.converted)
    study.table("classes", lambda: shown.classes)


class Space(NamedTuple):
    """The images of a study as vectors, their classes, and where each split stands."""

    vectors: np.ndarray
    labels: np.ndarray
    rows: Mapping[str, np.ndarray]
    names: list[str]


def embed(
    shown: Images, names: list[str], encoder: DualEncoder, cache: EmbeddingCache, progress: Progress
) -> Space:
    """Step 3: the images as vectors."""
    with progress("image vectors", shown.examples.height) as advance:
        vectors = embed_images(encoder, shown, cache=cache, progress=advance)
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place[name] for name in shown.examples["label"]], dtype=np.int64)
    splits = shown.examples["split"].to_numpy()
    rows = {part: np.flatnonzero(splits == part) for part in ("train", "validation", "test")}
    return Space(vectors, labels, rows, names)


class Steps:
    """From "so many are done" to "so many more are done"."""

    def __init__(self, advance: Any) -> None:
        self._advance, self._done = advance, 0

    def __call__(self, done: int) -> None:
        """Tell that `done` are done in all."""
        self._advance(done - self._done)
        self._done = done
