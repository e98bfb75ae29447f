"""Descriptions of units that others wrote, in the forms in which they are handed on.

    Neuronpedia     an upload batch, an import or download folder, the answers of its API
    SAEDashboard    batch-N.json (what latents respond to; it holds no descriptions)
    delphi          a folder of explanations, or the run that has one
    tables          CSV, Parquet, JSON lines with a column of units or numbers and one of texts
    saywell         a study, and whatever it exports

What is read is data: a number, a text, where it is said to belong. Nothing in it names a file.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from saywell.data.encodings import encodable
from saywell.data.files import nearest_file, open_regular
from saywell.data.tables import NUMBER, SourceTable, is_missing, open_table, suffix_of
from saywell.errors import InputError
from saywell.store.study import Study

PEAKS = 10
"""Peak tokens of a unit that are kept."""
_UNIT = ("unit", "id")
_INDEX = ("index", "feature", "feature_index", "latent", "latent_index", "neuron")
_TEXT = ("text", "description", "explanation", "label", "interpretation")
_BY = ("method", "describer", "by", "typeName", "methodName", "explanation_type")
_LLM = ("llm", "explanationModelName", "modelName", "explanation_model")
_ORIGIN = (
    *("model", "modelId", "model_id", "layer", "source", "sae", "sae_id", "sae_set", "sae_site", "sae_size"),
    *("release", "dictionary", "hookpoint", "hook", "module", "site"),
)
"""Columns that say of which of several models, places and dictionaries a description is."""
_DELPHI = re.compile(r"(.*)_latent(\d+)\.txt")
_SOURCE = re.compile(r"(\d+)-.+")
_SHOWN = 80


class Said(NamedTuple):
    """A text, and who wrote it, where that is known."""

    text: str
    by: str = ""
    llm: str = ""
    claim: str = ""


class Item(NamedTuple):
    """What is said of one unit; `peaks` are the tokens on which it was strongest, in the order given."""

    unit: str | None
    index: int | None
    origin: Mapping[str, str]
    said: Sequence[Said] = ()
    peaks: Sequence[str] = ()


@dataclass(frozen=True)
class Others:
    """Descriptions that somebody brought: unit, index, text, by, llm, claim, and columns of their origin.

    `unit` and `index` are null where they are not said, `by`, `llm` and `claim` empty. `origin` names the
    columns that say of which model, place and dictionary they are.
    """

    name: str
    table: pl.DataFrame
    origin: tuple[str, ...] = ()
    peaks: Mapping[int, Sequence[str]] | None = None
    """By index, the tokens that others found strongest, of some of the units."""
    notes: tuple[str, ...] = ()

    def only(self, wanted: Mapping[str, str]) -> Others:
        """Those whose columns say this. Raises InputError where there is no such column, or none of them."""
        table = self.table
        able = (*self.origin, "by", "llm")
        for column, value in wanted.items():
            if column not in able:
                raise InputError(
                    f"{self.name} does not say of its descriptions which {column!r} they are of; it says"
                    f" {', '.join(able)}"
                )
            kept = table.filter(pl.col(column).str.to_lowercase() == value.lower())
            if kept.is_empty():
                there = ", ".join(repr(one[:_SHOWN]) for one in table[column].unique().sort().head(8))
                raise InputError(f"{self.name} has no description with {column} {value!r}; there is {there}")
            table = kept
        return replace(self, table=table)

    def origins(self, but: Sequence[str] = ()) -> pl.DataFrame:
        """The different places that they are of, by the columns of their origin, all or all but some."""
        columns = [name for name in self.origin if name not in but]
        return self.table.select(columns).unique(maintain_order=True) if columns else pl.DataFrame()


def read_descriptions(source: str | Path | pl.DataFrame) -> Others:
    """The descriptions in a file, a folder or a table, whoever wrote them.

    Raises InputError for what is none of the forms, and where there is no description in it.
    """
    name = repr(str(source)[:200]) if isinstance(source, str | Path) else "the table"
    rows: list[tuple[Any, ...]] = []
    columns: dict[str, None] = {}
    origins: list[Mapping[str, str]] = []
    peaks: dict[int, list[str]] = {}
    wordless, units = 0, 0
    for item in read_items(source):
        units += 1
        if item.index is not None and item.peaks:
            kept = peaks.setdefault(item.index, [])
            kept += item.peaks[: PEAKS - len(kept)]
        for said in item.said:
            text = encodable(said.text, "\ufffd").replace("\x00", " ").strip()
            if not text:
                wordless += 1
                continue
            rows.append((item.unit, item.index, text, said.by, said.llm, said.claim))
            origins.append(item.origin)
            columns |= dict.fromkeys(item.origin)
    if not rows:
        raise InputError(
            f"{name} holds no description of a unit"
            + (f", only what {units} units respond to" if units and not wordless else "")
            + "; what can be read is in docs/features.md"
        )
    schema = {"unit": pl.String, "index": pl.Int64} | dict.fromkeys(("text", "by", "llm", "claim"), pl.String)
    table = pl.DataFrame(rows, schema=schema, orient="row")
    said_of = {c: [origin.get(c, "") for origin in origins] for c in columns}
    table = table.with_columns(pl.Series(c, values, dtype=pl.String) for c, values in said_of.items())
    once = table.unique(maintain_order=True)
    notes = []
    if wordless:
        notes.append(f"{wordless} rows of {name} have no words and are left out.")
    if once.height < table.height:
        notes.append(f"{table.height - once.height} rows of {name} repeat another and are left out.")
    return Others(name, once, tuple(columns), peaks or None, tuple(notes))


def read_items(source: str | Path | pl.DataFrame) -> Iterator[Item]:
    """Unit by unit what is said in it, in its order; a unit may come more than once.

    Of a folder of Neuronpedia's with activations, peaks are read of the first batch alone.
    """
    if isinstance(source, pl.DataFrame):
        yield from _of_table(open_table(source))
        return
    path = Path(source)
    if not path.exists():
        raise InputError(f"there is no file or folder {str(path)!r}{nearest_file(path)}")
    if path.is_dir():
        yield from _of_folder(path)
    elif (suffix_of(path) or "").startswith(".json"):
        yield from _of_json(path)
    elif match := _DELPHI.fullmatch(path.name):
        yield _of_delphi(path, match)
    else:
        yield from _of_table(open_table(path))


def _of_folder(folder: Path) -> Iterator[Item]:
    if (folder / "study.json").is_file():
        yield from _of_study(folder)
        return
    inside = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    explanations = [file for file in inside if _DELPHI.fullmatch(file.name)]
    if explanations:
        named = [file for file in explanations if "scores" not in file.relative_to(folder).parts[:-1]]
        for file in named:
            match = _DELPHI.fullmatch(file.name)
            assert match is not None
            yield _of_delphi(file, match)
        return
    packed = [file for file in inside if (suffix_of(file) or "").startswith(".jsonl")]
    if written := [file for file in packed if file.parent.name == "explanations"]:
        for file in written:
            yield from _of_json(file)
        for file in [file for file in packed if file.parent.name == "activations"][:1]:
            yield from _of_json(file)
        return
    if batches := [file for file in inside if file.suffix == ".json"]:
        for file in batches:
            yield from _of_json(file, skip=True)
        return
    yield from _of_table(open_table(folder))


# ---- JSON


def _of_json(path: Path, *, skip: bool = False) -> Iterator[Item]:
    """A document, or a document a line. `skip`: one that is none of the forms has nothing to say."""
    if (suffix_of(path) or "").startswith(".jsonl"):
        documents: Iterable[Any] = _lines(path)
    else:
        try:
            with _opened(path) as file:
                documents = [json.loads(file.read().decode("utf-8-sig"))]
        except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
            raise InputError(f"{str(path)!r} cannot be read as JSON: {error}") from error
        if isinstance(documents[0], list):
            documents = documents[0]
    for number, document in enumerate(documents, start=1):
        found = _of_document(document, path, number)
        if found is not None:
            yield from found
        elif not skip:
            raise InputError(
                f"entry {number} of {str(path)!r} names no unit and says nothing of one:"
                f" {encodable(json.dumps(document))[:_SHOWN]}"
            )


def _of_document(document: Any, path: Path, number: int) -> Iterator[Item] | None:
    if not isinstance(document, Mapping):
        return None
    where = f"entry {number} of {str(path)!r}"
    features = document.get("features")
    if isinstance(features, list):
        sae_set = document.get("sae_set")
        layer = document.get("layer")
        if sae_set is not None and layer is not None:
            suffix = document.get("sae_id_suffix")
            source = f"{layer}-{sae_set}" + (f"__{suffix}" if suffix else "")
        else:
            source = document.get("source")
        origin = _origin(document.get("modelId", document.get("model_id")), source)
        return (_of_feature(feature, origin, where) for feature in features if isinstance(feature, Mapping))
    if all(str(key).isdecimal() and isinstance(text, str) for key, text in document.items()) and document:
        return (Item(None, int(index), {}, [Said(text)]) for index, text in document.items())
    if _first(document, _INDEX) is None and _first(document, _UNIT) is None:
        return None
    if "explanations" in document or "tokens" in document or _first(document, _TEXT) is not None:
        layer = document.get("layer")
        named = isinstance(layer, str) and _SOURCE.fullmatch(layer)
        origin = (
            _origin(document.get("modelId"), layer)
            if named
            else {
                name: _plain(document[name])
                for name in _ORIGIN
                if name in document and not is_missing(document[name])
            }
        )
        return iter([_of_feature(document, origin, where)])
    return None


def _of_feature(feature: Mapping[str, Any], origin: Mapping[str, str], where: str) -> Item:
    given = feature.get("explanations")
    told = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else [feature]
    said = []
    for one in told:
        text = _first(one, _TEXT)
        if isinstance(text, str):
            by, llm, claim = (_first(one, names) for names in (_BY, _LLM, ("claim",)))
            said.append(Said(text, *(value if isinstance(value, str) else "" for value in (by, llm, claim))))
    activations = feature.get("activations")
    shown = activations if isinstance(activations, list) else [feature] if "tokens" in feature else []
    peaks = [peak for one in shown[:PEAKS] if (peak := _peak(one)) is not None]
    unit = feature.get("unit", feature.get("id"))
    unit = unit if isinstance(unit, str) else None
    return Item(unit, _number(_first(feature, _INDEX), where), origin, said, peaks)


def _peak(activation: Any) -> str | None:
    tokens, values = (
        (activation.get("tokens"), activation.get("values"))
        if isinstance(activation, Mapping)
        else (None, None)
    )
    if not (isinstance(tokens, list) and isinstance(values, list) and tokens):
        return None
    numbers = [value if isinstance(value, int | float) else float("-inf") for value in values[: len(tokens)]]
    return encodable(str(tokens[numbers.index(max(numbers))])) if numbers else None


def _origin(model: Any, source: Any) -> dict[str, str]:
    """Of Neuronpedia's names: the source "5-res" is of layer 5."""
    found = {name: _plain(value) for name, value in (("model", model), ("source", source)) if value}
    layer = _SOURCE.fullmatch(found.get("source", ""))
    return found | {"layer": layer[1]} if layer else found


def _lines(path: Path) -> Iterator[Any]:
    read = 0
    try:
        with _opened(path) as file:
            for line in file:
                read += 1
                if line.strip():
                    yield json.loads(line.decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise InputError(f"line {read or 1} of {str(path)!r} cannot be read as JSON: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with open_regular(path) as file:
        if path.name.lower().endswith(".gz"):
            with gzip.open(file) as unpacked:
                yield unpacked
        else:
            yield file


def _first(document: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((document[name] for name in names if document.get(name) is not None), None)


def _number(value: Any, where: str) -> int | None:
    if is_missing(value):
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}(\.0+)?", str(value).strip()):
        raise InputError(f"{where} has the number of a unit {str(value)[:_SHOWN]!r}, which is none")
    return int(str(value).strip().partition(".")[0])


def _plain(value: Any) -> str:
    """As a text; 3.0 is 3."""
    whole = isinstance(value, float) and value.is_integer()
    return encodable(str(int(value) if whole else value))[:200]


# ---- delphi, tables, studies


def _of_delphi(path: Path, match: re.Match[str]) -> Item:
    """A file of one explanation, a JSON string; its name says whose."""
    try:
        with open_regular(path) as file:
            text = json.loads(file.read().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is no explanation of delphi's: {error}") from error
    if not isinstance(text, str):
        raise InputError(
            f"{str(path)!r} is no explanation of delphi's, which is one JSON string; give the folder of these"
        )
    return Item(None, int(match[2]), {"hookpoint": encodable(match[1])}, [Said(text)])


def _of_table(table: SourceTable) -> Iterator[Item]:
    def named(names: Sequence[str]) -> str | None:
        return next((name for name in names if name in table.kinds), None)

    unit, index, text = named(_UNIT), named(_INDEX), named(_TEXT)
    if text is None or (unit is None and index is None):
        raise InputError(
            f"{table.name} needs a column that says of which unit a text is"
            f" ({', '.join((*_UNIT, *_INDEX))}) and one of texts ({', '.join(_TEXT)}); it has"
            f" {', '.join(list(table.kinds)[:20])}"
        )
    if index is None and unit is not None and table.kinds[unit] == NUMBER:
        unit, index = None, unit
    by, llm, claim = named(_BY), named(_LLM), named(("claim",))
    origin = [name for name in _ORIGIN if name in table.kinds]
    wanted = [name for name in (unit, index, text, by, llm, claim) if name is not None]
    names = list(dict.fromkeys([*wanted, *origin]))
    taken = dict(zip(names, table.take(names), strict=True))

    def cell(name: str | None, row: int) -> Any:
        return None if name is None else taken[name][row]

    for row in range(len(taken[text])):
        words = [cell(name, row) for name in (text, by, llm, claim)]
        said = Said(*("" if is_missing(word) else str(word) for word in words))
        number = _number(cell(index, row), f"row {row + 1} of {table.name}")
        whose = cell(unit, row)
        yield Item(
            None if is_missing(whose) else encodable(str(whose)),
            number,
            {name: _plain(value) for name in origin if not is_missing(value := taken[name][row])},
            [said],
        )


def _of_study(folder: Path) -> Iterator[Item]:
    """What a study says of its units, by all who wrote of them."""
    study = Study(folder)
    written = study.descriptions.filter(pl.col("text") != "")
    units: dict[str, tuple[int | None, Any]] = {}
    if "units" in study.manifest.tables:
        table = study.units.filter(pl.col("sign").fill_null(1) > 0)
        units = {id: (index, layer) for id, index, layer in table.select("id", "index", "layer").iter_rows()}
    claims = written["claim"].to_list() if "claim" in written.columns else [None] * written.height
    rows = written.select("unit", "text", "describer", "llm").iter_rows()
    for (unit, text, describer, llm), claim in zip(rows, claims, strict=True):
        index, layer = units.get(unit, (None, None))
        origin = {} if layer is None else {"layer": str(layer)}
        yield Item(unit, index, origin, [Said(text, describer or "", llm or "", claim or "")])
