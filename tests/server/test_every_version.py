"""What an application may rely on, whichever version of HTTP its client speaks."""

from __future__ import annotations

import asyncio
import contextvars
import json

import pytest

from tests.support import apps
from tests.support.apps import Script, body, start
from tests.support.h3peer import H3Peer
from tests.support.peers import H1Peer, errors
from tests.support.versions import VERSIONS
from tricorn.config import Config
from tricorn.observe.accesslog import AccessLog
from tricorn.observe.logfile import LogFile

LARGE = 1_000_000
PART = 10_000


@pytest.fixture(params=VERSIONS.values(), ids=VERSIONS)
def connect(request):
    """Makes a client of one of the versions."""
    return request.param


def version_of(peer):
    if isinstance(peer, H3Peer):
        return "3"
    return "1.1" if isinstance(peer, H1Peer) else "2"


def scheme_of(peer):
    """QUIC is never without TLS."""
    return ("https", 443) if isinstance(peer, H3Peer) else ("http", 80)


def reads_all(noted):
    """An application that notes every message that it receives, and then says hello."""

    async def steps(seen, receive, send):
        more = True
        while more:
            message = await receive()
            noted.append(message)
            more = message.get("more_body", False)
        if message["type"] == "http.request":
            await apps.hello({}, receive, send)

    return Script(steps)


async def streams_forever(scope, receive, send):
    await send(start())
    while True:
        await send(body(b"x" * PART, more=True))


# The scope


def test_the_scope_says_what_was_asked_for(connect):
    app = apps.Recorder()
    peer = connect(app, state={"key": "value"})
    peer.fetch("/a%20b?c=%20", headers=[(b"x-a", b"1")])
    scope = app.call.scope
    del scope["extensions"]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": version_of(peer),
        "method": "GET",
        "scheme": scheme_of(peer)[0],
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"x-a", b"1")],
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", scheme_of(peer)[1]),
        "state": {"key": "value"},
    }


def test_the_root_path_is_in_the_path_too(connect):
    app = apps.Recorder()
    connect(app, Config(root_path="/mounted")).fetch("/a?b")
    assert app.call.scope["path"] == "/mounted/a"


def test_fields_of_a_request_stay_apart_and_in_order(connect):
    app = apps.Recorder()
    fields = [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]
    connect(app).fetch(headers=fields)
    assert app.call.scope["headers"] == [(b"host", b"x"), *fields]


def test_the_extensions_for_responses_are_offered(connect):
    app = apps.Recorder()
    connect(app).fetch()
    offered = {"pathsend", "zerocopysend", "early_hint"}
    assert {f"http.response.{each}" for each in offered} <= set(app.call.scope["extensions"])


def test_trailers_are_offered_to_who_can_take_them(connect):
    app = apps.Recorder()
    connect(app).fetch(headers=accepting(connect))
    assert "http.response.trailers" in app.call.scope["extensions"]


def accepting(connect):
    """The fields by which a client says that it takes trailers."""
    return [(b"te", b"trailers")] + ([(b"connection", b"te")] if connect is H1Peer else [])


def test_what_an_application_changes_in_its_scope_no_other_request_sees(connect):
    seen = []

    async def application(scope, receive, send):
        seen.append("spoiled" in repr(scope))
        scope["headers"].append((b"spoiled", b"1"))
        scope["state"]["spoiled"] = True
        scope["extensions"]["spoiled"] = {}
        scope["asgi"]["spoiled"] = "1"
        await apps.hello(scope, receive, send)

    peer = connect(application, state={})
    for _ in range(3):
        peer.fetch()
    assert seen == [False] * 3


def test_context_variables_of_a_request_are_its_own(connect):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def application(scope, receive, send):
        seen.append(variable.get())
        variable.set("set")
        await apps.hello(scope, receive, send)

    peer = connect(application)
    peer.fetch()
    peer.fetch()
    assert seen == ["unset", "unset"]


# Receive


def test_a_request_without_a_body_is_one_message(connect):
    seen = []
    connect(reads_all(seen)).fetch()
    assert seen == [{"type": "http.request", "body": b"", "more_body": False}]


def test_a_body_is_whole(connect):
    answer = connect(apps.echo).fetch(method="POST", body=b"x" * LARGE)
    assert answer.body == b"x" * LARGE and answer.complete


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
def test_the_parts_of_a_body_come_as_they_arrive(connect, sized):
    seen = []
    peer = connect(reads_all(seen))
    id = peer.begin(headers=[(b"content-length", b"10")] if sized else [])
    peer.part(id, b"12345")
    assert [(each["body"], each["more_body"]) for each in seen] == [(b"12345", True)]
    peer.part(id, b"67890", end=True)
    assert b"".join(each["body"] for each in seen) == b"1234567890"
    assert not seen[-1]["more_body"] and peer.result(id).complete


def test_an_empty_body_of_unknown_size_ends(connect):
    app = apps.Recorder()
    peer = connect(app)
    peer.part(peer.begin(), end=True)
    assert app.call.ended and app.call.body == b""


def test_trailers_of_a_request_come_with_its_end(connect):
    app = apps.Recorder()
    connect(app).fetch(method="POST", body=b"abc", trailers=[(b"x-sum", b"6")])
    assert app.call.body == b"abc" and app.call.trailers == [(b"x-sum", b"6")]


def test_trailers_may_follow_nothing(connect):
    app = apps.Recorder()
    peer = connect(app)
    peer.part(peer.begin(), end=True, trailers=[(b"x-sum", b"0")])
    assert app.call.body == b"" and app.call.trailers == [(b"x-sum", b"0")]


@pytest.mark.parametrize("leave", ["lose", "abandon"])
def test_receive_after_the_body_waits_until_the_client_is_gone(connect, leave):
    async def steps(seen, receive, send):
        await receive()
        seen.append("waiting")
        seen.append(await receive())

    script = Script(steps)
    peer = connect(script)
    id = peer.ask()
    assert script.seen == ["waiting"]
    depart(peer, id, leave)
    assert script.seen == ["waiting", {"type": "http.disconnect"}]


def depart(peer, id, way):
    """The whole connection goes, or only the request."""
    if way == "lose":
        peer.lose()
    else:
        peer.abandon(id)


@pytest.mark.parametrize("leave", ["lose", "abandon"])
def test_a_disconnect_in_the_middle_of_a_body_never_looks_like_its_end(connect, leave):
    app = apps.Recorder()
    peer = connect(app)
    id = peer.begin()
    peer.part(id, b"12345")
    depart(peer, id, leave)
    assert app.call.disconnected and not app.call.ended


def test_a_whole_body_is_delivered_even_if_the_client_is_gone_meanwhile(connect):
    async def steps(gate, scope, receive, send):
        await gate.wait()
        gate.seen.extend([await receive(), await receive()])

    gate = apps.Gate(steps)
    peer = connect(gate)
    id = peer.begin()
    peer.part(id, b"1234567890", end=True)
    peer.abandon(id)
    gate.open()
    peer.settle()
    assert gate.seen[0]["body"] == b"1234567890" and not gate.seen[0]["more_body"]
    assert gate.seen[1]["type"] == "http.disconnect"


def test_receive_after_the_response_is_a_disconnect(connect):
    async def steps(seen, receive, send):
        await receive()
        await apps.hello({}, receive, send)
        seen.extend([(await receive())["type"] for _ in range(3)])

    script = Script(steps)
    assert connect(script).fetch().body == b"hello"
    assert script.seen == ["http.disconnect"] * 3


def test_who_listens_while_it_answers_hears_when_the_answer_is_complete(connect):
    async def steps(seen, receive, send):
        await receive()
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await apps.hello({}, receive, send)
        seen.append((await listener)["type"])

    script = Script(steps)
    connect(script).fetch()
    assert script.seen == ["http.disconnect"]


# 100 (Continue)


EXPECTS = [(b"expect", b"100-continue"), (b"content-length", b"3")]


def test_100_is_sent_when_the_application_asks_for_the_body(connect):
    gate = apps.Gate(apps.late_echo)
    peer = connect(gate)
    id = peer.begin(headers=EXPECTS)
    assert peer.result(id) is None
    gate.open()
    peer.settle()
    assert peer.result(id).informational == [(100, [])]
    peer.part(id, b"abc", end=True)
    answer = peer.result(id)
    assert answer.body == b"abc" and answer.informational == [(100, [])]


def test_100_is_not_sent_to_who_is_answered_without_reading(connect):
    peer = connect(apps.answers(b"no", 403))
    answer = peer.result(peer.begin(headers=EXPECTS))
    assert answer.status == 403 and answer.informational == [] and answer.complete


def test_the_time_for_a_body_runs_only_once_it_was_asked_for(connect):
    gate = apps.Gate(apps.late_echo)
    peer = connect(gate)
    id = peer.begin(headers=EXPECTS)
    peer.advance(50)
    assert peer.result(id) is None
    gate.open()
    peer.settle()
    peer.advance(32)
    assert peer.result(id).status == 408


def test_an_expectation_that_nobody_knows_is_refused(connect):
    peer = connect(apps.never)
    answer = peer.result(peer.begin(headers=[(b"expect", b"magic"), (b"content-length", b"3")]))
    assert answer.status == 417 and answer.complete
    assert peer.context.stats.responses == [0, 0, 0, 0, 1, 0]


# Send


def test_an_answer_at_once_says_its_length(connect):
    answer = connect(apps.hello).fetch()
    assert answer.body == b"hello" and answer[b"content-length"] == b"5" and answer.complete


def test_an_answer_in_parts_is_whole(connect):
    parts = [body(b"a", more=True), body(b"", more=True), body(b"b", more=True), body(b"c")]
    answer = connect(apps.sends(start(), *parts)).fetch()
    assert answer.body == b"abc" and answer.complete and answer[b"content-length"] is None


def test_an_answer_in_parts_may_end_with_nothing(connect):
    answer = connect(apps.sends(start(), body(b"a", more=True), body())).fetch()
    assert answer.body == b"a" and answer.complete


def test_a_part_leaves_before_the_next_one_is_there(connect):
    async def steps(gate, scope, receive, send):
        await send(start())
        await send(body(b"first", more=True))
        await gate.wait()
        await send(body(b"second"))

    gate = apps.Gate(steps)
    peer = connect(gate)
    id = peer.ask()
    assert peer.result(id).body == b"first" and not peer.result(id).complete
    gate.open()
    peer.settle()
    assert peer.result(id).body == b"firstsecond" and peer.result(id).complete


def test_a_large_answer_is_whole(connect):
    assert connect(apps.answers(b"x" * LARGE)).fetch().body == b"x" * LARGE


def test_names_are_sent_in_lower_case_and_values_without_white_space(connect):
    answer = connect(apps.answers(b"x", 200, (b"X-A", b" 1\t"))).fetch()
    assert answer[b"x-a"] == b"1"


def test_fields_of_a_response_stay_apart_and_in_order(connect):
    fields = [(b"set-cookie", b"a=1"), (b"x-a", b"2"), (b"set-cookie", b"b=3")]
    answer = connect(apps.answers(b"x", 200, *fields)).fetch()
    assert [each for each in answer.headers if each in fields] == fields


def test_every_response_has_a_date_and_a_server(connect):
    answer = connect(apps.hello).fetch()
    assert answer[b"date"] == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert answer[b"server"] == b"tricorn"


def test_the_date_and_server_of_the_application_are_the_only_ones(connect):
    own = [(b"Date", b"then"), (b"Server", b"mine")]
    answer = connect(apps.answers(b"x", 200, *own)).fetch()
    assert (answer[b"date"], answer[b"server"]) == (b"then", b"mine")


def test_the_operators_fields_are_in_every_response(connect):
    answer = connect(apps.hello, Config(header=("X-Where: here",), server_header=False)).fetch()
    assert answer[b"x-where"] == b"here" and answer[b"server"] is None


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"Connection", b"Keep-Alive", b"Upgrade"])
def test_what_is_the_connections_to_say_is_not_the_applications(connect, name):
    answer = connect(apps.answers(b"abc", 200, (name, b"chunked"))).fetch()
    assert answer.body == b"abc" and answer.all(name.lower()) == []


@pytest.mark.parametrize("field", [(b"x-a", b"1\r\nx-b: 2"), (b"x a", b"1"), (b"x-a", b"\0")])
def test_a_field_that_cannot_be_sent_is_a_500_and_the_connection_goes_on(connect, field):
    peer = connect(apps.answers(b"x", 200, field))
    for _ in range(2):
        assert peer.fetch().status == 500
        errors.expect("the application raised ApplicationError")


@pytest.mark.parametrize("length", [[], [(b"content-length", b"5")]])
@pytest.mark.parametrize("parts", [[body(b"hello")], [body(b"he", more=True), body(b"llo")]])
def test_head_gets_no_content(connect, parts, length):
    peer = connect(apps.sends(start(200, *length), *parts))
    for _ in range(2):
        answer = peer.fetch(method="HEAD")
        assert answer.complete and answer.body == b""
        assert answer.all(b"content-length") in ([value for _, value in length], [b"5"])


@pytest.mark.parametrize("parts", [[body(b"x")], [body(b"x", more=True), body(b"y")], [body()]])
@pytest.mark.parametrize("status", [204, 205, 304])
def test_some_statuses_have_no_content(connect, status, parts):
    peer = connect(apps.sends(start(status), *parts))
    for _ in range(2):
        answer = peer.fetch()
        assert answer.status == status and answer.body == b"" and answer.complete


def test_204_has_no_content_length_even_if_the_application_says_so(connect):
    answer = connect(apps.answers(b"", 204, (b"content-length", b"0"))).fetch()
    assert answer[b"content-length"] is None


def test_304_may_tell_the_length_of_what_it_does_not_send(connect):
    answer = connect(apps.answers(b"", 304, (b"content-length", b"99"))).fetch()
    assert answer[b"content-length"] == b"99"


def test_trailers_follow_the_content(connect):
    messages = [start(trailers=True), body(b"a", more=True), body(b"b")]
    trailing = [apps.trailers((b"X-Sum", b"1"), more=True), apps.trailers((b"x-b", b"2"))]
    peer = connect(apps.sends(*messages, *trailing))
    answer = peer.fetch(headers=accepting(connect))
    assert answer.body == b"ab" and answer.complete
    assert answer.trailers == [(b"x-sum", b"1"), (b"x-b", b"2")]


def test_trailers_may_follow_no_content(connect):
    messages = [start(trailers=True), body(b""), apps.trailers((b"grpc-status", b"0"))]
    answer = connect(apps.sends(*messages)).fetch(headers=accepting(connect))
    assert answer.body == b"" and answer.trailers == [(b"grpc-status", b"0")] and answer.complete


def test_what_frames_the_content_is_no_trailer(connect):
    late = apps.trailers((b"Content-Length", b"9"), (b"date", b"x"), (b"server", b"x"))
    answer = connect(apps.sends(start(trailers=True), body(b"a"), late)).fetch(
        headers=accepting(connect)
    )
    assert answer.body == b"a" and answer.trailers == [] and answer.complete


def test_head_gets_no_trailers(connect):
    messages = [start(trailers=True), body(b"x"), apps.trailers((b"x-sum", b"1"))]
    peer = connect(apps.sends(*messages))
    answer = peer.fetch(method="HEAD", headers=accepting(connect))
    assert answer.trailers == [] and answer.complete


def test_early_hints_come_before_the_response(connect):
    hint = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload", b"</b>"]}
    answer = connect(apps.sends(hint, start(), hint, body(b"x"))).fetch()
    links = [(b"link", b"</a>; rel=preload"), (b"link", b"</b>")]
    assert answer.informational == [(103, links), (103, links)] and answer.body == b"x"


def test_pathsend_sends_a_file_with_its_length(connect, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 50_000)
    message = {"type": "http.response.pathsend", "path": str(path)}
    answer = connect(apps.sends(start(), message)).fetch()
    assert answer.body == path.read_bytes() and answer[b"content-length"] == b"500000"


def test_zerocopysend_sends_parts_of_a_file(connect, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    async def application(scope, receive, send):
        with path.open("rb") as opened:
            message = {"type": "http.response.zerocopysend", "file": opened}
            await send(start())
            await send(body(b"<", more=True))
            await send(message | {"offset": 5, "count": 3, "more_body": True})
            await send(message | {"count": 2})

    answer = connect(application).fetch()
    assert answer.body == b"<56701" and answer.complete


def test_an_early_answer_is_whole(connect):
    peer = connect(apps.answers(b"x" * LARGE))
    answer = peer.result(peer.begin())
    assert len(answer.body) == LARGE and answer.complete


# Errors


async def fails(scope, receive, send):
    raise KeyError("a bug")


def test_an_error_before_the_response_is_a_500_and_the_connection_goes_on(connect):
    peer = connect(fails)
    for _ in range(2):
        answer = peer.fetch()
        assert answer.status == 500 and answer.complete
        errors.expect("a bug")


def test_an_error_after_the_head_was_given_is_still_a_500(connect):
    async def application(scope, receive, send):
        await send(start(200, (b"x-a", b"1")))
        raise KeyError("a bug")

    answer = connect(application).fetch()
    assert answer.status == 500 and answer[b"x-a"] is None
    errors.expect("a bug")


def test_an_error_in_the_middle_cannot_be_taken_for_the_end(connect):
    async def application(scope, receive, send):
        await send(start())
        await send(body(b"half", more=True))
        raise KeyError("a bug")

    peer = connect(application)
    assert not peer.result(peer.ask()).complete
    assert peer.context.stats.aborted == 1
    errors.expect("a bug")


def test_returning_without_a_response_is_a_500(connect):
    assert connect(apps.sends()).fetch().status == 500
    errors.expect("without completing")


def test_returning_in_the_middle_cannot_be_taken_for_the_end(connect):
    peer = connect(apps.sends(start(), body(b"half", more=True)))
    assert not peer.result(peer.ask()).complete
    errors.expect("without completing")


def test_too_much_content_is_cut_off_and_logged(connect):
    messages = [start(200, (b"content-length", b"3")), body(b"12", more=True), body(b"345")]
    answer = connect(apps.sends(*messages)).fetch()
    assert answer.body == b"123" and answer.complete
    errors.expect("Content-Length")


def test_too_much_content_at_once_is_cut_off_and_logged(connect):
    answer = connect(apps.answers(b"12345", 200, (b"content-length", b"3"))).fetch()
    assert answer.body == b"123" and answer.complete
    errors.expect("Content-Length")


def test_too_little_content_at_once_is_a_500(connect):
    assert connect(apps.answers(b"12", 200, (b"content-length", b"3"))).fetch().status == 500
    errors.expect("Content-Length")


def test_too_little_content_in_parts_cannot_be_taken_for_all(connect):
    messages = [start(200, (b"content-length", b"30")), body(b"12", more=True), body(b"34")]
    peer = connect(apps.sends(*messages))
    assert not peer.result(peer.ask()).complete
    errors.expect("Content-Length")


@pytest.mark.parametrize("fields", [[b"3", b"3"], [b"-3"], [b"three"], [b""]])
def test_a_content_length_that_is_none_is_a_500(connect, fields):
    app = apps.answers(b"abc", 200, *[(b"content-length", each) for each in fields])
    assert connect(app).fetch().status == 500
    errors.expect("Content-Length")


def test_a_task_that_is_cancelled_before_its_answer_says_500(connect):
    async def steps(seen, receive, send):
        seen.append(asyncio.current_task())
        await receive()
        await receive()

    script = Script(steps)
    peer = connect(script)
    id = peer.ask()
    script.seen[0].cancel()
    peer.settle()
    assert peer.result(id).status == 500


# The client leaves


@pytest.mark.parametrize("leave", ["lose", "abandon"])
@pytest.mark.parametrize("message", [start(), body(b"x"), {"type": "nonsense"}])
def test_send_raises_an_oserror_once_the_client_is_gone(connect, message, leave):
    async def steps(seen, receive, send):
        await receive()
        await receive()
        for _ in range(2):
            try:
                await send(message)
            except Exception as error:
                seen.append(error)

    script = Script(steps)
    peer = connect(script)
    depart(peer, peer.ask(), leave)
    assert len(script.seen) == 2 and all(isinstance(each, OSError) for each in script.seen)


@pytest.mark.parametrize("leave", ["lose", "abandon"])
def test_an_application_that_fails_because_the_client_is_gone_is_no_error(connect, leave):
    peer = connect(streams_forever)
    peer.stop_reading()
    depart(peer, peer.ask(), leave)
    # The peer would find an error in the log.
    assert peer.context.stats.aborted == 1 and not peer.context.running


def test_a_client_that_leaves_in_the_middle_of_a_file_stops_its_reading(connect, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(LARGE))
    peer = connect(apps.sends(start(), {"type": "http.response.pathsend", "path": str(path)}))
    peer.stop_reading()
    peer.abandon(peer.ask())
    assert peer.context.stats.aborted == 1 and not peer.context.running


# Back-pressure


def test_send_waits_for_a_client_that_does_not_read(connect):
    async def counts(seen, receive, send):
        await send(start())
        for _ in range(LARGE // PART):
            await send(body(b"x" * PART, more=True))
            seen.append(PART)
        await send(body())

    script = Script(counts)
    peer = connect(script)
    peer.stop_reading()
    id = peer.ask()
    assert sum(script.seen) < LARGE // 3
    peer.read()
    assert len(peer.result(id).body) == LARGE and peer.result(id).complete


def test_a_client_that_never_reads_is_given_up(connect):
    peer = connect(streams_forever)
    peer.stop_reading()
    peer.ask()
    peer.advance(65)
    assert not peer.context.running and peer.context.stats.aborted == 1


def test_a_client_that_reads_slowly_is_not(connect):
    peer = connect(apps.answers(b"x" * LARGE))
    peer.stop_reading()
    id = peer.ask()
    for _ in range(LARGE // 10_000 + 20):
        peer.read(10_000)
        peer.advance(20)
    assert len(peer.result(id).body) == LARGE


def test_a_client_waits_for_an_application_that_does_not_read(connect):
    gate = apps.Gate(apps.late_echo)
    peer = connect(gate)
    id = peer.begin()
    peer.part(id, b"x" * LARGE, end=True)
    assert peer.held(id) > LARGE // 3
    gate.open()
    peer.settle()
    assert peer.held(id) == 0 and len(peer.result(id).body) == LARGE


def test_the_time_of_an_application_that_does_not_read_is_not_the_clients(connect):
    gate = apps.Gate(apps.late_echo)
    peer = connect(gate)
    id = peer.begin()
    peer.part(id, b"x" * LARGE, end=True)
    peer.advance(100)
    gate.open()
    peer.settle()
    assert len(peer.result(id).body) == LARGE


def test_a_slow_upload_holds_up_only_itself(connect):
    async def waits_or_answers(scope, receive, send):
        if scope["path"] == "/slow":
            await forever.wait()
        await apps.echo(scope, receive, send)

    forever = asyncio.Event()
    first = connect(waits_or_answers)
    id = first.begin("/slow")
    first.part(id, b"x" * LARGE)
    # On HTTP/1.1 another request needs another connection.
    second = first if version_of(first) != "1.1" else connect(beside=first)
    assert second.fetch("/fast", "POST", body=b"y" * LARGE).body == b"y" * LARGE
    forever.set()


def test_an_upload_that_stalls_is_answered_with_408(connect):
    app = apps.Recorder()
    peer = connect(app)
    id = peer.begin()
    peer.part(id, b"12345")
    peer.advance(40)
    answer = peer.result(id)
    assert answer.status == 408 and answer.complete and app.call.disconnected
    assert peer.context.stats.responses == [0, 0, 0, 0, 1, 0]


def test_an_upload_that_goes_on_is_not(connect):
    app = apps.Recorder()
    peer = connect(app)
    id = peer.begin()
    for _ in range(10):
        peer.part(id, b"x" * 10_000)
        peer.advance(20)
    peer.part(id, end=True)
    assert peer.result(id).status == 200 and len(app.call.body) == 100_000


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
def test_a_body_that_is_too_large_is_answered_with_413(connect, sized):
    app = apps.Recorder()
    peer = connect(app, Config(max_request_body_size=1000))
    id = peer.begin(headers=[(b"content-length", b"1001")] if sized else [])
    if not sized:
        peer.part(id, b"x" * 1001)
    assert peer.result(id).status == 413
    assert not any(call.ended for call in app.calls)


# Accounts


def test_every_response_is_counted_once_by_its_class(connect):
    peer = connect(apps.answers(b"x", 404))
    peer.fetch()
    peer.fetch()
    assert peer.context.stats.responses == [0, 0, 0, 0, 2, 0]
    assert peer.context.stats.aborted == 0


class Log:
    """An access log in JSON, and what is in it."""

    def __init__(self, path):
        self.path = path
        self.log = AccessLog(LogFile(str(path), 1), "json")

    @property
    def records(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "log")


def test_a_response_is_one_record(connect, log):
    peer = connect(apps.hello, accesslog=log.log)
    peer.fetch("/a?b", headers=[(b"user-agent", b"me")])
    (record,) = log.records
    expected = {
        "protocol": f"HTTP/{version_of(peer)}",
        "method": "GET",
        "path": "/a",
        "query": "b",
        "host": "x",
        "status": 200,
        "bytes": 5,
        "aborted": False,
        "user_agent": "me",
    }
    assert {key: record[key] for key in expected} == expected


@pytest.mark.parametrize("leave", ["lose", "abandon"])
def test_a_client_that_leaves_before_the_answer_is_recorded_as_499(connect, log, leave):
    async def waits(scope, receive, send):
        await receive()
        await receive()

    peer = connect(waits, accesslog=log.log)
    depart(peer, peer.ask(), leave)
    (record,) = log.records
    assert (record["status"], record["aborted"]) == (499, True)


def test_an_answer_that_breaks_off_is_recorded_as_aborted(connect, log):
    peer = connect(apps.sends(start(), body(b"half", more=True)), accesslog=log.log)
    peer.ask()
    errors.expect("without completing")
    (record,) = log.records
    assert (record["status"], record["aborted"], record["bytes"]) == (200, True, 4)


def test_content_that_was_not_sent_is_not_counted(connect, log):
    connect(apps.hello, accesslog=log.log).fetch(method="HEAD")
    (record,) = log.records
    assert record["bytes"] == 0


# Draining, and other ends


def test_a_worker_that_stops_finishes_what_is_open(connect):
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await apps.hello(scope, receive, send)

    gate = apps.Gate(steps)
    peer = connect(gate)
    id = peer.ask()
    peer.drain()
    peer.advance(5)
    gate.open()
    peer.settle()
    assert peer.result(id).body == b"hello" and peer.result(id).complete and peer.closed


def test_a_worker_that_stops_tells_its_applications(connect):
    async def stream(scope, receive, send):
        await send(apps.start())
        await send(apps.body(b"begun ", more=True))
        await scope["extensions"]["tricorn.shutdown"]["event"].wait()
        await send(apps.body(b"ended"))

    peer = connect(stream)
    id = peer.ask()
    peer.advance(5)
    assert not peer.result(id).complete
    peer.drain()
    peer.advance(5)
    assert peer.result(id).body == b"begun ended" and peer.result(id).complete and peer.closed


def test_the_event_of_all_requests_cannot_be_taken_away_by_one(connect):
    app = apps.Recorder()
    peer = connect(app)
    peer.fetch()
    with pytest.raises(TypeError):
        app.call.scope["extensions"]["tricorn.shutdown"]["event"] = None
    assert app.call.scope["extensions"]["tricorn.shutdown"] is peer.context.shutdown


def test_a_worker_that_stops_receives_the_rest_of_a_body(connect):
    peer = connect(apps.echo)
    id = peer.begin()
    peer.part(id, b"123")
    peer.drain()
    peer.advance(5)
    peer.part(id, b"456", end=True)
    assert peer.result(id).body == b"123456" and peer.closed


def test_a_worker_that_stops_closes_what_is_idle(connect):
    peer = connect(apps.hello)
    peer.fetch()
    peer.drain()
    peer.advance(3)
    assert peer.closed and not peer.reset


def test_a_connection_that_was_answered_is_idle(connect):
    peer = connect(apps.hello)
    assert not peer.connection.idle
    peer.fetch()
    assert peer.connection.idle


def test_an_idle_connection_is_closed_after_its_time(connect):
    peer = connect(apps.hello)
    patience = 25 if isinstance(peer, H3Peer) else 70
    peer.fetch()
    peer.advance(patience)
    assert not peer.closed
    peer.advance(10)
    assert peer.closed and not peer.reset


def test_a_connection_that_says_nothing_is_closed(connect):
    peer = connect(apps.never, **({} if connect is H1Peer else {"polite": False}))
    peer.advance(15)
    assert peer.closed


@pytest.mark.parametrize("connect", [v for v in VERSIONS.values() if v is not H3Peer])
def test_who_ends_its_direction_after_the_request_still_gets_the_answer(connect):
    async def steps(gate, scope, receive, send):
        await gate.wait()
        await apps.hello(scope, receive, send)

    gate = apps.Gate(steps)
    peer = connect(gate)
    id = peer.ask()
    peer.half_close()
    gate.open()
    peer.settle()
    assert peer.result(id).body == b"hello" and peer.closed


@pytest.mark.parametrize("passed_on", [False, True])
def test_names_with_underscores_are_left_out_unless_they_are_wanted(connect, passed_on):
    """P-02 of the attack catalogue: to CGI's variables and WSGI they look like hyphens."""
    seen = []

    async def application(scope, receive, send):
        seen.append([name for name, _ in scope["headers"]])
        await apps.hello(scope, receive, send)

    peer = connect(application, Config(underscores_in_headers=passed_on))
    for _ in range(2):
        peer.fetch("/", headers=((b"x_forwarded_for", b"evil"), (b"x-a", b"1")))
    for names in seen:
        assert (b"x_forwarded_for" in names) is passed_on
        assert b"x-a" in names
