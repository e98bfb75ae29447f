"""Searches for hypotheses side by side: saywell, hypothesaes 2.0.1, prefscope 0.1.0, on the same vectors.

    .venv/bin/python benchmarks/hypotheses_peers.py --peer-python PYTHON [--only NAME] [--shuffles 20]

Three sets of HypoBench: hotel reviews (truthful or deceptive), pairs of headlines (which was clicked more)
and of tweets (which was retweeted more). Half of the texts or pairs is held out, the same half for all. The
peers call a language model. Here a script stands in for it, the same for both: it names a latent by the
word that most more of the examples shown have than of the others ("uses the word 'x'"), and says yes to a
text that has the word. saywell asks no model. Each method runs as its quick start does and counts what it
calls significant by its own rule; then with targets dealt out anew, where everything found is false.

    saywell           verified (q <= 0.05 on held-out texts, direction as found), and after Bonferroni (0.05)
    hypothesaes       20 hypotheses in one regression on held-out texts: p < 0.1 / their number. It takes
                      texts, not pairs: each text of a pair is a row, favoured or not
    prefscope         pairs only: latents whose name passed its check on held-out pairs and whose sign goes
                      with the favourite, p < 0.05 / latents, on the pairs that the latents were fitted on
    prefscope-latents the same of all its latents, whatever their names

Seconds are of the processor, vectors given, without the shuffled runs. Calls and characters (of prompts) are
those of a run on the real target.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
DEFAULT_DATA = HERE.parent.parent / "shared" / "data" / "hypobench_real.parquet"
SETS = ("deceptive_reviews", "headline_binary", "retweet")
METHODS = ("saywell", "hypothesaes", "prefscope", "prefscope-latents")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


class Script:
    """A language model by rule, for the prompts of both peers."""

    def __init__(self) -> None:
        self.calls = self.characters = 0

    def answer(self, prompt: str) -> str:
        """What it says to one prompt."""
        self.calls += 1
        self.characters += len(prompt)
        if "POSITIVE SAMPLES:" in prompt:  # hypothesaes: name a latent
            _, positive, negative = re.split(r"(?:POSITIVE|NEGATIVE) SAMPLES:\n-+\n", prompt)
            return f"uses the word '{telling([*listed(positive)], [*listed(negative)])}'\""
        if '\nPROPERTY: "' in prompt:  # hypothesaes: does a text have it?
            said, text = prompt.rsplit('\nPROPERTY: "', 1)[1].split('"\nTEXT: "', 1)
            return "yes" if named(said) in words(text) else "no"
        if "EXAMPLES:" in prompt:  # prefscope: name a latent of pairs
            positive, negative = [], []
            for shown in prompt.split("EXAMPLES:\n", 1)[1].split("<example ")[1:]:
                first, second = sides(shown)
                active = float(shown.split('signed_activation="', 1)[1].split('"', 1)[0]) > 0
                (positive if active else negative).append(first)
                negative.append(second)
            concept = f"uses the word '{telling(positive, negative)}'"
            return json.dumps({"status": "ok", "concept": concept, "confidence": "high"})
        said = prompt.rsplit('CONCEPT: "', 1)[1]  # prefscope: which text of a pair has it?
        first, second = (named(said) in words(side) for side in sides(prompt))
        return "Tie" if first == second else "A" if first else "B"

    def raw(self, messages: list[dict], **options: Any) -> str:
        """As prefscope's client does it."""
        return self.answer("\n\n".join(message["content"] for message in messages))


def words(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return {word.lower() for word in WORD.findall(text)}


def sides(shown: str) -> tuple[str, str]:
    """The two texts of a pair as prefscope shows it."""
    found = re.search(r"RESPONSE A:\n(.*?)\n\nRESPONSE B:\n(.*?)\n</example>", shown, re.S)
    assert found
    return found[1], found[2]


def named(said: str) -> str:
    """The word that a name is about."""
    found = re.search(r"uses the word '(.+?)'(?=\W|$)", said)
    return found[1] if found else ""


def listed(block: str) -> list[str]:
    """The texts of a list as Python prints it."""
    import ast

    return ast.literal_eval(block.strip().split("\n----")[0].strip())


def telling(positive: Sequence[str], negative: Sequence[str]) -> str:
    """The word that more of some texts have than of others, by the largest difference of shares."""
    inside, outside = (Counter(w for text in texts for w in words(text)) for texts in (positive, negative))
    gain = {w: n / max(1, len(positive)) - outside[w] / max(1, len(negative)) for w, n in inside.items()}
    return max(sorted(gain), key=gain.__getitem__, default="")


def run_hypothesaes(texts: list[str], labels, vectors, train, shuffles: int) -> dict:
    """Its quick start: dictionary, 20 latents chosen by separation, named, scored, tested."""
    import hypothesaes.annotate as annotate  # pyright: ignore[reportMissingImports]
    import hypothesaes.interpret_neurons as interpret  # pyright: ignore[reportMissingImports]
    import torch
    from hypothesaes import evaluate_hypotheses, generate_hypotheses, train_sae  # pyright: ignore

    script = Script()
    for module in (annotate, interpret):
        setattr(module, "get_completion", lambda prompt, **options: script.answer(prompt))  # noqa: B010
    torch.manual_seed(0)
    known, held_out = np.flatnonzero(train), np.flatnonzero(~train)
    cut = len(known) // 10
    random = np.random.default_rng(0)
    started = time.process_time()
    order = random.permutation(known)
    dictionary = train_sae(
        vectors[order[cut:]], 64, 4, val_embeddings=vectors[order[:cut]], show_progress=False
    )

    def significant(labels: np.ndarray, scoring: int) -> tuple[int, int]:
        np.random.seed(0)
        found = generate_hypotheses(
            [texts[row] for row in known],
            labels[known],
            vectors[known],
            dictionary,
            classification=True,
            n_scoring_examples=scoring,
        )
        unseen = [texts[row] for row in held_out]
        tested, _ = evaluate_hypotheses(found, unseen, labels[held_out], classification=True)
        return tested["Significant"][:2]

    found, tested = significant(labels, 100)
    row = {"found": found, "tested": tested, "seconds": time.process_time() - started, **vars(script)}
    row["shuffled"] = []
    for _ in range(shuffles):
        dealt = labels.copy()
        for half in (known, held_out):
            dealt[half] = random.permutation(dealt[half])
        row["shuffled"].append(significant(dealt, 0)[0])
    return row


def run_prefscope(method: str, texts: Sequence[list[str]], labels, differences, shuffles: int) -> dict:
    """Its pipeline on differences: dictionary, every latent named and checked, then its win relevance."""
    import pandas as pd
    import torch
    from prefscope.interpret.name import name_features  # pyright: ignore[reportMissingImports]
    from prefscope.interpret.verify import verify_features  # pyright: ignore[reportMissingImports]
    from prefscope.pipeline.winrelevance import win_relevance  # pyright: ignore[reportMissingImports]
    from prefscope.sae.model import encode_in_batches  # pyright: ignore[reportMissingImports]
    from prefscope.sae.train import train_sae  # pyright: ignore[reportMissingImports]

    script, random = Script(), np.random.default_rng(0)
    started = time.process_time()
    order, cut = random.permutation(len(labels)), len(labels) // 10
    model, _, _ = train_sae(differences[order[cut:]], differences[order[:cut]], device="cpu")
    found = encode_in_batches(model, differences, 16384, torch.device("cpu"))
    pairs = pd.DataFrame(
        {
            "instruction_id": [str(row) for row in range(len(labels))],
            "prompt": "",
            "completion_a": texts[0],
            "completion_b": texts[1],
        }
    )
    names = name_features(pairs, found, script)
    checked = verify_features(pairs, found, names, script)
    passed = checked[checked["fidelity_pass"].astype(bool)]
    if method == "prefscope-latents":
        passed = checked

    def significant(labels: np.ndarray) -> int:
        tested = [int(one) for one in passed["feature_id"]]
        return int(win_relevance(found, labels, features=tested)["significant"].sum())

    real = significant(labels)
    row = {"found": real, "tested": len(passed), "seconds": time.process_time() - started, **vars(script)}
    row["shuffled"] = [significant(random.permutation(labels)) for _ in range(shuffles)]
    return row


class Given:
    """An encoder that has seen the texts; what it has not seen, MiniLM encodes."""

    def __init__(self, texts: Sequence[str], encoder: Any) -> None:
        self.name, self.fingerprint, self._encoder = encoder.name, encoder.fingerprint, encoder
        unique = list(dict.fromkeys(texts))
        self._vectors = dict(zip(unique, encoder(unique), strict=True))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, one row a text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encoder(new), strict=True))
        return np.stack([self._vectors[text] for text in texts])


def run_saywell(table: Any, pairs: bool, encoder: Given, shuffles: int) -> dict:
    """A study with its defaults."""
    from saywell.progress import silent
    from saywell.studies.hypotheses import find_hypotheses

    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        options: dict[str, Any] = dict(pair="text_b") if pairs else {}
        study = find_hypotheses(
            table,
            out=Path(folder) / "study",
            target="label",
            split="half",
            encoder=encoder,
            shuffles=shuffles,
            progress=silent,
            **options,
        )
        seconds = time.process_time() - started
        said, dealt = study.table("hypotheses"), study.table("shuffled_targets")
        verified = said.filter(said["status"] == "verified")
        return {
            "found": verified.height,
            "bonferroni": int((verified["p_bonferroni"] <= 0.05).sum()),
            "tested": said.height,
            "seconds": seconds,
            "calls": 0,
            "characters": 0,
            "shuffled": dealt["verified"].to_list(),
            "shuffled_bonferroni": dealt["bonferroni"].to_list(),
        }


def worker(method: str, folder: Path, shuffles: int) -> dict:
    """One row, in an environment that has the peers."""
    said = json.loads((folder / "texts.json").read_text())
    arrays = np.load(folder / "arrays.npz")
    first, second, vectors = said["first"], said["second"], arrays["vectors"]
    favoured, train = arrays["favoured"], arrays["train"]
    if method.startswith("prefscope"):
        differences = vectors[: len(first)] - vectors[len(first) :]
        return run_prefscope(method, (first, second), favoured.astype(float), differences, shuffles)
    if not second:
        return run_hypothesaes(first, favoured, vectors, train, shuffles)
    labels = np.concatenate([favoured, 1 - favoured])
    return run_hypothesaes(first + second, labels, vectors, np.tile(train, 2), shuffles)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--only", default=",".join(SETS))
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--shuffles", type=int, default=20)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        method, folder, shuffles = options.worker
        with contextlib.redirect_stdout(io.StringIO()):
            row = worker(method, Path(folder), int(shuffles))
        return print(json.dumps(row))
    import polars as pl

    from saywell.encoders.sentence import open_sentence_encoder

    encoder = open_sentence_encoder("minilm")
    heads = ("tested", "found", "Bonferroni", "false a run", "runs with any", "calls", "characters", "s")
    print(f"{'':<32}" + "".join(f"{head:>14}" for head in heads))
    for name in options.only.split(","):
        table = pl.read_parquet(options.data).filter(pl.col("dataset") == name, pl.col("split") != "ood")
        half = np.random.default_rng(0).permutation(len(table)) % 4
        table = table.with_columns(half=pl.Series([("test", "train", "test", "val")[n] for n in half]))
        pairs = table["text_b"].null_count() == 0
        first, second = table["text"].to_list(), table["text_b"].to_list() if pairs else []
        given = Given([*first, *second], encoder)
        favoured = table["label"].str.contains("^(first|Headline 1|deceptive)")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "texts.json").write_text(json.dumps({"first": first, "second": second}))
            np.savez(
                folder / "arrays.npz",
                vectors=given([*first, *second]),
                favoured=favoured.to_numpy().astype(int),
                train=half % 2 == 1,
            )
            for method in options.methods.split(","):
                if method == "saywell":
                    row = run_saywell(table, pairs, given, options.shuffles)
                elif options.peer_python is None or (method.startswith("prefscope") and not pairs):
                    continue
                else:
                    asked = [options.peer_python, __file__, "--worker", method, folder, options.shuffles]
                    said = subprocess.run([*map(str, asked)], capture_output=True, text=True)
                    if said.returncode:
                        sys.exit(said.stderr)
                    row = json.loads(said.stdout.splitlines()[-1])
                show(f"{name}, {method}", row)


def show(called: str, row: dict) -> None:
    """Print a row."""
    dealt = np.array(row["shuffled"])
    print(
        f"{called:<32}{row['tested']:>14}{row['found']:>14}{row.get('bonferroni', row['found']):>14}"
        f"{dealt.mean():>14.2f}{(dealt > 0).mean():>14.0%}"
        f"{row['calls']:>14,}{row['characters']:>14,}{row['seconds']:>14.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
