"""The card of a unit as a part of a page: what it responds to, with the evidence for and against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from saywell.report.card import EXCERPT, Example, Reading, Sentence, Unit, Written
from saywell.report.formats import count, interval, level, rate, small, two
from saywell.report.latents import MOST_RELATIONS, RELATIONS, Relation, at_words, shown_token
from saywell.report.parts import Element, Part, Thumbnail, clip, el, said
from saywell.units.firing import REASONS

LEVELS = 5
MOST_DESCRIPTORS, MOST_SENTENCES = 8, 12
CSS = ("units.css", "cards.css", "drawings.css")
_FIRING = ("ok", "rare", "dense")
"""States of units of which it is known when they fire."""


@dataclass(frozen=True)
class Around:
    """What a page knows that a card does not: its pictures, and where its other cards are."""

    picture: Callable[[Example], Part | None] = lambda one: None
    """A small picture of an example; None where the page has none."""
    beside: Callable[[Sentence], Part | None] = lambda one: None
    """What stands behind a sentence about a class."""
    other: Part | None = None
    """What is said of the unit's other side."""
    link: Callable[[str], Part] = lambda unit: said(unit, 60)
    """The name of another unit, which leads to its card where the page has one."""
    rules: Sequence[str] = field(default_factory=tuple)
    """Rules whose scores of sentences are shown."""


def thumbnails(jpegs: Mapping[str, bytes]) -> Callable[[Example], Part | None]:
    """Pictures that stand inside the page; whatever does not begin like a JPEG is left out."""

    def picture(one: Example) -> Part | None:
        jpeg = jpegs.get(one.id, b"")
        return Thumbnail(jpeg, picture_words(one)) if jpeg.startswith(b"\xff\xd8\xff") else None

    return picture


def picture_words(one: Example) -> str:
    """What a picture is, for who cannot see it."""
    return f"image {clip(one.text or one.id, 60)}" + ("" if one.value is None else f", {level(one.value)}")


def unit_card(unit: Unit, around: Around) -> Element:
    """Everything there is on one unit."""
    parts: list[Part] = []
    if unit.hypothesis is not None:
        name = el("b", None, f"Hypothesis {unit.hypothesis.hypothesis}")
        parts.append(el("p", None, name, ": ", said(unit.hypothesis.sentence)))
        parts.append(el("p", {"class": "how"}, said(unit.hypothesis.certainty)))
    for one in unit.written:
        if len(unit.written) > 1:
            words = said(one.text or one.why_not, 300)
            parts.append(el("p", {"class": "written"}, el("b", None, said(one.describer, 60)), ": ", words))
        if one.score is not None and one.score.score is not None:
            parts.append(verdict_line(one, held_out(unit)))
        if one.at_words is not None and (words := at_words(one.at_words)):
            parts.append(el("p", {"class": "how"}, said(words, 600)))
    if unit.article is not None:
        parts.append(_article(unit.article))
    parts += _descriptor_table(unit)
    parts += _examples(unit, around)
    parts += _comparisons(unit, around)
    parts += _beside_others(unit, around)
    parts += _output_side(unit)
    parts += _sentence_tables(unit, around)
    parts += [*_level_line(unit), *_histogram(unit)]
    if around.other is not None:
        parts.append(el("p", {"class": "how"}, around.other))
    return el("div", {"class": "inside"}, *parts, needs=CSS)


def held_out(unit: Unit) -> str:
    """What its examples are called."""
    return "images" if unit.pictures else "sentences"


def summary_line(unit: Unit, first: Example | None, around: Around) -> Element:
    """What is seen of a card before it is opened: an example, or a few pictures."""
    if unit.pictures:
        shots = _shots((unit.proponents or unit.exemplars)[:6], around)
        return shots or el("span", {"class": "sentence"}, said(" ".join(unit.texts), 160))
    if first is None:
        return el("span", {"class": "none"}, "no sentence on which it fires")
    return sentence_line(first, unit)


def verdict_line(one: Written, of: str) -> Element:
    """A score with its best floor, its skill, and the verdict; `of` is what was held out."""
    score = one.score
    assert score is not None, "asked for where there is one"
    words = f"F1 {two(score.score)} ({interval(score.ci_low, score.ci_high)})"
    if score.skill is None:
        words += f": too few held-out {of} fire it for a test: "
    else:
        words += (
            f" on {count(score.n)} held-out {of}; its best floor, \u201c{score.floor}\u201d,"
            f" reaches {two(score.floor_score)}. Skill {two(score.skill)}"
            f" ({interval(score.skill_low, score.skill_high)}), q {small(score.q)}: "
        )
    return el("p", {"class": "verdict"}, words, el("b", None, score.verdict), ".", placing(score))


def placing(score: Reading) -> str:
    """How far a description points at what makes the unit respond; empty where nobody knows."""
    if score.localised is None:
        return ""
    between = interval(score.localised_low, score.localised_high)
    return (
        f" It points at the responsible words of a share of {two(score.localised)} ({between}) of"
        f" {count(score.localised_n)} texts, by chance of {two(score.by_chance)}."
    )


def _article(article: Mapping[str, object]) -> Element:
    words = str(article["status"])
    if words == "found":
        words = " ".join(str(article[name] or "") for name in ("title", "url", "revision")).strip()
    return el("p", {"class": "source"}, "Article: ", said(words, 300))


def _descriptor_table(unit: Unit) -> Iterator[Element]:
    found = unit.descriptors[:MOST_DESCRIPTORS]
    if found:
        rows = []
        for one in found:
            rule = ", ".join(name for name in ("enriched", "composed") if one[name])
            hits = f"{one['hits']} of {one['exemplars']}"
            rows.append((one["text"], hits, f"{one['lift'] or 0:.1f}", small(one["q"]), rule))
        yield _table(("descriptor", "hits", "lift", "q", "rule"), rows)


def _examples(unit: Unit, around: Around) -> Iterator[Part]:
    """Those that speak for it; of pictures those that speak against it stand beside them."""
    if unit.pictures:
        sides = [
            (title, shots)
            for title, found, valued in (
                ("Images that help it", unit.proponents, True),
                ("Strongest images", () if unit.proponents else unit.exemplars, True),
                ("Images that harm it", unit.opponents, True),
                ("Its words say so, and it does not respond", unit.silent, False),
                ("It responds, and its words do not say so", unit.unforeseen, False),
                ("For comparison, images that leave it alone", unit.contrasts, False),
            )
            if (shots := _shots(found, around, valued=valued)) is not None
        ]
        if sides:
            columns = (el("div", None, el("h3", {"class": "small"}, title), shots) for title, shots in sides)
            yield el("div", {"class": "sides"}, *columns)
            if any(one.region is not None for one in unit.exemplars):
                yield el("p", {"class": "how"}, "A box is around the place that responds most.")
    elif unit.exemplars:
        yield el("ol", {"class": "exemplars"}, *(_exemplar(one, unit) for one in unit.exemplars))
        if any(one.carries for one in unit.exemplars):
            yield el("p", {"class": "how"}, "● carries a descriptor of the description")
    else:
        yield el("p", {"class": "how"}, "No example on which it fires.")


def _shots(found: Iterable[Example], around: Around, *, valued: bool = True) -> Element | None:
    items = []
    for one in found:
        picture = shot(one, around.picture)
        if picture is not None:
            value = "" if one.value is None or not valued else f"{one.value:+.2g}"
            items.append(el("li", None, picture, value))
    return el("ul", {"class": "shots"}, *items, needs=CSS) if items else None


def shot(one: Example, picture: Callable[[Example], Part | None]) -> Element | None:
    """A small picture with the responsible part in a box; None where there is none."""
    found = picture(one)
    return None if found is None else el("span", {"class": "shot"}, found, *_box(one))


def _box(one: Example) -> Iterator[Element]:
    """The part of a picture that is responsible, drawn over it."""
    if one.region is not None:
        left, top, right, bottom = (100 * min(1.0, max(0.0, share)) for share in one.region)
        size = {"x": f"{left:.1f}", "y": f"{top:.1f}"}
        size |= {"width": f"{max(0.0, right - left):.1f}", "height": f"{max(0.0, bottom - top):.1f}"}
        whole = {"class": "region", "viewBox": "0 0 100 100", "preserveAspectRatio": "none"}
        yield el("svg", {**whole, "aria-hidden": "true"}, el("rect", size))


def _comparisons(unit: Unit, around: Around) -> Iterator[Element]:
    """What else a description can be held against: sentences, readers and floors, other meanings."""
    if not unit.pictures:
        for title, found in (
            ("It fires here, and the description does not say so", unit.unforeseen),
            ("The description says that it fires here, and it does not", unit.silent),
            ("For comparison, sentences on which it does not fire", unit.contrasts),
        ):
            if found:
                yield _folded(title, el("ol", {"class": "exemplars"}, *(_plain(one) for one in found)))
        for why, found in unit.near_misses.items():
            title = _NEAR_MISSES.get(why, f"Near misses: {why}")
            lines = (
                el("li", None, el("span", None), el("span", None), marked_sentence(one, "s1"))
                for one in found
            )
            yield _folded(title, el("ol", {"class": "exemplars"}, *lines))
    if unit.ranges:
        yield _folded("Over the whole range of its activation", el("div", None, *_ranges(unit, around)))
    if unit.meanings:
        head = ("part", "description", "exemplars", "F1", "over one description")
        yield _folded("Several meanings", _table(head, [_meaning(one) for one in unit.meanings]))
    readings = [(own, one) for own in unit.written for one in own.readings if one.floors]
    if readings:
        names = list(dict.fromkeys(floor for _, one in readings for floor in one.floors))
        several = len(unit.written) > 1
        rows = [
            (
                f"{own.describer}, read by {one.reader}" if several else one.reader,
                two(one.score),
                two(one.skill),
                *(two(one.floors.get(name)) for name in names),
            )
            for own, one in readings
        ]
        yield _folded("Every reader, every floor", _table(("reader", "F1", "skill", *names), rows))


_NEAR_MISSES = {
    "same token": "Near misses: the token at which it peaks is here, and it does not fire",
    "nearest": "Near misses: most like its exemplars, and it does not fire",
}


def _ranges(unit: Unit, around: Around) -> Iterator[Element]:
    """Some examples of each part of the range, the strongest first."""
    for low, high, examples in reversed(unit.ranges):
        yield el("h3", {"class": "small"}, f"{level(low)} to {level(high)}")
        if unit.pictures:
            yield _shots(examples, around) or el("p", {"class": "how"}, "No picture was kept.")
        else:
            yield el("ol", {"class": "exemplars"}, *(_exemplar(one, unit) for one in examples))


def _beside_others(unit: Unit, around: Around) -> Iterator[Element]:
    """How it stands to other units."""
    for relation, title in RELATIONS.items():
        found = [one for one in unit.latent.relations if one.relation == relation]
        if found:
            items = [_related(one, around) for one in found[:MOST_RELATIONS]]
            if len(found) > MOST_RELATIONS:
                items.append(el("li", None, f"and {count(len(found) - MOST_RELATIONS)} more"))
            yield el("p", {"class": "how"}, f"{title}:")
            yield el("ul", {"class": "related"}, *items)
    if unit.latent.absorbed:
        yield el("p", {"class": "how"}, said(unit.latent.absorbed, 600))


def _related(one: Relation, around: Around) -> Element:
    words = said(one.text, 120) if one.text else el("em", None, "no description")
    how = el("span", {"class": "source"}, f" – {one.words}")
    return el("li", None, around.link(one.other), ": ", words, how)


def _output_side(unit: Unit) -> Iterator[Element]:
    """Which tokens it promotes, and what holding it does."""
    for title, tokens in (("Promotes", unit.latent.promotes), ("Suppresses", unit.latent.suppresses)):
        if tokens:
            listed = (
                el("span", None, el("code", None, said(shown_token(token), 40)), f" {value:+.2f} ")
                for token, value in tokens
            )
            yield el("p", {"class": "tokens"}, el("b", None, f"{title} "), *listed)
    for words in unit.latent.effects:
        yield el("p", {"class": "how"}, said(words, 400))


def _meaning(one: Mapping[str, object]) -> tuple[str, ...]:
    number = lambda name: two(one[name])  # type: ignore[arg-type]  # noqa: E731
    return (
        "all together" if one["part"] == 0 else str(one["part"]),
        str(one["text"]),
        str(one["exemplars"]),
        number("value"),
        f"{number('difference')} ({interval(one['difference_low'], one['difference_high'])})",  # type: ignore[arg-type]
    )


def _sentence_tables(unit: Unit, around: Around) -> Iterator[Element]:
    """The sentences about a class, chosen and not, with what each rule says of them."""
    if not unit.sentences:
        return
    rules = [
        rule
        for rule in dict.fromkeys((unit.first.selection or "", *around.rules))
        if any(rule in one.scores for one in unit.sentences)
    ]
    chosen = [one for one in unit.sentences if one.chosen]
    others = [one for one in unit.sentences if not one.chosen]
    if unit.of_sentences:
        yield el("p", {"class": "how"}, unit.of_sentences, ". ", el("span", None, _MEANING))
    if chosen:
        by = f"Chosen by {unit.first.selection}" if unit.first.selection else "Chosen"
        yield _sentences(by, chosen, rules, around)
    else:
        yield el("p", {"class": "how"}, "No text was chosen for this class.")
    if others:
        table = _sentences("Not chosen", others[:MOST_SENTENCES], rules, around)
        more = len(others) - MOST_SENTENCES
        rest = [el("p", {"class": "how"}, f"and {count(more)} more")] if more > 0 else []
        yield el("details", None, el("summary", None, f"{count(len(others))} not chosen"), table, *rest)


_MEANING = (
    "Alone: F1 of a reader who sees this sentence and no other, class names masked, and its best floor (a"
    " sentence of another class, a constant answer). One that is not verified may be true, and of other"
    " classes too; of two at odds (≠) one seems to say what the other excludes."
)


def _alone(one: Sentence) -> Element:
    """The verdict on a sentence, with what it goes by."""
    if one.score is None:
        return el("td", {"class": "alone"}, "–")
    kind = "v v-verified" if one.verified else "v v-not"
    numbers = f" {two(one.score.score)}, floor {two(one.score.floor_score)}"
    return el("td", {"class": "alone"}, el("span", {"class": kind}, one.score.verdict), numbers)


def _against(one: Sentence, words: Mapping[str, str]) -> Iterator[Part]:
    """The sentences that seem to contradict one."""
    for other, kind in one.contradicts.items():
        told = said(f"at odds ({kind}): “{words.get(other, other)}”", 260)
        yield el("br")
        yield el("span", {"class": "against"}, "≠ ", told)
    if one.repeats is not None:
        yield el("br")
        yield el("span", {"class": "source"}, said(f"says the same as “{one.repeats}”", 260))


def _sentences(title: str, rows: Sequence[Sentence], rules: Sequence[str], around: Around) -> Element:
    body = []
    text_of = {one.id: one.text or "" for one in rows}
    asked = any(one.score is not None for one in rows)
    for one in rows:
        source = f"“{one.quotation or ''}”" if one.status == "grounded" else one.status
        about = f"{one.component}: " if one.component else ""
        verdict = {True: " ✓ good", False: " ✗ not good", None: ""}[one.gold]
        words = said(one.text or "–", 300)
        source = el("span", {"class": "source"}, said(about + source, 260), verdict)
        beside = around.beside(one)
        scores = ((rule, one.scores.get(rule)) for rule in rules)
        body.append(
            el(
                "tr",
                None,
                el("td", {"class": "said"}, words, *_against(one, text_of), el("br"), source),
                *([_alone(one)] if asked else []),
                *(
                    el("td", {"class": "n", "data-name": rule}, "–" if score is None else f"{score:.3g}")
                    for rule, score in scores
                ),
                *([] if beside is None else [el("td", None, beside)]),
            )
        )
    alone = [el("th", {"scope": "col"}, "alone")] if asked else []
    head = [
        el("th", {"scope": "col"}, title),
        *alone,
        *(el("th", {"scope": "col", "class": "n"}, r) for r in rules),
    ]
    if any(around.beside(one) is not None for one in rows):
        head.append(el("th", {"scope": "col"}, "people"))
    table = el(
        "table", {"class": "texts"}, el("thead", None, el("tr", None, *head)), el("tbody", None, *body)
    )
    return el("div", {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": title}, table)


def _folded(title: str, inside: Element) -> Element:
    scroll = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": title}
    return el("details", {"class": "more"}, el("summary", None, title), el("div", scroll, inside))


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Element:
    return el(
        "table",
        {"class": "tight"},
        el("thead", None, el("tr", None, *(el("th", {"scope": "col"}, name) for name in head))),
        el(
            "tbody",
            None,
            *(
                el(
                    "tr",
                    None,
                    el("th", {"scope": "row"}, said(first, 80)),
                    *(el("td", {"class": "n"}, said(cell, 160)) for cell in rest),
                )
                for first, *rest in rows
            ),
        ),
    )


def _exemplar(one: Example, unit: Unit) -> Element:
    carries = [
        el("span", {"aria-hidden": "true"}, "●"),
        el("span", {"class": "unseen"}, "carries a descriptor"),
    ]
    return el(
        "li",
        None,
        el("span", {"class": "n"}, "" if one.value is None else level(one.value)),
        el("span", {"class": "dot"}, *(carries if one.carries else [])),
        sentence_line(one, unit),
    )


def _plain(one: Example) -> Element:
    return el(
        "li",
        None,
        el("span", {"class": "n"}, "" if one.value is None else level(one.value)),
        el("span", {"class": "dot"}, ""),
        el("bdi", {"class": "sentence"}, clip(one.text, 200)),
    )


def sentence_line(one: Example, unit: Unit) -> Element:
    """The sentence, cut around its span, and the span shaded by how strong it is."""
    values = [unit.sign * other.value for other in unit.exemplars if other.value is not None]
    if one.value is None or not values:
        return marked_sentence(one, f"s{LEVELS}")
    top = max(values)
    base = min(unit.row.get("threshold") or 0.0, top)
    share = (unit.sign * one.value - base) / (top - base) if top > base else 1.0
    return marked_sentence(one, f"s{1 + round(max(0.0, min(1.0, share)) * (LEVELS - 1))}")


def marked_sentence(example: Example, shade: str) -> Element:
    """A sentence, cut around its responsible part, which is marked where there is one."""
    shown = example.cut(EXCERPT)
    if shown.span is None:
        return el("bdi", {"class": "sentence"}, shown.text)
    start, end = shown.span
    mark = el("mark", {"class": shade}, shown.text[start:end])
    return el("bdi", {"class": "sentence"}, shown.text[:start], mark, shown.text[end:])


def _level_line(unit: Unit) -> Iterator[Element]:
    """From which value on a unit fires, how often that is, and which module it belongs to."""
    row, sign = unit.row, unit.sign
    if any(row.get(name) is None for name in ("state", "threshold", "fires", "mean", "std")):
        return
    if row["state"] != "ok":
        why = REASONS.get(row["state"], f"its state is {row['state']}")
        yield el("p", {"class": "how"}, f"Not described: {why}.")
    if row["state"] not in _FIRING:
        return
    # A module's path; of a unit that has none its own name, which stands above.
    module = (
        [" Module ", el("code", None, said(row["name"], 120)), "."]
        if row["name"] not in (None, unit.id)
        else []
    )
    at = level(sign * row["threshold"])
    above = (
        f"{'at or above' if sign > 0 else 'at or below'} {at}"
        if not 0 < row["threshold"] < _LEAST
        else "above 0"
    )
    tokens = "" if unit.density is None else f"on {rate(unit.density)} of all tokens, "
    yield el(
        "p",
        {"class": "how"},
        f"Fires {above}, {tokens}on {rate(row['fires'])} of the {held_out(unit)} that it was described"
        f" from; mean {level(sign * row['mean'])}, standard deviation {level(row['std'])}.",
        *module,
    )


_LEAST = 1e-30
"""A threshold below it is the least number above 0."""


def _histogram(unit: Unit) -> Iterator[Element]:
    """How often a unit gives which value; what fires is dark. Heights are square roots of counts."""
    row, counts = unit.row, unit.row.get("histogram") or []
    low, high, threshold = (row.get(name) for name in ("minimum", "maximum", "threshold"))
    if not counts or not any(counts) or low is None or high is None or high <= low:
        return
    top, width = max(counts) ** 0.5, 160 / len(counts)
    bars: list[Part] = []
    for step, number in enumerate(counts):
        tall = 30 * number**0.5 / top
        fires = threshold is not None and low + (step + 1) * (high - low) / len(counts) > threshold
        at = {"x": f"{step * width:.1f}", "y": f"{30 - tall:.1f}"}
        size = {"width": f"{width - 1:.1f}", "height": f"{tall:.1f}"}
        bars.append(el("rect", {"class": "hf" if fires else "hs", **at, **size}))
    ends = f"from {level(unit.sign * low)} to {level(unit.sign * high)}"
    label = f"Histogram of its values, {ends}; the dark part fires"
    box = {"class": "hist", "viewBox": "0 0 160 30", "role": "img", "aria-label": label}
    words = f" values {ends}, heights as square roots; the dark part fires"
    yield el("p", {"class": "how"}, el("svg", box, *bars), words)


def score_bar(value: float | None, low: float | None, high: float | None, control: float | None) -> Element:
    """A bar from 0 to 1: interval, value as a dot, control as a tick. Empty without a value."""
    if value is None:
        return el("span", None, "")

    def at(share: float) -> str:
        return f"{1 + 98 * min(1.0, max(0.0, share)):.1f}"

    shapes: list[Part] = [el("path", {"class": "t", "d": "M1 6h98"})]
    if low is not None and high is not None:
        shapes.append(el("path", {"class": "i", "d": f"M{at(low)} 6H{at(high)}"}))
    if control is not None:
        shapes.append(el("path", {"class": "c", "d": f"M{at(control)} 1v10"}))
    shapes.append(el("circle", {"class": "p", "cx": at(value), "cy": "6", "r": "2.6"}))
    return el("svg", {"class": "sb", "viewBox": "0 0 100 12", "aria-hidden": "true"}, *shapes)
