"""What the server can be told about being watched and being stopped: health, metrics, drain."""

from dataclasses import dataclass

from tricorn.forms import ADDRESS, SECONDS, TEXT, Group, Names
from tricorn.opsconfig import OpsConfig

OBSERVATION = Group("Health, metrics and drain")


@dataclass(frozen=True, slots=True)
class ObserveConfig(OpsConfig):
    """Times are seconds, "" is not set."""

    health_bind: tuple[str, ...] = OBSERVATION.option(
        (),
        "answer /livez, /readyz, /startupz and /metrics here, from a process of its own: addresses "
        "as in --bind, without TLS; not set = nowhere",
        ADDRESS,
        Names(aliases=("--metrics-bind",)),
    )
    drain_delay: float = OBSERVATION.option(
        0.0,
        "how long a server that is told to stop still serves, with /readyz at 503, so that load "
        "balancers hear of it first",
        SECONDS,
    )
    statsd_host: str = OBSERVATION.option(
        "",
        "send the same numbers to this statsd server once a second, over UDP: HOST:PORT, HOST or "
        "unix:PATH; not set = to none",
        TEXT,
    )
    statsd_prefix: str = OBSERVATION.option("", "what the names begin with there", TEXT)
    dogstatsd_tags: tuple[str, ...] = OBSERVATION.option(
        (), "a tag, NAME:VALUE, that every number has there, in Datadog's notation", TEXT
    )
