"""Dictionaries read here beside their own packages: sae-lens, eai-sparsify and dictionary-learning.

    .venv/bin/python benchmarks/dictionaries.py --peers PYTHON [--latents 4096] [--rows 2048] [--repeats 5]

`dictionaries_peers.py` writes each with its package (PYTHON is an interpreter of an environment with all
three) and encodes the same vectors with it; then saywell reads the same files. A row says: the largest
difference of an activation and of a decoded number, how many activations are other than 0 in one of the two
alone (where a pre-activation is within rounding of its edge), latents that fire at a vector, and the time to
encode, ours in ms and over theirs (of the processor, one thread, the least of the repeats). Theirs are dense
matrices, but for sparsify's. Weights are by chance, of usual sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from saywell.units.dictionaries.load import load_dictionary

HERE = Path(__file__).resolve().parent
WIDTH = 512


def compared(folder: Path, name: str, x: torch.Tensor, repeats: int) -> dict[str, float]:
    """Of a case that the peers have left in a folder."""
    dictionary = load_dictionary(folder / name).dictionary
    with torch.inference_mode():
        codes, seconds = dictionary.encode(x), []
        for _ in range(repeats):
            clock = time.process_time()
            dictionary.encode(x)
            seconds.append(time.process_time() - clock)
        decoded = dictionary.decode(codes, x).numpy()
    theirs = np.load(folder / f"{name}.npz")
    acts = np.zeros_like(theirs["acts"])
    acts[codes.rows, codes.latents] = codes.values
    return {
        "encode": float(np.abs(acts - theirs["acts"]).max()),
        "decode": float(np.abs(decoded - theirs["decoded"]).max()),
        "alone": int(((acts != 0) != (theirs["acts"] != 0)).sum()),
        "active": len(codes.values) / len(x),
        "seconds": min(seconds),
    }


def main() -> int:
    """Print the table; 1 where an activation differs by more than 1e-5."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", required=True, help="python of an environment with the packages")
    parser.add_argument("--latents", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    vectors = (random.standard_normal((asked.rows, WIDTH)) + 0.2 * random.standard_normal(WIDTH)).astype(
        np.float32
    )
    worst = 0.0
    print(f"{'':44} {'encode':>8} {'decode':>8} {'alone':>6} {'active':>7} {'ms':>7} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        np.save(folder / "vectors.npy", vectors)
        command = [
            asked.peers,
            str(HERE / "dictionaries_peers.py"),
            held,
            str(asked.latents),
            str(asked.repeats),
        ]
        env = os.environ | {"OMP_NUM_THREADS": "1", "SPARSIFY_DISABLE_TRITON": "1", "PYTHONPATH": ""}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as peers:
            assert peers.stdout is not None
            for line in peers.stdout:
                if not line.startswith("{"):
                    continue
                told = json.loads(line)
                ours = compared(folder, told["case"], torch.from_numpy(vectors), asked.repeats)
                worst = max(worst, ours["encode"])
                same = f"{ours['encode']:8.1e} {ours['decode']:8.1e} {ours['alone']:6} {ours['active']:7.1f}"
                took = f"{1000 * ours['seconds']:7.1f} {ours['seconds'] / told['seconds']:6.2f}"
                print(f"{told['case']:44} {same} {took}", flush=True)
                (folder / f"{told['case']}.npz").unlink()
        if peers.returncode:
            return peers.returncode
    print(f"largest difference of an activation: {worst:.1e}")
    return int(worst > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
