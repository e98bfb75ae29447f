"""`saywell places`: what places a model has that latents can be read at, by all their names."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saywell.cli.options import AsJson

if TYPE_CHECKING:
    import polars as pl

_CELLS = (18, 37, 0)
"""Of a line, for each of the names of a place."""
_TITLES = {"text": "texts", "decoder": "texts, in the decoder", "images": "pictures"}


def places(
    model: Annotated[
        str,
        typer.Argument(help="Folder, hub name or GGUF file of a model; minilm; smollm2.", metavar="MODEL"),
    ],
    json: AsJson = False,
) -> None:
    """List where in a model activations can be read: module, width, and what others call the place.

    Any of the names is understood by `saywell features --at`.
    """
    import json as json_module

    from saywell.units.hook_points import hook_points
    from saywell.units.models import load_parts

    tables = {part: hook_points(loaded) for part, loaded in load_parts(model).items()}
    if json:
        rows = [{"of": part, **row} for part, table in tables.items() for row in table.to_dicts()]
        typer.echo(json_module.dumps(rows, indent=2))
        return
    for part, table in tables.items():
        _print(f"{model}, of {_TITLES[part]}", table)


def _print(title: str, table: pl.DataFrame) -> None:
    """Places that differ in the number of their layer alone as one."""
    from saywell.cli.terminal import fitted, open_console, plain

    width = min(80, open_console().width)
    typer.echo(f"\n{fitted(title, width)}")
    if table["transformer_lens"].null_count() < table.height:
        typer.echo(f"{'here':<18}{'TransformerLens':<37}nnterp")
    kinds: dict[tuple, list[int]] = {}
    for row in table.to_dicts():
        kinds.setdefault(_kind(row), []).append(-1 if row["layer"] is None else row["layer"])
    everywhere = max((len(layers) for layers in kinds.values()), default=0)
    for (*names, module, size, note), layers in kinds.items():
        if any(names):
            typer.echo(
                "".join(plain(name).ljust(cells) for name, cells in zip(names, _CELLS, strict=True)).rstrip()
            )
        line = f"  {plain(module)}  {size}"
        some = "" if len(layers) == everywhere or layers == [-1] else f"L = {_ranges(layers)}"
        more = "; ".join(part for part in (some, plain(note)) if part)
        if more and len(line) + len(more) + 2 <= width:
            line, more = f"{line}  {more}", ""
        typer.echo(line)
        for part in textwrap.wrap(more, width - 4):
            typer.echo(f"    {part}")
    if any(layers != [-1] for layers in kinds.values()):
        layers = sorted(set(table["layer"].drop_nulls()))
        typer.echo(f"L is a layer, {_ranges(layers)}; the number after a module is its width")


def _kind(row: dict[str, Any]) -> tuple:
    """What a row says, with L for its layer."""
    layer = row["layer"]

    def general(text: str | None) -> str:
        if not text or layer is None:
            return text or ""
        return re.sub(rf"(?<=[.\[]){layer}(?![^.\]':])", "L", text, count=1)

    side = ":in" if row["side"] == "input" else ""
    grid = f" x {row['rows']} x {row['columns']}" if row["rows"] else ""
    ours = row["interp_engine"] or (row["what"] if row["what"] != "module" else "")
    return (
        general(ours if row["interp_engine"] or layer is None else f"{ours}.{layer}"),
        general(row["transformer_lens"]),
        general(row["nnterp"]),
        general(row["module"]) + side,
        f"{row['width']}{grid}",
        general(row["note"]),
    )


def _ranges(numbers: list[int]) -> str:
    """`0-3, 5`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ", ".join("-".join(map(str, run)) for run in found)
