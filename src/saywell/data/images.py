"""Loading labelled images: read, check, drop duplicates, split; each file refused is named."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from saywell.data.image_duplicates import (
    TOLERANCE,
    check_tolerance,
    difference_hash,
    near_duplicate_images,
    thumbnail,
)
from saywell.data.image_sources import PARTS, ImageSource, open_source
from saywell.data.pictures import BadPicture, decode
from saywell.data.splits import check_fractions, check_seed, hash_numbers
from saywell.data.tables import shown as called
from saywell.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

SPLITS = ("train", "validation", "test")
_RANK = {"train": 0, "validation": 1, "test": 2}  # a published test set is to stay whole

_EXAMPLES = {
    "id": pl.String,
    "split": pl.String,
    "label": pl.String,
    "name": pl.String,
    "row": pl.Int64,
    "width": pl.Int32,
    "height": pl.Int32,
    "group": pl.String,
}
_REJECTED = {"row": pl.Int64, "name": pl.String, "reason": pl.String, "detail": pl.String}
_CONVERTED = {"row": pl.Int64, "name": pl.String, "change": pl.String}


@dataclass(frozen=True)
class Images:
    """Images fit for use, each in one split, and a word on each one refused or altered.

    `examples`: id (16 hex digits of the file's bytes), split ('train', 'validation', 'test'), label
    (the name of the class), name (file in its folder, or 'row N'), row (from 0 in the source), width,
    height, group (the smallest id among its near duplicates); sorted by id.
    `rejected`: row, name, reason, detail; sorted by row. Row, not name, identifies an image.
    `converted`: row, name, change: used, but altered on the way to RGB; sorted by row and change.
    `classes`: name, and the number of usable images in each split; a class without any is there.
    `fingerprint`: 32 hex digits, a hash of the ids, labels and splits.
    `total_rows`: rows in the source; those in neither table were left out by `limit`.
    `notes`: what had to be assumed of the source, one sentence each.
    """

    examples: pl.DataFrame
    rejected: pl.DataFrame
    converted: pl.DataFrame
    classes: pl.DataFrame
    fingerprint: str
    total_rows: int
    _source: ImageSource = field(repr=False)
    notes: tuple[str, ...] = ()

    def pictures(self, ids: Sequence[str] | None = None) -> Iterator[tuple[str, Image.Image]]:
        """Each id with its RGB picture, one in memory at a time, in the order of the source.

        That order, not the one asked for, is what lets a Parquet file be read once. None: all.

        Raises InputError for an unknown id, and for a file that has changed since it was loaded.
        """
        rows = dict(self.examples.select("id", "row").iter_rows())
        chosen = list(rows) if ids is None else list(dict.fromkeys(ids))
        if unknown := [id for id in chosen if id not in rows]:
            raise InputError(f"there is no image with the id {unknown[0]!r} among these images")
        by_row = {rows[id]: id for id in chosen}
        for row, blob in self._source.fetch(sorted(by_row)):
            id = by_row[row]
            if isinstance(blob, BadPicture) or content_id(blob) != id:
                name = self._source.rows["name"][row]
                raise InputError(f"the image {name!r} has changed since it was loaded; start the study anew")
            yield id, decode(blob).pixels


def load_images(
    source: Any,
    *,
    image: str = "image",
    label: str = "label",
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    near: float | None = TOLERANCE,
    progress: Callable[[int], None] = lambda images: None,
) -> Images:
    """Read, check, de-duplicate and split the labelled images of `source`.

    `source` is a folder with a folder of images for each class (or with such folders inside train,
    validation and test), a Parquet file with image bytes, a CSV, TSV or JSON file of paths, a pattern
    or folder of such files, the folder of a saved Hugging Face dataset, a table (polars, pandas,
    pyarrow, datasets), or a list of dicts. `image`, `label` and `split` name columns, those inside
    records as 'outer.inner'; 'path' also serves as `image`, and where the usual column is missing the
    only one that could be meant is read. Paths start at the folder of the file. Labels are names,
    not numbers.

    Every file is decoded once here, one at a time, so that nothing broken is met later. Copies with
    the same pixels are rejected but for the first; where their labels differ, all are. Pictures
    nearer than `near` (see image_duplicates; None: do not look) share a split. Without a split
    of the source's own, each class is divided by hash of content, keyed by `seed`, into shares as
    near to `fractions` (train, validation, test) as whole groups allow. With one, it is kept; a
    missing validation or test part is taken from train, and training images that are near duplicates
    of a validation or test image are rejected. One part alone is no split.

    `limit` keeps about that many images, chosen by a hash of content and `seed`: each class has its
    share, and at least one. A larger limit keeps what a smaller one kept.

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
    names = class_names(opened.classes, shown)
    parts = _parts(opened.rows, shown)
    notes = opened.notes if parts is None else (*opened.notes, *_notes_on_parts(parts))
    chosen = list(range(opened.rows.height))
    if limit is not None:
        chosen = _limited(opened, limit, seed)

    scan = _scan(opened, names, chosen, progress)
    rejected = list(scan.rejected)
    found = _without_copies(scan, parts, rejected)
    if not found:
        raise InputError(_nothing(shown, opened.rows.height, rejected))
    groups = _groups(found, near)
    if parts is None:
        splits = split_by_class([f.label for f in found], [f.id for f in found], groups, seed, shares)
    else:
        own = [parts[f.row] for f in found]
        keep = _without_leaks(found, own, groups, rejected)
        found, groups = [found[k] for k in keep], groups[keep]
        splits = _with_all_parts(found, [own[k] for k in keep], groups, seed, shares)

    first = {}
    for each, group in zip(found, groups, strict=True):
        first[group] = min(first.get(group, each.id), each.id)
    examples = pl.DataFrame(
        [
            (f.id, s, f.label, f.name, f.row, f.width, f.height, first[g])
            for f, s, g in zip(found, splits, groups, strict=True)
        ],
        schema=_EXAMPLES,
        orient="row",
    ).sort("id")
    kept = set(examples["row"])
    classes = _class_table(examples, sorted(set(names.values())))
    if parts is not None:
        notes = (*notes, *_notes_on_classes(classes))
    return Images(
        examples,
        pl.DataFrame(rejected, schema=_REJECTED, orient="row").sort("row"),
        pl.DataFrame(
            [(f.row, f.name, change) for f in found if f.row in kept for change in f.changes],
            schema=_CONVERTED,
            orient="row",
        ).sort("row", "change"),
        classes,
        _fingerprint(examples),
        opened.rows.height,
        opened,
        notes,
    )


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


def split_by_class(
    labels: Sequence[str],
    ids: Sequence[str],
    groups: np.ndarray,
    seed: int,
    fractions: Sequence[float],
    names: Sequence[str] = SPLITS,
) -> list[str]:
    """The split of each image: whole groups, class by class, in the order of their hashes.

    Every group goes to the split that lacks most of its share (ties: train, test, validation), so
    three groups of a class are one in each, and a single one is in train. A group belongs to the
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
    # The test split is more use than a validation split when there are two groups only.
    preferred = sorted(range(len(names)), key=lambda i: (names[i] == "validation", i))
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


def _limited(opened: ImageSource, limit: int, seed: int) -> list[int]:
    """The rows to use, ascending: of each class the same share, by hash of content, at least one."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit={limit!r} is not a whole number of at least 1, or None")
    labels = opened.rows["label"].to_list()
    labelled = [row for row, label in enumerate(labels) if label is not None]
    classes = len({labels[row] for row in labelled})
    if limit < classes:
        raise InputError(f"limit={limit!r} is fewer than the {classes} classes: give at least {classes}")
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
    """One of each set of copies: the first, or the one in the split most worth keeping."""
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
    """The split of each row where the source brings at least two; None where it does not."""
    column = rows["part"]
    if column.null_count() == len(column):
        return None
    values = [None if v is None else PARTS.get(v.strip().lower()) for v in column]
    for given, part in zip(column, values, strict=True):
        if part is None and given is not None:
            raise InputError(f"{shown} has the split {given!r}; splits are called train, validation or test")
    # Images without a label, as test sets often are, make no split; they are rejected anyway.
    labelled = {p for p, label in zip(values, rows["label"], strict=True) if p and label is not None}
    if len(labelled) < 2:
        return None
    if "train" not in labelled:
        raise InputError(
            f"{shown} brings the splits test and validation, but no train: call one of them train"
        )
    # A file outside the folders of the splits has no class either, and is rejected for that.
    return [part or "train" for part in values]


def _notes_on_parts(parts: Sequence[str]) -> list[str]:
    missing = [part for part in ("validation", "test") if part not in parts]
    return [f"The source has no {part} split; it was taken from its train split." for part in missing]


def _notes_on_classes(classes: pl.DataFrame) -> list[str]:
    """What classes lack in splits that the source brings."""
    some = classes.filter(pl.sum_horizontal("train", "validation", "test") > 0)
    lacking = [(part, some.filter(pl.col(part) == 0)["name"].to_list()) for part in ("train", "test")]
    return [
        f"{len(names)} of {some.height} classes have no {part} images: {', '.join(names[:5])}"
        f"{' ...' if len(names) > 5 else ''}."
        for part, names in lacking
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
            detail = f"nearly the same as {found[first].name} in {own[first]}"
            rejected.append((each.row, each.name, "in two splits", detail))
    return keep


def _with_all_parts(
    found: list[_Found], own: list[str], groups: np.ndarray, seed: int, shares: Sequence[float]
) -> list[str]:
    """The splits of the source, and those it lacks made of train, in their shares."""
    result = list(own)
    share: dict[str, float] = dict(zip(SPLITS, shares, strict=True))
    missing = [part for part in SPLITS if part not in own]
    if not missing:
        return result
    wanted = ["train", *missing]
    if missing == ["validation"]:
        fractions = [0.8, 0.2]
    else:
        fractions = [share[part] / sum(share[p] for p in wanted) for part in wanted]
    train = [k for k, part in enumerate(own) if part == "train"]
    parts = split_by_class(
        [found[k].label for k in train], [found[k].id for k in train], groups[train], seed, fractions, wanted
    )
    for k, part in zip(train, parts, strict=True):
        result[k] = part
    return result


def _class_table(examples: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    counts = {name: dict.fromkeys(SPLITS, 0) for name in names if name}
    for label, part in examples.select("label", "split").iter_rows():
        counts[label][part] += 1
    schema = {"name": pl.String, **dict.fromkeys(SPLITS, pl.Int64)}
    return pl.DataFrame([{"name": n, **c} for n, c in counts.items()], schema=schema)


def _fingerprint(examples: pl.DataFrame) -> str:
    digest = blake2b(digest_size=16)
    for values in examples.select("id", "label", "split").iter_rows():
        digest.update(f"{values!r}\n".encode())
    return digest.hexdigest()


def _nothing(shown: str, total: int, rejected: Sequence[tuple[int, str, str, str]]) -> str:
    counts: dict[str, int] = {}
    for _, _, reason, _ in rejected:
        counts[reason] = counts.get(reason, 0) + 1
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items())) or "it has no rows"
    return f"{shown} has {total} images, of which none is usable ({why})"
