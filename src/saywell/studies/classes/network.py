"""Influence in a network trained from pixels, as in the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from saywell.data.examples import EXAMPLES, Examples
from saywell.influence.per_sample import mean_over_own_class
from saywell.influence.training import Pixels, image_classifier, resnet34, train_network
from saywell.selection.of_texts import LabelledImages
from saywell.store.files import is_whole, read_array, write_arrays
from saywell.store.study import StudyWriter
from saywell.transfer.linear_heads import step_rates

RESNET34 = "resnet34"
EVERY, CHECKPOINTS = 30, 20
"""The paper's schedule: 0.1, divided by 10 every 30 epochs; 20 checkpoints."""
_KEPT, _NAME = "influence.safetensors", "own class"


@dataclass(frozen=True)
class Network:
    """A classifier to train from the pixels of `images`, and so for how long, and their side.

    `model` is 'resnet34' (random weights), the name of a pretrained classifier, or a module that takes
    [n, 3, side, side] and ends in a linear layer.
    """

    model: str | nn.Module
    images: LabelledImages
    epochs: int = 200
    side: int = 64

    def influence(self, study: StudyWriter) -> Float[np.ndarray, " train"]:
        """Mean influence of each describe image on the select images of its class, in the last layer.

        A step of the study, made once; its checkpoints are kept in the study. Without select images the
        describe images take their place.
        """
        folder, uses = study.arrays("network"), (EXAMPLES.name,)
        study.step(
            "network", lambda: self._learn(study, study.made_from(uses)), files=("arrays/network",), uses=uses
        )
        return read_array(folder / _KEPT, _NAME)

    def _learn(self, study: StudyWriter, of: str) -> None:
        folder = study.arrays("network")
        if is_whole(folder / _KEPT, of=of):
            return
        images, seed = self.images, self.images.resources.seed
        train, beside = self._pixels(images.describe), self._pixels(images.select)
        model = self.model
        if model == RESNET34:
            model = resnet34(len(images.names), seed=seed)
        elif isinstance(model, str):
            model = image_classifier(model, len(images.names))
        with images.resources.progress("network", 0) as advance:
            kept = train_network(
                model,
                train,
                folder,
                rates=step_rates(0.1, self.epochs, EVERY),
                checkpoints=min(CHECKPOINTS, self.epochs),
                seed=seed,
                of=of,
                progress=lambda done, loss: advance(1),
            )
        checked = beside if len(images.select) else train
        found = mean_over_own_class(model, kept, train, checked, layers="last")
        write_arrays(folder / _KEPT, {_NAME: torch.from_numpy(found)}, of=of)

    def _pixels(self, images: Examples) -> Pixels:
        """All pictures as [n, 3, side, side] with values from -1 to 1, in the order of the examples."""
        place = {name: number for number, name in enumerate(self.images.names)}
        labels = np.array([place[name] for name in images.table["label"]], dtype=np.int64)
        row = {id: number for number, id in enumerate(images.ids)}
        pixels = torch.empty(len(images), 3, self.side, self.side)
        for id, picture in images.pictures():
            array = np.asarray(picture.resize((self.side, self.side)), dtype=np.float32) / 127.5 - 1
            pixels[row[id]] = torch.from_numpy(array).permute(2, 0, 1)
        return Pixels(lambda wanted: pixels[torch.as_tensor(wanted)], labels)
