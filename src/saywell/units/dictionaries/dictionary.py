"""A dictionary: directions of a place in a model, and how much of each a vector has.

Whatever it was made as, it is read as (in units of the vectors at its place, scales and whitening folded in)

    a = rule((x - centre) encoder' + bias),   x ~ a decoder + centre (+ x skip')
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import embedding_bag

from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.store.files import write_whole
from saywell.units.arrays import reading
from saywell.units.dictionaries.rules import RULES, Codes, GroupMax, MatchingPursuit, Rule

_CELLS = 1 << 22
"""Pre-activations that are held at a time."""
_FORMAT = "saywell dictionary 1"


@dataclass(frozen=True)
class Scaling:
    """What is done to a vector before all else.

    `layer_norm`: its mean is taken off and it is divided by its standard deviation (n - 1) + 1e-5.
    `constant_norm`: it is given the length sqrt(width); nothing stays nothing. `undone`: decoding leads back,
    as of autoencoders and not of transcoders.
    """

    by: Literal["layer_norm", "constant_norm"]
    undone: bool = True


class Made(NamedTuple):
    """Where a dictionary comes from, as its files say; None or "" where they do not."""

    format: str
    model: str | None = None
    hook: str | None = None
    hook_out: str | None = None
    head: int | None = None
    bos: bool | None = None
    """Whether texts started with a BOS token in training."""
    context: int | None = None
    """Tokens of a text in training."""
    dataset: str | None = None
    own: str = ""
    """Name of the file or folder."""


@dataclass(frozen=True)
class Dictionary:
    """See the module. Immutable; tensors of one device."""

    encoder: Float32[Tensor, "latents width"]
    bias: Float32[Tensor, " latents"]
    decoder: Float32[Tensor, "latents out"]
    centre: Float32[Tensor, " out"]
    rule: Rule
    subtracts: bool = True
    """Whether `centre` is taken off before encoding; never of a transcoder."""
    scaling: Scaling | None = None
    skip: Float32[Tensor, "out width"] | None = None

    def __post_init__(self) -> None:
        """Raises InputError for parts that do not belong together."""
        latents, width, out = self.latents, self.width, self.out
        fit = self.bias.shape == (latents,) and self.decoder.shape == (latents, out)
        fit &= self.centre.shape == (out,) and (out == width or not self.subtracts)
        fit &= self.skip is None or self.skip.shape == (out, width)
        one_each = (value for value in vars(self.rule).values() if isinstance(value, Tensor))
        if not fit or latents * width * out == 0 or any(value.shape != (latents,) for value in one_each):
            shapes = {name: tuple(tensor.shape) for name, tensor in _parts(self)[0].items()}
            raise InputError(f"these do not make a dictionary: {shapes}")
        k = getattr(self.rule, "k", 1)
        if not 1 <= k <= latents or (isinstance(self.rule, GroupMax) and latents % k):
            raise InputError(f"k={k} of {latents} latents cannot be active; give 1 to {latents}")

    @property
    def latents(self) -> int:
        """How many there are."""
        return self.encoder.shape[0]

    @property
    def width(self) -> int:
        """Numbers of a vector that is encoded."""
        return self.encoder.shape[1]

    @property
    def out(self) -> int:
        """Numbers of a vector that is decoded; other than `width` for some transcoders."""
        return self.decoder.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits of all numbers and rules."""
        tensors, said = _parts(self)
        named = [
            name.encode() + tensor.cpu().contiguous().numpy().tobytes() for name, tensor in tensors.items()
        ]
        return combined(json.dumps(said, sort_keys=True), *named)

    def encode(self, x: Float[Tensor, "rows width"]) -> Codes:
        """What fires for each vector, and how strongly, whatever vectors are beside it, up to rounding.

        A product of whole matrices rounds by the place in it, by 1e-6 of a pre-activation or so; a latent
        that is that near to its threshold, or to the k-th place, may fire or not.

        Raises InputError for vectors of another width or that are not finite.
        """
        rows = max(1, _CELLS // self.latents)
        found = [self._encode(x[start : start + rows], start) for start in range(0, max(len(x), 1), rows)]
        return found[0] if len(found) == 1 else Codes(*map(torch.cat, zip(*found, strict=True)))

    def _encode(self, x: Tensor, start: int) -> Codes:
        if isinstance(self.rule, MatchingPursuit):
            codes = self.rule.pursue(self._centred(x), self.decoder)
        else:
            codes = self.rule.select(self.before(x))
        return codes._replace(rows=codes.rows + start)

    def before(self, x: Float[Tensor, "rows width"]) -> Float32[Tensor, "rows latents"]:
        """What each latent gets before its rule is applied: a dense matrix, so mind the number of rows.

        Raises InputError as `encode`.
        """
        return torch.addmm(self.bias, self._centred(x), self.encoder.T)

    def decode(self, codes: Codes, x: Float[Tensor, "rows width"]) -> Float32[Tensor, "rows out"]:
        """The vectors that codes of `x` stand for; `x` is used by skips and scalings alone."""
        x = self._checked(x)
        starts = torch.searchsorted(codes.rows, torch.arange(len(x), device=codes.rows.device))
        sums = embedding_bag(codes.latents, self.decoder, starts, mode="sum", per_sample_weights=codes.values)
        found = sums + self.centre
        if self.scaling is not None and self.scaling.undone:
            _, mean, size = self._scaled(x)
            found = found * size + mean
        return found if self.skip is None else found + x @ self.skip.T

    def to(self, device: torch.device | str) -> Dictionary:
        """The same on another device."""
        moved = {name: tensor.to(device) for name, tensor in _parts(self)[0].items()}
        return _joined(moved, _parts(self)[1])

    def save(self, path: Path, made: Made | None = None) -> None:
        """Keep it, and where it comes from, as one safetensors file."""
        from safetensors.torch import save_file

        tensors, said = _parts(self)
        told = {"format": _FORMAT, "rule": json.dumps(said), "made": json.dumps(made and made._asdict())}
        # Copies, as a file holds no two names of one array (a matching pursuit's encoder is its decoder).
        whole = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_whole(path, lambda part: save_file(whole, part, metadata=told))

    @staticmethod
    def load(path: Path) -> Dictionary:
        """What `save` kept; errors as of `read_saved`."""
        return read_saved(path)[0]

    def _centred(self, x: Tensor) -> Tensor:
        scaled = self._scaled(self._checked(x))[0]
        return scaled - self.centre if self.subtracts else scaled

    def _checked(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.width:
            raise InputError(
                f"vectors of shape {tuple(x.shape)}, where the dictionary reads rows of {self.width} numbers"
            )
        x = x.to(self.encoder.device, torch.float32)
        if not torch.isfinite(x).all():
            raise InputError(
                "some vectors have numbers that are NaN or infinite; no latent can be read of them"
            )
        return x

    def _scaled(self, x: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """Vectors as the encoder reads them, and the mean and size that were taken off."""
        if self.scaling is None:
            return x, 0.0, 1.0
        if self.scaling.by == "constant_norm":
            size = x.norm(dim=1, keepdim=True) / self.width**0.5
            return torch.where(size > 0, x / size, x), 0.0, size
        mean = x.mean(1, keepdim=True)
        size = (x - mean).std(1, keepdim=True)
        return (x - mean) / (size + 1e-5), mean, size


def is_saved(path: Path) -> bool:
    """Whether a safetensors file is one that `Dictionary.save` wrote."""
    from safetensors import safe_open

    with reading(path), safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("format") == _FORMAT


def read_saved(path: Path) -> tuple[Dictionary, Made | None]:
    """What `Dictionary.save` kept.

    Raises InputError for a file that is damaged or that it did not write.
    """
    from safetensors import safe_open

    if not is_saved(path):
        raise InputError(f"{str(path)!r} is no dictionary that saywell saved")
    with reading(path), safe_open(path, framework="pt") as file:
        told = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        dictionary, made = _joined(tensors, json.loads(told["rule"])), json.loads(told["made"])
        return check_finite(dictionary, path), made and Made(**made)


def check_finite(dictionary: Dictionary, path: Path) -> Dictionary:
    """The dictionary, if all its numbers are finite.

    Raises InputError, with the file and the name, for others.
    """
    for name, tensor in _parts(dictionary)[0].items():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"{name} in {str(path)!r} has numbers that are NaN or infinite: the file is damaged, or of a"
                " training that diverged"
            )
    return dictionary


def _parts(dictionary: Dictionary) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the rest as JSON; the rule's fields are among them."""
    rule = {field.name: getattr(dictionary.rule, field.name) for field in fields(dictionary.rule)}  # type: ignore[arg-type]
    whole = {field.name: getattr(dictionary, field.name) for field in fields(dictionary)}
    whole |= {f"rule.{name}": value for name, value in rule.items()} | {
        "rule": type(dictionary.rule).__name__
    }
    whole["scaling"] = dictionary.scaling and [dictionary.scaling.by, dictionary.scaling.undone]
    tensors = {name: value for name, value in whole.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in whole.items() if name not in tensors}


def _joined(tensors: dict[str, Tensor], said: dict[str, Any]) -> Dictionary:
    whole: dict[str, Any] = said | tensors
    rule = {name.removeprefix("rule."): whole.pop(name) for name in list(whole) if name.startswith("rule.")}
    rule = RULES[whole.pop("rule")](**rule)
    scaling = whole.pop("scaling")
    return Dictionary(**whole, rule=rule, scaling=scaling and Scaling(*scaling))
