"""From a record of settings to the language model that it names, ready to be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import get_annotations
from pathlib import Path
from typing import Any, NamedTuple

from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, Limits, StepPlan, open_language_model
from saywell.language_models.client import Client
from saywell.language_models.opening import need_provider, opened
from saywell.language_models.prompts import check_prompts
from saywell.progress import Progress, silent, watch_of
from saywell.store.study import refuse_folder
from saywell.studies.settings import EXTRACTIVE, LlmSettings


class Plan(NamedTuple):
    """What a study would be of, and what it would ask a language model."""

    of: str
    steps: list[StepPlan]


@contextmanager
def opened_llm(
    asked: LlmSettings, out: Path | None, llm: LanguageModel | str | None = None, progress: Progress = silent
) -> Iterator[LanguageModel | None]:
    """The model `llm`, or the one that is asked for by name, closed afterwards; None for 'extractive'.

    Its replies are kept in the study's folder `out`; how far it is goes where `progress` does. Raises
    InputError for a name that cannot be, without a folder, and for options of a model that is open already.
    """
    _check(asked, out, llm)
    given = asked.llm if llm is None or isinstance(llm, str) else llm
    with opened(given, out, watch_of(progress), **_options(asked)) as model:
        yield model


@contextmanager
def counting_llm(
    asked: LlmSettings, out: Path | None, llm: Client | DryRun | str | None = None
) -> Iterator[DryRun | None]:
    """As `opened_llm`, but a model that sends nothing and counts what it would be asked.

    What the study in `out` has replies to is counted as such; without a study there are none.
    """
    _check(asked, out, llm)
    if isinstance(llm, DryRun):
        yield llm
    elif isinstance(llm, Client):
        yield DryRun(llm)
    elif asked.llm == EXTRACTIVE:
        yield None
    else:
        if not asked.replay:
            need_provider(asked.llm)
        calls = None if out is None else out / "calls.sqlite"
        kept = calls if calls is not None and (asked.replay or calls.exists()) else None
        with open_language_model(asked.llm, calls=kept, **{**_options(asked), "replay": True}) as model:
            yield DryRun(model)


def _check(asked: LlmSettings, out: Path | None, llm: Any) -> None:
    """Refuses folders that cannot be used, and options that come too late, before anything is read."""
    if llm is not None and not isinstance(llm, str):
        for name in get_annotations(LlmSettings).keys() - {"llm", "prompts", "model_config"}:
            if getattr(asked, name) != LlmSettings.model_fields[name].default:
                raise InputError(
                    f"{name} (--{name.replace('_', '-')}) is of a model that is opened here by its name, and"
                    f" llm={llm.name!r} is open already: say it where that is opened (open_language_model)"
                )
    if out is not None:
        refuse_folder(out)
    if asked.prompts is not None:
        check_prompts(asked.prompts)


def _options(asked: LlmSettings) -> dict[str, Any]:
    return {
        "url": asked.llm_url,
        "deadline": asked.llm_deadline,
        "timeout": asked.llm_timeout,
        "idle": asked.llm_idle,
        "context": asked.llm_context,
        "most_reply_tokens": asked.llm_reply,
        "effort": asked.llm_effort,
        "rate": asked.llm_rate,
        "threads": asked.llm_threads,
        "limits": Limits(asked.max_calls, asked.max_usd, asked.max_tokens),
        "replay": asked.replay,
        "concurrency": asked.concurrency,
    }
