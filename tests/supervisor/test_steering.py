"""The rule that finds the worker of a datagram, as the kernel applies it and as we do."""

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.supervisor.classic_bpf import Machine
from tricorn_supervisor.steering import (
    CONNECTION_ID_SIZE,
    MOST_LANES,
    MOST_SERVER_ID,
    Layout,
    attach,
    program,
    route,
)

LAYOUT = Layout.of(b"a secret of thirty-two octets...")
NAMED = Layout.of(b"a secret of thirty-two octets...", b"machine1")
"""With a server ID."""
LANES = 8
LIVE = (1, 4, 6, 7)
OWNED = (0, 1, 4, 5, 6, 7)  # 0 and 5 drain
FREE = (2, 3)
RANDOM = Random(5)


class Group:
    """A reuseport group on loopback, whose program tells where a datagram goes."""

    def __init__(self, host: str) -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host, self.port = host, 0
        self.sockets = [self.open() for _ in range(LANES)]
        self.sender = socket.socket(self.family, socket.SOCK_DGRAM)
        self.attach(LIVE, OWNED)

    def open(self) -> socket.socket:
        sock = socket.socket(self.family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind((self.host, self.port))
        self.port = sock.getsockname()[1]
        return sock

    def attach(self, live: Sequence[int], owned: Sequence[int]) -> None:
        attach(self.sockets[0], program(LAYOUT, live, owned))

    def lane(self, datagram: bytes) -> int:
        """Loopback delivers before sendto returns."""
        self.sender.sendto(datagram, (self.host, self.port))
        return self.arrived()

    def arrived(self) -> int:
        found = []
        for lane, sock in enumerate(self.sockets):
            with contextlib.suppress(BlockingIOError):
                sock.recv(2000)
                found.append(lane)
        (lane,) = found
        return lane

    def close(self) -> None:
        for sock in (*self.sockets, self.sender):
            sock.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def group(request) -> Iterator[Group]:
    opened = Group(request.param)
    yield opened
    opened.close()


def id_of(lane: int) -> bytes:
    return LAYOUT.connection_id(lane, RANDOM.randbytes(6))


def short_header(connection_id: bytes) -> bytes:
    return b"\x41" + connection_id + RANDOM.randbytes(30)


def long_header(connection_id: bytes, first: int = 0xC3) -> bytes:
    head = bytes((first, 0, 0, 0, 1, len(connection_id)))
    return head + connection_id + b"\x08" + RANDOM.randbytes(1200)


def foreign_id(size: int) -> bytes:
    """Of a client, which cannot be mistaken for ours."""
    return bytes((RANDOM.randrange(8, 256),)) + RANDOM.randbytes(size - 1)


# The layout


@given(
    st.integers(0, 255),
    st.binary(min_size=6, max_size=6),
    st.binary(min_size=32),
    st.binary(max_size=MOST_SERVER_ID),
)
def test_id_names_its_server_and_its_lane(lane, nonce, secret, server_id):
    layout = Layout.of(secret, server_id)
    connection_id = layout.connection_id(lane, nonce)
    size = len(connection_id)
    assert size == layout.size == CONNECTION_ID_SIZE + len(server_id) <= 20
    assert connection_id[:-1] == bytes((size - 1,)) + server_id + nonce
    assert layout.lane_of(connection_id) == lane


def test_multiplier_is_an_odd_word():
    multipliers = [Layout.of(bytes((number,)) * 32).multiplier for number in range(50)]
    assert all(multiplier % 2 and multiplier < 1 << 32 for multiplier in multipliers)
    assert len(set(multipliers)) == 50


def test_ids_of_one_lane_do_not_look_alike():
    assert len({id_of(3)[-1] for _ in range(2000)}) > 200


def test_kernel_finds_the_lane_behind_a_server_id(group):
    attach(group.sockets[0], program(NAMED, LIVE, OWNED))
    for lane in OWNED:
        ids = [NAMED.connection_id(lane, RANDOM.randbytes(6)) for _ in range(25)]
        assert {group.lane(header(id)) for id in ids for header in (short_header, long_header)} == {
            lane
        }
    assert {group.lane(long_header(foreign_id(8))) for _ in range(100)} == set(LIVE)


@pytest.mark.parametrize("size", [0, 4, 7, 9, 20])
def test_id_of_another_size_is_not_ours(size):
    assert LAYOUT.lane_of(b"\x07" * size) is None


def test_id_of_another_configuration_is_not_ours():
    assert LAYOUT.lane_of(b"\x27" + id_of(3)[1:]) is None


def test_nonce_has_six_octets():
    with pytest.raises(ValueError, match="6 octets"):
        LAYOUT.connection_id(0, b"12345")


# The program, packet by packet


@pytest.mark.parametrize("lane", OWNED)
def test_own_id_in_a_short_header_leads_to_its_lane(group, lane):
    assert {group.lane(short_header(id_of(lane))) for _ in range(100)} == {lane}


@pytest.mark.parametrize("lane", OWNED)
def test_own_id_in_a_long_header_leads_to_its_lane(group, lane):
    for first in (0xC0, 0xD0, 0xE0, 0xF0):
        assert {group.lane(long_header(id_of(lane), first)) for _ in range(25)} == {lane}


@pytest.mark.parametrize("lane", [*FREE, LANES, 255])
@pytest.mark.parametrize("header", [short_header, long_header])
def test_id_of_a_lane_that_nobody_owns_goes_to_any_live_one(group, header, lane):
    assert {group.lane(header(id_of(lane))) for _ in range(100)} == set(LIVE)


@pytest.mark.parametrize("first", [0x40, 0xC0])
@pytest.mark.parametrize("size", range(31))
def test_datagram_of_any_size_goes_to_a_live_lane(group, size, first):
    for filler in (b"\0", b"\x08", b"\xff"):
        datagram = (bytes((first,)) + filler * size)[:size]
        lane = group.lane(datagram)
        assert lane in LIVE
        assert lane == route(LAYOUT, LIVE, OWNED, datagram)


@pytest.mark.parametrize("size", range(21))
def test_long_header_with_an_id_of_any_size_goes_to_a_live_lane(group, size):
    assert group.lane(long_header(foreign_id(size) if size else b"")) in LIVE


def test_own_id_that_is_one_octet_too_long_is_not_ours(group):
    datagrams = [long_header(id_of(0) + b"\0") for _ in range(50)]
    assert {group.lane(datagram) for datagram in datagrams} <= set(LIVE)


@pytest.mark.parametrize("header", [short_header, long_header])
def test_new_connections_are_spread_evenly_over_the_live_lanes(group, header):
    count = Counter(group.lane(header(foreign_id(8))) for _ in range(2000))
    assert set(count) == set(LIVE)
    assert min(count.values()) > 400


def test_handshake_stays_with_its_worker_when_the_client_moves(group):
    with socket.socket(group.family, socket.SOCK_DGRAM) as moved:
        for _ in range(500):
            connection_id = foreign_id(RANDOM.randrange(8, 21))
            before = group.lane(long_header(connection_id))
            moved.sendto(long_header(connection_id), (group.host, group.port))
            assert group.arrived() == before


def test_repeated_lane_has_a_larger_share(group):
    group.attach((1, 4, 1, 1), OWNED)
    count = Counter(group.lane(long_header(foreign_id(8))) for _ in range(1000))
    assert 650 < count[1] < 850 and count[1] + count[4] == 1000


def test_one_lane_takes_everything(group):
    group.attach((5,), (5,))
    datagrams = [b"", b"\xc0" * 20, short_header(id_of(0)), long_header(foreign_id(8))]
    assert {group.lane(datagram) for datagram in datagrams} == {5}


@pytest.mark.slow
def test_attaching_anew_under_traffic_misroutes_nothing(group):
    """Every lane is owned in both tables, so that its datagrams have one way only."""
    tables = [(live, range(LANES)) for live in ((0, 1, 2, 3), (4, 5, 6, 7))]
    group.attach(*tables[0])
    ended = threading.Event()
    count = 0

    def change() -> None:
        nonlocal count
        while not ended.is_set() or count < 68:
            count += 1
            group.attach(*tables[count % 2])

    changing = threading.Thread(target=change)
    changing.start()
    lanes = [RANDOM.randrange(LANES) for _ in range(4000)]
    try:
        found = [group.lane(short_header(id_of(lane))) for lane in lanes]
    finally:
        ended.set()
        changing.join()
    assert found == lanes


def test_program_outlives_the_socket_that_it_was_attached_through(group):
    spare = socket.socket(fileno=os.dup(group.sockets[0].fileno()))
    attach(spare, program(LAYOUT, (6,), OWNED))
    spare.close()
    assert {group.lane(long_header(foreign_id(8))) for _ in range(50)} == {6}


# Its size, and what is no table


@pytest.mark.parametrize(
    ("live", "owned"),
    [
        (range(4), range(8)),
        (range(MOST_LANES), range(MOST_LANES)),
        (range(1, MOST_LANES, 2), range(1, MOST_LANES, 2)),
        ((255,), (255,)),
        ([255] * 128, (255,)),
    ],
)
def test_kernel_takes_the_largest_programs(group, live, owned):
    code = program(LAYOUT, live, owned)
    assert len(code) // 8 < 1000
    attach(group.sockets[0], code)


@pytest.mark.parametrize(
    ("live", "owned"), [((), (1,)), ((1, 2), (1,)), ((0,) * 257, (0,)), ((0,), (0, 256))]
)
def test_impossible_table_is_refused(live, owned):
    with pytest.raises(ValueError, match="no table of lanes"):
        program(LAYOUT, live, owned)


def test_attaching_where_it_cannot_be_is_an_error():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as alone,
        pytest.raises(OSError, match="Invalid argument"),
    ):
        attach(alone, program(LAYOUT, (0,), (0,)))


# Both forms of the rule


@st.composite
def tables(draw) -> tuple[list[int], list[int]]:
    owned = draw(st.lists(st.integers(0, 255), min_size=1, max_size=256, unique=True))
    return draw(st.lists(st.sampled_from(owned), min_size=1, max_size=256)), owned


@st.composite
def datagrams(draw) -> bytes:
    """Arbitrary ones, and some whose header is nearly, or wholly, one of ours."""
    tail = draw(st.binary(max_size=20))
    connection_id = draw(
        st.builds(
            draw(st.sampled_from([LAYOUT, NAMED])).connection_id,
            st.integers(0, 255),
            st.binary(min_size=6, max_size=6),
        )
        | st.binary(max_size=20)
    )
    size = draw(st.just(len(connection_id)) | st.integers(0, 255))
    long = draw(st.binary(min_size=4, max_size=4)).join([b"\xc0", bytes((size,))])
    return draw(st.sampled_from([b"", b"\x40", long])) + connection_id + tail


@given(tables(), datagrams(), st.integers(0, 2**31 - 1))
def test_program_and_route_agree(table, datagram, half):
    live, owned = table
    layout = draw_layout(half)
    found = Machine(program(layout, live, owned), datagram).run()
    assert found == route(layout, live, frozenset(owned), datagram)
    assert found in owned


def draw_layout(half: int) -> Layout:
    """Half of the time one of those that IDs are drawn of."""
    return (LAYOUT, NAMED)[half // 2 % 2] if half % 2 else Layout(2 * half + 1)
