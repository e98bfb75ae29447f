"""Texts about classes that someone else wrote, in the form of those that saywell writes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.describers.class_texts.class_describer import CLASS_TEXTS, fit_texts
from saywell.describers.class_texts.visible import component
from saywell.encoders.dual import DualEncoder

GIVEN = "given"


def given_texts(
    texts: Sequence[str],
    text_class: Int[np.ndarray, " texts"],
    classes: Sequence[str],
    encoder: DualEncoder,
    source: str,
) -> pl.DataFrame:
    """Table `class_texts` of texts without an article: ungrounded, too long, or said twice."""
    rows = []
    seen: set[tuple[str, str]] = set()
    listed = list(classes)
    for text, place, fit in zip(texts, text_class, fit_texts(texts, encoder), strict=True):
        name = listed[int(place)]
        pieces = list(zip(fit.pieces or [text], fit.tokens, strict=True))
        for number, (piece, tokens) in enumerate(pieces):
            status, detail = "ungrounded", ""
            if not fit.pieces:
                status = "too long"
                detail = f"{tokens} tokens; {encoder.name!r} reads {encoder.max_tokens}"
            elif (name, piece.casefold()) in seen:
                status, detail = "duplicate", "the class has this text already"
            seen.add((name, piece.casefold()))
            named = f"{name}\n{text}\n{number}\n{status}"
            rows.append(
                {
                    "id": "t" + blake2b(named.encode("utf-8", "replace"), digest_size=6).hexdigest(),
                    "class": name,
                    "component": component(piece),
                    "text": piece,
                    "status": status,
                    "tokens": tokens,
                    "source": source,
                    "describer": GIVEN,
                    "detail": detail,
                }
            )
    return pl.DataFrame(rows, schema=CLASS_TEXTS.required, orient="row").unique("id", maintain_order=True)
