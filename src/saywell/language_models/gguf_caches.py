"""The GGUF files that other programs have downloaded: Ollama, LM Studio, llama.cpp and the Hugging Face hub.

Where they keep them:
Ollama     https://github.com/ollama/ollama/blob/main/docs/faq.mdx (manifests name the layers, blobs are them)
LM Studio  https://lmstudio.ai/docs/app/advanced/import-model (PUBLISHER/MODEL/FILE.gguf)
llama.cpp  https://github.com/ggml-org/llama.cpp/pull/7826 (files side by side, or as the hub has them)
the hub    https://huggingface.co/docs/huggingface_hub/guides/manage-cache (models--ORG--NAME/snapshots/...)
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from saywell.errors import InputError
from saywell.language_models.gguf_file import GgufFile

_MODEL_LAYER = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LATER_PIECE = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
_LARGEST_MANIFEST = 1 << 20


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A file that can chat, the program that has it, what it calls it, and the bytes it takes."""

    program: str
    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found.

    `others` counts files that have no chat template or cannot be read; `whole` is False where a folder
    was too large, or too slow, to be looked through.
    """

    models: list[CachedModel]
    others: int
    whole: bool


class _Enough(Exception):
    pass


class _Patience:
    """Lets so many entries of folders be looked at, for so long."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._left, self._until, self._clock = most, clock() + seconds, clock

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0 or self._clock() > self._until:
            raise _Enough


def cached_models(
    env: Mapping[str, str] = os.environ,
    home: Path | None = None,
    *,
    most: int = 20_000,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> Seen:
    """The models in the usual folders, by program and name.

    Of each program no more than `most` entries of folders are looked at, for no more than `seconds`.
    """
    home = home or Path.home()
    found: dict[str, CachedModel] = {}
    others, whole = 0, True
    known: set[Path] = set()
    for program, folders, look in _PROGRAMS:
        patience = _Patience(most, seconds, clock)
        try:
            for folder in folders(env, home):
                for name, path in look(folder, patience):
                    patience.spend()
                    try:
                        real = path.resolve(strict=True)
                        if real in known or not str(path).isprintable():
                            continue
                        known.add(real)
                        file = GgufFile.read(path)
                        size = sum(piece.stat().st_size for piece in file.pieces)
                    except (OSError, RuntimeError, InputError):
                        others += 1
                        continue
                    if file.chats:
                        found[str(path)] = CachedModel(program, name, str(path), size)
                    else:
                        others += 1
        except _Enough:
            whole = False
    models = sorted(found.values(), key=lambda model: (model.program, model.name))
    return Seen(models, others, whole)


def _ollama_folders(env: Mapping[str, str], home: Path) -> list[Path]:
    own = env.get("OLLAMA_MODELS")
    # The second is where its service on Linux has them.
    return [Path(own)] if own else [home / ".ollama/models", Path("/usr/share/ollama/.ollama/models")]


def _in_ollama(folder: Path, patience: _Patience) -> Iterator[tuple[str, Path]]:
    for path in _files(folder / "manifests", 4, patience):
        parts = path.relative_to(folder / "manifests").parts
        if len(parts) != 4:  # HOST/NAMESPACE/MODEL/TAG
            continue
        try:
            if path.stat().st_size > _LARGEST_MANIFEST:
                continue
            layers = json.loads(path.read_bytes())["layers"]
            digests = [layer["digest"] for layer in layers if layer["mediaType"] == _MODEL_LAYER]
            hashes = [match[1] for digest in digests if (match := _DIGEST.fullmatch(digest))]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        usual = [part for part in parts[:2] if part not in ("registry.ollama.ai", "library")]
        if len(hashes) == 1 and "".join(parts).isprintable():
            yield f"{'/'.join([*usual, parts[2]])}:{parts[3]}", folder / "blobs" / f"sha256-{hashes[0]}"


def _lm_studio_folders(env: Mapping[str, str], home: Path) -> list[Path]:
    homes = [home / ".lmstudio", home / ".cache/lm-studio"]
    try:
        said = (home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        said = ""
    if said and said.isprintable() and Path(said).is_absolute():
        homes.insert(0, Path(said))
    return [each / "models" for each in homes]


def _in_lm_studio(folder: Path, patience: _Patience) -> Iterator[tuple[str, Path]]:
    for path in _gguf_files(folder, 3, patience):
        yield path.relative_to(folder).as_posix(), path


def _llama_cpp_folders(env: Mapping[str, str], home: Path) -> list[Path]:
    if own := env.get("LLAMA_CACHE"):
        return [Path(own)]
    caches = [home / ".cache", home / "Library/Caches"]
    caches += [Path(env[name]) for name in ("XDG_CACHE_HOME", "LOCALAPPDATA") if env.get(name)]
    return [cache / "llama.cpp" for cache in caches]


def _in_llama_cpp(folder: Path, patience: _Patience) -> Iterator[tuple[str, Path]]:
    yield from ((path.name, path) for path in _gguf_files(folder, 1, patience))
    yield from _in_hub(folder, patience)


def _hub_folders(env: Mapping[str, str], home: Path) -> list[Path]:
    if own := env.get("HF_HUB_CACHE"):
        return [Path(own)]
    cache = Path(env.get("XDG_CACHE_HOME") or home / ".cache")
    return [Path(env.get("HF_HOME") or cache / "huggingface") / "hub"]


def _in_hub(folder: Path, patience: _Patience) -> Iterator[tuple[str, Path]]:
    for entry in _entries(folder, patience):
        kind, *parts = entry.name.split("--")
        if kind != "models" or not parts:
            continue
        snapshots = Path(entry.path) / "snapshots"
        for path in _gguf_files(snapshots, 4, patience):
            inside = path.relative_to(snapshots).parts[1:]  # without the revision
            if inside:
                yield "/".join((*parts, *inside)), path


_PROGRAMS = (
    ("Ollama", _ollama_folders, _in_ollama),
    ("LM Studio", _lm_studio_folders, _in_lm_studio),
    ("llama.cpp", _llama_cpp_folders, _in_llama_cpp),
    ("Hugging Face", _hub_folders, _in_hub),
)


def _gguf_files(folder: Path, depth: int, patience: _Patience) -> Iterator[Path]:
    """Whole models: of those in pieces the first, and nothing that only goes with another file."""
    for path in _files(folder, depth, patience):
        name = path.name.lower()
        if name.endswith(".gguf") and "mmproj" not in name and not _LATER_PIECE.search(name):
            yield path


def _files(folder: Path, depth: int, patience: _Patience) -> Iterator[Path]:
    """The files up to `depth` folders down; links to folders are not followed."""
    for entry in _entries(folder, patience):
        try:
            inner = entry.is_dir(follow_symlinks=False)
        except OSError:
            continue
        if not inner:
            yield Path(entry.path)
        elif depth > 1:
            yield from _files(Path(entry.path), depth - 1, patience)


def _entries(folder: Path, patience: _Patience) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                patience.spend()
                yield entry
    except OSError:
        return  # not there, or not ours to read
