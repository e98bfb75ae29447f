"""Gemma Scope 1 (`params.npz`) and 2 (`params.safetensors`, `config.json`): JumpReLU of vectors as they are.

Of Gemma Scope 1 no file says what it is of: names of folders do, as its repositories have them
(`gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71`). Formulas: the tutorials of both, and sae_lens
6.54.12.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.formats.weights import Settings, Weights, read_weights
from saywell.units.dictionaries.rules import JumpReLU

FILES_1, FILES_2 = "params.npz", "params*.safetensors"
_EMBEDDING = re.compile(r"/embedding/width_\w+/average_l0_\w+/[^/]+$")
_REPOSITORY = re.compile(r"gemma-scope-(?P<size>\d+b)-(?P<kind>pt|it)-(?P<place>res|mlp|att|transcoders)\b")
_HOOKS = {
    "res": ("blocks.{}.hook_resid_post", None),
    "mlp": ("blocks.{}.hook_mlp_out", None),
    "att": ("blocks.{}.attn.hook_z", None),
    "transcoders": ("blocks.{}.ln2.hook_normalized", "blocks.{}.hook_mlp_out"),
}


def read_1(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary of Gemma Scope 1.

    Those of embeddings were trained before Gemma multiplies these by sqrt(width), and are given in units of
    after: all that is decoded is the greater, `b_dec` too, which SAELens leaves as it is.

    Raises InputError for what cannot be read as one.
    """
    weights = read_weights(file)
    upper = "W" if "W_enc" in weights else "w"
    dictionary = _jumprelu(weights, f"{upper}_enc", f"{upper}_dec")
    path = file.absolute().as_posix()
    if _EMBEDDING.search(path):
        root = dictionary.width**0.5
        dictionary = replace(
            dictionary,
            encoder=dictionary.encoder / root,
            decoder=dictionary.decoder * root,
            centre=dictionary.centre * root,
        )
    return dictionary, _made_1(path)


def read_2(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary of Gemma Scope 2: an autoencoder, or a transcoder, whose skip is read as x @ skip.

    A cross-layer transcoder's layer writes to all layers from its own on: its decoder is their sum, so what
    it decodes is no reconstruction of one place.

    Raises InputError for what cannot be read as one.
    """
    settings, weights = Settings.read(file.with_name("config.json")), read_weights(file)
    architecture = settings.text("architecture") or "jump_relu"
    if architecture != "jump_relu":
        raise InputError(f"'architecture' in {str(settings.file)!r} is {architecture!r}; jump_relu is read")
    affine = settings.flag("affine_connection")
    if affine is not None and affine != ("affine_skip_connection" in weights):
        raise InputError(
            f"{str(settings.file)!r} says affine_connection {str(affine).lower()},"
            f" and {file.name} is otherwise"
        )
    dictionary = _jumprelu(weights, "w_enc", "w_dec")
    if "affine_skip_connection" in weights:
        skip = weights.take("affine_skip_connection", dictionary.width, dictionary.out).T.contiguous()
        dictionary = replace(dictionary, skip=skip)
    hooks = (_hook(settings.text(f"hf_hook_point_{side}")) for side in ("in", "out"))
    hook, hook_out = hooks
    hook_out = None if hook_out == hook else hook_out
    made = Made("Gemma Scope 2", settings.text("model_name"), hook, hook_out, bos=True, context=1024)
    return dictionary, made


def _jumprelu(weights: Weights, encoder: str, decoder: str) -> Dictionary:
    width, latents = weights.table(encoder)
    shape = weights.shape(decoder)
    writes = weights.take(decoder, *shape)
    if len(shape) == 3:
        writes = writes.sum(1)
    elif len(shape) != 2:
        weights.table(decoder)
    if shape[0] != latents:
        raise InputError(f"{decoder} in {str(weights.file)!r} has the shape {shape}, for {latents} latents")
    return Dictionary(
        weights.take(encoder, width, latents).T.contiguous(),
        weights.take("b_enc", latents),
        writes,
        weights.take("b_dec", shape[-1]),
        JumpReLU(weights.take("threshold", latents)),
        subtracts=False,
    )


def _made_1(path: str) -> Made:
    layer, of = re.search(r"/layer_(\d+)/", path), _REPOSITORY.search(path)
    model = of and f"gemma-2-{of['size']}" + ("-it" if of["kind"] == "it" else "")
    hook, hook_out = _HOOKS[of["place"]] if of and layer else (None, None)
    if _EMBEDDING.search(path):
        hook, hook_out = "hook_embed", None
    number = layer and layer[1]
    return Made(
        "Gemma Scope",
        model=model and f"google/{model}",
        hook=hook and hook.format(number),
        hook_out=hook_out and hook_out.format(number),
        bos=True,
        context=1024,
        dataset="monology/pile-uncopyrighted",
    )


def _hook(said: str | None) -> str | None:
    """`model.layers.5.output` by the names that are used here: `model.layers.5:out`."""
    return said and re.sub(r"\.(in|out)put$", r":\1", said)
