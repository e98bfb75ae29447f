"""Language models that predict the next token: how surprised one is by a text, and after what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from saywell.encoders.checkpoints import find_checkpoint, gguf_file
from saywell.encoders.fingerprints import model_fingerprint
from saywell.encoders.loading import load_gguf, load_part, load_weights, opening, refuse_wordless
from saywell.encoders.positions import token_ids
from saywell.errors import InputError

_CELLS = 1 << 24
"""Logits held at once, in numbers; what stands before the texts, and where a model does not keep what it read
one text, may have more."""
_SHORTEST_PIECE = 16
"""Tokens."""


@dataclass(frozen=True)
class CausalModel:
    """A transformers causal language model and its tokenizer."""

    name: str
    model: Any
    tokenizer: Any
    max_tokens: int
    """Of what stands before a text and the text together."""
    fingerprint: str

    def losses(
        self,
        before: str,
        texts: Sequence[str],
        *,
        cells: int = _CELLS,
        progress: Callable[[int], None] = lambda texts: None,
    ) -> Float[np.ndarray, " texts"]:
        """Mean of -log p of each text's tokens after `before`, in nats; NaN for a text without tokens.

        A text has the same tokens whatever stands before it. Each of the two has half of the context, and
        loses its end where that is too short. Texts of like length are read together, at most so many that
        their logits are `cells` numbers, and of a longer one so many tokens; neither matters but for the last
        digits of a float32.
        """
        half = self.max_tokens // 2
        start = self.tokenizer.bos_token_id
        head = self._tokens(before)[: half - 1]
        prefix = ([] if start is None else [start]) + head
        if not prefix:
            raise InputError(
                f"{before!r} has no token in {self.name}'s tokenizer; put words before the texts"
            )
        tokens = [self._tokens(text)[:half] for text in texts]
        found = np.full(len(texts), np.nan)
        for rows in self._batches(tokens, len(prefix), cells):
            found[rows] = self._read(prefix, [tokens[row] for row in rows], cells)
            progress(len(rows))
        return found

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _batches(self, tokens: Sequence[Sequence[int]], before: int, cells: int) -> Iterator[list[int]]:
        order = sorted(
            (row for row, own in enumerate(tokens) if own), key=lambda row: (-len(tokens[row]), row)
        )
        start = 0
        while start < len(order):
            width = (before + len(tokens[order[start]])) * self.model.config.vocab_size
            size = max(1, cells // width)
            yield order[start : start + size]
            start += size

    @torch.inference_mode()
    def _read(
        self, prefix: Sequence[int], texts: Sequence[Sequence[int]], cells: int = _CELLS, keep: bool = True
    ) -> list[float]:
        """`keep`: read the prefix once for all of them, where the model keeps keys and values.

        There a text whose logits are more than `cells` numbers is read in pieces.
        """
        place, longest = next(self.model.parameters()).device, max(map(len, texts))
        ids = torch.tensor([[*text, *[text[0]] * (longest - len(text))] for text in texts], device=place)
        sizes = torch.tensor([len(text) for text in texts], device=place)
        own = torch.arange(longest, device=place) < sizes[:, None]
        before = torch.tensor([prefix], device=place)
        # What fills up a text comes after it, so no token of it looks there.
        mask = torch.cat([torch.ones_like(before).expand(len(texts), -1), own.long()], 1)
        read = self.model(input_ids=before, attention_mask=torch.ones_like(before), use_cache=keep)
        # Its name is another in later versions of transformers 5.
        name = next((each for each in ("cache", "past_key_values") if getattr(read, each, None)), "")
        kept: Any = getattr(read, name, None)
        if keep and hasattr(kept, "batch_repeat_interleave"):
            kept.batch_repeat_interleave(len(texts))
            width = max(_SHORTEST_PIECE, cells // (len(texts) * self.model.config.vocab_size))
            last, found = read.logits[:, -1:].expand(len(texts), -1, -1), []
            for start in range(0, longest, width):
                piece, seen = ids[:, start : start + width], mask[:, : len(prefix) + start + width]
                more = self.model(input_ids=piece, attention_mask=seen, use_cache=True, **{name: kept})
                kept = getattr(more, name)
                found.append(_losses(torch.cat([last, more.logits[:, :-1]], 1), piece))
                last = more.logits[:, -1:].clone()  # and no longer those before it
            losses = torch.cat(found, 1)
        else:
            whole = torch.cat([before.expand(len(texts), -1), ids], 1)
            logits = self.model(input_ids=whole, attention_mask=mask).logits[:, len(prefix) - 1 : -1]
            losses = _losses(logits, ids)
        return (losses.double().masked_fill(~own, 0.0).sum(1) / sizes).tolist()


def load_causal(name: str, *, device: torch.device | None = None) -> CausalModel:
    """A causal language model by folder, hub name, GGUF file or the alias `smollm2`.

    Its numbers are float32 on a processor.

    Raises InputError where it is none, or lacks weights; MissingPackage for a GGUF file without `gguf`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if place.type == "cpu" else "auto"
    file = gguf_file(name)
    if file is not None:
        with opening("the causal model", name, str(file.parent)):
            model, tokenizer = load_gguf(AutoModelForCausalLM, file, probe=_logits, dtype=dtype)
            return causal_model(model.to(place), tokenizer, name)
    checkpoint = find_checkpoint(name)
    with opening("the causal model", name, checkpoint):
        model = load_weights(AutoModelForCausalLM, checkpoint, dtype=dtype, probe=_logits)
        tokenizer = load_part(AutoTokenizer, checkpoint)
        return causal_model(model.to(place), tokenizer, name)


def causal_model(model: Any, tokenizer: Any, name: str | None = None) -> CausalModel:
    """A module of transformers that gives logits of the next token, with its tokenizer.

    Raises InputError where it gives none, or where they depend on what comes later.
    """
    name = name or type(model).__name__
    refuse_wordless(tokenizer)
    model.eval()
    if not _is_causal(model):
        raise InputError(
            f"{name!r} is no causal language model: it does not predict each token from those before it"
        )
    limits = [getattr(tokenizer, "model_max_length", None)]
    limits += [getattr(model.config, key, None) for key in ("max_position_embeddings", "n_positions")]
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 1_000_000]
    return CausalModel(name, model, tokenizer, min(known, default=2048), model_fingerprint(model, tokenizer))


def load_head(model: Any, name: str) -> CausalModel:
    """The causal model of a checkpoint of which the part `model`, without its head, is loaded.

    Raises InputError where it has none.
    """
    if _looks_ahead(model):  # transformers would put a head on it all the same
        raise InputError(f"{name!r} is no causal language model: it reads later tokens too")
    return load_causal(name, device=next(model.parameters()).device)


def _losses(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """-log p of each token."""
    return torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), ids, reduction="none")


def _logits(model: Any) -> Any:
    ids = token_ids(model, 4)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def _is_causal(model: Any) -> bool:
    """Whether logits are there, one for each word, and do not change with a later token."""
    found = _last_token_changed(model, "logits")
    if found is None or found[0].ndim != 3 or found[0].shape[-1] < model.config.vocab_size:
        return False
    first, second = found
    return _close(first[:, :-1], second[:, :-1]) and not _close(first[:, -1], second[:, -1])


def _looks_ahead(model: Any) -> bool:
    """Whether what a model without its head makes of a token depends on later ones, as in an encoder."""
    found = _last_token_changed(model, "last_hidden_state")
    return found is not None and not _close(found[0][:, :-1], found[1][:, :-1])


@torch.inference_mode()
def _last_token_changed(model: Any, what: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What a model gives of two texts that differ in their last token; None where it gives no such thing."""
    ids = token_ids(model, 4)
    if ids is None:
        return None
    other = ids.clone()
    other[0, -1] = ids[0, 0]
    try:
        first, second = (
            getattr(model(input_ids=each, attention_mask=torch.ones_like(each)), what)
            for each in (ids, other)
        )
    except (AttributeError, TypeError, ValueError):
        return None
    return first, second


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-4)
