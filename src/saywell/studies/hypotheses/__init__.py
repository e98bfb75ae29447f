"""What in texts goes with a target, and is it true?

1. load texts, or pairs of texts, with what goes with them       studies/hypotheses/asked.py
2. statements about one text, found without the target           studies/hypotheses/pool.py
3. read on all texts; the target chooses on describe and select  selection/by_target.py
4. put to the test on score texts, with covariates held equal    studies/hypotheses/testing.py
5. the search run again, whole, on shuffled targets              studies/hypotheses/testing.py
6. all verified together, beside a probe and length alone        studies/hypotheses/extras.py
7. of pairs what varies and what is favoured, by whom            studies/hypotheses/preferences.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import Client, DryRun, LanguageModel
from saywell.progress import Progress, automatic, silent
from saywell.readers.detection import DETECT, DETECT_ONE, DETECTION, DetectionReader
from saywell.readers.reader import CLAIMS, Reader
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.store.study import Study
from saywell.studies.dry_run import plan
from saywell.studies.hypotheses.asked import load_asked
from saywell.studies.hypotheses.extras import Chosen, Tastes, Tests
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.pool import PROPOSED
from saywell.studies.hypotheses.proposals import PROPOSE
from saywell.studies.hypotheses.search import AsFound, Search
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import HypothesisSettings, named, settings_of
from saywell.studies.spine import Extra, Question, run


def find_hypotheses(
    source: Any,
    *,
    out: str | Path,
    versus: Any = None,
    settings: HypothesisSettings | None = None,
    llm: LanguageModel | str | None = None,
    encoder: str | SentenceEncoder | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Find what in texts goes with a target, and put it to the test on texts that the search never saw.

    `source`    texts (a file, table, list of records: see `load_texts`) with a column that is the `target`;
                or pairs (`text="a", pair="b"`) of which `target` says which is favoured.
    `versus`    instead of a target: other texts, from which those of `source` are to be told apart.
    `settings`, `options`: the fields of `HypothesisSettings`, as a record or one by one.
    `llm`       proposes hypotheses and reads: a language model by its name, or one that is open.
    `encoder`   makes vectors of texts, for latents and topics: an encoder, or its name.

    A stopped run goes on where it was when called again with the same arguments, and leaves the same tables;
    `study.hypotheses` is what came of it. Raises InputError for unusable input, StudyError when `out` holds
    another study.
    """
    asked = settings_of(HypothesisSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    with opened_llm(asked, Path(out), llm, progress) as opened:
        with progress("texts", 1):
            loaded = load_asked(source, asked, versus)
        resources = _resources(asked, encoder, opened, progress)
        question = _question(loaded, asked, resources)
        return run(question, loaded.examples, out=out, resources=resources, command=command)


def plan_hypotheses(
    source: Any,
    *,
    out: str | Path | None = None,
    versus: Any = None,
    settings: HypothesisSettings | None = None,
    llm: Client | DryRun | str | None = None,
    encoder: str | SentenceEncoder | None = None,
    **options: Any,
) -> Plan:
    """What `find_hypotheses` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `find_hypotheses` and are checked as it does. Raises InputError for unusable
    input.
    """
    asked = settings_of(HypothesisSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    folder = None if out is None else Path(out)
    with counting_llm(asked, folder, llm) as counting:
        loaded = load_asked(source, asked, versus)
        resources = _resources(asked, encoder, counting, silent)
        question = _question(loaded, asked, resources)
        of = f"{len(loaded.items)} {'pairs' if loaded.items.pairs else 'texts'}"
        return Plan(of, plan(question, loaded.examples, resources, counting, folder))


def _resources(
    asked: HypothesisSettings,
    encoder: str | SentenceEncoder | None,
    llm: LanguageModel | None,
    progress: Progress,
) -> Resources:
    return Resources(
        encoder or asked.encoder,
        llm=llm,
        seed=asked.seed,
        progress=progress,
        prompts=asked.prompts,
        device=asked.device,
    )


def _question(loaded: Asked, asked: HypothesisSettings, resources: Resources) -> Question:
    """The units are found in the examples; who says what they say is the search itself."""
    search = Search(loaded, asked.candidates, asked.tests)
    readers = _readers(asked, resources)
    prompts = [*[PROPOSE] * (PROPOSED in asked.candidates), *[DETECT, DETECT_ONE] * bool(readers)]
    return Question(
        "hypotheses",
        search,
        [AsFound()],
        [],
        asked.stored()
        | ({"prompts": {name: resources.prompt(name).hash for name in prompts}} if prompts else {}),
        {"target": search.fingerprint, "encoder": resources.fingerprint(loaded.examples)},
        extras=extras_of(asked.stored(), readers),
        strongest=asked.top,
        control=False,
    )


def extras_of(config: Mapping[str, Any], readers: Sequence[Reader] = ()) -> list[Extra]:
    """What the question adds, by the stored settings of a study."""
    covariates, encoder = config["covariate"], config["encoder"]
    tests = Tests(covariates, config["tests"], config["shuffles"], encoder, readers, config["llm_units"])
    return [Chosen(config["tests"]), tests, Tastes(config["pair"] is not None, config["by"] is not None)]


def _readers(asked: HypothesisSettings, resources: Resources) -> list[Reader]:
    """Who reads score texts beside the executor of claims: a language model that says yes or no.

    Raises InputError for any other, without a language model, and where nobody said what it may cost.
    """
    readers = [find_reader(name, "text") for name in asked.reader if name != CLAIMS]
    for reader in readers:
        if not isinstance(reader, DetectionReader):
            raise InputError(
                f"the reader {reader.name!r} does not say yes or no of a text; use {DETECTION} (a language"
                " model does), or leave --reader (reader=...) out: claims are executed"
            )
        reader.llm(resources)
        if not asked.llm_units:
            raise InputError(
                f"the reader {reader.name!r} costs, and reads of no hypothesis: say of how many,"
                " --llm-units N (llm_units=N)"
            )
    return list(readers)
