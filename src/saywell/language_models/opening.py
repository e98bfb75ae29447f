"""From a name such as "openai:gpt-x" to a language model that is ready to be asked."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from saywell.addresses import is_loopback
from saywell.errors import InputError, SaywellError
from saywell.language_models.again import MOST_REPLY_TOKENS
from saywell.language_models.backend import Backend
from saywell.language_models.blot import Blot
from saywell.language_models.budget import Limits
from saywell.language_models.client import Client, Retries
from saywell.language_models.prices import FREE, dearest_price, find_price
from saywell.language_models.providers import (
    EXTRACTIVE,
    IN_PROCESS,
    base_url,
    find_key,
    missing_key,
    split_name,
)
from saywell.language_models.rates import UNLIMITED, Rate
from saywell.language_models.requests import LanguageModel
from saywell.language_models.tally import Watch

log = logging.getLogger("saywell.language_models")


def open_language_model(
    name: str,
    *,
    calls: Path | None = None,
    url: str | None = None,
    limits: Limits | None = None,
    replay: bool = False,
    concurrency: int = 16,
    rate: str | None = None,
    effort: str | None = None,
    most_reply_tokens: int = MOST_REPLY_TOKENS,
    context: int | None = None,
    threads: int | None = None,
    timeout: float = 600.0,
    idle: float = 120.0,
    deadline: float = 600.0,
    retries: Retries | None = None,
    env: Mapping[str, str] = os.environ,
) -> Client:
    """The language model "provider:model" (see providers.PROVIDERS), with its cache and ledger in `calls`.

    `effort` goes to models that reason, as reasoning_effort ("none", "low", ...);
    `most_reply_tokens` is the largest limit that an answer which was cut off is asked for again with.
    `timeout` bounds in seconds the time until a reply begins (of a server that does not stream, until
    it is whole), `idle` that between two of its tokens, `deadline` the time that a request waits
    while the provider answers none (`retries`, when given, says this and more). `context` is how many
    tokens the model reads and writes (by default its server is asked), `rate` the most a minute, as in
    "60/min,100000 tokens/min", `threads` how many of the processor a model takes that runs here. With
    `replay` no key is needed and nothing is sent. Close it, or use it in a `with`. Raises InputError for
    a name or address that cannot be, ProviderError when the key is missing.
    """
    provider, model = split_name(name)
    limits = limits or Limits()
    retries = retries or Retries(deadline=deadline)
    if threads is not None and provider.name != "gguf":
        raise InputError(f"--llm-threads is for models that llama.cpp runs here (gguf:PATH), not {name!r}")
    if effort is not None and not effort.isalnum():
        raise InputError(f"--llm-effort {effort!r} is no word such as none, low or high")
    if provider.name in IN_PROCESS:
        for option, value in (("--llm-url", url), ("--llm-rate", rate)):
            if value is not None:
                raise InputError(f"{name!r} runs in this process; {option} does not apply to it")
        return Client(
            _in_process(provider.name, model, threads, context, effort, replay),
            calls=calls,
            limits=limits,
            replay=replay,
            concurrency=1,
            context=context,
            retries=retries,
            most_reply_tokens=most_reply_tokens,
        )
    address = base_url(provider, url)
    key = find_key(provider, env)
    if key is None and provider.key_needed and not replay:
        raise missing_key(provider)
    if key is not None and Blot(key.value).finds(f"{name}\n{url}"):
        raise InputError(
            "the name or the address of the language model holds the key, and both are stored; give "
            f"the key by the variable {provider.key_variable} alone"
        )
    price = FREE if provider.free else find_price(f"{provider.name}:{model}", env=env)
    if limits.max_usd is not None and price is None and provider.name != "openrouter":
        raise InputError(
            f"--max-usd cannot be kept: the price of {name!r} is unknown; add it to prices.toml "
            "(`saywell doctor` shows where) or limit --max-tokens instead"
        )
    near = is_loopback(urlsplit(address).hostname or "")
    if price is None and provider.name != "openrouter" and not near and not replay:
        log.warning(
            "%s: its price is not known, so what it costs is not counted; add it to prices.toml "
            "(`saywell doctor` shows where)",
            name,
        )
    from saywell.language_models.http import HttpBackend

    backend = HttpBackend(
        provider,
        model,
        address,
        key,
        price,
        concurrency=concurrency,
        effort=effort,
        timeout=timeout,
        idle=idle,
    )
    return Client(
        backend,
        calls=calls,
        limits=limits,
        replay=replay,
        concurrency=concurrency,
        rate=UNLIMITED if rate is None else Rate.parse(rate),
        context=context,
        retries=retries,
        most_reply_tokens=most_reply_tokens,
        stand_in=dearest_price(env) if limits.max_usd is not None else None,
    )


def _in_process(
    provider: str, path: str, threads: int | None, context: int | None, effort: str | None, replay: bool
) -> Backend:
    if provider == "hf":
        from saywell.language_models.local import LocalBackend

        return LocalBackend(path)
    from saywell.language_models.gguf import GgufBackend

    return GgufBackend(path, threads=threads, context=context, effort=effort, needed=not replay)


@contextmanager
def opened(
    llm: LanguageModel | str | None, folder: Path | None, watch: Watch | None = None, **options: Any
) -> Iterator[Any]:
    """The language model that a study asks: `llm` itself, or opened by its name.

    None and "extractive" are no model (None). A name is opened with `options` (those of
    `open_language_model`) and the calls file of the study in `folder`, and closed afterwards.
    `watch` is told how far it is, where the model is not watched already.
    """
    if llm is None or llm == EXTRACTIVE:
        yield None
    elif not isinstance(llm, str):
        with watched(llm, watch):
            yield llm
    else:
        folder = need_folder(llm, folder)
        new = not folder.exists()
        if not options.get("replay"):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            model = open_language_model(llm, calls=folder / "calls.sqlite", **options)
        except SaywellError:
            with suppress(OSError):
                if new:
                    folder.rmdir()
            raise
        with model, watched(model, watch):
            yield model


def need_folder(llm: str, folder: Path | None) -> Path:
    """Where the replies of the model named so are kept.

    Raises InputError for a name that cannot be, and without a folder: what was paid for would be lost.
    """
    split_name(llm)
    if folder is None:
        raise InputError(f"the replies of {llm!r} need a study to be kept in: give out (--out FOLDER)")
    return folder


def need_provider(llm: str, env: Mapping[str, str] = os.environ) -> None:
    """Whether what a model needs to be asked is there; what a replay does without.

    Raises ProviderError for a key that is not found, MissingPackage.
    """
    provider, _ = split_name(llm)
    if provider.key_needed and find_key(provider, env) is None:
        raise missing_key(provider)
    if provider.name == "gguf":
        from saywell.language_models.gguf import need_llama_cpp

        need_llama_cpp()


@contextmanager
def watched(model: LanguageModel, watch: Watch | None) -> Iterator[None]:
    """Has the model tell `watch` how far it is, unless it tells somebody else; for a while."""
    if not isinstance(model, Client) or model.watch is not None:
        yield
        return
    model.watch = watch
    try:
        yield
    finally:
        model.watch = None
