"""Examples and descriptions for the tests of readers and scorers."""

from __future__ import annotations

import polars as pl

from saywell.data.examples import Examples
from saywell.description import Description


def said(*texts):
    """Descriptions of nobody in particular."""
    return [Description("", text) for text in texts]


def of_texts(texts, part="select"):
    """Examples that are these texts, all in one part or in the parts given."""
    parts = [part] * len(texts) if isinstance(part, str) else part
    table = pl.DataFrame({"id": [f"e{n}" for n in range(len(texts))], "part": parts, "text": list(texts)})
    return Examples(table, "text", "texts", pl.DataFrame(), len(texts))
