"""Vision encoders: pictures to feature vectors, by any image model of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float

from saywell.encoders.checkpoints import find_checkpoint, read_settings
from saywell.encoders.fingerprints import model_fingerprint
from saywell.encoders.loading import load_part, load_weights, opening, refuse_not_finite
from saywell.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


# Pictures at once. On a processor a forward pass asks the system for the memory of its activations
# and gives it back, and the larger they are the more of the time goes there. Other devices keep
# their memory, and are idle with small batches.
CPU_BATCH, DEVICE_BATCH = 4, 32


class VisionEncoder(Protocol):
    """What turns RGB pictures into vectors; equal fingerprints mean equal vectors."""

    name: str
    fingerprint: str
    dim: int

    def __call__(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "images dim"]:
        """The features as the model gives them, not normalised."""
        ...


def open_vision_encoder(
    name: str, *, device: str | None = None, batch_size: int | None = None
) -> VisionEncoder:
    """Any image model of transformers, by folder or hub name; a classifier's head is left off.

    The features are the model's pooled output, or the mean over places where it has none. Without
    `batch_size`, 4 pictures go through the model at once on the CPU, 32 on other devices; features
    do not depend on it.

    Raises InputError when it cannot be loaded.
    """
    import torch
    from transformers import AutoModel

    where = find_checkpoint(name)
    device = device or "cpu"
    if batch_size is None:
        batch_size = default_batch(device)
    with opening("the vision encoder", name, where):
        processor = open_image_processor(where)

        def probe(model: Any) -> Any:
            return _pooled(model(**processor(blank(), return_tensors="pt")))

        # Of a model for images and texts together, the part that sees is used.
        seeing = load_weights(
            AutoModel,
            where,
            dtype=torch.float32,
            probe=probe,
            part=lambda model: getattr(model, "vision_model", model),
        )
        encoder = _Transformers(name, seeing, processor, device, batch_size)
        refuse_not_finite(encoder(blank()))
        return encoder


def default_batch(device: str) -> int:
    """How many pictures go through a model at once on a device such as `cpu` or `cuda:1`."""
    return CPU_BATCH if device.partition(":")[0] == "cpu" else DEVICE_BATCH


def open_image_processor(where: str) -> Any:
    """The image processor of a checkpoint, in the version that works with Pillow alone.

    Raises InputError where the checkpoint has none, and for settings that give pictures of different
    sizes, which no model takes together.
    """
    from PIL import Image
    from transformers import AutoImageProcessor

    if not (
        read_settings(Path(where) / "preprocessor_config.json")
        or read_settings(Path(where) / "processor_config.json")
    ):
        raise InputError(
            f"{where!r} does not say how its pictures are prepared; a folder needs the"
            " preprocessor_config.json that the processor's save_pretrained wrote"
        )
    processor = load_part(AutoImageProcessor, where, backend="pil")
    try:
        processor([Image.new("RGB", size) for size in ((32, 48), (48, 32))], return_tensors="pt")
    except ValueError as error:
        raise InputError(
            "its image settings cannot prepare a high and a wide picture together; they should crop or"
            " resize to one size"
        ) from error
    return processor


class _Transformers:
    def __init__(self, name: str, model: Any, processor: Any, device: str, batch_size: int) -> None:
        self.name, self._processor, self._batch_size = name, processor, batch_size
        self._device = device
        self._model = model.eval().to(device)
        self.fingerprint = model_fingerprint(model, processor)
        self.dim = self(blank()).shape[1]

    def __call__(self, images: Sequence[Image.Image]) -> np.ndarray:
        import torch

        parts = []
        for start in range(0, len(images), self._batch_size):
            batch = list(images[start : start + self._batch_size])
            inputs = self._processor(batch, return_tensors="pt").to(self._device)
            with torch.inference_mode():
                parts.append(_pooled(self._model(**inputs)).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), dtype=np.float32)


def _pooled(output: Any) -> Any:
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    hidden = output.last_hidden_state
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(dim=1)


def blank() -> list[Image.Image]:
    """One grey picture."""
    from PIL import Image

    return [Image.new("RGB", (32, 32), (127, 127, 127))]
