"""Pictures shown to an image model, and where in a picture a response came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import nn

from saywell.data.examples import Examples
from saywell.encoders.vision import default_batch
from saywell.errors import InputError
from saywell.units.exemplars import Locate, nowhere
from saywell.units.hooks import Shown, Tap
from saywell.units.models import VisionModel
from saywell.units.probe import first_tensor

if TYPE_CHECKING:
    from PIL import Image

_HELD = 1 << 25
"""Numbers of prepared pictures that are in memory at once: 128 MB."""
_MOST_EXTRA = 16
"""Tokens at most that stand before those of the picture (class token, registers)."""
_DARK, _BRIGHT = 55, 200
REGION = ("region_left", "region_top", "region_right", "region_bottom")


class Place(NamedTuple):
    """A row of units in an image model: how many, and the grid of places that each has a response at."""

    module: str
    units: int
    grid: tuple[int, int] | None
    """Rows and columns; None where a response is of the whole picture, or of tokens that are no grid."""
    first: int = 0
    """Tokens before those of the grid."""
    last: bool = False
    """Whether units are the last axis of four."""


class _Gave(NamedTuple):
    """What a module gave, and whether it was that tensor and nothing around it."""

    values: torch.Tensor
    bare: bool


@dataclass(frozen=True)
class PictureFeed:
    """Pictures in the order of their ids, prepared one by one, so that no neighbour changes a number."""

    examples: Examples
    processor: Any
    size: tuple[int, int, int]
    """Of a prepared picture: channels, height, width."""
    batch: int

    @staticmethod
    def of(model: VisionModel, examples: Examples) -> PictureFeed:
        """As many at once as suits the model's device."""
        if examples.kind != "image":
            raise InputError(f"{model.name} looks at images, and the examples are {examples.kind}s")
        device = next(model.model.parameters()).device
        return PictureFeed(examples, model.processor, picture_size(model), default_batch(device.type))

    @property
    def longest(self) -> int:
        """See `Feed`."""
        return self.size[1] * self.size[2]

    @property
    def shard(self) -> int:
        """See `Feed`."""
        return max(self.batch, _HELD // int(np.prod(self.size)))

    def check(self, model: nn.Module) -> None:
        """See `Feed`."""

    def order(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """See `Feed`."""
        return rows[np.argsort(np.asarray(self.examples.ids, dtype=np.str_)[rows], kind="stable")]

    def batches(self, rows: Int[np.ndarray, " rows"]) -> Iterator[Shown]:
        """See `Feed`. They are read in the order in which their source has them, and shown in this one."""
        ids = [self.examples.ids[row] for row in rows]
        line = {id: number for number, id in enumerate(ids)}
        pixels = torch.empty((len(rows), *self.size))
        for id, picture in self.examples.pictures(ids):
            pixels[line[id]] = prepared(self.processor, picture)
        for start in range(0, len(rows), self.batch):
            some = slice(start, start + self.batch)
            yield Shown(rows[some], {"pixel_values": pixels[some]})


def prepared(processor: Any, picture: Image.Image) -> Float[torch.Tensor, "channels height width"]:
    """A picture as the model sees it."""
    return torch.as_tensor(processor([picture], return_tensors="pt")["pixel_values"][0])


def picture_size(model: VisionModel) -> tuple[int, int, int]:
    """Channels, height and width of a prepared picture."""
    from saywell.encoders.vision import blank

    channels, height, width = prepared(model.processor, blank()[0]).shape
    return channels, height, width


def find_places(model: VisionModel, modules: Sequence[str] | str) -> list[Place]:
    """The rows of units at modules by path, or at "outputs" or "channels".

    "outputs" is what the model gives; "channels" the last of its modules whose units have places in the
    picture: the last convolutions, or tokens.

    Raises InputError for a module that there is not, that does not run once, or whose output is no row
    of units for every picture.
    """
    ran = _trial(model)
    if modules == "outputs":
        wanted = [""]
    elif modules == "channels":
        wanted = [_last_with_places(model, ran)]
    else:
        wanted = [modules] if isinstance(modules, str) else list(modules)
    found = []
    for path in wanted:
        outputs = ran.get(path)
        if outputs is None:
            some = ", ".join([name for name in ran if name and name.count(".") <= 2][:12])
            raise InputError(f"the image model has no module {path!r} that runs; some that do: {some}")
        if len(outputs) != 1:
            raise InputError(f"module {path!r} runs {len(outputs)} times for a picture; name another")
        found.append(place_of(model, path, outputs[0].values))
    return found


def place_taps(places: Sequence[Place]) -> list[Tap]:
    """Hooks for `run_pass`."""
    return [Tap(place.module, "output", place.units, place_view(place)) for place in places]


def place_view(place: Place) -> Callable[[torch.Tensor, Shown], torch.Tensor | None]:
    """What a module gives as [pictures, places, units]."""

    def view(found: torch.Tensor, batch: Shown) -> torch.Tensor | None:
        if found.ndim == 2:
            return found[:, None]
        if found.ndim == 4:
            return found.flatten(1, 2) if place.last else found.flatten(2).transpose(1, 2)
        return found[:, place.first :] if found.ndim == 3 else None

    return view


def region_finder(model: VisionModel, examples: Examples, places: Sequence[Place]) -> Locate:
    """The cell of a module's grid that responded most, as shares of the original picture.

    Where the model sees a part of a picture (a crop), or more (a border), the cell is where that lies in
    the picture itself. Null for responses to the whole picture.
    """
    starts = np.cumsum([0, *(place.units for place in places)])
    sizes = examples.table.select("width", "height").to_numpy()
    frames: dict[tuple[int, int], tuple[np.ndarray, np.ndarray] | None] = {}

    def one(place: Place, example: int, position: int) -> tuple[float, ...] | None:
        if place.grid is None or position < 0:
            return None
        size = int(sizes[example][0]), int(sizes[example][1])
        if size not in frames:
            frames[size] = framing(model.processor, *size)
        frame = frames[size]
        if frame is None:
            return None
        rows, columns = place.grid
        row, column = divmod(position, columns)
        (left, across), (top, down) = frame
        box = (
            left + across * column / columns,
            top + down * row / rows,
            left + across * (column + 1) / columns,
            top + down * (row + 1) / rows,
        )
        return tuple(min(1.0, max(0.0, edge)) for edge in box)  # a border is no part of the picture

    def locate(numbers: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> pl.DataFrame:
        whose = np.searchsorted(starts, numbers, side="right") - 1
        boxes = [one(places[w], int(r), int(p)) for w, r, p in zip(whose, rows, positions, strict=True)]
        regions = [
            pl.Series(name, [None if box is None else box[edge] for box in boxes], dtype=pl.Float32)
            for edge, name in enumerate(REGION)
        ]
        return nowhere(numbers, rows, positions).with_columns(regions)

    return locate


def framing(processor: Any, width: int, height: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Which part of a picture of this size the model sees: for x and y, where it begins, and how much.

    Both are shares of the picture's own width or height. Found by preparing a picture that grows brighter
    to the right and to the bottom, so whatever a processor does is seen. None where too little is left.
    """
    from PIL import Image

    ramp = np.zeros((height, width, 3), dtype=np.uint8)
    levels = [(np.arange(size) + 0.5) / size * (_BRIGHT - _DARK) + _DARK for size in (width, height)]
    ramp[..., 0], ramp[..., 1] = np.rint(levels[0])[None], np.rint(levels[1])[:, None]
    seen = prepared(processor, Image.fromarray(ramp)).numpy()
    low, high = (
        prepared(processor, Image.new("RGB", (width, height), (level,) * 3)).numpy()
        for level in (_DARK, _BRIGHT)
    )
    middle = seen.shape[1] // 2, seen.shape[2] // 2
    found = []
    for channel, profile in ((0, seen[0, middle[0]]), (1, seen[1, :, middle[1]])):
        dark, bright = (flat[channel, middle[0], middle[1]] for flat in (low, high))
        share = (profile - dark) / (bright - dark)
        inside = np.flatnonzero((share > 0.03) & (share < 0.97))
        if len(inside) < 2:
            return None
        slope, start = np.polyfit((inside + 0.5) / len(profile), share[inside], 1)
        found.append(np.array([start, slope]))
    return found[0], found[1]


def _trial(model: VisionModel) -> dict[str, list[_Gave]]:
    """What every module gives for two pictures, in the order in which they end."""
    seen: dict[str, list[_Gave]] = {}

    def note(path: str):
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            try:
                given = first_tensor(output)
                # Others write in place.
                seen.setdefault(path, []).append(_Gave(given.clone(), given is output))
            except (InputError, TypeError):
                return

        return hook

    pixels = made_up(model)
    hooks = [module.register_forward_hook(note(path)) for path, module in model.model.named_modules()]
    try:
        with torch.inference_mode():
            model.model(pixel_values=pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def made_up(model: VisionModel) -> Float[torch.Tensor, "2 channels height width"]:
    """Two pictures as the model sees them."""
    size = picture_size(model)
    pixels = torch.sin(torch.arange(2 * int(np.prod(size)), dtype=torch.float32)).view(2, *size)
    return pixels.to(next(model.model.parameters()).device)


def place_of(model: VisionModel, path: str, output: torch.Tensor) -> Place:
    """The row of units of a module that gives, or reads, this for two pictures.

    Raises InputError for what is no row of units for every picture.
    """
    _, height, width = picture_size(model)
    shape = tuple(output.shape)
    picture = (height, width)
    inner, outer = (len(shape) == 4 and _is_grid(axes, picture) for axes in (shape[2:4], shape[1:3]))
    if inner or outer:
        module = model.model.get_submodule(path)
        by_row = hasattr(module, "out_features") or hasattr(module, "normalized_shape")
        last = outer and (by_row or not inner)
        rows, columns = shape[1:3] if last else shape[2:4]
        grid = None if rows * columns == 1 else (rows, columns)
        return Place(path, shape[3] if last else shape[1], grid, last=last)
    if len(shape) == 3 and shape[0] == 2:
        first, grid = _token_grid(model, shape[1], height, width)
        return Place(path, shape[2], grid, first)
    if len(shape) == 2 and shape[0] == 2:
        return Place(path, shape[1], None)
    raise InputError(
        f"module {path!r} gives {shape} for two pictures; units are channels [pictures, units, rows,"
        " columns], tokens [pictures, tokens, units] or [pictures, units]"
    )


def _is_grid(axes: tuple[int, ...], picture: tuple[int, int]) -> bool:
    """Whether the axes are those of the picture, made smaller."""
    return abs(axes[0] - axes[1] * picture[0] / picture[1]) <= 1


def _token_grid(
    model: VisionModel, tokens: int, height: int, width: int
) -> tuple[int, tuple[int, int] | None]:
    """How many tokens stand before those of the picture, and the grid of the rest."""
    patch = getattr(getattr(model.model, "config", None), "patch_size", None)
    if isinstance(patch, int) and patch > 0:
        grid = height // patch, width // patch
        if 0 <= tokens - grid[0] * grid[1] <= _MOST_EXTRA:
            return tokens - grid[0] * grid[1], grid
    for first in range(min(_MOST_EXTRA, tokens - 1) + 1):
        columns = round(float(np.sqrt((tokens - first) * width / height)))
        if columns and (tokens - first) % columns == 0:
            rows = (tokens - first) // columns
            if rows == round(columns * height / width):
                return first, (rows, columns)
    return 0, None


def _last_with_places(model: VisionModel, ran: dict[str, list[_Gave]]) -> str:
    found: torch.Tensor | None = None
    once = {path: gave[0] for path, gave in ran.items() if path and len(gave) == 1}
    for path, gave in once.items():
        try:
            if gave.values.ndim > 2 and place_of(model, path, gave.values).grid is not None:
                found = gave.values
        except InputError:
            continue
    if found is None:
        raise InputError(f"{model.name} has no module whose units have places in the picture; name modules")
    # What holds a module often gives the same; the largest that gives just that has the best name.
    same = [path for path, gave in once.items() if _equal(gave.values, found)]
    return min(same, key=lambda path: (not once[path].bare, path.count("."), len(path)))


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)
