"""`saywell neuron`: one unit of any kind, with the examples that show what it responds to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import AsJson, StudyFolder
from saywell.cli.terminal import fitted, marked, plain

if TYPE_CHECKING:
    from rich.console import Console

    from saywell.report.card import Example, Reading, Unit, Written
    from saywell.report.latents import Latent
    from saywell.store.study import Study

_WORDS = (
    "Floor: the best of the answers that should fail; skill: F1 less the floor. Lift: how many times more"
    " often exemplars carry the words than texts of the same length do; q: the share of false ones among"
    " all that are as sure. In front of a sentence: the activation, owed to the part in brackets."
)


def neuron(
    study: StudyFolder,
    unit: Annotated[
        str, typer.Argument(help="Such as layer.3/1207; layer.3/1207- going low; a class's name.")
    ],
    examples: Annotated[int, typer.Option(help="Exemplars to show.", min=0)] = 8,
    json: AsJson = False,
) -> None:
    """Show one neuron or class: description, score, and the examples for and against it.

    The responsible part of a sentence is marked. A neuron's other side is shown with it.
    """
    import json as json_module

    from saywell.cli.terminal import open_console
    from saywell.store.study import Study

    opened = Study(study)
    cards = [opened.unit(name, examples=examples) for name in _with_other_side(opened, unit)]
    if json:
        found = {"unit": unit, "sides": [card.to_dict() for card in cards]}
        typer.echo(json_module.dumps(found, indent=2))
        return
    console = open_console()
    for card in cards:
        _print_card(card, console)
    if any(card.descriptors for card in cards):
        console.print(_WORDS, style="dim", markup=False)


def _with_other_side(study: Study, unit: str) -> list[str]:
    """The unit and, where it goes high, the same place going low."""
    if "units" not in study.manifest.tables:
        return [unit]
    from saywell.report.tables import asked

    units = asked(study, "units")
    own = units.filter(id=unit, sign=1).select("model", "kind", "layer", "index")
    other = units.filter(sign=-1).join(own, on=own.columns, how="semi")
    return [unit, *other["id"]]


def _print_card(card: Unit, console: Console) -> None:
    """Everything on one unit; sentences keep to the right of their activations."""
    from rich.table import Table
    from rich.text import Text

    from saywell.report.formats import level, rate
    from saywell.report.latents import at_words

    held_out = "images" if card.pictures else "sentences"
    state = card.row.get("state") or "ok"
    told = [] if card.row.get("sign") is None else [f"going {'low' if card.sign < 0 else 'high'}"]
    told += [] if state == "ok" else [plain(state)]
    console.print(Text.assemble((plain(card.id), "bold"), "  " if told else "", ", ".join(told)))
    if card.hypothesis is not None:
        console.print(Text(plain(f"{card.hypothesis.hypothesis}: {card.hypothesis.sentence}")))
        console.print(Text(plain(card.hypothesis.certainty), "dim"))
    for one in card.written:
        if len(card.written) > 1:
            console.print(Text(f"by {plain(one.describer)}:", "dim"))
        if card.chosen and one is card.first:
            _print_sentences(card, console)
        else:
            for text in (one.texts if card.sentences else (one.text,)) or ("",):
                console.print(Text(fitted(text or one.status, 400)))
        if (line := _score_line(one, held_out)) is not None:
            console.print(Text(line))
        if one.at_words is not None and (line := at_words(one.at_words)):
            console.print(Text(plain(line)))
    for one in card.descriptors:
        console.print(
            Text(
                f"  {plain(one['text'])}: {one['hits']} of {one['exemplars']}"
                f" exemplars, lift {one['lift']:.1f}, q {one['q']:.1g}"
            )
        )
    if card.density is not None:
        console.print(Text(f"fires on {rate(card.density)} of all tokens", "dim"))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(justify="right", no_wrap=True, min_width=8)
    lines.add_column()
    for one in card.proponents or card.exemplars:
        lines.add_row(_value(one), marked(one, console, 400).append(_place(one), "dim"))
    for part in reversed(card.ranges[:-1]):  # the strongest stand above
        for one in () if card.pictures else part.examples[:1]:
            words = f"  (drawn from {level(part.low)} to {level(part.high)})"
            lines.add_row(_value(one), marked(one, console, 400).append(words, "dim"))
    for title, found in (
        ("fires, and the description does not say so", card.unforeseen),
        ("does not fire, though the description says so", card.silent),
        ("harms it", card.opponents),
    ):
        for one in found if card.pictures else found[:1]:
            lines.add_row(_value(one), Text(f"{fitted(one.text, 400)}  ({title})", "dim"))
    for why, found in () if card.pictures else card.near_misses.items():
        lines.add_row("", marked(found[0], console, 400).append(f"  ({_NEAR_MISSES.get(why, why)})", "dim"))
    console.print(lines)
    _print_latent(card.latent, console)
    console.print()


_NEAR_MISSES = {
    "same token": "near miss: the token at which it peaks is here, and it does not fire",
    "nearest": "near miss: like its strongest, and it does not fire",
}


def _print_latent(latent: Latent, console: Console) -> None:
    """Its output side, and how it stands to others."""
    from rich.text import Text

    from saywell.report.latents import MOST_RELATIONS, shown_token

    for title, tokens in (("promotes", latent.promotes), ("suppresses", latent.suppresses)):
        if tokens:
            listed = ", ".join(f"“{plain(shown_token(token))}” {value:+.2f}" for token, value in tokens)
            console.print(Text(f"{title} {listed}"))
    for words in latent.effects:
        console.print(Text(words))
    for one in latent.relations[:MOST_RELATIONS]:
        name = _RELATIONS.get(one.relation, one.relation)
        said = f": {fitted(one.text, 120)}" if one.text else ""
        console.print(Text(f"{name} {plain(one.other)}{said} ({one.words})"))
    if latent.absorbed:
        console.print(Text(plain(latent.absorbed)))


_RELATIONS = {"duplicate": "near duplicate", "part": "split by", "whole": "a part of"}


def _print_sentences(card: Unit, console: Console) -> None:
    """The chosen sentences of a class, each with what it comes to by itself."""
    from rich.table import Table
    from rich.text import Text

    texts = {one.id: one.text or "" for one in card.chosen}
    asked = any(one.score is not None for one in card.chosen)
    lines = Table.grid(padding=(0, 2))
    if asked:
        lines.add_column(no_wrap=True)
        lines.add_column(justify="right", no_wrap=True)
    lines.add_column()
    for one in card.chosen:
        words = Text(fitted(one.text or one.status, 400))
        for other, kind in one.contradicts.items():
            words.append(f"\n≠ {fitted(texts.get(other, other), 300)} ({kind})", "yellow")
        score = one.score
        numbers = (
            "" if score is None or score.score is None else f"{score.score:.2f} / {score.floor_score:.2f}"
        )
        lines.add_row(*(["" if score is None else score.verdict, numbers] if asked else []), words)
    console.print(lines)
    if card.of_sentences:
        console.print(Text(f"{card.of_sentences}.", "dim"))
        if asked:
            console.print(
                Text("In front of a sentence: F1 of who reads it alone, and its best floor.", "dim")
            )


def _value(one: Example) -> str:
    return "" if one.value is None else f"{one.value:.2f}"


def _place(one: Example) -> str:
    """Where in a picture the response is strongest."""
    if one.region is None:
        return ""
    left, top, right, bottom = (round(100 * share) for share in one.region)
    return f"  at {left} to {right} % from the left, {top} to {bottom} % from the top"


def _score_line(one: Written, held_out: str) -> str | None:
    score = one.score
    if score is None or score.score is None:
        return None
    between = "" if score.ci_low is None else f" (95 % {score.ci_low:.2f} to {score.ci_high:.2f})"
    line = f"F1 {score.score:.2f}{between} on {score.n} held-out {held_out}, by {score.reader}"
    if score.skill is None or score.floor_score is None:
        return f"{line}: {score.verdict}"
    return (
        f"{line}, best floor {score.floor_score:.2f} ({plain(score.floor or '')}); skill {score.skill:.2f}"
        f" ({score.skill_low:.2f} to {score.skill_high:.2f}): {score.verdict}"
        f"{_placing(score)}"
    )


def _placing(score: Reading) -> str:
    """How far the description points at what makes the unit respond."""
    if score.localised is None:
        return ""
    return (
        f"; points at the responsible words of {score.localised:.2f} of {score.localised_n} texts"
        f" (by chance {score.by_chance:.2f})"
    )
