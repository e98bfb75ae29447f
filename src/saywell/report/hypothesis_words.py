"""What a hypothesis says and what came of it, in plain sentences, for page, terminal and explorer.

    Texts with the word "refund" have 0.9 stars less (0.7 to 1.1), the same at equal length; 12 % of texts.

Numbers have as many decimals as their interval is narrow, and shares are in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import floor, isfinite, log10
from typing import TYPE_CHECKING, Any

from saywell.claims.english import english
from saywell.claims.language import parse
from saywell.errors import InputError
from saywell.report.formats import NONE, count, joined, small
from saywell.report.parts import clip
from saywell.scorers.intervals import FALSE_DISCOVERY_RATE

if TYPE_CHECKING:
    from saywell.report.card import Rows

VERIFIED, OTHER_WAY, TOO_FEW = "verified", "the other way", "too few"
NOT_APART = "not told apart"
"""Of a statement that hardly varies among texts of equal covariates, so that it was not tested."""
_LONG = 240
_NAMED = 3
"""Covariates that are named one by one."""
_MUCH_THE_SAME = 0.2
"""Of an effect, by how much it may change where covariates are held equal."""


@dataclass(frozen=True)
class Hypothesis:
    """A row of table `hypotheses`. Effects are in the outcome's own units."""

    hypothesis: str
    unit: str
    text: str
    claim: str
    found_by: str
    reader: str
    outcome: str
    unit_of_effect: str
    direction: int
    n: int
    holds: int
    share: float
    mean_with: float | None
    mean_without: float | None
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    effect_alone: float | None
    ci_low_alone: float | None
    ci_high_alone: float | None
    covariates: tuple[str, ...]
    at_length: float | None
    ci_low_at_length: float | None
    ci_high_at_length: float | None
    p: float | None
    q: float | None
    p_bonferroni: float | None
    by_permutation: bool
    status: str
    order: int
    repeats: str
    pairs: bool
    """Whether it is about which of two texts is favoured."""

    @property
    def verified(self) -> bool:
        """Whether it was shown, and as it was found."""
        return self.status == VERIFIED

    @property
    def surely(self) -> bool:
        """Whether it is verified after Bonferroni, too: hardly any false one among all of them."""
        return self.verified and self.p_bonferroni is not None and self.p_bonferroni <= FALSE_DISCOVERY_RATE

    @property
    def subject(self) -> str:
        """Which texts it is about, such as 'texts with the word "refund"'."""
        return subject(self.text, self.claim)

    @property
    def sentence(self) -> str:
        """What came of it, with interval, share, and what covariates change."""
        return f"{_capital(self.subject)} {_came_of(self)}"

    @property
    def means(self) -> str:
        """The plain means or shares behind it, and of how many texts."""
        if self.mean_with is None:
            return ""
        if self.pairs and not self.unit_of_effect:
            own = f"{percent(self.mean_with)} of {count(self.holds)} such pairs"
            return f"Counted plainly, favoured in {own}."
        if self.mean_without is None:
            return ""
        own, others = f"{count(self.holds)} such texts", f"{count(self.n - self.holds)} others"
        if self.unit_of_effect:
            at = _decimals(self)
            with_it, without = (f"{value:,.{at}f}" for value in (self.mean_with, self.mean_without))
            return f"Mean {self.outcome} of {own} {with_it}, of {others} {without}."
        return f"{percent(self.mean_with)} of {own}, {percent(self.mean_without)} of {others}."

    def number(self, value: float | None) -> str:
        """A difference with its sign, in the outcome's unit or in percentage points."""
        return NONE if value is None else f"{value * _scale(self):+z,.{_decimals(self)}f}"

    def told(self, value: float | None) -> str:
        """The outcome of one text."""
        if value is None:
            return NONE
        if self.unit_of_effect:
            return f"{clip(self.unit_of_effect, 40)}: {value:,.4g}"
        if self.pairs:
            return "favoured" if value > 0.5 else "not favoured"
        return clip(self.outcome, 60) if value > 0.5 else f"not {clip(self.outcome, 60)}"

    @property
    def verdict(self) -> str:
        """What came of it in a few words: its status, or why there is none of its own."""
        if self.repeats:
            return f"repeats {self.repeats}"
        return self.status

    @property
    def certainty(self) -> str:
        """Status, q and Bonferroni, for who wants to know how sure it is."""
        if self.p is None:
            return self.verdict
        way = " by permutation" if self.by_permutation else ""
        bonferroni = f"p after Bonferroni {small(self.p_bonferroni)}"
        return f"{self.status}: p {small(self.p)}{way}, q {small(self.q)}, {bonferroni}"


_FIELDS = {field.name for field in fields(Hypothesis)}


def hypotheses_of(rows: Rows, units: Sequence[str] | None = None) -> list[Hypothesis]:
    """The hypotheses of a study, best first, or those that these units are."""
    if not rows.has("hypotheses"):
        return []
    return [_hypothesis(row) for row in rows.where("hypotheses", "unit", units).iter_rows(named=True)]


def _hypothesis(row: Mapping[str, Any]) -> Hypothesis:
    own: dict[str, Any] = {name: value for name, value in row.items() if name in _FIELDS}
    own |= {name: own[name] or "" for name in ("text", "claim", "unit_of_effect", "repeats")}
    own["covariates"] = tuple(own["covariates"] or ())
    return Hypothesis(**own)


def subject(text: str, claim: str | None) -> str:
    """The texts of which a statement holds, in a noun phrase."""
    if text.startswith("texts "):
        return clip(text, _LONG)
    if claim:
        try:
            return clip(english(parse(claim), whole=True), _LONG)
        except InputError:
            pass
    return f"texts described as “{clip(text, _LONG)}”"


def goes_with(hypotheses: Sequence[Hypothesis], target: str | None = None) -> str:
    """What was asked, for a heading; `target` is what outcomes are of where there are many."""
    if hypotheses and hypotheses[0].pairs:
        return "What in the texts is favoured"
    many = len({one.outcome for one in hypotheses}) > _NAMED
    what = target if target and (many or not hypotheses) else _outcomes(hypotheses)
    return f"What in the texts goes with {clip(what, 80)}"


def target_of(config: Mapping[str, Any]) -> str | None:
    """The column that is to be explained, where it is one."""
    return config.get("target") or config.get("between")


def in_short(hypotheses: Sequence[Hypothesis]) -> str:
    """How many were shown, of how many, on how many texts."""
    if not hypotheses:
        return (
            "Nothing was put to the test: in the texts that were searched nothing goes with it clearly,"
            " or it has but one value there."
        )
    pairs = hypotheses[0].pairs
    held = f"{count(max(one.n for one in hypotheses))} {'pairs' if pairs else 'texts'}"
    tests = f"{count(len(hypotheses))} hypotheses were" if hypotheses[1:] else "One hypothesis was"
    tried = f"{tests} put to the test, on {held} that were kept for it."
    number = sum(one.verified and not one.repeats for one in hypotheses)
    what = "being favoured" if pairs else _outcomes(hypotheses)
    if not number:
        return f"Nothing in the texts was shown to go with {what}. {tried}"
    things = "One thing in the texts goes" if number == 1 else f"{count(number)} things in the texts go"
    return f"{things} with {what}. {tried}"


def _outcomes(hypotheses: Sequence[Hypothesis]) -> str:
    named = list(dict.fromkeys(one.outcome for one in hypotheses))
    if not named:
        return "the outcome"
    return joined(named) if len(named) <= _NAMED else f"one of {len(named)} outcomes"


def _came_of(one: Hypothesis) -> str:
    """What stands behind the subject of a sentence."""
    if one.status == NOT_APART:
        return f"cannot be told apart from {_held(one)}; {_share(one)}."
    if one.effect is None or one.status == TOO_FEW:
        return f"are too few to say anything: {count(one.holds)} of {count(one.n)} {_items(one)}."
    said = f"{_verb(one)} {_amount(one, one.effect)} ({_interval(one)})"
    if one.status == OTHER_WAY:
        return f"{said}: the other way than where it was found."
    if not one.verified:
        return f"were not shown to differ: {_amount(one, one.effect)} ({_interval(one)}); {_share(one)}."
    return f"{said}{_beside(one)}; {_share(one)}."


def _verb(one: Hypothesis) -> str:
    return "have" if _counted(one.unit_of_effect) else "are"


def _amount(one: Hypothesis, value: float) -> str:
    """A difference with its direction: "0.9 stars less", "22 percentage points more often “Outdoor”"."""
    number = f"{abs(value) * _scale(one):,.{_decimals(one)}f}"
    if one.unit_of_effect:
        than = " than a text that is not like that" if one.pairs else ""
        return f"{number} {_in_unit(one, value)}{than}"
    if one.pairs:
        return f"favoured in {_favoured(one, value)} % of pairs with a text that is not like that"
    return f"{number} percentage points {_more(one, value)} often “{clip(one.outcome, 60)}”"


def _in_unit(one: Hypothesis, value: float) -> str:
    unit = clip(one.unit_of_effect, 40)
    return f"{unit} {_more(one, value)}" if _counted(unit) else f"{_more(one, value)} in {unit}"


def _counted(unit: str) -> bool:
    """Whether a name says what there can be more of (stars, clicks), and not what is high or low (price)."""
    return unit.endswith("s") and not unit.endswith(("ss", "us", "is"))


def size(value: float, unit: str) -> str:
    """A difference without direction, in two digits: "0.5 stars", "0.5 in price", "12 percentage points"."""
    digits = float(f"{value if unit else 100 * value:.2g}")
    number = f"{digits:,.0f}" if abs(digits) >= 10 else f"{digits:g}"
    if not unit:
        return f"{number} percentage points"
    return f"{number} {unit}" if _counted(unit) else f"{number} in {unit}"


def _favoured(one: Hypothesis, value: float) -> str:
    """In how many percent of pairs."""
    return f"{100 * (0.5 + value):.{_decimals(one)}f}"


def _more(one: Hypothesis, value: float) -> str:
    if one.unit_of_effect and not _counted(one.unit_of_effect):
        return "higher" if value > 0 else "lower"
    return "more" if value > 0 else "less"


def _interval(one: Hypothesis) -> str:
    """Of the difference, in its own direction; both ends with theirs where they differ."""
    assert one.effect is not None, "asked for where there is an effect"
    if one.ci_low is None or one.ci_high is None:
        return "no interval"
    if one.pairs and not one.unit_of_effect:
        low, high = (_favoured(one, end) for end in (one.ci_low, one.ci_high))
        return f"{low} to {high} %; half would be chance"
    ends = [(abs(end) * _scale(one), _more(one, end)) for end in (one.ci_low, one.ci_high)]
    if one.ci_low * one.ci_high < 0:
        return " to ".join(f"{number:,.{_decimals(one)}f} {way}" for number, way in ends)
    low, high = sorted(number for number, _ in ends)
    return f"{low:,.{_decimals(one)}f} to {high:,.{_decimals(one)}f}"


def _beside(one: Hypothesis) -> str:
    """What is held equal, and whether that makes a difference."""
    if one.effect_alone is None or one.effect is None:
        return ""
    if not one.covariates:
        return _at_length(one)
    equal, free = f"at equal {_held(one)}", f"where {_held(one)} may differ"
    if _amount(one, one.effect_alone) == _amount(one, one.effect):
        return f", the same {equal}"
    if abs(one.effect_alone - one.effect) <= _MUCH_THE_SAME * abs(one.effect):
        return f", much the same {equal}"
    unclear = one.ci_low_alone is not None and one.ci_high_alone is not None
    if unclear and one.ci_low_alone * one.ci_high_alone <= 0:  # type: ignore[operator]
        return f" {equal}, though no clear difference {free}"
    though = "though " if one.effect_alone * one.effect < 0 else ""
    return f" {equal}, {though}{_briefly(one, one.effect_alone)} {free}"


def _held(one: Hypothesis) -> str:
    """What is held equal."""
    return joined(one.covariates) if len(one.covariates) <= _NAMED else f"{len(one.covariates)} covariates"


def _at_length(one: Hypothesis) -> str:
    """What is left of a difference among texts of equal length."""
    assert one.effect is not None, "asked for where there is one"
    if one.at_length is None or one.ci_low_at_length is None or one.ci_high_at_length is None:
        return ""
    if _amount(one, one.at_length) == _amount(one, one.effect):
        return ", the same at equal length"
    if abs(one.at_length - one.effect) <= _MUCH_THE_SAME * abs(one.effect):
        return ", much the same at equal length"
    if one.ci_low_at_length * one.ci_high_at_length <= 0:
        return ", with no clear difference at equal length"
    though = "though " if one.at_length * one.effect < 0 else ""
    return f", {though}{_briefly(one, one.at_length)} at equal length"


def _briefly(one: Hypothesis, value: float) -> str:
    """Another difference, behind one that was said in full: "0.9 less", "in 61 %"."""
    if one.pairs and not one.unit_of_effect:
        return f"in {_favoured(one, value)} %"
    return f"{abs(value) * _scale(one):,.{_decimals(one)}f} {_more(one, value)}"


def _share(one: Hypothesis) -> str:
    return f"{percent(one.share)} of {_items(one)}"


def _items(one: Hypothesis) -> str:
    return "pairs" if one.pairs else "texts"


def _scale(one: Hypothesis) -> float:
    """Shares are said in percentage points."""
    return 1.0 if one.unit_of_effect else 100.0


def _decimals(one: Hypothesis) -> int:
    """So many that half the interval has a digit that says something; two where there is none.

    One more where an end beside nothing would read as nothing.
    """
    if one.ci_low is None or one.ci_high is None:
        return 2 if one.unit_of_effect else 0
    low, high = (_scale(one) * end for end in (one.ci_low, one.ci_high))
    half = abs(high - low) / 2
    digits = max(0, -floor(log10(half))) if half > 0 and isfinite(half) else 2
    touches = (
        (not one.pairs or one.unit_of_effect != "")
        and low * high > 0
        and round(min(abs(low), abs(high)), digits) == 0
    )
    return digits + touches


def percent(share: float) -> str:
    """A share in percent, in two digits where it is below ten: 12 %, 2.5 %, 3 %, 0.42 %."""
    if share <= 0 or share >= 0.095:
        return f"{100 * share:.0f} %"
    return f"{float(f'{100 * share:.2g}'):g} %"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
