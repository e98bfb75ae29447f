"""Claims in the words of a language model, where these say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from saywell.claims.paraphrase import KEPT, OTHER, PARAPHRASE, difference, paraphrases
from saywell.description import Description
from saywell.language_models import DryRun
from saywell.language_models.dry_run import made_up
from saywell.progress import increments
from saywell.resources import Resources

ASKED = "paraphrase"
"""The step under which questions without an answer are stored."""


def worded(said: Sequence[Description], resources: Resources) -> list[Description]:
    """Each description that is a claim as the LLM puts it, or in its own words; the claim stays what it is.

    What had no answer is among `resources.lost`. Raises InputError without a language model.
    """
    llm, prompt = resources.need_llm("a paraphrase"), resources.prompt(PARAPHRASE)
    claims = [place for place, own in enumerate(said) if own.claim]
    if not claims:
        return list(said)
    sentences, put = [said[place].text for place in claims], list(said)
    with resources.progress("paraphrases by the LLM", len(set(sentences))) as advance:
        found = paraphrases(sentences, llm, prompt, seed=resources.seed, progress=increments(advance))
    for place, other in zip(claims, found, strict=True):
        own = said[place]
        if other.status not in (KEPT, OTHER):
            resources.lost.append((ASKED, own.unit, other.detail, other.call, other.status))
        elif other.text != own.text:
            put[place] = replace(
                own, text=other.text, parts=(other.text,), llm=llm.name, prompt_hash=prompt.hash
            )
    return put


def expect_wording(llm: DryRun, resources: Resources, claims: int) -> None:
    """Count what `worded` would ask about so many claims, in words that are made up."""
    sentences = [made_up(number) for number in range(claims)]
    with llm.guessing():
        paraphrases(sentences, llm, resources.prompt(PARAPHRASE), seed=resources.seed)


def as_worded(own: Description, text: str) -> str:
    """The `text` an LLM put a claim in, where it says what the claim says; else the claim's own words."""
    return text if own.claim and not difference(own.text, text) else own.text
