"""calls.sqlite: every call that was made, and by it the cache of every reply that was paid for.

One row a call. A row with `answered` = 1 is the reply to its key and is used instead of asking
again; a partial unique index keeps it to one. Every row is its own transaction, committed before
the reply is used, so a process killed at any moment loses none that had arrived. The journal is a
WAL with synchronous = NORMAL: several processes may read and write at once; after a power cut the
last few rows may be missing, the file is whole.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from saywell.errors import SaywellError
from saywell.language_models.requests import Request

VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,          -- hash of everything the model saw
  step TEXT NOT NULL,         -- part of the study that asked
  prompt_hash TEXT,           -- prompt file it was rendered from
  model TEXT NOT NULL,        -- provider:model that was asked
  request TEXT NOT NULL,      -- canonical JSON that the key hashes; images by their hash
  answered INTEGER NOT NULL,  -- 1: the reply to this key; 0: no reply, or not the first
  status TEXT NOT NULL,
  text TEXT NOT NULL,         -- raw reply
  finish TEXT,
  refusal TEXT,
  replied_model TEXT,         -- model that the provider says answered
  input_tokens INTEGER,
  output_tokens INTEGER,
  cost_usd REAL,              -- NULL: price unknown
  price TEXT,                 -- date of the price, or who said it
  error TEXT,
  faults TEXT NOT NULL,       -- JSON list: what went wrong in each attempt before
  attempts INTEGER NOT NULL,
  started REAL NOT NULL,      -- seconds since 1970, UTC
  seconds REAL NOT NULL       -- of the last attempt
);
CREATE UNIQUE INDEX IF NOT EXISTS answered_once ON calls (key) WHERE answered = 1;
"""


class LedgerError(SaywellError):
    """The calls file cannot be opened, read or written."""


class CacheMiss(SaywellError):
    """A replay needs a reply that calls.sqlite does not hold."""


@dataclass(frozen=True, slots=True)
class Row:
    """One call as stored; see the table's comments for the columns."""

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
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    price: str | None
    error: str | None
    faults: tuple[str, ...]
    attempts: int
    started: float
    seconds: float


_COLUMNS = [field.name for field in fields(Row)]


@dataclass(frozen=True, slots=True)
class Spent:
    """What the answered calls took together; dollars only of those whose price is known."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0


class Ledger:
    """The open calls file; None keeps it in memory only. Used by one thread at a time."""

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        target = ":memory:" if path is None else path.resolve().as_uri()
        if read_only and path is not None:
            if not path.is_file():
                raise LedgerError(f"there is no calls file {str(path)!r}")
            target += "?mode=ro"
        try:
            self._connection = sqlite3.connect(
                target,
                uri=path is not None,
                timeout=30,
                isolation_level=None,
                check_same_thread=False,
            )
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise LedgerError(
                    f"{path} was written by another version of saywell (its layout {version}, ours "
                    f"{VERSION}); use that version, or begin a new study"
                )
            if not read_only or path is None:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.executescript(_SCHEMA + f"PRAGMA user_version = {VERSION};")
        except sqlite3.Error as error:
            raise LedgerError(f"{path} cannot be opened as a calls file: {error}") from error

    def find(self, keys: Iterable[str]) -> dict[str, Row]:
        """The stored replies among these keys."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Row] = {}
        for start in range(0, len(wanted), 500):
            chunk = wanted[start : start + 500]
            marks = ",".join("?" * len(chunk))
            for row in self._select(f"answered = 1 AND key IN ({marks})", chunk):
                found[row.key] = row
        return found

    def add(self, row: Row) -> Row:
        """Commits a call. Returns it, or the reply another process stored for its key before."""
        values = [getattr(row, name) for name in _COLUMNS]
        values[_COLUMNS.index("faults")] = json.dumps(row.faults)
        marks = ",".join("?" * len(_COLUMNS))
        insert = f"INSERT INTO calls ({','.join(_COLUMNS)}) VALUES ({marks})"
        try:
            self._connection.execute(insert, values)
        except sqlite3.IntegrityError:
            values[_COLUMNS.index("answered")] = 0
            self._connection.execute(insert, values)
            return self.find([row.key])[row.key]
        except sqlite3.Error as error:
            raise LedgerError(f"a reply could not be written to {self.path}: {error}") from error
        return row

    def rows(self, step: str | None = None, key: str | None = None) -> list[Row]:
        """All calls in the order made, or those of a step, or those whose key begins with `key`."""
        if key is not None:
            return self._select("substr(key, 1, ?) = ?", [len(key), key])
        return self._select("?1 IS NULL OR step = ?1", [step])

    def spent(self) -> Spent:
        """Calls, tokens and dollars so far."""
        calls, tokens, usd = self._connection.execute(
            "SELECT count(*), total(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), "
            "total(cost_usd) FROM calls WHERE status != 'failed'"
        ).fetchone()
        return Spent(calls, int(tokens), usd)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _select(self, where: str, values: list[Any]) -> list[Row]:
        query = f"SELECT {','.join(_COLUMNS)} FROM calls WHERE {where} ORDER BY id"
        try:
            stored = self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path} cannot be read: {error}") from error
        return [_row(dict(zip(_COLUMNS, values, strict=True))) for values in stored]


def _row(values: dict[str, Any]) -> Row:
    values["answered"] = bool(values["answered"])
    values["faults"] = tuple(json.loads(values["faults"]))
    return Row(**values)


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
    return json.dumps(seen, sort_keys=True, separators=(",", ":"), allow_nan=False)
