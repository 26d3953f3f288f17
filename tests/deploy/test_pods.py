"""Servers as pods behind one address: what they share, and how they are told apart."""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

import pytest
from aioquic.asyncio.client import connect
from aioquic.quic.configuration import QuicConfiguration

from tests.process.quic_load import Client, roam
from tests.support.certificates import Authority
from tests.support.process import PATIENCE, serve

pytestmark = pytest.mark.slow

SHORT_HEADER = 0x40
TOKEN_SIZE = 16
SERVER_ID = "0x0123456789abcdef"


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


@pytest.mark.parametrize(("steering", "workers"), [("kernel", 3), ("dispatcher", 3), ("auto", 0)])
def test_ids_name_the_server_for_a_balancer_and_lead_to_the_worker(tmp_path, steering, workers):
    pair = Authority().issue(tmp_path, "localhost")
    options = ("--quic-bind", "127.0.0.1:0", "--quic-server-id", SERVER_ID)
    how = (*pair.options, *options, "--quic-steering", steering)
    with serve(tmp_path, *how, workers=workers, ready=workers > 0) as server:
        if not workers:
            server.wait_for(r"\(HTTP/3\)")
        port = port_of(server)
        for _ in range(4):
            _, _, known = asyncio.run(visit(port))
            # As AWS reads them: octets 1 to 8.
            assert known.cid[1:9].hex() == SERVER_ID.removeprefix("0x") and len(known.cid) == 16
        assert lost_packet(port, known.cid)[-TOKEN_SIZE:] == known.stateless_reset_token
        tally = asyncio.run(roam(port, 2.5, [("/", len("hello\n"))] * 6))
        assert not tally.failures and tally.moves >= 6 and tally.answered > 100, tally
