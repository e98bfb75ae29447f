"""How long a study of many latents takes to be written in each form, and how much memory.

    python benchmarks/exports.py --latents 100000 --texts 8000

The study is made up: latents fire at random on texts of made-up words, each with a made-up description.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from saywell.data.examples import REJECTED
from saywell.data.texts import load_texts
from saywell.scorers.score_tables import AGAINST, FLOORED, SCORED
from saywell.store.study import write_study
from saywell.studies.described import DESCRIPTIONS
from saywell.units.activations import Activations
from saywell.units.dictionaries.rules import Codes
from saywell.units.exemplars import CONTRASTS, EXEMPLARS, exemplar_table
from saywell.units.firing import Above
from saywell.units.hooks import Tap, TextFeed
from saywell.units.neurons import token_spans
from saywell.units.responses import open_responses
from saywell.units.statistics import UNITS, source_units, unit_table
from saywell.units.token_activations import TokenActivations, collect_tokens
from saywell.units.tokens import Tokens

ACTIVE = 32
FORMS = ("neuronpedia", "neuronpedia-jsonl", "saedashboard", "delphi")
CHILD = """
import json, resource, sys, time
from pathlib import Path
from saywell.exports.forms import write_folder
from saywell.exports.shown import How
from saywell.store.study import Study
start = time.process_time()
write_folder(Study(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), How(layer=3))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
size = sum(f.stat().st_size for f in Path(sys.argv[3]).rglob("*") if f.is_file()) / 1e6
print(json.dumps([time.process_time() - start, peak, size]))
"""


class Numbers(nn.Module):
    """A token's vector is its number."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(torch.arange(float(most))[:, None])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """As of any model."""
        return self.embed(input_ids)


def make(folder: Path, latents: int, count: int, length: int) -> int:
    """A study of so many latents on so many texts; gives the number of codes."""
    random = np.random.default_rng(0)
    words = [f"w{n}" for n in range(20_000)]
    texts = [" ".join(random.choice(words, length)) for _ in range(count)]
    examples = load_texts(texts, near=None)
    spans = []
    for text in examples.texts:
        ends = np.cumsum([len(word) + 1 for word in text.split(" ")]) - 1
        spans.append(np.stack([np.concatenate([[0], ends[:-1] + 1]), ends], 1))
    ids = random.integers(1, 1 << 20, len(examples) * length)
    tokens = Tokens(
        ids, np.ones(len(ids), bool), np.concatenate(spans), np.arange(len(examples) + 1) * length, 0
    )

    def encode(x: torch.Tensor) -> Codes:
        generator = torch.Generator().manual_seed(int(x.sum()))
        rows = torch.arange(len(x)).repeat_interleave(ACTIVE)
        found = torch.randint(latents, (len(x), ACTIVE), generator=generator).sort(1).values.flatten()
        new = torch.ones(len(found), dtype=torch.bool)
        new[1:] = (found[1:] != found[:-1]) | (rows[1:] != rows[:-1])
        return Codes(rows[new], found[new], torch.rand(int(new.sum()), generator=generator) + 0.01)

    config = {"model": "made-up", "firing": "above:0", "top": 20}
    inputs = {"examples": examples.fingerprint}
    with write_study(folder, kind="features", command=[], config=config, inputs=inputs) as study:
        study.table(REJECTED, lambda: examples.rejected)
        study.table(examples.declared, lambda: examples.table)
        own = study.arrays("activations")
        parts = {name: rows.rows for name, rows in examples.parts._asdict().items()}
        tap = Tap("embed", "output", 1, lambda found, batch: found)

        def collect() -> None:
            feed = TextFeed(tokens, token_budget=16_384)
            collect_tokens(Numbers(1 << 20), tap, encode, latents, feed, parts, own, of="made up")

        study.step("activations", collect, files=("arrays/activations",))
        responses = open_responses(own, len(examples))
        firing = Above(0)
        source = source_units([f"latent/{n}" for n in range(latents)], "latent", model="made-up")
        units = study.table(UNITS, lambda: unit_table(source, responses, firing, examples.parts.describe))
        activations = Activations(responses, units, firing)
        describe = {"describe": examples.parts.describe}
        study.table(
            EXEMPLARS, lambda: exemplar_table(activations, examples.ids, describe, 20, token_spans(tokens))
        )
        study.table(CONTRASTS, CONTRASTS.empty)
        rest = (None, "claims", None, None, None, [], [], 0, True, "described")
        said = [(f"latent/{n}#0", f"latent/{n}", f"the word w{n % 20_000}", *rest) for n in range(latents)]
        study.table(DESCRIPTIONS, lambda: DESCRIPTIONS.frame(said))
        for table in (SCORED, FLOORED, AGAINST):
            study.table(table, table.empty)
        study.write_metrics([])
    assert isinstance(responses, TokenActivations)
    return int(responses.density().sum() * len(ids))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latents", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=8_000)
    parser.add_argument("--length", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        start = time.time()
        codes = make(Path(where) / "s", options.latents, options.texts, options.length)
        print(
            f"{options.latents:,} latents, {options.texts * options.length:,} tokens, {codes:,} codes;"
            f" made in {time.time() - start:.0f} s"
        )
        for form in FORMS:
            out = Path(where) / form
            command = [sys.executable, "-c", CHILD, str(Path(where) / "s"), form, str(out)]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, peak, size = json.loads(ran.stdout.splitlines()[-1])
            print(f"{form:18} {seconds:6.1f} s of a core {peak:7.0f} MiB {size:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
