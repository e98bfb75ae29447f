"""`saywell neuron`: one neuron or class, with the examples that show what it responds to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saywell.cli.options import AsJson, StudyFolder
from saywell.cli.terminal import fitted, marked, plain

if TYPE_CHECKING:
    from rich.console import Console

    from saywell.store.records import Unit

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

    The responsible part of a sentence is marked.
    """
    import json as json_module

    from saywell.cli.terminal import open_console
    from saywell.store.study import Study
    from saywell.studies.neuron_card import neuron_card

    opened = Study(study)
    if "units" not in opened.manifest.tables and "classes" in opened.manifest.tables:
        found = opened.unit(unit, examples=examples)
        if json:
            typer.echo(json_module.dumps(found.to_dict(), indent=2))
        else:
            _print_class(found, open_console())
        return
    card = neuron_card(opened, unit, examples=examples)
    if json:
        typer.echo(json_module.dumps(card, indent=2))
        return
    console = open_console()
    for side in card["sides"]:
        _print_side(side, console)
    if any(side["descriptors"] for side in card["sides"]):
        console.print(_WORDS, style="dim", markup=False)


def _print_side(side: dict[str, Any], console: Console) -> None:
    """One side of a neuron; sentences keep to the right of their activations."""
    from rich.table import Table
    from rich.text import Text

    from saywell.store.records import Example

    direction = "going high" if side["sign"] > 0 else "going low"
    state = "" if side["state"] == "ok" else f", {plain(side['state'])}"
    console.print(Text.assemble((side["unit"], "bold"), f"  {direction}{state}"))
    console.print(Text(plain(side["description"] or side["status"])))
    s = side["score"]
    if s and s["value"] is not None:
        console.print(_score_line(s))
    for one in side["descriptors"]:
        console.print(
            Text(
                f"  {plain(one['text'])}: {one['hits']} of {one['exemplars']}"
                f" exemplars, lift {one['lift']:.1f}, q {one['q']:.1g}"
            )
        )
    lines = Table.grid(padding=(0, 2))
    lines.add_column(justify="right", no_wrap=True, min_width=8)
    lines.add_column()
    for one in side["exemplars"]:
        span = (one["span_start"], one["span_end"])
        shown = marked(Example(one["example"], one["text"], None, span), console, 400)
        lines.add_row(f"{one['activation']:.2f}", shown)
    for kind, title in (
        ("unforeseen", "fires, and the description does not say so"),
        ("silent", "does not fire, though the description says so"),
    ):
        for one in side["counterexamples"]:
            if one["kind"] == kind and one["rank"] == 0:
                words = Text(f"{fitted(one['text'], 400)}  ({title})", "dim")
                lines.add_row(f"{one['activation']:.2f}", words)
    console.print(lines)
    console.print()


def _print_class(found: Unit, console: Console) -> None:
    """A class: its texts, best first, and the images that speak for and against them."""
    from rich.text import Text

    console.print(Text(plain(found.id), "bold"))
    if not found.texts:
        console.print(plain(found.status))
    for text in found.texts:
        console.print(Text(f"  {fitted(text, 400)}"))
    score = found.score
    if score is not None and score.score is not None and score.floor_score is not None:
        console.print(
            f"F1 {score.score:.2f} on {score.n} held-out images, best floor {score.floor_score:.2f}"
            f" ({plain(score.floor or '')}), by the {score.reader}: {score.verdict}"
        )
    for title, images in (
        ("training images that help it", found.exemplars),
        ("held-out images of it that its texts do not recognise", found.unforeseen),
        ("held-out images of others that its texts take for it", found.silent),
    ):
        if images:
            console.print(f"{title}:", style="dim")
            for one in images:
                console.print(Text(f"  {plain(one.text)}"))


def _score_line(score: dict[str, Any]) -> str:
    value = f"F1 {score['value']:.2f} (95 % {score['ci_low']:.2f} to {score['ci_high']:.2f})"
    line = f"{value} on {score['n']} held-out sentences"
    if score["skill"] is None:
        return f"{line}: {score['status']}"
    return (
        f"{line}, best floor {score['control']:.2f} ({score['floor']}); skill {score['skill']:.2f}"
        f" ({score['skill_low']:.2f} to {score['skill_high']:.2f}): {score['status']}"
    )
