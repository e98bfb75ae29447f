"""`saywell serve`: studies in a browser."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

_PACKAGES = {
    "duckdb": "duckdb",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
}


def serve(
    studies: Annotated[list[Path], typer.Argument(help="Study folders.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = 8800,
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Explore studies in a browser: search, compare, ask, and judge descriptions."""
    import webbrowser
    from importlib.util import find_spec

    from saywell.errors import MissingPackage

    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise MissingPackage(package, "explorer", "saywell serve")

    from saywell.explorer.server import serve_studies

    with suppress(KeyboardInterrupt):  # the way to end it, and nothing is left to go on with
        serve_studies(
            studies, host=host, port=port, say=typer.echo, browse=webbrowser.open if browse else None
        )
