"""Arrays from files that users bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from saywell.store.files import damaged, storing


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file; half precision of any kind as float32.

    Raises StorageError for a file that cannot be read or is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with storing(path):
        try:
            tensors = load_file(path)
        except (SafetensorError, ValueError) as error:
            raise damaged(path, error) from error
    halves = (torch.float16, torch.bfloat16)
    return {name: (t.float() if t.dtype in halves else t).numpy() for name, t in tensors.items()}
