"""A claim's English in the words of a language model, kept only where it says the same.

What a claim says is known, so a paraphrase can be checked without trust in who wrote it: the quoted
words in their order, what joins them ("or", "not", "after"), and between two of these joints the same
words, whatever their order and inflection. That is strict on purpose: a paraphrase that says the same
in wholly other words is lost, one that says something else is not kept. The claim is executed as before;
a reader that is a model is not asked whether it reads both alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from saywell.claims.lexis import lemma
from saywell.data.words import word_set, words
from saywell.language_models import LanguageModel, Prompt, ask_items
from saywell.language_models.structured import tighter

PARAPHRASE = "paraphrase_claims"
KEPT, OTHER = "kept", "says something else"
_A_REQUEST = 20
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|(?<!\w)\'([^\']*"[^\']*)\'')
_BRACKETS = re.compile(r" ?\([^()]*\)")
_WHERE = r"(?:that )?(?:(?:is|are|comes?|stands?) )?(?:right |directly |immediately )?"
_JOINTS = (
    # What stands between words and what it means, in this order; in capitals, so that none is read again.
    (r"(?:in )?any form(?: of)?|all forms of|in (?:all|any of) its forms", " ANYFORM "),
    (r"or more|or longer|at least|no (?:fewer|less) than", " ORMORE "),
    (r"or fewer|or less|or shorter|at most|no more than|up to", " ATMOST "),
    (r"(?:(?:already |when )?(?:said|used|mentioned) )?(?:before|earlier) in the same", " AGAIN "),
    (r"(?:anything|everything|anywhere|somewhere) (?:after|behind)|at any distance after", " | FAR | "),
    (rf"{_WHERE}(?:before|followed by)|that precedes?|preceding", " | BEFORE | "),
    (rf"{_WHERE}(?:after|preceded by)|that follows?|following", " | AFTER | "),
    (r"near|close to|not far from", " | NEAR | "),
    (r"(?:,? ?but )?(?:not|never|no)|without|except(?: for| in)?|unless|excluding", " | NOT | "),
    (r"(?:either )?or", " | OR | "),
    (r"and", " | AND | "),
    (r"starts?|starting|begins?|beginning|opens?|opening|first", " START "),
    (r"ends?|ending|last|final|closing", " END "),
)
_FRAME = word_set(
    "a an the of in at by with as is are be being it its that which who whose this these those them to for "
    "from on where when there such one ones any either text word also"
)


_LONGEST = 500  # characters of a description where a grammar sets an end


class Worded(BaseModel):
    """One description in other words."""

    model_config = ConfigDict(extra="forbid")
    item: int
    text: str = Field(json_schema_extra=tighter(maxLength=_LONGEST))


@dataclass(frozen=True)
class Paraphrase:
    """`text`: what is said from now on; the English as it was unless the status is KEPT."""

    text: str
    status: str
    detail: str = ""
    """What is wrong with the words that were not kept, or why there are none."""
    call: str = ""
    """The request that had no usable answer, by its key in calls.sqlite."""


def paraphrases(
    sentences: Sequence[str],
    model: LanguageModel,
    prompt: Prompt,
    *,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Paraphrase]:
    """What `english` says, in the words of a model where `difference` finds nothing in them.

    Equal sentences are asked about once, several in a request.
    """
    asked = {sentence: sentence for sentence in sentences if sentence}
    replies = ask_items(
        model, asked, prompt, Worded, step="paraphrase", batch_size=_A_REQUEST, seed=seed, progress=progress
    )
    found = {"": Paraphrase("", "empty")}
    for sentence, reply in replies.items():
        if reply.row is None:
            found[sentence] = Paraphrase(sentence, reply.status, reply.error or "", reply.key)
            continue
        said = " ".join(reply.row.text.split()).removesuffix(".")
        wrong = difference(sentence, said)
        found[sentence] = Paraphrase(sentence, OTHER, wrong) if wrong else Paraphrase(said, KEPT)
    return [found[sentence] for sentence in sentences]


def difference(sentence: str, said: str) -> str:
    """What a paraphrase does not keep of a sentence of `english`; empty where it says the same."""
    if not said or len(said) > 2 * len(sentence) + 20:
        return "it is empty or too long"
    if unseen := [c for c in said if not c.isprintable() and c not in sentence]:
        return f"it holds {unseen[0]!r}"
    quoted, own = _taken(_QUOTED, sentence), _taken(_QUOTED, _straight(said, sentence))
    if quoted != own:
        return f"it quotes {', '.join(own) or 'nothing'}; not {', '.join(quoted) or 'nothing'} in this order"
    bare, other = _QUOTED.sub(" quoted ", sentence), _QUOTED.sub(" quoted ", _straight(said, sentence))
    if added := set(_taken(_BRACKETS, other)) - set(_taken(_BRACKETS, bare)):
        return f"it adds {', '.join(sorted(added))}"
    meant, told = _parts(_BRACKETS.sub("", bare)), _parts(_BRACKETS.sub("", other))
    if len(meant) != len(told):
        return "it joins its parts otherwise"
    for one, two in zip(meant, told, strict=True):
        if one != two:
            missing, new = (", ".join(sorted(some)) or "nothing" for some in (one - two, two - one))
            return f"it leaves out {missing} and adds {new}"
    return ""


def _taken(pattern: re.Pattern[str], text: str) -> list[str]:
    return [found[0] for found in pattern.finditer(text)]


def _straight(said: str, sentence: str) -> str:
    """With the sentence's own words in its own quotation marks, whichever the model set them in."""
    for quoted in dict.fromkeys(_taken(_QUOTED, sentence)):
        bare = quoted[1:-1]
        for left, right in ("“”", "‘’", "''", "**"):
            said = said.replace(f"{left}{bare}{right}", quoted)
    return said


def _parts(text: str) -> list[set[str]]:
    """The lemmas between two joints, and each joint as a set of its own."""
    text = text.lower()
    for pattern, joint in _JOINTS:
        text = re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", joint, text)
    return [{lemma(word) for word in words(part)} - _FRAME for part in text.split("|")]
