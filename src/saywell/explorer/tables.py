"""A study's Parquet files as DuckDB views, and a door that lets nothing else be read through them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from saywell.errors import StudyError
from saywell.report.tables import ASKED
from saywell.store.files import damaged
from saywell.store.study import STUDY_VERSION, Study

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_GLOB = re.compile(r"([\[*?])")


class Tables:
    """Read access to a study's tables by SQL; `build` may add tables in memory before `lock`.

    Every query runs on a cursor of its own, so threads may share one `Tables`. After `lock` only
    the study's own Parquet files can be opened, and no setting can be changed.

    Raises StudyError where a table is missing, is not as it was written, or is a link that leads out
    of the study's folder.
    """

    def __init__(self, study: Study, *, memory_mb: int = 1024, threads: int = 2) -> None:
        import duckdb

        self.study = study
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_mb}MB",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        self.columns: dict[str, frozenset[str]] = {}
        self._paths = []
        for name in study.manifest.tables:
            path = study.path / f"{name}.parquet"
            if not _NAME.fullmatch(name) or (name not in ASKED and not path.is_file()):
                continue
            if path.resolve().parent != study.path.resolve():
                raise StudyError(
                    f"the table {name!r} of the study {str(study.path)!r} is a link out of its folder;"
                    " copy the file into the folder"
                )
            if name in ASKED and study.manifest.schema_version == STUDY_VERSION:
                _check_types(name, study.verify(name))
            # The permission is asked for the pattern as it is written.
            self._paths += [str(path.resolve()), _plain(path.resolve())]
            if study.manifest.schema_version == STUDY_VERSION:
                source = f"read_parquet({_literal(self._paths[-1])}, file_row_number = true)"
                self.build(f"create view {name} as select * from {source}")
            else:
                self._connection.register(
                    "older", study.table(name).with_row_index("file_row_number").to_arrow()
                )
                self.build(f"create table {name} as select * from older")
                self._connection.unregister("older")
            self.columns[name] = frozenset(row["column_name"] for row in self.rows(f"describe {name}"))

    def has(self, table: str, *columns: str) -> bool:
        """Whether the study has this table, with these columns."""
        return table in self.columns and self.columns[table].issuperset(columns)

    def where(self, table: str, column: str, values: Sequence[str] | None) -> pl.DataFrame:
        """A table's rows with one of these values in a column (all where None), in the file's order."""
        found = f"select * exclude (file_row_number) from {table}"
        if values is None:
            return self.frame(f"{found} order by file_row_number")
        chosen = f'{found} where "{column}" in (select unnest(?::varchar[])) order by file_row_number'
        return self.frame(chosen, [list(values)])

    @property
    def pictures(self) -> bool:
        """Whether the examples are images: none has a text, and none is a pair of texts."""
        told = [f"{name} is not null" for name in ("text", "first") if self.has("examples", name)]
        said = " or ".join(told) or "false"
        return self.has("examples") and not self.rows(f"select 1 from examples where {said} limit 1")

    def build(self, sql: str) -> None:
        """Run a statement of ours that makes a view or a table in memory.

        Raises StudyError where the study's tables lack a column that it reads.
        """
        with self._readable():
            self._connection.execute(sql)

    def lock(self) -> None:
        """From now on read the study's files and nothing else, and refuse every change of settings."""
        paths = ", ".join(_literal(path) for path in self._paths)
        self.build(f"set allowed_paths = [{paths}]")
        self.build("set enable_external_access = false")
        self.build("set lock_configuration = true")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """A query's rows as dictionaries; values go in as parameters, never into the text."""
        with self._readable(), closing(self._connection.cursor()) as cursor:
            found = cursor.execute(sql, list(values))
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def frame(self, sql: str, values: Sequence[Any] = ()) -> pl.DataFrame:
        """A query's rows as a table."""
        with self._readable(), closing(self._connection.cursor()) as cursor:
            found = pl.from_arrow(cursor.sql(sql, params=list(values)).to_arrow_table())
            assert isinstance(found, pl.DataFrame)
            return found

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.BinderException as error:
            raise StudyError(
                f"a table of the study {str(self.study.path)!r} lacks a column"
                f" ({str(error).splitlines()[0]}); the command that wrote the study makes it again"
            ) from error

    def close(self) -> None:
        """Let go of files and memory."""
        self._connection.close()


def _check_types(name: str, path: Path) -> None:
    """Refuse a table without the columns that queries are written for; more columns will do."""
    try:
        with path.open("rb") as file:
            types = pl.read_parquet_schema(file)
    except pl.exceptions.PolarsError as error:
        raise damaged(path, error) from error
    for column, type_ in ASKED[name].types.items():
        if column not in types and column not in ASKED[name].optional:
            raise StudyError(
                f"table {name!r} lacks the column {column!r} ({type_}); the command that wrote the"
                " study makes it again"
            )
        if types.get(column, type_) != type_:
            raise StudyError(
                f"column {column!r} of table {name!r} is {types[column]}, not {type_}; the command that"
                " wrote the study makes it again"
            )


def _plain(path: Path) -> str:
    """A path in which no character stands for others."""
    return _GLOB.sub(r"[\1]", str(path))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
