"""What is no regular file is refused before it is opened, whoever would read it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from saywell.data.files import NotRegular, check_regular, nearest_file, open_regular

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")


@pytest.fixture(params=["pipe", "socket", "device", "link to a device", "kernel", "folder"])
def odd(request, tmp_path):
    path = tmp_path / "odd"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        server = socket.socket(socket.AF_UNIX)
        request.addfinalizer(server.close)
        server.bind(str(path))
    elif request.param == "device":
        return "/dev/zero"
    elif request.param == "link to a device":
        path.symlink_to("/dev/zero")
    elif request.param == "kernel":
        if not Path("/proc/self/environ").exists():
            pytest.skip("no /proc")
        path.symlink_to("/proc/self/environ")
    else:
        path.mkdir()
    return path


def test_odd_files_are_refused_without_waiting(odd):
    for read in (open_regular, check_regular):
        with pytest.raises(NotRegular) as caught:
            read(odd)
        assert "no regular file" in caught.value.strerror


def test_a_file_and_a_link_to_it_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with open_regular(tmp_path / "b") as file:
        assert file.read() == b"abc"
    assert check_regular(tmp_path / "b") == 3
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "c")


def test_a_message_names_the_file_beside_that_is_most_like_it(tmp_path):
    for name in ("tickets.csv", "tokens.txt"):
        (tmp_path / name).touch()
    there = str(tmp_path / "tickets.csv")
    assert nearest_file(tmp_path / "tikets.csv") == f" (did you mean {there!r}?)"
    for none in (tmp_path / "photos", tmp_path / "no" / "tickets.csv", "a" * 5000):
        assert nearest_file(none) == ""
