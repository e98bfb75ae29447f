"""What identifies a model: not its name or path, but everything that it computes with."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

from saywell.store.files import file_hash

_ORIGIN = {
    "_name_or_path",
    "name_or_path",
    "transformers_version",
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
    "use_cache",
    "_commit_hash",
    "_attn_implementation",
    "base_model_name_or_path",
}
"""Settings that say where a model comes from or how it is run. The weights tell their own dtype."""


def model_fingerprint(model: Any, *preparations: Any) -> str:
    """32 hex digits from what a torch module computes with, and from how its inputs are prepared.

    Of the module: its class, all weights and buffers (every number of them), the configuration (its
    own, and that of adapters), since a layer's epsilon, a rotary base or the number of heads change
    the outputs and no weight. `preparations` are tokenizers (vocabulary, rules, longest input), image
    processors (their settings) and strings.
    """
    import torch

    tensors = sorted(model.state_dict().items())
    # Hashing lets go of the interpreter, so tensors are read side by side.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        weights = pool.map(_tensor_digest, (tensor for _, tensor in tensors))
        named = [f"{name} {digest}" for (name, _), digest in zip(tensors, weights, strict=True)]
    return combined(type(model).__name__, *named, *_configurations(model), *map(_settings, preparations))


def checkpoint_fingerprint(folder: Path) -> str:
    """32 hex digits from every byte of the files of a checkpoint on disk, and their names.

    For models that are not loaded before it is known whether they are needed.
    """
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return combined(*(f"{path.name} {file_hash(path)}" for path in files))


def combined(*parts: str | bytes) -> str:
    """32 hex digits from fingerprints and other bytes, told apart by their lengths."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def _tensor_digest(tensor: Any) -> str:
    import torch

    if not isinstance(tensor, torch.Tensor):  # a module's extra state
        return repr(tensor)
    whole = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    digest = blake2b(whole.numpy().data, digest_size=16).hexdigest()
    return f"{tuple(tensor.shape)} {tensor.dtype} {digest}"


def _configurations(model: Any) -> list[str]:
    """The different configurations of the module and what is in it; its structure where it has none."""
    found: dict[str, None] = {}
    for module in model.modules():
        for config in (getattr(module, "config", None), *_adapters(module)):
            # What differs from the defaults: settings that a later library adds change nothing.
            settings = getattr(config, "to_diff_dict", getattr(config, "to_dict", None))
            if settings is not None:
                found[_text(settings())] = None
    return list(found) or [repr(model)]


def _adapters(module: Any) -> list[Any]:
    adapters = getattr(module, "peft_config", None)
    return list(adapters.values()) if isinstance(adapters, dict) else []


def _settings(preparation: Any) -> str:
    if isinstance(preparation, str):
        return preparation
    backend = getattr(preparation, "backend_tokenizer", None)
    if backend is not None:
        rules = json.loads(backend.to_str())
        # Padding and truncation are those of the last call, and every call sets them.
        rules |= {"padding": None, "truncation": None}
        return _text([rules, preparation.model_max_length, *_sides(preparation)])
    if hasattr(preparation, "get_vocab"):
        kept = [preparation.get_vocab(), preparation.special_tokens_map]
        limit = preparation.model_max_length
        return _text([type(preparation).__name__, *kept, limit, *_sides(preparation)])
    return _text(preparation.to_dict())


def _sides(tokenizer: Any) -> list[str]:
    """Where texts are filled up or cut, if that is not at their end as it nearly always is."""
    sides = {name: getattr(tokenizer, name, "right") for name in ("padding_side", "truncation_side")}
    return [f"{name}={side}" for name, side in sides.items() if side != "right"]


def _text(settings: Any) -> str:
    return json.dumps(_without_origin(settings), sort_keys=True, default=str)


def _without_origin(settings: Any) -> Any:
    if isinstance(settings, dict):
        # JSON cannot sort names of different types, such as the numbers of classes.
        return {str(k): _without_origin(v) for k, v in settings.items() if k not in _ORIGIN}
    if isinstance(settings, list | tuple | set | frozenset):
        items = [_without_origin(item) for item in settings]
        return sorted(items, key=repr) if isinstance(settings, set | frozenset) else items
    return settings
