"""dictionary_learning: a folder of `ae.pt` and `config.json`.

Formulas: dictionary_learning 0.1.0, as its `utils.load_dictionary` reads them.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.formats.weights import Settings, Weights, read_weights, same
from saywell.units.dictionaries.rules import Gated, JumpReLU, ReLU, Rule, TopK

FILE = "ae.pt"
_LINEAR = ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE")
_CENTRES = {"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias", "GatedAutoEncoder": "decoder_bias"}
_HOOKS = {
    "resid_post": "hook_resid_post",
    "resid_pre": "hook_resid_pre",
    "mlp_out": "hook_mlp_out",
    "attn_out": "hook_attn_out",
}


def read(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary of dictionary_learning.

    Raises InputError for what cannot be read as one.
    """
    settings = Settings.read(file.with_name("config.json"), needed="its dict_class")
    trainer, weights = settings.within("trainer"), read_weights(file)
    kind = trainer.text("dict_class")
    if kind in _LINEAR:
        latents, width = weights.table("encoder.weight")
        encoder = weights.take("encoder.weight", latents, width)
        decoder = weights.take("decoder.weight", width, latents).T.contiguous()
    elif kind in ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE"):
        width, latents = weights.table("W_enc")
        encoder = weights.take("W_enc", width, latents).T.contiguous()
        decoder = weights.take("W_dec", latents, width)
    else:
        known = ", ".join((*_LINEAR, "JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE"))
        raise InputError(f"'dict_class' in {str(settings.file)!r} is {str(kind)[:60]!r}; read are {known}")
    same(trainer.whole("activation_dim"), width, "activation_dim", settings)
    same(trainer.whole("dict_size"), latents, "dict_size", settings)
    bias = "encoder.bias" if kind in _LINEAR else "b_enc"
    centre = weights.take(_CENTRES.get(kind, "b_dec"), width)
    dictionary = Dictionary(
        encoder,
        torch.zeros(latents) if kind == "GatedAutoEncoder" else weights.take(bias, latents),
        decoder,
        centre,
        _rule(kind, trainer, weights, latents),
        subtracts=kind not in ("JumpReluAutoEncoder", "AutoEncoderNew"),
    )
    return _unit(dictionary) if kind == "AutoEncoder" else dictionary, _made(settings, trainer)


def _rule(kind: str, trainer: Settings, weights: Weights, latents: int) -> Rule:
    if kind == "AutoEncoderTopK":
        # It also has a threshold, which stands in for k only when a caller asks for it.
        return TopK(_k(trainer, weights))
    if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        return JumpReLU(weights.take("threshold").expand(latents).contiguous())
    if kind == "JumpReluAutoEncoder":
        return JumpReLU(weights.take("threshold", latents))
    if kind == "GatedAutoEncoder":
        gate, gain, magnitude = (weights.take(name, latents) for name in ("gate_bias", "r_mag", "mag_bias"))
        return Gated(gate, gain.exp(), magnitude)
    return ReLU()


def _k(trainer: Settings, weights: Weights) -> int:
    said = trainer.whole("k")
    if "k" not in weights:
        return said or trainer.whole("k", needed=True) or 0
    held = int(weights.take("k"))
    same(said, held, "k", trainer)
    return held


def _unit(dictionary: Dictionary) -> Dictionary:
    """As `AutoEncoder.from_pretrained` reads it: directions of length 1, activations the more."""
    length = dictionary.decoder.norm(dim=1)
    if torch.allclose(length, torch.ones_like(length)):
        return dictionary
    length = length.where(length > 0, 1.0)
    return Dictionary(
        dictionary.encoder * length[:, None],
        dictionary.bias * length,
        dictionary.decoder / length[:, None],
        dictionary.centre,
        dictionary.rule,
    )


def _made(settings: Settings, trainer: Settings) -> Made:
    said = trainer.text("submodule_name")
    place = re.fullmatch(r"(\w+?)_layer_(\d+)", said or "")
    hook = f"blocks.{place[2]}.{_HOOKS[place[1]]}" if place and place[1] in _HOOKS else said
    context = settings.within("buffer").whole("ctx_len")
    return Made("dictionary_learning", model=trainer.text("lm_name"), hook=hook, context=context)
