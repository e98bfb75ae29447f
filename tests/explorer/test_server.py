"""The socket and the command."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request

import pytest

from saywell.errors import InputError, StudyError
from saywell.explorer.server import listen, serve_studies


def test_a_port_that_is_taken_is_said():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(InputError, match="choose another --port"),
    ):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InputError, match="cannot listen"):
        listen("no such host", 0)


def test_a_folder_without_a_study_is_said(tmp_path):
    with pytest.raises(StudyError, match=r"no study\.json"):
        serve_studies([tmp_path], port=0, browse=None)


def test_it_serves_the_address_that_it_says(folders, monkeypatch):
    import uvicorn

    servers, said = [], []
    run = uvicorn.Server.run

    def remembered(self, sockets=None):
        servers.append(self)
        run(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", remembered)
    thread = threading.Thread(
        target=serve_studies,
        args=(folders[:1],),
        kwargs={"port": 0, "say": said.append, "browse": said.append},
    )
    thread.start()
    try:
        for _ in range(500):
            if servers and servers[0].started:
                break
            time.sleep(0.02)
        address = said[0].removeprefix("saywell serve: ")
        assert address.startswith("http://127.0.0.1:") and said[-1] == address
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200 and b"Units of" in answer.read()
            assert "server" not in answer.headers
    finally:
        servers[0].should_exit = True
        thread.join(10)
    assert not thread.is_alive()


def test_missing_packages_are_named(monkeypatch, tmp_path):
    import importlib.util

    from saywell.cli.serve import serve
    from saywell.errors import MissingPackage

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "duckdb" else find(name, *a)
    )
    with pytest.raises(MissingPackage, match=r"saywell\[explorer\]"):
        serve([tmp_path])
