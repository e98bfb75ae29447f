from __future__ import annotations

import asyncio

import pytest
from virtual import FakeProvider, good

from saywell.errors import InputError
from saywell.language_models import Message, Request
from saywell.language_models.gate import Gate
from saywell.language_models.rates import Rate


async def most_at_once(gate: Gate, count: int) -> int:
    active = most = 0

    async def work() -> None:
        nonlocal active, most
        await gate.enter(asyncio.sleep)
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.001)
        active -= 1
        gate.leave()

    await asyncio.gather(*(work() for _ in range(count)))
    return most


def test_the_limit_holds_halves_and_comes_back():
    async def story() -> None:
        gate = Gate(8)
        assert await most_at_once(gate, 5) == 1  # nobody has answered yet
        gate.succeeded()
        assert await most_at_once(gate, 50) == 8
        gate.slow_down()
        gate.slow_down()  # the same burst
        assert await most_at_once(gate, 50) == 4
        for _ in range(3):
            gate._last_cut = float("-inf")
            gate.slow_down()
        assert await most_at_once(gate, 10) == 1
        for _ in range(200):
            gate.succeeded()
        assert await most_at_once(gate, 50) == 8

    asyncio.run(story())


def test_a_pause_holds_everyone_back():
    async def story() -> float:
        gate = Gate(4)
        gate.throttled(await gate.enter(asyncio.sleep), 0.2)
        gate.leave()
        began = asyncio.get_running_loop().time()
        await most_at_once(gate, 2)
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(story()) >= 0.2


def test_a_cancelled_waiter_passes_its_place_on():
    async def story() -> None:
        gate = Gate(1)
        await gate.enter(asyncio.sleep)
        first = asyncio.create_task(gate.enter(asyncio.sleep))
        second = asyncio.create_task(gate.enter(asyncio.sleep))
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert gate.active == 1

    asyncio.run(story())


class Places:
    """A server that works on so many requests at a time, each alone for `seconds`; the others queue."""

    def __init__(self, places: int, seconds: float = 2.0, facts=None) -> None:
        self.free = asyncio.Semaphore(places)
        self.seconds = seconds
        self.waiting = self.most = 0
        self.provider = FakeProvider(lambda *_: good(), latency=0.0)
        self.provider.facts = facts or {}
        self.answer = self.provider._answer

    async def serve(self, request):
        if not request.url.path.endswith("completions"):
            return await self.answer(request)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        async with self.free:
            await asyncio.sleep(self.seconds)
        self.waiting -= 1
        return await self.answer(request)

    def ask(self, count: int, **options) -> float:
        """Seconds that so many requests take."""
        self.provider._answer = self.serve
        with self.provider.client(**options) as model:
            assert {r.status for r in model.complete([ask(i) for i in range(count)])} == {"ok"}
        return self.provider.loop.now - 1000.0


def ask(number: int) -> Request:
    return Request("s", (Message("user", f"sentence {number}"),), max_tokens=50)


@pytest.mark.parametrize("slots", [1, 2, 16, 64])
def test_as_many_are_under_way_as_the_server_says_it_has_places(slots):
    server = Places(slots, facts={"/props": {"total_slots": slots}})
    seconds = server.ask(1 + 96)
    places = min(slots, 16)  # --concurrency
    assert server.most == places
    assert seconds == pytest.approx(2.0 * (1 + 96 / places), rel=0.01)


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5, 8, 16, 64])
def test_a_server_that_does_not_say_is_asked_more_at_a_time_only_while_that_is_faster(places):
    server = Places(places)
    seconds = server.ask(120, provider="ollama")
    helped = 1 << (places - 1).bit_length()
    assert server.most <= min(2 * helped, 16)
    # The best that can be, and what it takes to find out.
    assert seconds <= 2.0 * (120 / min(places, 16) + 10)


def test_vllm_and_services_take_as_many_as_come():
    for provider in ("vllm", "openrouter"):
        server = Places(99)
        server.ask(60, provider=provider, key="k")
        assert server.most == 16


def test_a_rate_spaces_requests_and_tokens():
    for rate, seconds in [
        ("30/min", 2.0),
        ("600 tokens/min", 2.5),
        ("30/min,600 tokens/min", 2.5),
        ("600/min", 0.1),
    ]:
        server = Places(99, seconds=0.5, facts={"/props": {"total_slots": 99}})
        # A reply takes 25 tokens, though it may take more.
        taken = server.ask(25, rate=Rate.parse(rate))
        assert taken == pytest.approx(24 * seconds, rel=0.2, abs=4.0)
    for wrong in ("60", "0/min", "-1/min", "5/min,6/min", "1e9999/min", "٣/min", "60/h", ""):
        with pytest.raises(InputError, match="write it like 60/min"):
            Rate.parse(wrong)
    assert Rate.parse("1_000/min, 40k tokens / minute") == Rate(1000, 40_000)
