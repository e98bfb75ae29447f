"""What a token costs: a dated table that the user may extend; an unknown price stays unknown."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saywell.errors import InputError
from saywell.language_models.providers import config_folder

_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million input and output tokens, valid since a date."""

    input: float
    output: float
    since: str

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Dollars for these tokens at the list price; discounts for cached input not counted."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0, "local")


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    since: datetime.date
    source: str = ""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    price: list[_Row] = []


def find_price(
    name: str, today: datetime.date | None = None, env: Mapping[str, str] = os.environ
) -> Price | None:
    """The price of "provider:model" on `today`, or None when it is in no table.

    The user's prices.toml (in the settings folder) goes before the packaged table; of several rows
    the latest one not after `today` counts. A dated snapshot of a listed model has that model's
    price.
    """
    today = today or datetime.datetime.now(datetime.UTC).date()
    for table in _tables(env):
        for wanted in dict.fromkeys((name, _SNAPSHOT.sub("", name))):
            rows = [row for row in table if row.model == wanted and row.since <= today]
            if rows:
                row = max(rows, key=lambda row: row.since)
                return Price(row.input, row.output, row.since.isoformat())
    return None


def dearest_price(env: Mapping[str, str] = os.environ) -> Price:
    """The most that any listed model costs.

    A token is counted at that when its price is unknown and a limit in dollars has to be kept.
    """
    rows = [row for table in _tables(env) for row in table]
    return Price(max(row.input for row in rows), max(row.output for row in rows), "dearest model known")


def _tables(env: Mapping[str, str]) -> list[list[_Row]]:
    """The user's own price table, if there is one, and the packaged one."""
    packaged = resources.files("saywell.language_models").joinpath("prices.toml")
    tables = [_parse(packaged.read_text(encoding="utf-8"), "prices.toml")]
    own = config_folder(env) / "prices.toml"
    if own.is_file():
        tables.insert(0, _parse(own.read_text(encoding="utf-8"), str(own)))
    return tables


def _parse(text: str, path: str | Path) -> list[_Row]:
    try:
        return _Table.model_validate(tomllib.loads(text)).price
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputError(f"the price table {str(path)!r} is not well formed: {error}") from error
