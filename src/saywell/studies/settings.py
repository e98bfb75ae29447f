"""What can be asked of a question, as one record: its command line, its stored settings, its documentation.

A field is an option: `--llm-units 5` on the command line is `llm_units=5` in Python. What says only
where something is read from or written to, and what is no plain value (a model that is open already),
are arguments of the function beside the record.

Fields with `exclude=True` change nothing that a study holds, and are not stored with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from inspect import get_annotations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from saywell.errors import InputError

WRITERS = "claims, enrichment, composition, covering, extractive, dissect, llm"
"""By name; those of the registry, which is not read for a line of help."""
EXTRACTIVE = "extractive"
_MOST_SHOWN = 200
"""Letters of a wrong value."""


def nearest(wrong: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant; None where none is much like it.

    By letters in order and out of it, since swapping two is a usual slip.
    """

    def likeness(name: str) -> float:
        in_order = SequenceMatcher(None, wrong, name).ratio()
        return in_order + SequenceMatcher(None, sorted(wrong), sorted(name)).ratio()

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 1 else None


def _listed(value: Any) -> Any:
    """One value as a list of it; any sequence as a list."""
    if isinstance(value, str | Path):
        return [value]
    return list(value) if isinstance(value, Sequence) else value


def _split(value: Any) -> Any:
    """`a,b` as ["a", "b"]."""
    return value.split(",") if isinstance(value, str) else _listed(value)


def _numbers(value: Any) -> Any:
    """`1,2,16` as [1, 2, 16]; empty for none."""
    if not isinstance(value, str):
        return _listed(value)
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError("is no list of numbers; write it like 1,2,4,8,16")
    return [int(part) for part in parts]


def _ranges(value: Any) -> Any:
    """`0,3-5` as [0, 3, 4, 5]."""
    if not isinstance(value, str):
        return _listed(value)
    numbers: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first]
        if not all(end.isascii() and end.isdigit() for end in ends) or int(ends[0]) > int(ends[-1]):
            raise ValueError("is no list of numbers; write it like 0,3-5")
        numbers.extend(range(int(ends[0]), int(ends[-1]) + 1))
    return numbers


def _words(value: Any) -> Any:
    """`sea bird` as ["sea", "bird"]."""
    return value.split() if isinstance(value, str) else _listed(value)


def _rate(value: Any) -> Any:
    """The text of a rate, as it is."""
    if isinstance(value, str):
        from saywell.language_models.rates import Rate

        try:
            Rate.parse(value)
        except InputError as error:
            raise ValueError(str(error).removeprefix(f"{value!r} ")) from None
    return value


class Written:
    """Marks a list that is one word of a command line, joined by `by`; without it, options repeat."""

    def __init__(self, by: str) -> None:
        self.by = by


Count = Annotated[int, Field(ge=1)]
File = Annotated[Path, Field(strict=False)]
Names = Annotated[list[str], BeforeValidator(_listed)]
"""An option that can be given more than once; in Python also one alone."""


class OptionError(InputError):
    """An option with a value that it cannot have; `shown` is the value as it may be printed."""

    def __init__(self, option: str, shown: str, words: str) -> None:
        super().__init__(f"{option}={shown} {words}")
        self.option, self.shown, self.words = option, shown, words


class Settings(BaseModel):
    """Options: plain values that are checked, and refused where they are unknown.

    Raises InputError, in one line, for an option that is none (with the nearest that is one) and for a
    value that cannot be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    if not TYPE_CHECKING:  # whose reading of the fields is better than this signature

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise _mistake(error.errors()[0], type(self), options) from None

    def stored(self) -> dict[str, Any]:
        """What a study keeps of them: all that can change what it holds."""
        return self.model_dump(mode="json")


S = TypeVar("S", bound=Settings)


def named(**objects: Any) -> dict[str, str]:
    """Models as options, by their names: each is one already, or has one; None is left out."""
    given = {option: value for option, value in objects.items() if value is not None}
    return {option: value if isinstance(value, str) else value.name for option, value in given.items()}


class LlmSettings(Settings):
    """Which language model is asked, and what it may take."""

    llm: str = Field(
        default="extractive", description="Who is asked: PROVIDER:MODEL, or 'extractive' for nobody."
    )
    llm_url: str | None = Field(
        default=None, exclude=True, repr=False, description="Base URL of the LLM's endpoint."
    )
    llm_deadline: float = Field(
        default=600.0, gt=0, exclude=True, description="Most seconds to wait while the LLM answers nothing."
    )
    llm_timeout: float = Field(
        default=600.0,
        gt=0,
        exclude=True,
        description="Most seconds until the LLM's first token; until its last where it does not stream.",
    )
    llm_idle: float = Field(
        default=120.0, gt=0, exclude=True, description="Most seconds between two tokens of a reply."
    )
    llm_context: Count | None = Field(
        default=None,
        exclude=True,
        description="Tokens that the LLM reads and writes at most; by default its server is asked.",
    )
    llm_reply: Count = Field(
        default=16_384, exclude=True, description="Most tokens of one reply, when a smaller limit cut it off."
    )
    llm_effort: str | None = Field(
        default=None, exclude=True, description="How long an LLM that reasons may do so: none, low, ..."
    )
    llm_rate: Annotated[str | None, BeforeValidator(_rate)] = Field(
        default=None, exclude=True, description="Most a minute, as 60/min or '60/min,100000 tokens/min'."
    )
    llm_threads: Count | None = Field(
        default=None, exclude=True, description="Processor threads of an LLM that runs here (gguf:)."
    )
    max_calls: int | None = Field(default=None, ge=0, exclude=True, description="Stop before more LLM calls.")
    max_usd: float | None = Field(default=None, ge=0, exclude=True, description="Stop before spending more.")
    max_tokens: int | None = Field(default=None, ge=0, exclude=True, description="Stop before more tokens.")
    concurrency: Count = Field(default=16, exclude=True, description="LLM requests under way at once.")
    replay: bool = Field(
        default=False, exclude=True, description="Use stored LLM replies only; fail on a missing one."
    )
    prompts: File | None = Field(default=None, exclude=True, description="Folder with prompts of your own.")

    @model_validator(mode="after")
    def _of_a_model(self) -> LlmSettings:
        if self.llm == EXTRACTIVE and self.llm_url is not None:  # it may hold a password: not repeated
            raise ValueError(f"llm_url (--llm-url) needs a model: llm={EXTRACTIVE!r} asks none")
        return self


class StudySettings(Settings):
    """What every study has."""

    describer: Names = Field(default=[], description=f"Who writes: {WRITERS}.")
    reader: Names = Field(
        default=[], description="Who reads, by name; the strictest decides what is verified (docs/scores.md)."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Splits, samples and controls depend on it.")


class CausalSettings(StudySettings):
    """Of studies whose texts a causal language model may read."""

    surprisal_model: str | None = Field(
        default=None,
        exclude=True,
        description="Causal language model of the reader 'surprisal': a folder, hub name or .gguf file;"
        " the model under study where it is one.",
    )

    @model_validator(mode="after")
    def _someone_to_be_surprised(self) -> CausalSettings:
        if self.surprisal_model is not None and "surprisal" not in self.reader:
            raise ValueError(
                f"surprisal_model={self.surprisal_model!r} (--surprisal-model) is of a reader that"
                " nobody asks: add reader='surprisal' (--reader surprisal)"
            )
        return self


class ClaimSettings(StudySettings, LlmSettings):
    """How claims are put."""

    paraphrase: bool = Field(
        default=False,
        exclude=True,
        description="Have the LLM put claims in words that read better, kept only where they say the same.",
    )

    @model_validator(mode="after")
    def _someone_to_paraphrase(self) -> ClaimSettings:
        if self.paraphrase and self.llm == EXTRACTIVE:
            raise ValueError("paraphrase=True (--paraphrase) asks a language model: give llm=... (--llm)")
        if self.paraphrase and self.describer and "claims" not in self.describer:
            raise ValueError(
                "paraphrase=True (--paraphrase) is of claims, and nobody makes any: add describer='claims'"
                " (--describer claims)"
            )
        return self


class NeuronSettings(CausalSettings, ClaimSettings):
    """Options of `saywell neurons` and `describe_neurons`."""

    text: str = Field(default="text", description="Column with the text.")
    tags: str | None = Field(default=None, description="Column with tags to use as the descriptors.")
    gold: str | None = Field(default=None, description="Column with tags to compare with, seen by nobody.")
    limit: int | None = Field(default=None, description="Use that many texts, chosen by content.")
    encoder: str = Field(default="minilm", description="Sentence encoder that merges and tags.")
    llm_units: int = Field(
        default=0,
        ge=0,
        description="Units that a reader that costs (an LLM, surprisal) scores; drawn by chance.",
    )
    kind: Literal["ffn", "residual", "attention-head"] = Field(
        default="ffn", description="Units to describe."
    )
    layers: Annotated[list[int] | None, BeforeValidator(_ranges), Written(",")] = Field(
        default=None, exclude=True, description="Layers, such as 0,3-5; all by default."
    )
    modules: Annotated[list[str] | None, BeforeValidator(_split), Written(",")] = Field(
        default=None, description="Module paths, with commas, instead of searching."
    )
    pool: Literal["max", "mean", "cls", "last"] = Field(
        default="max", description="From tokens to one value a text."
    )
    top: int = Field(default=50, ge=3, description="Exemplars per neuron and side.")
    threshold: float = Field(
        default=0.5, gt=0, le=1, description="Composition threshold: share of exemplars."
    )
    random_control: bool = Field(default=True, description="Also run the model with random weights.")
    device: str = Field(default="auto", exclude=True, description="auto, cpu, cuda, mps.")
    dtype: str | None = Field(default=None, description="float32, bfloat16 or float16.")

    @model_validator(mode="after")
    def _something_to_find(self) -> NeuronSettings:
        if self.tags and self.gold:
            raise ValueError(
                f"tags={self.tags!r} gives the descriptors away, so gold={self.gold!r} has nothing to find;"
                " use one"
            )
        return self


Rule = Literal[
    "ift",
    "ift-literal",
    "ift-proponent",
    "ift-opponent",
    "text-influence",
    "text-influence-all",
    "nearest",
    "stepwise",
    "clip-only",
    "clip-standardised",
    "influence-only",
    "neighbourhood",
    "random",
    "longest",
]
"""Rules that choose texts; "ift" is short for "ift-proponent"."""


class DualSettings(Settings):
    """What sees images and reads texts: a dual encoder, two models that are joined, or vectors in files."""

    encoder: str | None = Field(
        default=None,
        description="CLIP or SigLIP checkpoint: folder, hub name; 'planted' for the demo's alone.",
    )
    vision: str | None = Field(
        default=None, exclude=True, description="Without a dual encoder: vision model to be joined."
    )
    sentences: str = Field(
        default="minilm", exclude=True, description="With --vision: sentence encoder to be joined."
    )
    join_on: str | None = Field(
        default=None, exclude=True, description="With --vision: named or captioned images to fit on."
    )
    join_label: str = Field(
        default="label", exclude=True, description="With --join-on: column with names or captions."
    )
    join_caption: str = Field(
        default="{}", exclude=True, description="With --join-on: what is around a name, as 'a photo of a {}'."
    )
    image_vectors: File | None = Field(
        default=None, exclude=True, description="Instead of an encoder: file with vectors of the images."
    )
    text_vectors: File | None = Field(
        default=None, exclude=True, description="With --image-vectors: file with vectors of texts."
    )
    device: str | None = Field(default=None, exclude=True, description="cpu, cuda or mps, for encoders.")


class ExampleSettings(DualSettings, CausalSettings, ClaimSettings):
    """Of questions about texts or pictures, whatever the units: what the examples are, and who describes."""

    text: str = Field(default="text", description="Column with the text.")
    images: bool = Field(
        default=False, description="The examples are pictures, where they could be texts as well."
    )
    image: str = Field(default="image", description="Column with pictures, or their paths.")
    tags: str | None = Field(default=None, description="Column with tags to use as the descriptors.")
    vocabulary: Annotated[File | Sequence[str] | None, Field(union_mode="left_to_right")] = Field(
        default=None,
        exclude=True,
        description="File of phrases to describe with, one a line or a JSON list; pictures need it, and"
        " texts where the words that are found do not name what units respond to.",
    )
    encoder: str | None = Field(
        default=None,
        description="Compares examples with words: of texts (minilm), of pictures CLIP or SigLIP.",
    )
    limit: int | None = Field(default=None, description="Use that many examples, chosen by content.")
    top: int = Field(default=50, ge=3, description="Exemplars per unit.")
    threshold: float = Field(
        default=0.5, gt=0, le=1, description="Describer composition: share of exemplars."
    )
    llm_units: int = Field(
        default=0,
        ge=0,
        description="Units that a reader that costs (an LLM, surprisal) scores; drawn by chance.",
    )
    control: bool = Field(default=True, description="Also do the same where there is nothing to find.")


class UnitSettings(ExampleSettings):
    """Options of `saywell units` and `describe_units`."""

    column: Names = Field(default=[], description="Column of the examples to describe: a number, or names.")
    firing: str | None = Field(
        default=None, description="When units fire: top:0.05, above:0, median, or a column of yes and no."
    )
    names: Annotated[File | Sequence[str] | None, Field(union_mode="left_to_right")] = Field(
        default=None, exclude=True, description="File with the units' names, one a line or a JSON list."
    )
    module: str | None = Field(
        default=None,
        description="With --model: path of a module; of an image model also 'outputs' or 'channels'.",
    )
    pool: Literal["max", "mean", "cls", "last"] = Field(
        default="max", description="With --model: from tokens or places to one value an example."
    )


class FeatureSettings(ExampleSettings):
    """Options of `saywell features` and `describe_features`."""

    at: str | None = Field(
        default=None,
        description="Hook point of --model: module path, TransformerLens or nnsight name (saywell places).",
    )
    train: str | None = Field(
        default=None,
        description="Without --dictionary, train one, METHOD:LATENTS:K: topk, batchtopk, matryoshka,"
        " jumprelu, pca, ica, nmf, neurons.",
    )
    on: Literal["tokens", "embeddings"] = Field(
        default="tokens", description="What vectors: of a model's tokens or patches, or the encoder's."
    )
    train_on: Count = Field(default=500_000, description="Vectors that a dictionary is trained on, at most.")
    bos: bool | None = Field(
        default=None,
        description="Whether a begin-of-text token stands first; by default as the dictionary says.",
    )
    context: Count | None = Field(
        default=128, description="Tokens of a window; longer texts are cut into several."
    )
    stride: Count | None = Field(
        default=None, description="Tokens from one window to the next; --context by default."
    )
    latents: Annotated[list[int] | None, BeforeValidator(_ranges), Written(",")] = Field(
        default=None, description="Which latents, such as 0-511,700; all by default."
    )
    some: Count | None = Field(
        default=None, description="Describe that many of the latents, drawn by the seed."
    )
    firing: str = Field(
        default="above:0",
        description="When a latent fires on an example: above:0, at all; top:0.05, among the strongest.",
    )
    engine: Literal["local", "ray"] = Field(
        default="local", exclude=True, description="Where the pass over the examples runs."
    )
    output_units: int = Field(
        default=20,
        ge=0,
        description="Latents held at a level, to see what comes next; drawn by chance. 0: no output side.",
    )
    dtype: str | None = Field(default=None, description="float32, bfloat16 or float16, for --model.")

    @model_validator(mode="after")
    def _whole(self) -> FeatureSettings:
        if self.on == "embeddings" and self.at is not None:
            raise ValueError(
                f"at={self.at!r} (--at) is a place in a model, and on='embeddings' (--on) is what an encoder"
                " gives for a whole example; give one of them"
            )
        if self.stride is not None and (self.context is None or self.stride > self.context):
            raise ValueError(
                f"stride={self.stride} (--stride) would leave tokens out between windows of"
                f" context={self.context} (--context); give at most as many"
            )
        return self


class CheckSettings(FeatureSettings):
    """Options of `saywell check`, `check_features` and `check_descriptions`.

    Against a study those alone that say which descriptions (`only`) and who reads.
    """

    only: Names = Field(
        default=[],
        description="Of descriptions of several models, places or writers those alone, COLUMN=VALUE, such as"
        " layer=3 or by=MaxAct.",
    )


class ClassSettings(DualSettings, StudySettings, LlmSettings):
    """Options of `saywell classes` and `describe_classes`."""

    knowledge: str | Path | Mapping[str, str] = Field(
        default="none", description="'wikipedia', a folder or table of articles, or 'none'."
    )
    texts: File | Mapping[str, Sequence[str]] | None = Field(
        default=None, description="Choose from these texts (JSON, Parquet, CSV); write none."
    )
    select: Rule = Field(
        default="ift", description="Rule that chooses: ift for true texts, stepwise for accuracy."
    )
    per_class: Count = Field(default=10, description="Texts chosen for a class.")
    shots: Annotated[list[Count], BeforeValidator(_numbers), Written(",")] = Field(
        default=[1, 2, 4, 8, 16], description="Images a class in low-shot rows."
    )
    seeds: Count = Field(default=5, description="Draws of the shots.")
    compare: Annotated[list[File] | Mapping[str, Mapping[str, Sequence[str]]], BeforeValidator(_listed)] = (
        Field(default=[], description="File of class -> texts, a further row.")
    )
    judge: bool = Field(default=False, description="Have the LLM compare texts.")
    llm_units: int = Field(
        default=20, ge=0, description="Classes that a reader by LLM (--reader) reads; drawn by chance."
    )
    network: str | None = Field(
        default=None, description="Also influence from pixels: resnet34 or a classifier's name."
    )
    network_epochs: Count = Field(default=200, description="How long the network learns.")
    network_side: Count = Field(default=64, description="Side of the network's images, pixels.")
    superclass: str = Field(default="", description="What all classes are, such as bird.")
    context: Annotated[list[str], BeforeValidator(_words), Written(" ")] = Field(
        default=[], description="Words that decide what an ambiguous class name means."
    )
    language: str = Field(default="en", description="Language of the Wikipedia.")
    contact: str = Field(
        default="", exclude=True, description="Your address or page, told to Wikipedia with each request."
    )
    label: str = Field(default="label", description="Column with the class.")
    split: str | None = Field(default=None, description="Column with train, validation, test; else by hash.")
    limit: int | None = Field(default=None, description="Use that many images, of all classes.")

    @model_validator(mode="after")
    def _someone_to_judge(self) -> ClassSettings:
        if self.judge and self.llm == EXTRACTIVE:
            raise ValueError("judge=True asks a language model: give llm=... (--llm)")
        return self


class HypothesisSettings(CausalSettings, ClaimSettings):
    """Options of `saywell hypotheses` and `find_hypotheses`."""

    target: str | None = Field(
        default=None, description="Column with what is to be explained; of pairs, which is favoured."
    )
    kind: Literal["binary", "ordinal", "count", "real", "nominal"] | None = Field(
        default=None, description="What the target is; by default its values tell."
    )
    first: str | None = Field(
        default=None, description="Of pairs, the value of the target that says the first is favoured."
    )
    text: str = Field(default="text", description="Column with the text; of pairs, the first.")
    pair: str | None = Field(default=None, description="Column with the second text of each pair.")
    between: str | None = Field(
        default=None, description="Column with two groups, or more, to be told apart, instead of a target."
    )
    covariate: Names = Field(
        default=[], description="Column to be held equal; 'length' is the number of words."
    )
    by: str | None = Field(default=None, description="Column that says who said the target.")
    group: str | None = Field(
        default=None, description="Column of what texts have in common (a prompt, an author): kept together."
    )
    split: str | None = Field(default=None, description="Column with train, validation, test; else by hash.")
    candidates: Annotated[
        list[Literal["claims", "latents", "topics", "llm"]], BeforeValidator(_split), Written(",")
    ] = Field(default=["claims", "latents", "topics"], description="Where hypotheses come from.")
    tests: Count = Field(default=120, description="Hypotheses that are put to the test, at most.")
    report: Count = Field(
        default=20,
        exclude=True,
        description="Hypotheses that are printed when it is done, at most; the page has all.",
    )
    shuffles: int = Field(
        default=20, ge=0, description="Times the search is run again with the target dealt out anew."
    )
    limit: int | None = Field(default=None, description="Use that many texts or pairs, chosen by content.")
    encoder: str = Field(default="minilm", description="Sentence encoder that finds latents and topics.")
    llm_units: int = Field(
        default=0, ge=0, description="Hypotheses that a reader that costs (an LLM) reads; the clearest."
    )
    top: int = Field(default=30, ge=3, description="Examples that are kept of each hypothesis.")
    device: str = Field(default="auto", exclude=True, description="auto, cpu, cuda, mps.")

    @model_validator(mode="after")
    def _someone_to_propose(self) -> HypothesisSettings:
        if "llm" in self.candidates and self.llm == EXTRACTIVE:
            raise ValueError("candidates='llm' (--candidates) asks a language model: give llm=... (--llm)")
        if self.target is not None and self.between is not None:
            raise ValueError(
                f"target={self.target!r} (--target) and between={self.between!r} (--between) both say what"
                " is to be explained; give one of them"
            )
        if self.first is not None and self.pair is None:
            raise ValueError(f"first={self.first!r} (--first) is of pairs: give pair=... (--pair)")
        return self


class ExamSettings(CausalSettings, LlmSettings):
    """Options of `saywell exam` and `run_exam`."""

    tasks: File | None = Field(
        default=None, description="File of two-group tasks with gold descriptions, instead of rules."
    )
    limit: Count | None = Field(default=150, description="Texts of each group of a task in each split.")
    texts: str | None = Field(default=None, description="Texts to plant rules in, instead of the demo's.")
    text: str = Field(default="text", description="Column of --texts with the text.")
    tags: str | None = Field(default=None, description="Column of --texts with true topics.")
    images: bool = Field(default=False, description="Rules over drawn pictures, instead of texts.")
    pictures: Count = Field(default=2400, description="With --images: how many are drawn.")
    per_kind: Count = Field(default=8, description="Units of each kind of rule.")
    noise_units: int = Field(default=60, ge=0, description="Units that follow no rule.")
    encoder: str | None = Field(
        default=None, description="Sentence encoder (minilm); with --images a dual encoder (planted)."
    )

    @model_validator(mode="after")
    def _one_exam(self) -> ExamSettings:
        if self.tasks is not None and self.texts is not None:
            raise ValueError("tasks (--tasks) and texts (--texts) are two different exams: give one of them")
        form = "pictures" if self.images else "tasks" if self.tasks is not None else "texts"
        if form == "texts" and self.texts is None and self.tags is not None:
            raise ValueError(
                f"tags={self.tags!r} (--tags) is a column of texts of your own: give texts (--texts)"
            )
        for option, forms in _ONLY.items():
            value = getattr(self, option)
            # Pictures have no describer that asks a model, but readers.
            forms = (*forms, form) if option == "llm" and self.reader else forms
            if form not in forms and value != type(self).model_fields[option].default:
                shown = str(value) if isinstance(value, Path) else value
                raise ValueError(
                    f"{option}={shown!r} (--{option.replace('_', '-')}) is for exams of"
                    f" {' or '.join(forms)}, and this is one of {form}; leave it out"
                )
        return self


_ONLY = {
    "tasks": ("tasks",),
    "limit": ("tasks",),
    "texts": ("texts",),
    "text": ("texts",),
    "tags": ("texts",),
    "pictures": ("pictures",),
    "per_kind": ("texts", "pictures"),
    "noise_units": ("texts", "pictures"),
    "llm": ("texts", "tasks"),
}
"""Options of an exam that not every exam has."""


def own_first(record: type[Settings]) -> list[str]:
    """The names of the fields: the record's own, then those of the records that it is made of."""
    named = [name for made_of in record.__mro__ for name in get_annotations(made_of)]
    return [name for name in dict.fromkeys(named) if name in record.model_fields]


def bounds(field: FieldInfo) -> str:
    """What the field's number is held to, in words; empty where nothing is worth saying."""
    marks = [(key, getattr(mark, key, None)) for mark in field.metadata for key in ("ge", "gt", "le")]
    known = {key: value for key, value in marks if value is not None}
    least = f"{known['ge']} or more" if known.get("ge", 0) > 1 else ""
    above = f"above {known['gt']:g}" if "gt" in known else ""
    most = f"at most {known['le']:g}" if "le" in known else ""
    said = " and ".join(filter(None, (least, above, most)))
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def settings_of(record: type[S], settings: S | None = None, options: Mapping[str, Any] | None = None) -> S:
    """The record with the fields of `settings` and, over them, the `options`.

    Raises InputError as the record does.
    """
    if settings is not None and not isinstance(settings, record):
        raise InputError(f"settings={_shown(settings)} is no {record.__name__}")
    given = {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    return record(**{**given, **(options or {})})


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "True or False",
    "path_type": "a path",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "above {}"),
    "less_than_equal": ("le", "at most {}"),
    "less_than": ("lt", "below {}"),
}


def _mistake(error: Any, record: type[Settings], given: Mapping[str, Any]) -> InputError:
    """What is wrong with the options given: which one, its value, and what it has to be."""
    kind, facts = error["type"], error.get("ctx", {})
    if not error["loc"]:  # of several together
        return InputError(str(facts["error"]))
    option, *inside = error["loc"]
    if kind == "extra_forbidden":
        near = nearest(str(option), list(record.model_fields))
        return InputError(f"no option {option!r}" + (f"; did you mean {near!r}?" if near else ""))
    if kind == "missing":
        return InputError(f"{option} (--{str(option).replace('_', '-')}) must be given")
    if kind == "value_error":
        words = str(facts["error"])
    elif kind == "literal_error":
        choices = facts["expected"].replace(" or ", ", ").replace("'", "")
        near = nearest(str(error["input"]), choices.split(", "))
        words = f"is not one of {choices}" + (f"; did you mean {near!r}?" if near else "")
    elif kind in _BOUNDS:
        key, form = _BOUNDS[kind]
        words = f"must be {form.format(f'{facts[key]:,}'.removesuffix('.0'))}"
    elif kind in _KINDS:
        words = f"is not {_KINDS[kind]}"
    else:
        words = error["msg"][0].lower() + error["msg"][1:]
    # A value that is not to be seen (repr=False) may be a secret.
    shown = _shown(given[option]) if record.model_fields[option].repr else "..."
    return OptionError(option, shown, f"has {_shown(error['input'])}, which {words}" if inside else words)
