"""Tricorn: an ASGI server for HTTP/1.1, HTTP/2 and WebSocket, with HTTP/3 to come.

To read the code, start with `connection` (the contract between a protocol and an application's
stream), then `asgi.exchange` and `http1.connection` (its two sides), `net.tcp` (where bytes come
from) and `worker` (what one process does). The master is the sibling package
`tricorn_supervisor`; `cli` is where the two meet.
"""

__version__ = "0.1.0"
