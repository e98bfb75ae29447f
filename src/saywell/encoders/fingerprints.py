"""What identifies an encoder: not its name or path, but what it computes with."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any


def model_fingerprint(model: Any, *preparations: Any) -> str:
    """32 hex digits from a torch module's weights and buffers, and from how inputs are prepared.

    `preparations` are image processors (their settings count), tokenizers (their vocabulary and rules
    count) and strings.
    """
    import torch

    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        whole = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(whole.view(torch.uint8).numpy())
    for preparation in preparations:
        digest.update(_settings(preparation).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def combined(*parts: str | bytes) -> str:
    """32 hex digits from fingerprints and other bytes, told apart by their lengths."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def _settings(preparation: Any) -> str:
    if isinstance(preparation, str):
        return preparation
    backend = getattr(preparation, "backend_tokenizer", None)
    if backend is not None:
        return backend.to_str()
    if hasattr(preparation, "get_vocab"):
        return json.dumps(preparation.get_vocab(), sort_keys=True)
    return json.dumps(preparation.to_dict(), sort_keys=True, default=str)
