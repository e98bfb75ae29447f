"""What an LLM is shown of a unit of pictures: those it responds to, with the region framed, and others."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import polars as pl
from PIL import Image as Pillow
from PIL import ImageDraw

from saywell.describers.describer import Evidence
from saywell.language_models import Image

PICTURES, OTHERS = 8, 3
"""Exemplars and contrasts that are shown."""
SIDE, FRAME = 384, (255, 0, 0)
_REGION = ("region_left", "region_top", "region_right", "region_bottom")
Region = tuple[float, float, float, float]


def framed(picture: Pillow.Image, region: Region | None) -> Image:
    """A picture of at most `SIDE` pixels a side, with a frame around a region (shares of its sides)."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    if region is not None:
        (width, height), (left, top, right, bottom) = small.size, region
        box = (
            left * width,
            top * height,
            max(left * width, right * width - 1),
            max(top * height, bottom * height - 1),
        )
        ImageDraw.Draw(small).rectangle(box, outline=FRAME, width=3)
    kept = BytesIO()
    small.save(kept, "JPEG", quality=85)
    return Image(kept.getvalue())


def pictures_of(evidence: Evidence) -> list[tuple[Sequence[Image], Sequence[Image]]]:
    """Of each unit its strongest exemplars, their regions framed where these are known, and its contrasts."""
    ids = evidence.examples.ids
    regions: dict[tuple[str, str], Region] = {}
    if set(_REGION) <= set(evidence.exemplars.columns):
        known = evidence.exemplars.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in _REGION))
        regions = {
            (unit, id): tuple(at) for unit, id, *at in known.select("unit", "example", *_REGION).iter_rows()
        }
    found = []
    for unit, places, others in zip(evidence.ids, evidence.places, evidence.contrast_places, strict=True):
        shown = [ids[place] for place in places[:PICTURES]]
        silent = [ids[place] for place in others[:OTHERS]]
        opened = dict(evidence.examples.pictures([*shown, *silent])) if shown else {}
        mine = [framed(opened[id], regions.get((unit, id))) for id in shown]
        found.append((mine, [framed(opened[id], None) for id in silent if shown]))
    return found
