"""The versions of HTTP that the same tests run on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.support.h2peer import H2Peer
from tests.support.h3peer import H3Peer
from tests.support.peers import H1Peer, Peer

ENGINES = ("tricorn", "h2")
"""The engines of HTTP/2, by the name that --http2-engine knows them by: ("tricorn", "h2")."""

VERSIONS: dict[str, Callable[..., Peer]] = {
    "HTTP/1.1": H1Peer,
    **{f"HTTP/2-{engine}": partial(H2Peer, engine=engine) for engine in ENGINES},
    "HTTP/3": H3Peer,
}
"""What makes a client of each."""
