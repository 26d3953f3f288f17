"""Datagrams are received in the same way, with a dispatcher and without."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tricorn_supervisor.datagrams import ADDRESS, DatagramSocket, pack_address, unpack_address
from tricorn_supervisor.groups import bind_alone
from tricorn_supervisor.listeners import Bind

BIND = Bind("127.0.0.1:0", True, ("HTTP/3",))
CLIENTS = [
    ("192.0.2.7", 4433),
    ("2001:db8::7", 65535, 0, 0),
    ("fe80::1", 1, 7, 3),
    ("::ffff:192.0.2.7", 4433, 0, 0),
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def bound(stack: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return stack.enter_context(bind_alone((family, (host, 0)), False))


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
    mine.socket.sendto(b"world", address)
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
    mine.socket.sendto(b"world", address)
    assert client.recv(1500) == b"world"
    with pytest.raises(BlockingIOError):
        mine.receive_from(1500)


def test_empty_datagram_is_one(stack):
    outbox, inbox = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    outbox.send(pack_address(CLIENTS[0]))
    assert DatagramSocket(BIND, inbox, inbox).receive_from(1500) == (b"", CLIENTS[0])


def test_nothing_to_receive_does_not_block(stack):
    with pytest.raises(BlockingIOError):
        DatagramSocket(BIND, bound(stack)).receive_from(1500)


def test_address_is_a_url_with_the_real_port(stack):
    sock = bound(stack)
    assert DatagramSocket(BIND, sock).address == f"https://127.0.0.1:{sock.getsockname()[1]}"
