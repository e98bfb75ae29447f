"""An LLM that sees pictures is shown which region made a unit respond."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import polars as pl
from PIL import Image as Pillow

from saywell.data.examples import Examples
from saywell.data.splits import content_ids
from saywell.describers.llm import ByLLM
from saywell.language_models import Scripted
from saywell.resources import Resources


def grey(number):
    return Pillow.new("RGB", (40 + number, 40), (number, number, number))


def test_regions_are_framed_and_pictures_sent_in_order(make_evidence):
    ids = content_ids([f"p{n}" for n in range(12)])
    table = pl.DataFrame({"id": ids, "part": ["describe"] * 12, "name": [f"p{n}" for n in range(12)]})

    def pictures_of(wanted):
        return ((id, grey(20 * ids.index(id))) for id in wanted)

    examples = Examples(table, "image", "made", pl.DataFrame(), 12, pictures_of=pictures_of)
    evidence = make_evidence(examples, np.array([[*range(4), *[0] * 8], [0] * 12]))
    where = {"region_left": 0.5, "region_top": 0.0, "region_right": 1.0, "region_bottom": 0.5}
    first = pl.col("rank") == 0
    at = [pl.when(first).then(value).cast(pl.Float32).alias(name) for name, value in where.items()]
    evidence = replace(evidence, exemplars=evidence.exemplars.with_columns(at))
    asked = []

    def answer(request):
        asked.append(request)
        return json.dumps({"description": "grey walls"})

    with Scripted(answer) as llm:
        said = ByLLM().describe(evidence, Resources(llm=llm), None)
    assert [one.text for one in said] == ["grey walls", ""] and len(asked) == 1
    message = asked[0].messages[-1]
    assert "The first 3 pictures" in message.text and "The other 3" in message.text
    seen = [np.asarray(Pillow.open(BytesIO(one.data)).convert("RGB")).astype(int) for one in message.images]
    assert [one[30, 5, 0] // 10 for one in seen[:3]] == [6, 4, 2]  # the strongest first
    red = [(one[..., 0] - one[..., 1] > 100) for one in seen]
    assert [one.any() for one in red] == [True] + [False] * 5
    assert not red[0][:, :44].any() and red[0][:25, 48:].sum() > 60
