"""From a study to a language model: cache, budget, sending, retries, reading, repair, ledger."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from saywell.errors import SaywellError
from saywell.language_models.backend import Backend, Sent, Trouble
from saywell.language_models.background import Background
from saywell.language_models.budget import Budget, Limits, estimate_input_tokens
from saywell.language_models.gate import Gate
from saywell.language_models.ledger import CacheMiss, Ledger, Row, Spent, canonical_request
from saywell.language_models.prices import Price
from saywell.language_models.providers import ProviderError
from saywell.language_models.requests import Reply, Request
from saywell.language_models.structured import classify, repair_request, schema_text

_SCHEME = "c1:"  # changes whenever canonical_request does
# With nothing ever answered, so many requests given up mean that the rest would fare no better.
_HOPELESS = 3
_Amount = TypeVar("_Amount", int, float)
log = logging.getLogger("saywell.language_models")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long to try: exponential waits with full jitter between `attempts`.

    `deadline` bounds one request with all its attempts, in seconds.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    deadline: float = 600.0


class _Stopped(Exception):
    """This request is abandoned because its batch is ending; nothing was paid for it."""


class _Interrupted(Exception):
    """Ctrl-C was pressed; the waiting thread raises KeyboardInterrupt itself."""


class _Batch:
    """One call of `complete`: whether to go on, and the reason if not."""

    def __init__(self) -> None:
        self.reason: Exception | None = None
        self._ended = asyncio.Event()

    def stop(self, reason: Exception) -> None:
        if self.reason is None:
            self.reason = reason
            self._ended.set()

    def check(self) -> None:
        if self.reason is not None:
            raise _Stopped

    async def sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return
        raise _Stopped


class Client:
    """A language model (see the protocol LanguageModel) over a backend and a calls file.

    `calls` None keeps cache and ledger in memory. With `replay` nothing is sent: a request whose
    reply is not stored raises CacheMiss. Use as a context manager, or call `close`.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        calls: Path | None = None,
        limits: Limits | None = None,
        replay: bool = False,
        concurrency: int = 16,
        requests_per_minute: float | None = None,
        retries: Retries | None = None,
        jitter: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if concurrency < 1:
            raise SaywellError(f"concurrency must be at least 1, got {concurrency!r}")
        limits = limits or Limits()
        self.name = backend.name
        self._backend = backend
        self._replay = replay
        self._concurrency = concurrency
        self._retries = retries or Retries()
        self._jitter = jitter or random.Random(0)
        self._clock = clock
        self._gate = Gate(concurrency, requests_per_minute)
        self._ledger = Ledger(calls, read_only=replay)
        self._budget = Budget(limits, backend.price, self._ledger.spent())
        self._background = Background()
        self._settled: asyncio.Future[None] | None = None
        self._answered = False
        self._given_up = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and the calls file."""
        self._background.run(self._backend.close(), lambda: None)
        self._background.close()
        self._ledger.close()

    @property
    def spent(self) -> Spent:
        """Calls, tokens and known dollars of the whole calls file so far."""
        return self._budget.spent

    @property
    def price(self) -> Price | None:
        """Price per token; None when unknown."""
        return self._backend.price

    def stored(self, requests: Sequence[Request]) -> list[tuple[str, Reply | None]]:
        """For each request its cache key, and its reply if it can be had without sending."""
        keys = [self._key(request)[1] for request in requests]
        rows = self._ledger.find(keys)
        replies: list[tuple[str, Reply | None]] = []
        for request, key in zip(requests, keys, strict=True):
            reply = _read(rows[key], request, True) if key in rows else None
            if reply is not None and reply.status == "unparsed":
                again = repair_request(request, reply.text, reply.error or "")
                row = self._ledger.find([self._key(again)[1]]).get(self._key(again)[1])
                reply = _repaired(reply, _read(row, again, True)) if row else None
            replies.append((key, reply))
        return replies

    def complete(
        self, requests: Sequence[Request], *, progress: Callable[[int], None] | None = None
    ) -> list[Reply]:
        """One reply per request, in order; equal requests are sent once.

        `progress` is called (in another thread) with the number of replies there are so far. Raises
        BudgetReached, ProviderError or CacheMiss, and KeyboardInterrupt at Ctrl-C, each after the
        calls in flight have been kept.
        """
        batch = _Batch()

        def interrupt() -> None:
            log.warning(
                "interrupted: waiting for %d calls in flight, to keep what is paid for; "
                "Ctrl-C again to abandon them",
                self._gate.active,
            )
            batch.stop(_Interrupted())

        return self._background.run(self._complete(list(requests), batch, progress), interrupt)

    async def _complete(
        self, requests: list[Request], batch: _Batch, progress: Callable[[int], None] | None
    ) -> list[Reply]:
        places: dict[str, list[int]] = {}
        texts: dict[str, str] = {}
        for place, request in enumerate(requests):
            text, key = self._key(request)
            places.setdefault(key, []).append(place)
            texts[key] = text
        stored = self._ledger.find(places)
        replies: list[Reply | None] = [None] * len(requests)
        done = 0
        missing: list[Request] = []

        async def work(waiting: Iterator[str]) -> None:
            nonlocal done
            for key in waiting:
                if batch.reason is not None:
                    return
                request = requests[places[key][0]]
                try:
                    reply = await self._resolve(request, key, texts[key], stored.get(key), batch)
                    if reply is None:
                        missing.append(request)
                        continue
                    for copy, place in enumerate(places[key]):
                        replies[place] = replace(reply, cached=True) if copy else reply
                    done += len(places[key])
                    if progress is not None:
                        progress(done)
                except _Stopped:
                    return
                except Exception as error:
                    # Let the calls in flight come home and be stored before this is raised.
                    batch.stop(error)
                    return

        waiting = iter(places)
        workers = min(self._concurrency, len(places))
        await asyncio.gather(*(work(waiting) for _ in range(workers)))
        if batch.reason is not None:
            raise batch.reason
        if missing:
            raise CacheMiss(
                f"replay: {len(missing)} of {len(places)} requests of step {missing[0].step!r} to "
                f"{self.name} have no reply in {self._ledger.path} (the first key is "
                f"{self._key(missing[0])[1]!r}); run without --replay to ask them"
            )
        return [reply for reply in replies if reply is not None]

    def _key(self, request: Request) -> tuple[str, str]:
        """Canonical text of the request, and its key."""
        schema = None if request.answer is None else schema_text(request.answer)
        text = canonical_request(request, self._backend.identity, schema)
        return text, _SCHEME + hashlib.sha256(text.encode()).hexdigest()

    async def _resolve(
        self, request: Request, key: str, text: str, row: Row | None, batch: _Batch
    ) -> Reply | None:
        """The reply, from the cache or by asking, repaired once if need be; None: not stored."""
        first = await self._fetch(request, key, text, row, batch)
        if first is None or first.status != "unparsed":
            return first
        again = repair_request(request, first.text, first.error or "")
        text, key = self._key(again)
        second = await self._fetch(again, key, text, self._ledger.find([key]).get(key), batch)
        if second is None:
            return None
        return _repaired(first, second)

    async def _fetch(
        self, request: Request, key: str, text: str, row: Row | None, batch: _Batch
    ) -> Reply | None:
        cached = row is not None
        if row is None:
            if self._replay:
                return None
            row = await self._ask(request, key, text, batch)
        return _read(row, request, cached)

    async def _ask(self, request: Request, key: str, text: str, batch: _Batch) -> Row:
        extra = "" if request.answer is None else schema_text(request.answer)
        size = estimate_input_tokens(request, extra)
        amount = self._budget.worst_case(size, request.max_tokens)
        while not self._budget.fits(amount):
            # What is in flight may take less than is reserved for it, so wait for it first.
            if self._budget.reserved.calls == 0:
                batch.stop(self._budget.reached(amount))
                raise _Stopped
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settled)
            batch.check()
        self._budget.reserve(amount)
        real = Spent()
        try:
            row = await self._send(request, key, text, batch)
            if row.status != "failed":
                used = (row.input_tokens or 0) + (row.output_tokens or 0)
                unknown = row.input_tokens is None or row.output_tokens is None
                real = Spent(1, amount.tokens if unknown else used, row.cost_usd or 0.0)
        finally:
            self._budget.settle(amount, real)
            if self._settled is not None:
                self._settled.set_result(None)
                self._settled = None
        return row

    async def _send(self, request: Request, key: str, text: str, batch: _Batch) -> Row:
        """Sends until there is a reply or no hope of one; commits either before returning."""
        loop = asyncio.get_running_loop()
        began = 0.0
        faults: list[str] = []
        while True:
            await self._gate.enter(batch.sleep)
            try:
                batch.check()
                started, clock = loop.time(), self._clock()
                began = began if faults else started
                try:
                    sent = await self._backend.send(request)
                except Trouble as trouble:
                    problem = self._unless_too_long(trouble)
                else:
                    self._answered = True
                    self._gate.succeeded()
                    return self._ledger.add(
                        self._row(request, key, text, sent, faults, clock, loop.time() - started)
                    )
                if problem.throttled:
                    self._gate.throttled(problem.after)
            finally:
                self._gate.leave()
            faults.append(problem.message)
            wait = self._wait(problem, len(faults))
            late = loop.time() + wait - began > self._retries.deadline
            retry = problem.kind == "retry" or (problem.kind == "redirect" and self._answered)
            if retry and len(faults) < self._retries.attempts and not late:
                await batch.sleep(wait)
                continue
            row = self._failure(request, key, text, faults, clock, loop.time() - started)
            self._ledger.add(row)
            self._judge(problem, faults, batch)
            return row

    def _unless_too_long(self, problem: Trouble) -> Trouble:
        """The trouble, made fatal when the pause it asks for goes beyond the deadline."""
        deadline = self._retries.deadline
        if problem.after is None or problem.after <= deadline:
            return problem
        return Trouble(
            f"{problem.message} (it asks to wait {problem.after:.0f} s, longer than the deadline "
            f"of {deadline:g} s; run the same command again then)",
            "fatal",
        )

    def _wait(self, problem: Trouble, attempt: int) -> float:
        ceiling = min(self._retries.longest_wait, self._retries.first_wait * 2 ** (attempt - 1))
        # Full jitter: clients that failed together do not come back together.
        return (problem.after or 0.0) + self._jitter.uniform(0.0, ceiling)

    def _judge(self, problem: Trouble, faults: list[str], batch: _Batch) -> None:
        """Stops the batch when the failure of one request says that all will fail."""
        self._given_up += 1
        hopeless = not self._answered and (
            self._given_up >= _HOPELESS or problem.kind == "redirect"
        )
        if problem.kind == "fatal" or hopeless:
            batch.stop(
                ProviderError(f"{self.name}: {faults[-1]}. Nothing more was sent; replies are kept")
            )

    def _row(
        self,
        request: Request,
        key: str,
        text: str,
        sent: Sent,
        faults: list[str],
        clock: float,
        seconds: float,
    ) -> Row:
        status, _, error = classify(
            sent.text, sent.finish, sent.refusal, request.answer, request.max_tokens
        )
        price = self._backend.price
        cost, priced = sent.cost_usd, "provider" if sent.cost_usd is not None else None
        if (
            cost is None
            and price
            and sent.input_tokens is not None
            and sent.output_tokens is not None
        ):
            cost, priced = price.cost(sent.input_tokens, sent.output_tokens), price.since
        return Row(
            key=key,
            step=request.step,
            prompt_hash=request.prompt_hash,
            model=self.name,
            request=text,
            answered=True,
            status=status,
            text=sent.text,
            finish=sent.finish,
            refusal=sent.refusal,
            replied_model=sent.model,
            input_tokens=sent.input_tokens,
            output_tokens=sent.output_tokens,
            cost_usd=cost,
            price=priced,
            error=error,
            faults=tuple(faults),
            attempts=len(faults) + 1,
            started=clock,
            seconds=seconds,
        )

    def _failure(
        self,
        request: Request,
        key: str,
        text: str,
        faults: list[str],
        clock: float,
        seconds: float,
    ) -> Row:
        row = self._row(request, key, text, Sent(""), faults[:-1], clock, seconds)
        return replace(row, answered=False, status="failed", error=faults[-1], cost_usd=None)


def _read(row: Row, request: Request, cached: bool) -> Reply:
    if row.status == "failed":
        status, parsed, error = "failed", None, row.error
    else:
        status, parsed, error = classify(
            row.text, row.finish, row.refusal, request.answer, request.max_tokens
        )
    return Reply(
        status=status,
        text=row.text,
        parsed=parsed,
        error=error,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.cost_usd,
        seconds=row.seconds,
        attempts=row.attempts,
        cached=cached,
        key=row.key,
        model=row.replied_model or row.model,
    )


def _repaired(first: Reply, second: Reply) -> Reply:
    """The two replies of a repair as one: sums of what they took, and the answer if any."""
    both = replace(
        second,
        input_tokens=_add(first.input_tokens, second.input_tokens),
        output_tokens=_add(first.output_tokens, second.output_tokens),
        cost_usd=_add(first.cost_usd, second.cost_usd),
        seconds=first.seconds + second.seconds,
        attempts=first.attempts + second.attempts,
        cached=first.cached and second.cached,
    )
    if second.status == "ok":
        return both
    error = f"{first.error}; asked again, {second.status}: {second.error}"
    status = "failed" if second.status == "failed" else "unparsed"
    return replace(both, status=status, text=first.text, parsed=None, error=error, key=first.key)


def _add(first: _Amount | None, second: _Amount | None) -> _Amount | None:
    return None if first is None or second is None else first + second
