"""Influence in a network trained from pixels, as in the paper, and the rules that go by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, SELECT
from saywell.encoders.vectors import unit_length
from saywell.influence.per_sample import mean_over_own_class
from saywell.influence.proponents import proponents
from saywell.influence.training import Pixels, image_classifier, resnet34, train_network
from saywell.scorers.text_influence import ift_literal, ift_proponent
from saywell.store.files import is_whole, read_array, write_arrays
from saywell.studies.class_rows import LITERAL, PROPONENT, TextScores, chosen_by
from saywell.transfer.linear_heads import step_rates

RESNET34 = "resnet34"
EVERY, CHECKPOINTS = 30, 20
"""The paper's schedule: 0.1, divided by 10 every 30 epochs; 20 checkpoints."""
_PROPONENTS = 100
_INFLUENCE = "influence.safetensors"


def network_influence(
    network: str | nn.Module,
    shown: Examples,
    labels: Int[np.ndarray, " images"],
    rows: Mapping[str, Int[np.ndarray, " n"]],
    classes: int,
    folder: Path,
    *,
    epochs: int = 200,
    side: int = 64,
    seed: int = 0,
    of: str = "",
    progress: Callable[[int], None] = lambda epochs: None,
) -> Float[np.ndarray, " train"]:
    """Mean influence of each training image on the validation images of its class, last layer.

    `network` is 'resnet34' (random weights), the name of a pretrained classifier, or a module that
    takes [n, 3, side, side] and ends in a linear layer. Checkpoints and the result are kept in
    `folder`, and used again where they are of the same (`of`). Without validation images the
    training images take their place.
    """
    path = folder / _INFLUENCE
    if is_whole(path, of=of):
        return read_influence(folder)
    pixels = _pixels(shown, side)
    train, beside = rows[DESCRIBE], rows[SELECT]
    checked = beside if len(beside) else train
    if isinstance(network, nn.Module):
        model = network
    elif network == RESNET34:
        model = resnet34(classes, seed=seed)
    else:
        model = image_classifier(network, classes)

    def part(chosen: np.ndarray) -> Pixels:
        return Pixels(lambda wanted: pixels[torch.as_tensor(chosen[wanted])], labels[chosen])

    kept = train_network(
        model,
        part(train),
        folder,
        rates=step_rates(0.1, epochs, EVERY),
        checkpoints=min(CHECKPOINTS, epochs),
        seed=seed,
        of=of,
        progress=lambda done, loss: progress(1),
    )
    found = mean_over_own_class(model, kept, part(train), part(checked), layers="last")
    write_arrays(path, {"own class": torch.from_numpy(found)}, of=of)
    return found


def read_influence(folder: Path) -> Float[np.ndarray, " train"]:
    """What `network_influence` left in its folder."""
    return read_array(folder / _INFLUENCE, "own class")


def network_scores(
    influence: Float[np.ndarray, " train"],
    images: Float[np.ndarray, "train dim"],
    labels: Int[np.ndarray, " train"],
    texts: Float[np.ndarray, "texts dim"],
    text_class: Int[np.ndarray, " texts"],
    classes: int,
) -> TextScores:
    """The two rules of IFT with the influence of a network instead of that of a linear head."""
    helping = proponents(influence, labels, classes, _PROPONENTS)
    similarity = unit_length(images) @ unit_length(texts).T
    return {
        chosen_by(LITERAL, network=True): ift_literal(similarity, helping, text_class),
        chosen_by(PROPONENT, network=True): ift_proponent(similarity, labels, helping, text_class),
    }


def _pixels(shown: Examples, side: int) -> torch.Tensor:
    """All images as [n, 3, side, side] with values from -1 to 1, in the order of `examples`."""
    place = {id: number for number, id in enumerate(shown.table["id"])}
    pixels = torch.empty(len(place), 3, side, side)
    for id, picture in shown.pictures():
        array = np.asarray(picture.resize((side, side)), dtype=np.float32) / 127.5 - 1
        pixels[place[id]] = torch.from_numpy(array).permute(2, 0, 1)
    return pixels
