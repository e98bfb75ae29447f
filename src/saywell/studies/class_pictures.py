"""What the report of a study of classes draws: texts among images on a plane, and thumbnails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE
from saywell.data.pictures import THUMBNAILS
from saywell.progress import Progress
from saywell.report.class_charts import PLANE
from saywell.store.study import StudyWriter
from saywell.studies.class_rows import Pool
from saywell.studies.class_subject import Space
from saywell.studies.class_texts import usable_texts
from saywell.transfer.centring import balanced_mean, centred

MOST_IMAGES, MOST_TEXTS, MOST_THUMBNAILS = 600, 400, 1500
_SIDE = 56


def plane_table(
    space: Space,
    ids: Sequence[str],
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    text_ids: Sequence[str],
    *,
    seed: int = 0,
) -> pl.DataFrame:
    """Table `plane`: t-SNE of training images and texts together, each kind without its mean.

    At most 600 images and 400 texts, drawn evenly at random; with fewer than five points there is
    no picture.
    """
    from sklearn.manifold import TSNE

    random = np.random.default_rng(seed)
    train = space.rows[DESCRIBE]
    seen = np.sort(random.permutation(train)[:MOST_IMAGES])
    said = np.sort(random.permutation(len(texts))[:MOST_TEXTS])
    if len(seen) + len(said) < 5:
        return PLANE.empty()
    image_mean = balanced_mean(space.vectors[train], space.labels[train])
    parts = [centred(space.vectors[seen], image_mean)]
    if len(said):
        text_mean = balanced_mean(texts, text_class)
        parts.append(centred(texts[said], text_mean))
    points = np.concatenate(parts).astype(np.float64)
    perplexity = min(30.0, (len(points) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(points)
    names = np.array(space.names, dtype=object)
    labels = [*names[space.labels[seen]], *names[text_class[said]]]
    identities = [*(ids[row] for row in seen), *(text_ids[row] for row in said)]
    kinds = ["image"] * len(seen) + ["text"] * len(said)
    rows = zip(kinds, identities, labels, *flat.astype(float).T.tolist(), strict=True)
    return PLANE.frame(list(rows))


def thumbnail_table(
    shown: Examples, ids: Sequence[str], *, progress: Callable[[int], None] = lambda images: None
) -> pl.DataFrame:
    """Table `thumbnails`: small JPEG pictures of the images with these ids."""
    rows = []
    for id, picture in shown.pictures(list(ids)[:MOST_THUMBNAILS]):
        small = picture.copy()
        small.thumbnail((_SIDE, _SIDE))
        kept = BytesIO()
        small.save(kept, "JPEG", quality=70)
        rows.append((id, kept.getvalue()))
        progress(1)
    return THUMBNAILS.frame(rows).sort("example")


def picture_tables(
    study: StudyWriter, images: Examples, space: Space, pool: Pool, seed: int, progress: Progress
) -> None:
    """Step 10: tables `plane` and `thumbnails`."""

    def thumbnails() -> pl.DataFrame:
        shown = [study.table(name)["example"] for name in ("influence", "counterexamples")]
        ids = pl.concat(shown).unique().sort().to_list()
        with progress("thumbnails", len(ids)) as advance:
            return thumbnail_table(images, ids, progress=advance)

    table, text_class = usable_texts(study, space.names)
    study.table(
        PLANE,
        lambda: plane_table(
            space,
            study.examples["id"].to_list(),
            pool.vectors[pool.texts],
            text_class,
            table["id"].to_list(),
            seed=seed,
        ),
    )
    study.table(THUMBNAILS, thumbnails)
