"""`saywell show`: what a study found, and how far to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import AsJson, StudyFolder

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from saywell.report.card import Unit
    from saywell.store.study import Metric, Study

_MEANS = {
    "precision@2": "Precision@2: of the two descriptors that the firing units vote for, the share that the"
    " sentence carries; recall@2: of those that it carries, the share among the two. Jaccard: of a"
    " unit's descriptors in two parts of the data, the share in both. Control: the best of what should fail."
    " Bound: the most there is to reach.",
    "verified": "Of the units tried: one without a description is not verified, in a control neither.",
    "sentences verified": "Verified alone: given one chosen sentence, class names masked, a reader says which"
    " images are of its class, better than by a sentence of another class or a constant answer. One that is"
    " not verified may be true, and of other classes too.",
    "zero-shot accuracy": "Zero-shot: the share of images that go to their class by its texts alone;"
    " name-free: with the class's name masked in them. Gain over searched random words: that less what"
    " the same rule reaches with random words. Transfer gain: what the texts add to so many labelled"
    " images a class (shots). Control: the best of what should fail.",
}
_CONTROLS = {
    "random weights": "Random weights: units of the same model before it has learned anything.",
    "shuffled examples": "Shuffled examples: units with the responses to other examples, so that what is"
    " verified of them is verified by chance.",
}
"""What figures and their controls are called, for who has not read the docs; docs/glossary.md has more."""
_BRIEF = 5
_SENTENCES = 2
"""Of a class; the whole list is in `saywell neuron` and on the page."""


def show(
    study: StudyFolder,
    top: Annotated[int, typer.Option(help="Descriptions to show.", min=0)] = 10,
    json: AsJson = False,
) -> None:
    """Print a study's most believable descriptions, then its figures.

    Of a study that is not finished: why, how far it is, and what to type next.
    """
    from saywell.store.study import Study

    print_study(Study(study), json=json, top=top)


def print_study(study: Study, *, json: bool, top: int = 10) -> None:
    """The descriptions to begin with, then the figures with interval, control and bound."""
    if "exam_summary" in study.manifest.tables:
        from saywell.cli.exam import print_exam
        from saywell.studies.exam import stored_exam

        print_exam(stored_exam(study), json=json)
    elif json:
        _print_json(_facts(study, top))
    else:
        _print(study, top)


def print_studies(studies: Sequence[Study], *, json: bool) -> None:
    """A few descriptions of each of several studies, and where to go on; in JSON a list."""
    if json:
        _print_json([_facts(study, 10) for study in studies])
        return
    for study in studies:
        _print(study, _BRIEF, figures=False)
        typer.echo(f"all of it: saywell show {study.path}\n")


def _facts(study: Study, top: int) -> dict[str, object]:
    figures = study.headline() if study.has("metrics.json") else []
    scored = "scores" in study.manifest.tables
    told: dict[str, object] = {}
    if "hypotheses" in study.manifest.tables:
        from saywell.cli.findings import findings_of

        told["hypotheses"] = findings_of(study)
    return {
        "path": str(study.path),
        **told,
        "best": [unit.to_dict() for unit in study.best(top)],
        "readers": study.readers().to_dicts() if scored else [],
        "metrics": [metric.model_dump() for metric in figures],
        "manifest": study.manifest.model_dump(),
    }


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))


def _print(study: Study, top: int, *, figures: bool = True) -> None:
    from saywell.cli.findings import print_findings
    from saywell.cli.terminal import open_console, plain

    console = open_console()
    manifest = study.manifest
    console.print(
        f"{plain(str(study.path))}: {manifest.kind}, {manifest.status}",
        style="bold",
        markup=False,
        soft_wrap=True,
    )
    if manifest.status != "complete":
        _print_unfinished(study, console)
    if "hypotheses" in manifest.tables:
        print_findings(study, console, top, brief=not figures)
    elif "scores" in manifest.tables:
        _print_best(study, console, top)
    for line in _counts(study):
        console.print(line, markup=False)
    if figures and study.has("metrics.json"):
        found = study.headline()
        lexical = [m for m in found if m.by.get("tags") == "lexical"]
        shares = [m for m in found if m.controls_n]
        if others := [m for m in found if m not in (*lexical, *shares)]:
            console.print(_figures(others, "held-out data"))
        if lexical:
            console.print(_figures(lexical, "the same with lexical tags"))
        if shares:
            console.print(_shares(shares))
        for figure, words in _MEANS.items():
            if any(m.figure == figure for m in found):
                console.print(words, style="dim", markup=False)
        for name, words in _CONTROLS.items():
            if any(name in m.controls for m in shares):
                console.print(words, style="dim", markup=False)
        for note in dict.fromkeys(f"{m.name}: {m.note}" for m in found if m.note):
            console.print(plain(note), style="dim", markup=False)
    if "recovered" in manifest.tables:
        from saywell.report.tables import asked

        recovered = asked(study, "recovered")
        found = recovered.filter(found=True).height
        console.print(f"Gold descriptors found: {found} of {recovered.height}")
    for note in manifest.notes if figures else []:
        console.print(f"note: {plain(note)}", style="dim", markup=False)
    report = study.path / "report.html"
    if report.exists():
        console.print(f"page: {report}", markup=False, soft_wrap=True)


def _print_best(study: Study, console: Console, top: int) -> None:
    from saywell.cli.terminal import plain
    from saywell.report.best import meaning, none_verified
    from saywell.report.listing import short_of, verdict_line
    from saywell.report.tables import deciding_scores

    best = study.best(top)
    deciding = deciding_scores(study)
    verified = deciding.filter(status="verified").height
    if best:
        console.print()
        head = f"{len(best)} of {verified:,} verified descriptions"
        console.print(_columns(head, ("F1", "floor"), console), style="dim")
        for unit in best:
            _print_unit(unit, console)
        console.print()
        console.print(meaning(study, bool(best[0].sentences)), style="dim", markup=False)
    elif not verified and not short_of(deciding):
        console.print(plain(none_verified(study)), markup=False)
    if study.readers()["verified"].sum():
        console.print(plain(verdict_line(study)), markup=False)


def _print_unit(unit: Unit, console: Console) -> None:
    from rich.text import Text

    from saywell.cli.terminal import fitted, marked

    score = unit.score
    assert score is not None, "what is verified has a score"
    title = unit.id if unit.sentences else unit.description
    numbers = (_two(score.score), _two(score.floor_score))
    room = console.width - len(_ends(numbers))
    # What a description is not about stands at its end, so a long one goes on in a second line.
    first, *rest = Text(" ".join(title.split())).wrap(console, room)
    console.print(Text(_columns(first.plain, numbers, console), style="bold"))
    if rest:
        console.print(Text(fitted(" ".join(line.plain for line in rest), room), style="bold"))
    if unit.sentences:
        for text in unit.to_begin_with[:_SENTENCES]:
            console.print(Text(f"   {fitted(text, console.width - 3)}"))
    elif unit.exemplars and not unit.pictures:
        console.print(Text("   ") + marked(unit.exemplars[0], console, console.width - 3))
    facts = [unit.of_sentences if unit.sentences else unit.id, unit.judged_by]
    console.print(Text(f"   {fitted(' · '.join(filter(None, facts)), console.width - 3)}", style="dim"))


def _columns(left: str, numbers: Sequence[str], console: Console) -> str:
    """A line as wide as the terminal: words, and columns of numbers."""
    from rich.cells import set_cell_size

    from saywell.cli.terminal import fitted

    end = _ends(numbers)
    room = console.width - len(end)
    return set_cell_size(fitted(left, room), room) + end


def _ends(numbers: Sequence[str]) -> str:
    """The columns of numbers at the end of a line."""
    return "".join(f"  {number:>{room}}" for number, room in zip(numbers, (4, 5), strict=True))


def _print_unfinished(study: Study, console: Console) -> None:
    """Why, how far, and what to type next."""
    import shlex
    from pathlib import Path

    from saywell.cli.terminal import plain

    manifest = study.manifest
    if manifest.status == "running" and study.is_being_written():
        why = "It is running now, in another process."
    elif manifest.status == "running":
        why = "It was killed: no process is writing it."
    else:
        why = f"It stopped: {plain(manifest.stopped_by or 'the reason was not kept')}"
    console.print(why, markup=False)
    done = list(manifest.tables)
    far = f"Finished: {', '.join(done)}." if done else "No step is finished."
    console.print(far, markup=False)
    if manifest.status == "running" and study.is_being_written():
        return
    if manifest.command:
        words = [Path(manifest.command[0]).name, *manifest.command[1:]]
        console.print("It goes on from there with:")
        console.print(f"  {plain(shlex.join(words))}", markup=False, soft_wrap=True)
    else:
        console.print("It goes on from there when the same function is called again.")


def _figures(figures: list[Metric], title: str) -> Table:
    """Figures with interval, the best of their controls, and the most that they can be here."""
    from rich import box
    from rich.table import Table

    from saywell.cli.terminal import plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column(title, ratio=1)
    for column in ("value", "95 % interval", "control", "bound"):
        table.add_column(column, justify="right", no_wrap=True)
    for m in figures:
        interval = "" if m.ci_low is None else f"{m.ci_low:z.2f} to {m.ci_high:z.2f}"
        floor = max((v for v in m.controls.values() if v is not None), default=None)
        top = min((v for v in m.ceiling.values() if v is not None), default=None)
        name = _text(plain(m.name))
        table.add_row(name, _two(m.value), interval, _two(floor), _two(top))
    return table


def _shares(figures: Sequence[Metric]) -> Table:
    """How many are verified, of how many, and of how many of each control."""
    from rich import box
    from rich.table import Table

    from saywell.cli.terminal import plain
    from saywell.report.formats import hits

    controls = list(dict.fromkeys(name for m in figures for name in m.controls))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column(f"verified, of the {figures[0].of}", ratio=1)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for column in controls:
        table.add_column(plain(column), justify="right", max_width=11)
    # Of several describers' words those of one are chosen for each unit, not always the ones that hold.
    whole = "as chosen" if any("describer" in m.by for m in figures) else "in all"
    for m in figures:
        own = hits(m.value, m.n)
        interval = "" if m.ci_low is None else f"{m.ci_low:z.2f} to {m.ci_high:z.2f}"
        beside = (hits(m.controls.get(name), m.controls_n.get(name, 0)) for name in controls)
        name = m.name.replace("verified, ", "written by ").removeprefix("verified").strip() or whole
        table.add_row(_text(plain(name)), own, interval, *beside)
    return table


def _text(words: str):
    from rich.text import Text

    return Text(words)


def _counts(study: Study) -> list[str]:
    """How many examples, units and texts there are."""
    has = set(study.manifest.tables)
    if "examples" not in has:
        return []
    from saywell.cli.terminal import plain
    from saywell.data.parts import PARTS
    from saywell.describers.class_texts.class_describer import USABLE
    from saywell.report.card import of_pictures
    from saywell.report.tables import asked, deciding_scores, of_sentences

    examples = asked(study, "examples")
    counts = dict(examples["part"].value_counts().iter_rows())
    sizes = ", ".join(f"{counts.get(part, 0):,} to {part}" for part in PARTS)
    of = f" of {study.table('classes').height:,} classes" if "classes" in has else ""
    if "hypotheses" in has:
        return [f"{examples.height:,} texts ({sizes})"]
    lines = [f"{examples.height:,} {'images' if of_pictures(examples) else 'sentences'} ({sizes}){of}"]
    if "units" in has and (units := asked(study, "units")).height:
        kinds, models = (", ".join(units[c].drop_nulls().unique().sort()) for c in ("kind", "model"))
        layers, sides = units["layer"].drop_nulls().n_unique(), units["sign"].drop_nulls().n_unique()
        high = units.filter(units["sign"].fill_null(1) > 0).height
        what = "units" if kinds == "unit" else f"{plain(kinds)} units"
        words = f"{units.height:,} {what}" + (f" of {plain(models)}" if models else "")
        words += f" in {layers} layers" if layers > 1 else ""
        lines.append(words + (f": {high:,} going high, {units.height - high:,} going low" * (sides > 1)))
        if "scores" in has and (described := deciding_scores(study)["unit"].n_unique()):
            lines.append(f"{described:,} of {units.height:,} units have a description")
    if "class_texts" in has:
        texts = asked(study, "class_texts")
        usable = texts.filter(texts["status"].is_in(USABLE)).height
        lines.append(f"{usable:,} texts that can be chosen; chosen by {study.manifest.config['select']}")
        lines += filter(None, [of_sentences(study)])
    return lines


def _two(value: float | None) -> str:
    from saywell.report.formats import two

    return "" if value is None else two(value)
