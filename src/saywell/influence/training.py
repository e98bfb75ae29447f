"""Training with checkpoints, for TracIn: linear heads on features, and networks from pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from saywell.encoders.checkpoints import find_checkpoint, refuse_unsafe
from saywell.encoders.loading import opening
from saywell.errors import InputError
from saywell.influence.tracin import HeadCheckpoints, Labelled
from saywell.store.files import is_whole, write_arrays
from saywell.transfer.linear_heads import Stream, cosine_rates, train_heads, zero_heads

EPOCHS, RATE, BATCH = 200, 0.1, 64
"""The paper's classifier: SGD at 0.1, batches of 64, 200 epochs (section 3.3)."""


def train_head(
    train: Labelled,
    classes: int,
    *,
    rates: Float[np.ndarray, " epochs"] | None = None,
    batch_size: int = BATCH,
    checkpoints: int = 10,
    weights: Float[np.ndarray, " n"] | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> HeadCheckpoints:
    """Softmax regression by SGD, kept at evenly spaced times, the last epoch among them.

    `rates` gives the learning rate of every epoch; by default it falls from 0.1 to 0 along half a
    cosine over 200 epochs. A checkpoint carries the rate of the last epoch before it, so that a
    schedule that ends near 0 gives its last checkpoints little say. `weights` multiply the losses:
    0 leaves an example out without changing the order of the others. Starts from 0.

    Raises InputError for an empty training set or rates.
    """
    features = torch.as_tensor(train.features).to(dtype)
    labels = torch.as_tensor(train.labels).long()
    n = len(features)
    rates = cosine_rates(RATE, EPOCHS) if rates is None else np.asarray(rates, dtype=np.float64)
    if n == 0 or len(rates) == 0:
        raise InputError(f"{n!r} training examples and {len(rates)!r} epochs: at least 1 of each is needed")
    losses = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    stream = Stream(features, labels, np.arange(n)[None], losses[None], batch_size)
    epochs = checkpoint_epochs(len(rates), checkpoints)
    start = zero_heads(1, classes, features.shape[1], dtype)
    kept = train_heads(start, [stream], rates[None], [seed], keep=epochs)
    return HeadCheckpoints(
        torch.cat([kept[epoch].weights for epoch in epochs]),
        torch.cat([kept[epoch].biases for epoch in epochs]),
        rates[np.array(epochs) - 1],
    )


def checkpoint_epochs(epochs: int, checkpoints: int) -> list[int]:
    """After which epochs to keep a checkpoint: evenly spaced, each once, the last one `epochs`."""
    return sorted({-(-epochs * (i + 1) // checkpoints) for i in range(checkpoints)})


class Pixels(NamedTuple):
    """Images that are opened when they are needed."""

    load: Callable[[Int[np.ndarray, " batch"]], torch.Tensor]
    """Row numbers to the network's input [batch, ...]; for a tensor of images, its `__getitem__`."""
    labels: Int[np.ndarray, " n"]


class Checkpoint(NamedTuple):
    """A network's weights after some epochs, on disk."""

    path: Path
    epochs: int
    rate: float
    """The learning rate of the last epoch before it."""


def train_network(
    model: torch.nn.Module,
    train: Pixels,
    folder: Path,
    *,
    rates: Float[np.ndarray, " epochs"],
    batch_size: int = BATCH,
    checkpoints: int = 10,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    seed: int = 0,
    of: str = "",
    progress: Callable[[int, float], None] = lambda epochs, loss: None,
) -> list[Checkpoint]:
    """Train any classifier by SGD on the cross-entropy and keep it as safetensors in `folder`.

    A run that was stopped goes on from its last checkpoint and ends the same, provided that it was
    a run of the same (`of`) and that all checkpoints up to there are whole; the model's own weights
    are only the start of a run that has none. The order of the images, and what
    dropout draws, depend on the seed and the epoch alone. Calls `progress` with the number of
    epochs done and the mean loss of the last. The model is left as trained, in `eval` mode.

    Raises InputError for an empty training set or rates.
    """
    if len(train.labels) == 0 or len(rates) == 0:
        raise InputError(
            f"{len(train.labels)!r} training images and {len(rates)!r} epochs: at least 1 of each is needed"
        )
    labels = torch.as_tensor(train.labels).long()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=float(rates[0]), momentum=momentum, weight_decay=weight_decay)
    wanted = checkpoint_epochs(len(rates), checkpoints)
    paths = {epoch: folder / f"after-{epoch:05d}.safetensors" for epoch in wanted}
    whole = list(takewhile(lambda epoch: is_whole(paths[epoch], of=of), wanted))
    done = whole[-1] if whole else 0
    if done:
        restore(model, paths[done], optimizer)
    for epoch in range(done, len(rates)):
        loss = _epoch(model, train, labels, optimizer, float(rates[epoch]), batch_size, [seed, epoch])
        progress(epoch + 1, loss)
        if epoch + 1 in paths:
            _save(paths[epoch + 1], model, optimizer, of)
    model.eval()
    return [Checkpoint(paths[epoch], epoch, float(rates[epoch - 1])) for epoch in wanted]


def _epoch(
    model: torch.nn.Module,
    train: Pixels,
    labels: torch.Tensor,
    optimizer: torch.optim.SGD,
    rate: float,
    batch_size: int,
    seeds: Sequence[int],
) -> float:
    model.train()
    random = np.random.default_rng(list(seeds))
    order = random.permutation(len(labels))
    for group in optimizer.param_groups:
        group["lr"] = rate
    total = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**63)))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            loss = torch.nn.functional.cross_entropy(logits_of(model(train.load(rows))), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
    return total / len(order)


def logits_of(output: Any) -> torch.Tensor:
    """The logits, from a network that returns them or a transformers output that holds them."""
    return output if isinstance(output, torch.Tensor) else output.logits


_MOMENTUM = "momentum:"


def _save(path: Path, model: torch.nn.Module, optimizer: torch.optim.SGD, of: str) -> None:
    # Clones, because weights that share memory cannot be saved as they are.
    tensors = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
        buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            tensors[f"{_MOMENTUM}{number}"] = buffer
    write_arrays(path, tensors, of=of)


def restore(model: torch.nn.Module, path: Path, optimizer: torch.optim.SGD | None = None) -> None:
    """Put a checkpoint's weights into the model, and its momentum into the optimizer.

    Raises InputError when they are those of another network.
    """
    from safetensors.torch import load_file

    tensors = load_file(path)
    moving = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_MOMENTUM)}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"the checkpoint {str(path)!r} is of another network than {type(model).__name__}:"
            " remove its"
            f" folder or train the same network again ({error})"
        ) from error
    if optimizer is not None:
        for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
            if f"{_MOMENTUM}{number}" in moving:
                optimizer.state[parameter]["momentum_buffer"] = moving[f"{_MOMENTUM}{number}"]


def image_classifier(name: str, classes: int) -> torch.nn.Module:
    """A pretrained image classifier of transformers with a new last layer, as in the paper.

    `name` is a folder or a hub name; the paper fine-tunes ResNet-34, 'microsoft/resnet-34'.

    Raises InputError when it cannot be loaded.
    """
    from transformers import AutoModelForImageClassification

    where = find_checkpoint(name)
    with opening("the image classifier", name, where):
        refuse_unsafe(where)
        model, info = AutoModelForImageClassification.from_pretrained(
            where,
            num_labels=classes,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
        own = f"{model.base_model_prefix}."  # the last layer is new, the rest is not
        lacking = sorted(key for key in info["missing_keys"] if key.startswith(own))
        if lacking:
            raise InputError(
                f"{len(lacking)} of its weights ({lacking[0]}, ...) are in none of its files; get the"
                " whole checkpoint"
            )
        return model


def resnet34(classes: int, *, seed: int = 0) -> torch.nn.Module:
    """ResNet-34 with random weights, for images [batch, 3, height, width]."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(depths=[3, 4, 6, 3], hidden_sizes=[64, 128, 256, 512], layer_type="basic")
    config.num_labels = classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ResNetForImageClassification(config)
