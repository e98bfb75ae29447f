"""Arrays alone, by names that people use: a safetensors, npz or `.pt` file, and settings beside it.

Arrays do not say what fires, nor whether `b_dec` is taken off before encoding; a file `NAME.json`, or
`cfg.json`, beside them does, with SAELens' keys `architecture`, `k`, `apply_b_dec_to_input` ...
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.formats.saelens import dictionary_of, made_of, read_saelens_settings
from saywell.units.dictionaries.formats.weights import Settings, Weights, read_weights

_NAMES = {
    "W_enc": ("W_enc", "w_enc", "encoder.weight", "encoder_linear.weight"),
    "b_enc": ("b_enc", "encoder.bias", "encoder_linear.bias", "latent_bias"),
    "W_dec": ("W_dec", "w_dec", "decoder.weight", "decoder_linear.weight"),
    "b_dec": ("b_dec", "decoder.bias", "decoder_linear.bias", "pre_bias"),
}
_AS_THEY_ARE = ("threshold", "log_threshold", "topk_threshold", "W_skip")


def read(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary from arrays and settings.

    A matrix is turned as its biases' lengths say; a square one is [width, latents] where its name is
    `W_enc`, and the other way round where it is a linear layer's (`encoder.weight`).

    Raises InputError for arrays that make none, and for what no settings say.
    """
    held = read_weights(file)
    found = {ours: [name for name in names if name in held] for ours, names in _NAMES.items()}
    missing = [ours for ours, names in found.items() if not names]
    if missing:
        held.shape(missing[0])  # says what the file holds
    names = {ours: names[0] for ours, names in found.items()}
    arrays = {ours: held.take(name, *held.shape(name)) for ours, name in names.items()}
    latents, out = len(arrays["b_enc"].reshape(-1)), len(arrays["b_dec"].reshape(-1))
    arrays["W_enc"] = _turned(arrays["W_enc"], 1, latents, names["W_enc"])
    arrays["W_dec"] = _turned(arrays["W_dec"], 1, out, names["W_dec"])
    arrays |= {name: held.take(name, *held.shape(name)) for name in _AS_THEY_ARE if name in held}
    settings = _settings(file, arrays)
    return dictionary_of(settings, Weights(file, arrays)), made_of(settings, file.suffix[1:])


def _turned(matrix: Tensor, side: int, length: int, name: str) -> Tensor:
    """With `length` on a side; where both have it, as the name has it."""
    if matrix.ndim != 2 or length not in matrix.shape:
        return matrix  # whoever takes it says what it should be
    linear = name.endswith(".weight")
    either = matrix.shape[0] == matrix.shape[1]
    return matrix.T if (linear if either else matrix.shape[side] != length) else matrix


def _settings(file: Path, arrays: dict[str, Tensor]) -> Settings:
    beside = file.with_suffix(".json")
    settings = Settings.read(beside if beside.is_file() else file.with_name("cfg.json"))
    unsaid = []
    if settings.text("architecture") is None and settings.values.get("activation_fn_str") != "topk":
        unsaid.append("which latents fire (architecture)")
    if settings.flag("apply_b_dec_to_input") is None and arrays["b_dec"].any():
        unsaid.append("whether b_dec is taken off before encoding (apply_b_dec_to_input)")
    if unsaid:
        raise InputError(
            f"{str(file)!r} has arrays alone, and nothing says {' and '.join(unsaid)}; write {beside.name}"
            ' beside it, such as {"architecture": "topk", "k": 32, "apply_b_dec_to_input": true}'
        )
    return read_saelens_settings(settings)
