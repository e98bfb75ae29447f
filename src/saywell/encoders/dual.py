"""Dual encoders: images and texts as unit vectors of one space, so that a dot product is a cosine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float, Int64

from saywell.encoders.checkpoints import find_checkpoint
from saywell.encoders.fingerprints import model_fingerprint
from saywell.encoders.loading import load_part, load_weights, opening, refuse_not_finite, refuse_wordless
from saywell.encoders.positions import position_limit, token_ids
from saywell.encoders.vectors import unit_length
from saywell.encoders.vision import blank, open_image_processor
from saywell.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


class DualEncoder(Protocol):
    """What sees and reads. `name` is for people; equal `fingerprint`s mean equal vectors."""

    name: str
    fingerprint: str
    dim: int
    max_tokens: int

    def encode_images(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "images dim"]:
        """Unit float32 vectors of RGB pictures."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Unit float32 vectors. Raises InputError for a text longer than `max_tokens`."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> Int64[np.ndarray, " texts"]:
        """Tokens of each text, with those that mark its beginning and end."""
        ...


def open_dual_encoder(name: str, *, device: str | None = None, batch_size: int = 32) -> DualEncoder:
    """A CLIP, SigLIP or like checkpoint of transformers, by folder, hub name or the alias `planted`.

    Weights are read from safetensors, pictures are prepared with Pillow.

    Raises InputError when it cannot be loaded, or does not encode both images and texts.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    where = find_checkpoint(name)
    with opening("the encoder", name, where):

        def wrapped(model: Any) -> DualEncoder:
            tokenizer = load_part(AutoTokenizer, where)
            refuse_wordless(tokenizer)
            processor = open_image_processor(where)
            return _Transformers(name, model, tokenizer, processor, device or "cpu", batch_size)

        model = load_weights(
            AutoModel,
            where,
            dtype=torch.float32,
            part=_seeing_and_reading,
            probe=lambda model: torch.from_numpy(_first_vectors(wrapped(model))),
        )
        encoder = wrapped(model)
        refuse_not_finite(_first_vectors(encoder))
        return encoder


def _seeing_and_reading(model: Any) -> Any:
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise InputError(
            f"it is a model of type {model.config.model_type!r}, which does not encode images"
            " and texts into one space; give a CLIP or SigLIP checkpoint, or join a vision encoder"
            " and a sentence encoder (saywell.encoders.joined)"
        )
    return model


def _first_vectors(encoder: DualEncoder) -> np.ndarray:
    """Of a word and a sign that no vocabulary need have, and of a grey picture."""
    return np.concatenate([encoder.encode_texts(["a", "\u2603"]), encoder.encode_images(blank())])


def check_lengths(encoder: DualEncoder, texts: Sequence[str]) -> None:
    """Raise InputError for the first text that the encoder would have to cut."""
    counts = encoder.count_tokens(texts)
    if len(texts) and counts.max() > encoder.max_tokens:
        worst = int(counts.argmax())
        raise InputError(
            f"a text of {counts[worst]} tokens is longer than the {encoder.max_tokens} that"
            f" {encoder.name!r} reads, and would be cut: {texts[worst][:80]!r}; shorten or split it"
        )


class _Transformers:
    def __init__(
        self, name: str, model: Any, tokenizer: Any, processor: Any, device: str, batch_size: int
    ) -> None:
        self.name, self._tokenizer, self._processor = name, tokenizer, processor
        self._device, self._batch_size = device, batch_size
        self._model = model.eval().to(device)
        text = getattr(model.config, "text_config", model.config)
        limits = [int(text.max_position_embeddings), self._positions()]
        self.max_tokens = min(limit for limit in limits if limit is not None)
        # SigLIP pools at the last place, so its texts are always padded to full length.
        self._padding = "max_length" if model.config.model_type.startswith("siglip") else "longest"
        self.fingerprint = model_fingerprint(model, tokenizer, processor)
        self.dim = self.encode_texts(["a"]).shape[1]

    def _positions(self) -> int | None:
        import torch

        ids = token_ids(getattr(self._model, "text_model", self._model), 4)
        if ids is None:
            return None
        return position_limit(
            lambda ids: self._model.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids)), ids
        )

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros(0, dtype=np.int64)
        # Without `verbose` there is no warning about texts longer than the model reads.
        ids = self._tokenizer(list(texts), verbose=False)["input_ids"]
        return np.array([len(row) for row in ids], dtype=np.int64)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        check_lengths(self, texts)
        order = np.argsort([len(text) for text in texts], kind="stable")
        vectors: list[Any] = [None] * len(texts)
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            inputs = self._tokenizer(
                [texts[row] for row in rows],
                padding=self._padding,
                max_length=self.max_tokens,
                truncation=False,
                return_tensors="pt",
                verbose=False,
            ).to(self._device)
            with torch.inference_mode():
                features = _vectors(self._model.get_text_features(**inputs))
            for row, vector in zip(rows, features, strict=True):
                vectors[row] = vector
        return unit_length(np.stack(vectors), float).astype(np.float32)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        import torch

        parts = []
        for start in range(0, len(images), self._batch_size):
            batch = [image.convert("RGB") for image in images[start : start + self._batch_size]]
            inputs = self._processor(batch, return_tensors="pt").to(self._device)
            with torch.inference_mode():
                parts.append(_vectors(self._model.get_image_features(**inputs)))
        if not parts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return unit_length(np.concatenate(parts), float).astype(np.float32)


def _vectors(features: Any) -> np.ndarray:
    # transformers 5 returns an output object, earlier versions the tensor itself.
    tensor = getattr(features, "pooler_output", features)
    return tensor.float().cpu().numpy()
