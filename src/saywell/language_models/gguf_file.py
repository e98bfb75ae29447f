"""What a GGUF file says of its model, read from its beginning without loading it.

The package `gguf` reads all of it, every token of the vocabulary as an array of its own, which takes
seconds; here numbers and texts are kept and arrays skipped. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.store.files import file_hash

Value = int | float | bool | str

_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_TEXT, _ARRAY = 8, 9
_PIECE = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_LONGEST = 1 << 24  # characters of a text; chat templates have some thousands


class _Broken(Exception):
    pass


@dataclass(frozen=True)
class GgufFile:
    """A model's file, or the first of the pieces it was split into, and what stands in its header."""

    path: Path
    header: dict[str, Value]

    @classmethod
    def read(cls, path: Path) -> GgufFile:
        """Raises InputError for what is no GGUF file, is cut off in its header, or lacks a piece."""
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(
                f"{path} {what}; give the path of a GGUF file (saywell doctor lists those it sees)"
            )
        try:
            with path.open("rb") as file:
                found = cls(path, _header(file, path.stat().st_size))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        except _Broken as broken:
            raise InputError(f"{path} {broken}; download it again") from None
        missing = [piece.name for piece in found.pieces if not piece.is_file()]
        if missing:
            raise InputError(
                f"{path} is a piece of a model whose {missing[0]} is not beside it; download it too"
            )
        return found

    @property
    def pieces(self) -> list[Path]:
        """The files of the model in order: this one, unless it was split."""
        count, name = self.header.get("split.count", 1), _PIECE.search(self.path.name)
        if not isinstance(count, int) or count < 2 or name is None or int(name[2]) != count:
            return [self.path]
        stem = self.path.name[: name.start()]
        return [self.path.with_name(f"{stem}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1)]

    @property
    def architecture(self) -> str:
        """As llama.cpp names it, such as "llama"; empty when the file does not say."""
        return str(self.header.get("general.architecture", ""))

    @property
    def context(self) -> int | None:
        """Tokens that the model was trained to read; None when the file does not say."""
        length = self.header.get(f"{self.architecture}.context_length")
        return length if type(length) is int and length > 0 else None

    @property
    def chats(self) -> bool:
        """Whether it has a chat template."""
        return bool(self.header.get("tokenizer.chat_template"))

    def fingerprint(self) -> str:
        """32 hex digits from every byte of the file, or of its pieces."""
        hashes = [file_hash(piece) for piece in self.pieces]
        return hashes[0] if len(hashes) == 1 else combined(*hashes)


def _header(file: BinaryIO, size: int) -> dict[str, Value]:
    if file.read(4) != b"GGUF":
        raise _Broken("is not a GGUF file")
    version = _number(file, "I")
    if version not in (2, 3):
        raise _Broken(f"has version {version} of the format GGUF, of which 2 and 3 can be read")
    _number(file, "Q")  # tensors
    count = _number(file, "Q")
    header: dict[str, Value] = {}
    for _ in range(count):
        if file.tell() >= size:
            raise _Broken("is cut off in its header")
        name = _text(file, size)
        value = _value(file, _number(file, "I"), size)
        if value is not None:
            header[name] = value
    return header


def _value(file: BinaryIO, kind: int, size: int) -> Value | None:
    """The next value; None for an array, which is skipped."""
    if kind in _SCALARS:
        return _number(file, _SCALARS[kind])
    if kind == _TEXT:
        return _text(file, size)
    if kind != _ARRAY:
        raise _Broken(f"holds a value of the unknown kind {kind}")
    inner, count = _number(file, "I"), _number(file, "Q")
    if count > size:
        raise _Broken("is damaged in its header")
    if inner in _SCALARS:
        file.seek(count * struct.calcsize("<" + _SCALARS[inner]), 1)
    elif inner == _TEXT:
        for _ in range(count):
            length = _number(file, "Q")
            if length > size:
                raise _Broken("is damaged in its header")
            file.seek(length, 1)
    else:
        raise _Broken(f"holds an array of the unknown kind {inner}")
    return None


def _number(file: BinaryIO, code: str) -> int:
    data = file.read(struct.calcsize("<" + code))
    try:
        return struct.unpack("<" + code, data)[0]
    except struct.error:
        raise _Broken("is cut off in its header") from None


def _text(file: BinaryIO, size: int) -> str:
    length = _number(file, "Q")
    if length > min(size, _LONGEST):
        raise _Broken("is damaged in its header")
    return file.read(length).decode("utf-8", "replace")
