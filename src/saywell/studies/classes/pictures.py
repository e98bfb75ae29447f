"""What the report of a study of classes draws: texts among images on a plane, and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.data.pictures import THUMBNAILS
from saywell.influence.proponents import INFLUENCE
from saywell.report.class_charts import PLANE
from saywell.scorers.score_tables import AGAINST
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.classes.pool import Compared, Space
from saywell.studies.spine import Run
from saywell.studies.thumbnails import thumbnail_table
from saywell.transfer.centring import balanced_mean, centred

MOST_IMAGES, MOST_TEXTS = 600, 400


@dataclass(frozen=True)
class Pictures:
    """Tables `plane` and `thumbnails`."""

    compared: Compared
    tables: Sequence[Table] = (PLANE, THUMBNAILS)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(PLANE, lambda: plane_table(self.compared.space(run)))
        run.study.table(THUMBNAILS, lambda: self._thumbnails(run))
        return []

    def _thumbnails(self, run: Run) -> pl.DataFrame:
        shown = [run.study.table(table)["example"] for table in (INFLUENCE, AGAINST)]
        ids = pl.concat(shown).unique().sort().to_list()
        with run.resources.progress("thumbnails", len(ids)) as advance:
            return thumbnail_table(run.examples, ids, progress=advance)


def plane_table(space: Space) -> pl.DataFrame:
    """Table `plane`: t-SNE of describe images and texts together, each kind without its mean.

    At most 600 images and 400 texts, drawn evenly at random; with fewer than five points there is
    no picture.
    """
    from sklearn.manifold import TSNE

    seed, train = space.compared.choice.seed, space.rows[DESCRIBE]
    texts, (table, text_class) = space.pool.vectors[space.pool.texts], space.usable
    random = np.random.default_rng(seed)
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
    identities = [*(space.run.examples.ids[row] for row in seen), *table["id"].gather(said)]
    kinds = ["image"] * len(seen) + ["text"] * len(said)
    rows = zip(kinds, identities, labels, *flat.astype(float).T.tolist(), strict=True)
    return PLANE.frame(list(rows))
