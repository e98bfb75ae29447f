"""`saywell neuron`: one neuron, with the sentences that show what it responds to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from saywell.cli.options import AsJson, StudyFolder


def neuron(
    study: StudyFolder,
    unit: Annotated[str, typer.Argument(help="Such as layer.3/1207; layer.3/1207- going low.")],
    examples: Annotated[int, typer.Option(help="Exemplars to show.")] = 8,
    json: AsJson = False,
) -> None:
    """Show one neuron: description, score, exemplars with the responsible span marked."""
    import json as json_module

    from rich.console import Console
    from rich.text import Text

    from saywell.store.study import Study
    from saywell.studies.neuron_card import neuron_card

    card = neuron_card(Study(study), unit, examples=examples)
    if json:
        typer.echo(json_module.dumps(card, indent=2))
        return
    console = Console(highlight=False)
    for side in card["sides"]:
        direction = "going high" if side["sign"] > 0 else "going low"
        console.print(Text.assemble((side["unit"], "bold"), f"  {direction}, {side['state']}"))
        console.print(Text(side["description"] or side["status"]))
        s = side["score"]
        if s and s["value"] is not None:
            console.print(_score_line(s))
        for descriptor in side["descriptors"]:
            console.print(
                Text(
                    f"  {descriptor['text']}: {descriptor['hits']} of {descriptor['exemplars']}"
                    f" exemplars, lift {descriptor['lift']:.1f}, q {descriptor['q']:.1g}"
                )
            )
        for example in side["exemplars"]:
            line = Text(f"{example['activation']:8.2f}  ")
            start, end = example["span_start"], example["span_end"]
            line.append(example["text"][:start])
            line.append(example["text"][start:end], style="bold reverse")
            line.append(example["text"][end:])
            if not console.is_terminal:
                line = Text(
                    f"{example['activation']:8.2f}  {example['text'][:start]}"
                    f"[{example['text'][start:end]}]{example['text'][end:]}"
                )
            console.print(line)
        for kind, title in (
            ("unforeseen", "fires, and the description does not say so"),
            ("silent", "does not fire, though the description says so"),
        ):
            for example in side["counterexamples"]:
                if example["kind"] == kind and example["rank"] == 0:
                    text = example["text"]
                    console.print(Text(f"{example['activation']:8.2f}  {text}  ({title})", "dim"))
        console.print()


def _score_line(score: dict[str, Any]) -> str:
    value = f"F1 {score['value']:.2f} (95 % {score['ci_low']:.2f} to {score['ci_high']:.2f})"
    return (
        f"{value} on {score['n']} held-out sentences, best floor {score['control']:.2f}"
        f" ({score['floor']}); skill {score['skill']:.2f} ({score['skill_low']:.2f} to"
        f" {score['skill_high']:.2f}): {score['status']}"
    )
