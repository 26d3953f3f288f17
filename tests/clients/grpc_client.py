"""grpcio as a client, in a process of its own: its threads do not bear that other tests fork.

    python grpc_client.py ADDRESS [CERTIFICATE]

Makes every kind of call, and says in JSON what has come of each.
"""

import json
import sys
from pathlib import Path

import grpc

LARGE = bytes(range(256)) * 4000


def connect(address, certificate=None):
    if certificate is None:
        return grpc.insecure_channel(address)
    trusted = grpc.ssl_channel_credentials(Path(certificate).read_bytes())
    return grpc.secure_channel(address, trusted)


def failure(call):
    """The status with which a call ends that does not go well."""
    messages = []
    try:
        messages.extend(call)
    except grpc.RpcError as error:
        # A status without an answer comes with the fields of the head.
        trailers = {k: v for k, v in error.trailing_metadata() or () if k.startswith("x-")}
        return [error.code().name, error.details(), trailers, [each.decode() for each in messages]]
    return "it went well"


def calls(channel):
    def name(method):
        return f"/tests.Service/{method}"

    unary = channel.unary_unary(name("unary"))
    count = channel.unary_stream(name("count"))
    total = channel.stream_unary(name("total"))
    chat = channel.stream_stream(name("chat"))
    answer, call = unary.with_call(b"hello", timeout=10)
    yield "unary", [answer.decode(), call.code().name]
    yield "large", unary(LARGE, timeout=10) == LARGE[::-1]
    yield "count", [each.decode() for each in count(b"5", timeout=10)]
    yield "count to many", sum(int(each) for each in count(b"2000", timeout=10))
    yield "total", total(iter([b"x" * 70_000] * 20), timeout=10).decode()
    yield "chat", [each.decode() for each in chat(iter([b"a", b"b", b"c"]), timeout=10)]
    futures = [unary.future(b"%d" % number, timeout=10) for number in range(300)]
    yield "many", [future.result().decode()[::-1] for future in futures]
    yield "refuse", failure(channel.unary_stream(name("refuse"))(b"", timeout=10))
    yield "fail", failure(channel.unary_stream(name("fail"))(b"", timeout=10))
    yield "missing", failure(channel.unary_stream(name("missing"))(b"", timeout=10))
    yield "late", failure(channel.unary_stream(name("wait"))(b"", timeout=0.2))
    waiting = channel.unary_stream(name("wait"))(b"", timeout=10)
    waiting.cancel()
    yield "cancelled", failure(waiting)[0]
    yield "after all", unary(b"again", timeout=10).decode()


def main():
    with connect(*sys.argv[1:]) as channel:
        print(json.dumps(dict(calls(channel))))


if __name__ == "__main__":
    main()
