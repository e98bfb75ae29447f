"""TracIn of any classifier from its checkpoints on disk.

Of the last layer it is exact and cheap: the closed form on the layer's inputs. Of all layers it
takes per-sample gradients, which need the memory of the whole network for each example; a random
projection makes them small and the result approximate, and is used only where a size is asked
for. Means over a validation set need no per-sample gradient at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch.func import functional_call, grad, jvp, vmap

from saywell.errors import InputError
from saywell.influence.tracin import MEMORY, HeadCheckpoints, Labelled
from saywell.influence.tracin import pairwise as pairwise_of_head
from saywell.influence.training import Checkpoint, Pixels, logits_of, restore

Layers = Literal["last", "all"]
Parameters = dict[str, torch.Tensor]


def pairwise(
    model: torch.nn.Module,
    checkpoints: Sequence[Checkpoint],
    train: Pixels,
    validation: Pixels,
    *,
    layers: Layers = "last",
    project: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    memory: int = MEMORY,
) -> Float[np.ndarray, "train validation"]:
    """The influence of every training image on every validation image.

    `layers="last"` counts the gradient of the last linear layer, exactly. `layers="all"` counts
    that of every trainable parameter; each checkpoint is read once. `project=k` replaces each
    gradient by k numbers with the same dot products on average (a count sketch: every weight is
    added to one of k places with a random sign, both drawn from `seed`); a product's standard
    error is about |g| |g'| / sqrt(k). Without it, products are exact, and gradients of the images
    are computed anew for every block of validation images that `memory` bytes can hold.

    The model serves as working space and is left with the weights of the last checkpoint, in `eval`
    mode (batch statistics would make examples depend on each other).
    """
    total = np.zeros((len(train.labels), len(validation.labels)))
    if project is not None and (layers == "last" or project < 1):
        raise InputError(
            f"project={project!r} with layers={layers!r}: a projection is at least 1 wide and"
            " only used"
            " with layers='all'; the last layer is exact without it"
        )
    for checkpoint in _each(model, checkpoints):
        if layers == "last":
            head = last_layer(model)
            total += pairwise_of_head(
                last_inputs(model, train, batch_size),
                last_inputs(model, validation, batch_size),
                HeadCheckpoints(
                    head.weight.detach()[None],
                    None if head.bias is None else head.bias.detach()[None],
                    np.array([checkpoint.rate]),
                ),
                memory=memory,
            )
            continue
        gradients = _Gradients(model, batch_size, project, seed)
        for columns, right in gradients.blocks(validation, memory):
            for rows, left in gradients.blocks(train, min(memory, batch_size * gradients.row_bytes)):
                total[rows, columns] += checkpoint.rate * (left @ right.T).numpy()
    return total


def mean_over(
    model: torch.nn.Module,
    checkpoints: Sequence[Checkpoint],
    train: Pixels,
    validation: Pixels,
    *,
    layers: Layers = "all",
    batch_size: int = 64,
) -> Float[np.ndarray, " train"]:
    """Each training image's mean influence on the validation images, exactly, whatever the layers.

    Equal to `pairwise(...).mean(1)`. The gradient of the mean validation loss is one direction in
    the space of weights, and a training image's product with it is the derivative of its loss
    along that direction: one pass in forward mode for a whole batch, with no gradient of a single
    image. NaN without validation images.
    """
    total = np.zeros(len(train.labels))
    if len(validation.labels) == 0:
        return np.full(len(total), np.nan)
    for checkpoint in _each(model, checkpoints):
        moving, fixed = _parameters(model, layers)
        losses = partial(_losses, model, fixed)
        direction = {name: torch.zeros_like(value) for name, value in moving.items()}
        for _, images, labels in _batches(validation, batch_size):
            slopes = grad(_total)(moving, losses, images, labels)
            for name, value in slopes.items():
                direction[name] += value / len(validation.labels)
        for rows, images, labels in _batches(train, batch_size):
            at = partial(losses, images=images, labels=labels)
            along = jvp(at, (moving,), (direction,))[1]
            total[rows] += checkpoint.rate * along.detach().numpy()
    return total


def mean_over_own_class(
    model: torch.nn.Module,
    checkpoints: Sequence[Checkpoint],
    train: Pixels,
    validation: Pixels,
    *,
    layers: Layers = "all",
    batch_size: int = 64,
) -> Float[np.ndarray, " train"]:
    """Each training image's mean influence on the validation images of its own class.

    NaN for classes without validation images.
    """
    result = np.full(len(train.labels), np.nan)
    for name in np.unique(train.labels):
        own, theirs = (np.flatnonzero(train.labels == name), np.flatnonzero(validation.labels == name))
        result[own] = mean_over(
            model,
            checkpoints,
            _only(train, own),
            _only(validation, theirs),
            layers=layers,
            batch_size=batch_size,
        )
    return result


def last_layer(model: torch.nn.Module) -> torch.nn.Linear:
    """The linear layer that gives the logits: the last one the network names.

    Raises InputError for a network without a linear layer.
    """
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        raise InputError(
            f"{type(model).__name__} has no linear layer: use layers='all', or end the network in"
            " torch.nn.Linear"
        )
    return linear[-1]


def last_inputs(model: torch.nn.Module, pixels: Pixels, batch_size: int = 64) -> Labelled:
    """What the last linear layer gets to see of every image: [n, dim] and the labels.

    Raises InputError where the network's logits are not that layer's output.
    """
    seen: list[torch.Tensor] = []
    parts: list[torch.Tensor] = []
    head = last_layer(model)

    def note(module: torch.nn.Module, given: Any, output: Any) -> None:
        seen.extend((given[0], output))

    handle = head.register_forward_hook(note)
    try:
        with torch.no_grad():
            for _, images, _ in _batches(pixels, batch_size):
                seen.clear()
                logits = logits_of(model(images))
                if len(seen) != 2 or seen[0].ndim != 2 or not torch.equal(seen[1], logits):
                    raise InputError(
                        f"the logits of {type(model).__name__} are not the output of its last"
                        " linear layer:"
                        " use layers='all'"
                    )
                parts.append(seen[0])
    finally:
        handle.remove()
    empty = torch.zeros(0, head.in_features)
    return Labelled(torch.cat(parts) if parts else empty, pixels.labels)


class Sketch(NamedTuple):
    """A random projection that keeps dot products on average."""

    places: torch.Tensor
    signs: torch.Tensor
    size: int

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, numbers] to [n, size]."""
        return rows.new_zeros(len(rows), self.size).index_add_(1, self.places, rows * self.signs)


def draw_sketch(numbers: int, size: int, seed: int) -> Sketch:
    """A count sketch (Charikar, Chen and Farach-Colton 2002) of `numbers` numbers to `size`."""
    random = torch.Generator().manual_seed(seed)
    places = torch.randint(size, (numbers,), generator=random)
    signs = torch.randint(2, (numbers,), generator=random, dtype=torch.int8) * 2 - 1
    return Sketch(places, signs, size)


class _Gradients:
    """Per-sample gradients by every trainable parameter, flat, at the model's present weights."""

    def __init__(self, model: torch.nn.Module, batch_size: int, project: int | None, seed: int) -> None:
        self._moving, fixed = _parameters(model, "all")
        numbers = sum(value.numel() for value in self._moving.values())
        self._batch_size = batch_size
        self._sketch = None if project is None else draw_sketch(numbers, project, seed)
        self._full_bytes = 4 * numbers
        self.row_bytes = 4 * (project or numbers)

        def loss(moving: Parameters, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return _losses(model, fixed, moving, image[None], label[None])[0]

        self._gradients: Callable[..., Parameters] = vmap(grad(loss), in_dims=(None, 0, 0))

    def blocks(self, pixels: Pixels, memory: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Blocks of at most `memory` bytes, at least one row each."""
        size = max(1, memory // self.row_bytes)
        for start in range(0, len(pixels.labels), size):
            rows = np.arange(start, min(start + size, len(pixels.labels)))
            step = max(1, min(self._batch_size, MEMORY // self._full_bytes))
            parts = [self._flat(images, labels) for _, images, labels in _batches(_only(pixels, rows), step)]
            yield slice(start, start + len(rows)), torch.cat(parts)

    def _flat(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        by_name = self._gradients(self._moving, images, labels)
        flat = torch.cat([by_name[name].flatten(1) for name in self._moving], dim=1)
        return flat if self._sketch is None else self._sketch(flat)


def _losses(
    model: torch.nn.Module, fixed: Parameters, moving: Parameters, images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    logits = logits_of(functional_call(model, {**fixed, **moving}, (images,)))
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def _total(
    moving: Parameters, losses: Callable[..., torch.Tensor], images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    return losses(moving, images, labels).sum()


def _parameters(model: torch.nn.Module, layers: Layers) -> tuple[Parameters, Parameters]:
    """The parameters whose gradients count, and everything else that the network holds."""
    counted = {id(p) for p in (last_layer(model) if layers == "last" else model).parameters()}
    moving = {
        name: value.detach()
        for name, value in model.named_parameters()
        if id(value) in counted and value.requires_grad
    }
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return moving, {name: value.detach() for name, value in held.items() if name not in moving}


def _each(model: torch.nn.Module, checkpoints: Sequence[Checkpoint]) -> Iterator[Checkpoint]:
    for checkpoint in checkpoints:
        restore(model, checkpoint.path)
        model.eval()
        yield checkpoint


def _only(pixels: Pixels, rows: np.ndarray) -> Pixels:
    return Pixels(lambda chosen: pixels.load(rows[chosen]), pixels.labels[rows])


def _batches(pixels: Pixels, size: int) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    labels = torch.as_tensor(pixels.labels).long()
    for start in range(0, len(labels), size):
        rows = np.arange(start, min(start + size, len(labels)))
        yield rows, pixels.load(rows), labels[rows]
