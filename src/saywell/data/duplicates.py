"""Texts that say the same: exact duplicates, and near duplicates by the overlap of their shingles.

The near-duplicate search is a set-similarity join that misses no pair:

1. Texts are lowercased and stripped of punctuation; those that become equal count as one from here.
2. A text of six words or more becomes the set of its runs of three words, a shorter one (or one
   written without spaces) the set of its runs of four characters: its shingles.
3. Shingles are ordered from rare to common. Sets x and y of Jaccard index >= t must share one of
   the first |x| - ceil(t |x|) + 1 shingles of x and the first |y| - ceil(t |y|) + 1 of y (prefix
   filter: Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007): only texts
   that meet there are compared.
4. Of these pairs, sizes and then 256-bit sketches rule out most; the rest get their exact Jaccard
   index, the size of the intersection over that of the union.
5. Groups are the connected components of the pairs that remain.

MinHash with LSH banding, the usual answer, misses pairs by chance; for sentences this is as fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from saywell.errors import InputError

SHORT = 6  # words; below it, runs of three words are too few to compare
WORDS, CHARACTERS = 3, 4  # length of a shingle

_SKETCH_WORDS = 4  # of 64 bits
_TEXTS_AT_ONCE = 20_000  # cut into words
_PAIRS_AT_ONCE = 1_000_000  # candidate pairs in memory
_SHINGLES_AT_ONCE = 2_000_000  # shingles looked up between two updates of the groups


def first_of_equals(texts: pl.Series) -> np.ndarray:
    """The position of the first text equal to each (int64, [texts]): its own if it is new."""
    frame = texts.to_frame("text").with_row_index("position")
    return frame.select(pl.col("position").first().over("text").cast(pl.Int64))["position"].to_numpy()


def near_duplicate_groups(texts: Sequence[str] | pl.Series, threshold: float) -> np.ndarray:
    """The near-duplicate group of each text (int64, [texts]): the position of its first text.

    Two texts are near duplicates when the Jaccard index of their shingle sets (0 to 1, higher is
    more alike) is at least `threshold`; groups are connected components, so the ends of a chain of
    near duplicates share a group without being near duplicates themselves. Complete: no pair is
    missed (up to collisions of 64-bit hashes).

    Raises InputError for a threshold outside 0.5 to 1.
    """
    check_threshold(threshold)
    forms = comparison_forms(pl.Series("text", texts, dtype=pl.String))
    same_form = first_of_equals(forms)
    distinct = np.flatnonzero(same_form == np.arange(len(forms)))
    if len(distinct) == 0:
        return same_form
    labels = _similar_groups(_shingle_sets(forms.gather(distinct)), threshold)
    group_of_form = np.empty(len(forms), dtype=np.int64)
    group_of_form[distinct] = distinct[labels]
    return group_of_form[same_form]


def check_threshold(threshold: float) -> None:
    """Raise InputError for a near-duplicate threshold outside 0.5 to 1."""
    if isinstance(threshold, bool) or not (isinstance(threshold, int | float) and 0.5 <= threshold <= 1):
        raise InputError(
            f"near={threshold!r} is not a Jaccard index from 0.5 to 1: give for example near=0.85, "
            "or near=None to keep near duplicates"
        )


def comparison_forms(texts: pl.Series) -> pl.Series:
    """Each text as it is compared: lowercase, punctuation as spaces, symbols and emoji kept.

    A text of nothing but punctuation stands for itself.
    """
    forms = (
        texts.str.to_lowercase().str.replace_all(r"\p{P}", " ").str.replace_all(r"\s+", " ").str.strip_chars()
    )
    return pl.DataFrame({"form": forms, "text": texts}).select(
        pl.when(pl.col("form") == "").then("text").otherwise("form").alias("form")
    )["form"]


@dataclass(frozen=True)
class _Sets:
    """Set i is `shingles[starts[i]:starts[i + 1]]`, ascending; rare shingles have small numbers."""

    shingles: np.ndarray
    starts: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.starts)

    @property
    def owners(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.starts) - 1), self.sizes)


def _shingle_sets(forms: pl.Series) -> _Sets:
    blocks = [_hashed(forms.slice(start, _TEXTS_AT_ONCE)) for start in range(0, len(forms), _TEXTS_AT_ONCE)]
    owners = np.concatenate([block + place * _TEXTS_AT_ONCE for place, (block, _) in enumerate(blocks)])
    hashes = np.concatenate([block for _, block in blocks])
    del blocks

    order = np.argsort(hashes)
    hashes = hashes[order]
    codes = np.cumsum(_begins(hashes)) - 1
    count = int(codes[-1]) + 1
    members = owners[order]
    del hashes, order, owners  # in place from here: of 200,000 texts each takes 100 MB
    members *= count
    members += codes
    members.sort()
    members = members[_begins(members)]
    owners, codes = np.divmod(members, count)
    del members
    # Rare shingles first: few texts then meet in a prefix.
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(np.bincount(codes, minlength=count), kind="stable")] = np.arange(count)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(forms)))])
    codes = rank[codes]
    members = owners * count
    del owners
    members += codes
    members.sort()
    members %= count
    return _Sets(members, starts)


def _hashed(forms: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Owner and hash of each shingle of some texts, as often as it is there."""
    words = forms.str.split(" ")
    is_short = (words.list.len() < SHORT).to_numpy()
    long_rows, short_rows = np.flatnonzero(~is_short), np.flatnonzero(is_short)

    word_lists = words.gather(long_rows)
    word_hashes = word_lists.explode(empty_as_null=False).hash(seed=0).to_numpy()
    padded = forms.gather(short_rows).str.pad_end(CHARACTERS)
    characters = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32)

    by_words = _runs(word_hashes, word_lists.list.len().to_numpy(), WORDS)
    by_characters = _runs(characters.astype(np.uint64), padded.str.len_chars().to_numpy(), CHARACTERS)
    owners = np.concatenate([long_rows[by_words[0]], short_rows[by_characters[0]]])
    return owners, np.concatenate([by_words[1], by_characters[1]])


def _begins(ascending: np.ndarray) -> np.ndarray:
    """Which numbers are not the same as the one before."""
    return np.concatenate([[True], ascending[1:] != ascending[:-1]])


def _runs(tokens: np.ndarray, lengths: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Owner and hash of each run of `width` tokens in a text; `tokens` are the texts end to end."""
    lengths = lengths.astype(np.int64)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    from_start = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    begins = np.flatnonzero(from_start + width <= lengths[owners])
    # The width is part of the hash: a run of words never equals a run of characters.
    hashes = np.full(len(begins), width, dtype=np.uint64)
    for offset in range(width):
        hashes = _mix(hashes ^ _mix(tokens[begins + offset]))
    return owners[begins], hashes


def _mix(numbers: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), after one odd increment."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _similar_groups(sets: _Sets, threshold: float) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, sizes, sketches = len(sets.starts) - 1, sets.sizes, _sketches(sets)
    vocabulary = int(sets.shingles.max()) + 1
    # One sorted number per (set, shingle): a shingle's presence in a set is one binary search.
    memberships = sets.owners * vocabulary + sets.shingles
    groups = np.arange(n)

    for left, right in _candidates(sets, threshold):
        apart = groups[left] != groups[right]
        left, right = left[apart], right[apart]
        differ = np.bitwise_count(sketches[left] ^ sketches[right]).sum(axis=1, dtype=np.int64)
        # A bit differs only where a shingle does: the sketches never rule out a true pair.
        most = (1 - threshold) / (1 + threshold) * (sizes[left] + sizes[right])
        possible = differ <= most + 1e-9
        left, right = left[possible], right[possible]
        while len(left):
            count = max(1, int(np.searchsorted(np.cumsum(sizes[left]), _SHINGLES_AT_ONCE)))
            now, left = left[:count], left[count:]
            with_, right = right[:count], right[count:]
            shared = _overlaps(sets, memberships, vocabulary, now, with_)
            near = shared / (sizes[now] + sizes[with_] - shared) >= threshold
            if near.any():
                edges = (np.ones(near.sum(), dtype=np.int8), (groups[now[near]], groups[with_[near]]))
                _, labels = connected_components(coo_array(edges, shape=(n, n)), directed=False)
                groups = labels[groups]
                # In a large group most pairs are settled by the first few comparisons.
                apart = groups[left] != groups[right]
                left, right = left[apart], right[apart]
    first = np.full(n, n)
    np.minimum.at(first, groups, np.arange(n))
    return first[groups]


def _candidates(sets: _Sets, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of sets (two int64 arrays at a time) that meet in a prefix and are of like size."""
    sizes = sets.sizes
    # The small term keeps a product such as 0.7 * 10 = 7.000000000000001 from being rounded up.
    prefixes = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    position = np.arange(len(sets.shingles)) - np.repeat(sets.starts[:-1], sizes)
    inside = position < np.repeat(prefixes, sizes)
    shingles, owners = sets.shingles[inside], sets.owners[inside]

    largest = int(sizes.max()) + 1
    keys = shingles * largest + sizes[owners]
    order = np.argsort(keys, kind="stable")
    keys, owners = keys[order], owners[order]
    # Sorted by shingle, then size: the partners of an entry are those right after it, up to a size.
    limit = (sizes[owners] / threshold + 1e-9).astype(np.int64)
    last = keys - sizes[owners] + np.minimum(limit, largest - 1)
    partners = np.searchsorted(keys, last, side="right") - np.arange(len(keys)) - 1
    ends = np.cumsum(partners)
    begin = 0
    while begin < len(keys):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        counts = partners[begin:stop]
        left = np.repeat(np.arange(begin, stop), counts)
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        if len(left):
            yield owners[left], owners[right]
        begin = stop


def _sketches(sets: _Sets) -> np.ndarray:
    """uint64 [sets, words]: one bit of 256 is on for each shingle, by its hash."""
    hashes = _mix(sets.shingles.astype(np.uint64))
    bits = np.uint64(1) << (hashes & np.uint64(63))
    word = (hashes >> np.uint64(6)) % np.uint64(_SKETCH_WORDS)
    columns = [
        np.bitwise_or.reduceat(np.where(word == column, bits, np.uint64(0)), sets.starts[:-1])
        for column in range(_SKETCH_WORDS)
    ]
    return np.stack(columns, axis=1)


def _overlaps(
    sets: _Sets, memberships: np.ndarray, vocabulary: int, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """How many shingles each pair of sets shares."""
    sizes = sets.sizes[left]
    first = np.cumsum(sizes) - sizes
    flat = np.arange(sizes.sum()) - np.repeat(first, sizes) + np.repeat(sets.starts[left], sizes)
    wanted = np.repeat(right, sizes) * vocabulary + sets.shingles[flat]
    found = np.minimum(np.searchsorted(memberships, wanted), len(memberships) - 1)
    return np.add.reduceat((memberships[found] == wanted).astype(np.int64), first)
