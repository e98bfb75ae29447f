"""Sentences about what classes look like, each resting on a passage of an article, or marked as not.

Two stages with a language model (after arXiv 2511.07897): the components of a class's
appearance, then sentences for each component from the passages of its article. The model is asked for
the words that support each sentence, and they are looked for in the article. Without a language model
the sentences are taken from the article itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple

import polars as pl
from pydantic import AfterValidator, BaseModel, Field, create_model

from saywell.data.knowledge import Knowledge
from saywell.data.sentences import sentence_spans
from saywell.data.words import has_unspaced
from saywell.describers.class_texts.grounding import MIN_SUPPORT, find_quotation, is_refusal, support
from saywell.describers.class_texts.visible import component as part_of
from saywell.describers.class_texts.visible import facts, trim, visibility
from saywell.encoders.dual import DualEncoder
from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, Prompt, Request, ask_items, load_prompt
from saywell.language_models.structured import tighter
from saywell.store.table import Table

EXTRACTIVE, GROUNDED = "extractive", "two-stage"
USABLE = ("grounded", "ungrounded")
"""The states of a text that can be put to the test; every other one says why there is none."""

WRITING = ("class_components", "class_sentences")
"""The prompts of both stages."""
MOST_COMPONENTS = 12
MOST_WORDS = 18
MOST_CHARACTERS = 6000  # of passages in one request
_LONGEST = 500  # characters of one text
_MOST_FACTS = 2  # sentences about a component, as the prompt says
CLASS_TEXTS = Table(
    "class_texts",
    {
        "id": pl.String,
        "class": pl.String,
        "component": pl.String,
        "text": pl.String,
        "status": pl.String,
        "passage": pl.String,
        "quotation": pl.String,
        "support": pl.Float64,
        "visibility": pl.Float64,
        "tokens": pl.Int64,
        "source": pl.String,
        "describer": pl.String,
        "llm": pl.String,
        "prompt_hash": pl.String,
        "detail": pl.String,
        "same_as": pl.String,
        "gold": pl.Boolean,
    },
    key=("id",),
    optional=frozenset({"same_as", "gold"}),
)
"""Texts about classes, usable ("grounded", "ungrounded") or not.

`same_as` is the first text of the class, by id, that says the same; null where a text is new.
`gold` is what is known of a text and nobody gets to see: whether it is worth choosing.
"""


class ClassComponents(BaseModel):
    """The model's answer for one class in stage one."""

    item: int
    components: list[str] = Field(
        json_schema_extra=tighter(items={"type": "string", "maxLength": 60}, maxItems=MOST_COMPONENTS)
    )


class ClassFact(BaseModel):
    """One sentence of the model's answer in stage two; passage 0 and no quotation: ungrounded."""

    component: int
    text: str = Field(json_schema_extra=tighter(maxLength=_LONGEST))
    passage: int
    quotation: str = Field(json_schema_extra=tighter(maxLength=_LONGEST))


class ClassFacts(BaseModel):
    """The model's answer for one class in stage two."""

    facts: list[ClassFact]


def write_texts(
    classes: Sequence[str],
    knowledge: Knowledge,
    encoder: DualEncoder | None,
    model: LanguageModel,
    *,
    superclass: str = "",
    most_words: int = MOST_WORDS,
    prompts: Mapping[str, Prompt] | None = None,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """The texts of every class by a language model, in two stages.

    Columns: id, class, component, text, status, passage (id; null: none), quotation, support (share
    of the text's content words in the quotation), visibility, tokens, source (address of the
    article), describer, llm, prompt_hash, detail. `status` is 'grounded' (the quotation stands in the
    article and shares words with the text), 'ungrounded', 'refused' (the text declines), 'empty',
    'too long' (for the encoder, and cannot be split), 'duplicate' (within the class), or the status
    of a reply that could not be used, with the reason in `detail`. Nothing is left out: what is not
    in `USABLE` is there to be counted.

    Raises InputError for no classes, and what the language model raises.
    """
    _check(classes)
    chosen = {name: load_prompt(name) for name in WRITING} | dict(prompts or {})
    passages = {name: choose_passages(knowledge.passages.filter(pl.col("class") == name)) for name in classes}
    rows: list[dict[str, Any]] = []
    components = _ask_components(classes, passages, model, chosen["class_components"], superclass, seed, rows)
    prompt = chosen["class_sentences"]
    question = _about_facts(passages, prompt, superclass, most_words, seed)
    asked = [(name, list(enumerate(parts, 1))) for name, parts in components.items() if parts]

    def ask(what: list[tuple[str, list[tuple[int, str]]]], tell: Any) -> list[tuple[str, Any]]:
        replies = model.complete([question(*each) for each in what], progress=tell)
        return [(name, reply) for (name, _), reply in zip(what, replies, strict=True)]

    answered: dict[str, list[ClassFact]] = {name: [] for name, _ in asked}
    problems: dict[str, tuple[str, str]] = {}
    left = asked
    for attempt in range(2):  # what was left out is asked for once more, alone
        for name, reply in ask(left, progress if attempt == 0 else None):
            if isinstance(reply.parsed, ClassFacts):
                answered[name] += reply.parsed.facts
                problems.pop(name, None)
            else:
                problems[name] = (reply.status, reply.error or "")
        done = {name: {fact.component for fact in found} for name, found in answered.items()}
        left = [(n, [p for p in parts if p[0] not in done[n]]) for n, parts in asked]
        left = [(n, parts) for n, parts in left if parts and problems.get(n, ("",))[0] != "failed"]
    for name, parts in asked:
        rows += _judge(name, parts, answered[name], passages[name], problems.get(name))
    sources = _sources(knowledge)
    common = {"describer": GROUNDED, "llm": model.name}
    for row in rows:
        row.setdefault("prompt_hash", prompt.hash)
        row.update(common, source=sources.get(row["class"], ""))
    return _finish(rows, classes, encoder)


def expect_texts(
    classes: Sequence[str],
    knowledge: Knowledge,
    model: DryRun,
    *,
    superclass: str = "",
    prompts: Mapping[str, Prompt] | None = None,
    seed: int | None = None,
) -> None:
    """Count what `write_texts` takes; of a class whose components are not known yet, as many as can be.

    The passages that would be read are the real ones.
    """
    _check(classes)
    chosen = {name: load_prompt(name) for name in WRITING} | dict(prompts or {})
    passages = {name: choose_passages(knowledge.passages.filter(pl.col("class") == name)) for name in classes}
    known = _ask_components(classes, passages, model, chosen["class_components"], superclass, seed, [])
    question = _about_facts(passages, chosen["class_sentences"], superclass, MOST_WORDS, seed)
    model.complete([question(name, list(enumerate(parts, 1))) for name, parts in known.items() if parts])
    longest = [(number, f"a component, {number}") for number in range(1, MOST_COMPONENTS + 1)]
    with model.guessing():
        model.complete([question(name, longest) for name, parts in known.items() if not parts])


def extract_texts(
    classes: Sequence[str],
    knowledge: Knowledge,
    encoder: DualEncoder | None,
    *,
    per_class: int = 40,
    fewest: int = 10,
) -> pl.DataFrame:
    """The texts of every class from its own article, without a language model; columns as above.

    Sentences are cut into clauses and trimmed; those that sound like something seen (see
    `visible.visibility`) are taken, the most visible first, at most `per_class`. Where fewer than
    `fewest` do, the next best follow: in a language other than English, all of them. Each is grounded
    by the clause it was cut from. A class without article has one row with the article's status.

    Raises InputError for no classes.
    """
    _check(classes)
    sources, status = _sources(knowledge), _statuses(knowledge)
    rows: list[dict[str, Any]] = []
    for name in classes:
        found = []
        for passage in knowledge.passages.filter(pl.col("class") == name).iter_rows(named=True):
            for start, end in sentence_spans(passage["text"]):
                sentence = passage["text"][start:end]
                for begin, stop in facts(sentence):
                    clause = sentence[begin:stop].strip()
                    text = trim(clause, name)
                    if len(text.split()) < 3 and not _is_unspaced(text):
                        continue
                    found.append((visibility(text, passage["section"]), clause, text, passage))
        found.sort(key=lambda each: -each[0])  # stable: the order of the article where equal
        visible = sum(each[0] > 0 for each in found)
        for score, clause, text, passage in found[: min(per_class, max(visible, fewest))]:
            rows.append(
                {
                    "class": name,
                    "component": part_of(text),
                    "text": text,
                    "status": "grounded",
                    "passage": passage["id"],
                    "quotation": clause,
                    "visibility": score,
                    "support": support(text, clause, name),
                }
            )
        if not found:
            state, detail = status.get(name, ("none", "there is no article"))
            rows.append({"class": name, "text": "", "status": f"no article ({state})", "detail": detail})
    for row in rows:
        row.update(describer=EXTRACTIVE, llm="", prompt_hash="", source=sources.get(row["class"], ""))
    return _finish(rows, classes, encoder)


def choose_passages(passages: pl.DataFrame, most_characters: int = MOST_CHARACTERS) -> pl.DataFrame:
    """The passages to put before a language model, in the article's order.

    The first one says what the class is; the others are those that sound most like something seen,
    as many as fit into `most_characters`.
    """
    scores = [visibility(text, section) for text, section in passages.select("text", "section").iter_rows()]
    order = sorted(range(len(scores)), key=lambda i: (i != 0, -scores[i], i))
    lengths = passages["text"].str.len_chars().to_list()
    chosen, used = [], 0
    for place in order:
        if used + lengths[place] <= most_characters:
            chosen.append(place)
            used += lengths[place]
    return passages[sorted(chosen)]


class Fitted(NamedTuple):
    """A text in pieces that the encoder can read whole; none where it cannot be cut sensibly."""

    pieces: list[str]
    tokens: list[int]


def fit_texts(texts: Sequence[str], encoder: DualEncoder) -> list[Fitted]:
    """Each text as it is where the encoder reads all of it, else in as few pieces as possible.

    A text is cut between clauses only: at a semicolon, a comma, 'and' or 'with'. A text with a clause
    that is too long by itself has no pieces; its `tokens` then holds the count of the whole.
    """
    counts = encoder.count_tokens(texts)
    return [
        Fitted([text], [int(count)]) if count <= encoder.max_tokens else _split(text, encoder)
        for text, count in zip(texts, counts, strict=True)
    ]


# ---- stage one


def _ask_components(
    classes: Sequence[str],
    passages: Mapping[str, pl.DataFrame],
    model: LanguageModel,
    prompt: Prompt,
    superclass: str,
    seed: int | None,
    rows: list[dict[str, Any]],
) -> dict[str, list[str]]:
    items = {name: "\n".join([name, *passages[name]["text"].head(2).to_list()]) for name in classes}
    replies = ask_items(
        model,
        items,
        prompt,
        ClassComponents,
        step="class components",
        batch_size=5,
        data={"superclass": superclass, "most": MOST_COMPONENTS},
        max_tokens_per_item=200,
        seed=seed,
    )
    result = {}
    for name, reply in replies.items():
        listed = [] if reply.row is None else [_clean(part).lower() for part in reply.row.components]
        parts = [p for p in listed if p and len(p.split()) <= 5 and not is_refusal(p)]
        result[name] = list(dict.fromkeys(parts))[:MOST_COMPONENTS]
        if not result[name]:
            state = "empty" if reply.row is not None else reply.status
            detail = reply.error or "no component could be used"
            rows.append(
                {
                    "class": name,
                    "text": "",
                    "status": state,
                    "prompt_hash": prompt.hash,
                    "detail": f"components: {detail}",
                }
            )
    return result


# ---- stage two


def _about_facts(
    passages: Mapping[str, pl.DataFrame], prompt: Prompt, superclass: str, most_words: int, seed: int | None
) -> Callable[[str, list[tuple[int, str]]], Request]:
    """From a class and its components with their numbers to the question about them."""

    def question(name: str, parts: list[tuple[int, str]]) -> Request:
        messages = prompt.render(
            name=name,
            superclass=superclass,
            passages=list(enumerate(passages[name]["text"].to_list(), 1)),
            listing="\n".join(f"{number}. {part}" for number, part in parts),
            most_words=most_words,
        )
        most = 200 + 200 * len(parts)
        answer = _facts_about([number for number, _ in parts])
        return Request("class sentences", messages, answer, prompt.hash, 0.0, most, seed)

    return question


def _facts_about(numbers: Sequence[int]) -> type[ClassFacts]:
    """ClassFacts about components of these numbers only.

    One number that was not asked about says that the model counts otherwise than the list, and then
    all other facts are about the neighbours of their components.
    """

    def known(facts: list[ClassFact]) -> list[ClassFact]:
        strange = sorted({fact.component for fact in facts} - set(numbers))
        if strange:
            raise ValueError(f"component numbers {strange[:10]!r} are not from the list")
        return facts

    schema = ClassFact.model_json_schema()
    row = schema | {"properties": schema["properties"] | {"component": {"enum": list(numbers)}}}
    tight = Field(json_schema_extra=tighter(items=row, maxItems=_MOST_FACTS * len(numbers)))
    facts = (Annotated[list[ClassFact], AfterValidator(known)], tight)
    return create_model("ClassFacts", __base__=ClassFacts, __doc__=ClassFacts.__doc__, facts=facts)  # pyright: ignore


def _judge(
    name: str,
    parts: Sequence[tuple[int, str]],
    found: Sequence[ClassFact],
    passages: pl.DataFrame,
    problem: tuple[str, str] | None,
) -> list[dict[str, Any]]:
    texts, ids = passages["text"].to_list(), passages["id"].to_list()
    known = dict(parts)
    rows = []
    for fact in found:
        text, quotation = _clean(fact.text), _clean(fact.quotation)
        row: dict[str, Any] = {"class": name, "component": known[fact.component], "text": text}
        if not text:
            row.update(status="empty", detail="nothing is known of it")
        elif is_refusal(text):
            row.update(status="refused", detail="the text declines to describe")
        else:
            place = find_quotation(quotation, texts, fact.passage - 1)
            shared = support(text, quotation, name)
            row.update(status="ungrounded", quotation=quotation, support=shared, detail="")
            if place is not None and shared >= MIN_SUPPORT:
                row.update(status="grounded", passage=ids[place])
            elif place is not None:
                row.update(detail="the quotation is in the article but says something else")
            elif quotation:
                row.update(detail="the quotation is not in the article")
            row["visibility"] = visibility(text)
        rows.append(row)
    answered = {fact.component for fact in found}
    state, detail = problem or ("unparsed", "not in the reply")
    for number, part in parts:
        if number not in answered:
            rows.append({"class": name, "component": part, "text": "", "status": state, "detail": detail})
    return rows


# ---- both ways


def _finish(rows: list[dict[str, Any]], classes: Sequence[str], encoder: DualEncoder | None) -> pl.DataFrame:
    """Fit usable texts to the encoder, mark repeats, give ids, order by class."""
    usable = [row for row in rows if row["status"] in USABLE]
    for row in usable:
        if len(row["text"]) > _LONGEST and encoder is None:
            row.update(status="too long", detail=f"more than {_LONGEST} characters")
    fitted: dict[int, Fitted] = {}
    if encoder is not None:
        fits = fit_texts([row["text"] for row in usable], encoder)
        fitted = {id(row): fit for row, fit in zip(usable, fits, strict=True)}
    finished: list[dict[str, Any]] = []
    for row in rows:
        fit = fitted.get(id(row))
        if fit is None:
            finished.append(row)
        elif not fit.pieces:
            assert encoder is not None
            detail = f"{fit.tokens[0]} tokens; {encoder.name!r} reads {encoder.max_tokens}"
            finished.append({**row, "status": "too long", "tokens": fit.tokens[0], "detail": detail})
        else:
            parts = len(fit.pieces)
            for number, (piece, tokens) in enumerate(zip(*fit, strict=True), 1):
                told = f"part {number} of {parts}" if parts > 1 else row.get("detail")
                finished.append({**row, "text": piece, "tokens": tokens, "detail": told})
    order = {name: place for place, name in enumerate(classes)}
    finished.sort(key=lambda row: order[row["class"]])
    seen: dict[tuple[str, str], int] = {}
    for row in finished:
        key = (row["class"], " ".join(row["text"].casefold().split()).rstrip("."))
        times = seen[key] = seen.get(key, 0) + 1
        if times > 1 and row["status"] in USABLE:
            row.update(status="duplicate", detail="the class has this text already")
        # Rows without text, and repeats, are told apart by what they are about and their count.
        named = f"{row['class']}\n{row['text']}\n{row['status']}\n{row.get('component') or ''}\n{times}"
        row["id"] = "t" + blake2b(named.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return pl.DataFrame(finished, schema=CLASS_TEXTS.required, orient="row")


def _split(text: str, encoder: DualEncoder) -> Fitted:
    marks = [m.start() for m in re.finditer(r"(?<=[;,])\s+|\s+(?=(?:and|with)\s)", text)]
    pieces: list[str] = []
    start = 0
    borders = [*marks, len(text)]
    while start < len(text):
        options = [b for b in borders if b > start]
        counts = encoder.count_tokens([_sentence(text[start:b]) for b in options])
        fitting = [b for b, count in zip(options, counts, strict=True) if count <= encoder.max_tokens]
        if not fitting:
            return Fitted([], [int(encoder.count_tokens([text])[0])])
        pieces.append(_sentence(text[start : max(fitting)]))
        start = max(fitting)
    return Fitted(pieces, [int(count) for count in encoder.count_tokens(pieces)])


def _sentence(piece: str) -> str:
    piece = re.sub(r"^(?:and|with|,|;)\s+", "", piece.strip()).strip(" ,;")
    if not piece:
        return ""
    piece = piece[0].upper() + piece[1:]
    return piece if piece[-1] in ".!?。！？" else piece + "."


def _clean(text: str) -> str:
    """One line, no control characters or half characters: what a table and an encoder can hold."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join(re.sub(r"[\x00-\x1f\x7f\u200b\ufeff]+", " ", text).split())


def _is_unspaced(text: str) -> bool:
    return has_unspaced(text) and len(text) >= 6


def _sources(knowledge: Knowledge) -> dict[str, str]:
    found = knowledge.articles.select("class", "url", "title").iter_rows()
    return {name: url or title or "" for name, url, title in found}


def _statuses(knowledge: Knowledge) -> dict[str, tuple[str, str]]:
    found = knowledge.articles.select("class", "status", "detail").iter_rows()
    return {name: (state, detail or "") for name, state, detail in found}


def _check(classes: Sequence[str]) -> None:
    if not classes:
        raise InputError("there are no classes to describe")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise InputError(f"the class {twice!r} is named twice; merge or rename one")
