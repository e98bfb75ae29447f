"""Hypotheses on a terminal: what was found in sentences, a text for and against each, how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saywell.report.hypotheses import Shown
    from saywell.report.hypothesis_words import Hypothesis
    from saywell.store.study import Study

_BEFORE = 5
"""Columns before a sentence: its number."""
_NAMED = 5
"""Of those that are not verified; the page has all of them."""


def findings_of(study: Study) -> list[dict[str, Any]]:
    """Every hypothesis with its sentence, as plain values."""
    from dataclasses import asdict

    from saywell.report.card import StudyRows
    from saywell.report.hypothesis_words import hypotheses_of

    return [{**asdict(one), "sentence": one.sentence} for one in hypotheses_of(StudyRows(study))]


def print_findings(study: Study, console: Console, top: int, *, brief: bool = False) -> None:
    """What goes with what, so many of them; `brief`: without what a sceptic asks."""
    from rich.text import Text

    from saywell.cli.terminal import plain
    from saywell.report.card import StudyRows
    from saywell.report.hypotheses import Findings, chance, powers, raters, together
    from saywell.report.hypothesis_words import in_short

    findings = Findings(StudyRows(study))
    console.print()
    console.print(Text(plain(in_short(findings.all)), "bold"))
    shown = findings.shown()
    for one in shown[:top]:
        _print_one(one, console)
        for side in ("for", "against"):
            for text in findings.evidence.get((one.hypothesis, side), ())[:1]:
                console.print(_text(one, text, side, console))
    if more := [one.hypothesis for one in shown[top:]]:
        console.print(Text(f"and {len(more)} more (--top {len(shown)}).", "dim"))
    console.print()
    lines = list(chance(findings))
    if not brief:
        lines += [*together(findings), *raters(findings), *powers(findings), *_beside(findings.all)]
    for line in lines:
        console.print(Text(plain(line), "dim"))


def _print_one(one: Hypothesis, console: Console) -> None:
    from rich.text import Text

    from saywell.cli.terminal import plain

    before = f"{one.hypothesis:>{_BEFORE - 1}} "
    for line in Text(plain(one.sentence)).wrap(console, console.width - _BEFORE):
        console.print(Text(before, "dim").append(line.plain.rstrip(), "bold"))
        before = " " * _BEFORE


def _text(one: Hypothesis, shown: Shown, side: str, console: Console) -> Text:
    """A text on one line, what came of it before it."""
    from rich.text import Text

    from saywell.cli.terminal import fitted, marked

    before = f"{'':{_BEFORE}}{side + ':':<9}{fitted(one.told(shown.example.value), 24)} · "
    return Text(before, "dim") + marked(shown.example, console, console.width - len(before))


def _beside(hypotheses: list[Hypothesis]) -> list[str]:
    """What was not shown, and how sure the rest is."""
    from saywell.scorers.intervals import FALSE_DISCOVERY_RATE

    if not hypotheses:
        return []
    surely = sum(one.surely and not one.repeats for one in hypotheses)
    held = f"{surely} {'holds' if surely == 1 else 'hold'} after Bonferroni, too."
    if again := sum(one.verified and bool(one.repeats) for one in hypotheses):
        held += f" {again} more {'says' if again == 1 else 'say'} again what another says."
    said = [f"Verified: q is at most {FALSE_DISCOVERY_RATE} over all {len(hypotheses)} tests; {held}"]
    missing: dict[str, list[str]] = {}
    for one in hypotheses:
        if not one.verified:
            missing.setdefault(one.verdict if not one.repeats else one.status, []).append(one.subject)
    for status, own in missing.items():
        more = f"; and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        said.append(f"{status.capitalize()}: {'; '.join(own[:_NAMED])}{more}.")
    return said
