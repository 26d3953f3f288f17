"""Whatever frames a client makes up, an engine of HTTP/2 stays within its contract.

The client of the tests looks at what it is sent; and when it goes, no task may be left.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import apps, frames
from tests.support.frames import GET, POST
from tests.support.h2peer import H2Peer
from tests.support.versions import ENGINES
from tricorn.config import Config

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

streams = st.integers(0, 9)
octets = st.binary(max_size=40)
sections = st.sampled_from(
    [
        list(GET),
        list(POST),
        [*POST, (b"content-length", b"5")],
        [*GET, (b"X-A", b"1")],
        [*GET, (b"expect", b"magic")],
        [*POST, (b"expect", b"100-continue")],
        [(b"x-sum", b"1")],
        [(b":status", b"100")],
    ]
)
dependencies = st.none() | st.tuples(streams, st.integers(1, 256), st.booleans())
numbers = st.integers(0, 2**31 - 1)

FRAME = st.one_of(
    st.builds(
        frames.headers,
        streams,
        sections,
        end=st.booleans(),
        whole=st.sampled_from([True, True, True, False]),
        padding=st.none() | st.integers(0, 255),
        priority=dependencies,
    ),
    st.builds(frames.headers, streams, octets),
    st.builds(frames.continuation, streams, octets, whole=st.booleans()),
    st.builds(
        frames.data,
        streams,
        octets,
        end=st.booleans(),
        padding=st.none() | st.integers(0, 255),
    ),
    st.builds(frames.rst, streams, numbers),
    st.builds(frames.settings, st.dictionaries(st.integers(0, 10), numbers, max_size=3)),
    st.just(frames.settings(ack=True)),
    st.builds(frames.ping, st.binary(min_size=8, max_size=8), ack=st.booleans()),
    st.builds(frames.goaway, numbers, numbers, octets, stream=st.integers(0, 1)),
    st.builds(frames.window_update, streams, numbers),
    st.builds(frames.priority, streams, streams, st.integers(1, 256), st.booleans()),
    st.builds(frames.priority_update, streams, octets),
    st.builds(frames.frame, st.integers(0, 20), octets, flags=st.integers(0, 255), stream=streams),
)
STEP = st.one_of(
    st.lists(FRAME, min_size=1, max_size=4).map(b"".join),
    st.just("advance"),
    st.just("stop"),
    st.just("read"),
    st.just("drain"),
)


async def parts(scope, receive, send):
    """Reads if there is something to read, and answers in parts."""
    if await apps.read(receive) is None:
        return
    await send(apps.start(trailers=True))
    await send(apps.body(b"x" * 100, more=True))
    await send(apps.body(b"y" * 70_000))
    await send(apps.trailers((b"x-sum", b"1")))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "application", [apps.echo, apps.hello, parts], ids=["echo", "hello", "parts"]
)
@given(steps=st.lists(STEP, max_size=12))
@FEW
def test_no_frames_break_an_engine(engine, application, steps):
    config = Config(h2_max_concurrent_streams=3, max_request_body_size=60)
    with H2Peer(application, config, engine=engine) as peer:
        for step in steps:
            if step == "advance":
                peer.advance(40)
            elif step == "stop":
                peer.stop_reading()
            elif step == "read":
                peer.read()
            elif step == "drain":
                peer.drain()
            elif not peer.wire.ended:
                peer.send(step)
        peer.read()
