"""From the HTML of an article to its prose, with headings kept as lines '== Heading =='."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from saywell.data.words import word_set

# What stands in an article but is no part of what it says.
_DROPPED_TAGS = word_set(
    "audio button canvas figcaption figure form head iframe img input link math meta nav "
    "noscript object script select style svg table template textarea title video"
)
_DROPPED_CLASSES = word_set(
    "ambox hatnote infobox metadata mw-editsection mw-empty-elt navbox noprint reference "
    "references reflist shortdescription sidebar sistersitebox thumb toc gallery "
    "mw-references-wrap catlinks error"
)
_HEADINGS = {"h1": "=", "h2": "==", "h3": "===", "h4": "====", "h5": "=====", "h6": "======"}
_BLOCKS = word_set(
    "address article aside blockquote body br center dd div dl dt footer header hr html li main"
    " ol p pre section ul"
)
_LAST_SECTIONS = word_set(
    "references|notes|external links|see also|further "
    "reading|bibliography|sources|citations|footnotes|gallery|einzelnachweise|weblinks|literatur|siehe"
    " auch|références|voir aussi|liens externes|notes et références|referencias|enlaces "
    "externos|véase también",
    "|",
)
_HEADING = re.compile(r"(=+) (.*) \1")


def html_to_text(html: str) -> str:
    """The prose of an HTML page: paragraphs and list items apart by blank lines, nothing hidden.

    Tables, pictures, references, navigation, notes above the article and its closing sections
    (references, links) are left out. Broken HTML is read as browsers do.
    """
    return plain_text(_without_closing(_lines(parse_html(html))))


def parse_html(html: str) -> Any:
    """The root element of a page or a piece of one, read as browsers read broken HTML."""
    import lxml.html

    # As bytes, since lxml refuses a str that declares an encoding; NUL would end the document, and
    # an element around it keeps it from being empty.
    data = f"<div>{html.replace(chr(0), '')}</div>".encode("utf-8", "replace")
    return lxml.html.fromstring(data, parser=lxml.html.HTMLParser(encoding="utf-8"))


def plain_text(text: str) -> str:
    """The text in NFC: no control characters, one space for each run, a blank line between paragraphs."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\u200b\ufeff]", "", text)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return "\n\n".join(part for part in paragraphs if part)


def _lines(root: Any) -> str:
    """The text in document order. A walk without recursion: hostile pages nest without end."""
    pieces: list[str] = []
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        if isinstance(node, str):
            pieces.append(re.sub(r"\s+", " ", node))
            continue
        tag = node.tag if isinstance(node.tag, str) else None
        if leaving:
            pieces.append(f" {_HEADINGS[tag]}\n\n" if tag in _HEADINGS else "\n\n")
            continue
        if tag is None or _dropped(node, tag):
            continue
        if tag in _HEADINGS:
            pieces.append(f"\n\n{_HEADINGS[tag]} ")
        elif tag in _BLOCKS:
            pieces.append("\n\n")
        if tag in _HEADINGS or tag in _BLOCKS:
            stack.append((node, True))
        below: list[Any] = [node.text] if node.text else []
        for child in node:
            below.append(child)
            if child.tail:
                below.append(child.tail)
        stack.extend((child, False) for child in reversed(below))
    return "".join(pieces)


def _dropped(node: Any, tag: str) -> bool:
    if tag in _DROPPED_TAGS or not _DROPPED_CLASSES.isdisjoint((node.get("class") or "").split()):
        return True
    style = (node.get("style") or "").replace(" ", "").lower()
    return "display:none" in style or node.get("hidden") is not None


def _without_closing(text: str) -> str:
    kept, skipping = [], 0
    for paragraph in plain_text(text).split("\n\n"):
        heading = _HEADING.fullmatch(paragraph)
        if heading:
            level = len(heading[1])
            if skipping and level <= skipping:
                skipping = 0
            if not skipping and heading[2].strip().lower() in _LAST_SECTIONS:
                skipping = level
        if not skipping and not (heading and not heading[2].strip()):
            kept.append(paragraph)
    return "\n\n".join(kept)
