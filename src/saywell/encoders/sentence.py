"""Sentence encoders: texts to unit vectors, so that a dot product is a cosine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from saywell.encoders.checkpoints import find_checkpoint
from saywell.encoders.fingerprints import combined, model_fingerprint
from saywell.errors import InputError
from saywell.progress import quiet_loading


class SentenceEncoder(Protocol):
    """What turns texts into vectors; `name` says which weights, for the record."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Unit vectors, one row a text."""
        ...


def open_sentence_encoder(name: str, *, device: str | None = None) -> SentenceEncoder:
    """Any sentence-transformers or transformers model, by folder, hub name or the alias `minilm`.

    Raises InputError when it cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    try:
        with quiet_loading():
            model = SentenceTransformer(
                find_checkpoint(name), device=device, model_kwargs={"use_safetensors": True}
            )
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load the sentence encoder {name!r}: {error}") from error
    return _SentenceTransformer(name, model)


def encoder_fingerprint(encoder: SentenceEncoder) -> str:
    """32 hex digits: of all that the encoder computes with, where it has a `fingerprint`.

    Of any other callable, its name and what it makes of one sentence.
    """
    own = getattr(encoder, "fingerprint", None)
    if isinstance(own, str):
        return own
    probe = encoder(["the quick brown fox jumps over the lazy dog"])
    return combined(encoder.name, np.asarray(probe, dtype="<f4").tobytes())


class _SentenceTransformer:
    def __init__(self, name: str, model: Any) -> None:
        self.name, self._model = name, model
        steps = [(type(step).__name__, step.get_config_dict()) for step in model]
        prompt = model.prompts.get(model.default_prompt_name)
        self.fingerprint = model_fingerprint(
            model, model.tokenizer, json.dumps([steps, prompt, model.max_seq_length], default=str)
        )

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        # Small batches of equal length win on a processor; `encode` sorts by length itself.
        return self._model.encode(
            list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False
        ).astype(np.float32)


def encode_in_chunks(
    encoder: SentenceEncoder,
    texts: Sequence[str],
    *,
    chunk: int = 1024,
    progress: Callable[[int], None] = lambda texts: None,
) -> Float[np.ndarray, "texts dim"]:
    """Encode many texts, telling `progress` after each chunk how many it held."""
    parts = []
    for start in range(0, len(texts), chunk):
        piece = texts[start : start + chunk]
        parts.append(encoder(piece))
        progress(len(piece))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)
