"""Statements that could be hypotheses: sentences about one text, found without a look at the target.

Words and phrases of the texts as claims; what latents of a sparse dictionary of their vectors, and topics,
respond to, in claims; and what a language model proposes, which alone is shown the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from saywell.claims.english import english
from saywell.claims.ground import Ground
from saywell.claims.language import Claim, parse
from saywell.data.covariates import LENGTH
from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, Rows
from saywell.describers.claims import Claims
from saywell.describers.statements import holding, prices, statements
from saywell.studies.hypotheses.proposals import propose
from saywell.studies.spine import Subject
from saywell.units.activations import Activations
from saywell.units.dictionaries.topk import exact_codes
from saywell.units.dictionaries.train import Method, train, usual_size
from saywell.units.exemplars import CONTRASTS, exemplar_table, nowhere
from saywell.units.firing import Above
from saywell.units.responses import Sparse, order_of
from saywell.units.statistics import source_units, unit_table
from saywell.units.topics import topics

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter
    from saywell.studies.hypotheses.items import Asked

CLAIMS, LATENTS, TOPICS, PROPOSED = "claims", "latents", "topics", "llm"
TOP = 50
"""Exemplars of a latent or topic that are looked at."""
FEWEST_A_TOPIC, MOST_TOPICS = 25, 40
"""Texts a topic, at least on average, and topics at most."""
NEAREST = 0.2
"""Share of describe texts that words without a claim hold of: those that are nearest by the encoder."""
ROUNDING = 1e-5
"""By how much one cosine may come out otherwise in another batch."""
WORDLESS = 4.0
"""What a statement without a claim costs to say, in words."""
PLAIN = frozenset({"word", "form", "phrase", "mark", "class", "feels", "long", "about", "like", "toward"})
"""Conditions of plain statements."""
_TEXTS = 20_000
"""Texts that are read together."""


class Statement(NamedTuple):
    """What is said of one text; `claim` in canonical form, empty where it is words alone."""

    found_by: str
    text: str
    claim: str = ""


def pool(asked: Asked, sources: Sequence[str], resources: Resources, study: StudyWriter) -> list[Statement]:
    """All statements that some sources make of describe examples, each once, in an order of their own."""
    found: list[Statement] = []
    shown = asked.examples.only(asked.examples.parts.describe)
    if CLAIMS in sources:
        with resources.progress("statements of words", 1):
            own = statements(Ground(shown, resources))
        found += [Statement(CLAIMS, english(claim, "text"), str(claim)) for claim in own]
    if LATENTS in sources or TOPICS in sources:
        found += _of_vectors(asked, sources, resources, study)
    for outcome in asked.outcomes if PROPOSED in sources else ():
        proposed = propose(outcome, asked.items, asked.examples, resources)
        found += [Statement(PROPOSED, own.text) for own in proposed]
    if LENGTH in asked.names:  # what is held equal says nothing of its own
        found = [one for one in found if not (one.claim and says_length(parse(one.claim)))]
    first = {one.claim or one.text: one for one in reversed(found)}
    return [one for one in found if first[one.claim or one.text] is one]


def read(said: Sequence[Statement], examples: Examples, resources: Resources) -> sp.csr_matrix:
    """Of which examples each statement holds: statements x examples, float32 ones.

    Claims are executed, some thousand texts at a time. Words alone hold of the texts that are as near to them
    as the nearest fifth of describe texts is.
    """
    claims = {n: parse(one.claim) for n, one in enumerate(said) if one.claim}
    blocks = []
    for start in range(0, len(examples), _TEXTS):
        part = examples.only(Rows(np.arange(start, min(start + _TEXTS, len(examples)))))
        blocks.append(holding(list(claims.values()), Ground(part, resources)))
    executed = sp.csr_matrix(sp.hstack(blocks)) if blocks else sp.csr_matrix((0, 0))
    others = [n for n in range(len(said)) if n not in claims]
    if not others:
        return executed
    cosines = resources.encode(examples, [said[n].text for n in others]) @ resources.vectors(examples).T
    border = borders(cosines[:, examples.parts.describe.rows])
    near = sp.csr_matrix((cosines >= border[:, None]).astype(np.float32))
    both = sp.csr_matrix(sp.vstack([executed, near]))
    return both[np.argsort([*claims, *others], kind="stable")]


def borders(cosines: Float[np.ndarray, "statements describe"]) -> Float[np.ndarray, " statements"]:
    """From which cosine on words without a claim hold of a text, from their cosines with describe texts.

    Midway between two of these that differ by more than rounding, so that this decides nothing.
    """
    least = np.quantile(cosines, 1 - NEAREST, axis=1, method="higher")
    below = np.where(cosines < least[:, None] - ROUNDING, cosines, -1).max(1, initial=-1)
    return (least + below) / 2


def prices_of(said: Sequence[Statement]) -> np.ndarray:
    """What each statement costs to say, in words."""
    found = np.full(len(said), WORDLESS)
    claimed = [n for n, one in enumerate(said) if one.claim]
    found[claimed] = prices([parse(said[n].claim) for n in claimed])
    return found


def _of_vectors(
    asked: Asked, sources: Sequence[str], resources: Resources, study: StudyWriter
) -> list[Statement]:
    """What latents and topics respond to: all claims that search offers, since the target will choose."""
    examples = asked.examples
    kinds, responses = [], []
    if LATENTS in sources:
        responses.append(_latents(asked, resources))
        kinds += [LATENTS] * responses[-1].shape[1]
    if TOPICS in sources:
        responses.append(_topics(examples, resources))
        kinds += [TOPICS] * responses[-1].shape[1]
    ids = [f"{kind}/{number}" for number, kind in enumerate(kinds)]
    kept = Sparse.of(sp.hstack(responses), order_of(examples.ids))
    parts = {DESCRIBE: examples.parts.describe}
    units = unit_table(source_units(ids, "latent"), kept, Above(0.0), examples.parts.describe)
    activations = Activations(kept, units, Above(0.0))
    exemplars = exemplar_table(activations, examples.ids, parts, TOP, nowhere)
    shown = Subject("candidates", activations, exemplars, CONTRASTS.empty()).evidence(
        examples, resources.seed
    )
    with resources.progress("latents and topics in words", 1):
        said = Claims().describe(shown, resources, study)
    return [
        Statement(kind, english(parse(claim), "text"), claim)
        for kind, own in zip(kinds, said, strict=True)
        for claim in own.offers
        if is_plain(parse(claim))
    ]


def says_length(claim: Claim) -> bool:
    """Whether it asks how long a text is."""
    return any(one.name == "long" for each in claim.atoms for one in each.conditions)


def is_plain(claim: Claim) -> bool:
    """Whether a person would say it of a text: one or two conditions that both hold, and none of letters.

    A leaning says of texts which of two things they are closer to, not how much farther they may be.
    """
    if len(claim.clauses) > 1 or len(claim.atoms) > 2:
        return False
    heads = [each.conditions for each in claim.atoms]
    plain = all(len(conditions) == 1 and conditions[0].name in PLAIN for conditions in heads)
    return plain and not any(c[0].name == "toward" and str(c[0].values[-1]).startswith("-") for c in heads)


def _latents(asked: Asked, resources: Resources) -> sp.csr_matrix:
    """Texts x latents of a dictionary that is fitted on describe texts.

    Of pairs the dictionary is one of differences of vectors, and a latent that is above 0 for a pair is so
    for its first text, one below 0 for its second.
    """
    examples, items = asked.examples, asked.items
    vectors, shown = resources.vectors(examples), examples.parts.describe.rows
    if items.second is not None:
        vectors, shown = vectors[items.first] - vectors[items.second], items.of(DESCRIBE)
    if np.ptp(vectors[shown], axis=0).max(initial=0) == 0:  # nothing to tell apart
        return sp.csr_matrix((len(examples), 0), dtype=np.float32)
    method = Method("abstopk" if items.pairs else "topk", *usual_size(len(shown)))
    with resources.progress("dictionary", 1):
        dictionary = train(method, vectors[shown], seed=resources.seed)
    found = exact_codes(dictionary, vectors)
    if items.second is None:
        return found
    ones, shape = np.ones(len(items)), (len(examples), len(items))
    ahead, behind = (
        sp.csr_matrix((ones, (side, np.arange(len(items)))), shape=shape)
        for side in (items.first, items.second)
    )
    spread = sp.csr_matrix((ahead - behind) @ found)
    spread.data = np.maximum(spread.data, 0)
    return spread


def _topics(examples: Examples, resources: Resources) -> sp.csr_matrix:
    """Texts x topics, 1 for the topic of each text: that of the nearest centre of describe texts."""
    vectors, shown = resources.vectors(examples), examples.parts.describe.rows
    number = min(MOST_TOPICS, len(shown) // FEWEST_A_TOPIC)
    if number < 2:
        return sp.csr_matrix((len(examples), 0))
    _, centres = topics(vectors[shown], number, seed=resources.seed)
    nearest = np.argmax(vectors @ centres.T, axis=1)
    return sp.csr_matrix(
        (np.ones(len(examples)), (np.arange(len(examples)), nearest)), shape=(len(examples), number)
    )
