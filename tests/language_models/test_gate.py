from __future__ import annotations

import asyncio

from saywell.language_models.gate import Gate


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
