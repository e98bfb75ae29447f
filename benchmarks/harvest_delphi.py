"""One row of `harvest.py`: EleutherAI's eai-delphi 0.1.3 LatentCache on MiniLM's neurons, on a processor.

    PYTHON harvest_delphi.py TEXTS.json MODEL_FOLDER THREADS

Run by `harvest.py --peer-python`; needs eai-delphi and what its cache imports, not saywell. Delphi
takes token rows of one length, so sentences are packed end to end into rows of 24 tokens. Its cache keeps
every activation above 1e-5 of every token in memory (position, neuron and value), which for neurons
that are rarely zero is nearly all of them: it is measured on the first 200 rows, and what 10,000
sentences would take is scaled from there.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

ROWS, LENGTH = 200, 24


def main() -> None:
    """Print the row."""
    import torch
    from delphi.latents.cache import LatentCache  # pyright: ignore[reportMissingImports]
    from transformers import AutoModel, AutoTokenizer

    texts, folder, threads = (json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3]))
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = [token for text in texts for token in tokenizer(text)["input_ids"]]
    tokens = torch.tensor(ids[: ROWS * LENGTH]).reshape(ROWS, LENGTH)
    hooks = {f"encoder.layer.{layer}.intermediate": lambda x: x for layer in range(6)}
    with torch.inference_mode():
        model(tokens[:40])
        started = time.perf_counter()
        for start in range(0, ROWS, 40):
            model(tokens[start : start + 40])
        bare = time.perf_counter() - started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cache = LatentCache(model, hooks, batch_size=40)
    started = time.perf_counter()
    cache.run(ROWS * LENGTH, tokens)
    seconds = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    everything = grown / (ROWS * LENGTH) * len(ids) / 1024
    print(
        f"{'delphi cache':<16}{ROWS:>10,}{ROWS / seconds:>9.0f}{seconds / bare:>15.3f}{grown:>9.0f}"
        f"   ({LENGTH}-token rows; {everything:.0f} GB for all {len(texts):,} sentences)"
    )


if __name__ == "__main__":
    main()
