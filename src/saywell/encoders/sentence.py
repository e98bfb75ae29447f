"""Sentence encoders: texts to unit vectors, so that a dot product is a cosine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from saywell.encoders.checkpoints import find_checkpoint, refuse_unsafe
from saywell.encoders.fingerprints import combined, model_fingerprint
from saywell.encoders.loading import opening, refuse_made_up, refuse_not_finite, refuse_wordless
from saywell.encoders.positions import position_limit, token_ids


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
    import torch
    from sentence_transformers import SentenceTransformer

    where = find_checkpoint(name)
    with opening("the sentence encoder", name, where):
        refuse_unsafe(where)
        weights = dict(use_safetensors=True, dtype=torch.float32, ignore_mismatched_sizes=True)
        model = SentenceTransformer(
            where, device=device, trust_remote_code=False, local_files_only=True, model_kwargs=weights
        )
        encoder = _SentenceTransformer(name, model)
        # The library keeps to itself what was missing, so its model is asked for once more.
        for folder, inner in _models(where, model):
            refuse_wordless(model.tokenizer)
            options = weights | dict(trust_remote_code=False, local_files_only=True)
            _, info = type(inner).from_pretrained(
                folder, config=inner.config, output_loading_info=True, **options
            )
            refuse_made_up(inner, inner, info, lambda: encoder(["a"]))
            limit = _positions(inner)
            if limit is not None and model.max_seq_length is not None:
                model.max_seq_length = min(limit, model.max_seq_length)
        refuse_not_finite(encoder(["a \u2603"]))
        return _SentenceTransformer(name, model)


def _models(folder: str, model: Any) -> Iterator[tuple[str, Any]]:
    """The models of transformers in a sentence encoder, each with the folder of its weights."""
    from transformers import PreTrainedModel

    places = Path(folder) / "modules.json"
    paths = [step["path"] for step in json.loads(places.read_text())] if places.is_file() else [""]
    for path, step in zip(paths, model, strict=False):
        inner = next((m for m in step.modules() if isinstance(m, PreTrainedModel)), None)
        if inner is not None:
            yield str(Path(folder) / path), inner


def _positions(model: Any) -> int | None:
    import torch

    ids = token_ids(model, 4)
    if ids is None:
        return None
    return position_limit(lambda ids: model(input_ids=ids, attention_mask=torch.ones_like(ids)), ids)


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
