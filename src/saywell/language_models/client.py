"""From a study to a language model: cache, budget, sending, retries, reading, repair, ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from saywell.errors import SaywellError
from saywell.language_models.again import MOST_REPLY_TOKENS, next_request, together
from saywell.language_models.backend import Backend, Counts, HasContext, HasSlots, Sent, Trouble
from saywell.language_models.background import Background
from saywell.language_models.budget import Budget, Limits, estimate_input_tokens
from saywell.language_models.choices import chosen, likeliest
from saywell.language_models.cutting import Cut, cut_to, most_tokens, rejected
from saywell.language_models.gate import Gate
from saywell.language_models.ledger import CacheMiss, Ledger, Row, Spent, canonical_request
from saywell.language_models.prices import Price
from saywell.language_models.prompts import CUT_MARK
from saywell.language_models.providers import ProviderError
from saywell.language_models.rates import UNLIMITED, Rate
from saywell.language_models.reasoning import final_text
from saywell.language_models.requests import Reply, Request
from saywell.language_models.structured import cut_in_silence, outcome_of, schema_text
from saywell.language_models.tally import Counting, Tally, Watch

_SCHEME = "c1:"  # changes whenever canonical_request does
# So many different requests that all failed, with no reply between, mean that the rest would too.
_HOPELESS = 3
# So often nobody was there to take a request.
_UNREACHABLE = 4
_TELL_EVERY = 1.0
"""Seconds."""
_GO_ON = "Every reply so far is kept; the same command goes on from there"
_REJECTED, _TOO_LONG = "rejected", "too long"
_OFF_BY = 16
"""Tokens that a chat template may have less by one way of counting than by another."""
log = logging.getLogger("saywell.language_models")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long to try: exponential waits with full jitter between `attempts`.

    An attempt after which the server asks to wait is not counted. `deadline` is the longest time,
    in seconds, that a request waits while the provider answers none at all.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    deadline: float = 600.0

    def __post_init__(self) -> None:
        if not self.deadline > 0:
            raise SaywellError(f"--llm-deadline must be more than 0 seconds, got {self.deadline!r}")


class _Stopped(Exception):
    """This request is abandoned because its batch is ending; nothing was paid for it."""


class _Known(Exception):
    """How much the model reads became known while this request waited; nothing was sent."""


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

    `calls` None keeps cache and ledger in memory. An answer that is cut off is asked for again with a
    larger limit, up to `most_reply_tokens`. With `replay` nothing is sent: a request whose
    reply is not stored raises CacheMiss. `stand_in` is the price at which calls count against a
    limit in dollars when nobody says what they cost. `context` is how many tokens the model reads and
    writes, by default what the backend finds out. Use as a context manager, or call `close`.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        calls: Path | None = None,
        limits: Limits | None = None,
        replay: bool = False,
        concurrency: int = 16,
        rate: Rate = UNLIMITED,
        context: int | None = None,
        retries: Retries | None = None,
        most_reply_tokens: int = MOST_REPLY_TOKENS,
        jitter: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        stand_in: Price | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        if concurrency < 1:
            raise SaywellError(f"concurrency must be at least 1, got {concurrency!r}")
        if most_reply_tokens < 1:
            raise SaywellError(f"--llm-reply must be at least 1, got {most_reply_tokens!r}")
        limits = limits or Limits()
        self.name = backend.name
        self._backend = backend
        self._replay = replay
        self._concurrency = concurrency
        self._retries = retries or Retries()
        self._jitter = jitter or random.Random(0)
        self._clock = clock
        self._context = context
        self._knowing: asyncio.Future[None] | None = None
        self._gate = Gate(
            concurrency,
            rate,
            first_wait=self._retries.first_wait,
            longest_wait=self._retries.longest_wait,
            jitter=self._jitter,
        )
        self._ledger = Ledger(calls, read_only=replay)
        self._budget = Budget(
            limits,
            backend.price,
            self._ledger.spent(backend.price or stand_in),
            stand_in,
            self._ledger.dearest_token(),
        )
        self._background = Background(new_loop)
        self.watch: Watch | None = None
        """Who is told, in another thread, how far each step is."""
        self._counting = Counting(clock)
        self._opened = clock()
        self._settled: asyncio.Future[None] | None = None
        self._answered = self._ledger.has_reply(self.name)
        self._turned_away: set[str] = set()
        self._told = False
        self._too_slow: set[str] = set()
        self._most_reply_tokens = most_reply_tokens
        self._read_any = False
        self._cut_off = 0
        self._said_overflow = self._loaded = False
        self._said_cut: set[str] = set()
        # Tokens by the model's own tokenizer, of what is about to be sent, by its key.
        self._counted: dict[str, int] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and the calls file."""
        self._background.run(self._backend.close(), lambda: None)
        self._background.close()
        self._ledger.close()

    @property
    def spent(self) -> Spent:
        """Requests, tokens and dollars of the whole calls file so far."""
        return self._budget.spent

    @property
    def price(self) -> Price | None:
        """Price per token; None when unknown."""
        return self._backend.price

    @property
    def gives_probabilities(self) -> bool | None:
        """Whether replies tell how probable the choices of a request are; None: its first reply shows it."""
        return getattr(self._backend, "gives_probabilities", False)

    def stored(self, requests: Sequence[Request]) -> list[tuple[str, Reply | Request]]:
        """For each request its cache key, and its stored reply or what has to be sent next."""
        keys = [self._key(request)[1] for request in requests]
        rows = self._ledger.find(keys)
        replies: list[tuple[str, Reply | Request]] = []
        for request, key in zip(requests, keys, strict=True):
            tried: list[Reply] = []
            asked: Request | None = request
            row, other = rows.get(key), key
            while asked is not None:
                cut = None if row is not None else self._ledger.cut(other)
                if row is None and (cut is None or not (cut.sends or cut.context or self._replay)):
                    break
                if cut is not None and cut.sends:
                    asked = cut.of(asked)
                else:
                    tried.append(_unsent(cut, other) if row is None else _read(row, asked, True))
                    asked = self._next(asked, other, tried)
                if asked is not None:
                    other = self._key(asked)[1]
                    row = self._ledger.find([other]).get(other)
            replies.append((key, together(tried) if asked is None else asked))
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
                    self._counting.done(request.step, reply.cached)
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
        with self._telling([requests[first] for first, *_ in places.values()]):
            await asyncio.gather(*(work(waiting) for _ in range(workers)))
        if batch.reason is not None:
            raise batch.reason
        if missing:
            if changed := self._ledger.changed(self._key(request)[1] for request in missing):
                raise CacheMiss(
                    f"replay: the reply {changed[0]!r} in {self._ledger.path} (of {len(changed)} "
                    "such) was changed after it was stored; run without --replay to ask it again"
                )
            raise CacheMiss(
                f"replay: {len(missing)} of {len(places)} requests of step {missing[0].step!r} to "
                f"{self.name} have no reply in {self._ledger.path} (the first key is "
                f"{self._key(missing[0])[1]!r}); run without --replay to ask them"
            )
        return [reply for reply in replies if reply is not None]

    @contextmanager
    def _telling(self, requests: Sequence[Request]) -> Iterator[None]:
        """While these are asked, whoever watches is told how far they are, and so is the calls file."""
        steps = Counter(request.step for request in requests)

        def tell() -> None:
            for step in steps:
                tally = self._tally(step)
                if tally.asked:
                    self._ledger.tell(self._opened, self._clock(), tally.to_json())
                if self.watch is not None:
                    self.watch(tally)

        async def keep_telling() -> None:
            while True:
                tell()
                await asyncio.sleep(_TELL_EVERY)

        for step, number in steps.items():
            self._counting.begin(step, number)
        teller = asyncio.ensure_future(keep_telling())
        try:
            yield
        finally:
            teller.cancel()
            for step in steps:
                self._counting.end(step)
            tell()

    def _tally(self, step: str) -> Tally:
        """How far a step is."""
        return self._counting.tally(step, self.name, self.spent, self.price is not None)

    def _key(self, request: Request) -> tuple[str, str]:
        """Canonical text of the request, and its key."""
        schema = None if request.answer is None else schema_text(request.answer)
        text = canonical_request(request, self._backend.identity, schema)
        return text, _SCHEME + hashlib.sha256(text.encode()).hexdigest()

    async def _resolve(
        self, request: Request, key: str, text: str, row: Row | None, batch: _Batch
    ) -> Reply | None:
        """The reply, from the cache or by asking, more than once if need be; None: not stored."""
        replies: list[Reply] = []
        asked: Request | None = request
        known = {key}
        while asked is not None:
            cut = None if row is not None else await self._cut(asked, key, replies)
            if cut is not None and cut.sends:
                asked = cut.of(asked)
            else:
                try:
                    reply = _unsent(cut, key) if cut else await self._fetch(asked, key, text, row, batch)
                except _Known:
                    continue
                if reply is None:
                    return None
                replies.append(reply)
                asked = self._next(asked, key, replies)
            if asked is not None:
                text, key = self._key(asked)
                if key in known:  # with no more room for the reply than it had
                    replies = replies or [_unsent(cut, key)]
                    break
                known.add(key)
                row = self._ledger.find([key]).get(key)
        result = together(replies)
        self._look_at(result, request, batch)
        return result

    def _next(self, asked: Request, key: str, replies: list[Reply]) -> Request | None:
        """What to ask after the last of these replies, which answers `asked`; None: nothing more."""
        last = replies[-1]
        if not (last.too_long or last.rejected):
            return next_request(asked, replies, self._most_reply_tokens)
        cut = rejected(asked, last.error or "", too_long=last.too_long)
        if any(reply.status == "truncated" for reply in replies) or not (cut.sends or last.rejected):
            return None
        if last.attempts and not last.cached:
            self._keep(cut, asked, key)
        return cut.of(asked) if cut.sends else None

    async def _cut(self, asked: Request, key: str, replies: list[Reply]) -> Cut | None:
        """What to send instead of a request that does not fit into what the model reads; None: itself.

        Stored where it was found out before with the same context, or where that is not known now.
        """
        stored = self._ledger.cut(key)
        if self._replay:
            return stored
        await self._know()
        context = self._context
        if context is None or (stored is not None and stored.context == context):
            return stored if stored is not None and (stored.sends or stored.context) else None
        extra = "" if asked.answer is None else schema_text(asked.answer)
        if most_tokens(asked, extra) + asked.max_tokens <= context:
            return None

        async def count(request: Request) -> int:
            counted = await self._backend.count(request) if isinstance(self._backend, Counts) else None
            if counted is not None:
                self._counted[self._key(request)[1]] = counted
            return counted or estimate_input_tokens(request, extra)

        least = max(1, min((asked.max_tokens + 1) // 2, context // 2))
        if replies and replies[-1].status == "truncated":
            least = (replies[-1].max_tokens or 0) + 1
        # Of what was answered already, though not to the end, the words stay as they are.
        shorten = asked.items == 1 and all(reply.too_long for reply in replies)
        cut = await cut_to(asked, context, least, shorten, count)
        if cut is None or not (cut.sends or asked.items > 1 or key in self._counted):
            return None  # what is only estimated to be too long is for the server to refuse
        self._keep(cut, asked, key)
        return cut

    def _keep(self, cut: Cut, asked: Request, key: str) -> None:
        self._ledger.keep_cut(key, asked.step, self.name, cut)
        if cut.characters is not None and asked.step not in self._said_cut:
            self._said_cut.add(asked.step)
            log.warning(
                "%s: step %s: %s. Its data is cut to %d characters a text (%r marks where), and so is that "
                "of others of this step, each to what there is room for",
                self.name,
                asked.step,
                cut.reason,
                cut.characters,
                CUT_MARK.strip(),
            )

    def _look_at(self, reply: Reply, request: Request, batch: _Batch) -> None:
        """Says what is the matter where it is the same for all, and stops where it is hopeless."""
        self._read_any = self._read_any or reply.status == "ok"
        if reply.status == "overflow" and not self._said_overflow:
            self._said_overflow = True
            log.warning("%s: %s", self.name, reply.error)
        limit = reply.max_tokens or 0
        exhausted = request.answer is not None and limit >= self._most_reply_tokens
        if reply.status != "truncated" or not exhausted or reply.cached or self._read_any:
            return
        self._cut_off += 1
        if self._cut_off >= _HOPELESS:
            reason = f"none of {self._cut_off} replies came to an end: {reply.error}"
            batch.stop(ProviderError(f"{self.name}: {reason}. {_GO_ON}"))

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
        """Sends until there is a reply or no hope of one."""
        loop = asyncio.get_running_loop()
        extra = "" if request.answer is None else schema_text(request.answer)
        pending = Row(
            key=key,
            step=request.step,
            prompt_hash=request.prompt_hash,
            model=self.name,
            request=text,
            answered=False,
            status="unfinished",
            text="",
            finish=None,
            refusal=None,
            replied_model=None,
            requests=1,
            input_tokens=self._counted.get(key) or estimate_input_tokens(request, extra),
            output_tokens=request.max_tokens,
            estimated=True,
            cost_usd=None,
            price=None,
            error="the run ended before a reply came",
            attempts=0,
            started=0.0,
            seconds=0.0,
        )
        tries, slow = 0, False
        without: tuple[str, ...] = ()
        expected = pending.input_tokens + pending.output_tokens
        await self._know()
        context = self._context
        while True:
            start = await self._gate.enter(batch.sleep, expected)
            row = pending
            try:
                if self._context != context:
                    raise _Known
                while True:
                    pending = replace(pending, attempts=pending.attempts + 1)
                    row, problem, pause = await self._try(request, pending, without, start, batch)
                    if problem is None or problem.kind != "again":
                        break
                    without = problem.without
            finally:
                self._gate.leave(expected - row.input_tokens - row.output_tokens)
            if problem is None:
                return row
            tries += not problem.wait
            wait = pause if problem.wait else self._jittered(tries)
            silent_since = self._gate.silent_since or loop.time()
            late = loop.time() + wait - silent_since > self._retries.deadline
            if reason := self._hopeless(problem, request, key, late):
                batch.stop(ProviderError(f"{self.name}: {reason}"))
                self._gate.begin_anew()
                return row
            if problem.wait:
                continue  # the gate holds it back, with all others
            again = problem.kind == "retry" or (problem.kind in ("redirect", "slow") and self._answered)
            # Who was too slow twice would be so again: more time may help, and the user has to allow it.
            if not again or late or slow or tries >= self._retries.attempts:
                return row
            slow = problem.kind == "slow"
            await batch.sleep(wait)

    async def _try(
        self, request: Request, pending: Row, without: tuple[str, ...], start: int, batch: _Batch
    ) -> tuple[Row, Trouble | None, float]:
        """Sends once.

        Returns the committed row, the trouble if it is no reply, and how many seconds the gate now
        stays closed for it.

        `pending` is the row of the request while nothing is known of a reply, at the most it may
        take; `start` is the number of its place in the gate.
        """
        loop = asyncio.get_running_loop()
        pending = self._priced(pending, None)
        amount = self._budget.worst_case(pending.input_tokens, pending.output_tokens)
        await self._reserve(amount, batch)
        id, row, real, problem, pause = 0, None, Spent(), None, 0.0

        def told(tokens: int) -> None:
            self._gate.alive()
            self._counting.told(request.step, id, tokens)

        try:
            batch.check()
            began = loop.time()
            pending = replace(pending, started=self._clock())
            id = self._ledger.begin(pending)
            self._counting.sent(request.step, id)
            if not self._told:  # who has not said yet that it asks seems to have been killed
                self._told = True
                self._ledger.tell(self._opened, self._clock(), self._tally(request.step).to_json())
            real = self._budget.taken(pending)
            try:
                sent = await self._backend.send(request, without, told)
                if not self._loaded:  # some servers know only now with how much they loaded the model
                    self._loaded = True
                    await self._read_context()
                row = self._answer(pending, sent, request)
            except Trouble as trouble:
                problem, row = trouble, _failure(pending, trouble)
                pause = self._note(trouble, pending.key, start)
            except Exception as error:  # a mistake in the request or a bug: nothing was sent
                row = _failure(pending, Trouble(str(error), sent=False))
                real = self._budget.taken(row)
                self._ledger.finish(id, row)
                raise
            else:
                self._answered = True
                self._turned_away.clear()
                self._too_slow.clear()
                self._gate.succeeded(row.input_tokens + row.output_tokens)
            row = replace(row, seconds=loop.time() - began)
            real = self._budget.taken(row)
            return self._ledger.finish(id, row), problem, pause
        finally:
            self._counting.back(request.step, id, row)
            self._budget.settle(amount, real)
            if self._settled is not None:
                self._settled.set_result(None)
                self._settled = None

    async def _know(self) -> None:
        """Finds out, before the first request, what the backend can do."""
        if self._knowing is None:
            self._knowing = asyncio.ensure_future(self._find_out())
        await asyncio.shield(self._knowing)

    async def _find_out(self) -> None:
        if isinstance(self._backend, HasSlots):
            self._gate.places(await self._backend.slots())
        await self._read_context()

    async def _read_context(self) -> None:
        """How much the model reads, where the user does not say."""
        if self._context is None and isinstance(self._backend, HasContext):
            self._context = await self._backend.context()

    async def _reserve(self, amount: Spent, batch: _Batch) -> None:
        """Waits until a call of this size fits into the budget, and holds the place for it."""
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

    def _note(self, problem: Trouble, key: str, start: int) -> float:
        """Tells the gate; returns for how many seconds it closes because the server asked."""
        if problem.wait:
            after = problem.after
            return self._gate.throttled(start, after and min(after, self._retries.deadline))
        if problem.throttled or problem.kind == "slow":
            self._gate.slow_down()
        if problem.kind not in ("retry", "slow"):
            self._gate.heard()
        elif not self._ledger.fails_alone(key):
            self._gate.failed(key, start)
        return 0.0

    def _hopeless(self, problem: Trouble, request: Request, key: str, late: bool) -> str | None:
        """Why the failure of this request says that all will fail; None when it does not."""
        said, gate, deadline = problem.message, self._gate, self._retries.deadline
        if problem.wait and (late or (problem.after or 0.0) > deadline):
            asked = f"it asks to wait {problem.after:.0f} s" if problem.after else "it asks to wait"
            return (
                f"{said} ({asked}, and there was no reply within --llm-deadline {deadline:g} s). "
                f"{_GO_ON} later, or waits longer with a higher --llm-deadline"
            )
        if problem.kind == "fatal" or (problem.kind in ("redirect", "slow") and not self._answered):
            return f"{said}. Nothing more was sent. {_GO_ON}"
        # Where a request about many items is rejected, one about fewer may not be.
        whole = problem.kind == "reject" and not problem.too_long and request.items == 1
        if problem.kind == "gone" or (whole and not self._answered):
            self._turned_away.add(key)
            if len(self._turned_away) >= _HOPELESS:
                return f"{said}. No request was accepted, so no more were sent. {_GO_ON}"
        if not problem.sent and gate.failures >= _UNREACHABLE:
            return f"{said} (tried {gate.failures} times). {_GO_ON} when the server can be reached"
        if problem.kind == "slow":
            self._too_slow.add(key)
            if len(self._too_slow) >= _HOPELESS:
                return f"{said}. So it went with {_HOPELESS} different requests in a row. {_GO_ON}"
        if len(gate.failing) >= _HOPELESS and gate.failures >= self._retries.attempts:
            return (
                f"{said}. So it went {gate.failures} times in a row, with {len(gate.failing)} "
                f"different requests. {_GO_ON} when the provider answers again"
            )
        return None

    def _jittered(self, tries: int) -> float:
        # Full jitter: clients that failed together do not come back together.
        ceiling = min(self._retries.longest_wait, self._retries.first_wait * 2.0 ** (tries - 1))
        return self._jitter.uniform(0.0, ceiling)

    def _answer(self, pending: Row, sent: Sent, request: Request) -> Row:
        """The row of a request that was answered.

        Tokens that nobody reported stay the most it may have taken.
        """
        status, _, error = outcome_of(request, sent)
        asked, answered = sent.input_tokens, sent.output_tokens
        counted = self._counted.pop(pending.key, 0)
        if asked is not None and asked + _OFF_BY < counted:
            status, error = "overflow", cut_in_silence(asked, counted)
        row = replace(
            pending,
            answered=True,
            status=status,
            text=sent.text,
            finish=sent.finish,
            refusal=sent.refusal,
            replied_model=sent.model,
            input_tokens=pending.input_tokens if asked is None else asked,
            output_tokens=pending.output_tokens if answered is None else answered,
            estimated=asked is None or answered is None,
            error=error,
            probabilities=None if sent.probabilities is None else json.dumps(sent.probabilities),
        )
        return self._priced(row, sent.cost_usd)

    def _priced(self, row: Row, reported: float | None) -> Row:
        """The row with what it costs: as reported, else by the list price, else unknown."""
        price = self._backend.price
        if reported is not None:
            return replace(row, cost_usd=float(reported), price="provider")
        if price is None:
            return row
        cost = price.cost(row.input_tokens, row.output_tokens)
        return replace(row, cost_usd=cost, price=price.since)


def _failure(pending: Row, problem: Trouble) -> Row:
    """The row of a request without a reply: free, unless the provider may have charged for it."""
    row = replace(pending, status="failed", error=problem.message, requests=int(problem.sent))
    if problem.kind == "reject":
        row = replace(row, finish=_TOO_LONG if problem.too_long else _REJECTED)
    if problem.charged:
        return row
    return replace(row, input_tokens=0, output_tokens=0, estimated=False, cost_usd=0.0, price=None)


def _unsent(cut: Cut | None, key: str) -> Reply:
    """The reply to a question that was not sent, or not taken."""
    reason = None if cut is None else cut.reason
    return Reply("failed", error=reason, key=key, rejected=True)


def _read(row: Row, request: Request, cached: bool) -> Reply:
    if row.status in ("failed", "overflow"):
        status, parsed, error = row.status, None, row.error
    else:
        status, parsed, error = outcome_of(request, row)
    text, told = row.text, None if row.probabilities is None else json.loads(row.probabilities)
    if status == "ok" and request.choices is not None:
        text = likeliest(told) if told else chosen(text, request.choices) or text
    elif status == "ok" and request.answer is None:
        text = final_text(text)
    return Reply(
        status=status,
        text=text,
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
        max_tokens=request.max_tokens,
        rejected=status == "failed" and row.finish in (_REJECTED, _TOO_LONG),
        too_long=status == "overflow" or (status == "failed" and row.finish == _TOO_LONG),
        probabilities=told,
    )
