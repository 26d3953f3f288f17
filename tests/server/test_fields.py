"""fields.py: what is valid, what is remembered, what is added."""

from __future__ import annotations

import pytest

from tricorn.connection import ApplicationError
from tricorn.fields import (
    FORBIDDEN_TRAILERS,
    Defaults,
    Memory,
    content_length,
    field_line,
    response_field,
    valid_authority,
    valid_name,
    valid_value,
)

TOKENS = b"!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ"  # RFC9110§5.6.2


def test_every_octet_is_in_a_name_or_not_as_rfc_9110_says():
    allowed = {octet for octet in range(256) if valid_name(bytes([octet]))}
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert allowed == set(TOKENS) | set(letters)


def test_every_octet_is_in_a_value_or_not_as_rfc_9110_says():
    allowed = {octet for octet in range(256) if valid_value(bytes([octet]))}
    assert allowed == {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)}


@pytest.mark.parametrize("line", [b"a:", b"a:b", b"a: b", b"A:\t b c", b"a::"])
def test_a_field_line(line):
    assert field_line(line)


@pytest.mark.parametrize(
    "line", [b"", b":", b"a", b"a :b", b" a:b", b"a:b\r", b"a:b\n", b"a\0:b", b"a:\x7f"]
)
def test_no_field_line(line):
    assert not field_line(line)


@pytest.mark.parametrize(
    "host", [b"x", b"a.b:80", b"[::1]", b"[::1]:1", b"1.2.3.4", b"x:", b"a%20b", b"[v1.a:b]"]
)
def test_an_authority(host):
    assert valid_authority(host)


@pytest.mark.parametrize(
    "host", [b"", b":80", b"a b", b"a@b", b"a/b", b"[::1", b"a:b", b"%z", b"a\n", b"[]"]
)
def test_no_authority(host):
    assert not valid_authority(host)


@pytest.mark.parametrize("value, number", [(b"0", 0), (b"007", 7), (b"9" * 18, 10**18 - 1)])
def test_a_content_length(value, number):
    assert content_length(value) == number


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"+1", b" 1", b"1 ", b"1_0", b"0x1", b"\xb2", b"9" * 19]
)
def test_no_content_length(value):
    assert content_length(value) is None


def test_a_response_field_is_lower_case_and_stripped():
    assert response_field(b"X-A", b" \tb ") == (b"x-a", b"b")


@pytest.mark.parametrize(
    "name, value",
    [
        ("a", b"b"),
        (b"a", "b"),
        (b"a", b"b\r\nc"),
        (b"", b"b"),
        (b"a:", b"b"),
        (None, b""),
        (b"a", 1),
    ],
)
def test_what_is_no_response_field_is_an_application_error(name, value):
    with pytest.raises(ApplicationError):
        response_field(name, value)


def test_no_trailer_frames_routes_or_authenticates():
    assert {
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"authorization",
    } <= FORBIDDEN_TRAILERS
    assert all(name == name.lower() for name in FORBIDDEN_TRAILERS)


# Memory


def test_a_memory_keeps_what_is_used():
    memory: Memory[int, str] = Memory(limit=4)
    memory.keep(0, "kept")
    for number in range(1, 40):
        memory.keep(number, "once")
        if number % 3 == 0 and memory.young.get(0) is None:
            assert memory.recall(0) == "kept"
    assert memory.young.get(0) or memory.recall(0)


def test_a_memory_forgets_what_is_not():
    memory: Memory[int, str] = Memory(limit=4)
    for number in range(100):
        memory.keep(number, "once")
        assert len(memory.young) <= 4 and len(memory.old) <= 4
    assert memory.recall(0) is None


def test_a_memory_is_one_dictionary_for_who_reads_it_in_a_loop():
    memory: Memory[int, str] = Memory(limit=2)
    young = memory.young
    for number in range(9):
        memory.keep(number, "")
    assert memory.young is young


# Defaults


def test_the_date_is_in_the_fixed_format():  # RFC9110§5.6.7
    defaults = Defaults(server=False, date=True)
    defaults.refresh(784111777.9)
    assert defaults.ending == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"


def test_a_head_ends_even_before_the_first_second():
    assert Defaults(server=True, date=True).ending.endswith(b"\r\n")


@pytest.mark.parametrize("date", [False, True])
@pytest.mark.parametrize("server", [False, True])
def test_beside_the_applications_own_fields_only_the_others_are_added(date, server):
    defaults = Defaults(server=True, date=True, fixed=((b"x-a", b"1"),))
    defaults.refresh(784111777)
    lines = defaults.beside(date=date, server=server)
    if date or server:
        assert (b"date:" in lines, b"server:" in lines) == (not date, not server)
        assert b"x-a: 1\r\n" in lines


def test_what_is_added_to_a_response_is_there_as_fields_too():
    defaults = Defaults(server=True, date=True, fixed=((b"x-where", b"here"),))
    defaults.refresh(784111777.0)
    date = (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")
    assert defaults.fields == (date, (b"server", b"tricorn"), (b"x-where", b"here"))
    assert defaults.missing([]) == list(defaults.fields)


def test_own_date_and_server_take_the_place_of_ours_and_other_fields_do_not():
    defaults = Defaults(server=True, date=True, fixed=((b"x-where", b"here"),))
    defaults.refresh(784111777.0)
    own = [(b"date", b"then"), (b"server", b"mine"), (b"x-where", b"there")]
    assert defaults.missing(own) == [(b"x-where", b"here")]


def test_date_and_server_may_be_turned_off_as_fields_too():
    defaults = Defaults(server=False, date=False)
    defaults.refresh(784111777.0)
    assert defaults.fields == ()
