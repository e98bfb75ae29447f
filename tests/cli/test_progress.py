"""What a person sees while a study asks a language model: on a terminal, in a log, from elsewhere."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading

from pydantic import BaseModel
from rich.console import Console
from typer.testing import CliRunner

from saywell.cli import app
from saywell.cli.progress import Terminal
from saywell.language_models import Client, Message, Request
from saywell.language_models.backend import Sent, untold
from saywell.language_models.tally import Tally
from saywell.progress import watch_of

HOSTILE = "\x1b[2Jfull [red] " + "of words " * 30


class Screen(io.StringIO):
    def isatty(self):
        return True


class Score(BaseModel):
    score: int


def lines_of(terminal):
    """What changes in place, as it is now."""
    paper = Console(file=io.StringIO(), width=terminal._console.width, markup=False)
    paper.print(terminal._lines())
    return paper.file.getvalue().rstrip("\n").split("\n")


def test_a_terminal_has_two_lines_of_80_columns_whatever_a_server_says():
    for width in (80, 200):
        screen = Screen()
        terminal = Terminal(Console(file=screen, width=width, force_terminal=True))
        told = watch_of(terminal)
        with terminal("descriptions by the LLM", 5000) as advance:
            advance(1000)
            assert re.fullmatch(r"descriptions by the LLM +━.*/s, .* left *", lines_of(terminal)[0])
            tally = Tally("describe", "m", 12, 40, 0, 4, {HOSTILE: 2}, 13.1, 10**8, 3.5, 60.0, 250.0)
            told(tally)
            first, second = lines_of(terminal)
            assert re.fullmatch(r"describe +━.*12 of 40, 4 min left *", first)
            assert second.startswith("  4 in flight, 13.1 tokens/s, 100,000,000 tokens, $3.50, 2 failed: ")
            assert all(len(line) <= 80 for line in (first, second)) and "\x1b[2J" not in second
            told(Tally("describe", "m", 40, 40, failed={HOSTILE: 2}, over=True))
            assert "descriptions" in lines_of(terminal)[0]
        assert not terminal._live.is_started and "\x1b[2J" not in screen.getvalue().split("descriptions")[-1]


def test_asking_outside_of_a_step_is_shown_and_ends():
    terminal = Terminal(Console(file=Screen(), width=80, force_terminal=True))
    told = terminal.asking()
    told(Tally("describe", "m", 0, 2, in_flight=1))
    assert terminal._live.is_started
    told(Tally("describe", "m", 2, 2, over=True))
    assert not terminal._live.is_started


def test_a_log_gets_a_line_every_half_minute_and_what_came_of_it():
    now, log = [0.0], io.StringIO()
    terminal = Terminal(Console(file=log, width=40, markup=False), clock=lambda: now[0])
    with terminal("scores", 1):
        for second in range(100):
            now[0] += 1
            terminal.asking()(
                Tally(
                    "detection", "m", second, 100, in_flight=4, failed={"no [token]": 1}, tokens=99, left=9.0
                )
            )
        terminal.asking()(Tally("detection", "m", 100, 100, tokens=99, over=True))
        terminal.asking()(Tally("simulate", "m", 7, 7, stored=7, over=True))
    with terminal("activations", 500) as advance:
        for _ in range(40):
            now[0] += 1
            advance(10)
    assert log.getvalue().splitlines() == [
        "detection: 29 of 100, 9 s left, 4 in flight, 99 tokens, 1 failed: no [token]",
        "detection: 59 of 100, 9 s left, 4 in flight, 99 tokens, 1 failed: no [token]",
        "detection: 89 of 100, 9 s left, 4 in flight, 99 tokens, 1 failed: no [token]",
        "scores                          100 s",
        "  detection: 100 of 100, 99 tokens",
        "activations: 300 of 500",
        "activations                      40 s",
    ]


class Slow:
    """A language model that takes its time, and tells of each token."""

    name, price = "slow:m", None

    def __init__(self):
        self.identity = {"provider": "slow", "url": "", "model": "m"}

    async def send(self, request, without=(), told=untold):
        for token in range(1, 6):
            await asyncio.sleep(0.1)
            told(token)
        return Sent('{"score": 7}', output_tokens=5, input_tokens=9)

    async def close(self):
        pass


def test_another_process_sees_how_far_a_run_is_until_it_ends(tmp_path):
    calls, begun = tmp_path / "calls.sqlite", threading.Event()

    def run():
        with Client(Slow(), calls=calls, concurrency=1) as model:
            model.watch = lambda tally: tally.asked and begun.set()
            model.complete([Request("tags", (Message("user", word),), Score) for word in "abc"])

    running = threading.Thread(target=run)
    running.start()
    assert begun.wait(20)
    beside = CliRunner().invoke(app, ["calls", str(calls)])
    watched = CliRunner().invoke(app, ["calls", str(calls), "--watch", "--json"])
    running.join()
    assert re.search(r"^now: tags: \d of 3, .*1 in flight", beside.stdout, re.MULTILINE)
    assert watched.exit_code == 0, watched.output
    told = [json.loads(line) for line in watched.stdout.splitlines()]
    assert told and all((line["step"], line["of"], line["model"]) == ("tags", 3, "slow:m") for line in told)
    after = CliRunner().invoke(app, ["calls", str(calls), "--watch"])
    assert "3 ok" in after.stdout and "now:" not in after.stdout
