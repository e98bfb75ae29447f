"""What it costs to keep the codes of a dictionary at every token, and to build a latent's examples.

    .venv/bin/python benchmarks/features.py [--tokens 409600] [--latents 4096] [--k 32]
        [--delphi PYTHON] [--dashboard PYTHON]

One model (stories260k, the output of its third layer), one TopK dictionary and the same rows of 128 tokens
for all, each in a process of its own on one processor thread:

    saywell           collect_tokens, then exemplar_table (strongest 40 contexts of every latent)
    eai-delphi        0.1.3: LatentCache and save_splits, then LatentDataset; needs an interpreter that has it
    sae-dashboard     0.8.0: SaeVisRunner of 256 latents at a time, which keeps nothing; likewise

`tokens/s` is of the whole pass. `x` is its time over that of the model and the encoding (the k highest codes
and their latents) alone, in the same process; the model of saywell and of sae-dashboard ends at the hook.
`bookkeeping` is the difference, in ns of a code that is not 0; `memory` (that the process grew by) and `disk`
are bytes of one. `all` is the time that the examples of a latent take where all are built (of delphi: 64 from
one loader; of sae-dashboard, which stores no codes: 256 with the passes that it takes for them), `one` where
one latent alone is. Milliseconds.

The least of the repeats counts. Seconds are those of the processor, so other work on the machine does not
count; a second thread's are added.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
LENGTH, STRONGEST, TOGETHER = 128, 40, 8
PEERS = {"delphi": HERE / "features_delphi.py", "dashboard": HERE / "features_dashboard.py"}


def prepare(folder: Path, tokens: int, latents: int, k: int) -> None:
    """Leave the tokens and the dictionary in a folder, as plain arrays that every environment reads."""
    import numpy as np
    import polars as pl
    import torch
    from safetensors.torch import save_file

    from saywell.units.hooks import token_vectors
    from saywell.units.models import load_model

    loaded = load_model(str(SHARED / "models" / "stories260k"))
    texts = pl.read_parquet(SHARED / "data" / "amazon_sentences.parquet")["text"].to_list()
    ids: list[int] = []
    for text in texts:
        if len(ids) >= tokens:
            break
        ids += loaded.tokenizer(text)["input_ids"]
    rows = np.array(ids[: len(ids[:tokens]) // LENGTH * LENGTH], dtype=np.int32).reshape(-1, LENGTH)
    feed = feed_of(rows)
    taken = [passed.vectors[0] for passed in token_vectors(loaded.model, [tap()], feed, np.arange(200))]
    vectors, random = torch.cat(taken), torch.Generator().manual_seed(0)
    centre = vectors.mean(0)
    some = vectors[torch.randint(len(vectors), (latents,), generator=random)] - centre
    decoder = torch.nn.functional.normalize(
        some + 0.3 * some.std() * torch.randn(some.shape, generator=random)
    )
    save_file(
        {"tokens": torch.from_numpy(rows), "decoder": decoder, "centre": centre, "k": torch.tensor([k])},
        folder / "given.safetensors",
    )


def tap() -> Any:
    """The output of the third layer."""
    from saywell.units.hooks import Tap

    return Tap("layers.2", "output", 64, lambda found, batch: found)


def feed_of(rows: Any) -> Any:
    """Rows of tokens, eight at a time as the peers take them."""
    import numpy as np

    from saywell.units.hooks import TextFeed
    from saywell.units.tokens import Tokens

    spans = np.tile(np.stack([np.arange(LENGTH), np.arange(1, LENGTH + 1)], 1), (len(rows), 1))
    starts = np.arange(0, rows.size + 1, LENGTH)
    tokens = Tokens(rows.ravel(), np.ones(rows.size, dtype=bool), spans, starts, 0)
    return TextFeed(tokens, token_budget=TOGETHER * LENGTH)


def ours(folder: Path, repeats: int) -> dict[str, Any]:
    """The row of saywell."""
    import numpy as np
    import torch
    from safetensors.torch import load_file

    from saywell.data.parts import DescribeRows
    from saywell.units.activations import Activations
    from saywell.units.dictionaries.dictionary import Dictionary
    from saywell.units.dictionaries.rules import TopK
    from saywell.units.exemplars import exemplar_table
    from saywell.units.firing import Above
    from saywell.units.hooks import token_vectors
    from saywell.units.models import load_model
    from saywell.units.neurons import token_spans
    from saywell.units.statistics import source_units, unit_table
    from saywell.units.token_activations import TokenActivations, collect_tokens

    torch.set_num_threads(1)
    given = load_file(folder / "given.safetensors")
    rows, decoder, centre = given["tokens"].numpy(), given["decoder"], given["centre"]
    model = load_model(str(SHARED / "models" / "stories260k")).model
    dictionary = Dictionary(decoder, torch.zeros(len(decoder)), decoder, centre, TopK(int(given["k"][0])))
    feed, every = feed_of(rows), np.arange(len(rows))

    def alone() -> None:
        with torch.inference_mode():
            for passed in token_vectors(model, [tap()], feed, every):
                dictionary.encode(passed.vectors[0])

    def collect(out: Path) -> None:
        collect_tokens(model, tap(), dictionary.encode, len(decoder), feed, {"describe": every}, out, of="")

    alone()
    bare, whole, before, grown, out = [], [], peak(), 0.0, folder
    for _ in range(repeats):
        bare.append(seconds(alone))
        out = Path(tempfile.mkdtemp(dir=folder))
        whole.append(seconds(lambda out=out: collect(out)))
        grown = grown or peak() - before
    responses = TokenActivations(out, len(rows))
    describe, names = DescribeRows(every), [f"{row:06d}" for row in every]
    units = unit_table(
        source_units([f"latent/{n}" for n in range(len(decoder))], "latent"), responses, Above(), describe
    )
    activations = Activations(responses, units, Above())
    locate = token_spans(feed.tokens)

    def build(some: Activations) -> None:
        exemplar_table(some, names, {"describe": describe}, STRONGEST, locate)

    one = [activations.only([units["id"][n]]) for n in range(0, len(decoder), len(decoder) // 64)]
    build(one[0])
    nonzeros = int(responses.density().sum() * rows.size + 0.5)
    return {
        "tokens": rows.size,
        "bare": min(bare),
        "whole": min(whole),
        "grown": grown,
        "nonzeros": nonzeros,
        "bytes": sum(path.stat().st_size for path in out.iterdir()),
        "each": seconds(lambda: build(activations)) / units.height,
        "single": seconds(lambda: [build(each) for each in one]) / len(one),
    }


def seconds(run: Any) -> float:
    """Of the processor, all threads together."""
    started = time.process_time()
    run()
    return time.process_time() - started


def peak() -> float:
    """Bytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def shown(name: str, row: dict[str, Any]) -> str:
    """A line of the table."""
    book, stored = row["whole"] - row["bare"], row.get("bytes")
    each = f"{stored / row['nonzeros']:>9.2f}" if stored else f"{'-':>9}"
    return (
        f"{name:<16}{row['tokens'] / row['whole']:>10,.0f}{row['whole'] / row['bare']:>7.2f}"
        f"{1e9 * book / row['nonzeros']:>13.1f}{row['grown'] / row['nonzeros']:>11.1f}{each}"
        f"{1e3 * row['each']:>12.3f}{1e3 * row['single']:>12.3f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=409_600)
    parser.add_argument("--latents", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--delphi")
    parser.add_argument("--dashboard")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(ours(asked.ours, asked.repeats)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, asked.tokens, asked.latents, asked.k)
        print(f"{asked.tokens:,} tokens, {asked.latents:,} latents, k = {asked.k}")
        print(
            f"{'':<16}{'tokens/s':>10}{'x':>7}{'bookkeeping':>13}{'memory':>11}{'disk':>9}"
            f"{'all, ms each':>12}{'one, ms':>12}"
        )
        calls = {"saywell": [sys.executable, str(HERE / "features.py"), "--ours", name]}
        for peer, script in PEERS.items():
            if python := getattr(asked, peer):
                calls[peer] = [python, str(script), name, str(SHARED / "models" / "stories260k")]
        for name_, call in calls.items():
            ran = subprocess.run(
                [*call, "--repeats", str(asked.repeats)], stdout=subprocess.PIPE, text=True, check=True
            )
            row = json.loads(ran.stdout.strip().splitlines()[-1])
            print(shown(name_, row))


if __name__ == "__main__":
    main()
