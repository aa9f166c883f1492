"""The queue: what waits together, what is refused, what is forgotten."""

import asyncio
import threading

import pytest

from insight.serving.refusal import Refusal
from insight.serving.worker import Worker


def _held(worker):
    """Occupy the worker; returns the event that frees it, and the waiting request."""
    free, started = threading.Event(), threading.Event()

    def work(payloads):
        started.set()
        free.wait(10)
        return payloads

    return free, started, lambda: worker.run("held", work, None)


async def _until(event):
    await asyncio.to_thread(event.wait, 10)


def test_requests_of_one_image_are_answered_together():
    sizes = []
    worker = Worker(10, 10, lambda count, seconds: sizes.append(count))

    async def ask():
        free, started, held = _held(worker)
        first = asyncio.create_task(held())
        await _until(started)
        later = [asyncio.create_task(worker.run(key, lambda many: [n * 10 for n in many], n))
                 for n, key in enumerate("abaab")]  # fmt: skip
        await asyncio.sleep(0.05)
        free.set()
        await first
        return await asyncio.gather(*later)

    assert asyncio.run(ask()) == [0, 10, 20, 30, 40]
    worker.stop()
    assert sizes == [1, 3, 2]


def test_a_full_queue_is_refused_at_once():
    worker = Worker(2, 10)

    async def ask():
        free, started, held = _held(worker)
        first = asyncio.create_task(held())
        await _until(started)
        waiting = [asyncio.create_task(worker.run(n, lambda many: many, n)) for n in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Refusal) as refused:
            await worker.run(3, lambda many: many, 3)
        free.set()
        await first
        return refused.value, await asyncio.gather(*waiting)

    refusal, answers = asyncio.run(ask())
    assert (refusal.status_code, refusal.headers) == (503, {"Retry-After": "1"})
    assert answers == [0, 1]
    worker.stop()


def test_what_nobody_waits_for_is_not_computed():
    worker, done = Worker(5, 10), []

    async def ask():
        free, started, held = _held(worker)
        first = asyncio.create_task(held())
        await _until(started)
        gone = asyncio.create_task(worker.run("gone", lambda many: done.append("gone") or many, None))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0.05)
        assert worker.waiting == 0
        free.set()
        await first

    asyncio.run(ask())
    worker.stop()
    assert done == []


def test_a_slow_answer_is_given_up():
    worker = Worker(5, 0.1)

    async def ask():
        free, _, held = _held(worker)
        with pytest.raises(Refusal) as refused:
            await held()
        free.set()
        return refused.value

    assert asyncio.run(ask()).status_code == 503
    worker.stop()


def test_an_error_is_of_its_request_alone():
    worker = Worker(5, 10)

    async def ask():
        def work(many):
            return [ValueError("odd") if n % 2 else n for n in many]

        return await asyncio.gather(*(worker.run("a", work, n) for n in range(4)), return_exceptions=True)

    answers = asyncio.run(ask())
    assert [answer if isinstance(answer, int) else str(answer) for answer in answers] == [0, "odd", 2, "odd"]
    worker.stop()


def test_what_waits_is_finished_before_the_end():
    worker = Worker(5, 10)

    async def ask():
        free, started, held = _held(worker)
        tasks = [asyncio.create_task(held())]
        await _until(started)
        tasks.append(asyncio.create_task(worker.run("b", lambda many: many, 7)))
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
        await asyncio.sleep(0.05)
        with pytest.raises(Refusal, match="stopping"):
            await worker.run("c", lambda many: many, 8)
        free.set()
        await stopping
        return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == [None, 7]
