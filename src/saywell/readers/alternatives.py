"""The things that a description offers: "soup, the waiter" holds where either does."""

from __future__ import annotations

import re

QUOTED = re.compile(
    r"""(?<!\w)"(?!\s*")([^"\n]+)"(?!\w)|“(?!\s*”)([^”\n]+)”|«(?!\s*»)([^»\n]+)»|"""
    r"""(?<!\w)['‘](?!\s*['’])([^'’\n]+)['’](?!\w)"""
)
"""A wording in quotation marks: whichever group there is has it without them. A blank one is none."""
_APART = re.compile(rf"{QUOTED.pattern}|[,;\n]|(?<=[\"”»'’])\s+or\s+(?=[\"“«'‘])")


def alternatives(description: str) -> list[str]:
    """The parts of a description between commas, semicolons or line breaks, in their order.

    "Or" between two quotations parts them, too; what stands in quotation marks is not parted. Empty parts
    and repeats are left out; a description without any word has no part, save a quotation of a sign.
    """
    borders = [m.span() for m in _APART.finditer(description) if not any(m.groups())]
    starts, ends = [0, *(end for _, end in borders)], [*(start for start, _ in borders), len(description)]
    parts = (" ".join(description[a:b].split()) for a, b in zip(starts, ends, strict=True))
    return list(
        dict.fromkeys(part for part in parts if any(c.isalnum() for c in part) or QUOTED.search(part))
    )


def quotations(description: str) -> list[str]:
    """What stands in quotation marks, in order."""
    return [match[match.lastindex or 0] for match in QUOTED.finditer(description)]
