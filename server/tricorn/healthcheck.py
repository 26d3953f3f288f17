"""Asks a running server whether it serves: what a container image's HEALTHCHECK runs.

    python -m tricorn.healthcheck [ADDRESS] [--path /readyz]

ADDRESS is one of `--health-bind`'s. Images cannot be counted on to have curl; Python is there
anyway.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

UNIX = "unix:"
TIMEOUT = 3.0
UNHEALTHY = 1
"""Docker reserves every other status."""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the answer and ends the process: 0 if it is well, 1 if it is not, or says nothing."""
    parser = argparse.ArgumentParser(prog="python -m tricorn.healthcheck", allow_abbrev=False)
    bound = os.environ.get("TRICORN_HEALTH_BIND", "").partition(",")[0]
    parser.add_argument("address", nargs="?", default=bound, help="default: $TRICORN_HEALTH_BIND")
    parser.add_argument("--path", default="/readyz", help="default: %(default)s")
    options = parser.parse_args(argv)
    try:
        status, body = ask(options.address, options.path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"no answer from {options.address or 'a server without an address'}: {error}")
        sys.exit(UNHEALTHY)
    print(body)
    sys.exit(0 if status == http.client.OK else UNHEALTHY)


def ask(address: str, path: str) -> tuple[int, str]:
    """Status and body. Raises OSError, ValueError and http.client.HTTPException."""
    with _connected(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: health\r\nconnection: close\r\n\r\n".encode())
        with http.client.HTTPResponse(sock, method="GET") as response:
            response.begin()
            return response.status, response.read().decode()


def _connected(address: str) -> socket.socket:
    if address.startswith(UNIX):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        try:
            sock.connect(address.removeprefix(UNIX))
        except OSError:
            sock.close()
            raise
        return sock
    place = urlsplit(f"//{address}")
    if not place.port:
        raise ValueError("it needs a port, as in HOST:PORT, :PORT and [V6]:PORT")
    # Without a host every address of the machine is bound, so its own are; the system takes
    # 0.0.0.0 and :: for them as well.
    return socket.create_connection((place.hostname, place.port), TIMEOUT)


if __name__ == "__main__":
    main()
