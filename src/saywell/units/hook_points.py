"""Places in a model: named, read in a pass over texts or pictures, and held against a dictionary of vectors.

What names there are and what they mean is in `places`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import torch

from saywell.data.examples import Examples
from saywell.data.windows import LEAD
from saywell.errors import InputError
from saywell.units.hooks import Feed, Shown, Tap, TextFeed
from saywell.units.models import Decoding, LoadedModel, VisionModel
from saywell.units.pictures import PictureFeed, place_view
from saywell.units.places import HookPoint, Places
from saywell.units.probe import by_token
from saywell.units.tokens import Tokens, tokenize, with_bos

if TYPE_CHECKING:
    from saywell.units.dictionaries.load import Loaded

__all__ = ["HookPoint", "check_place", "feed_of", "find_hook", "hook_points", "hook_tap", "tokens_at"]


def hook_tap(model: LoadedModel | VisionModel, point: HookPoint) -> Tap:
    """The numbers at a place, [batch, positions, width]; of an image model the places of its grid alone."""
    seen = _by_token if point.place is None else place_view(point.place)

    def view(found: torch.Tensor, batch: Shown) -> torch.Tensor | None:
        values = seen(found, batch)
        return None if values is None else point.of(values)

    return Tap(point.module, point.side, point.width, view)


def _by_token(found: torch.Tensor, batch: Shown) -> torch.Tensor | None:
    assert batch.mask is not None
    return by_token(found, tuple(batch.mask.shape))  # type: ignore[arg-type]


def feed_of(model: LoadedModel | VisionModel, examples: Examples, *, bos: bool | None = None) -> Feed:
    """The examples as the model is shown them.

    `bos` True puts the tokenizer's BOS before each text where the tokenizer does not do so itself, False
    takes it away where it does; None leaves it to the tokenizer. A BOS is a special token, on which nothing
    fires.

    Raises InputError for a tokenizer without BOS where one is asked for.
    """
    if isinstance(model, VisionModel):
        return PictureFeed.of(model, examples)
    tokens = tokens_at(model, examples, bos=bos)
    return TextFeed(tokens, model.pad_id, decoder=isinstance(model.model, Decoding))


def tokens_at(model: LoadedModel, examples: Examples, *, bos: bool | None = None) -> Tokens:
    """The tokens of `feed_of`; a decoder's start token is one, and special as a BOS is."""
    own = getattr(model.tokenizer, "bos_token_id", None)
    if bos and own is None:
        raise InputError(
            f"the tokenizer of {model.name!r} has no BOS token to put before texts; leave it out (bos=None)"
        )
    starts = model.model.start if isinstance(model.model, Decoding) else None
    room = model.max_tokens - (bos is True) - (starts is not None)
    tokens = tokenize(model.tokenizer, examples.texts, max_tokens=room)
    if LEAD in examples.table.columns:
        tokens = tokens.read_before(examples.table[LEAD].to_numpy())
    if bos is not None and own is not None:
        tokens = with_bos(tokens, own, bos)
    return tokens if starts is None else with_bos(tokens, starts, True)


def find_hook(model: LoadedModel | VisionModel, name: str, head: int | None = None) -> HookPoint:
    """The place of a name; with `head` one head of it alone.

    Raises InputError for what is no place in this model, saying why, or which names are near; and where the
    module does not run once, with a row for each position.
    """
    return Places(model).find(name, head)


def hook_points(model: LoadedModel | VisionModel) -> pl.DataFrame:
    """All places of a model that have a name, in order; of an image model without blocks its modules.

    Columns: layer (null: of the whole model), what, module, side, width, transformer_lens, nnterp,
    interp_engine, rows and columns (of the grid in the picture), note.
    """
    return Places(model).table()


def check_place(
    loaded: Loaded,
    model: LoadedModel | VisionModel,
    point: HookPoint,
    *,
    bos: bool | None = None,
    context: int | None = None,
) -> list[str]:
    """What speaks against using a dictionary at a place, a sentence each.

    `bos` and `context` are as the study has them; None: as the dictionary was made.

    Raises InputError where it does not fit, with what would.
    """
    dictionary, made = loaded.dictionary, loaded.made
    places = Places(model)
    own, why = None, ""
    if made.hook is not None:
        try:
            own = places.find(made.hook, made.head)
        except InputError as error:
            why = str(error)
    if dictionary.width != point.width:
        raise InputError(_unfit(loaded, model, point, places, own))
    leads = point if made.hook_out is None else places.find(made.hook_out)
    if dictionary.out != leads.width:
        where = repr(leads.name) if made.hook_out else f"{leads.name!r} (its files name no other place)"
        raise InputError(
            f"what the dictionary gives is {dictionary.out} numbers, and {where} in {model.name!r}, which it"
            f" leads to, has {leads.width}"
        )
    found = []
    if made.model is not None and _base(made.model) != _base(model.name):
        found.append(
            f"The dictionary was made on {made.model!r}, and this is {model.name!r}; of other weights"
            " its latents mean something else."
        )
    if why:
        found.append(f"The place that the dictionary was made at is not found here: {why}.")
    elif own is not None and not places.same(own, point):
        found.append(
            f"The dictionary was made at {made.hook!r} ({_where(own)}), and it is used at {point.name!r}"
            f" ({_where(point)}), which has other numbers."
        )
    if bos is not None and made.bos is not None and bos != made.bos:
        stand = ("did not start", "do") if bos else ("started", "do not")
        found.append(f"In training texts {stand[0]} with a BOS token, and here they {stand[1]}.")
    if context is not None and made.context is not None and context > made.context:
        found.append(
            f"In training a text had {made.context} tokens, and here up to {context}; what comes later is new"
            " to the dictionary."
        )
    kind = next(model.model.parameters()).dtype
    if kind.itemsize < torch.float32.itemsize:
        found.append(f"The model computes in {str(kind).removeprefix('torch.')}, of few digits.")
    return found


def _unfit(
    loaded: Loaded, model: LoadedModel | VisionModel, point: HookPoint, places: Places, own: HookPoint | None
) -> str:
    width, made = loaded.dictionary.width, loaded.made
    words = f"the dictionary reads {width} numbers, and {point.name!r} in {model.name!r} has {point.width}"
    if point.heads and point.head is None and width * point.heads == point.width:
        return f"{words}, of {point.heads} heads: it is one of a single head, which its files do not name"
    if own is not None and own.width == width:
        return f"{words}; it was made at {made.hook!r}, which has {width}"
    table = places.table().filter(pl.col("width") == width)
    names = table.select(pl.coalesce("transformer_lens", "module")).to_series().unique(maintain_order=True)
    if len(names):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"{words}; places of that width: {', '.join(names[:_SHOWN])}{more}"
    of = f"; it was made on {made.model!r}" if made.model else ""
    return f"{words}; no place in this model has {width}{of}"


_SHOWN = 6


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()


def _where(point: HookPoint) -> str:
    """The module, with what its own note says."""
    said = f", {point.note}" if point.note else ""
    return f"the {point.side} of {point.module!r}{said}"
