"""What the server can be told about being operated: the part of Config for whoever runs it."""

from dataclasses import dataclass

from tricorn.forms import BYTES, COUNT, FLAG, PATH, SECONDS, TEXT, Group, Names
from tricorn.quicconfig import QuicConfig

RECYCLING = Group("Recycling")
OPERATION = Group("Operation")


@dataclass(frozen=True, slots=True)
class OpsConfig(QuicConfig):
    """Times are seconds, sizes are bytes, "" is not set."""

    user: str = OPERATION.option(
        "",
        "the user, by name or number, that workers run as when root starts the server; the master "
        "stays root",
        TEXT,
        Names("-u"),
    )
    group: str = OPERATION.option(
        "",
        "the group that workers run as, without any other; not set = the user's",
        TEXT,
        Names("-g"),
    )
    pid: str = OPERATION.option(
        "",
        "a file for the master's process ID, which only one server can have at a time",
        PATH,
        Names("-p", keys=("pid_path",)),
    )
    daemon: bool = OPERATION.option(
        False,
        "go into the background once every worker is ready; needs log files",
        FLAG,
        Names("-D"),
    )
    env_file: tuple[str, ...] = OPERATION.option(
        (),
        "a file of NAME=VALUE lines: variables for the application, and TRICORN_* ones; what the "
        "environment has already stays; read again by a reload",
        PATH,
    )
    tls_watch: bool = OPERATION.option(
        True,
        "show new connections the certificate that its files have now, without a reload, when they "
        "change",
        FLAG,
    )
    control_socket: str = OPERATION.option(
        "",
        "a unix socket, for the server's own user only, through which serverctl commands the "
        "master",
        PATH,
    )
    max_requests: int = RECYCLING.option(
        0,
        "replace a worker after this many requests, once its replacement is ready; 0 = never",
        COUNT,
        Names(aliases=("--limit-max-requests",)),
    )
    max_requests_jitter: int = RECYCLING.option(
        0,
        "up to so many requests more, by chance, so that workers do not age together",
        COUNT,
        Names(aliases=("--limit-max-requests-jitter",)),
    )
    workers_lifetime: float = RECYCLING.option(
        0.0,
        "replace a worker after this time, and up to a tenth more by chance, in the same way; 0 = "
        "never",
        SECONDS,
    )
    workers_max_rss: int = RECYCLING.option(
        0,
        "replace a worker in the same way that has had more memory than this for 3 seconds; 0 = "
        "never",
        BYTES,
    )
