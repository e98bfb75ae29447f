"""What outside texts say about classes: articles from Wikipedia or local files, cut into passages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any
from unicodedata import normalize

import polars as pl

from saywell.data.encodings import encodable
from saywell.data.files import nearest_file, open_regular
from saywell.data.markup import html_to_text, plain_text
from saywell.data.sentences import sentence_spans
from saywell.data.tables import is_missing, open_table
from saywell.data.wikipedia import MOST_CHARACTERS, Wiki
from saywell.errors import InputError
from saywell.store.table import Table

NONE, WIKIPEDIA = "none", "wikipedia"
FILES = (".txt", ".md", ".html", ".htm")
TABLES = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")

_FIELDS = ("class", "text", "title", "url", "revision", "language")
ARTICLES = Table(
    "articles",
    {
        "class": pl.String,
        "status": pl.String,
        "title": pl.String,
        "url": pl.String,
        "revision": pl.String,
        "language": pl.String,
        "text": pl.String,
        "truncated": pl.Boolean,
        "detail": pl.String,
        "options": pl.List(pl.String),
    },
    key=("class",),
)
"""What outside texts say of each class: an article, or why there is none."""
PASSAGES = Table(
    "passages",
    {
        "id": pl.String,
        "class": pl.String,
        "section": pl.String,
        "start": pl.Int64,
        "end": pl.Int64,
        "text": pl.String,
    },
    key=("id",),
)
"""Passages of the articles; start and end are characters in the article's text."""
_HEADING = re.compile(r"=+ (.*?) =+|#+ (.*?)")
_MOST_BYTES = 8 * 2**20  # of one local article


@dataclass(frozen=True)
class Knowledge:
    """One article per class, and the passages that a description can cite.

    `articles`: class, status ('found', 'missing', 'ambiguous', 'too large', 'none'), title, url,
    revision, language, text, truncated, detail, options (what an ambiguous name may mean); a row for
    every class, in the order of the classes.
    `passages`: id, class, section (heading it stands under, or ''), start, end (characters in the
    article's text), text; in the order of the articles.
    `unused`: names of local articles that belong to no class.
    """

    articles: pl.DataFrame
    passages: pl.DataFrame
    unused: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A hash of what was found, 32 hex digits."""
        digest = blake2b(digest_size=16)
        for row in self.articles.select("class", "status", "revision", "text").iter_rows():
            digest.update(f"{row!r}\n".encode("utf-8", "replace"))
        return digest.hexdigest()


def load_knowledge(
    source: str | Path | Mapping[str, str],
    classes: Sequence[str],
    *,
    wiki: Wiki | None = None,
    context: Sequence[str] | Mapping[str, Sequence[str]] = (),
    passage_chars: int = 600,
    progress: Callable[[int], None] = lambda classes: None,
) -> Knowledge:
    """The article of every class from `source`: 'wikipedia', a path, 'none', or class -> text.

    A path is a folder with a file for each class, named after it (.txt, .md, .html), or a table with
    the columns class and text, and, where there are any, title, url and revision. Articles are joined
    to classes by name (case, underscores and spacing do not matter), never by order. `context` are
    words that decide what an ambiguous name means, for all classes or by class; `wiki` is the client
    to use for 'wikipedia'. Passages are runs of sentences of one paragraph of at most
    `passage_chars` characters (a longer sentence stands alone).

    A class without article is a row with another status than 'found', not an error. Raises
    InputError for a source that cannot be used and for one with an article for none of the classes,
    WikiError when the wiki cannot be asked.
    """
    if passage_chars < 1:
        raise InputError(f"passage_chars={passage_chars!r} is not at least 1")
    unused: tuple[str, ...] = ()
    if isinstance(source, str) and source == NONE:
        rows = [_row(name, "none", detail="no knowledge was asked for") for name in classes]
    elif isinstance(source, str) and source == WIKIPEDIA:
        if wiki is None:
            raise InputError("knowledge='wikipedia' needs wiki=Wiki(...), the client that asks")
        rows = []
        for done, name in enumerate(classes, 1):
            words = context.get(name, ()) if isinstance(context, Mapping) else context
            page = wiki.find(name, words)
            rows.append(
                _row(
                    name,
                    page.status,
                    page.title,
                    page.url,
                    page.revision,
                    page.language,
                    page.text,
                    page.truncated,
                    page.detail,
                    list(page.options),
                )
            )
            progress(done)
    else:
        rows, unused = _local(source, classes)
    articles = ARTICLES.frame(rows)
    return Knowledge(articles, cut_passages(articles, passage_chars), unused)


def cut_passages(articles: pl.DataFrame, most: int = 600) -> pl.DataFrame:
    """Table `passages` of the articles; the text is the article's from start to end, exactly."""
    rows = []
    for name, text in articles.select("class", "text").iter_rows():
        section, position = "", 0
        for paragraph in (text or "").split("\n\n"):
            begin, position = position, position + len(paragraph) + 2
            heading = _HEADING.fullmatch(paragraph.strip())
            if heading:
                section = (heading[1] or heading[2] or "").strip()
                continue
            for start, end in _runs(paragraph, most):
                piece = paragraph[start:end]
                digest = blake2b(f"{name}\n{begin + start}\n{piece}".encode("utf-8", "replace"))
                rows.append(("p" + digest.hexdigest()[:12], name, section, begin + start, begin + end, piece))
    return PASSAGES.frame(rows)


def _runs(paragraph: str, most: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for start, end in sentence_spans(paragraph):
        if runs and end - runs[-1][0] <= most:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _row(
    name: str,
    status: str,
    title: str = "",
    url: str = "",
    revision: str = "",
    language: str = "",
    text: str = "",
    truncated: bool = False,
    detail: str = "",
    options: Sequence[str] = (),
) -> tuple[Any, ...]:
    return (name, status, title, url, revision, language, text, truncated, detail, list(options))


# ---- local articles


def _local(
    source: str | Path | Mapping[str, str], classes: Sequence[str]
) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    if isinstance(source, Mapping):
        shown = "the articles given"
        given = [_record({"class": k, "text": v}) for k, v in source.items()]
    else:
        path, shown = Path(source), repr(str(source)[:200])
        if path.is_dir():
            given = _read_folder(path)
        elif path.exists() and path.name.lower().removesuffix(".gz").endswith(TABLES):
            given = _read_table(path, shown)
        elif path.exists():
            raise InputError(f"{shown} is no folder and does not end in {', '.join(TABLES)}")
        else:
            raise InputError(
                f"there is no file or folder {shown}{nearest_file(path)}; knowledge is"
                f" {WIKIPEDIA!r}, a path, or {NONE!r}"
            )
    by_name: dict[str, dict[str, str]] = {}
    for record in given:
        key = _key(record["class"])
        if key in by_name:
            raise InputError(
                f"{shown} has two articles for {record['class']!r} (the other is for"
                f" {by_name[key]['class']!r}); leave one"
            )
        by_name[key] = record
    rows, used = [], set()
    for name in classes:
        record = by_name.get(_key(name))
        if record is None:
            close = get_close_matches(_key(name), by_name, n=1, cutoff=0.75)
            hint = f"; did you mean {by_name[close[0]]['class']!r}?" if close else ""
            rows.append(_row(name, "missing", detail=f"{shown} has no article {name!r}{hint}"))
            continue
        used.add(_key(name))
        text = record["text"]
        if not text:
            rows.append(_row(name, "missing", detail=record.get("problem", "the article is empty")))
            continue
        cut = len(text) > MOST_CHARACTERS
        rows.append(
            _row(
                name,
                "found",
                record.get("title") or record["class"],
                record.get("url", ""),
                record.get("revision", ""),
                record.get("language", ""),
                text[:MOST_CHARACTERS],
                cut,
            )
        )
    if classes and not used:
        there = ", ".join(repr(r["class"]) for r in given[:5]) or "nothing"
        raise InputError(
            f"{shown} has an article for none of the {len(classes)} classes (such as {classes[0]!r});"
            f" it has {there}: articles are joined to classes by name"
        )
    return rows, tuple(r["class"] for k, r in by_name.items() if k not in used)


def _key(name: str) -> str:
    return " ".join(normalize("NFC", name).replace("_", " ").split()).casefold()


def _read_folder(folder: Path) -> list[dict[str, str]]:
    records = []
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.name.startswith(".") or file.suffix.lower() not in FILES:
            continue
        record = {"class": file.stem, "text": ""}
        if file.stat().st_size > _MOST_BYTES:
            record["problem"] = f"{file.name} is larger than {_MOST_BYTES:,} bytes"
        else:
            try:
                with open_regular(file) as opened:
                    text = opened.read().decode("utf-8-sig")
            except OSError as error:
                record["problem"] = f"{file.name} cannot be read: {error.strerror}"
            except UnicodeDecodeError as error:
                record["problem"] = f"{file.name} is not UTF-8 ({error.reason})"
            else:
                is_html = file.suffix.lower() in (".html", ".htm")
                record["text"] = html_to_text(text) if is_html else _prose(text)
        records.append(record)
    return records


def _read_table(path: Path, shown: str) -> list[dict[str, str]]:
    if path.suffix.lower() == ".json":
        try:
            with open_regular(path) as file:
                return _from_json(json.loads(file.read().decode("utf-8-sig")), shown)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{shown} cannot be read: {error}") from error
    table = open_table(path)
    for column in ("class", "text"):
        if column not in table.kinds:
            there = ", ".join(map(repr, table.kinds))
            raise InputError(f"{shown} has no column {column!r}; columns: {there}")
    wanted = [column for column in _FIELDS if column in table.kinds]
    rows = (dict(zip(wanted, row, strict=True)) for row in zip(*table.take(wanted), strict=True))
    return [_record(row) for row in rows if row["class"] not in (None, "")]


def _from_json(value: Any, shown: str) -> list[dict[str, str]]:
    if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return [_record({"class": name, "text": text}) for name, text in value.items()]
    if isinstance(value, list) and all(
        isinstance(v, dict) and isinstance(v.get("class"), str) for v in value
    ):
        return [_record(row) for row in value]
    raise InputError(
        f"{shown} must hold an object of class -> text, or a list of objects with 'class' and 'text'"
    )


def _record(row: Mapping[str, Any]) -> dict[str, str]:
    given = {f: row[f] for f in _FIELDS if not is_missing(row.get(f))}
    if not isinstance(given.get("text", ""), str):
        raise InputError(
            f"the article for {given.get('class')!r} is {encodable(repr(given['text']))[:80]}, which is"
            " no text: give each class one string"
        )
    record = {f: encodable(str(value)) for f, value in given.items()}
    record["text"] = _prose(record.get("text", ""))
    return record


def _prose(text: str) -> str:
    """Plain text or Markdown as prose: a heading line is a paragraph of its own."""
    lines = [
        f"\n{line.strip()}\n" if _HEADING.fullmatch(line.strip()) else line
        for line in text.replace("\r\n", "\n").split("\n")
    ]
    return plain_text("\n".join(lines))
