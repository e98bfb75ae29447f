"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

from shapes import sparing

jaxtyping.jaxtyped = sparing(jaxtyping.jaxtyped)
settings.register_profile("saywell", deadline=None)  # a busy machine is no mistake of the code
settings.load_profile("saywell")
torch.set_num_threads(1)  # the models here are tiny: threads would only wait for each other

REPOSITORY = Path(__file__).resolve().parent.parent
WORDS = (
    "the a is was it good bad battery screen price staff food room died lasted cheap dear rude kind"
    " very quickly never again charger phone soup bed clean dirty waiter box"
).split()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real test data and small models beside the repository; the test skips without it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "data" / "README.md").is_file():
        pytest.skip("the folder of real test data (../shared) is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def put_tables():
    """Put tables into a study as if it had written them, whatever schemas say; None takes one out."""
    from saywell.store.files import file_hash, write_json
    from saywell.store.study import Manifest, StoredTable

    def put(folder: Path, **tables):
        manifest = Manifest.model_validate_json((folder / "study.json").read_text("utf-8"))
        for name, table in tables.items():
            path = folder / f"{name}.parquet"
            if table is None:
                path.unlink()
                del manifest.tables[name]
            else:
                table.write_parquet(path)
                told = manifest.tables.get(name)
                manifest.tables[name] = StoredTable(
                    schema_version=told.schema_version if told else 1,
                    rows=table.height,
                    hash=file_hash(path),
                    seconds=0.0,
                    columns={column: str(dtype) for column, dtype in table.schema.items()},
                    key=[column for column in (told.key if told else []) if column in table.columns],
                )
        manifest.hash = manifest.content_hash()
        write_json(folder / "study.json", manifest.model_dump())
        return folder

    return put


@pytest.fixture(scope="session")
def tokenizer():
    """A word-level tokenizer over a few words, with CLS and SEP around every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: n for n, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=24,
    )


@pytest.fixture(scope="session")
def bert(tokenizer):
    """A tiny BERT with random weights: 2 layers, width 16, 32 neurons a layer, 2 heads."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        hidden_act="gelu",
    )
    return BertModel(config).eval()


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Sixty different texts of 1 to 12 words."""
    import random

    chooser = random.Random(0)
    return sorted({" ".join(chooser.choices(WORDS, k=1 + n % 12)) for n in range(80)})[:60]
