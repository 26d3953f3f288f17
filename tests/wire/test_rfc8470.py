"""RFC 8470: requests in the first flight of a resumed connection, which somebody may repeat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import apps
from tests.support.h3peer import H3Peer, frame
from tricorn.config import Config

SAFE = Config(quic_early_data="safe")


def ticket(config=SAFE):
    peer = H3Peer(apps.hello, config)
    peer.fetch()
    return peer.tickets[0]


def come_early(application, *requests, config=SAFE, session=None, polite=False):
    """A client that asks before it has heard anything; who is not polite says nothing more."""
    return H3Peer(
        application,
        config,
        client={"session_ticket": session or ticket()},
        early=requests,
        polite=polite,
    )


def early(method="GET", content=b"", *, end=True):
    return lambda peer: (
        peer.request("/early", method) + (frame(0, content) if content else b""),
        end,
    )


# §3 Using Early Data in HTTP Servers


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_is_safe_is_answered_before_the_handshake_is_done(method):
    app = apps.Recorder()
    peer = come_early(app, early(method))
    assert app.targets == ["/early"] and peer.endpoint.half_open
    assert peer.streams[0].status == 200 and peer.streams[0].complete


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY", "get"])
def test_what_is_not_safe_waits_until_the_handshake_is_done(method):
    app = apps.Recorder()
    peer = come_early(app, early(method, b"content"))
    assert not app.calls and peer.endpoint.half_open
    peer.mute = False
    peer.settle()
    assert app.call.body == b"content" and peer.streams[0].status == 200


@pytest.mark.parametrize("request_", [early(content=b"content"), early(end=False)])
def test_a_safe_method_with_content_waits_as_well(request_):
    app = apps.Recorder()
    peer = come_early(app, request_)
    assert not app.calls
    peer.mute = False
    peer.settle()
    peer.write(0, b"", end=True)
    assert peer.streams[0].status == 200 and len(app.calls) == 1


def test_what_waits_does_not_hold_up_what_is_safe():
    app = apps.Recorder()
    peer = come_early(app, early("POST", b"content"), early())
    assert [call.scope["method"] for call in app.calls] == ["GET"]
    peer.mute = False
    peer.settle()
    assert [call.scope["method"] for call in app.calls] == ["GET", "POST"]
    assert peer.statuses == [200, 200]


def test_a_handshake_that_never_ends_leaves_nothing_waiting():
    app = apps.Recorder()
    peer = come_early(app, early("POST", b"content"))
    for _ in range(20):
        peer.advance(1)
    assert not app.calls and not peer.endpoint.half_open and not peer.context.connections


# §4 Using Early Data in HTTP Clients; RFC9001§9.2


def test_no_early_data_is_taken_unless_that_is_asked_for():
    app = apps.Recorder()
    eager = replace(ticket(Config()), max_early_data_size=0xFFFFFFFF)
    peer = come_early(app, early(), config=Config(), session=eager)
    assert not app.calls
    peer.mute = False
    peer.settle()
    assert app.targets == ["/early"] and not peer.quic.tls.early_data_accepted
    assert peer.streams[0].status == 200


def test_tickets_do_not_invite_to_it_unless_that_is_asked_for():
    assert ticket(Config()).max_early_data_size is None
    assert ticket().max_early_data_size == 0xFFFFFFFF


def test_a_ticket_that_is_not_ours_has_what_came_early_sent_again():
    app = apps.Recorder()
    strange = replace(ticket(), ticket=bytes(100))
    peer = come_early(app, early("POST", b"content"), session=strange, polite=True)
    assert app.call.body == b"content" and not peer.quic.tls.session_resumed
