"""A few tokens of a model's own, and how many it has positions for: seen from what it looks up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def vocabulary(model: Any) -> int | None:
    """How many tokens a model knows; None where it does not say.

    A model without the method of transformers has the embedding that comes first.
    """
    import torch

    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError, TypeError):
        embedding = next((m for m in model.modules() if isinstance(m, torch.nn.Embedding)), None)
    return getattr(embedding, "num_embeddings", None)


def token_ids(model: Any, count: int) -> Any:
    """`count` different token ids [1, count] of a model, none of them padding; None where it has too few.

    Each is lower than the one before.
    """
    import torch

    padding = getattr(getattr(model, "config", None), "pad_token_id", None)
    known = [token for token in range(vocabulary(model) or 0) if token != padding]
    if len(known) < count:
        return None
    chosen = known[:: -max(1, len(known) // count)][:count]
    return torch.tensor([chosen], device=next(model.parameters()).device)


def position_limit(run: Callable[[Any], object], ids: Any) -> int | None:
    """The longest text, in tokens, for which the model's tables have a position; None without tables.

    `run` sends token ids [1, n] through the model; `ids` are such ones, as `token_ids` gives them. A
    table is one of positions when it is asked for n consecutive rows: the first need not be row 0
    (RoBERTa's first two are never used, so of 514 rows 512 tokens have one).
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    limits: list[int] = []
    steps = torch.arange(ids.shape[1], device=ids.device)

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.embedding.default:
                table, rows = args[0], args[1].flatten()
                # A model may fill a text up to the length that its attention needs.
                asked = args[1].ndim and args[1].shape[-1] == len(rows) >= len(steps)
                if asked and bool((rows[: len(steps)] - rows[0] == steps).all()):
                    limits.append(len(table) - int(rows[0]))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        run(ids)
    return min(limits, default=None)
