"""TracIn of linear classifiers in closed form.

TracIn (Pruthi et al. 2020, checkpoint form): I(z, z') = sum_j rate_j * grad loss(w_j, z) . grad
loss(w_j, z'). For softmax regression on features x the gradient is (p - y) x^T, so each term is
((p - y) . (p' - y')) * (x . x' + 1), where the 1 is the bias. Positive: training on z lowers the
loss on z' (a proponent); negative: it raises it (an opponent).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from saywell.errors import InputError

MEMORY = 256 << 20
"""Bytes of working space beside inputs and results."""


class Labelled(NamedTuple):
    """Features with their class numbers."""

    features: Float[np.ndarray, "n dim"] | torch.Tensor
    labels: Int[np.ndarray, " n"] | torch.Tensor


class _Tensors(NamedTuple):
    features: torch.Tensor
    labels: torch.Tensor


class HeadCheckpoints(NamedTuple):
    """A linear classifier at several times in its training, and the learning rate at each."""

    weights: Float[torch.Tensor, "checkpoints classes dim"]
    biases: Float[torch.Tensor, "checkpoints classes"] | None
    rates: Float[np.ndarray, " checkpoints"]


def pairwise(
    train: Labelled,
    validation: Labelled,
    checkpoints: HeadCheckpoints,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
    memory: int = MEMORY,
    out: np.ndarray | None = None,
) -> Float[np.ndarray, "train validation"]:
    """The influence of every training example on every validation example.

    Features do not change between checkpoints, so the sum over checkpoints is one product of the
    errors of all checkpoints side by side, times one product of the features. `bias=False` leaves
    the gradient of the bias out. `memory` bounds the working space in bytes; the result itself
    may be an `out` on disk (`numpy.memmap`) where it does not fit.

    Raises InputError for shapes, labels or rates that do not fit together.
    """
    head, left, right = _checked(checkpoints, train, validation, dtype)
    n, m = len(left.features), len(right.features)
    if out is None:
        out = np.empty((n, m), dtype=torch.empty(0, dtype=dtype).numpy().dtype)
    elif out.shape != (n, m):
        raise InputError(f"out has shape {out.shape!r}: the influences have shape {(n, m)!r}")
    widest = _rows_that_fit(head, memory // 2)
    for columns in _blocks(m, widest):
        x_right = right.features[columns].to(dtype)
        errors_right = _errors(x_right, right.labels[columns], head)
        tallest = memory // (4 * len(x_right) * x_right.element_size())
        for rows in _blocks(n, max(1, min(tallest, _rows_that_fit(head, memory // 4), 2048))):
            x_left = left.features[rows].to(dtype)
            block = x_left @ x_right.T
            if bias and head.biases is not None:
                block += 1
            block *= _errors(x_left, left.labels[rows], head) @ errors_right.T
            out[rows, columns] = block.numpy()
    return out


def mean_over(
    train: Labelled,
    validation: Labelled,
    checkpoints: HeadCheckpoints,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
    memory: int = MEMORY,
) -> Float[np.ndarray, " train"]:
    """Each training example's mean influence on the validation examples.

    Equal to `pairwise(...).mean(1)` at a cost that is linear in both numbers of examples: the mean
    over validation of the gradient is taken first. NaN without validation examples.
    """
    head, left, right = _checked(checkpoints, train, validation, dtype)
    n, m = len(left.features), len(right.features)
    if m == 0:
        return np.full(n, np.nan)
    with_bias = bias and head.biases is not None
    step = _rows_that_fit(head, memory // 2)
    by_weight = torch.zeros(head.weights.shape[0] * head.weights.shape[1], head.weights.shape[2], dtype=dtype)
    by_bias = torch.zeros(len(by_weight), dtype=dtype)
    for rows in _blocks(m, step):
        x = right.features[rows].to(dtype)
        errors = _errors(x, right.labels[rows], head)
        by_weight.addmm_(errors.T, x, alpha=1 / m)
        by_bias += errors.sum(0) / m
    result = np.empty(n, dtype=torch.empty(0, dtype=dtype).numpy().dtype)
    for rows in _blocks(n, min(step, 1024)):
        x = left.features[rows].to(dtype)
        along = x @ by_weight.T
        if with_bias:
            along += by_bias
        result[rows] = along.mul_(_errors(x, left.labels[rows], head)).sum(1).numpy()
    return result


def mean_over_own_class(
    train: Labelled,
    validation: Labelled,
    checkpoints: HeadCheckpoints,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
    memory: int = MEMORY,
) -> Float[np.ndarray, " train"]:
    """Each training example's mean influence on the validation examples of its own class.

    Linear in the number of examples. NaN for classes without validation examples.
    """
    labels, others = np.asarray(train.labels), np.asarray(validation.labels)
    result = np.full(len(labels), np.nan)
    for name in np.unique(labels):
        own, theirs = np.flatnonzero(labels == name), np.flatnonzero(others == name)
        result[own] = mean_over(
            _take(train, own), _take(validation, theirs), checkpoints, bias=bias, dtype=dtype, memory=memory
        )
    return result


def mean_over_classes(
    train: Labelled,
    validation: Labelled,
    checkpoints: HeadCheckpoints,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
    memory: int = MEMORY,
) -> Float[np.ndarray, "train classes"]:
    """Each training example's mean influence on the validation examples of every class.

    Columns are class numbers; NaN for classes without validation examples. The pairs are formed
    block by block and summed at once, so they are never all in memory.
    """
    classes = checkpoints.weights.shape[1]
    labels = torch.as_tensor(validation.labels)
    counts = torch.bincount(labels, minlength=classes)
    n = len(train.features)
    members = torch.zeros(len(labels), classes, dtype=dtype)
    members[torch.arange(len(labels)), labels] = 1 / counts[labels].to(dtype)
    members[:, counts == 0] = torch.nan
    result = np.full((n, classes), np.nan, dtype=torch.empty(0, dtype=dtype).numpy().dtype)
    if len(labels) == 0:
        return result
    height = max(1, memory // (4 * len(labels) * members.element_size()))
    for rows in _blocks(n, height):
        pairs = pairwise(
            _take(train, rows), validation, checkpoints, bias=bias, dtype=dtype, memory=memory // 2
        )
        result[rows] = (torch.from_numpy(pairs) @ members).numpy()
    return result


def errors_of(
    logits: Float[torch.Tensor, "... classes"], labels: torch.Tensor
) -> Float[torch.Tensor, "... classes"]:
    """The gradient of the cross-entropy by the logits, p - y; `logits` is used as working space.

    The entry of the true class is minus the sum of the others: 1 - p would lose every digit of an
    example that the model is sure of.
    """
    errors = torch.softmax(logits, -1)
    errors.scatter_(-1, labels[..., None], 0.0)
    return errors.scatter_(-1, labels[..., None], -errors.sum(-1, keepdim=True))


def _errors(x: torch.Tensor, labels: torch.Tensor, head: HeadCheckpoints) -> torch.Tensor:
    """p - y at every checkpoint, times the root of its rate: [rows, checkpoints * classes]."""
    checkpoints, classes, dim = head.weights.shape
    flat = head.weights.reshape(-1, dim).T
    logits = x @ flat if head.biases is None else torch.addmm(head.biases.reshape(-1), x, flat)
    spread = labels[:, None].expand(-1, checkpoints)
    errors = errors_of(logits.view(-1, checkpoints, classes), spread)
    errors *= torch.as_tensor(np.sqrt(head.rates), dtype=x.dtype)[:, None]
    return errors.view(len(x), -1)


def _rows_that_fit(head: HeadCheckpoints, memory: int) -> int:
    checkpoints, classes, dim = head.weights.shape
    # Logits, their softmax and the features, and as much again for what the products need.
    a_row = (3 * checkpoints * classes + 2 * dim) * head.weights.element_size()
    return max(1, memory // a_row)


def _blocks(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def _take(examples: Labelled, rows: slice | np.ndarray) -> Labelled:
    return Labelled(examples.features[rows], examples.labels[rows])


def _checked(
    checkpoints: HeadCheckpoints, train: Labelled, validation: Labelled, dtype: torch.dtype
) -> tuple[HeadCheckpoints, _Tensors, _Tensors]:
    weights = torch.as_tensor(checkpoints.weights).to(dtype)
    biases = checkpoints.biases
    rates = np.asarray(checkpoints.rates, dtype=np.float64)
    if weights.ndim != 3 or rates.shape != weights.shape[:1]:
        raise InputError(
            f"checkpoints with weights {tuple(weights.shape)!r} and rates {rates.shape!r}:"
            " weights are"
            " [checkpoints, classes, dim] and there is one rate a checkpoint"
        )
    if not (rates >= 0).all():
        raise InputError(f"rates={rates.tolist()!r}: learning rates are numbers of at least 0")
    head = HeadCheckpoints(weights, None if biases is None else torch.as_tensor(biases).to(dtype), rates)
    return head, _as_tensors("training", train, head), _as_tensors("validation", validation, head)


def _as_tensors(name: str, examples: Labelled, head: HeadCheckpoints) -> _Tensors:
    features, labels = torch.as_tensor(examples.features), torch.as_tensor(examples.labels).long()
    _, classes, dim = head.weights.shape
    if features.ndim != 2 or features.shape[1] != dim or labels.shape != features.shape[:1]:
        raise InputError(
            f"{name} features {tuple(features.shape)!r} with labels {tuple(labels.shape)!r} do"
            " not fit"
            f" a classifier of {dim} features: give [n, {dim}] and [n]"
        )
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        wrong = int(labels[(labels < 0) | (labels >= classes)][0])
        raise InputError(f"{name} label {wrong!r} is not one of the classes 0 to {classes - 1}")
    return _Tensors(features, labels)
