"""The images of a study of classes: as tables, and as vectors with their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from saywell.data.examples import Examples
from saywell.data.images import CLASSES, class_counts
from saywell.data.parts import PARTS
from saywell.encoders.cache import EmbeddingCache, embed_images
from saywell.encoders.dual import DualEncoder
from saywell.progress import Progress
from saywell.store.study import StudyWriter


def example_tables(study: StudyWriter, shown: Examples) -> None:
    """Tables `examples`, `rejected`, `converted` and `classes`."""
    study.table("examples", lambda: shown.table)
    study.table("rejected", lambda: shown.rejected)
    study.table("converted", lambda: shown.converted)
    study.table(CLASSES, lambda: class_counts(shown))


class Space(NamedTuple):
    """The images of a study as vectors, their classes, and where each split stands."""

    vectors: np.ndarray
    labels: np.ndarray
    rows: Mapping[str, np.ndarray]
    names: list[str]


def embed(
    shown: Examples, names: list[str], encoder: DualEncoder, cache: EmbeddingCache, progress: Progress
) -> Space:
    """Step 3: the images as vectors."""
    with progress("image vectors", shown.table.height) as advance:
        vectors = embed_images(encoder, shown, cache=cache, progress=advance)
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place[name] for name in shown.table["label"]], dtype=np.int64)
    splits = shown.table["part"].to_numpy()
    rows = {part: np.flatnonzero(splits == part) for part in PARTS}
    return Space(vectors, labels, rows, names)


class Steps:
    """From "so many are done" to "so many more are done"."""

    def __init__(self, advance: Any) -> None:
        self._advance, self._done = advance, 0

    def __call__(self, done: int) -> None:
        """Tell that `done` are done in all."""
        self._advance(done - self._done)
        self._done = done
