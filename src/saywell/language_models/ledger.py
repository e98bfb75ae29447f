"""calls.sqlite: every request that was sent, and by it the cache of every reply that was paid for.

One row a request. It is written before the request is sent, as what the request may cost at most,
and completed when the reply is there, before that is used: a process killed at any moment loses no
reply that had arrived, and no request that it sent is forgotten. A row with `answered` = 1 is the
reply to its key and is used instead of asking again; a partial unique index keeps it to one. The
journal is a WAL with synchronous = NORMAL: several processes may read and write at once; after a
power cut the last few rows may be missing, the file is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from saywell.errors import SaywellError
from saywell.language_models.cutting import Cut
from saywell.language_models.prices import Price
from saywell.language_models.requests import Request

VERSION = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,          -- hash of everything the model saw
  step TEXT NOT NULL,         -- part of the study that asked
  prompt_hash TEXT,           -- prompt file it was rendered from
  model TEXT NOT NULL,        -- provider:model that was asked
  request TEXT NOT NULL,      -- canonical JSON that the key hashes; images by their hash
  answered INTEGER NOT NULL,  -- 1: the reply to this key; 0: no reply, or not the first
  status TEXT NOT NULL,       -- unfinished: sent, and nothing more is known
  text TEXT NOT NULL,         -- raw reply
  finish TEXT,
  refusal TEXT,
  replied_model TEXT,         -- model that the provider says answered
  requests INTEGER NOT NULL,  -- 1; 0 when there was nobody to send it to
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL, -- 1: tokens were not reported and are the most it may have taken
  cost_usd REAL,              -- NULL: price unknown
  price TEXT,                 -- date of the price, or who said it
  error TEXT,
  attempts INTEGER NOT NULL,  -- how many requests had been made for this reply by then
  started REAL NOT NULL,      -- seconds since 1970, UTC
  seconds REAL NOT NULL,
  checksum TEXT NOT NULL,     -- of all the other columns but the first, without one that is last and NULL
  probabilities TEXT          -- JSON, of the choices that the request gave; NULL: not told, or none given
);
CREATE INDEX IF NOT EXISTS by_key ON calls (key);
CREATE UNIQUE INDEX IF NOT EXISTS answered_once ON calls (key) WHERE answered = 1;
"""
_ASKERS = """
CREATE TABLE IF NOT EXISTS askers (
  id INTEGER PRIMARY KEY,     -- a client that asks now; its row goes when it is closed
  since REAL NOT NULL,        -- when it was opened; seconds since 1970, UTC
  told REAL NOT NULL,         -- when it last said how far it is
  tally TEXT NOT NULL         -- what it said, as JSON
)
"""

_CUTS = """
CREATE TABLE IF NOT EXISTS cuts (
  key TEXT PRIMARY KEY,       -- of a request that was not sent as it is, or not taken: see cutting.Cut
  step TEXT NOT NULL,
  model TEXT NOT NULL,
  reason TEXT NOT NULL,
  tokens INTEGER,
  context INTEGER,
  characters INTEGER,         -- of each of its texts of data, in what was sent instead
  max_tokens INTEGER          -- limit on the reply, in what was sent instead
)
"""

_KILLED = 60.0
"""Seconds: who has told nothing for so long and asks all the same is there no more."""

log = logging.getLogger("saywell.language_models")


class LedgerError(SaywellError):
    """The calls file cannot be opened, read or written."""


class CacheMiss(SaywellError):
    """A replay needs a reply that calls.sqlite does not hold."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request as stored; see the table's comments for the columns."""

    key: str
    step: str
    prompt_hash: str | None
    model: str
    request: str
    answered: bool
    status: str
    text: str
    finish: str | None
    refusal: str | None
    replied_model: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    estimated: bool
    cost_usd: float | None
    price: str | None
    error: str | None
    attempts: int
    started: float
    seconds: float
    probabilities: str | None = None


_COLUMNS = [field.name for field in fields(Row)]
_LIST = ",".join(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls took together: requests sent, tokens, and dollars as far as their price is known.

    `estimated` says of how many calls the tokens are estimates.
    """

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    estimated: int = 0


class Ledger:
    """The open calls file; None keeps it in memory only. Used by one thread at a time.

    A row that does not have its checksum was damaged or edited: it is no reply, and the next reply
    to its key takes its place. The checksum shows accidents and edits by hand; it is no signature.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self._shared = path is not None and not read_only
        self._asker: int | None = None
        self._cuts = False
        try:
            self._connection = _connect(path, read_only)
        except (sqlite3.Error, ValueError) as error:
            raise self._unusable(error) from error

    def find(self, keys: Iterable[str]) -> dict[str, Row]:
        """The stored replies among these keys, without those that were changed since."""
        stored = self._stored(keys)
        found = {key: row for key, row in stored.items() if row is not None}
        self._warn(len(stored) - len(found))
        return found

    def changed(self, keys: Iterable[str]) -> list[str]:
        """Which of these keys have a reply that was changed after it was stored."""
        return [key for key, row in self._stored(keys).items() if row is None]

    def begin(self, row: Row) -> int:
        """Commits a request that is about to be sent, as the most it may take; returns its id."""
        marks = ",".join("?" * (len(_COLUMNS) + 1))
        insert = f"INSERT INTO calls ({_LIST},checksum) VALUES ({marks})"
        return self._write(insert, _values(row)).lastrowid or 0

    def finish(self, id: int, row: Row) -> Row:
        """Commits what became of a request.

        Returns it as stored, or the reply that another process stored for its key before.
        """
        row = _storable(row)
        marks = ",".join(f"{name} = ?" for name in [*_COLUMNS, "checksum"])
        update = f"UPDATE calls SET {marks} WHERE id = ?"
        try:
            self._write(update, [*_values(row), id])
        except sqlite3.IntegrityError:
            before = self.find([row.key]).get(row.key)
            if before is not None:
                self._write(update, [*_values(replace(row, answered=False)), id])
                return before
            self._write("UPDATE calls SET answered = 0 WHERE answered = 1 AND key = ?", [row.key])
            self._write(update, [*_values(row), id])
        return row

    def keep_cut(self, key: str, step: str, model: str, cut: Cut) -> None:
        """Stores what is sent instead of a request, or that nothing is."""
        if not self._cuts:
            self._write(_CUTS, [])  # files had no such table once
            self._cuts = True
        insert = "INSERT OR REPLACE INTO cuts VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        self._write(insert, [key, step, model, *astuple(cut)])

    def cut(self, key: str) -> Cut | None:
        """What is sent instead of this request; None: nobody said that it is too long."""
        query = "SELECT reason, tokens, context, characters, max_tokens FROM cuts WHERE key = ?"
        try:
            found = self._connection.execute(query, [key]).fetchone()
        except sqlite3.OperationalError:  # it has no such table yet
            return None
        return None if found is None else Cut(*found)

    def cuts(self) -> dict[tuple[str, str], int]:
        """Of how many requests of each step to each model the data was cut."""
        query = "SELECT step, model, count(*) FROM cuts WHERE characters IS NOT NULL GROUP BY step, model"
        try:
            return {(step, model): count for step, model, count in self._connection.execute(query)}
        except sqlite3.OperationalError:
            return {}

    def tell(self, since: float, now: float, tally: str) -> None:
        """Says how far the client is that was opened at `since`, to whoever reads this file meanwhile.

        Where it cannot be said it is not: no run ends for that.
        """
        with suppress(LedgerError):
            if self._asker is not None:
                self._write("UPDATE askers SET told = ?, tally = ? WHERE id = ?", [now, tally, self._asker])
            elif self._shared:
                self._write(_ASKERS, [])  # files had no such table once
                self._write("DELETE FROM askers WHERE told < ?", [now - _KILLED])
                insert = "INSERT INTO askers (since, told, tally) VALUES (?, ?, ?)"
                self._asker = self._write(insert, [since, now, tally]).lastrowid

    def askers(self) -> list[tuple[float, float, str]]:
        """Of each client that asks, or was killed: when it was opened, when it last told, and what."""
        try:
            return self._connection.execute("SELECT since, told, tally FROM askers ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # it has none yet
            return []

    def rows(self, step: str | None = None, key: str | None = None) -> list[Row]:
        """All calls in the order made, or those of a step, or those whose key begins with `key`.

        Those that were changed since are left out with a warning.
        """
        if key is not None:
            found = self._select("substr(key, 1, ?) = ?", [len(key), key])
        else:
            found = self._select("?1 IS NULL OR step = ?1", [step])
        self._warn(sum(row is None for _, row in found))
        return [row for _, row in found if row is not None]

    def spent(self, price: Price | None) -> Spent:
        """What all calls took; those whose price was not known then are counted at `price`."""
        per_input, per_output = (price.cost(1, 0), price.cost(0, 1)) if price else (0.0, 0.0)
        calls, tokens, usd, estimated = self._run(
            "SELECT total(requests), total(input_tokens) + total(output_tokens), "
            "total(coalesce(cost_usd, input_tokens * ? + output_tokens * ?)), total(estimated) "
            "FROM calls",
            [per_input, per_output],
        ).fetchone()
        return Spent(int(calls), int(tokens), usd, int(estimated))

    def dearest_token(self) -> float:
        """The most dollars that a token of one call has cost so far, by the provider's word."""
        return self._run(
            "SELECT coalesce(max(cost_usd / (input_tokens + output_tokens)), 0) FROM calls "
            "WHERE price = 'provider' AND input_tokens + output_tokens > 0",
            [],
        ).fetchone()[0]

    def has_reply(self, model: str) -> bool:
        """Whether the model called so has ever answered."""
        query = "SELECT 1 FROM calls WHERE answered = 1 AND model = ? LIMIT 1"
        return self._run(query, [model]).fetchone() is not None

    def fails_alone(self, key: str) -> bool:
        """Whether this request failed before and others, sent later, were answered."""
        query = (
            "SELECT (SELECT min(id) FROM calls WHERE key = ? AND status = 'failed') < "
            "(SELECT max(id) FROM calls WHERE answered = 1)"
        )
        return bool(self._run(query, [key]).fetchone()[0])

    def close(self) -> None:
        """Closes the file."""
        if self._asker is not None:
            with suppress(LedgerError):  # a file that was damaged meanwhile can still be closed
                self._write("DELETE FROM askers WHERE id = ?", [self._asker])
            self._asker = None
        self._connection.close()

    def _stored(self, keys: Iterable[str]) -> dict[str, Row | None]:
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Row | None] = {}
        for start in range(0, len(wanted), 500):
            chunk = wanted[start : start + 500]
            marks = ",".join("?" * len(chunk))
            found.update(self._select(f"answered = 1 AND key IN ({marks})", chunk))
        return found

    def _select(self, where: str, values: list[Any]) -> list[tuple[str, Row | None]]:
        query = f"SELECT {_LIST},checksum FROM calls WHERE {where} ORDER BY id"
        stored = self._run(query, values).fetchall()
        return [(str(columns[0]), _checked(columns)) for columns in stored]

    def _run(self, query: str, values: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _write(self, query: str, values: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(query, values)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._unusable(error, "written") from error

    def _unusable(self, error: Exception, done: str = "used") -> LedgerError:
        said = str(error)
        if "not a database" in said or "malformed" in said or "disk I/O" in said:
            return LedgerError(
                f"the calls file {str(self.path)!r} is damaged ({said}); put back a copy of it, or "
                "move it away and run the same command: what it held is then asked again"
            )
        return LedgerError(f"the calls file {str(self.path)!r} cannot be {done}: {said}")

    def _warn(self, changed: int) -> None:
        if changed:
            log.warning(
                "%s: %d stored %s changed after it was written, and not used",
                self.path,
                changed,
                "reply was" if changed == 1 else "replies were",
            )


def _connect(path: Path | None, read_only: bool) -> sqlite3.Connection:
    target = ":memory:" if path is None else path.resolve().as_uri()
    if read_only and path is not None:
        if not path.is_file():
            raise LedgerError(f"there is no calls file {str(path)!r}")
        target += "?mode=ro"
    connection = sqlite3.connect(
        target, uri=path is not None, timeout=30, isolation_level=None, check_same_thread=False
    )
    # A damaged file may hold anything; what is no text fails its checksum and not the reading.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in range(VERSION + 1):
        raise LedgerError(
            f"{path} was written by another version of saywell (its layout {version}, ours "
            f"{VERSION}); use that version, or begin a new study"
        )
    if 0 < version < VERSION and read_only:
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        copy.text_factory = connection.text_factory
        connection.backup(copy)
        connection.close()
        connection, read_only = copy, False
    if not read_only or path is None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    if version != VERSION and (not read_only or path is None):
        # Of several processes that open an old file at once one brings it up to date.
        connection.execute("BEGIN IMMEDIATE")
        stored = connection.execute("PRAGMA user_version").fetchone()[0]
        if stored == 1:
            _bring_up_to_date(connection)
        if stored == 2:
            connection.execute("ALTER TABLE calls ADD COLUMN probabilities TEXT")
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    return connection


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Rewrites the rows of layout 1, which had one row for all requests of a reply.

    It had no checksums, and no tokens where none were reported.
    """
    connection.row_factory = sqlite3.Row
    old = [dict(row) for row in connection.execute("SELECT * FROM calls ORDER BY id")]
    connection.row_factory = None
    connection.execute("DROP TABLE calls")
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    insert = f"INSERT INTO calls ({_LIST},checksum) VALUES ({','.join('?' * (len(_COLUMNS) + 1))})"
    for values in old:
        faults = json.loads(values.pop("faults"))
        del values["id"]
        counts = (values["input_tokens"], values["output_tokens"])
        known = values["status"] == "failed" or None not in counts
        if not known:
            asked = json.loads(values["request"]).get("max_tokens", 0)
            values["input_tokens"] = counts[0] or math.ceil(len(values["request"].encode()) / 2)
            values["output_tokens"] = counts[1] or asked
        row = Row(
            **{
                **values,
                "answered": bool(values["answered"]),
                "requests": 1,
                "input_tokens": values["input_tokens"] or 0,
                "output_tokens": values["output_tokens"] or 0,
                "estimated": not known,
                "cost_usd": 0.0 if values["status"] == "failed" else values["cost_usd"],
            }
        )
        for number, fault in enumerate(faults, 1):
            lost = {
                "status": "failed",
                "text": "",
                "finish": None,
                "refusal": None,
                "price": None,
                "replied_model": None,
                "input_tokens": 0,
                "output_tokens": 0,
                "seconds": 0.0,
                "estimated": False,
                "cost_usd": 0.0,
                "error": fault,
            }
            connection.execute(insert, _values(replace(row, answered=False, attempts=number, **lost)))
        connection.execute(insert, _values(row))


def _values(row: Row) -> list[Any]:
    """The columns of a row as SQLite gives them back, and their checksum."""
    values = [getattr(row, name) for name in _COLUMNS]
    for place, (name, value) in enumerate(zip(_COLUMNS, values, strict=True)):
        if isinstance(value, bool):
            values[place] = int(value)
        elif name in ("cost_usd", "started", "seconds") and value is not None:
            values[place] = float(value)
    return [*values, _checksum(values)]


def _checksum(values: Sequence[Any]) -> str:
    if values[-1] is None:  # the column that layout 2 had not: its rows keep their checksums
        values = values[:-1]
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()


def _checked(columns: Sequence[Any]) -> Row | None:
    """The stored row; None when it was changed after it was written."""
    *values, checksum = columns
    try:
        if checksum != _checksum(values):
            return None
    except (TypeError, ValueError):  # bytes
        return None
    row = dict(zip(_COLUMNS, values, strict=True))
    return Row(**{**row, "answered": bool(row["answered"]), "estimated": bool(row["estimated"])})


def _storable(row: Row) -> Row:
    """The row without halves of surrogate pairs, which no file holds."""
    texts = {name: getattr(row, name) for name in _COLUMNS}
    broken = {
        name: text.encode("utf-8", "replace").decode()
        for name, text in texts.items()
        if isinstance(text, str) and not text.isascii()
    }
    return replace(row, **broken) if broken else row


def canonical_request(request: Request, identity: dict[str, str], schema: str | None) -> str:
    """Canonical JSON of everything the model sees; images stand in it by their hash."""
    messages = [
        {
            "role": message.role,
            "content": message.content
            if isinstance(message.content, str)
            else [
                part if isinstance(part, str) else {"image": part.sha256, "type": part.media_type}
                for part in message.content
            ],
        }
        for message in request.messages
    ]
    seen = {
        **identity,
        "messages": messages,
        "temperature": float(request.temperature),
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "schema": schema,
    }
    if request.choices is not None:  # named only then, so that the keys of all others stay
        seen["choices"] = request.choices
    return json.dumps(seen, sort_keys=True, separators=(",", ":"), allow_nan=False)
