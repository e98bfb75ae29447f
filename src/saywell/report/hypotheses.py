"""Hypotheses on a page: what was found in plain sentences, then what a sceptic asks about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from saywell.report.card import EXCERPT, Example, Rows, shown_words
from saywell.report.formats import NONE, count, interval, joined, small, two
from saywell.report.hypothesis_words import (
    NOT_APART,
    TOO_FEW,
    Hypothesis,
    hypotheses_of,
    in_short,
    percent,
    size,
    subject,
)
from saywell.report.parts import Element, Part, el, said
from saywell.report.tables import ASKED
from saywell.report.unit_cards import marked_sentence, score_bar
from saywell.scorers.intervals import share_interval

NEEDS = ("hypotheses.css", "drawings.css", "units.css", "best.css")
MOST, _FEWEST = 20, 3
"""Hypotheses that are shown at once, of each outcome some; the others are folded."""
_MOST_ROWS, _OPEN_ROWS = 200, 12
_FOUND_BY = {
    "claims": "claims",
    "latents": "latents",
    "topics": "topics",
    "llm": "proposals of a language model",
}
_MODELS = {
    "verified": "the verified hypotheses together",
    "tested": "all tested hypotheses together",
    "probe": "a linear probe on the vectors of the texts",
    "length": "length alone",
    "covariates": "covariates alone",
}
Link = Callable[[Hypothesis], Part | None]
"""Where else there is more on a hypothesis."""


@dataclass(frozen=True)
class Shown:
    """A held-out text that speaks for or against a hypothesis."""

    example: Example
    """Its value is the outcome, as a number."""
    other: str | None
    """The text that it was held against, of pairs."""


class Findings:
    """What a study says of hypotheses; each table is read once, when it is asked for."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @cached_property
    def all(self) -> list[Hypothesis]:
        """Every hypothesis that was put to the test, best first."""
        return hypotheses_of(self.rows)

    @cached_property
    def repeated(self) -> Mapping[str, list[Hypothesis]]:
        """By hypothesis those that say it again."""
        found: dict[str, list[Hypothesis]] = {}
        for one in self.all:
            found.setdefault(one.repeats, []).append(one)
        return found

    def shown(self, sought: str = "") -> list[Hypothesis]:
        """Those of them that are verified and repeat no other."""
        return [one for one in self.said(sought) if one.verified and not one.repeats]

    def said(self, sought: str) -> list[Hypothesis]:
        """Those in whose words or texts it stands, whatever came of them."""
        return [one for one in self.all if self.says(one, sought)]

    def named(self, hypothesis: str) -> str:
        """Which texts a hypothesis is about, by its number."""
        return next((one.subject for one in self.all if one.hypothesis == hypothesis), hypothesis)

    @cached_property
    def evidence(self) -> Mapping[tuple[str, str], list[Shown]]:
        """Texts by hypothesis and side ("for", "against")."""
        table = self.table("evidence")
        if table.is_empty():
            return {}
        named = pl.concat([table["example"], table["other"].drop_nulls()]).unique().to_list()
        words = dict(shown_words(self.rows, named).iter_rows())
        found: dict[tuple[str, str], list[Shown]] = {}
        for row in table.sort("rank", maintain_order=True).iter_rows(named=True):
            ends = (row["span_start"], row["span_end"])
            example = Example(
                row["example"], words.get(row["example"], ""), row["value"], None if None in ends else ends
            )
            other = None if row["other"] is None else words.get(row["other"], "")
            found.setdefault((row["hypothesis"], row["side"]), []).append(Shown(example, other))
        return found

    def table(self, name: str) -> pl.DataFrame:
        """One of its tables; empty where the study has none."""
        return self.rows.where(name, "", None) if self.rows.has(name) else ASKED[name].empty()

    def says(self, one: Hypothesis, sought: str) -> bool:
        """Whether all the words stand in its sentence or its texts."""
        seen = (
            shown for side in ("for", "against") for shown in self.evidence.get((one.hypothesis, side), ())
        )
        said = " ".join(
            [one.sentence, one.text, one.outcome, *(shown.example.text for shown in seen)]
        ).casefold()
        return all(word in said for word in sought.casefold().split())


def opening(findings: Findings, link: Link = lambda one: None, sought: str = "") -> Element:
    """What goes with what, in sentences, with texts for and against; and how much of it could be chance.

    With `sought` those in whose words or texts it stands.
    """
    shown = findings.shown(sought)
    parts: list[Part] = [el("p", {"class": "lede"}, said(in_short(findings.all)))]
    parts += _cards(findings, shown, link)
    lines = [*chance(findings), *powers(findings), *([_goes_with(shown[0])] if shown else [])]
    parts += [el("p", {"class": "how"}, line) for line in lines]
    return el(
        "section",
        {"class": "hypotheses", "aria-labelledby": "h-hypotheses"},
        el("h2", {"id": "h-hypotheses", "class": "unseen"}, "What goes with it"),
        *parts,
        needs=NEEDS,
    )


def _goes_with(one: Hypothesis) -> str:
    """What a difference is not."""
    equal = ", with what was named held equal," if one.covariates else ""
    return (
        f"What goes with something need not be its cause: these are differences between texts{equal} and not"
        " what would happen if a text were changed."
    )


def hypothesis_tiles(findings: Findings) -> list[tuple[str, str, str]]:
    """How many could be hypotheses, were put to the test, and held: number, name, more."""
    own = [one for one in findings.all if not one.repeats]
    verified, surely = (sum(getattr(one, name) for one in own) for name in ("verified", "surely"))
    candidates = findings.table("statements").height
    searched = [(count(candidates), "candidates", "found and chosen on other texts")] if candidates else []
    again = sum(one.verified for one in findings.all) - verified
    more = f"; {count(again)} more say the same again" if again else ""
    return [
        *searched,
        (count(len(findings.all)), "put to the test", "once, on held-out texts"),
        (count(verified), "verified", f"{count(surely)} of them after Bonferroni, too{more}"),
    ]


def _cards(findings: Findings, shown: Sequence[Hypothesis], link: Link) -> Iterator[Part]:
    """By outcome, a list."""
    outcomes = list(dict.fromkeys(one.outcome for one in shown))
    most = max(_FEWEST, MOST // max(1, len(outcomes)))
    for outcome in outcomes:
        own = [one for one in shown if one.outcome == outcome]
        heading = "h4" if outcomes[1:] else "h3"
        if outcomes[1:]:
            yield el("h3", {"class": "outcome"}, said(outcome, 80))
        span = _span(own)
        cards = [_card(findings, one, span, link, heading) for one in own]
        yield el("ol", {"class": "findings"}, *cards[:most])
        if rest := cards[most:]:
            more = el("ol", {"class": "findings"}, *rest)
            yield el("details", {"class": "more"}, el("summary", None, f"{count(len(rest))} more"), more)


def _card(findings: Findings, one: Hypothesis, span: float, link: Link, heading: str) -> Element:
    """One hypothesis: the sentence, its interval, and texts that speak for it and against it."""
    beside = link(one)
    facts = [one.means, f"{one.hypothesis}, found among {_FOUND_BY.get(one.found_by, one.found_by)}"]
    again = [other for other in findings.repeated.get(one.hypothesis, []) if other.verified]
    parts: list[Part] = [
        el(heading, None, said(one.sentence)),
        effect_bar(one, span),
        el(
            "p",
            {"class": "source"},
            said(" · ".join(filter(None, facts))),
            *([" · ", beside] if beside else []),
        ),
    ]
    parts += _texts(findings, one)
    if again:
        words = said("; ".join(other.subject for other in again), 600)
        parts.append(el("p", {"class": "source"}, "Says much the same, or part of it: ", words, "."))
    return el("li", {"id": one.hypothesis}, *parts)


def _texts(findings: Findings, one: Hypothesis) -> Iterator[Part]:
    """One text that speaks for it, and behind a fold the others, and those against it."""
    speaking = findings.evidence.get((one.hypothesis, "for"), [])
    against, more = findings.evidence.get((one.hypothesis, "against"), []), speaking[1:]
    if speaking:
        yield el("ul", {"class": "texts-for"}, _text(speaking[0], one))
    if more or against:
        told = [f"{len(more)} more" * bool(more), f"{len(against)} against it" * bool(against)]
        sides = [el("ul", {"class": "texts-for"}, *(_text(shown, one) for shown in more))] if more else []
        if against:
            sides.append(el("p", {"class": "small"}, "Against it:"))
            sides.append(el("ul", {"class": "texts-against"}, *(_text(shown, one) for shown in against)))
        yield el("details", {"class": "more"}, el("summary", None, joined([t for t in told if t])), *sides)


def _text(shown: Shown, one: Hypothesis) -> Element:
    value = el("b", {"class": "value"}, said(one.told(shown.example.value), 60))
    parts: list[Part | str] = [value, " ", marked_sentence(shown.example, "s3")]
    if shown.other is not None:
        than = " over " if (shown.example.value or 0) > 0.5 else " but "
        parts += [el("span", {"class": "than"}, than), said(shown.other, EXCERPT)]
    return el("li", None, *parts)


def _span(own: Sequence[Hypothesis]) -> float:
    """How far an axis has to go, either way, for the intervals of all that had texts enough."""
    enough = [one for one in own if one.status not in (TOO_FEW, NOT_APART)]
    ends = [abs(end) for one in enough for end in (one.ci_low, one.ci_high) if end is not None]
    return max(ends, default=1.0) or 1.0


def effect_bar(one: Hypothesis, span: float) -> Element:
    """The effect and its interval left or right of nothing; hollow: without covariates."""
    if one.effect is None:
        return el("span", None, "")

    def at(value: float) -> str:
        return f"{100 + 96 * min(1.0, max(-1.0, value / span)):.1f}"

    shapes: list[Part] = [
        el("path", {"class": "t", "d": "M2 6h196"}),
        el("path", {"class": "z", "d": "M100 0v12"}),
    ]
    if one.ci_low is not None and one.ci_high is not None:
        shapes.append(el("path", {"class": "i", "d": f"M{at(one.ci_low)} 6H{at(one.ci_high)}"}))
    hollow = one.effect_alone if one.covariates else one.at_length
    if hollow is not None:
        shapes.append(el("circle", {"class": "a", "cx": at(hollow), "cy": "6", "r": "3"}))
    shapes.append(el("circle", {"class": "p", "cx": at(one.effect), "cy": "6", "r": "3"}))
    return el("svg", {"class": "sb effect", "viewBox": "0 0 200 12", "aria-hidden": "true"}, *shapes)


def chance(findings: Findings) -> Iterator[str]:
    """What the same search finds where there is nothing to find, in a sentence."""
    table = findings.table("shuffled_targets")
    if table.is_empty():
        return
    found, of = int((table["verified"] > 0).sum()), table.height
    times = "once" if of == 1 else f"{count(of)} times"
    what = "the favourites" if findings.all and findings.all[0].pairs else "the outcome"
    yield (
        f"Could it be chance? The whole search was run again {times} with {what} dealt out anew,"
        f" with nothing to find: {_found(found, int(table['verified'].sum()))}"
    )


def _found(searches: int, hypotheses: int) -> str:
    if not searches:
        return "none of these searches found anything."
    things = "hypothesis" if hypotheses == 1 else "hypotheses"
    return f"{count(searches)} of these searches found something, {count(hypotheses)} {things} in all."


def powers(findings: Findings) -> Iterator[str]:
    """How small a difference could have been seen, in a sentence; of several outcomes that of the largest."""
    items = "pairs" if findings.all and findings.all[0].pairs else "texts"
    found = findings.table("power").sort("share").partition_by("outcome", maintain_order=True)
    if not found:
        return
    # What could not be found at all comes before what is large.
    own = max(found, key=lambda rows: rows["detectable"].fill_null(float("inf")).sum())
    rows, outcome = own.to_dicts(), own["outcome"][0]
    # Studies made before `power` had units have them where hypotheses were tested.
    units = {one.outcome: one.unit_of_effect for one in findings.all}
    unit, middle = rows[0].get("unit_of_effect", units.get(outcome)) or "", rows[len(rows) // 2]
    unseen = [_true_of(row) for row in rows if row["detectable"] is None]
    seen = [
        f"{size(row['detectable'], unit)} in {_true_of(row)}" for row in rows if row["detectable"] is not None
    ]
    told = [f"a difference of {joined([f'{seen[0]} of them', *seen[1:]])}"] if seen else []
    told += [f"none, however large, in {joined(unseen)}"] if unseen else []
    few = middle["detectable"] is None or middle["detectable"] > _FEW * middle["effect"]
    held, beside = f"{count(middle['n'])} {items}", "; the others need fewer" if found[1:] else ""
    about = (
        f"{held} are too few to say {'much' if seen else 'anything'}"
        if few
        else "What could have been missed"
    )
    yield (
        f"{about} ({outcome}{beside}): in four studies of five, {held} show {', and '.join(told)}."
        f" One of {size(middle['effect'], unit)} in"
        f" {_true_of(middle)} would take about {count(middle['needed'])}."
    )


def _true_of(row: Mapping[str, Any]) -> str:
    return f"what is true of {percent(row['share'])}"


_FEW = 2.001
"""Times the smaller effect that is asked about, at most half of the outcome's spread: more can hardly be."""


def tested_section(findings: Findings, sought: str = "") -> Element | None:
    """Every hypothesis that was put to the test, and how sure each verdict is; with `sought`, some."""
    if not findings.all:
        return None
    own = [one for one in findings.all if not one.repeats]
    verified, surely = (sum(getattr(one, name) for one in own) for name in ("verified", "surely"))
    repeated = len(findings.all) - len(own)
    about = [
        f"Put to the test once, on held-out texts: {count(len(findings.all))}. Verified, with q at most 0.05"
        " (of all verified ones at most one in twenty is expected to be false) and in the direction that was"
        f" found: {count(verified)}. Of these also after Bonferroni (one chance in twenty that any is false):"
        f" {count(surely)}."
    ]
    if repeated:
        about.append(f"Not counted, since they say again what another says: {count(repeated)}.")
    about += _searched(findings)
    return _section(
        "tested", "What was put to the test", " ".join(about), _tested_table(findings.said(sought))
    )


def _searched(findings: Findings) -> Iterator[str]:
    table = findings.table("statements")
    if table.is_empty():
        return
    by = table["found_by"].value_counts(sort=True).iter_rows()
    kinds = joined([f"{count(number)} {_FOUND_BY.get(name, name)}" for name, number in by])
    yield f"They were chosen from {count(table.height)} candidates ({kinds}) on other texts."


def _tested_table(hypotheses: Sequence[Hypothesis]) -> Element:
    span = {one.outcome: _span([o for o in hypotheses if o.outcome == one.outcome]) for one in hypotheses}
    covariates = any(one.covariates for one in hypotheses)
    lengths = any(one.at_length is not None and "length" not in one.covariates for one in hypotheses)
    several = len(span) > 1
    head = ["", "of texts", "verdict", *["outcome"] * several, "", "difference", "95 % interval"]
    head += ["q", "p, Bonferroni", "p", *["alone"] * covariates, *["at equal length"] * lengths, "share"]
    rows = []
    for one in hypotheses[:_MOST_ROWS]:
        kind = "v v-verified" if one.verified and not one.repeats else "v"
        cells: list[Part | str] = [
            _words(one.subject),
            el("td", None, el("span", {"class": kind}, one.verdict)),
        ]
        cells += [_words(one.outcome)] * several
        cells += [_bar(effect_bar(one, span[one.outcome])), one.number(one.effect)]
        cells.append(f"{one.number(one.ci_low)} to {one.number(one.ci_high)}")
        cells += [small(one.q), small(one.p_bonferroni), small(one.p) + " †" * one.by_permutation]
        cells += [one.number(one.effect_alone)] * covariates + [one.number(one.at_length)] * lengths
        rows.append(_row(one.hypothesis, *cells, percent(one.share)))
    notes = [f"and {count(len(hypotheses) - _MOST_ROWS)} more"] if len(hypotheses) > _MOST_ROWS else []
    notes += (
        ["† by permutation, since numbers are small"] if any(o.by_permutation for o in hypotheses) else []
    )
    hollow = "alone: without covariates" if covariates else "at equal length" if lengths else ""
    notes += [f"hollow mark: {hollow}"] if hollow else []
    beside = [el("p", {"class": "how"}, "; ".join(notes))] if notes else []
    return el("div", None, *_folded(head, rows), *beside)


def shuffled_section(findings: Findings) -> Element | None:
    """The search where there is nothing to find, in numbers."""
    table = findings.table("shuffled_targets")
    if table.is_empty():
        return None
    rows = []
    for name, column in (("verified", "verified"), ("after Bonferroni", "bonferroni")):
        hit, tests = table[column] > 0, int(table["tested"].sum())
        share = share_interval(hit.cast(pl.Float64).to_numpy())
        own = sum(one.verified if column == "verified" else one.surely for one in findings.all)
        searches = f"{count(int(hit.sum()))} of {count(table.height)}"
        between = f"{percent(share.low)} to {percent(share.high)}"
        rows.append(
            _row(name, count(own), searches, between, f"{count(int(table[column].sum()))} of {count(tests)}")
        )
    head = ("", "here", "shuffled searches with any", "95 % interval", "shuffled hypotheses")
    about = (
        "The same candidates, the same choice and the same tests, with outcomes dealt out anew: whatever is"
        " verified then is false."
    )
    return _section("shuffled", "Could it be chance?", about, _table(head, rows))


def joint_section(findings: Findings) -> Element | None:
    """How much all of it explains, beside a probe and beside length."""
    table = findings.table("joint")
    if table.is_empty():
        return None
    several = table["outcome"].n_unique() > 1
    rows = [
        _row(
            said(_MODELS.get(row["model"]) or row["model"], 80),
            *[_words(row["outcome"])] * several,
            _bar(score_bar(row["value"], row["ci_low"], row["ci_high"], _NOTHING.get(row["measure"], 0.0))),
            f"{row['measure']} {two(row['value'])}",
            interval(row["ci_low"], row["ci_high"]),
            count(row["features"]),
            count(row["n"]),
        )
        for row in table.iter_rows(named=True)
    ]
    head = ("model", *["outcome"] * several, "", "held out", "95 % interval", "features", "n")
    about = ["Linear models, fitted on other texts and asked about held-out ones."]
    about += [words for measure, words in _MEASURES.items() if (table["measure"] == measure).any()]
    return _section("joint", "How much all of it explains", " ".join(about), _table(head, rows))


_NOTHING = {"AUC": 0.5, "R2": 0.0}
_MEASURES = {
    "AUC": "AUC: of one item of each kind, how often the right one is told; 0.5 is chance, 1 is always.",
    "R2": "R2: the share of the variance that is told; 0 is nothing, 1 is all.",
}


def together(findings: Findings) -> Iterator[str]:
    """The same in a sentence: the verified hypotheses, a probe, and what was held equal."""
    # Of an outcome with one value among score items nothing is explained.
    table = findings.table("joint").filter(pl.col("value").is_not_null().all().over("outcome"))
    if table.is_empty():
        return
    equal = "covariates" if (table["model"] == "covariates").any() else "length"
    models = [model for model in ("verified", "probe", equal) if (table["model"] == model).any()]
    by = {(row["outcome"], row["model"]): row for row in table.iter_rows(named=True)}
    outcomes, measure = (
        table["outcome"].unique(maintain_order=True).to_list(),
        joined(table["measure"].unique().sort().to_list()),
    )
    own = {name: [by[name, model] for model in models if (name, model) in by] for name in outcomes}
    if len(outcomes) == 1:
        told = [
            f"{_MODELS[row['model']]} {two(row['value'])} ({interval(row['ci_low'], row['ci_high'])})"
            for row in own[outcomes[0]]
        ]
        yield f"How much it explains ({outcomes[0]}, held-out {measure}): {joined(told)}."
    else:
        told = [f"{name} {', '.join(two(row['value']) for row in rows)}" for name, rows in own.items()]
        named = joined([_MODELS[model] for model in models])
        yield f"How much it explains (held-out {measure}; {named}): {'; '.join(told)}."


def preference_section(findings: Findings) -> Element | None:
    """What differs between the two texts of a pair, and how often that is favoured."""
    table = findings.table("measurable")
    if table.is_empty():
        return None
    rows = [
        _row(
            said(subject(row["text"] or "", row["claim"]), 200),
            percent(row["differs"]),
            percent(row["first"]),
            _bar(score_bar(row["expressed"], None, None, 0.5)),
            percent(row["expressed"]),
            NONE if row["z"] is None else f"{row['z']:+.1f}",
        )
        for row in table.head(_MOST_ROWS).iter_rows(named=True)
    ]
    head = ("what differs", "in pairs", "is the first", "", "favoured", "z")
    about = (
        "Measurable: what holds of one text of a pair alone, and in how many pairs; only of that can these"
        " data say anything. Expressed: how often the text of which it holds is favoured (half is no"
        " preference). On the texts that hypotheses were chosen from."
    )
    return _section("preferences", "What differs, and what is favoured", about, *_folded(head, rows))


def rater_section(findings: Findings) -> Element | None:
    """Whether raters differ in what they favour, and who favours what: those first who differ most."""
    table, worth = findings.table("raters"), findings.table("by_rater")
    if table.is_empty():
        return None
    away = (pl.col("weight") - pl.col("of_all")).abs()
    alike = table.filter((away >= _SEEN).fill_null(True)).is_empty()
    table = table.sort(away, descending=True, nulls_last=True, maintain_order=True)
    rows = [
        _row(
            said(row["rater"], 60),
            _words(findings.named(row["hypothesis"])),
            f"{row['weight']:+.2f}",
            _signed(row["ci_low"], row["ci_high"]),
            f"{row['of_all']:+.2f}",
            count(row["n"]),
        )
        for row in table.head(_MOST_ROWS).iter_rows(named=True)
    ]
    several = worth["outcome"].n_unique() > 1
    models = [
        _row(
            _RATERS.get(row["model"]) or said(row["model"], 60),
            *[_words(row["outcome"])] * several,
            *[f"{row['loss']:.3f}", "" if row["model"] == "all" else f"{row['gain']:+.3f}"],
            "" if row["model"] == "all" else _signed(row["ci_low"], row["ci_high"], 3),
            f"{row['measure']} {two(row['value'])}",
            count(row["n"]),
        )
        for row in worth.iter_rows(named=True)
    ]
    about = " ".join(
        [
            f"{count(table['rater'].n_unique())} raters.",
            *raters(findings),
            "Every rater's weights are those of all." if alike else _WEIGHT,
        ]
    )
    of_models = ("what may differ by rater", *["outcome"] * several, "loss", "gain", "95 % interval", "", "n")
    head = ("rater", "favours", "weight", "95 % interval", "of all", "n")
    beside = [_table(of_models, models)] if models else []
    return _section("raters", "Who favours what", about, *beside, *([] if alike else _folded(head, rows)))


_WEIGHT = (
    "Weight: in log odds (of a target that is not yes or no, in its own units); above 0 it is favoured. The"
    " fewer items a rater said, the more the weight is drawn towards that of all."
)
_SEEN = 0.005
"""Difference of a rater's weight from that of all that can be seen in two decimals."""
_RATERS = {
    "all": "nothing: one set of weights",
    "level": "how high a rater goes",
    "weights": "that, and what a rater favours (drawn towards all)",
    "alone": "everything: each rater's own items say all",
}


def raters(findings: Findings) -> Iterator[str]:
    """Whether raters differ in what they go by, a sentence for each outcome."""
    for row in findings.table("by_rater").filter(model="weights").iter_rows(named=True):
        gain = f"gain {row['gain']:+.3f}, {_signed(row['ci_low'], row['ci_high'], 3)}"
        if row["ci_low"] is not None and row["ci_low"] > 0:
            yield (
                f"Raters differ in what they go by ({row['outcome']}): with weights of their own, held-out"
                f" items are told better ({gain})."
            )
        else:
            yield (
                f"Nothing shows that raters differ in what they make of these hypotheses ({row['outcome']};"
                f" {gain}): read their weights as alike. Hypotheses are what goes with the target for all"
                " together: a taste that some raters have and others do not may be missing among them."
            )


def _signed(low: float | None, high: float | None, digits: int = 2) -> str:
    return NONE if low is None or high is None else f"{low:+.{digits}f} to {high:+.{digits}f}"


def argued_section(findings: Findings) -> Element | None:
    """Pairs whose favourite the hypotheses argue against, for a second look."""
    table = findings.table("argued").head(_MOST_ROWS)
    if table.is_empty():
        return None
    words = dict(shown_words(findings.rows, [*table["first"], *table["second"]]).iter_rows())
    rows = []
    for row in table.iter_rows(named=True):
        favoured, other = ("first", "second") if row["said"] >= 0.5 else ("second", "first")
        texts = [_words(words.get(row[side]) or row[side], EXCERPT) for side in (favoured, other)]
        why = "; ".join(map(findings.named, row["hypotheses"] or ()))
        rows.append(_row(f"{row['odds']:,.0f} to 1", *texts, _words(why, 240)))
    head = ("odds against", "said to be favoured", "expected to be", "by")
    about = (
        "Verified hypotheses together expect the other text to be favoured. Some of these are slips and worth"
        " a second look; some are exceptions."
    )
    return _section("argued", "Pairs worth a second look", about, *_folded(head, rows))


def _section(name: str, title: str, about: str, *parts: Part) -> Element:
    heading = (el("h2", {"id": f"h-{name}"}, title), el("p", {"class": "how"}, about))
    return el("section", {"aria-labelledby": f"h-{name}"}, *heading, *parts, needs=NEEDS)


def _table(head: Sequence[str], rows: Sequence[Part]) -> Element:
    named = (el("th", {"scope": "col"}, name) if name else el("td", None) for name in head)
    columns = el("tr", None, *named)
    table = el("table", {"class": "tight numbers"}, el("thead", None, columns), el("tbody", None, *rows))
    return el("div", {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Numbers"}, table)


def _folded(head: Sequence[str], rows: Sequence[Part]) -> Iterator[Element]:
    """A table of a screen's length, and the rest of it behind a fold."""
    yield _table(head, rows[:_OPEN_ROWS])
    if rest := rows[_OPEN_ROWS:]:
        more = el("summary", None, f"{count(len(rest))} more")
        yield el("details", {"class": "more"}, more, _table(head, rest))


def _row(first: Part | str, *cells: Part | str) -> Element:
    """A row of a table; strings are numbers."""
    numbers = (el("td", {"class": "n"}, cell) if isinstance(cell, str) else cell for cell in cells)
    return el("tr", None, el("th", {"scope": "row"}, first), *numbers)


def _words(text: str, most: int = 200) -> Element:
    return el("td", {"class": "about"}, said(text, most))


def _bar(drawn: Part) -> Element:
    return el("td", {"class": "bar"}, drawn)


SECTIONS: tuple[tuple[str, str, str, Callable[[Findings], Element | None]], ...] = (
    ("tested", "What was put to the test", "hypotheses", tested_section),
    ("shuffled", "Could it be chance?", "shuffled_targets", shuffled_section),
    ("joint", "How much it explains", "joint", joint_section),
    ("preferences", "What differs", "measurable", preference_section),
    ("raters", "Who favours what", "raters", rater_section),
    ("argued", "Worth a second look", "argued", argued_section),
)
"""What a sceptic asks: name, title, the table that it needs, and what makes it."""
