"""1-RTT packets of a client's with frames of a test's making: what no QUIC library would send."""

from __future__ import annotations

from aioquic.tls import Epoch

from tests.support.h3peer import H3Peer, integer

PING, ACK, RETIRE_CONNECTION_ID, PATH_CHALLENGE = b"\x01", 0x02, 0x19, 0x1A


def packet(peer: H3Peer, payload: bytes) -> bytes:
    """A datagram with one packet that only this client could have made."""
    quic = peer.quic
    number = quic._packet_number
    quic._packet_number += 1
    keys = quic._cryptos[Epoch.ONE_RTT]
    head = bytes([0x41 | keys.key_phase << 2]) + quic._peer_cid.cid
    head += (number & 0xFFFF).to_bytes(2, "big")
    return keys.encrypt_packet(head, payload.ljust(4, b"\0"), number)


def send(peer: H3Peer, *payloads: bytes) -> None:
    """All of them arrive together."""
    for payload in payloads:
        data = packet(peer, payload)
        peer.endpoint.take(peer.endpoint.ports[0], data, peer.address, peer.house.clock.now)
    peer.settle()


def acknowledgement(largest: int, first: int = 0, *more: int) -> bytes:
    """An ACK frame; `more` are gaps and ranges in turn."""
    numbers = (largest, 0, len(more) // 2, first, *more)
    return bytes([ACK]) + b"".join(map(integer, numbers))
