"""What the server can be told about being operated: the part of Config for whoever runs it."""

from dataclasses import dataclass

from tricorn.forms import PATH, Group
from tricorn.quicconfig import QuicConfig

OPERATION = Group("Operation")


@dataclass(frozen=True, slots=True)
class OpsConfig(QuicConfig):
    """Times are seconds, sizes are bytes, "" is not set."""

    control_socket: str = OPERATION.option(
        "",
        "a unix socket, for the server's own user only, through which serverctl commands the "
        "master",
        PATH,
    )
