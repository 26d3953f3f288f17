"""Keys that every worker has, and every later one: of resets, Retry tokens and session tickets.

All are made from one secret, so that a worker can answer for what another one has given out: a
token is good wherever the kernel brings it, a session is resumed by whoever is asked, and a
replacement can tell clients that their connection has died with its predecessor.
"""

from __future__ import annotations

import hmac
import os
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from aioquic.tls import CipherSuite, SessionTicket
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_SIZE = 12
RESET_TOKEN_SIZE = 16
TOKEN_LIFETIME = 30.0
"""Seconds: a client returns a Retry token at once (RFC9000§8.1.4)."""
TICKET_LIFETIME = 86_400
"""Seconds; RFC8446§4.6.1 allows seven days."""

Address = tuple[str, int]


class Keys:
    """What is derived from one secret."""

    def __init__(self, secret: bytes) -> None:
        self._reset = _derive(secret, b"stateless reset")
        self._tokens = AESGCM(_derive(secret, b"retry token"))
        self._tickets = AESGCM(_derive(secret, b"session ticket"))

    # RFC9000§10.3

    def reset_token(self, connection_id: bytes) -> bytes:
        return hmac.digest(self._reset, connection_id, "sha256")[:RESET_TOKEN_SIZE]

    # RFC9000§8.1.2

    def retry_token(self, address: Address, original: bytes, retried: bytes) -> bytes:
        """For a client at `address` that asked for `original` and shall ask for `retried`."""
        nonce = os.urandom(NONCE_SIZE)
        said = b"%d" % int(time.time() * 1000)
        return nonce + self._tokens.encrypt(nonce, said + b" " + original, _place(address, retried))

    def open_retry_token(self, token: bytes, address: Address, asked: bytes) -> bytes | None:
        """The id that the client first asked for; None if the token is not for this."""
        nonce, sealed = token[:NONCE_SIZE], token[NONCE_SIZE:]
        try:
            plain = self._tokens.decrypt(nonce, sealed, _place(address, asked))
        except (InvalidTag, ValueError):
            return None
        said, _, original = plain.partition(b" ")
        age = time.time() - int(said) / 1000
        return original if -1.0 < age < TOKEN_LIFETIME else None

    # RFC8446§4.6.1

    def seal_ticket(self, ticket: SessionTicket) -> bytes:
        """The ticket that a client is given: the session itself, encrypted."""
        nonce = os.urandom(NONCE_SIZE)
        plain = b"%d %d %d " % (time.time(), ticket.age_add, ticket.cipher_suite)
        return nonce + self._tickets.encrypt(nonce, plain + ticket.resumption_secret, None)

    def open_ticket(self, sealed: bytes) -> SessionTicket | None:
        """The session of a ticket, None if it is not ours or too old: then TLS starts afresh."""
        try:
            plain = self._tickets.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], None)
        except (InvalidTag, ValueError):
            return None
        issued, age_add, suite, secret = plain.split(b" ", 3)
        begin = datetime.fromtimestamp(int(issued), UTC)
        return SessionTicket(
            age_add=int(age_add),
            cipher_suite=CipherSuite(int(suite)),
            not_valid_before=begin,
            not_valid_after=begin + timedelta(seconds=TICKET_LIFETIME),
            resumption_secret=secret,
            server_name="",
            ticket=sealed,
        )


def _derive(secret: bytes, label: bytes) -> bytes:
    return hmac.digest(secret, b"tricorn " + label, "sha256")


def _place(address: Address, connection_id: bytes) -> bytes:
    """What a token is bound to."""
    host = ip_address(address[0].partition("%")[0]).packed
    return host + address[1].to_bytes(2, "big") + connection_id
