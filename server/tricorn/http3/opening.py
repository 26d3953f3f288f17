"""From a Config to an Endpoint: certificate, terms, limits. Wrong certificates end the start."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.logger import QuicFileLogger

from tricorn.capacity import Capacity
from tricorn.certificates import Identity, identity
from tricorn.config import Config, ConfigError
from tricorn.connection import Context
from tricorn.fields import Defaults
from tricorn.http3.endpoint import Endpoint, Port
from tricorn.http3.keys import Keys
from tricorn.http3.shared import Shared
from tricorn.http3.transport import Terms
from tricorn.target import Limits
from tricorn_supervisor.steering import CONNECTION_ID_SIZE


def configuration_of(
    config: Config, shown: Identity, id_size: int = CONNECTION_ID_SIZE
) -> QuicConfiguration:
    """aioquic's configuration, for connection IDs of this size. Raises ConfigError."""
    logging.getLogger("quic").setLevel(logging.WARNING)  # it would format a line for each stream
    made = QuicConfiguration(
        is_client=False,
        alpn_protocols=["h3"],
        congestion_control_algorithm=config.quic_congestion,
        connection_id_length=id_size,
        idle_timeout=config.quic_idle_timeout,
        max_data=config.quic_initial_connection_window_size,
        max_datagram_size=config.quic_max_datagram_size,
        max_stream_data=config.quic_initial_stream_window_size,
        certificate=shown.certificate,
        certificate_chain=shown.chain,
        private_key=shown.key,
    )
    if config.qlog_dir:
        try:
            made.quic_logger = QuicFileLogger(config.qlog_dir)
        except ValueError as error:
            raise ConfigError(f"--qlog-dir {config.qlog_dir}: {error}") from None
    if path := os.environ.get("SSLKEYLOGFILE"):
        made.secrets_log_file = open(path, "a", encoding="ascii")  # noqa: SIM115
    return made


def prepare(made: QuicConfiguration, config: Config) -> Callable[[], None]:
    """Read the certificate's files; what is returned shows it to new connections.

    Raises ConfigError.
    """
    found = identity(config)

    def show() -> None:
        made.certificate, made.certificate_chain = found.certificate, found.chain
        made.private_key = found.key

    return show


def endpoint(
    context: Context,
    defaults: Defaults,
    limits: Limits,
    ports: Sequence[Port],
    secret: bytes,
    ids: tuple[Callable[[], bytes], Callable[[bytes], bool]],
    capacity: Capacity,
    shown: Identity,
) -> Endpoint:
    """What a worker serves QUIC with; `ids` issues connection IDs, and says which to reset."""
    config = context.config
    terms = Terms(
        configuration_of(config, shown, len(ids[0]())),
        Keys(secret),
        ids[0],
        config.quic_max_concurrent_streams,
        config.quic_early_data == "safe",
    )
    return Endpoint(context, Shared(config, defaults, limits), terms, ports, ids[1], capacity)
