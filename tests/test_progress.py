"""Progress in notebooks, and libraries that keep their bars to themselves."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from saywell.language_models.tally import Tally
from saywell.progress import automatic, notebook, quiet_loading, silent, watch_of
from saywell.units.models import load_model


@pytest.fixture
def cell(monkeypatch):
    """What a notebook's cell shows: a list for every line, of all that it said in turn."""
    lines: list[list[str]] = []

    def display(value, display_id=False):
        assert display_id
        lines.append([value])
        return SimpleNamespace(update=lines[-1].append)

    shown = SimpleNamespace(HTML=str, display=display)
    shell = SimpleNamespace(display=shown, get_ipython=lambda: SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return lines


def test_a_notebook_gets_one_line_that_changes_in_place_and_does_not_flood(cell):
    now = [0.0]
    with notebook("tags <b>", 1000, clock=lambda: now[0]) as advance:
        for _ in range(1000):
            now[0] += 0.01
            advance(1)
    [line] = cell
    assert len(line) <= 2 + 10 / 0.5
    assert "&lt;b&gt;" in line[0] and "1,000 of 1,000" in line[-1] and "10 s" in line[-1]


def test_elsewhere_nothing_is_shown(cell, monkeypatch):
    with automatic("a", 3) as advance:
        advance(3)
    assert len(cell) == 1
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    with automatic("b", 3) as advance:
        advance(3)
    assert len(cell) == 1


def test_a_notebook_gets_a_line_for_each_step_that_asks_a_language_model(cell):
    watch = watch_of(automatic)
    assert watch is not None
    watch(Tally("tags", "m", 0, 4))  # nothing was sent: all may be stored
    for done in range(1, 5):
        watch(Tally("tags", "m", done, 4, in_flight=1, failed={"<b>": 1}))
    watch(Tally("describe", "m", 1, 2, in_flight=1))
    assert [len(line) for line in cell] == [4, 1]
    assert 'value="4" max="4"' in cell[0][-1] and "1 failed: &lt;b&gt;" in cell[0][-1]


def test_elsewhere_nobody_watches(cell, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert watch_of(automatic) is None and watch_of(silent) is None


@pytest.mark.parametrize("enabled", [True, False])
def test_loading_is_quiet_and_what_was_set_before_is_put_back(enabled):
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), hub.are_progress_bars_disabled()
    try:
        (logging.enable_progress_bar if enabled else logging.disable_progress_bar)()
        with pytest.raises(ValueError, match="x"), quiet_loading():
            assert not logging.is_progress_bar_enabled()
            assert hub.are_progress_bars_disabled() is not enabled
            raise ValueError("x")
        assert logging.is_progress_bar_enabled() is enabled
        assert hub.are_progress_bars_disabled() is not enabled
    finally:
        (logging.enable_progress_bar if before[0] else logging.disable_progress_bar)()
        (hub.disable_progress_bars if before[1] else hub.enable_progress_bars)()


def test_a_model_is_opened_without_a_word(bert, tokenizer, tmp_path, capfd):
    bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    capfd.readouterr()
    load_model(str(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_a_gguf_file_is_read_without_a_bar():
    """In a process that has read none yet, as where the model comes before its tokenizer."""
    code = (
        "from saywell.progress import quiet_loading\n"
        "with quiet_loading():\n"
        "    from transformers import modeling_gguf_pytorch_utils as gguf\n"
        "    list(gguf.tqdm(range(3), desc='tensors'))\n"
        "list(gguf.tqdm(range(3), desc='others'))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0 and "others" in said.stderr and "tensors" not in said.stderr
