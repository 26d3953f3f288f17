"""Two servers as pods behind one address: what --quic-secret gives them (docs/scaling.md)."""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

import pytest
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration

from tests.process.quic_load import Client
from tests.support.certificates import Authority
from tests.support.process import PATIENCE, serve

pytestmark = pytest.mark.slow

SHORT_HEADER = 0x40
TOKEN_SIZE = 16


def port_of(server):
    (address,) = server.said(r"listening on (\S+) \(HTTP/3\)")
    return urlsplit(address).port


async def visit(port, ticket=None):
    """Whether the session was resumed, the last ticket, and an ID with its token of reset."""
    tickets = []
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
        session_ticket=ticket,
    )
    async with connect(
        *("127.0.0.1", port),
        configuration=configuration,
        create_protocol=Client,
        session_ticket_handler=tickets.append,
    ) as client:
        assert (await client.ask("/"))[0] == 200
        known = client._quic._peer_cid_available[0]
        return client._quic.tls.session_resumed, tickets[-1], known


def lost_packet(port, connection_id):
    """What comes back for a packet of a connection that this server knows nothing of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.send(bytes((SHORT_HEADER,)) + connection_id + os.urandom(60))
        return sock.recv(2000)


@pytest.mark.parametrize("shared", [True, False])
def test_pods_know_each_others_clients_if_they_share_the_secret(tmp_path, shared):
    pair = Authority().issue(tmp_path, "localhost")
    options = []
    for name in ("one", "other"):
        secret = tmp_path / name
        secret.write_bytes(b"secret" * 8 if shared else os.urandom(48))
        options.append((*pair.options, "--quic-bind", "127.0.0.1:0", "--quic-secret", str(secret)))
    with serve(tmp_path, *options[0]) as one, serve(tmp_path, *options[1]) as other:
        resumed, ticket, known = asyncio.run(visit(port_of(one)))
        assert not resumed
        resumed, _, _ = asyncio.run(visit(port_of(other), ticket))
        assert resumed == shared
        answer = lost_packet(port_of(other), known.cid)
        assert (answer[-TOKEN_SIZE:] == known.stateless_reset_token) == shared
