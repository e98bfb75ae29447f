"""Answers that are one of a few words: how probable a model finds each of them.

A choice may be spelt in several ways ("yes", " Yes", "YES") and begin with the token of another one;
its probability is the sum over its spellings. Both backends that see tokens (HTTP, and transformers) and
whoever scripts a model come here, so that all mean the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from saywell.language_models.reasoning import final_text

TOP = 20
"""Tokens whose probability a server is asked for; more are refused. What is not among them counts as 0."""
_LEAST = 0.01
"""Where all choices together are less probable, the model means to begin its reply otherwise."""
_UNCLEAR = 0.01
"""Most that may be left of which nobody knows to which choice it belongs, in parts of what is known."""
_AROUND = " \t\r\n\"'`*_.,:;!()[]"
_FIRST = re.compile(r"[.,:;!\n]")


def meant(text: str, choices: Sequence[str]) -> str | None:
    """The choice that a text spells, in whatever case where only one is spelt so; None for no one."""
    bare = text.strip()
    if bare in choices:
        return bare
    alike = [choice for choice in choices if choice.casefold() == bare.casefold()]
    return alike[0] if len(alike) == 1 else None


def chosen(text: str, choices: Sequence[str]) -> str | None:
    """The choice that a reply makes in words, alone or before a stop ("Yes, because ..."); None for none."""
    said = final_text(text).strip(_AROUND)
    return meant(said, choices) or meant(_FIRST.split(said)[0].strip(_AROUND), choices)


def likeliest(probabilities: Mapping[str, float]) -> str:
    """The first of the most probable choices."""
    return max(probabilities, key=lambda choice: probabilities[choice])


def shares(mass: Mapping[str, float], unclear: float = 0.0) -> dict[str, float] | None:
    """Probabilities of the choices, of all that any of them has.

    None where that is next to nothing, or where too much may belong to one or to another.
    """
    total = math.fsum(mass.values())
    if total < _LEAST or unclear > _UNCLEAR * total:
        return None
    return {choice: part / total for choice, part in mass.items()}


def one_token(choices: Sequence[str]) -> bool:
    """Whether the first token of a reply, whatever it is, tells all choices apart."""
    return len({choice[0].casefold() for choice in choices}) == len(choices)


def told_by_server(choice: Mapping[str, Any], choices: Sequence[str]) -> tuple[bool, dict[str, float] | None]:
    """Whether a reply (its `choices[0]`, in OpenAI's form) has log-probabilities, and what they come to."""
    try:
        content = choice["logprobs"]["content"]
        steps = [(_token(place), [_token(other) for other in place["top_logprobs"]]) for place in content]
    except (KeyError, TypeError, ValueError, OverflowError):
        return False, None
    if not steps or any(len(others) < 2 for _, others in steps):
        return False, None  # the token alone, without those that might have been: nothing to compare with
    return True, along(steps, choices)


def along(
    steps: Sequence[tuple[tuple[str, float], Sequence[tuple[str, float]]]], choices: Sequence[str]
) -> dict[str, float] | None:
    """Probabilities of the choices from the tokens of one reply and those that stood in their places.

    `steps` has for each place the token that was taken and the likeliest there, with their probabilities.
    The reply is followed while what it says so far could be several choices.
    """
    mass = dict.fromkeys(choices, 0.0)
    unclear, said, probability = 0.0, "", 1.0
    for (taken, sure), others in steps:
        rest, goes_on = 1.0, not (said + taken).strip()
        # Several tokens may look alike, such as one with a space that is not shown, and one without.
        there = any(token == taken for token, _ in others)
        for token, share in others if there else [*others, (taken, sure)]:
            begun = _begun(said + token, choices) if token else []  # no text: it ends here
            rest -= share if begun else 0.0
            if len(begun) == 1:
                mass[begun[0]] += probability * share
            elif begun and token == taken:
                goes_on = True
            elif begun:
                unclear += probability * share
        if (whole := meant(said, choices)) is not None:  # and it goes on as no other choice does
            mass[whole] += probability * max(0.0, rest)
        if not goes_on:
            return shares(mass, unclear)
        said, probability = said + taken, probability * sure
    if (whole := meant(said, choices)) is not None:
        mass[whole] += probability
    elif said.strip():
        unclear += probability
    return shares(mass, unclear)


def by_tokens(
    choices: Sequence[str],
    encode: Callable[[str], Sequence[int]],
    following: Callable[[tuple[int, ...]], Sequence[float]],
) -> dict[str, float] | None:
    """Probabilities of the choices by a model that is at hand.

    `following` has the probability of every token after a reply that began with the tokens given. A spelling
    that goes on as another one does counts only where it does not ("no" without "not sure").
    """
    owner: dict[tuple[int, ...], str] = {}
    for choice in choices:
        for text in spellings(choice, choices):
            if (tokens := tuple(encode(text))) and owner.setdefault(tokens, choice) != choice:
                return None  # the tokenizer writes two choices alike
    known: dict[tuple[int, ...], Sequence[float]] = {}
    joint: dict[tuple[int, ...], float] = {}
    for tokens in owner:
        probability = 1.0
        for place, token in enumerate(tokens):
            before = tokens[:place]
            if before not in known:
                known[before] = following(before)
            probability *= float(known[before][token])
        joint[tokens] = probability
    mass = dict.fromkeys(choices, 0.0)
    for tokens, choice in owner.items():
        mass[choice] += joint[tokens]
        # What is counted here is no longer counted for the longest spelling that it begins with.
        if shorter := next((tokens[:n] for n in range(len(tokens) - 1, 0, -1) if tokens[:n] in owner), None):
            mass[owner[shorter]] -= joint[tokens]
    return shares({choice: max(0.0, part) for choice, part in mass.items()})


def spellings(choice: str, choices: Sequence[str]) -> Iterator[str]:
    """The ways of writing a choice that mean it and no other."""
    for text in dict.fromkeys((choice, choice.lower(), choice.capitalize(), choice.upper())):
        if meant(text, choices) == choice:
            yield text
            yield " " + text


def _begun(text: str, choices: Sequence[str]) -> list[str]:
    """The choices of which a text is the beginning or the whole.

    Case matters where nothing else tells choices apart.
    """
    start = text.lstrip()
    if not start:
        return []
    likely = [choice for choice in choices if choice.casefold().startswith(start.casefold())]
    same = len({choice.casefold() for choice in likely}) == 1
    return [choice for choice in likely if choice.startswith(start)] or likely if same else likely


def _token(place: Mapping[str, Any]) -> tuple[str, float]:
    token, logprob = place["token"], float(place["logprob"])
    if not isinstance(token, str) or math.isnan(logprob):
        raise ValueError
    return token, min(1.0, math.exp(min(logprob, 0.0)))
