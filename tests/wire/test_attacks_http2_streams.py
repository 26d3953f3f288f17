"""Attacks on HTTP/2 by single streams and slow ones; H2-nn are the rows of the attack catalogue.

The floods are in test_attacks_http2; "gap nn" is a place where a library has been found wanting.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame

from tests.support import apps, frames
from tests.support.apps import Recorder, body, start
from tests.support.frames import GET, POST
from tests.support.h2peer import H2Peer
from tests.support.peers import errors
from tests.support.tunnel import Tunnel
from tests.wire.floods import BOMB, HEAD, literal, split
from tests.wire.states import NOTHING, STATES, connected, connection, cost, other, stream, waits
from tricorn.config import Config

PROTOCOL = connection(frames.PROTOCOL_ERROR)
MALFORMED = stream(frames.PROTOCOL_ERROR)
BARE = b"\x82\x86\x84" + literal(b":authority", b"x", 0x00)
"""A request that puts nothing into the table."""
NO_WINDOW = {frames.INITIAL_WINDOW_SIZE: 0}


def test_h2_08_a_tiny_window_is_given_up_if_nothing_more_comes():
    peer = connected(apps.answers(b"x" * 1000), settings={frames.INITIAL_WINDOW_SIZE: 1})
    peer.generous = False
    peer.send(frames.headers(1))
    assert len(peer.answer(1).body) == 1
    peer.advance(65)
    assert peer.resets == {1: frames.CANCEL}


def test_h2_08_what_drips_in_is_sent_together():
    peer = connected(apps.answers(b"x" * 1000), settings=NO_WINDOW)
    peer.generous = False
    peer.send(frames.headers(1))
    peer.send(frames.window_update(1, 1) * 500)
    assert [each.body_len for each in peer.of(DataFrame)] == [500]


@pytest.mark.parametrize("end", [True, False])
def test_h2_09_a_field_without_a_name_costs_its_stream(end):
    fields = [*GET, (b"", b"")]
    assert cost(connected(), frames.headers(1, fields, end=end)) == MALFORMED


def test_h2_10_a_reader_that_stops_holds_little():
    sent = []

    async def application(scope, receive, send):
        await send(start())
        for _ in range(100):
            await send(body(b"x" * 65_536, more=True))
            sent.append(65_536)
        await send(body())

    window = {frames.INITIAL_WINDOW_SIZE: 2**31 - 1}
    peer = connected(application, Config(write_timeout=20.0), settings=window)
    peer.grant(0, 2**30)
    peer.stop_reading()
    peer.send(frames.headers(1), frames.headers(3))
    assert sum(sent) < 1_000_000 and peer.wire.most < 400_000
    peer.advance(45)
    assert peer.reset
    errors.records.clear()


@pytest.mark.parametrize("references, refused", [(7, False), (9, True), (95, True)])
def test_h2_12_references_count_with_all_that_they_mean(references, refused):
    app = Recorder()
    peer = connected(app)
    peer.send(split(BARE + BOMB + b"\xbe" * (references - 1)))
    assert peer.answer(1).status == (431 if refused else 200) and peer.goaway is None
    assert len(app.calls) == (not refused)
    peer.send(split(BARE + b"\xbe", 3))  # the table is right all the same
    assert peer.answer(3).status == 200


@pytest.mark.parametrize("count, status", [(100, 200), (101, 431), (1900, 431)])
@pytest.mark.parametrize("name", [b"x-a", b"cookie"])
def test_h2_13_fields_are_counted_and_crumbs_of_cookies_too(name, count, status):
    peer = connected(apps.hello)
    peer.send(split(HEAD + literal(name, b"a") + b"\xbe" * (count - 1)))
    assert peer.answer(1).status == status and peer.goaway is None


@pytest.mark.slow
def test_h2_13_a_hundred_bombs_without_a_window_hold_little():
    """CVE-2026-49975: heads and answers are kept as long as the client lets nobody go on."""
    peer = connected(apps.answers(b"hello"), polite=False)
    peer.send(frames.PREFACE + frames.settings(NO_WINDOW) + frames.settings(ack=True))
    data = split(BARE + literal(b"x-b", b"b" * 200) + b"\xbe" * 94)
    data += b"".join(split(BARE + b"\xbe" * 95, id) for id in range(3, 201, 2))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    peer.send(data)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held < 2 * 2**20, held
    for _ in range(70):
        peer.advance(1)
    assert peer.goaway == frames.ENHANCE_YOUR_CALM and peer.closed


@pytest.mark.slow
def test_h2_13_large_heads_share_a_bound():
    gate = apps.Gate(waits)
    peer = connected(gate)
    encoder = Encoder()
    fields = [*GET, *[(b"x-%d" % each, b"y" * 3000) for each in range(8)]]
    for id in range(1, 41, 2):
        block = frames.block(fields, encoder)
        peer.send(split(block, id))
    refused = [id for id, code in peer.resets.items() if code == frames.REFUSED_STREAM]
    assert len(refused) >= 8 and peer.goaway is None
    for _ in range(20):
        gate.open()
    peer.settle()
    peer.send(split(frames.block(fields, encoder), 41))
    assert 41 not in peer.resets
    gate.open()


@pytest.mark.parametrize("size", [64_000, 66_000])
def test_h2_15_a_block_is_bounded_before_it_is_decoded(size):
    peer = connected(apps.hello)
    peer.send(split(HEAD + literal(b"x-a", b"1" * size, 0x00)))
    if size < 65_536:
        assert peer.answer(1).status == 431 and peer.goaway is None
    else:
        assert peer.goaway == frames.ENHANCE_YOUR_CALM


def test_h2_17_and_18_windows_that_cannot_be():
    assert cost(connected(), frames.window_update(0, 2**31 - 1))[1] == frames.FLOW_CONTROL_ERROR
    peer = connected()
    STATES["open"](peer)
    assert cost(peer, frames.window_update(1, 0)) == MALFORMED


def test_h2_19_one_that_stalls_is_given_up_and_the_others_go_on():
    peer = connected(apps.answers(b"x" * 100), settings=NO_WINDOW)
    peer.generous = False
    peer.send(frames.headers(1))
    peer.advance(30)
    peer.send(frames.headers(3))
    peer.advance(35)
    assert peer.resets == {1: frames.CANCEL}
    peer.grant(3, 100)
    assert peer.answer(3).complete and peer.goaway is None


def test_h2_19_three_that_stall_end_the_connection():
    peer = connected(apps.answers(b"x" * 100), settings=NO_WINDOW)
    peer.generous = False
    peer.send(*[frames.headers(id) for id in (1, 3, 5, 7)])
    peer.advance(65)
    assert peer.goaway == frames.ENHANCE_YOUR_CALM and peer.closed


JUNK = {
    b":method": [b"GET / HTTP/1.1", b"", b"G\xc9T", b"G\0T", b"GET\r\n"],
    b":scheme": [b"junk:", b"", b"https\0", b"http://"],
    b":path": [b"/ HTTP/1.1", b"evil", b"*", b"/\xe9", b"", b"//\r\n", b"/a\tb", b"http://x/"],
    b":authority": [b"u@a b/c", b"a b", b"a/b", b"a\r\nb", b"u:p@x", b"x:99999999", b"\xe9"],
}


@pytest.mark.parametrize("name, value", [(name, each) for name in JUNK for each in JUNK[name]])
def test_h2_20_and_21_junk_costs_its_stream(name, value):
    fields = [(name, value) if each[0] == name else each for each in GET]
    assert cost(connected(), frames.headers(1, fields)) == MALFORMED


@pytest.mark.parametrize("host", [b"y", b"x:80", b"X.", b"x, x", b""])
def test_h2_22_two_names_of_one_host_cost_their_stream(host):
    assert cost(connected(), frames.headers(1, [*GET, (b"host", host)])) == MALFORMED


def test_h2_23_settings_of_an_upgrade_do_not_pass():
    app = Recorder()
    connected(app).send(frames.headers(1, [*GET, (b"http2-settings", b"AAA")]))
    assert not [each for each in app.call.scope["headers"] if each[0] == b"http2-settings"]


def test_h2_24_ninety_nine_neighbours_of_a_bad_stream_are_served():  # gap 11
    gate = apps.Gate(waits)
    peer = connected(gate)
    for id in range(1, 199, 2):
        peer.send(frames.headers(id))
    peer.send(frames.headers(199, [*GET, (b"connection", b"close")]), frames.headers(201, POST))
    peer.send(frames.headers(203))
    assert peer.resets == {199: frames.PROTOCOL_ERROR, 203: frames.REFUSED_STREAM}
    for _ in range(100):
        gate.open()
    peer.settle()
    assert peer.statuses.count(200) == 100 and peer.goaway is None


@pytest.mark.parametrize("length", [1, 10])
@pytest.mark.parametrize("parts", [[b""], [b"12345"], [b"12345678901"], [b"123456", b"789012"]])
@pytest.mark.parametrize("trailers", [True, False])
def test_h2_25_a_length_does_not_lie(length, parts, trailers):  # gap 9
    app = Recorder()
    peer = connected(app)
    peer.send(frames.headers(1, [*POST, (b"content-length", b"%d" % length)], end=False))
    content = b"".join(frames.data(1, part) for part in parts)
    peer.send(
        content + (frames.headers(1, [(b"x", b"y")]) if trailers else frames.data(1, end=True))
    )
    assert peer.resets == {1: frames.PROTOCOL_ERROR} and peer.goaway is None
    assert not any(call.ended for call in app.calls)


@pytest.mark.parametrize("id", [0, 1, 2, 3])
def test_h2_26_no_stream_is_opened_twice(id):
    peer = connected(apps.hello)
    peer.send(frames.headers(5), frames.headers(id))
    assert peer.goaway in (frames.PROTOCOL_ERROR, frames.STREAM_CLOSED) and peer.closed


@pytest.mark.parametrize(
    "data",
    [
        frames.data(1),
        frames.rst(1),
        frames.window_update(1, 1),
        frames.continuation(1),
        frames.frame(frames.PUSH_PROMISE, b"\0\0\0\2", flags=4, stream=1),
    ],
)
def test_h2_27_frames_of_nothing_end_the_connection(data):
    assert cost(connected(), data) == PROTOCOL


def test_h2_28_an_honest_client_may_race_our_settings():
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_max_concurrent_streams=10), polite=False)
    early = b"".join(frames.headers(id) for id in range(1, 401, 2))
    peer.send(frames.PREFACE + frames.settings() + early)
    assert set(peer.resets.values()) == {frames.REFUSED_STREAM} and len(peer.resets) == 190
    assert peer.goaway is None
    for _ in range(10):
        gate.open()
    peer.settle()
    assert peer.statuses.count(200) == 10


def test_h2_29_a_tunnel_that_was_not_offered_costs_its_stream():
    fields = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"echo")]
    data = frames.headers(1, fields, end=False)
    assert cost(connected(), data) == MALFORMED
    assert cost(connected(streams={"echo": Tunnel.accepting}), data) == NOTHING


def test_h2_32_goaway_loses_nothing():  # gap 8
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(frames.headers(1), frames.goaway(0), frames.headers(3))
    for _ in range(2):
        gate.open()
    peer.settle()
    assert peer.answer(1).body == b"hello" and peer.goaway == frames.NO_ERROR


@pytest.mark.parametrize("kind", [0x0A, 0x0B, 0x0C, 0x10])
def test_h2_33_frames_of_extensions_cost_nothing(kind):
    data = frames.frame(kind, b"\0\0\0\3u=1")
    assert cost(connected(), data) == NOTHING


def test_h2_34_padding_is_credited_at_once():
    gate = apps.Gate(waits)
    peer = connected(gate)
    peer.send(frames.headers(1, POST, end=False))
    for _ in range(2000):
        peer.send(frames.data(1, b"x", padding=255))
        assert peer.credits[1] > 0 or peer.goaway is not None
    assert not peer.resets
    gate.open()


@pytest.mark.parametrize("size", [4097, 2**31, 2**32 - 1])
def test_h2_35_our_table_is_ours(size):  # gap 18
    number = iter(range(10_000))

    async def application(scope, receive, send):
        fields = [(b"x-%d" % next(number), b"y" * 50) for _ in range(3)]
        await send(start(200, *fields, *fields))
        await send(body())

    peer = connected(application, settings={frames.HEADER_TABLE_SIZE: size})
    for _ in range(200):
        assert peer.fetch().complete
    encoder = peer.connection.encoder
    assert peer.decoder.header_table_size <= 4096 and encoder.octets <= 4096
    assert len(encoder.indices) == len(encoder.order) <= 128


@pytest.mark.parametrize("name", [b"set-cookie", b"authorization", b"date"])
def test_h2_35_secrets_are_never_put_into_a_table(name):
    peer = connected(apps.answers(b"", 200, (name, b"secret")))
    for _ in range(4):
        peer.fetch()
    table = [entry for entry in peer.decoder.header_table.dynamic_entries if entry[0] == name]
    assert not table


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\0", b"\r"])
@pytest.mark.parametrize("where", ["head", "trailers", "hint"])
def test_gap_10_no_line_break_of_an_application_is_sent(value, where):
    head = [(b"x-a", value)] if where == "head" else []
    messages = [start(200, *head, trailers=True), body(b"x")]
    if where == "trailers":
        messages.append(apps.trailers((b"x-a", value)))
    elif where == "hint":
        messages.insert(0, {"type": "http.response.early_hint", "links": [value]})
    peer = connected(apps.sends(*messages))
    peer.send(frames.headers(1, [*GET, (b"te", b"trailers")]))
    assert b"".join(each for each in (b"\r\n", b"a\nb", b"a\0") if each in peer.sent) == b""
    peer.send(other(3))
    assert peer.goaway is None
    errors.records.clear()


def test_gap_5_settings_leave_nothing_behind():
    peer = connected(apps.never)
    for _ in range(9):
        peer.send(frames.settings((0x1000 + each, 7) for each in range(32)))
    connection = peer.connection
    names = {name for kind in type(connection).__mro__ for name in getattr(kind, "__slots__", ())}
    sizes = [getattr(connection, name, None) for name in names - {"__weakref__"}]
    assert max(len(each) for each in sizes if isinstance(each, (dict, set, list))) < 64 + 62


def test_a_neighbour_of_a_slow_reader_is_served():
    peer = connected(apps.answers(b"x" * 500_000))
    peer.stop_reading()
    peer.send(*[frames.headers(id) for id in range(1, 199, 2)])
    beside = H2Peer(beside=peer)
    assert len(beside.fetch().body) == 500_000


@pytest.mark.parametrize("acknowledged", [False, True])
def test_h2_28_what_many_refused_streams_still_send_is_ignored(acknowledged):
    gate = apps.Gate(waits)
    peer = connected(gate, Config(h2_max_concurrent_streams=1, h2_max_resets=1000), polite=False)
    peer.send(frames.PREFACE + frames.settings() + frames.settings(ack=True) * acknowledged)
    ids = range(1, 801, 2)
    peer.send(b"".join(frames.headers(id, POST, end=False) for id in ids))
    peer.send(b"".join(frames.data(id, b"x", end=True) for id in ids))
    assert peer.goaway is None and len(peer.resets) == 399
    gate.open()
    peer.settle()
    assert peer.answer(1).complete


def test_a_stream_that_ended_by_itself_is_still_known_from_one_that_we_reset():
    peer = connected(config=Config(h2_max_concurrent_streams=1, h2_max_resets=1000))
    peer.send(frames.headers(1, POST, end=False))
    peer.send(b"".join(frames.headers(id) for id in range(3, 203, 2)), frames.rst(1))
    peer.send(other(203))
    assert peer.answer(203).complete and peer.goaway is None
    peer.send(frames.data(203))
    assert peer.goaway == frames.STREAM_CLOSED
