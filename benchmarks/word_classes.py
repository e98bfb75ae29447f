"""How well claims about word classes find the tense of a sentence.

    python benchmarks/word_classes.py --data ../shared/data

Each of twelve tenses as a claim over word classes; whether it holds of the sentences in that tense, and of as
many sentences in the other eleven. Prints precision and recall of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import parse
from saywell.data.texts import load_texts
from saywell.resources import Resources

SIMPLE = 'not class("continuous") and not class("perfect")'
CONTINUOUS, PERFECT = 'class("continuous") and not class("perfect")', 'not class("continuous")'
HAVE = 'word("has", "have") & class("perfect")'
TENSES = {
    "simple_present": f'class("present") and {SIMPLE} and not class("future")',
    "simple_past": f'class("past") and {SIMPLE}',
    "simple_future": f'class("future") and {SIMPLE}',
    "present_continuous": f'class("present") and {CONTINUOUS} and not class("future")',
    "past_continuous": f'class("past") & class("be") and {CONTINUOUS}',
    "future_continuous": f'class("future") and {CONTINUOUS}',
    "present_perfect": f'{HAVE} and {PERFECT} and not class("future")',
    "past_perfect": f'word("had") & class("perfect") and {PERFECT}',
    "future_perfect": f'class("future") and class("perfect") and {PERFECT}',
    "present_perfect_continuous": f'{HAVE} and class("continuous") and not class("future")',
    "past_perfect_continuous": 'word("had") & class("perfect") and class("continuous")',
    "future_perfect_continuous": 'class("future") and class("perfect") and class("continuous")',
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    sets = pl.read_parquet(parser.parse_args().data / "concept_sets.parquet")
    print("| tense | sentences | claim | precision | recall |\n|---|---|---|---|---|")
    for tense, claim in TENSES.items():
        own = sets.filter(pl.col("concept") == f"tense_{tense}").unique("text", maintain_order=True)
        examples = load_texts(own.select("text"))
        label = dict(zip(own["text"], own["label"], strict=True))
        true = [label[text] for text in examples.texts]
        held = Executor(Ground(examples, Resources()))(parse(claim)).examples
        both = sum(held[true])
        shares = f"{both / held.sum():.3f} | {both / sum(true):.3f}"
        print(f"| {tense.replace('_', ' ')} | {len(true)} | `{claim}` | {shares} |")


if __name__ == "__main__":
    main()
