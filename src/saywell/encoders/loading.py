"""Opening what a checkpoint holds, by transformers: no code of its own, no pickles, nothing made up.

Whatever a library says of a folder comes out as one InputError that names it; whatever it would only
warn of, and which changes what is computed, is an error too.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saywell.encoders.checkpoints import refuse_unsafe
from saywell.errors import InputError, SaywellError
from saywell.progress import quiet_loading

_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")
_SHOWN = 3


@contextmanager
def opening(what: str, name: str, folder: str) -> Iterator[None]:
    """While a library reads a folder: quiet, and every failure one InputError with its cause.

    Raises InputError for what went wrong, naming the file where that can be told.
    """
    said = f"cannot load {what} {name!r}" + ("" if name == folder else f" (in {folder})")
    with quiet_loading(), _without_report():
        try:
            yield
        except InputError as error:
            raise InputError(f"{said}: {error}") from error
        except (SaywellError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic in Rust, as of tokenizers, is no Exception
            lines = str(error).strip().splitlines() or [""]
            told = _broken_file(Path(folder)) or f"{type(error).__name__}: {lines[0][:300]}"
            raise InputError(
                f"{said}: {told}; get the folder again, or write it anew with save_pretrained"
            ) from error


def load_part(auto: Any, folder: str, **options: Any) -> Any:
    """A tokenizer or an image processor, by the library's own code only."""
    return auto.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **options)


def load_gguf(
    auto: Any,
    file: Path,
    *,
    part: Callable[[Any], Any] = lambda model: model,
    probe: Callable[[Any], Any],
    **options: Any,
) -> tuple[Any, Any]:
    """The part of a model that is used, and the tokenizer, from a GGUF file; as `load_weights` otherwise."""
    from transformers import AutoTokenizer

    model, info = auto.from_pretrained(
        str(file.parent), gguf_file=file.name, local_files_only=True, output_loading_info=True, **options
    )
    used = part(model).eval()
    refuse_made_up(model, used, info, lambda: probe(used))
    return used, load_part(AutoTokenizer, str(file.parent), gguf_file=file.name)


def refuse_wordless(tokenizer: Any) -> None:
    """Raise InputError for a tokenizer with special tokens alone, made up where a folder has none."""
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError(
            "its tokenizer knows no words; a folder needs the files that tokenizer.save_pretrained wrote"
            " (tokenizer.json) beside its weights"
        )


def load_weights(
    auto: Any,
    folder: str,
    *,
    part: Callable[[Any], Any] = lambda model: model,
    probe: Callable[[Any], Any],
    **options: Any,
) -> Any:
    """The part of a model that is used, with all its weights from the folder's safetensors.

    `probe` gives a tensor that the part computes and that is used. Weights that the folder lacks are
    never made up: where they take part in what `probe` gives, that is an error; others (a pooler, a
    head) are NaN, so that nothing can come of them unseen.

    Raises InputError for weights that are missing, of other shapes than the configuration says, or
    of layers that it does not have.
    """
    refuse_unsafe(folder)
    model, info = auto.from_pretrained(
        folder,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    used = part(model).eval()
    refuse_made_up(model, used, info, lambda: probe(used))
    return used


def refuse_not_finite(values: Any) -> None:
    """Raise InputError where what an encoder makes of something plain is NaN or infinite."""
    import numpy as np

    if not np.isfinite(values).all():
        raise InputError(
            "what it computes is NaN or infinite; its weights or the settings of its inputs are damaged"
        )


def refuse_made_up(model: Any, used: Any, info: dict[str, Any], probe: Callable[[], Any]) -> None:
    """Raise InputError where `used`, a part of `model`, computes with what no file holds.

    `info` is what transformers tells of the loading; see `load_weights`.
    """
    import torch

    for said in info.get("error_msgs", ()):
        raise InputError(f"its weights cannot be read: {str(said).splitlines()[0]}")
    shapes = sorted(str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"])
    if shapes:
        raise InputError(
            f"{_listed(shapes)} of its weights have another shape than its config.json says; the two are"
            " not of the same model"
        )
    tensors = dict(model.state_dict(keep_vars=True))
    parts = {name for name, _ in model.named_children()}
    beyond = _other_layers(info["unexpected_keys"], tensors, parts)
    if beyond:
        raise InputError(
            f"{_listed(beyond)} of its weights belong to layers that its config.json does not have; the"
            " two are not of the same model"
        )
    own = {id(t) for t in used.state_dict(keep_vars=True).values()}
    missing = sorted(
        key
        for key in info["missing_keys"]
        if key in tensors and id(tensors[key]) in own and tensors[key].is_floating_point()
    )
    lacking = InputError(
        f"{_listed(missing)} of its weights are in none of its files, and random numbers would stand in"
        " for them; get the whole checkpoint (of a fine-tuned part, load the base model and the part,"
        " and save both with save_pretrained)"
    )
    if any(_LAYER.search(key) for key in missing):
        raise lacking
    if missing:
        with torch.no_grad():
            for key in missing:
                tensors[key].fill_(torch.nan)
            if not torch.isfinite(torch.as_tensor(probe())).all():
                raise lacking


def _other_layers(unexpected: Iterable[str], known: Iterable[str], parts: set[str]) -> list[str]:
    """Weights of a layer like those that the model has, or of layers in a part that now has none."""
    kinds = {_LAYER.sub("#", key) for key in known if _LAYER.search(key)}
    lists = {kind.partition("#")[0] for kind in kinds}
    found = []
    for key in sorted(unexpected):
        kind = _LAYER.sub("#", key)
        # Checkpoints with a head have the model's name before each of its weights.
        for name in (kind, kind.partition(".")[2]):
            emptied = name.partition(".")[0] in parts and name.partition("#")[0] not in lists
            if "#" in name and (name in kinds or emptied):
                found.append(key)
                break
    return found


def _listed(keys: list[str]) -> str:
    """`3 (a, b, c)`, the first few of them."""
    more = ", ..." if len(keys) > _SHOWN else ""
    return f"{len(keys)} ({', '.join(keys[:_SHOWN])}{more})"


def _broken_file(folder: Path) -> str | None:
    """What is wrong with the first file that is not what its name says."""
    from safetensors import safe_open

    for path in sorted(folder.rglob("*.json")):
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(read, dict | list):
                return f"{path.name} holds a single value"
        except (OSError, ValueError, RecursionError) as error:
            return f"{path.name} is not JSON ({str(error)[:100]})"
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except Exception as error:
            return f"{path.name} is not a whole safetensors file ({str(error)[:100]})"
    return None


@contextmanager
def _without_report() -> Iterator[None]:
    """Without transformers' table of weights: what of it matters is an error here.

    A filter, since a level of its own makes that logger check and tell more, such as which weights a
    plan for several devices leaves out.
    """
    report = logging.getLogger("transformers.modeling_utils")
    report.addFilter(_nothing)
    try:
        yield
    finally:
        report.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
