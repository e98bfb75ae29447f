"""The errors a user can cause; each message names the value and the fix, and needs no traceback."""

from __future__ import annotations


class SaywellError(Exception):
    """Something the caller can mend: a wrong input, option, path, key or missing package."""


class InputError(SaywellError):
    """The data, model or option handed in cannot be used as it is."""


class StudyError(SaywellError):
    """A study folder is missing, in use, of another make, or was made from other inputs."""


class StorageError(StudyError):
    """A file cannot be read or written, or is damaged."""


class SchemaError(StudyError):
    """A table does not have the columns, types or keys that its schema promises."""


class MissingPackage(SaywellError):
    """An optional package is needed; the message carries the pip line that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}; install it with: pip install 'saywell[{extra}]'"
        )


class LeakError(SaywellError):
    """An example would be used for two purposes that must be kept apart."""
