"""Names that other tools take, and names of files: made of data, and never a path."""

from __future__ import annotations

import re

from saywell.errors import InputError

_MOST = 128


def identifier(text: str) -> str:
    """A name as Neuronpedia takes it: small letters, digits, dashes and underscores, at most 128."""
    last = text.rstrip("/").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9_-]+", "-", last).strip("-")[:_MOST] or "model"


def checked_identifier(text: str, option: str) -> str:
    """The same name, where it is one. Raises InputError with one that is."""
    if re.fullmatch(rf"[a-z0-9_.-]{{1,{_MOST}}}", text) and text.strip("."):
        return text
    raise InputError(
        f"--{option} {text[:80]!r} is no name for Neuronpedia, which takes small letters, digits, '.', '-'"
        f" and '_'; such as {identifier(text)!r}"
    )


def file_name(text: str) -> str:
    """A name as part of a file's: letters, digits, '.', '_', '-', others become '-', and no dot leads."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:_MOST] or "place"
