"""Whatever happens to a file of a finished study: a right answer or one clear error, never another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from saywell.errors import SaywellError
from saywell.store.study import Study
from saywell.studies.audit import audit_study
from saywell.studies.neurons import describe_neurons


@pytest.fixture(scope="module")
def small(corpus, bert, tokenizer, encoder, tmp_path_factory):
    def run(out):
        return describe_neurons(
            corpus.head(120),
            bert,
            tokenizer=tokenizer,
            out=out,
            tags="topic",
            describer=["enrichment"],
            encoder=encoder,
            top=20,
            random_control=False,
        )

    study = run(tmp_path_factory.mktemp("small") / "s")
    return study, {name: study.table(name) for name in study.manifest.tables}, run


def harm(path, random):
    """Cut, empty, flip bits, or put another file in its place."""
    data = bytearray(path.read_bytes())
    match random.integers(4):
        case 0:
            data = data[: random.integers(len(data))]
        case 1:
            data = bytearray()
        case 2:
            for place in random.integers(len(data), size=3):
                data[place] ^= 1 << random.integers(8)
        case 3:
            others = [p for p in path.parent.iterdir() if p.is_file() and p != path]
            data = others[random.integers(len(others))].read_bytes() if others else data[::-1]
    path.write_bytes(data)


@pytest.mark.parametrize("seed", (0, 1, 5))
def test_a_file_that_was_harmed_is_named_and_mended(small, tmp_path, seed):
    study, tables, run = small
    random = np.random.default_rng(seed)
    shutil.copytree(study.path, tmp_path / "s")
    written = sorted(study.manifest.written())
    names = {written[n] for n in random.choice(len(written), size=3, replace=False)}
    names |= {"study.json"} if seed == 5 else set()
    for name in names:
        harm(tmp_path / "s" / name, random)
    try:
        opened = Study(tmp_path / "s")
    except SaywellError:
        assert seed == 5
        with pytest.raises(SaywellError, match=r"study\.json"):
            run(tmp_path / "s")
        return
    changed = {n for n in names if (tmp_path / "s" / n).read_bytes() != (study.path / n).read_bytes()}
    for name, right in tables.items():
        if f"{name}.parquet" in changed:
            with pytest.raises(SaywellError, match=f"{name}.parquet"):
                opened.table(name)
        else:
            assert opened.table(name).equals(right, null_equal=True)
    assert repr(opened)
    found = audit_study(opened).filter(status="failed")
    assert {f"file {name}" for name in changed} <= set(found["check"])
    mended = run(tmp_path / "s")
    assert all(mended.table(name).equals(right, null_equal=True) for name, right in tables.items())
    assert mended.headline() == study.headline() and mended.manifest.notes == study.manifest.notes
    assert "failed" not in audit_study(mended)["status"]


KILLED = """
from saywell.studies.neurons import describe_neurons
describe_neurons({texts!r}, {model!r}, out={out!r}, tags="topic", top=20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nothing", "file", "model"])
def test_killed_at_any_moment_it_goes_on_to_the_same_tables(corpus, bert, tokenizer, tmp_path, change):
    """kill -9 again and again, with a file harmed or another model in between."""
    texts, model = str(tmp_path / "texts.parquet"), str(tmp_path / "model")
    corpus.head(150).write_parquet(texts)
    tokenizer.save_pretrained(model)
    bert.save_pretrained(model)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()

    def run(out):
        return describe_neurons(texts, model, out=out, tags="topic", top=20)

    started = time.monotonic()
    calm = run(tmp_path / "calm")
    length = time.monotonic() - started
    random = np.random.default_rng(7)
    counts = {"killed": 0, "harmed": 0, "refused": 0}
    for place in range(int(os.environ.get("SAYWELL_KILLS", "1"))):
        out = tmp_path / f"s{place}"
        for _ in range(2):
            manifest = out / "study.json"
            before = manifest.stat().st_mtime_ns if manifest.exists() else 0
            script = KILLED.format(texts=texts, model=model, out=str(out))
            # As many threads as here: sums are cut among them, which shows in their last digit.
            threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
            child = subprocess.Popen([sys.executable, "-c", script], env=os.environ | threads)
            # From when it begins to write: loading packages takes longer than all the rest.
            while child.poll() is None and (not manifest.exists() or manifest.stat().st_mtime_ns == before):
                time.sleep(0.01)
            time.sleep(float(random.uniform(0, length)))
            child.kill()
            counts["killed"] += child.wait() == -9
            files = [p for p in out.rglob("*") if p.is_file() and p.name != "study.json"]
            if change == "file" and files:
                harm(sorted(files)[random.integers(len(files))], random)
                counts["harmed"] += 1
        if change == "model" and (out / "study.json").exists():
            changed = bytearray(weights)
            changed[-40] ^= 1
            (tmp_path / "model" / "model.safetensors").write_bytes(changed)
            with pytest.raises(SaywellError, match="model: not the same content"):
                run(out)
            (tmp_path / "model" / "model.safetensors").write_bytes(weights)
            counts["refused"] += 1
        again = run(out)
        for name in calm.manifest.tables:
            assert again.table(name).equals(calm.table(name), null_equal=True), (place, name)
        assert again.headline() == calm.headline()
        assert again.manifest.notes == calm.manifest.notes
        assert not list(out.rglob(".*.part*"))
    print(change, counts)
    wanted = {"nothing": "killed", "file": "harmed", "model": "refused"}[change]
    assert counts["killed"] and counts[wanted]
