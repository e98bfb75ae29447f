"""A dictionary that somebody trained, from a file, a folder, or a repository of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from saywell.data.files import nearest_file, require_regular
from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made, check_finite, is_saved, read_saved
from saywell.units.dictionaries.formats import (
    dictionary_learning,
    gemma_scope,
    qwen_scope,
    saelens,
    sparsify,
    tensors,
)
from saywell.units.dictionaries.formats.weights import SUFFIXES

_FORMATS: dict[str, Callable[[Path], tuple[Dictionary, Made]]] = {
    saelens.FILE: saelens.read,
    sparsify.FILE: sparsify.read,
    dictionary_learning.FILE: dictionary_learning.read,
    gemma_scope.FILES_1: gemma_scope.read_1,
    gemma_scope.FILES_2: gemma_scope.read_2,
    qwen_scope.FILES: qwen_scope.read,
}
"""Readers by what their files of weights are called."""
_HUB = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(?P<inside>(?:/[\w.-]+)*)/?")
_BESIDE = ("cfg.json", "config.json", "activation_scaler.json", "activation_whitening.safetensors")
_SHOWN, _FILES = 8, 20_000


class Loaded(NamedTuple):
    """A dictionary, and where it comes from."""

    dictionary: Dictionary
    made: Made


def load_dictionary(where: str | Path) -> Loaded:
    """A dictionary: a file, a folder, or a repository of the hub (`org/name`, `org/name/folder`).

    Read are SAELens, Gemma Scope 1 and 2, Qwen Scope, sparsify and dictionary_learning, what
    `Dictionary.save` kept, and arrays by names that people use. Weights become single precision. No code of a
    file is run, and no path in a file is opened. Of a repository, the files of one dictionary are fetched.

    Raises InputError for what is none, damaged, or several, with their names.
    """
    path = Path(where).expanduser()
    if path.is_file():
        return _read(path)
    if path.is_dir():
        return _read(path / _one(_files_of(path), str(where)))
    hub = _HUB.fullmatch(str(where))
    if path.exists() or not hub or ".." in PurePosixPath(str(where)).parts:
        raise InputError(
            f"there is no file or folder {str(where)!r}{nearest_file(path)}; give one that holds a dictionary"
            " or, for a repository on the Hugging Face hub, 'org/name' or 'org/name/folder'"
        )
    dictionary, made = _read(_fetched(hub["repository"], hub["inside"].strip("/")))
    return Loaded(dictionary, made._replace(own=str(where)))


def _read(file: Path) -> Loaded:
    require_regular(file)
    own = file.name
    if file.suffix == ".safetensors" and is_saved(file):
        dictionary, made = read_saved(file)
        return Loaded(dictionary, (made or Made("saywell"))._replace(own=own))
    if file.suffix not in SUFFIXES:
        raise InputError(f"{str(file)!r} is no file of arrays; read are {', '.join(SUFFIXES)}")
    form = next((form for form in _FORMATS if fnmatchcase(file.name, form)), None)
    dictionary, made = (_FORMATS[form] if form else tensors.read)(file)
    if form and "*" not in form:  # the only one of its folder
        own = file.absolute().parent.name
    return Loaded(check_finite(dictionary, file), made._replace(own=own))


def _one(files: Collection[str], where: str) -> str:
    """The one file of weights among files of a folder, named from it.

    One in the folder itself counts before those within, and files that a format names before others.
    """
    known = [file for file in files if _is_known(file)] or [
        file for file in files if PurePosixPath(file).suffix in SUFFIXES
    ]
    here = [file for file in known if "/" not in file]
    if len(here) == 1 or len(known) == 1:
        return (here or known)[0]
    if not known:
        raise InputError(
            f"{where!r} holds no dictionary: none of its files is called {', '.join(_FORMATS)}, or ends in"
            f" {', '.join(SUFFIXES)}"
        )
    names = sorted({_short(file, known) for file in known}, key=_natural)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise InputError(
        f"{where!r} holds several dictionaries; name one of them, {where.rstrip('/')}/NAME:"
        f" {', '.join(names[:_SHOWN])}{more}"
    )


def _is_known(file: str) -> bool:
    return any(fnmatchcase(PurePosixPath(file).name, form) for form in _FORMATS)


def _short(file: str, files: Collection[str]) -> str:
    """The folder of a file, where it is the one in it."""
    folder = str(PurePosixPath(file).parent)
    beside = sum(str(PurePosixPath(other).parent) == folder for other in files)
    return folder if beside == 1 and folder != "." else file


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _files_of(folder: Path) -> list[str]:
    """Files below a folder, by path from it; links to folders are not followed.

    Raises InputError where there are too many to be a folder of dictionaries.
    """
    files: list[str] = []
    for root, _, names in os.walk(folder):
        files += [(Path(root) / name).relative_to(folder).as_posix() for name in names]
        if any(map(_is_known, files)) and Path(root) == folder:
            break
        if len(files) > _FILES:
            raise InputError(f"{str(folder)!r} holds more than {_FILES:,} files; name a folder within it")
    return files


def _fetched(repository: str, inside: str) -> Path:
    """The file of weights of a dictionary on the hub, with the settings beside and above it."""
    from huggingface_hub import HfApi, snapshot_download

    where = f"{repository}/{inside}" if inside else repository
    try:
        files = HfApi().list_repo_files(repository)
    except Exception as error:  # its errors have no common ancestor
        try:
            folder = Path(snapshot_download(repository, local_files_only=True))
        except Exception:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"there is no file or folder {where!r} here, and no such repository could be got from Hugging"
                f" Face ({said[0][:200]}); check the name and the connection"
            ) from error
        files = _files_of(folder)
    within = [file for file in files if not inside or file == inside or file.startswith(f"{inside}/")]
    if not within:
        folders = sorted({str(PurePosixPath(file).parent) for file in files if _is_known(file)})
        near = get_close_matches(inside, folders, n=3, cutoff=0.3)
        raise InputError(
            f"the repository {repository!r} has no {inside!r}"
            + (f"; it has {', '.join(near)}" if near else "")
        )
    relative = {file.removeprefix(inside).lstrip("/") or file: file for file in within}
    chosen = PurePosixPath(inside if inside in within else relative[_one(relative, where)])
    beside, above = chosen.parent, chosen.parent.parent
    wanted = [chosen, *(beside / name for name in _BESIDE), above / "config.json"]
    return Path(snapshot_download(repository, allow_patterns=[escape(str(file)) for file in wanted])) / chosen
