"""sparsify (EleutherAI): `HOOKPOINT/cfg.json` and `sae.safetensors`, a `config.json` above them.

Formulas: eai-sparsify 1.3.3.
`W_dec` is [latents, width], as the decoder here; SAELens' reader of it transposes once more.
"""

from __future__ import annotations

from pathlib import Path

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.formats.weights import Settings, read_weights, same
from saywell.units.dictionaries.rules import GroupMax, TopK

FILE = "sae.safetensors"


def read(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary of sparsify, or of `sae`, its former name, whose settings may say `signed`.

    Raises InputError for what cannot be read as one.
    """
    settings = Settings.read(file.with_name("cfg.json"), needed="its k and activation")
    weights = read_weights(file)
    latents, width = weights.table("encoder.weight")
    same(settings.whole("d_in"), width, "d_in", settings)
    factor = settings.whole("expansion_factor")
    same(settings.whole("num_latents") or (factor and factor * width), latents, "num_latents", settings)
    k, transcodes = settings.whole("k", needed=True), settings.flag("transcode") is True
    activation = settings.text("activation") or "topk"
    if activation not in ("topk", "groupmax"):
        raise InputError(
            f"'activation' in {str(settings.file)!r} is {activation!r}; topk and groupmax are read"
        )
    assert k is not None
    dictionary = Dictionary(
        weights.take("encoder.weight", latents, width),
        weights.take("encoder.bias", latents),
        weights.take("W_dec", latents, width),
        weights.take("b_dec", width),
        GroupMax(k) if activation == "groupmax" else TopK(k, signed=settings.flag("signed") is True),
        subtracts=not transcodes,
        skip=weights.take("W_skip", width, width) if settings.flag("skip_connection") else None,
    )
    of = Settings.read(file.parent.parent / "config.json")
    hook = file.parent.name
    return dictionary, Made(
        "sparsify",
        model=of.text("model"),
        hook=f"{hook}:in" if transcodes else hook,
        hook_out=f"{hook}:out" if transcodes else None,
        context=of.whole("ctx_len"),
        dataset=of.text("dataset"),
    )
