"""What a run may use: models and settings that all steps share, opened when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from saywell.data.examples import Examples
from saywell.encoders.cache import EmbeddingCache, embed_images, embed_texts
from saywell.encoders.precomputed import Precomputed
from saywell.encoders.sentence import (
    SentenceEncoder,
    encode_in_chunks,
    encoder_fingerprint,
    open_sentence_encoder,
)
from saywell.encoders.words import vocabulary
from saywell.errors import InputError
from saywell.language_models import LanguageModel, Prompt, load_prompt
from saywell.language_models.requests import need_open
from saywell.progress import Progress, silent
from saywell.store.files import read_array, write_arrays

if TYPE_CHECKING:
    from saywell.encoders.causal import CausalModel
    from saywell.encoders.dual import DualEncoder
    from saywell.store.study import StudyWriter

VECTORS = "arrays/embeddings.safetensors"
WORD_VECTORS = "arrays/word_embeddings.safetensors"
LOOKS = "arrays/looks.safetensors"
STORED_VECTORS = {
    VECTORS: ("embeddings", "examples"),
    WORD_VECTORS: ("word embeddings", "words"),
    LOOKS: ("looks", "examples"),
}
"""The step that makes each file, and the name of its array."""
CACHE = "embeddings.sqlite"


@dataclass
class Resources:
    """Models, prompts, seed and progress of a run.

    `encoder` reads texts and wordings, `dual` sees pictures and reads wordings: each a name, or the
    encoder itself; they are opened when first needed. `llm` is None where nobody may be asked.
    """

    encoder: str | SentenceEncoder = "minilm"
    dual: str | DualEncoder | Callable[[], DualEncoder] | None = None
    llm: LanguageModel | None = None
    causal: str | Callable[[], CausalModel] | None = None
    """What predicts the next token of a text, for readers that ask how surprising it is."""
    seed: int = 0
    progress: Progress = silent
    prompts: Path | None = None
    device: str = "auto"
    study: StudyWriter | None = None
    """Where vectors are kept; set for the time of a run."""
    lost: list[Any] = field(default_factory=list)
    """Questions to the LLM that had no answer, until a step stores them."""
    _vectors: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    _phrases: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        need_open(self.llm)

    @cached_property
    def sentence_encoder(self) -> SentenceEncoder:
        """What turns texts into vectors."""
        return open_sentence_encoder(self.encoder) if isinstance(self.encoder, str) else self.encoder

    @cached_property
    def dual_encoder(self) -> DualEncoder:
        """What turns pictures and wordings into vectors of one space.

        Raises InputError where none was given.
        """
        from saywell.encoders.dual import open_dual_encoder

        if self.dual is None:
            raise InputError(
                "pictures need an encoder of images and texts: give --encoder NAME or encoder=..."
            )
        if isinstance(self.dual, str):
            return open_dual_encoder(self.dual)
        return self.dual() if callable(self.dual) else self.dual

    def need_llm(self, who: str) -> LanguageModel:
        """The language model. Raises InputError where there is none, saying `who` asks for it."""
        if self.llm is None:
            raise InputError(f"{who} needs a language model; name one: --llm PROVIDER:MODEL")
        return self.llm

    def need_causal(self, who: str) -> CausalModel:
        """The causal language model. Raises InputError where there is none, saying `who` asks for it."""
        if self.causal is None:
            raise InputError(
                f"{who} needs a causal language model; name one, a folder, a hub name or a .gguf file:"
                " --surprisal-model MODEL (surprisal_model=...)"
            )
        return self._causal

    @cached_property
    def _causal(self) -> CausalModel:
        from saywell.encoders.causal import load_causal
        from saywell.units.models import pick_device

        assert self.causal is not None
        if isinstance(self.causal, str):
            return load_causal(self.causal, device=pick_device(self.device))
        return self.causal()

    def prompt(self, name: str) -> Prompt:
        """A prompt by name, the user's where there is one."""
        return load_prompt(name, self.prompts)

    def encode(self, examples: Examples, wordings: Sequence[str]) -> Float[np.ndarray, "wordings dim"]:
        """Unit vectors of wordings, in the space in which `vectors` has these examples."""
        if examples.kind == "image":
            return embed_texts(self.dual_encoder, wordings, self._cache)
        return self.sentence_encoder(wordings)

    def phrases(self, examples: Examples, said: Sequence[str]) -> Float[np.ndarray, "phrases dim"]:
        """`encode`, with each phrase encoded once in a run: claims ask for the same ones again and again."""
        known = self._phrases.setdefault("image" if examples.kind == "image" else "text", {})
        new = [phrase for phrase in dict.fromkeys(said) if phrase not in known]
        if new or not said:
            known.update(zip(new, found := self.encode(examples, new), strict=True))
            if not said:
                return found
        return np.stack([known[phrase] for phrase in said])

    def reads(self, examples: Examples, wordings: Sequence[str]) -> Bool[np.ndarray, " wordings"]:
        """Of which wordings `encode` makes vectors: those with words that its encoder reads whole."""
        told = np.array([bool(text.strip()) for text in wordings], dtype=bool)
        if examples.kind != "image":
            return told
        encoder = self.dual_encoder
        if isinstance(encoder, Precomputed):
            known = set(encoder.texts)
            return np.array([text in known for text in wordings], dtype=bool)
        return told & (np.asarray(encoder.count_tokens(wordings)) <= encoder.max_tokens)

    def fingerprint(self, examples: Examples) -> str:
        """Of the encoder of these examples."""
        if examples.kind == "image":
            return self.dual_encoder.fingerprint
        return encoder_fingerprint(self.sentence_encoder)

    def vectors(self, examples: Examples) -> Float[np.ndarray, "examples dim"]:
        """Unit vectors of the examples."""
        return self.by_example(examples, VECTORS, self._encoded)

    def by_example(
        self, examples: Examples, file: str, make: Callable[[Examples], np.ndarray]
    ) -> Float[np.ndarray, "examples dim"]:
        """A row of numbers for each example, made once, and a step of the study where there is one.

        Those of a part are made with all the others that it is a part of. `file` is one of `STORED_VECTORS`.
        """
        whole = examples.whole or examples
        rows = self._once(whole, file, lambda: make(whole))
        if examples.whole is None:
            return rows
        place = {id: number for number, id in enumerate(whole.ids)}
        return rows[[place[id] for id in examples.ids]]

    def word_vectors(self, examples: Examples) -> tuple[list[str], Float[np.ndarray, "words dim"]]:
        """The words of texts (see `vocabulary`) and the unit vector of each by itself; a step of the study.

        Those of a part are those of all the others that it is a part of, too.
        """
        whole = examples.whole or examples
        words = vocabulary(whole.texts)

        def encode() -> np.ndarray:
            with self.progress("word vectors", len(words)) as advance:
                return encode_in_chunks(self.sentence_encoder, words, progress=advance)

        return words, self._once(whole, WORD_VECTORS, encode)

    def keep(self, examples: Examples, vectors: np.ndarray, file: str = VECTORS) -> None:
        """Unit vectors of the examples, or of their words, that somebody has made already."""
        self._vectors[examples.fingerprint, file] = vectors

    def _once(self, examples: Examples, file: str, encode: Callable[[], np.ndarray]) -> np.ndarray:
        """What `encode` makes of these examples: made once, and a step of the study where there is one."""
        known = examples.fingerprint, file
        if known not in self._vectors:
            self._vectors[known] = encode() if self.study is None else _stored(self.study, file, encode)
        return self._vectors[known]

    def _encoded(self, examples: Examples) -> np.ndarray:
        if examples.kind != "image":
            with self.progress("sentence vectors", len(examples)) as advance:
                return encode_in_chunks(self.sentence_encoder, examples.texts, progress=advance)
        with self.progress("image vectors", len(examples)) as advance:
            return embed_images(self.dual_encoder, examples, cache=self._cache, progress=advance)

    @property
    def _cache(self) -> EmbeddingCache | None:
        """Where pictures and wordings are kept by their content, so that a run that was stopped goes on."""
        return None if self.study is None else EmbeddingCache(self.study.path / CACHE)


def _stored(study: StudyWriter, file: str, encode: Callable[[], np.ndarray]) -> np.ndarray:
    path, (step, array) = study.path / file, STORED_VECTORS[file]

    def write() -> None:
        import torch

        write_arrays(path, {array: torch.from_numpy(encode())})

    study.step(step, write, files=(file,), uses=("examples",))
    return read_array(path, array)
