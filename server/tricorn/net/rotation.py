"""The TLS of the listeners, whose certificate can be exchanged under them while they serve.

The context that listeners have is made before the fork and stays: OpenSSL keeps the key of session
tickets in it, so that sessions are resumed on every worker and through every exchange. What new
connections are shown is the certificate of another context, which its callback for SNI gives them;
OpenSSL calls that for clients without SNI, too.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tricorn.config import Config, ConfigError
from tricorn.net import tls

if TYPE_CHECKING:
    from tricorn.certificates import Identity

State = tuple[tuple[int, ...] | None, ...]


class Encryption:
    """Raises ConfigError for a configuration that cannot be served with."""

    def __init__(self, config: Config) -> None:
        self.watch = Watch([config.certfile, config.keyfile, config.ca_certs])
        self.context = _context(config)
        self.identity: Identity | None = None
        """What QUIC shows; read here, with the master's rights, as workers may have fewer."""
        if config.quic_bind:
            from tricorn.certificates import identity  # only then: see cli.unusable

            self.identity = identity(config)
        self._config = config

    def prepare(self) -> Callable[[], None]:
        """Read the files; what is returned shows new connections what they have.

        Raises ConfigError. It is not loaded into the context that there is: if that failed half-way
        there would be none, and an RSA certificate would not replace one of another kind.
        """
        fresh = _context(self._config)

        def choose(encrypted: ssl.SSLObject, name: str | None, base: ssl.SSLContext) -> None:
            encrypted.context = fresh

        def show() -> None:
            self.context.sni_callback = choose

        return show


class Watch:
    """Sees files change: written anew, renamed, or behind a link that points elsewhere.

    Kubernetes mounts a Secret as links through `..data`, and renames that; so what counts is the
    file that a path leads to.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = [path for path in paths if path]
        self._known = self._last = self._look()

    def changed(self) -> bool:
        """Once for each change, when the files look the same for a second time: a certificate and
        its key are seldom written in one step.
        """
        before, self._last = self._last, self._look()
        if self._last != before or self._last == self._known:
            return False
        self._known = self._last
        return True

    def readable(self) -> bool:
        """Whether this process may read them all."""
        return all(os.access(path, os.R_OK) for path in self._paths)

    def _look(self) -> State:
        return tuple(_identify(path) for path in self._paths)


def _identify(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:  # on its way
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _context(config: Config) -> ssl.SSLContext:
    context = tls.server_context(config)
    if context is None:
        raise ConfigError("there is no certificate: add --certfile")
    return context
