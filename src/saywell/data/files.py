"""Opening files that people name: only what is a regular file, decided before anything is opened."""

from __future__ import annotations

import os
import stat
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from saywell.errors import InputError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_KERNEL_FOLDERS = ("/proc/", "/sys/")  # what stands there is made up when it is read
_BESIDE = 2000


class NotRegular(OSError):
    """What a path names is no regular file; `strerror` says what it is."""

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: str | Path) -> BinaryIO:
    """The regular file at `path`, or at the end of the links that start there, open for reading.

    Raises NotRegular (an OSError) for a folder, pipe, socket, device or a file of the kernel's, which
    could wait for ever, never end, or do something when opened; OSError where nothing can be read.
    """
    check_regular(path)
    # Another file may have taken its place since: opened so, a pipe does not wait.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise NotRegular(None, "it is no regular file", str(path))
    return file


def check_regular(path: str | Path) -> int:
    """The size, in bytes, of the regular file at `path`; nothing is opened. Raises as `open_regular`."""
    found = Path(path).stat()
    what = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), None)
    if what is None and os.name == "posix" and os.path.realpath(path).startswith(_KERNEL_FOLDERS):
        what = "a file of the kernel's"
    if what is not None:
        raise NotRegular(None, f"it is {what}, no regular file", str(path))
    return found.st_size


def require_regular(path: str | Path) -> None:
    """Raise InputError, with the path, where `path` names something that is no regular file.

    A path that names nothing passes: whoever opens it says so in words of its own.
    """
    try:
        check_regular(path)
    except NotRegular as error:
        raise InputError(f"{str(path)[:200]!r} cannot be read: {error.strerror}") from error
    except (OSError, ValueError):
        return


def nearest_file(path: str | Path) -> str:
    """For a message: the name beside `path`, which is not there, that is most like its; "" for none.

    Of a large folder only the first names that the disk gives are looked at.
    """
    wanted = Path(path)
    try:
        names = sorted(one.name for one in islice(wanted.parent.iterdir(), _BESIDE))
    except (OSError, ValueError):
        return ""
    near = get_close_matches(wanted.name, names, n=1, cutoff=0.7)
    return f" (did you mean {str(wanted.with_name(near[0]))[:200]!r}?)" if near else ""
