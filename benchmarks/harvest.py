"""What collecting activations costs: one pass over 10,000 sentences, all 9,216 FFN neurons of MiniLM.

    .venv/bin/python benchmarks/harvest.py [--texts FILE] [--sentences 10000] [--peer-python PYTHON]

Rows, each in a process of its own (so that peak memory is its own), at two sizes:

    saywell           pooled activations of both signs on disk, strongest and weakest examples kept
    obvious           pooled maxima of every sentence kept in memory, then one full sort per neuron
    delphi            EleutherAI's eai-delphi 0.1.3 LatentCache on one layer's neurons, scaled to all
                      layers; needs --peer-python, an interpreter of an environment that has it

Ratios are against the bare forward pass (the model alone, on the same batches) of the same process; the
two alternate, and the median of the repeats counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DEFAULT_TEXTS = HERE.parent.parent / "shared" / "data" / "amazon_sentences.parquet"
DEMO_TEXTS = HERE.parent / "src" / "saywell" / "data" / "demo" / "sentences.tsv"


def prepare(path: Path, count: int, threads: int):
    """The model, its sites, tokens and splits."""
    import numpy as np
    import torch

    from saywell.data.parts import PARTS
    from saywell.data.texts import load_texts
    from saywell.units.models import load_model
    from saywell.units.sites import find_sites
    from saywell.units.tokens import tokenize

    torch.set_num_threads(threads)
    examples = load_texts(path, limit=count, near=None).table
    loaded = load_model("minilm", device="cpu")
    tokens = tokenize(loaded.tokenizer, examples["text"].to_list(), max_tokens=loaded.max_tokens)
    splits = {split: np.flatnonzero((examples["part"] == split).to_numpy()) for split in PARTS}
    return loaded, find_sites(loaded.model), tokens, splits, examples["text"].to_list()


def bare(loaded, tokens, splits) -> float:
    """Seconds of the model alone."""
    import torch

    from saywell.units.hooks import TextFeed

    started = time.perf_counter()
    with torch.inference_mode():
        for rows in splits.values():
            feed = TextFeed(tokens)
            for batch in feed.batches(feed.order(rows)):
                loaded.model(**batch.inputs)
    return time.perf_counter() - started


def ours(loaded, sites, tokens, splits) -> float:
    """Seconds of saywell's pass, files and strongest examples included."""
    from saywell.units.hooks import TextFeed, run_pass, site_taps
    from saywell.units.shards import Keep

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run_pass(loaded.model, site_taps(loaded.model, sites), TextFeed(tokens), splits, Path(folder), Keep())
        return time.perf_counter() - started


def obvious(loaded, sites, tokens, splits) -> float:
    """Seconds of collecting every pooled value and sorting all of them."""
    import torch

    from saywell.units.hooks import TextFeed

    pooled: dict[str, list] = {site.module: [] for site in sites}
    positions: dict[str, list] = {site.module: [] for site in sites}
    mask: Any = torch.ones(0, dtype=torch.bool)

    def take(name: str, tokens_seen) -> None:
        hidden = tokens_seen.masked_fill(~mask[..., None], -torch.inf)
        values, places = hidden.max(dim=1)
        pooled[name].append(values)
        positions[name].append(places)

    hooks = [
        loaded.model.get_submodule(site.module).register_forward_pre_hook(
            lambda module, args, name=site.module: take(name, args[0])
        )
        for site in sites
    ]
    started = time.perf_counter()
    with torch.inference_mode():
        for rows in splits.values():
            feed = TextFeed(tokens)
            for batch in feed.batches(feed.order(rows)):
                mask = batch.mask
                loaded.model(**batch.inputs)
        for name in pooled:
            values, places = torch.cat(pooled[name]), torch.cat(positions[name])
            order = values.argsort(dim=0, descending=True)[:50]
            order = (values.gather(0, order), places.gather(0, order))
    seconds = time.perf_counter() - started
    for hook in hooks:
        hook.remove()
    return seconds


def measure(what: str, path: Path, count: int, repeats: int, threads: int) -> dict:
    """One row: seconds of each repeat, the bare seconds beside them, and peak memory."""
    loaded, sites, tokens, splits, _ = prepare(path, count, threads)
    import torch

    with torch.inference_mode():  # the first pass pays for lazy initialisation
        loaded.model(input_ids=torch.ones(8, 24, dtype=torch.long))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own, base = [], []
    for _ in range(repeats):
        base.append(bare(loaded, tokens, splits))
        if what == "saywell":
            own.append(ours(loaded, sites, tokens, splits))
        elif what == "obvious":
            own.append(obvious(loaded, sites, tokens, splits))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "own": own or base,
        "bare": base,
        "peak_mb": peak / 1024,
        "before_mb": before / 1024,
        "sentences": len(tokens),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = options.texts or (DEFAULT_TEXTS if DEFAULT_TEXTS.exists() else DEMO_TEXTS)
    if options.measure:
        row = measure(options.measure, texts, options.sentences, options.repeats, options.threads)
        print(json.dumps(row))
        return
    print(f"{texts.name}, MiniLM (6 layers, 9,216 FFN neurons), {options.threads} threads\n")
    print(f"{'':<16}{'sentences':>10}{'sent./s':>9}{'ratio to bare':>15}{'peak MB':>9}")
    full, quarter = options.sentences, options.sentences // 4
    for what, count in (("saywell", full), ("saywell", quarter), ("obvious", full), ("obvious", quarter)):
        command = [
            sys.executable,
            __file__,
            "--measure",
            what,
            "--texts",
            str(texts),
            "--sentences",
            str(count),
            "--threads",
            str(options.threads),
            "--repeats",
            str(options.repeats if what == "saywell" else 1),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(ran.stdout.splitlines()[-1])
        ratios = [own / base for own, base in zip(row["own"], row["bare"], strict=True)]
        rate = row["sentences"] / statistics.median(row["own"])
        print(
            f"{what:<16}{row['sentences']:>10,}{rate:>9.0f}{statistics.median(ratios):>15.3f}"
            f"{row['peak_mb']:>9.0f}"
        )
    if options.peer_python:
        print(peer(options.peer_python, texts, options.sentences, options.threads))
    else:
        print("delphi: not measured; give --peer-python with an environment that has eai-delphi")


def peer(python: Path, texts: Path, count: int, threads: int) -> str:
    """The row of delphi's activation cache, run by another interpreter."""
    script = HERE / "harvest_delphi.py"
    with tempfile.TemporaryDirectory() as folder:
        from saywell.data.texts import load_texts

        chosen = Path(folder) / "texts.json"
        chosen.write_text(json.dumps(load_texts(texts, limit=count, near=None).table["text"].to_list()))
        from saywell.encoders.checkpoints import find_checkpoint

        command = [str(python), str(script), str(chosen), find_checkpoint("minilm"), str(threads)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        return f"delphi: could not be run here: {ran.stderr.strip().splitlines()[-1][:200]}"
    return ran.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
