"""What many latents over many tokens take: the files, the time to write and to read them, and extrapolated.

    .venv/bin/python benchmarks/features_scale.py [--latents 1000000] [--texts 30000] [--ray]

Codes are made up, 32 at each token, of latents some of which fire thousands of times as often as others;
texts have 16 tokens. No model is run, so what is measured is what saywell itself adds. With `--ray` the
shards are made once more by the workers of a local cluster, and the files are compared.
"""

from __future__ import annotations

import argparse
import filecmp
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saywell.data.parts import DescribeRows, ScoreRows
from saywell.units.activations import Activations
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.rules import Codes, TopK
from saywell.units.exemplar_ranges import range_table
from saywell.units.exemplars import contrast_table, exemplar_table
from saywell.units.firing import Above
from saywell.units.hooks import Tap, TextFeed
from saywell.units.neurons import token_spans
from saywell.units.statistics import source_units, unit_table
from saywell.units.token_activations import TokenActivations, collect_tokens
from saywell.units.tokens import Tokens

LENGTH, K, WIDTH = 16, 32, 256
GOAL_LATENTS, GOAL_TOKENS = 1_000_000, 100_000_000


class Numbers(torch.nn.Module):
    """Gives each token a vector that says which it is."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding.from_pretrained(torch.arange(1 << 16).float()[:, None])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The vectors."""
        return self.table(input_ids)


def made_up(latents: int) -> Callable[[torch.Tensor], Codes]:
    """Codes of a token, always the same: its number picks a seed for the batch."""
    often = np.random.default_rng(0).pareto(1.0, latents) + 0.05
    shares = torch.from_numpy(np.cumsum(often / often.sum())).float()

    def encode(x: torch.Tensor) -> Codes:
        random = torch.Generator().manual_seed(int(x.sum()) % (1 << 31))
        drawn = torch.rand(len(x), K, generator=random)
        latent = torch.searchsorted(shares, drawn).clamp(max=latents - 1).sort(1).values
        new = torch.ones_like(latent, dtype=torch.bool)
        new[:, 1:] = latent[:, 1:] != latent[:, :-1]
        row, column = new.nonzero(as_tuple=True)
        return Codes(row, latent[row, column], torch.rand(len(row), generator=random) + 0.1)

    return encode


def main() -> None:
    """Print what it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--latents", type=int, default=GOAL_LATENTS)
    parser.add_argument("--texts", type=int, default=30_000)
    parser.add_argument("--ray", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    texts, latents = asked.texts, asked.latents
    ids = np.random.default_rng(0).integers(0, 1 << 16, texts * LENGTH).astype(np.int32)
    spans = np.tile(np.stack([np.arange(LENGTH), np.arange(1, LENGTH + 1)], 1), (texts, 1)).astype(np.int32)
    tokens = Tokens(ids, np.ones(len(ids), bool), spans, np.arange(0, len(ids) + 1, LENGTH), 0)
    feed, tap = TextFeed(tokens, token_budget=4096), Tap("table", "output", 1, lambda found, batch: found)
    parts = {"describe": np.arange(0, texts, 2), "score": np.arange(1, texts, 2)}
    encode = made_up(latents)

    def collect(folder: Path, engine: str) -> None:
        collect_tokens(Numbers(), tap, encode, latents, feed, parts, folder, of="", engine=engine)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "local"
        alone = seconds(lambda: [encode(ids_[:, None].float()) for ids_ in torch.from_numpy(ids).split(4096)])
        written = seconds(lambda: collect(folder, "local")) - alone
        responses = TokenActivations(folder, texts)
        codes = round(responses.density().sum() * len(ids))
        stored = sum(path.stat().st_size for path in folder.iterdir())
        describe, score = DescribeRows(parts["describe"]), ScoreRows(parts["score"])
        both, names = {"describe": describe, "score": score}, [f"{row:07d}" for row in range(texts)]
        units = source_units([f"latent/{number}" for number in range(latents)], "latent")
        table = unit_table(units, responses, Above(), describe)
        held, locate = Activations(responses, table, Above()), token_spans(tokens)
        steps: dict[str, Callable[[], Any]] = {
            "statistics of every latent": lambda: unit_table(units, responses, Above(), describe),
            "strongest 50 of each part": lambda: exemplar_table(held, names, both, 50, locate),
            "contrasts": lambda: contrast_table(held, names, describe, 0),
            "ranges": lambda: range_table(held, names, both, locate=locate),
        }
        print(f"{latents:,} latents, {len(ids):,} tokens, {codes:,} codes; seconds of one processor")
        print(f"  written                     {written:8.2f}   {1e9 * written / codes:6.0f} ns a code")
        total = written
        for what, step in steps.items():
            took = seconds(step)
            total += took
            print(f"  {what:<28}{took:8.2f}   {1e9 * took / codes:6.0f} ns a code")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        flops, goal = encoding(), GOAL_TOKENS / len(ids)
        encoded = 2.0 * GOAL_LATENTS * WIDTH * GOAL_TOKENS / flops / 3600
        print(f"  on disk                     {stored / codes:8.2f} bytes a code")
        print(f"  peak memory                 {memory:8.2f} GB")
        print(f"  encoding                    {flops / 1e9:8.1f} GFLOP/s")
        print(f"{GOAL_LATENTS:,} latents, {GOAL_TOKENS:,} tokens, extrapolated")
        print(f"  codes                       {codes * goal / 1e9:8.1f} billion")
        print(f"  on disk                     {stored * goal / 1e9:8.1f} GB")
        print(f"  all of the above            {total * goal / 3600:8.1f} hours of one processor")
        print(f"  encoding vectors of {WIDTH}:    {encoded:8.0f} hours of one processor")
        if asked.ray:
            import ray

            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
            started = time.perf_counter()
            collect(Path(name) / "ray", "ray")
            took = time.perf_counter() - started
            files = sorted(path.name for path in folder.iterdir())
            same = filecmp.cmpfiles(folder, Path(name) / "ray", files, shallow=False)[0]
            print(
                f"by two workers: {len(same)} of {len(files)} files the same, {took:.1f} s with their start"
            )


def encoding() -> float:
    """Floating point operations a second of a dictionary of 131,072 latents on one processor."""
    decoder = torch.nn.functional.normalize(torch.randn(1 << 17, WIDTH))
    dictionary = Dictionary(decoder, torch.zeros(len(decoder)), decoder, torch.zeros(WIDTH), TopK(K))
    vectors = torch.randn(256, WIDTH)
    return 2.0 * vectors.numel() * len(decoder) / seconds(lambda: dictionary.encode(vectors))


def seconds(run: Callable[[], Any]) -> float:
    """Of the processor, all threads together."""
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    main()
