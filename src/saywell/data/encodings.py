"""In what encoding a file of text is written."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable
from typing import BinaryIO

from saywell.errors import InputError

_CHUNK = 2**20
_HALVES = re.compile("[\ud800-\udfff]")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What Western texts have beyond ASCII: letters beside other letters, and typographic signs.
_SIGNS = "‘’‚“”„–—…•€£¥§°·«»¿¡©®™¼½¾ºª´±²³µ×\xa0"
_LETTER = r"[ŠŒŽšœžŸÀ-ÖØ-öø-ÿ]"
_WESTERN = re.compile(
    rf"(?:[\x00-\x7f{_SIGNS}]|(?<=[A-Za-z]){_LETTER}{{1,2}}(?!{_LETTER})"
    rf"|(?<!{_LETTER}){_LETTER}{{1,2}}(?=[A-Za-z]))*"
)


def encodable(text: str, instead: str = "") -> str:
    """The text with `instead` for halves of characters (lone surrogates), which no UTF-8 can hold.

    They come from escapes in JSON, and from names of files that are not UTF-8.
    """
    return text if text.isascii() else _HALVES.sub(instead, text)


def encoding_of(open_bytes: Callable[[], BinaryIO], name: str) -> tuple[str, str]:
    """The encoding of a file of text, and a note where it is another than UTF-8 ('' otherwise).

    A byte order mark decides; then UTF-8, where every byte fits. UTF-16 without a mark is told by its
    zeros. Else a file is read as Windows-1252 only where it then reads as a Western text: accented
    letters stand alone or in twos beside plain ones, and nothing else is there but usual signs.

    Raises InputError, with the first line that is not UTF-8, for any other file.
    """
    try:
        with open_bytes() as file:
            head = file.read(4096)
        mark = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
        if mark is None and b"\0" in head:
            mark = _by_zeros(head)
        # Without a mark, 'utf-8-sig' is UTF-8.
        encoding = mark or "utf-8-sig"
        if _decodes(open_bytes, encoding):
            plain = encoding == "utf-8-sig"
            return encoding, "" if plain else f"{name} is written in {encoding.upper()}."
        if mark is None and _is_western(open_bytes):
            note = (
                f"{name} is not UTF-8; it was read as Windows-1252. Save it as UTF-8 where letters are wrong."
            )
            return "cp1252", note
        where = _first_undecodable(open_bytes) if mark in (None, "utf-8-sig") else f"no {encoding}"
    except (OSError, EOFError, zlib.error) as error:  # also what is no gzip though its name says so
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read: {said}") from error
    raise InputError(f"{name}, {where}; save the file as UTF-8")


def _by_zeros(head: bytes) -> str | None:
    """UTF-16 of mostly Latin letters has a zero in every other byte."""
    even, odd = head[::2], head[1::2]
    if odd and odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if even and even.count(0) > 0.4 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return None


def _decodes(open_bytes: Callable[[], BinaryIO], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with open_bytes() as file:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_western(open_bytes: Callable[[], BinaryIO]) -> bool:
    with open_bytes() as file:
        for line in file:
            try:
                text = line.decode("cp1252")
            except UnicodeDecodeError:
                return False
            if not text.isascii() and not _WESTERN.fullmatch(text):
                return False
    return True


def _first_undecodable(open_bytes: Callable[[], BinaryIO]) -> str:
    with open_bytes() as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return f"line {number} is not UTF-8 (byte 0x{byte:02x} at byte {error.start + 1})"
    raise AssertionError("the file changed while it was read")
