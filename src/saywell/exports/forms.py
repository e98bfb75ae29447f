"""All forms by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from saywell.errors import InputError
from saywell.exports.delphi import write_delphi
from saywell.exports.embedding_atlas import write_embedding_atlas
from saywell.exports.neuronpedia import write_neuronpedia
from saywell.exports.neuronpedia_jsonl import write_neuronpedia_jsonl
from saywell.exports.saedashboard import write_saedashboard
from saywell.exports.shown import How, Shown
from saywell.exports.tables import WRITERS
from saywell.store.files import storing, temporary_folder
from saywell.store.study import Study

FOLDERS: Mapping[str, Callable[[Shown, Path], list[str] | None]] = MappingProxyType(
    {
        "neuronpedia": write_neuronpedia,
        "neuronpedia-jsonl": write_neuronpedia_jsonl,
        "saedashboard": write_saedashboard,
        "delphi": write_delphi,
        "embedding-atlas": write_embedding_atlas,
    }
)
"""Forms of several files: what writes one into a folder, and may give sentences of its own."""
FORMS = (*FOLDERS, *WRITERS)


def write_folder(study: Study, to: str, out: Path, how: How) -> list[str]:
    """The study in the form of that name, in a new folder: whole, or not at all. Gives what has to be known.

    Raises InputError where the study lacks what the form shows, and where `out` holds files already.
    """
    with storing(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out {str(out)!r} is there already; name a new folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(out.parent, out.name) as parted:
            shown, made = Shown(study, how), parted / "made"
            made.mkdir()
            own = FOLDERS[to](shown, made) or []
            if out.exists():
                out.rmdir()
            made.rename(out)
    return [*shown.notes, *own]
