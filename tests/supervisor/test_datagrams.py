"""Datagrams are received in the same way, with a dispatcher and without."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tricorn_supervisor.datagrams import ADDRESS, DatagramSocket, pack_address, unpack_address
from tricorn_supervisor.dispatcher import Relay
from tricorn_supervisor.groups import bind_alone
from tricorn_supervisor.listeners import Bind
from tricorn_supervisor.steering import Layout

BIND = Bind("127.0.0.1:0", True, ("HTTP/3",))
CLIENTS = [
    ("192.0.2.7", 4433),
    ("2001:db8::7", 65535, 0, 0),
    ("fe80::1", 1, 7, 3),
    ("::ffff:192.0.2.7", 4433, 0, 0),
    ("192.0.2.7", 4433, bytes(range(12))),
    ("2001:db8::7", 65535, 0, 0, bytes(range(20))),
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def bound(stack: ExitStack, host: str = "127.0.0.1", *, dual: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return stack.enter_context(bind_alone((family, (host, 0)), dual))


@pytest.mark.parametrize("address", CLIENTS)
def test_address_travels_unchanged(address):
    packed = pack_address(address)
    assert len(packed) == ADDRESS.size
    assert unpack_address(packed + b"datagram") == address


def test_scope_is_told_once():
    assert unpack_address(pack_address(("fe80::1%eth0", 1, 0, 3))) == ("fe80::1", 1, 0, 3)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_own_socket_receives_and_answers(stack, host):
    sock, client = bound(stack, host), bound(stack, host)
    mine = DatagramSocket(BIND, sock)
    client.sendto(b"hello", sock.getsockname())
    data, address = mine.receive_from(1500)
    assert (data, address) == (b"hello", client.getsockname())
    mine.send([b"world"], address)
    assert client.recv(1500) == b"world"


def test_inbox_receives_and_the_shared_socket_answers(stack):
    sock, client = bound(stack), bound(stack)
    outbox, inbox = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    inbox.setblocking(False)
    mine = DatagramSocket(BIND, sock, inbox)
    assert mine.fileno() == inbox.fileno()
    outbox.send(pack_address(client.getsockname()) + b"hello")
    data, address = mine.receive_from(1500)
    assert (data, address) == (b"hello", client.getsockname())
    mine.send([b"world"], address)
    assert client.recv(1500) == b"world"
    with pytest.raises(BlockingIOError):
        mine.receive_from(1500)


def test_empty_datagram_is_one(stack):
    outbox, inbox = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    outbox.send(pack_address(CLIENTS[0]))
    assert DatagramSocket(BIND, bound(stack), inbox).receive_from(1500) == (b"", CLIENTS[0])


def test_nothing_to_receive_does_not_block(stack):
    with pytest.raises(BlockingIOError):
        DatagramSocket(BIND, bound(stack)).receive_from(1500)


def test_address_is_a_url_with_the_real_port(stack):
    sock = bound(stack)
    assert DatagramSocket(BIND, sock).address == f"https://127.0.0.1:{sock.getsockname()[1]}"


# Where a socket is for all addresses of the machine

EVERYWHERE = pytest.mark.parametrize(
    ("host", "dual", "asked"),
    [
        ("0.0.0.0", False, "127.0.0.1"),
        ("0.0.0.0", False, "127.0.0.2"),  # the kernel by itself would answer from 127.0.0.1
        ("::", False, "::1"),
        ("::", True, "::1"),
        ("::", True, "127.0.0.2"),
    ],
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where a datagram went")


@linux
@EVERYWHERE
@pytest.mark.parametrize("relayed", [False, True])
def test_an_answer_comes_from_where_it_was_asked(stack, host, dual, asked, relayed):
    sock, client = bound(stack, host, dual=dual), bound(stack, asked)
    port = sock.getsockname()[1]
    mine = DatagramSocket(BIND, sock)
    client.sendto(b"hello", (asked, port))
    data, address = mine.receive_from(1500)
    if relayed:
        address = unpack_address(pack_address(address))
    assert data == b"hello"
    assert mine.local(address) == (asked if ":" in asked or not dual else f"::ffff:{asked}", port)
    mine.send([b"one"], address)
    mine.send([b"two" * 400, b"three" * 240, b"four"], address)  # UDP_SEGMENT
    for expected in (b"one", b"two" * 400, b"three" * 240, b"four"):
        data, origin = client.recvfrom(1500)
        assert (data, origin[:2]) == (expected, (asked, port))


@linux
def test_the_dispatcher_says_where_a_datagram_went(stack):
    sock, client = bound(stack, "0.0.0.0"), bound(stack)
    outbox, inbox = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    relay = Relay(Layout.of(bytes(32)), sock, (outbox,), (0,), frozenset((0,)))
    client.sendto(b"hello", ("127.0.0.2", sock.getsockname()[1]))
    relay.work()
    mine = DatagramSocket(BIND, sock, inbox)
    data, address = mine.receive_from(1500)
    assert data == b"hello" and mine.local(address)[0] == "127.0.0.2"


def test_a_socket_for_one_address_is_not_asked(stack):
    assert not DatagramSocket(BIND, bound(stack)).located
