"""The layers of the package, and what `import saywell` may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import saywell

SOURCE = Path(saywell.__file__).parent
LAYERS = [
    "cli",
    "explorer",
    "studies",
    "report",
    "selection",
    "describers",
    "scorers",
    "readers",
    "influence",
    "transfer",
    "units",
    "language_models",
    "encoders",
    "data",
    "store",
]


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
        if other in LAYERS and other != layer and LAYERS.index(other) < LAYERS.index(layer)
    ]
    assert not wrong


def test_nothing_needs_the_test_data():
    assert not [p for p in SOURCE.rglob("*.py") if "shared/" in p.read_text("utf-8")]


def test_help_imports_nothing_heavy():
    heavy = ("torch", "transformers", "polars", "altair", "numpy")
    code = f"import sys, saywell.cli; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
