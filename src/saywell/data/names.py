"""Lists of names and phrases that users bring: in Python, or in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from saywell.errors import InputError
from saywell.store.files import storing


def read_names(names: Sequence[str] | str | Path, what: str = "names") -> list[str]:
    """The names of a list, or of a UTF-8 file with one a line or, where it ends in .json, a JSON list.

    Raises InputError for a file that is neither.
    """
    if not isinstance(names, str | Path):
        return [str(name) for name in names]
    path = Path(names)
    with storing(path):
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(
                f"the {what} in {str(path)!r} are not UTF-8; give one a line, or a JSON list"
            ) from error
    if path.suffix != ".json":
        return text.splitlines()
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError(f"{str(path)!r} is no list of {what}")
    return found
