"""Whatever fields an application sends: an ApplicationError, or bytes that h11 understands."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.answers import http1_answers
from tests.support.peers import DATE
from tricorn.connection import ApplicationError, Request
from tricorn.fields import Defaults
from tricorn.http1.response import OURS, ResponseHeads

KNOWN = (
    b"X-A x-a Content-Type Set-Cookie Date Server Connection Upgrade Content-Length content-length "
    b"Transfer-Encoding Keep-Alive x:"
)
NAMES = st.sampled_from([*KNOWN.split(), b"", b"x y"]) | st.binary(max_size=4)
OCTETS = st.lists(
    st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b"\x80", b":", b"1"]),
    max_size=5,
).map(b"".join)
VALUES = OCTETS | st.sampled_from([b"0", b"3", b"4", b"close", b"keep-alive", b"chunked", b"gzip"])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
METHODS = st.sampled_from(["GET", "HEAD", "POST"])
STATUSES = st.sampled_from([200, 201, 204, 205, 299, 304, 404, 500, 599])
SETTINGS = settings(
    max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def answered(
    responses: ResponseHeads,
    request: Request,
    status: int,
    fields: list,
    content: list[bytes] | bytes,
) -> tuple[bytes, bool]:
    """The bytes of a response and whether the connection goes on. Raises ApplicationError."""
    if isinstance(content, bytes):
        head, data, persistent = responses.whole(request, status, fields, content, True)
        return head + data, persistent
    head, framing = responses.begin(request, status, fields, None, True)
    if framing.silent:
        return head, framing.persistent
    data = b"".join(content)
    if framing.chunked:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in content if part)
        return head + chunks + b"0\r\n\r\n", framing.persistent
    if framing.remaining is not None and framing.remaining > len(data):
        raise ApplicationError("Http1Connection would say so")
    return head + data[: framing.remaining], framing.persistent


@SETTINGS
@given(
    FIELDS,
    METHODS,
    STATUSES,
    st.binary(max_size=6) | st.lists(st.binary(max_size=4)),
    st.booleans(),
)
@example([(b"x-a", b"b\r\nset-cookie: c")], "GET", 200, b"", True)
@example([(b"x-a", b"1"), (b"x-a", b"1")], "GET", 200, b"abc", True)
def test_is_refused_or_understood(fields, method, status, content, modern):
    responses = ResponseHeads(Defaults(server=True, date=True))
    responses.defaults.refresh(DATE)
    request = Request("1.1" if modern else "1.0", method, b"/", b"x", "/", b"/", b"", ())
    results = []
    for _ in range(3):  # unknown, then known, then a head that is known as a whole
        try:
            results.append(answered(responses, request, status, fields, content))
        except ApplicationError as error:
            results.append(str(error))
    assert results[0] == results[1] == results[2], "the memory changes the answer"
    if isinstance(results[0], str):
        return
    data, persistent = results[0]
    (answer,) = http1_answers(data, [method.encode()], ended=True)
    assert answer.status == status and answer.complete and answer.persistent == persistent
    kept = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    kept = [each for each in kept if each[0] not in OURS and each[0] != b"content-length"]
    added = {b"content-length", b"transfer-encoding", b"connection"}
    added |= {b"date", b"server"} - {name for name, _ in kept}
    assert [each for each in answer.headers if each[0] not in added] == kept
    whole = content if isinstance(content, bytes) else b"".join(content)
    silent = method == "HEAD" or status in (204, 205, 304)
    assert answer.body == (b"" if silent else whole[: len(answer.body)])


@SETTINGS
@given(st.lists(st.lists(NAMES | VALUES | st.text(max_size=2) | st.none(), max_size=3), max_size=3))
def test_what_are_no_fields_is_refused_or_understood(fields):
    responses = ResponseHeads(Defaults(server=False, date=False))
    request = Request("1.1", "GET", b"/", b"x", "/", b"/", b"", ())
    try:
        head, data, _ = responses.whole(request, 200, fields, b"", True)
    except (ApplicationError, ValueError, TypeError):
        return  # ValueError and TypeError: not pairs, which Python says for us
    assert len(http1_answers(head + data, [b"GET"], ended=True)) == 1
    assert all(isinstance(each, bytes) for field in fields for each in field)
