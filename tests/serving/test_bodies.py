"""Bodies of requests, message by message."""

import asyncio

import pytest

from insight.serving.bodies import BodyLimits
from insight.serving.settings import Limits

SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"6")]}


def _exchange(app, messages, limits, scope=SCOPE):
    """What an application sends when it receives these messages, and then nothing more."""
    sent = []

    async def run():
        waiting = iter(messages)

        async def receive():
            for message in waiting:
                return message
            await asyncio.sleep(60)

        async def send(message):
            sent.append(message)

        await asyncio.wait_for(BodyLimits(app, limits)(scope, receive, send), 10)

    asyncio.run(run())
    return sent


def _part(body, more):
    return {"type": "http.request", "body": body, "more_body": more}


def test_what_a_client_left_is_cancelled():
    ends = []

    async def app(scope, receive, send):
        assert (await receive())["body"] == b"abcdef"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    sent = _exchange(app, [_part(b"abcdef", False), {"type": "http.disconnect"}], Limits())
    assert (ends, sent) == (["cancelled"], [])


def test_an_answer_that_has_begun_is_not_cut_off():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"all"})

    sent = _exchange(app, [_part(b"abcdef", False), {"type": "http.disconnect"}], Limits())
    assert sent[-1]["body"] == b"all"


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"upload_bytes": 5}, 413), ({"body_seconds": 0.05}, 408), ({"waiting_bytes": 4}, 503)],
)
def test_bodies_beyond_a_limit(limits, status):
    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        raise AssertionError("must not be reached")

    for length in ([], [(b"content-length", b"6")]):
        scope = {**SCOPE, "headers": length or [(b"transfer-encoding", b"chunked")]}
        sent = _exchange(app, [_part(b"abc", True), _part(b"def", True)], Limits(**limits), scope)
        assert sent[0]["status"] == status
        headers = dict(sent[0]["headers"])
        assert headers[b"connection"] == b"close"
        assert (b"retry-after" in headers) == (status == 503)


def test_bytes_are_given_back():
    held = []

    async def app(scope, receive, send):
        await receive()
        held.append(limited.bytes)
        raise ValueError("a bug")

    limited = BodyLimits(app, Limits())

    async def run():
        async def receive():
            return _part(b"abcdef", False) if not held else await asyncio.sleep(60)

        with pytest.raises(ValueError, match="a bug"):
            await limited(SCOPE, receive, None)

    asyncio.run(run())
    assert (held, limited.bytes) == ([6], 0)
