"""Qwen Scope: `layerN.sae.pt` in a repository `SAE-Res-MODEL-WnK-L0_k` (as sae_lens 6.54.12 reads it).

TopK, nothing taken off before; `W_enc` is [latents, width] and `W_dec` [width, latents].
"""

from __future__ import annotations

import re
from pathlib import Path

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.formats.weights import Settings, read_weights
from saywell.units.dictionaries.rules import TopK

FILES = "layer*.sae.pt"
_REPOSITORY = re.compile(r"SAE-Res-(?P<model>[^/]+)-W\d+K-L0_(?P<k>\d+)(?![^/])")
_SETTINGS = "cfg.json"


def read(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary of Qwen Scope.

    Raises InputError for what cannot be read as one, or where neither a folder's name nor `cfg.json` says k.
    """
    of = _REPOSITORY.search(file.absolute().as_posix())
    k = Settings.read(file.with_name(_SETTINGS)).whole("k") or (of and int(of["k"]))
    if not k:
        raise InputError(
            f"how many latents of {str(file)!r} are active is said by its repository's name alone"
            " (SAE-Res-MODEL-W32K-L0_50: 50); keep that name for the folder, or write a"
            f' {_SETTINGS} beside it: {{"k": 50}}'
        )
    weights = read_weights(file)
    latents, width = weights.table("W_enc")
    dictionary = Dictionary(
        weights.take("W_enc", latents, width),
        weights.take("b_enc", latents),
        weights.take("W_dec", width, latents).T.contiguous(),
        weights.take("b_dec", width),
        TopK(k),
        subtracts=False,
    )
    layer = re.match(r"layer(\d+)\.", file.name)
    return dictionary, Made(
        "Qwen Scope",
        model=of and f"Qwen/{of['model']}",
        hook=layer and f"blocks.{layer[1]}.hook_resid_post",
        context=1024,
    )
