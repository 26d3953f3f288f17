"""What every engine of HTTP/2 has in common, seen by a client that knows frames."""

from __future__ import annotations

import struct
from functools import partial

import pytest
from hyperframe.frame import RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests.support import apps, frames
from tests.support.apps import body, start
from tests.support.frames import GET, POST
from tests.support.h2peer import H2Peer
from tests.support.versions import ENGINES
from tricorn.config import Config
from tricorn.connection import Broken, Request

LARGE = 1_000_000


@pytest.fixture(params=ENGINES)
def connect(request):
    return partial(H2Peer, engine=request.param)


async def waits(gate, scope, receive, send):
    await gate.wait()
    await apps.hello(scope, receive, send)


def without(name):
    return [field for field in GET if field[0] != name]


# Beginning


def test_our_settings_come_first_and_theirs_are_acknowledged(connect):
    peer = connect(apps.never)
    first, *rest = peer.of(SettingsFrame)
    assert not first.flags and [set(each.flags) for each in rest] == [{"ACK"}]
    assert peer.settings[frames.MAX_CONCURRENT_STREAMS] == 100
    assert peer.settings[frames.NO_RFC7540_PRIORITIES] == 1
    assert frames.ENABLE_CONNECT_PROTOCOL not in peer.settings


def test_our_settings_do_not_wait_for_the_client(connect):
    peer = connect(apps.never, polite=False, secure=True)
    peer.settle()
    assert len(peer.of(SettingsFrame)) == 1


def test_the_first_frame_is_settings(connect):  # RFC9113§3.4
    peer = connect(apps.never, polite=False)
    peer.send(frames.PREFACE + frames.headers(1))
    assert peer.goaway == frames.PROTOCOL_ERROR and peer.closed


def test_what_is_no_preface_is_no_http_2(connect):
    peer = connect(apps.never, polite=False)
    peer.send(b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n")
    assert peer.closed  # RFC9113§3.4: GOAWAY may be left out


def test_a_first_request_may_come_with_the_preface(connect):
    peer = connect(apps.hello, polite=False)
    peer.send(frames.PREFACE + frames.settings() + frames.headers(1))
    assert peer.answer(1).body == b"hello"


def test_it_does_not_matter_how_the_octets_come(connect):
    data = frames.PREFACE + frames.settings() + frames.headers(1, POST, end=False)
    data += frames.data(1, b"abc", padding=5) + frames.headers(1, [(b"x-sum", b"1")])
    peer = connect(apps.echo, polite=False)
    peer.send(*[data[at : at + 1] for at in range(len(data))])
    assert peer.answer(1).body == b"abc"


def test_ping_is_answered(connect):
    peer = connect(apps.never)
    peer.send(frames.ping(b"12345678"))
    assert peer.frames[-1].opaque_data == b"12345678" and "ACK" in peer.frames[-1].flags


def test_frames_that_nobody_knows_are_ignored(connect):  # RFC9113§5.5
    peer = connect(apps.hello)
    peer.send(frames.frame(0x77, b"x", flags=0xFF) + frames.frame(0x77, b"x", stream=1))
    assert peer.fetch().status == 200


# One malformed request costs its stream


MALFORMED = {
    "no-method": without(b":method"),
    "no-scheme": without(b":scheme"),
    "no-path": without(b":path"),
    "twice": [*GET, (b":path", b"/")],
    "late": [(b"x-a", b"1"), *GET],
    "unknown": [*GET, (b":nonsense", b"1")],
    "response": [(b":status", b"100"), *GET],
    "upper-case": [*GET, (b"X-A", b"1")],
    "connection": [*GET, (b"connection", b"close")],
    "te": [*GET, (b"te", b"gzip")],
    "control": [*GET, (b"x-a", b"1\0")],
    "path": [*without(b":path"), (b":path", b"nowhere")],
    "empty-path": [*without(b":path"), (b":path", b"")],
    "two-hosts": [*GET, (b"host", b"y")],
    "length": [*GET, (b"content-length", b"three")],
    "lengths": [*GET, (b"content-length", b"3"), (b"content-length", b"4")],
    "no-content": [*GET, (b"content-length", b"3")],
    "protocol": [*GET, (b":protocol", b"websocket")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_head_costs_its_stream(connect, fields):
    peer = connect(apps.hello)
    peer.send(frames.headers(1) + frames.headers(3, fields) + frames.headers(5))
    assert peer.resets == {3: frames.PROTOCOL_ERROR}
    assert peer.answer(1).body == peer.answer(5).body == b"hello" and peer.goaway is None


@pytest.mark.parametrize(
    "rest",
    [
        frames.data(1, b"abcd", end=True),
        frames.data(1, b"abcdef"),
        frames.data(1, b"abcdef", end=True),
        frames.data(1, b"abcd") + frames.headers(1, [(b"x-sum", b"1")]),
        frames.headers(1, [(b"x-sum", b"1")]),
        frames.data(1, b"abcde") + frames.headers(1, [(b":path", b"/")]),
        frames.data(1, b"abcde") + frames.headers(1, [(b"X-Sum", b"1")]),
        frames.data(1, b"abcde") + frames.headers(1, [(b"x-sum", b"1")], end=False),
    ],
)
def test_a_malformed_rest_costs_its_stream(connect, rest):
    app = apps.Recorder()
    peer = connect(app)
    peer.send(frames.headers(1, [*POST, (b"content-length", b"5")], end=False))
    peer.send(rest)
    assert peer.resets == {1: frames.PROTOCOL_ERROR}
    assert app.call.disconnected and not app.call.ended and peer.goaway is None
    peer.next = 3
    assert peer.fetch().status == 200


def test_what_is_wrong_at_once_never_reaches_the_application(connect):
    peer = connect(apps.never)
    head = frames.headers(1, [*POST, (b"content-length", b"5")], end=False)
    peer.send(head + frames.data(1, b"abc", end=True))
    assert peer.resets == {1: frames.PROTOCOL_ERROR}


REFUSED = {
    "expect": ([*GET, (b"expect", b"magic")], 417),
    "no-authority": (without(b":authority"), 400),
    "target": ([*without(b":path"), (b":path", b"/" + b"x" * 9000)], 414),
    "count": ([*GET, *[(b"x-a", b"1")] * 101], 431),
    "size": ([*GET, (b"x-a", b"1" * 40_000)], 431),
    "connect": ([(b":method", b"CONNECT"), (b":authority", b"x:1")], 501),
}


@pytest.mark.parametrize("fields, status", REFUSED.values(), ids=REFUSED)
def test_what_http_can_say_is_said(connect, fields, status):
    peer = connect(apps.never)
    block = frames.block(fields)
    parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    head = frames.headers(1, parts[0], whole=len(parts) == 1)
    head += b"".join(frames.continuation(1, each, whole=each is parts[-1]) for each in parts[1:])
    peer.send(head)
    answer = peer.answer(1)
    assert answer.status == status and answer.complete
    # Our engine does not know the method of a head that it has not kept: HEAD may have no content.
    assert answer.body.startswith(b"%d " % status) or (status == 431 and not answer.body)
    assert sum(peer.context.stats.responses) == 1 and peer.goaway is None


def test_a_refused_head_request_gets_no_content(connect):
    peer = connect(apps.never)
    answer = peer.fetch(method="HEAD", headers=[(b"expect", b"magic")])
    assert answer.status == 417 and answer.body == b"" and answer.complete


def test_a_body_that_is_too_large_at_its_end_is_refused(connect):
    peer = connect(apps.echo, Config(max_request_body_size=5))
    id = peer.begin()
    peer.part(id, b"x" * 10, end=True)
    assert peer.answer(id).status == 413 and peer.fetch().status == 200


def test_a_host_that_is_not_ours_is_misdirected(connect):
    peer = connect(apps.hello, Config(server_name=("y",)))
    assert peer.fetch().status == 421


def test_crumbs_of_cookies_are_joined(connect):  # RFC9113§8.2.3
    app = apps.Recorder()
    connect(app).fetch(headers=[(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2")])
    assert (b"cookie", b"a=1; b=2") in app.call.scope["headers"]


# Faults of the whole connection


@pytest.mark.parametrize(
    "data, code",
    [
        (frames.frame(frames.DATA, b"", stream=1, length=16_385), frames.FRAME_SIZE_ERROR),
        (frames.headers(2), frames.PROTOCOL_ERROR),
        (frames.data(1, b"x"), frames.PROTOCOL_ERROR),
        (frames.continuation(1, b""), frames.PROTOCOL_ERROR),
        (frames.window_update(0, 2**31 - 1), frames.FLOW_CONTROL_ERROR),
        (frames.settings({frames.ENABLE_PUSH: 2}), frames.PROTOCOL_ERROR),
        (frames.headers(1, whole=False) + frames.ping(), frames.PROTOCOL_ERROR),
    ],
)
def test_a_fault_of_the_connection_ends_it(connect, data, code):
    peer = connect(apps.never)
    peer.send(data)
    assert peer.goaway == code and peer.closed


def test_a_fault_of_the_connection_is_told_to_every_open_stream(connect):
    app = apps.Recorder()
    peer = connect(app)
    ids = [peer.begin(), peer.begin()]
    peer.send(frames.data(ids[0], b"abc", end=True) + frames.data(ids[1], b"abc"))
    id = peer.begin()
    peer.send(frames.data(id, b"abc") + frames.headers(2))
    assert [call.disconnected for call in app.calls] == [False, True, True]
    assert peer.answer(ids[0]).complete and peer.goaways == [(id, frames.PROTOCOL_ERROR)]


def test_nothing_more_is_heard_after_a_fault(connect):
    peer = connect(apps.never)
    peer.send(frames.headers(2))
    seen = len(peer.frames)
    peer.send(frames.headers(1), frames.ping())
    assert len(peer.frames) == seen


def test_a_stream_window_that_overflows_costs_the_stream(connect):
    app = apps.Gate(waits)
    peer = connect(app)
    id = peer.ask()
    peer.grant(id, 2**31 - 1)
    assert peer.resets == {id: frames.FLOW_CONTROL_ERROR} and peer.goaway is None
    app.open()


# Limits


def test_a_stream_too_many_is_refused_and_may_be_tried_again(connect):
    gate = apps.Gate(waits)
    peer = connect(gate, Config(h2_max_concurrent_streams=2))
    for _ in range(3):
        peer.ask()
    assert peer.resets == {5: frames.REFUSED_STREAM} and peer.goaway is None
    for _ in range(2):
        gate.open()
    peer.settle()
    assert peer.answer(1).body == peer.answer(3).body == b"hello"
    id = peer.ask()
    gate.open()
    peer.settle()
    assert peer.answer(id).body == b"hello"


def test_who_resets_too_much_is_sent_away(connect):  # CVE-2023-44487
    app = apps.Recorder()
    peer = connect(app)
    peer.send(*[frames.headers(id) + frames.rst(id) for id in range(1, 401, 2)])
    assert peer.goaway == frames.ENHANCE_YOUR_CALM and peer.closed


def test_what_is_reset_at_once_never_reaches_the_application(connect):
    peer = connect(apps.never)
    peer.send(frames.headers(1) + frames.rst(1))
    assert peer.context.stats.aborted == 1


def test_who_resets_little_is_not(connect):
    peer = connect(apps.hello)
    for _ in range(300):
        id, other = peer.next, peer.next + 2
        peer.next += 4
        peer.send(frames.headers(id) + frames.rst(id) + frames.headers(other))
    assert peer.goaway is None


def test_a_head_that_never_ends_is_not_waited_for(connect):
    peer = connect(apps.never)
    peer.send(frames.headers(1, whole=False))
    for _ in range(6):
        peer.send(frames.continuation(1, b"", whole=False))
        peer.advance(2)
    assert peer.goaway is not None and peer.closed


def test_a_peer_cannot_choose_the_size_of_our_table(connect):
    peer = connect(apps.hello, settings={frames.HEADER_TABLE_SIZE: 2**31})
    peer.fetch()
    assert peer.decoder.header_table_size <= 4096


# Credit for what comes


def test_credit_is_given_for_what_the_application_has_taken(connect):
    gate = apps.Gate(steps=apps.late_echo)
    peer = connect(gate)
    id = peer.begin()
    peer.part(id, b"x" * LARGE, end=True)
    assert not peer.of(WindowUpdateFrame, id)
    gate.open()
    peer.settle()
    assert peer.of(WindowUpdateFrame, id)


def test_a_closed_stream_takes_no_credit_of_the_connection_with_it(connect):
    async def never_reads(gate, scope, receive, send):
        await gate.wait()

    gate = apps.Gate(never_reads)
    peer = connect(gate)
    for _ in range(40):  # each takes nearly all that one stream may
        id = peer.begin()
        peer.part(id, b"x" * 60_000)
        assert peer.held(id) == 0
        peer.abandon(id)
        gate.open()
        peer.settle()


def test_padding_and_what_nobody_reads_are_credited_at_once(connect):
    peer = connect(apps.answers(b"no"), Config(h2_initial_connection_window_size=65_536))
    for _ in range(20):
        id = peer.begin()
        peer.send(frames.data(id, b"x" * 16_000, padding=255))
    assert peer.credit > 0 and peer.goaway is None


def test_a_window_that_we_make_smaller_counts_once_it_is_acknowledged(connect):
    peer = connect(apps.echo, Config(h2_initial_stream_window_size=1024), polite=False, secure=True)
    head = frames.PREFACE + frames.settings() + frames.headers(1, POST, end=False)
    peer.send(head + b"".join(frames.data(1, b"x" * 16_000) for _ in range(4)))
    assert peer.goaway is None
    peer.send(frames.settings(ack=True), frames.data(1, end=True))
    assert len(peer.answer(1).body) == 64_000


# Credit for what leaves


def test_nothing_is_sent_beyond_a_window(connect):
    peer = connect(apps.answers(b"x" * LARGE), settings={frames.INITIAL_WINDOW_SIZE: 10})
    peer.generous = False
    id = peer.ask()
    assert len(peer.answer(id).body) == 10
    peer.grant(id, 5)
    assert len(peer.answer(id).body) == 15
    peer.grant(id, LARGE)
    assert len(peer.answer(id).body) == 65_535
    peer.grant(0, LARGE)
    assert peer.answer(id).complete


def test_a_window_of_nothing_lets_an_empty_answer_through(connect):
    peer = connect(apps.answers(b""), settings={frames.INITIAL_WINDOW_SIZE: 0})
    assert peer.fetch().complete


def test_settings_change_the_windows_of_open_streams(connect):  # RFC9113§6.9.2
    peer = connect(apps.answers(b"x" * 100), settings={frames.INITIAL_WINDOW_SIZE: 50})
    peer.generous = False
    id = peer.ask()
    peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 20}))
    peer.grant(id, 30)
    assert len(peer.answer(id).body) == 50, "the window was 30 below nothing"
    peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}))
    assert peer.answer(id).complete


def test_one_slow_download_does_not_delay_another(connect):
    peer = connect(apps.answers(b"x" * 50_000), settings={frames.INITIAL_WINDOW_SIZE: 0})
    peer.generous = False
    slow, fast = peer.ask(), peer.ask()
    peer.grant(fast, 50_000)
    assert peer.answer(fast).complete and peer.answer(slow).body == b""
    peer.grant(slow, 50_000)
    peer.grant(0, 50_000)
    assert peer.answer(slow).complete


def test_what_shares_a_window_shares_it(connect):
    peer = connect(apps.answers(b"x" * 100_000), settings={frames.INITIAL_WINDOW_SIZE: LARGE})
    peer.generous = False
    peer.send(frames.headers(1) + frames.headers(3))
    assert min(len(peer.answer(id).body) for id in (1, 3)) >= 30_000
    peer.grant(0, LARGE)
    assert peer.answer(1).complete and peer.answer(3).complete


def test_a_stream_that_is_given_no_window_is_given_up(connect):  # CVE-2026-49975
    peer = connect(apps.answers(b"x"), settings={frames.INITIAL_WINDOW_SIZE: 0})
    peer.generous = False
    id = peer.ask()
    peer.advance(65)
    assert peer.resets == {id: frames.CANCEL} and peer.goaway is None


def test_an_application_waits_for_the_window(connect):
    sent = []

    async def application(scope, receive, send):
        await send(start())
        for _ in range(100):
            await send(body(b"x" * 10_000, more=True))
            sent.append(10_000)
        await send(body())

    peer = connect(application, settings={frames.INITIAL_WINDOW_SIZE: 0})
    peer.generous = False
    id = peer.ask()
    assert 50_000 < sum(sent) < 100_000
    peer.grant(0, 2 * LARGE)
    peer.grant(id, LARGE)
    assert peer.answer(id).complete and len(peer.answer(id).body) == LARGE


@pytest.mark.slow
def test_who_reads_no_answers_is_not_made_more_of_them(connect):  # CVE-2019-9512
    peer = connect(apps.never)
    peer.stop_reading()
    for _ in range(10):
        peer.send(frames.ping() * 3000)
    assert peer.wire.most < 400_000
    peer.read()
    # Our engine counts, and closes; hyper-h2 answers, as fast as they are read.
    assert peer.closed or len(peer.frames) > 30_000


# Ends


def test_an_early_answer_ends_the_request_without_an_error(connect):  # RFC9113§8.1
    peer = connect(apps.hello)
    id = peer.begin()
    assert peer.answer(id).complete and peer.resets == {id: frames.NO_ERROR}
    peer.send(frames.data(id, b"x" * 1000))
    assert peer.goaway is None and peer.fetch().status == 200


def test_a_whole_request_is_not_reset(connect):
    peer = connect(apps.hello)
    peer.fetch(method="POST", body=b"abc")
    assert not peer.of(RstStreamFrame)


def test_goaway_of_the_client_loses_nothing_that_is_open(connect):  # python-hyper/h2#1181
    gate = apps.Gate(waits)
    peer = connect(gate)
    id = peer.ask()
    peer.send(frames.goaway())
    gate.open()
    peer.settle()
    assert peer.answer(id).body == b"hello" and peer.answer(id).complete


def test_draining_is_announced_before_the_last_stream_is_named(connect):  # RFC9113§6.8
    gate = apps.Gate(waits)
    peer = connect(gate)
    peer.polite = False  # its answer to PING would say that it knows
    first = peer.ask()
    peer.drain()
    assert peer.goaways == [(2**31 - 1, frames.NO_ERROR)]
    crossing = peer.ask()
    peer.advance(2)
    assert peer.goaways[1:] == [(crossing, frames.NO_ERROR)]
    late = peer.ask()
    for _ in range(2):
        gate.open()
    peer.settle()
    assert peer.answer(first).body == peer.answer(crossing).body == b"hello"
    assert late not in peer.streams or peer.resets == {late: frames.REFUSED_STREAM}
    assert peer.closed


def test_who_answers_the_ping_need_not_be_waited_for(connect):
    peer = connect(apps.hello)
    peer.fetch()
    peer.drain()
    assert [last for last, _ in peer.goaways] == [2**31 - 1, 1] and peer.closed


def test_a_connection_that_begins_in_a_drain_is_told(connect):
    first = connect(apps.hello)
    first.drain()
    late, idle = (connect(beside=first, polite=False) for _ in range(2))
    late.send(frames.PREFACE + frames.settings() + frames.headers(1))
    idle.send(frames.PREFACE + frames.settings())
    late.advance(2)
    assert late.answer(1).complete and late.closed and idle.closed
    assert [last for last, _ in late.goaways] == [2**31 - 1, 1]


def test_an_idle_connection_is_told_that_it_ends(connect):
    peer = connect(apps.hello)
    peer.fetch()
    peer.advance(80)
    assert peer.goaways == [(1, frames.NO_ERROR)]


def test_a_connection_ends_after_its_most_requests(connect):
    peer = connect(apps.hello, Config(keep_alive_max_requests=3))
    for _ in range(3):
        assert peer.fetch().complete
    assert peer.goaway == frames.NO_ERROR and peer.closed


def test_a_lost_connection_costs_every_stream_once(connect):
    gate = apps.Gate(waits)
    peer = connect(gate)
    for _ in range(3):
        peer.ask()
    peer.lose()
    assert peer.context.stats.aborted == 3
    for _ in range(3):
        gate.open()
    peer.settle()


# Upgrade from HTTP/1.1 (RFC7540§3.2)


def upgraded(connect, settings):
    """A connection that has taken over a request of HTTP/1.1."""
    peer = connect(apps.hello, polite=False)
    peer.decoder.max_allowed_table_size = 4096
    path = ("/up", b"/up", b"")
    request = Request("1.1", "GET", b"/up", b"x", *path, ((b"host", b"x"),))
    peer.methods[1] = "GET"
    connection = peer.wire.switch("h2")
    connection.adopt(request, settings)
    peer.settle()
    return peer


def test_an_upgraded_request_is_answered_on_stream_1(connect):
    peer = upgraded(connect, b"")
    assert peer.answer(1).body == b"hello"
    peer.send(frames.PREFACE + frames.settings() + frames.headers(3))
    assert peer.answer(3).body == b"hello" and peer.goaway is None


def test_settings_of_an_upgrade_hold(connect):
    peer = upgraded(connect, struct.pack(">HI", frames.INITIAL_WINDOW_SIZE, 2))
    assert peer.answer(1).body == b"he"


def test_settings_of_an_upgrade_that_are_none_are_broken(connect):
    with pytest.raises(Broken):
        upgraded(connect, b"12345")
