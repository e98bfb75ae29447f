"""Loading labelled images: read, check, drop duplicates, share out; each file refused is named."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from saywell.data.examples import CONVERTED, Examples
from saywell.data.image_duplicates import (
    TOLERANCE,
    check_tolerance,
    difference_hash,
    near_duplicate_images,
    thumbnail,
)
from saywell.data.image_sources import ImageSource, holds_pictures, open_source
from saywell.data.parts import DESCRIBE, PARTS, SCORE, SELECT, SPLIT_OF, SPLITS
from saywell.data.pictures import BadPicture, decode
from saywell.data.splits import check_fractions, check_seed, hash_numbers
from saywell.data.tables import is_saved_dataset, open_table
from saywell.data.tables import shown as called
from saywell.data.texts import covariates_in
from saywell.errors import InputError
from saywell.store.table import Table

if TYPE_CHECKING:
    from PIL import Image

CLASSES = Table("classes", {"name": pl.String, **dict.fromkeys(PARTS, pl.Int64)}, key=("name",))
"""Classes of images, and how many usable images each part has of them."""
UNLABELLED = "image"
_RANK = {DESCRIBE: 0, SELECT: 1, SCORE: 2}  # a published test set is to stay whole

_EXAMPLES = {
    "id": pl.String,
    "part": pl.String,
    "label": pl.String,
    "name": pl.String,
    "row": pl.Int64,
    "width": pl.Int32,
    "height": pl.Int32,
    "group": pl.String,
}
_REJECTED = {"row": pl.Int64, "name": pl.String, "reason": pl.String, "detail": pl.String}


def load_images(
    source: Any,
    *,
    image: str = "image",
    label: str | None = "label",
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    near: float | None = TOLERANCE,
    covariates: Sequence[str] = (),
    progress: Callable[[int], None] = lambda images: None,
) -> Examples:
    """Read, check, de-duplicate and share out the labelled images of `source`.

    The table has id (16 hex digits of the file's bytes), part, label (the name of the class), name
    (file in its folder, or 'row N'), row, width, height and group (the smallest id among its near
    duplicates), sorted by id; `rejected` has row, name, reason and detail. Row, not name, identifies
    an image. `converted` names those that were used, but altered on the way to RGB.

    `source` is a folder with a folder of images for each class (or with such folders inside train,
    validation and test), a Parquet file with image bytes, a CSV, TSV or JSON file of paths, a pattern
    or folder of such files, the folder of a saved Hugging Face dataset, a table (polars, pandas,
    pyarrow, datasets), or a list of dicts. `image`, `label` and `split` name columns, those inside
    records as 'outer.inner'; 'path' also serves as `image`, and where the usual column is missing the
    only one that could be meant is read. Paths start at the folder of the file. Labels are names,
    not numbers.

    Every file is decoded once here, one at a time, so that nothing broken is met later. Copies with
    the same pixels are rejected but for the first; where their labels differ, all are. Pictures
    nearer than `near` (see image_duplicates; None: do not look) share a part. Without a split of the
    source's own, each class is divided by hash of content, keyed by `seed`, into shares as near to
    `fractions` (describe, select, score) as whole groups allow. With one, train, validation and test
    are describe, select and score; a missing validation or test split is taken from train, and
    training images that are near duplicates of a validation or test image are rejected. One split
    alone is none.

    With `label` None nobody's class matters: a folder may hold its images in any way, there is no
    column `label`, and images are shared out and limited as if all were of one class.

    `limit` keeps about that many images, chosen by a hash of content and `seed`: each class has its
    share, and at least one. A larger limit keeps what a smaller one kept.

    `covariates` are columns of a table of images that are kept under their own names.

    `progress` is told after each image how many are read.

    Raises InputError where the source or an option cannot be used, where class names differ only in
    case or spacing, or where no usable image is left.
    """
    shares = check_fractions(fractions)
    if near is not None:
        check_tolerance(near)
    check_seed(seed)
    shown = called(source)
    opened = open_source(source, image, label, split)
    if label is None:  # one class of all, without a name
        opened = replace(
            opened, rows=opened.rows.with_columns(label=pl.lit(UNLABELLED)), classes=[UNLABELLED]
        )
    names = class_names(opened.classes, shown)
    given = _parts(opened.rows, shown)
    notes = opened.notes if given is None else (*opened.notes, *_notes_on_splits(given))
    chosen = list(range(opened.rows.height))
    if limit is not None:
        chosen = _limited(opened, limit, seed)

    scan = _scan(opened, names, chosen, progress)
    rejected = list(scan.rejected)
    found = _without_copies(scan, given, rejected)
    if not found:
        raise InputError(_nothing(shown, opened.rows.height, rejected))
    groups = _groups(found, near)
    if given is None:
        parts = parts_by_class([f.label for f in found], [f.id for f in found], groups, seed, shares)
    else:
        own = [given[f.row] for f in found]
        keep = _without_leaks(found, own, groups, rejected)
        found, groups = [found[k] for k in keep], groups[keep]
        parts = _with_all_parts(found, [own[k] for k in keep], groups, seed, shares)

    first = {}
    for each, group in zip(found, groups, strict=True):
        first[group] = min(first.get(group, each.id), each.id)
    table = pl.DataFrame(
        [
            (f.id, p, f.label, f.name, f.row, f.width, f.height, first[g])
            for f, p, g in zip(found, parts, groups, strict=True)
        ],
        schema=_EXAMPLES,
        orient="row",
    ).sort("id")
    if label is None:
        table = table.drop("label")
    kept = set(table["row"])
    converted = [(f.row, f.name, change) for f in found if f.row in kept for change in f.changes]
    if covariates:
        beside, more = _covariates(source, covariates, opened.rows.height)
        table = table.join(beside, on="row", how="left", maintain_order="left")
        notes = (*notes, *more)
    examples = Examples(
        table,
        "image",
        _fingerprint(table, covariates),
        pl.DataFrame(rejected, schema=_REJECTED, orient="row").sort("row"),
        opened.rows.height,
        notes,
        partial(_pictures, opened, dict(table.select("id", "row").iter_rows())),
        CONVERTED.frame(converted).sort("row", "change"),
        tuple(sorted({name for name in names.values() if name})) if label is not None else (),
    )
    return (
        examples
        if given is None or label is None
        else examples.noted(_notes_on_classes(class_counts(examples)))
    )


def _covariates(source: Any, covariates: Sequence[str], rows: int) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The columns of a source by its rows. InputError where it is no table."""
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.is_dir() and not is_saved_dataset(path) and holds_pictures(path, ""):
        raise InputError(
            f"{called(source)} is a folder of pictures, whose one column is 'label', the names of the folders"
            f" in it: for {covariates[0]!r} give a table (Parquet, CSV, JSON lines; with --images) that has a"
            " column 'image' or 'path' beside it"
        )
    found, notes = covariates_in(open_table(source, "images"), covariates)
    if found.height != rows:
        raise InputError(f"{called(source)} has {rows:,} pictures, and {found.height:,} rows of columns")
    return found.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64)), notes


def class_counts(examples: Examples) -> pl.DataFrame:
    """Table `classes`: name, and the number of examples in each part; a class without any is there."""
    counts = {name: dict.fromkeys(PARTS, 0) for name in examples.classes}
    for label, part in examples.table.select("label", "part").drop_nulls().iter_rows():
        counts[label][part] += 1
    return CLASSES.frame([(name, *(own[part] for part in PARTS)) for name, own in counts.items()])


def _pictures(
    source: ImageSource, rows: Mapping[str, int], ids: Sequence[str]
) -> Iterator[tuple[str, Image.Image]]:
    """Each id with its RGB picture, in the order of the source: so a Parquet file is read once.

    Raises InputError for a file that has changed since it was loaded.
    """
    by_row = {rows[id]: id for id in ids}
    for row, blob in source.fetch(sorted(by_row)):
        id = by_row[row]
        if isinstance(blob, BadPicture) or content_id(blob) != id:
            name = source.rows["name"][row]
            raise InputError(f"the image {name!r} has changed since it was loaded; start the study anew")
        yield id, decode(blob).pixels


def content_id(data: bytes) -> str:
    """The id of an image: the first 16 hex digits of the BLAKE2b hash of its file's bytes.

    Decoders differ by a grey level between versions; a hash of the pixels would not last.
    """
    return blake2b(data).hexdigest()[:16]


def class_names(given: Sequence[str], source: str) -> dict[str, str]:
    """What each label becomes: NFC, underscores and runs of white space as one space, stripped.

    Raises InputError where two labels would then differ in case only, or not at all: whether they
    are one class or two is the owner's to say.
    """
    clean, first = {}, {}
    for name in given:
        text = " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())
        text = re.sub(r"[\x00-\x1f\x7f]", "", text)
        other = first.setdefault(text.casefold(), name)
        if other is not name or (name in clean):
            raise InputError(
                f"{source} has the classes {other!r} and {name!r}, which read the same: merge or"
                " rename one of them"
            )
        clean[name] = text
    return clean


def parts_by_class(
    labels: Sequence[str],
    ids: Sequence[str],
    groups: np.ndarray,
    seed: int,
    fractions: Sequence[float],
    names: Sequence[str] = PARTS,
) -> list[str]:
    """The part of each image: whole groups, class by class, in the order of their hashes.

    Every group goes to the part that lacks most of its share (ties: describe, score, select), so
    three groups of a class are one in each, and a single one is to describe. A group belongs to the
    class of its image with the smallest id. The order of the images does not matter.
    """
    members: dict[int, list[int]] = {}
    for position, group in enumerate(np.asarray(groups).tolist()):
        members.setdefault(group, []).append(position)
    leaders = {g: min(m, key=lambda position: ids[position]) for g, m in members.items()}
    order = list(members)
    numbers = hash_numbers([ids[leaders[g]] for g in order], seed, "image split")
    ranked = [order[i] for i in np.argsort(numbers, kind="stable")]
    totals: dict[str, int] = {}
    for group in order:
        label = labels[leaders[group]]
        totals[label] = totals.get(label, 0) + len(members[group])
    # Examples to score on are more use than some to select by when there are two groups only.
    preferred = sorted(range(len(names)), key=lambda i: (names[i] == SELECT, i))
    have = {label: [0] * len(names) for label in totals}
    result = [""] * len(labels)
    for group in ranked:
        label = labels[leaders[group]]
        filled = [have[label][i] / (fractions[i] * totals[label]) for i in range(len(names))]
        best = min(preferred, key=lambda i: round(filled[i], 9))
        have[label][best] += len(members[group])
        for position in members[group]:
            result[position] = names[best]
    return result


# ---- one pass over the source


@dataclass(frozen=True)
class _Found:
    id: str
    row: int
    name: str
    label: str
    width: int
    height: int
    pixels: bytes  # a hash of them
    outline: int
    small: np.ndarray
    changes: tuple[str, ...]


@dataclass(frozen=True)
class _Scan:
    found: list[_Found]
    rejected: list[tuple[int, str, str, str]]


def check_limit(limit: int, classes: int) -> None:
    """Raises InputError for a limit that cannot be, or is below one image a class."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit={limit!r} is not a whole number of at least 1, or None")
    if limit < classes:
        raise InputError(f"limit={limit!r} is fewer than the {classes} classes: give at least {classes}")


def _limited(opened: ImageSource, limit: int, seed: int) -> list[int]:
    """The rows to use, ascending: of each class the same share, by hash of content, at least one."""
    labels = opened.rows["label"].to_list()
    labelled = [row for row, label in enumerate(labels) if label is not None]
    check_limit(limit, len({labels[row] for row in labelled}))
    # Equal files are one image; a file that cannot be read counts as one, and is then rejected.
    ids = {
        row: f"unread {row}" if isinstance(blob, BadPicture) else content_id(blob)
        for row, blob in opened.fetch(labelled)
    }
    first = list({id: row for row, id in reversed(ids.items())}.values())[::-1]
    numbers = hash_numbers([ids[row] for row in first], seed, "image limit")
    places: dict[str, int] = {}
    sizes = Counter(labels[row] for row in first)
    ranked = []
    for k in np.argsort(numbers, kind="stable").tolist():
        row = first[k]
        place = places[labels[row]] = places.get(labels[row], -1) + 1
        # The share of its class that comes before it: the smallest shares are the same for all.
        ranked.append((place > 0, (place + 0.5) / sizes[labels[row]], int(numbers[k]), row))
    kept = {ids[row] for *_, row in sorted(ranked)[:limit]}
    return [row for row in labelled if ids[row] in kept]


def _scan(
    opened: ImageSource, names: Mapping[str, str], chosen: Sequence[int], progress: Callable[[int], None]
) -> _Scan:
    found: list[_Found] = []
    rejected: list[tuple[int, str, str, str]] = []
    rows = opened.rows.select("name", "label").rows()
    for done, (row, blob) in enumerate(opened.fetch(chosen), 1):
        name, label = rows[row]
        try:
            if label is None or not names[label]:
                raise BadPicture("no label", "it belongs to no class")
            if isinstance(blob, BadPicture):
                raise blob
            picture = decode(blob)
        except BadPicture as bad:
            rejected.append((row, name, bad.reason, bad.detail))
        else:
            pixels = picture.pixels
            size = f"{pixels.width}x{pixels.height}:".encode()
            found.append(
                _Found(
                    content_id(blob),  # type: ignore[arg-type]
                    row,
                    name,
                    names[label],
                    pixels.width,
                    pixels.height,
                    blake2b(size + pixels.tobytes(), digest_size=16).digest(),
                    difference_hash(pixels),
                    thumbnail(pixels),
                    picture.changes,
                )
            )
        progress(done)
    return _Scan(found, rejected)


def _without_copies(
    scan: _Scan, parts: list[str] | None, rejected: list[tuple[int, str, str, str]]
) -> list[_Found]:
    """One of each set of copies: the first, or the one in the part most worth keeping."""
    same: dict[bytes, list[_Found]] = {}
    for each in sorted(scan.found, key=lambda f: (0 if parts is None else -_RANK[parts[f.row]], f.row)):
        same.setdefault(each.pixels, []).append(each)
    kept = []
    for copies in same.values():
        labels = sorted({each.label for each in copies})
        if len(labels) > 1:
            shown = ", ".join(map(repr, labels))
            others = ", ".join(each.name for each in copies[:5])
            rejected += [
                (each.row, each.name, "conflicting labels", f"{shown} for the same pixels: {others}")
                for each in copies
            ]
            continue
        kept.append(copies[0])
        rejected += [(c.row, c.name, "duplicate", f"of {copies[0].name}") for c in copies[1:]]
    return kept


def _groups(found: list[_Found], near: float | None) -> np.ndarray:
    if near is None:
        return np.arange(len(found))
    hashes = np.array([each.outline for each in found], dtype=np.uint64)
    return near_duplicate_images(hashes, np.stack([each.small for each in found]), near)


# ---- splits that the source brings


def _parts(rows: pl.DataFrame, shown: str) -> list[str] | None:
    """The part of each row where the source brings at least two splits; None where it does not."""
    column = rows["split"]
    if column.null_count() == len(column):
        return None
    values = [None if v is None else SPLITS.get(v.strip().lower()) for v in column]
    for given, part in zip(column, values, strict=True):
        if part is None and given is not None:
            *others, last = SPLIT_OF.values()
            raise InputError(
                f"{shown} has the split {given!r}; splits are called {', '.join(others)} or {last}"
            )
    # Images without a label, as test sets often are, make no split; they are rejected anyway.
    labelled = {p for p, label in zip(values, rows["label"], strict=True) if p and label is not None}
    if len(labelled) < 2:
        return None
    if DESCRIBE not in labelled:
        raise InputError(
            f"{shown} brings the splits test and validation, but no train: call one of them train"
        )
    # A file outside the folders of the splits has no class either, and is rejected for that.
    return [part or DESCRIBE for part in values]


def _notes_on_splits(parts: Sequence[str]) -> list[str]:
    missing = [SPLIT_OF[part] for part in (SELECT, SCORE) if part not in parts]
    return [f"The source has no {split} split; it was taken from its train split." for split in missing]


def _notes_on_classes(classes: pl.DataFrame) -> list[str]:
    """What classes lack in splits that the source brings."""
    some = classes.filter(pl.sum_horizontal(PARTS) > 0)
    lacking = [(SPLIT_OF[p], some.filter(pl.col(p) == 0)["name"].to_list()) for p in (DESCRIBE, SCORE)]
    return [
        f"{len(names)} of {some.height} classes have no {split} images: {', '.join(names[:5])}"
        f"{' ...' if len(names) > 5 else ''}."
        for split, names in lacking
        if names
    ]


def _without_leaks(
    found: list[_Found], own: list[str], groups: np.ndarray, rejected: list[tuple[int, str, str, str]]
) -> list[int]:
    """Positions to keep: of a group in several parts, only those in the part most worth keeping."""
    keep = []
    # Images come in the order of their worth, and a group is the position of its first one.
    for position, first in enumerate(groups.tolist()):
        if own[position] == own[first]:
            keep.append(position)
        else:
            each = found[position]
            detail = f"nearly the same as {found[first].name} in {SPLIT_OF[own[first]]}"
            rejected.append((each.row, each.name, "in two splits", detail))
    return keep


def _with_all_parts(
    found: list[_Found], own: list[str], groups: np.ndarray, seed: int, shares: Sequence[float]
) -> list[str]:
    """The parts that the source brings, and those it lacks made of its train split, in their shares."""
    result = list(own)
    share: dict[str, float] = dict(zip(PARTS, shares, strict=True))
    missing = [part for part in PARTS if part not in own]
    if not missing:
        return result
    wanted = [DESCRIBE, *missing]
    if missing == [SELECT]:
        fractions = [0.8, 0.2]
    else:
        fractions = [share[part] / sum(share[p] for p in wanted) for part in wanted]
    rows = [k for k, part in enumerate(own) if part == DESCRIBE]
    parts = parts_by_class(
        [found[k].label for k in rows], [found[k].id for k in rows], groups[rows], seed, fractions, wanted
    )
    for k, part in zip(rows, parts, strict=True):
        result[k] = part
    return result


def _fingerprint(examples: pl.DataFrame, covariates: Sequence[str]) -> str:
    digest = blake2b(digest_size=16)
    for values in examples.select(pl.col("id", "^label$", "part", *covariates)).iter_rows():
        digest.update(f"{values!r}\n".encode())
    return digest.hexdigest()


def _nothing(shown: str, total: int, rejected: Sequence[tuple[int, str, str, str]]) -> str:
    counts: dict[str, int] = {}
    for _, _, reason, _ in rejected:
        counts[reason] = counts.get(reason, 0) + 1
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items())) or "it has no rows"
    return f"{shown} has {total} images, of which none is usable ({why})"
