"""The dual encoder that a study of pictures is asked to see with, named in one of three ways."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from saywell.data.captioned import load_captioned, much_larger, typical_side
from saywell.data.image_sources import open_source
from saywell.encoders.checkpoints import find_checkpoint
from saywell.encoders.dual import DualEncoder, open_dual_encoder
from saywell.encoders.joined import join_encoders
from saywell.encoders.precomputed import open_precomputed
from saywell.encoders.sentence import open_sentence_encoder
from saywell.encoders.vision import open_vision_encoder
from saywell.errors import InputError
from saywell.studies.settings import DualSettings
from saywell.units.models import pick_device


class Opened(NamedTuple):
    """An encoder, and what a reader of the study has to know about how it was made."""

    encoder: DualEncoder
    notes: list[str]


def check_encoder(asked: DualSettings, otherwise: str = "") -> None:
    """Whether the settings name one encoder, and files that are there; nothing is opened.

    Raises InputError when they do not; `otherwise`: what it says can be done without one.
    """
    if sum(given is not None for given in (asked.encoder, asked.vision, asked.image_vectors)) != 1:
        raise InputError(
            "give one of --encoder (a CLIP or SigLIP checkpoint), --vision with --join-on (two models"
            f" to be joined), or --image-vectors with --text-vectors (files){otherwise}"
        )
    if asked.device is not None:
        pick_device(asked.device)
    if asked.encoder is not None:
        find_checkpoint(asked.encoder)
    elif asked.image_vectors is not None:
        if asked.text_vectors is None:
            raise InputError("--image-vectors needs --text-vectors, a Parquet file of texts")
        for file in (asked.image_vectors, asked.text_vectors):
            if not file.is_file():
                raise InputError(f"there is no file {str(file)!r} with vectors")
    elif asked.vision is not None:
        if asked.join_on is None:
            raise InputError(
                "--vision needs --join-on: images with names or captions, to join it to --sentences"
            )
        find_checkpoint(asked.vision)
        find_checkpoint(asked.sentences)
        open_source(asked.join_on, "image", asked.join_label, None)
        if "{}" not in asked.join_caption:
            raise InputError(f"--join-caption {asked.join_caption!r} has no {{}} for the name to stand in")


def open_encoder(asked: DualSettings, images: str | Path, label: str | None) -> Opened:
    """The encoder that `check_encoder` found nothing against.

    Two models are joined for pictures of the size that those of `images` have, whose classes are in
    column `label`.
    """
    if asked.encoder is not None:
        return Opened(open_dual_encoder(asked.encoder, device=asked.device), [])
    if asked.image_vectors is not None and asked.text_vectors is not None:
        return Opened(open_precomputed(asked.image_vectors, asked.text_vectors), [])
    assert asked.vision is not None and asked.join_on is not None  # see check_encoder
    side, notes = typical_side(images, label=label), []
    found = load_captioned(asked.join_on, label=asked.join_label, caption=asked.join_caption)
    if found.rejected:
        notes.append(
            f"{len(found.rejected)} images of --join-on are not used, such as {found.rejected[0]!r}."
        )
    larger = sum(much_larger(picture, side) for picture in found.pictures)
    if larger:
        notes.append(
            f"{larger} pictures of --join-on are also learned from at {side} pixels, the size of yours."
        )
    joined = join_encoders(
        open_vision_encoder(asked.vision, device=asked.device),
        open_sentence_encoder(asked.sentences, device=asked.device),
        found.pictures,
        found.captions,
        side=side,
    )
    return Opened(joined, notes)
