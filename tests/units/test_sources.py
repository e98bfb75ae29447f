"""Sources of units that are no models: labels, matrices, columns, functions."""

from __future__ import annotations

import json
import re
from functools import cache, partial

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from safetensors.numpy import save_file

from saywell.data.examples import Examples
from saywell.data.parts import PARTS
from saywell.data.splits import content_ids
from saywell.errors import InputError, SaywellError
from saywell.resources import Resources
from saywell.units.activations import Activations
from saywell.units.columns import Columns
from saywell.units.exemplars import exemplar_table
from saywell.units.firing import Above, AboveMedian, OnesOrTop, TopShare, firing_rule
from saywell.units.functions import Functions
from saywell.units.labels import Labels
from saywell.units.marked import yes_in
from saywell.units.matrix import load_matrix
from saywell.units.responses import open_responses
from saywell.units.statistics import UNITS, unit_table


def made(count=60, *, total=None, order=None, **columns):
    """Texts in three parts, read from every other row of a source."""
    texts = [f"text number {n}" for n in range(count)]
    table = pl.DataFrame(
        {
            "id": content_ids(texts),
            "part": [PARTS[n % 3] for n in range(count)],
            "row": pl.Series(range(0, 2 * count, 2), dtype=pl.Int64),
            "text": texts,
            **columns,
        }
    )
    table = table if order is None else table[order]
    return Examples(table, "text", "0" * 32, pl.DataFrame(), total or 2 * count)


def described(source, examples, folder):
    """Activations of a source, by way of its folder."""
    source.collect(examples, folder, Resources())
    stored = open_responses(folder, len(examples))
    units = UNITS.check(unit_table(source.units(), stored, source.firing, examples.parts.describe))
    return Activations(stored, units, source.firing)


def test_classes_are_units(tmp_path):
    labels = [None if n == 7 else "heron" if n % 2 else "stork" for n in range(60)]
    examples = made(label=labels)
    source = Labels.of(examples)
    activations = described(source, examples, tmp_path / "a")
    assert activations.units["id"].to_list() == ["heron", "stork"]
    assert activations.units["state"].to_list() == ["ok", "ok"]
    rows = np.arange(60)
    told = np.array([label is not None for label in labels])
    assert np.array_equal(activations.known(["heron", "stork"], rows), np.stack([told, told]))
    expected = [[label == name for label in labels] for name in ("heron", "stork")]
    assert np.array_equal(activations.fires(["heron", "stork"], rows), expected)
    parts = {"describe": examples.parts.describe, "select": examples.parts.select}
    found = exemplar_table(activations, examples.ids, parts, 5)
    for (unit, part), mine in found.group_by("unit", "part"):
        fit = [
            i
            for i, name, p in examples.table.select("id", "label", "part").iter_rows()
            if (name, p) == (unit, part)
        ]
        assert mine["example"].to_list() == sorted(fit)[:5]
    # Equal examples rank by content, so the order of the rows changes nothing.
    order = np.random.default_rng(0).permutation(60)
    other = made(label=labels, order=order)
    again = exemplar_table(
        described(source, other, tmp_path / "b"), other.ids, {"describe": other.parts.describe}, 5
    )
    assert again.equals(found.filter(part="describe"))


def test_a_control_has_the_same_values_in_each_part(tmp_path):
    examples = made(label=["heron" if n % 5 else "stork" for n in range(60)])
    source = Labels.of(examples)
    control = source.control(0)
    own = described(source, examples, tmp_path / "own")
    shuffled = described(control, examples, tmp_path / "shuffled")
    differ = 0
    for part in examples.parts:
        a, b = (one.of(["heron", "stork"], part.rows) for one in (own, shuffled))
        assert sorted(map(tuple, a.T)) == sorted(map(tuple, b.T))
        differ += (a != b).sum()
    assert differ > 0 and control.control(1) is None
    order = np.random.default_rng(1).permutation(60)
    other = made(label=["heron" if n % 5 else "stork" for n in range(60)], order=order)
    moved = described(control, other, tmp_path / "moved").of(["heron"], np.argsort(order))
    assert np.array_equal(moved, shuffled.of(["heron"], np.arange(60)))


@pytest.fixture
def numbers():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(120, 3)).round(3)
    values[draw.random(values.shape) < 0.5] = 0
    return values


def write(kind, values, examples, folder):
    """The same numbers in one of the formats, the file's path and the names that they get."""
    path = folder / f"activations.{kind.split()[0]}"
    names = ["unit/0", "unit/1", "unit/2"]
    if kind == "npy":
        np.save(path, values)
    elif kind == "safetensors":
        save_file({"x": values, "other": np.arange(4.0)}, path)
    elif kind == "npz":
        sp.save_npz(path, sp.csc_matrix(values))
    elif kind == "parquet by row":
        table = pl.DataFrame(values, schema=["a", "b", "c"])
        table.with_columns(row=pl.Series(range(120))).sample(fraction=1.0, shuffle=True).write_parquet(path)
        names = ["a", "b", "c"]
    elif kind == "parquet by id":
        table = pl.DataFrame(values[::2], schema=["a", "b", "c"]).with_columns(
            example=pl.Series(examples.ids)
        )
        table.sample(fraction=1.0, shuffle=True).write_parquet(path)
        names = ["a", "b", "c"]
    else:
        rows, columns = values[::2].nonzero()
        table = pl.DataFrame(
            {
                "unit": [f"unit/{c}" for c in columns],
                "example": [examples.ids[r] for r in rows],
                "value": values[::2][rows, columns],
            }
        )
        table.sample(fraction=1.0, shuffle=True).write_parquet(path)
    return path, names


@pytest.mark.parametrize(
    "kind", ["npy", "safetensors", "npz", "parquet by row", "parquet by id", "parquet long"]
)
def test_any_format_gives_the_same_responses(kind, numbers, tmp_path):
    examples = made()
    path, names = write(kind, numbers, examples, tmp_path)
    source = load_matrix(path)
    assert source.firing == (Above(0) if kind in ("npz", "parquet long") else TopShare(0.05))
    activations = described(source, examples, tmp_path / "stored")
    assert activations.units["id"].to_list() == names
    # `row` of the source counts: these examples are every other one of its rows.
    assert np.array_equal(activations.of(names, np.arange(60)), numbers[::2].T.astype(np.float32))
    (tmp_path / "names.json").write_text(json.dumps(["x", "y", "z"]))
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    for file in ("names.json", "names.txt"):
        assert load_matrix(path, names=tmp_path / file).units()["name"].to_list() == ["x", "y", "z"]
    with pytest.raises(InputError, match="3 units, and there are 2 names"):
        load_matrix(path, names=["x", "y"])
    with pytest.raises(InputError, match="called 'x'"):
        load_matrix(path, names=["x", "y", "x"])


def test_what_a_long_table_does_not_hold_is_zero_or_unknown(tmp_path):
    examples = made()
    table = pl.DataFrame({"unit": ["a", "a"], "example": examples.ids[:2], "value": [2.0, None]})
    for absent, expected in ((0.0, [2, np.nan, 0]), (np.nan, [2, np.nan, np.nan])):
        found = described(load_matrix(table, absent=absent), examples, tmp_path / str(absent))
        np.testing.assert_array_equal(found.of(["a"], np.arange(3))[0], expected)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (np.zeros((60, 2)), "has 60 rows, and the examples were read from 120 .of which 60 are used"),
        (
            pl.DataFrame({"example": ["nobody"], "a": [1.0]}),
            "no row for 60 of the 60 .* it has 1, the first 'nobody'",
        ),
        (
            pl.DataFrame({"row": [0, 1], "a": [1.0, 2.0]}),
            "no row for 59 of the 60 examples, the first 2; it has 2",
        ),
        (pl.DataFrame({"unit": ["a"], "example": ["nobody"], "value": [1.0]}), "the first 'nobody'"),
        (pl.DataFrame({"row": [0, 0], "a": [1.0, 2.0]}), "more than one row for the example 0"),
        (pl.DataFrame({"row": [0], "a": ["word"]}), "column 'a' .* is String"),
        (
            pl.DataFrame({"unit": ["a"] * 2, "example": ["x"] * 2, "value": [1, 2]}),
            "more than one value of unit 'a'",
        ),
        (np.full((120, 2), np.inf), "unit/0 is inf on row 0"),
        (np.arange(240).reshape(120, 2) * 1e-9 + 1e9, "numbers of unit/0 differ by less than float32"),
        (np.array([["a", "b"]]), "no matrix of numbers"),
        (np.zeros((2, 2, 2)), "no matrix of numbers"),
        ("nowhere.npy", "no file 'nowhere.npy'"),
        (np.zeros((120, 2)) + 1j, "complex numbers"),
        (sp.csr_matrix(np.eye(120) * 1j), "complex numbers"),
        (
            pl.DataFrame({"unit": ["a"] * 70, "example": [f"x{n}" for n in range(70)], "value": [1.0] * 70}),
            "70 examples, of which 70 are none of these 60, the first 'x0'",
        ),
        (pl.DataFrame({"unit": ["a"] * 2, "example": [0, -3], "value": [1, 2]}), "1 are none .* first -3"),
        (pl.DataFrame({"row": [0], "id": [7], "a": [1.0]}), "the columns id and row: leave one"),
        (pl.DataFrame({"row": range(121), "a": range(121)}), "1 are none .* the first 120; give rows"),
        (pl.DataFrame({"unit": [["a"]], "example": ["x"], "value": [1.0]}), "'unit' .* is List"),
        (pl.DataFrame({"unit": ["a"], "example": [["x"]], "value": [1.0]}), "not List"),
    ],
)
def test_what_does_not_fit_is_one_error_that_shows_both(source, told, tmp_path):
    with pytest.raises(InputError, match=told):
        load_matrix(source).collect(made(), tmp_path, Resources())


def test_ids_of_others_are_known_to_be_those_that_a_limit_left_out(tmp_path):
    """Without a limit every id has to be an example's: what a long table does not hold is taken for 0."""
    table = pl.DataFrame({"unit": ["a"] * 2, "example": [made().ids[0], "x"], "value": [1.0, 2.0]})
    load_matrix(table).collect(made(), tmp_path, Resources())
    with pytest.raises(InputError, match="of which 1 are none of these 60, the first 'x'"):
        load_matrix(table).collect(made(total=60), tmp_path, Resources())


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, pl.DataFrame])
def test_one_constant_column_is_no_reason_to_refuse_the_others(form, tmp_path):
    values = np.stack([np.full(120, 0.1), np.arange(120.0)], axis=1)
    found = described(load_matrix(form(values), firing=TopShare()), made(), tmp_path)
    assert found.units["state"].to_list() == ["constant", "ok"]
    if form is np.asarray:  # nor to take them for yes and no
        for same in (0.0, np.nan):
            assert load_matrix(np.where([True, False], same, values)).firing == TopShare()


def test_masked_values_are_unknown(tmp_path):
    values = np.ma.masked_less(np.arange(240).reshape(120, 2), 4)
    found = described(load_matrix(values), made(), tmp_path)
    assert np.isnan(found.of(["unit/0", "unit/1"], np.arange(60))).sum(1).tolist() == [1, 1]
    assert found.units["minimum"].to_list() == [12, 13]  # of the describe examples


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "parquet"])
def test_a_file_cut_short_anywhere_is_one_error(suffix, tmp_path):
    path, values = tmp_path / f"a.{suffix}", np.random.default_rng(0).normal(size=(120, 3))
    {
        "npy": lambda: np.save(path, values),
        "npz": lambda: sp.save_npz(path, sp.csr_matrix(values)),
        "safetensors": lambda: save_file({"a": values}, path),
        "parquet": lambda: pl.DataFrame(values).write_parquet(path),
    }[suffix]()
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(SaywellError, match=path.name):
            load_matrix(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"indptr": [0, 5, 2]},
        {"indptr": [0, 1]},
        {"indices": [0, 99_999_999]},
        {"indices": [0, -1]},
        {"indices": [0]},
        {"shape": [2]},
        {"shape": [-2, 3]},
        {"indices": [[0, 1]]},
    ],
)
def test_parts_of_a_sparse_matrix_that_do_not_fit_together_are_refused(wrong, tmp_path):
    parts = {"data": np.ones(2), "indices": [0, 1], "indptr": [0, 1, 2], "shape": [2, 3]} | wrong
    path = tmp_path / "a.safetensors"
    save_file({name: np.asarray(part) for name, part in parts.items()}, path)
    with pytest.raises(InputError, match=r"a\.safetensors"):
        load_matrix(path)


def test_a_file_is_the_same_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.eye(4))
    one, two = load_matrix("a.npy"), load_matrix(tmp_path / "a.npy")
    assert one.name == two.name == "a.npy" and one.fingerprint == two.fingerprint


def test_a_file_with_pickles_is_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read as \.npy"):
        load_matrix(tmp_path / "a.npy")


def test_columns_are_units_by_what_they_hold(tmp_path):
    draw = np.random.default_rng(0)
    stars = draw.choice([1, 2, 3, 4, 5, None], 60).tolist()
    examples = made(
        stars=pl.Series(stars, dtype=pl.Int64),
        clicked=[None if n % 7 == 0 else n % 2 == 0 for n in range(60)],
        place=["bar" if n % 5 else "café" for n in range(60)],
        tags=[["x", "y"] if n % 4 else ["x"] if n else None for n in range(60)],
        length=[float(n) for n in range(60)],
    )
    source = Columns.of(examples, ["stars", "clicked", "place", "tags", "length"])
    activations = described(source, examples, tmp_path)
    names = [
        "stars",
        "clicked=true",
        "place=bar",
        "place=café",
        "tags=x",
        "tags=y",
        "length",
        "stars-",
        "length-",
    ]
    assert activations.units["id"].to_list() == names
    rows = np.arange(60)
    for name, expected in {
        "stars": [np.nan if s is None else s for s in stars],
        "stars-": [np.nan if s is None else -s for s in stars],
        "clicked=true": [np.nan if n % 7 == 0 else n % 2 == 0 for n in rows],
        "place=café": [n % 5 == 0 for n in rows],
        "tags=y": [np.nan if n == 0 else n % 4 > 0 for n in rows],
    }.items():
        np.testing.assert_array_equal(activations.of([name], rows)[0], np.array(expected, dtype=np.float32))
    shares = dict(activations.units.select("id", "fires").iter_rows())
    assert shares["length"] == pytest.approx(0.5) and shares["length-"] == pytest.approx(0.5)
    assert np.array_equal(activations.fires(["place=bar"], rows)[0], rows % 5 > 0)
    median = np.quantile([s for s in np.array(stars)[::3] if s], 0.5, method="lower")
    assert np.array_equal(
        activations.fires(["stars"], rows)[0], [s is not None and s > median for s in stars]
    )


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("nothing", "no column 'nothing'; they have id"),
        ("text", "60 different|1,200 different"),
        ("one", "only the value 3"),
    ],
)
def test_a_column_that_makes_no_units_is_named(column, told):
    examples = made(1200, one=[3] * 1200)
    with pytest.raises(InputError, match=told):
        Columns.of(examples, [column])


def test_columns_of_which_two_units_would_have_one_name_are_refused():
    examples = made(**{"x": range(60), "x-": range(60)})
    with pytest.raises(InputError, match="two units of x, x- would be called 'x-'"):
        Columns.of(examples, ["x", "x-"])
    with pytest.raises(InputError, match="called 'given' cannot say"):
        yes_in(made(given=[True] * 60), "given")


def test_functions_of_one_and_of_many(tmp_path):
    examples = made()
    calls = []

    def of_list(texts):
        calls.append(len(texts))
        return [len(text) for text in texts]

    source = Functions(
        {
            "ends with 7": lambda text: text.endswith("7"),
            "length": of_list,
            "maybe": lambda t: None if "1" in t else 1,
        }
    )
    activations = described(source, examples, tmp_path)
    texts = examples.texts
    expected = [
        [t.endswith("7") for t in texts],
        [len(t) for t in texts],
        [np.nan if "1" in t else 1 for t in texts],
    ]
    found = activations.of(["ends with 7", "length", "maybe"], np.arange(60))
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))
    count = len(calls)
    source.control(0).collect(examples, tmp_path / "control", Resources())
    assert len(calls) == count  # what was computed is not computed again


def test_yes_and_no_beside_numbers_fire_where_they_are_one(tmp_path):
    functions = {
        "five": lambda text: "5" in text,
        "long": len,
        "maybe": lambda t: None if "1" in t else "2" in t,
    }
    found = described(Functions(functions), made(), tmp_path / "f")
    texts, rows = made().texts, np.arange(60)
    assert np.array_equal(found.fires(["five"], rows)[0], ["5" in text for text in texts])
    maybe = ["2" in text and "1" not in text for text in texts]
    assert np.array_equal(found.fires(["maybe"], rows)[0], maybe)
    values = np.stack([np.arange(120) % 4 == 0, np.arange(120)], axis=1).astype(float)
    found = described(load_matrix(values), made(), tmp_path / "m")
    assert found.units["state"].to_list() == ["ok", "ok"]
    assert found.fires(["unit/0"], rows).sum() == 30 and found.fires(["unit/1"], rows).sum() < 12


WORDS = ["one"]


def _helped(text):
    return text in WORDS


def _maker(value, inner=0):
    def made(text, least=1):
        return any(_helped(text) and letter == value for letter in text) and (lambda x: x > inner)(least)

    return made


class _Asking:
    def __init__(self, word):
        self.word, self.memory = word, {}

    def __call__(self, text):
        self.memory[text] = True
        return self.word in text


def test_a_function_that_changes_is_another(monkeypatch):
    """By its constants, names, defaults, what it closes over, and what it calls in its own module."""
    kinds = [
        lambda text: 1,
        lambda text: 2,
        lambda text: text.lower(),
        lambda text: text.upper(),
        lambda text, n=1: n,
        lambda text, n=2: n,
        lambda text: text in {"a", "b"},
        lambda text: text in {"a", "c"},
        _maker("x"),
        _maker("y"),
        _maker("x", 1),
        partial(_maker("x"), least=2),
        partial(_maker("y"), least=2),
        _Asking("x"),
        _Asking("y"),
        re.compile("x").search,
        re.compile("y").search,
        len,
        max,
    ]
    prints = [Functions({"f": kind}).fingerprint for kind in kinds]
    assert len(set(prints)) == len(kinds)
    again = [Functions({"f": kind}).fingerprint for kind in (lambda text: 1, _maker("x"), _Asking("x"))]
    assert again == [prints[0], prints[8], prints[13]]
    monkeypatch.setitem(globals(), "WORDS", ["two"])
    assert Functions({"f": _maker("x")}).fingerprint != prints[8]
    # What a function leaves behind while it runs makes no other function of it.
    kept = cache(_maker("x"))
    before = Functions({"f": kept}).fingerprint
    kept("one")
    assert Functions({"f": kept}).fingerprint == before
    source = Functions({"f": _Asking("x")})
    before = source.fingerprint
    source.functions["f"]("x")
    assert source.fingerprint == before


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("bad", [np.nan, "word", ValueError("no")])
def test_a_function_that_fails_names_the_example(together, bad, tmp_path):
    examples = made()

    def one(text):
        if text == "text number 41" and isinstance(bad, Exception):
            raise bad
        return bad if text == "text number 41" else 1.0

    function = (lambda texts: [one(text) for text in texts]) if together else one
    with pytest.raises(InputError, match=f"function 'f' on example {examples.ids[41]} .'text number 41'"):
        Functions({"f": function}).collect(examples, tmp_path, Resources())


def test_rules_have_names():
    for rule in (TopShare(0.1), Above(0.0), Above(-2.5), OnesOrTop(0.2), AboveMedian()):
        assert firing_rule(str(rule)) == rule
    for wrong in ("top:0", "ones:0", "top:x", "above:nan", "often", ""):
        with pytest.raises(InputError, match=r"fire|firing"):
            firing_rule(wrong)
