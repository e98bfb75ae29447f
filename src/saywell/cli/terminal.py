"""Words of data and models on a terminal: on one line, and unable to command it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saywell.report.card import Example

WIDEST = 100


def open_console() -> Console:
    """Standard output, at most as wide as lines stay readable."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    return console


def plain(text: str) -> str:
    """Text on one line, with every character that a terminal would obey written out."""
    from saywell.report.parts import visible

    return " ".join(visible(text).split())


def fitted(text: str, cells: int) -> str:
    """The text, or its beginning and an ellipsis, in so many columns."""
    from rich.cells import cell_len, set_cell_size

    shown = plain(text)
    if cell_len(shown) <= cells:
        return shown
    return set_cell_size(shown, max(0, cells - 1)).rstrip() + "…"


def marked(example: Example, console: Console, cells: int) -> Text:
    """One line of a sentence around its responsible part, which is marked: [so] or in reverse."""
    from rich.cells import cell_len
    from rich.text import Text

    text, (start, end) = example.text, example.span or (0, 0)
    left, right = ("", "") if console.is_terminal or end <= start else ("[", "]")
    before, span, after = (plain_part(part) for part in (text[:start], text[start:end], text[end:]))
    span = f"{left}{span[:60]}{right}"
    room = cells - cell_len(span)
    keep = max(room - cell_len(after), room // 2)
    if cell_len(before) > keep:
        cut = before[-max(1, keep - 1) :]
        before = "…" + cut
    line = Text(before)
    line.append(span, style="bold reverse" if console.is_terminal and end > start else "")
    line.append(after)
    line.truncate(cells, overflow="ellipsis")
    return line


def plain_part(text: str) -> str:
    """As `plain`, for a part of a sentence: spaces at its ends stay."""
    shown = plain(text)
    if not shown:
        return " " if text else ""
    return (" " if text[0].isspace() else "") + shown + (" " if text[-1].isspace() else "")
