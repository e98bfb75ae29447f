"""From a name such as "openai:gpt-x" to a language model that is ready to be asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from saywell.errors import InputError
from saywell.language_models.again import MOST_REPLY_TOKENS
from saywell.language_models.budget import Limits
from saywell.language_models.client import Client, Retries
from saywell.language_models.prices import FREE, dearest_price, find_price
from saywell.language_models.providers import base_url, find_key, missing_key, split_name


def open_language_model(
    name: str,
    *,
    calls: Path | None = None,
    url: str | None = None,
    limits: Limits | None = None,
    replay: bool = False,
    concurrency: int = 16,
    requests_per_minute: float | None = None,
    effort: str | None = None,
    most_reply_tokens: int = MOST_REPLY_TOKENS,
    timeout: float = 120.0,
    deadline: float = 600.0,
    retries: Retries | None = None,
    env: Mapping[str, str] = os.environ,
) -> Client:
    """The language model "provider:model" (see providers.PROVIDERS), with its cache and ledger in
    `calls`.

    `effort` goes to models that reason, as reasoning_effort ("none", "low", ...);
    `most_reply_tokens` is the largest limit that an answer which was cut off is asked for again with.
    `timeout` bounds one attempt in seconds, `deadline` the time that a request waits while the
    provider answers none (`retries`, when given, says this and more). With `replay` no key is
    needed and nothing is sent. Close it, or use it in a `with`. Raises InputError for a name or
    address that cannot be, ProviderError when the key is missing.
    """
    provider, model = split_name(name)
    limits = limits or Limits()
    retries = retries or Retries(deadline=deadline)
    if provider.name == "hf":
        if url is not None:
            raise InputError(f"{name!r} runs in this process; --llm-url does not apply to it")
        from saywell.language_models.local import LocalBackend

        local = LocalBackend(model)
        return Client(
            local, calls=calls, limits=limits, replay=replay, concurrency=1, retries=retries,
            most_reply_tokens=most_reply_tokens,
        )  # fmt: skip
    address = base_url(provider, url)
    key = find_key(provider, env)
    if key is None and provider.key_needed and not replay:
        raise missing_key(provider)
    price = FREE if provider.free else find_price(f"{provider.name}:{model}", env=env)
    if limits.max_usd is not None and price is None and provider.name != "openrouter":
        raise InputError(
            f"--max-usd cannot be kept: the price of {name!r} is unknown; add it to prices.toml "
            "(`saywell doctor` shows where) or limit --max-tokens instead"
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
    )
    return Client(
        backend,
        calls=calls,
        limits=limits,
        replay=replay,
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        retries=retries,
        most_reply_tokens=most_reply_tokens,
        stand_in=dearest_price(env) if limits.max_usd is not None else None,
    )
