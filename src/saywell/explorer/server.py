"""The socket, the address to open, and the server behind it."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from saywell.addresses import is_everywhere, is_loopback
from saywell.errors import InputError
from saywell.explorer.app import build_app
from saywell.explorer.connections import bounded_protocol
from saywell.explorer.security import Door
from saywell.explorer.shelf import open_studies


def serve_studies(
    folders: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8800,
    say: Callable[[str], None] = print,
    browse: Callable[[str], object] | None = webbrowser.open,
) -> None:
    """Show studies in a browser until interrupted. Port 0 takes any that is free.

    Raises StudyError for a folder that cannot be shown, InputError for an address that cannot be
    listened on.
    """
    import uvicorn

    shelf = open_studies(folders)
    listening = listen(host, port)
    door = door_of(host, listening.getsockname()[1])
    address = first_address(door)
    say(f"saywell serve: {address}")
    if door.token is not None:
        say("Whoever has this address can read the studies and judge descriptions; it is not encrypted.")
    say("Ctrl-C ends it.")
    if browse is not None:
        # The socket listens already, so a browser that is quicker than the server waits.
        browse(address)
    config = uvicorn.Config(
        build_app(shelf, door),
        http=bounded_protocol(),
        ws="none",
        lifespan="off",
        log_level="error",
        server_header=False,
        proxy_headers=False,
        access_log=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        for one in shelf:
            one.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError where there can be none."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(place[:2], family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host!r}, port {port}: {error}; choose another --port or --host"
        ) from error
    return listening


def door_of(host: str, port: int) -> Door:
    """A door that asks for a token unless only this machine can reach it."""
    return Door(host, port, None if is_loopback(host) else secrets.token_urlsafe(24))


def first_address(door: Door) -> str:
    """The address to open, with the token where one is needed."""
    host = socket.gethostbyname(socket.gethostname()) if is_everywhere(door.host) else door.host
    shown = f"[{host}]" if ":" in host else host
    token = f"?token={door.token}" if door.token is not None else ""
    return f"http://{shown}:{door.port}/{token}"
