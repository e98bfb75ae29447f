"""The layers of the package, and what `import saywell` may cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import saywell

SOURCE = Path(saywell.__file__).parent
LAYERS = [
    "cli",
    "explorer",
    "exports",
    "studies",
    "report",
    "selection",
    "describers",
    "scorers",
    "readers",
    "claims",
    "influence",
    "transfer",
    "units",
    "language_models",
    "encoders",
    "data",
    "store",
]


# Study.unit, search, tidy, best and readers are a person's way to the cards, which are made above.
SHORTCUTS = {("store/study.py", "report")}


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("saywell."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("saywell."):
                    yield alias.name.split(".")[1]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_downwards(layer):
    wrong = [
        f"{path.relative_to(SOURCE)} imports {other}"
        for path in sorted((SOURCE / layer).rglob("*.py"))
        for other in imports(path)
        if other in LAYERS
        and other != layer
        and LAYERS.index(other) < LAYERS.index(layer)
        and (path.relative_to(SOURCE).as_posix(), other) not in SHORTCUTS
    ]
    assert not wrong


KINDS = {"neurons", "classes", "exam", "units", "features", "hypotheses"}


@pytest.mark.parametrize("layer", ["cli", "explorer", "exports", "report", "store"])
def test_what_shows_studies_goes_by_their_tables_and_not_by_their_kind(layer):
    compared = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in sorted((SOURCE / layer).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Compare | ast.Match | ast.Subscript)
        and _says(node, "kind")
        and KINDS & {word.value for word in ast.walk(node) if isinstance(word, ast.Constant)}
    ]
    in_pages = [
        f"{path.relative_to(SOURCE)}: {said}"
        for path in sorted((SOURCE / layer).rglob("*.html"))
        for said in re.findall(r"kind *[!=]= *\S+", path.read_text("utf-8"))
    ]
    assert not compared + in_pages


def _says(node: ast.AST, name: str) -> bool:
    return any(isinstance(inner, ast.Attribute) and inner.attr == name for inner in ast.walk(node))


def test_nothing_needs_the_test_data():
    assert not [p for p in SOURCE.rglob("*.py") if "shared/" in p.read_text("utf-8")]


def test_help_imports_nothing_heavy():
    heavy = ("torch", "transformers", "polars", "altair", "numpy")
    code = f"import sys, saywell.cli; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_shapes_are_checked_where_there_are_arrays():
    """Else the tests would pass whatever the hints say."""
    from saywell.readers.lexical import sought
    from saywell.scorers.intervals import bootstrap_means

    with pytest.raises(TypeCheckError, match="bootstrap_means"):
        bootstrap_means(np.zeros((2, 2, 2)))
    assert not hasattr(sought, "__wrapped__")
