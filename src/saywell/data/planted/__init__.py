"""The planted world: generated images, classes and articles whose right answers are known."""

from __future__ import annotations

from pathlib import Path


def encoder_folder() -> Path:
    """The checkpoint folder of the small CLIP model that was trained for the planted world."""
    return Path(__file__).parent / "encoder"
