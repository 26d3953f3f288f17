"""What is asked of the servers: a case is a script for wrk, or arguments for h2load."""

from __future__ import annotations

import re
from dataclasses import dataclass

BROWSER = """
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
wrk.headers["Upgrade-Insecure-Requests"] = "1"
wrk.headers["Sec-Fetch-Dest"] = "document"
wrk.headers["Sec-Fetch-Mode"] = "navigate"
wrk.headers["Sec-Fetch-Site"] = "none"
wrk.headers["Priority"] = "u=0, i"
"""

# One function call a request: what never repeats is made of one counter.
VARIED = (
    BROWSER
    + """
local number = 0
request = function()
  number = number + 1
  wrk.headers["Cookie"] = string.format("session=%032x", number)
  wrk.headers["X-Request-Id"] = string.format("%032x", number * 7)
  return wrk.format("GET", "/item/" .. number)
end
"""
)

POST = """
wrk.method = "POST"
wrk.body = string.rep("x", 4096)
wrk.headers["Content-Type"] = "application/octet-stream"
"""


FIELDS = tuple(re.findall(r'wrk.headers\["([^"]+)"\] = "(.*)"', BROWSER))
"""The same fields for h2load."""


@dataclass(frozen=True)
class Case:
    """One way of asking."""

    name: str
    path: str = "/"
    script: str = ""
    tls: bool = False
    connections: int = 64
    streams: int = 0
    """Requests at once on a connection of HTTP/2 or HTTP/3; 0 for HTTP/1.1."""
    paths: int = 1
    """How many different ones HTTP/2 asks for, with a browser's fields if they are many."""
    octets: int = 0
    """The body of a request of HTTP/2 or HTTP/3, or of each message of a WebSocket."""
    version: str = "1.1"


CASES = {
    case.name: case
    for case in (
        Case("h1"),
        Case("h1-browser", script=BROWSER),
        Case("h1-varied", script=VARIED),
        Case("h1-post", path="/post", script=POST),
        Case("h1-big", path="/big", connections=16),
        Case("h1-tls", tls=True),
        Case("h2", connections=8, streams=16, version="2"),
        Case("h2-varied", connections=8, streams=16, paths=1000, version="2"),
        Case("h2-m1", connections=64, streams=1, version="2"),
        Case("h2-post", path="/post", connections=8, streams=16, octets=4096, version="2"),
        Case("h2-big", path="/big", connections=4, streams=4, version="2"),
        Case("h2-tls", connections=64, streams=1, tls=True, version="2"),
        Case("h3", connections=4, streams=10, tls=True, version="3"),
        Case("h3-m1", connections=1, streams=1, tls=True, version="3"),
        Case("h3-post", "/post", connections=4, streams=10, octets=4096, tls=True, version="3"),
        Case("h3-big", path="/big", connections=1, streams=1, tls=True, version="3"),
        Case("ws", octets=32, version="ws"),
        Case("ws-16k", octets=16 * 1024, version="ws"),
    )
}
