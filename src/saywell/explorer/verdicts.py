"""What people make of descriptions: kept beside the study, apart from what the machine wrote.

`verdicts.sqlite` in the study's folder only ever grows. A change of mind is a new row, and the
database itself refuses to alter or delete one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from saywell.errors import InputError, StudyError

FILE = "verdicts.sqlite"
ACTIONS = ("accept", "reject", "rewrite", "withdraw")
DONE = {"accept": "accepted", "reject": "rejected", "rewrite": "rewritten", "withdraw": "withdrawn"}
MOST_NAME = 80
MOST_TEXT = 2000

_MAKE = """
create table if not exists verdicts (
    number integer primary key autoincrement, item text not null, description text,
    machine_text text not null, action text not null, text text, note text,
    name text not null, time text not null);
create index if not exists verdict_of on verdicts (item);
create trigger if not exists never_changed before update on verdicts
    begin select raise(abort, 'verdicts are never changed'); end;
create trigger if not exists never_deleted before delete on verdicts
    begin select raise(abort, 'verdicts are never deleted'); end;
"""
_COLUMNS = "number, item, description, machine_text, action, text, note, name, time"


@dataclass(frozen=True)
class HumanVerdict:
    """One judgement of one person about one description."""

    number: int
    item: str
    """The unit, or the text of a class, that was judged."""
    description: str | None
    machine_text: str
    """The machine's words at that time: a later study may say something else."""
    action: str
    text: str | None
    """The person's own words, where the action is `rewrite`."""
    note: str | None
    name: str
    time: str
    """ISO 8601, UTC."""

    @property
    def done(self) -> str:
        """The action as what has been done."""
        return DONE[self.action]


class HumanVerdicts:
    """The judgements about one study; `now` is the clock. Nothing is written before the first."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self.path, self._now = folder / FILE, now
        if self.path.is_symlink():
            raise StudyError(f"{str(self.path)!r} is a link; verdicts are kept in the study's folder")

    def add(
        self,
        item: str,
        action: str,
        *,
        name: str,
        machine_text: str,
        description: str | None = None,
        text: str = "",
        note: str = "",
    ) -> HumanVerdict:
        """Keep a judgement.

        Raises InputError for an unknown action, a missing name and a rewriting without new words,
        StudyError when the file cannot be written.
        """
        name, text, note = (_cleaned(value) for value in (name, text, note))
        if action not in ACTIONS:
            raise InputError(f"a verdict is one of {', '.join(ACTIONS)}; got {action!r}")
        if not name or len(name) > MOST_NAME:
            raise InputError(f"a verdict needs a name of at most {MOST_NAME} characters; got {name[:100]!r}")
        if max(len(text), len(note)) > MOST_TEXT:
            raise InputError(
                f"a rewriting and a note have at most {MOST_TEXT:,} characters; got"
                f" {max(len(text), len(note)):,}"
            )
        if action == "rewrite" and text in ("", _cleaned(machine_text)):
            raise InputError("a rewriting says something else than the description; change the words")
        values = (
            item,
            description,
            machine_text[:MOST_TEXT],
            action,
            text if action == "rewrite" else None,
            note or None,
            name,
            self._now().isoformat(timespec="seconds"),
        )
        try:
            with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
                connection.executescript(_MAKE)
                cursor = connection.execute(
                    f"insert into verdicts ({_COLUMNS.removeprefix('number, ')})"
                    " values (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
                return HumanVerdict(int(cursor.lastrowid or 0), *values)
        except sqlite3.Error as error:
            raise StudyError(f"the verdict could not be kept in {str(self.path)!r}: {error}") from error

    def latest(self) -> dict[str, HumanVerdict]:
        """The judgement that stands, by item; items whose verdict was withdrawn have none."""
        last = "number in (select max(number) from verdicts group by item)"
        return {v.item: v for v in self._read(f"where {last} and action <> 'withdraw'")}

    def history(self, item: str) -> list[HumanVerdict]:
        """All judgements about an item, the latest first."""
        return self._read("where item = ? order by number desc", item)

    def _read(self, where: str, *values: Any) -> list[HumanVerdict]:
        if not self.path.exists():
            return []
        address = f"file:{quote(str(self.path))}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
                rows = connection.execute(f"select {_COLUMNS} from verdicts {where}", values)
                return [HumanVerdict(*row) for row in rows]
        except sqlite3.Error as error:
            raise StudyError(
                f"{str(self.path)!r} cannot be read as verdicts ({error}); move it away"
            ) from error


def _cleaned(text: str) -> str:
    """Without NUL and lone surrogates, which SQLite and exports cannot carry, and without margins."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8").strip()
