"""Small frozen parts that render to HTML, and the page that holds them.

Text becomes markup in one place, `escape`. An `Element` refuses whatever could run code or reach
the network, so a part cannot be unsafe by accident. Style sheets and scripts are files in `assets`
that parts name; a page writes each of them once and allows these by hash and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Protocol
from xml.etree import ElementTree

_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
# Overrides turn the letters after them around ("gpj.exe"); every other bidi character is harmless
# inside an isolate.
_OVERRIDES = "\u202d\u202e"
_INVISIBLE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff{_OVERRIDES}]")
_VOID = frozenset({"br", "hr", "input", "meta"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _words("""
    a abbr article aside b bdi br button caption circle code dd details div dl dt em figcaption
    figure footer h1 h2 h3 h4 header hr input label legend li main mark nav ol option p path rect
    section select small span strong sub summary sup svg table tbody td th thead time title tr ul
""")
_SVG_TAGS = _words("svg g path rect line circle text tspan")
_SVG_ATTRIBUTES = _words("""
    d x y x1 x2 y1 y2 cx cy r width height viewBox transform fill stroke opacity fill-opacity
    stroke-opacity stroke-width stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin
    stroke-miterlimit font-size font-weight font-style text-anchor
""")


class Part(Protocol):
    """Whatever can stand in a page."""

    def html(self) -> str:
        """The part as markup."""
        ...

    def assets(self) -> Iterator[str]:
        """Names of the style sheets and scripts that it needs, its children's included."""
        ...


def visible(text: str) -> str:
    """The text with control characters, lone surrogates and bidi overrides made visible."""
    return _INVISIBLE.sub(_shown, text)


def escape(text: str) -> str:
    """Text as markup, for elements and for quoted attributes."""
    return re.sub("[&<>\"']", lambda found: _MARKUP[found[0]], visible(text))


def clip(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return f"[U+{code:04X}]" if found[0] in _OVERRIDES else "\ufffd"


@dataclass(frozen=True)
class Text:
    """Words. Everything that a reader reads, ours or not, passes through here."""

    text: str

    def html(self) -> str:
        """The words, escaped."""
        return escape(self.text)

    def assets(self) -> Iterator[str]:
        """None."""
        yield from ()


@dataclass(frozen=True)
class Element:
    """An HTML or SVG element. Attributes that are True stand bare, those that are False are left out.

    Raises ValueError for tags and attributes that could run code, load something or leave the page.
    """

    tag: str
    attributes: Mapping[str, str | bool] = field(default_factory=dict)
    children: tuple[Part, ...] = ()
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tag not in _TAGS:
            raise ValueError(f"a page has no element {self.tag!r}")
        for name, value in self.attributes.items():
            if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9-]*", name):
                raise ValueError(f"{name!r} is not the name of an attribute")
            if name.lower().startswith("on") or name.lower() in {"style", "src", "srcdoc", "action"}:
                raise ValueError(f"the attribute {name!r} is not allowed in a page")
            if name.lower() == "href" and not str(value).startswith("#"):
                raise ValueError(f"a link stays in the page and starts with '#'; got {value!r}")

    def html(self) -> str:
        """The element and what is in it."""
        shown = "".join(
            f" {name}" if value is True else f' {name}="{escape(value)}"'
            for name, value in self.attributes.items()
            if value is not False
        )
        if self.tag in _VOID:
            return f"<{self.tag}{shown}>"
        inner = "".join(child.html() for child in self.children)
        return f"<{self.tag}{shown}>{inner}</{self.tag}>"

    def assets(self) -> Iterator[str]:
        """Its own, then its children's."""
        yield from self.needs
        for child in self.children:
            yield from child.assets()


@dataclass(frozen=True)
class Drawing:
    """An SVG picture made elsewhere: shapes and words are kept, anything else is dropped.

    `label` says in words what it shows. Raises ValueError when `svg` is not an SVG document.
    """

    svg: str
    label: str
    classes: str = ""

    def html(self) -> str:
        """The picture with nothing in it but shapes and words."""
        try:
            root = ElementTree.fromstring(self.svg)
        except ElementTree.ParseError as error:
            raise ValueError(f"not an SVG document: {error}") from error
        if _local(root.tag) != "svg":
            raise ValueError(f"not an SVG document: its root is {root.tag!r}")
        inner = "".join(_drawn(child) for child in root)
        box = f'viewBox="{escape(root.get("viewBox", ""))}" width="{escape(root.get("width", ""))}"'
        return (
            f'<svg class="drawing {escape(self.classes)}" role="img"'
            f' aria-label="{escape(self.label)}" {box}>{inner}</svg>'
        )

    def assets(self) -> Iterator[str]:
        """The style sheet of drawings."""
        yield "drawings.css"


@dataclass(frozen=True)
class Thumbnail:
    """A small JPEG inside the page; anything that does not begin like one is refused."""

    jpeg: bytes
    words: str

    def __post_init__(self) -> None:
        if not self.jpeg.startswith(b"\xff\xd8\xff"):
            raise ValueError(f"a thumbnail is a JPEG; these bytes begin with {self.jpeg[:3]!r}")

    def html(self) -> str:
        """The picture as a data address, which needs no network."""
        data = base64.b64encode(self.jpeg).decode("ascii")
        return f'<img alt="{escape(self.words)}" src="data:image/jpeg;base64,{data}">'

    def assets(self) -> Iterator[str]:
        """None."""
        yield from ()


def _drawn(node: ElementTree.Element) -> str:
    tag = _local(node.tag)
    if tag not in _SVG_TAGS or node.get("display") == "none":
        return ""
    inner = escape(node.text or "") if tag in ("text", "tspan") else ""
    inner += "".join(_drawn(child) for child in node)
    if not inner and (tag in ("g", "text") or (tag == "path" and not node.get("d"))):
        return ""
    kept = {name: value for name, value in node.attrib.items() if name in _SVG_ATTRIBUTES}
    kept = {name: value for name, value in kept.items() if "url(" not in value}
    if tag == "g" and not kept:
        return inner
    shown = "".join(f' {name}="{escape(value)}"' for name, value in kept.items())
    return f"<{tag}{shown}>{inner}</{tag}>"


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def el(
    tag: str,
    attributes: Mapping[str, str | bool] | None = None,
    *children: Part | str,
    needs: tuple[str, ...] = (),
) -> Element:
    """An element; strings among its children are words."""
    parts = tuple(Text(child) if isinstance(child, str) else child for child in children)
    return Element(tag, attributes or {}, parts, needs)


def said(text: str, most: int | None = None) -> Element:
    """Words that are not ours (data, replies), kept from turning the words around them."""
    return el("bdi", None, text if most is None else clip(text, most))


@dataclass(frozen=True)
class Rendered:
    """A part that was rendered already, so that its size is known and it is not rendered again."""

    markup: str
    needs: tuple[str, ...]

    @classmethod
    def of(cls, part: Part) -> Rendered:
        """Render a part."""
        return cls(part.html(), tuple(dict.fromkeys(part.assets())))

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return len(self.markup.encode())

    def html(self) -> str:
        """The markup."""
        return self.markup

    def assets(self) -> Iterator[str]:
        """What the part needed."""
        yield from self.needs


def attempt(title: str, make: Callable[[], Part | None]) -> Rendered | None:
    """What `make` returns, rendered; where that fails, a visible box that says so.

    One broken table must not lose the page; the traceback goes to the terminal as a warning.
    """
    try:
        part = make()
        return None if part is None else Rendered.of(part)
    except Exception as error:
        warnings.warn(
            f"the report's section {title!r} failed:\n{traceback.format_exc()}", RuntimeWarning, stacklevel=2
        )
        box = el(
            "section",
            {"class": "failed", "role": "alert"},
            el("h2", None, title),
            el(
                "p",
                None,
                "This section could not be drawn. ",
                el("code", None, type(error).__name__),
                " ",
                said(str(error), 400),
            ),
        )
        return Rendered.of(box)


@dataclass(frozen=True)
class Page:
    """A whole document in one file, which loads nothing and sends nothing."""

    title: str
    body: tuple[Part, ...]
    needs: tuple[str, ...] = ("page.css", "page.js")

    def html(self) -> str:
        """The document."""
        body = "".join(part.html() for part in self.body)
        names = [*self.needs, *(name for part in self.body for name in part.assets())]
        styles, scripts = [], []
        for name in dict.fromkeys(names):
            (styles if name.endswith(".css") else scripts).append(_asset(name))
        policy = (
            f"default-src 'none'; style-src {_hashes(styles)}; script-src {_hashes(scripts)};"
            " img-src data:; base-uri 'none'; form-action 'none'"
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            '<meta name="referrer" content="no-referrer">\n'
            f"<title>{escape(self.title)}</title>\n"
            + "".join(f"<style>{text}</style>\n" for text in styles)
            + f"</head>\n<body>\n{body}\n"
            + "".join(f"<script>{text}</script>\n" for text in scripts)
            + "</body>\n</html>\n"
        )


def _asset(name: str) -> str:
    return (files("saywell.report") / "assets" / name).read_text(encoding="utf-8")


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests) or "'none'"
