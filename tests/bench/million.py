"""`python -m tests.bench.million`: a million requests of HTTP/2, undisturbed, through a HUP and
through a TERM, on 100 connections with 100 streams each.

Nobody who was let in may go without an answer, unless the server has said that it has not looked
at the request (RFC9113§8.7). h2load cannot tell such requests from lost ones, and does not connect
again after GOAWAY, so a client of our own asks where the server goes away.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.process.http2_load import Http2Load
from tests.support.process import Server, serve, wait_for_death

TIMEOUT = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.million", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--engine", default="tricorn")
    size = parser.parse_args()
    good = True
    for run in (undisturbed, reloaded, stopped):
        options = ("--http2-engine", size.engine)
        with (
            tempfile.TemporaryDirectory() as folder,
            serve(Path(folder), *options, workers=2) as server,
        ):
            good = run(server, size) and good
    sys.exit(not good)


def undisturbed(server: Server, size: argparse.Namespace) -> bool:
    shape = (f"-c{size.connections}", f"-m{size.streams}", f"-n{size.requests}")
    url = f"http://127.0.0.1:{server.port}/hello"
    ended = subprocess.run(["h2load", *shape, url], check=True, capture_output=True, text=True)
    finished, requests = re.findall(r"^(?:finished|requests).*$", ended.stdout, re.MULTILINE)
    print(f"h2load, undisturbed: {requests.removeprefix('requests: ')}; {finished}", flush=True)
    return f" {size.requests} succeeded, 0 failed, 0 errored" in requests


def reloaded(server: Server, size: argparse.Namespace) -> bool:
    with load_of(server, size) as load:
        load.go_on(size.requests // 4, TIMEOUT)
        before = server.children()
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload complete$")
        wait_for_death(*before)
        load.wait(TIMEOUT)
    show("through a HUP", load)
    status = server.stop()
    return not load.lost and not load.turned_away and load.answered == size.requests and not status


def stopped(server: Server, size: argparse.Namespace) -> bool:
    with load_of(server, size) as load:
        load.go_on(size.requests // 2, TIMEOUT)
        server.signal(signal.SIGTERM)
        status = server.wait()
        load.wait(TIMEOUT)
    show(f"through a TERM (exit status {status})", load)
    return not load.lost and not status


def load_of(server: Server, size: argparse.Namespace) -> Http2Load:
    return Http2Load(
        server.port, connections=size.connections, streams=size.streams, total=size.requests
    )


def show(name: str, load: Http2Load) -> None:
    print(
        f"our client, {name}: {load.answered} answered, {len(load.lost)} lost, "
        f"{load.retriable} told to ask again, {load.left} never answered, {load.goaways} GOAWAYs, "
        f"{load.turned_away} connections refused; {load.seconds:.1f} s",
        *load.lost[:10],
        sep="\n  ",
        flush=True,
    )


if __name__ == "__main__":
    main()
