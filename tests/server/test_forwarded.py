"""net/forwarded.py: who a request comes from, behind proxies that are trusted or not."""

from __future__ import annotations

import pytest

from tests.support.versions import VERSIONS
from tricorn.config import Config
from tricorn.connection import Endpoints, Request
from tricorn.net.forwarded import MOST_HOPS, forwarding
from tricorn.net.trust import MOST_KNOWN, Trusted

PROXY = ("10.0.0.1", 4000)
OURS = ("127.0.0.1", "10.0.0.0/8", "fd00::/8", "unix")


def look(*fields, dialect="x-forwarded", peer=PROXY, scheme="http", host=b"inside", **options):
    """Client, scheme and host of a request with these fields, from that peer."""
    config = Config(proxy_headers=dialect, **{"forwarded_allow_ips": OURS} | options)
    headers = ((b"host", host), *fields)
    request = Request("1.1", "GET", b"/", host, "/", b"/", b"", headers)
    seen, endpoints = forwarding(config)(request, Endpoints(peer, ("10.0.0.9", 80), scheme))
    assert seen.authority == dict(seen.headers)[b"host"]
    return endpoints.client, endpoints.scheme, seen.authority


def client_of(*values, **options):
    return look(*((b"x-forwarded-for", value) for value in values), **options)[0]


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([b"192.0.2.7"], ("192.0.2.7", 0)),
        ([b"192.0.2.7:5123"], ("192.0.2.7", 5123)),
        ([b"2001:db8::7"], ("2001:db8::7", 0)),
        ([b"[2001:DB8::7]:5123"], ("2001:db8::7", 5123)),
        # Proxies of ours are walked past, from the right; what the client wrote is not.
        ([b"192.0.2.7, 10.1.1.1"], ("192.0.2.7", 0)),
        ([b"192.0.2.66, 192.0.2.7 , 10.1.1.1,10.2.2.2"], ("192.0.2.7", 0)),
        ([b"192.0.2.66", b"192.0.2.7", b"10.1.1.1"], ("192.0.2.7", 0)),
        ([b"10.3.3.3, 10.1.1.1"], ("10.3.3.3", 0)),
        # Nobody is believed beyond what cannot be read.
        ([b"192.0.2.66, unknown, 10.1.1.1"], ("10.1.1.1", 0)),
        ([b"192.0.2.66, unknown"], PROXY),
        ([b"unknown"], PROXY),
        ([b""], PROXY),
        ([b"192.0.2.7,"], PROXY),
        ([b"192.0.2.300"], PROXY),
        ([b"192.0.2.7:99999"], PROXY),
        ([b"fe80::1%eth0"], PROXY),
        ([b"<script>"], PROXY),
        ([], PROXY),
    ],
)
def test_the_client_is_the_first_from_the_right_who_is_no_proxy_of_ours(values, client):
    assert client_of(*values) == client


@pytest.mark.parametrize("peer", [("192.0.2.1", 1), ("2001:db8::1", 1), ("::ffff:192.0.2.1", 1)])
def test_who_is_no_proxy_of_ours_is_not_believed(peer):
    fields = [
        (b"x-forwarded-for", b"10.9.9.9"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"evil"),
    ]
    found = look(*fields, peer=peer, forwarded_fields=("for", "proto", "host"))
    assert found == (peer, "http", b"inside")


@pytest.mark.parametrize("peer", [("10.0.0.1", 1), ("::ffff:10.0.0.1", 1), ("fd00::1", 1), None])
def test_every_kind_of_proxy_of_ours_is_believed(peer):
    assert client_of(b"192.0.2.7", peer=peer) == ("192.0.2.7", 0)


def test_a_socket_file_is_believed_only_if_it_is_named():
    assert client_of(b"192.0.2.7", peer=None, forwarded_allow_ips=("10.0.0.1",)) is None


def test_everybody_may_be_believed():
    options = {"peer": ("192.0.2.1", 1), "forwarded_allow_ips": ("*",)}
    # All of the list are proxies then: the client is the leftmost.
    assert client_of(b"192.0.2.66, 192.0.2.7", **options) == ("192.0.2.66", 0)


def test_so_many_proxies_are_looked_at():
    values = b",".join(b"10.0.%d.1" % number for number in range(200, 0, -1))
    assert client_of(values) == (f"10.0.{MOST_HOPS}.1", 0)


@pytest.mark.parametrize(
    ("nodes", "schemes", "scheme"),
    [
        (b"192.0.2.7", b"https", "https"),
        (b"192.0.2.7", b"HTTPS", "https"),
        (b"192.0.2.7", b"wss", "https"),
        (b"192.0.2.7", b"gopher", "http"),
        (b"192.0.2.7", b"https, http", "http"),
        (b"192.0.2.7, 10.1.1.1", b"https, http", "https"),
        (b"192.0.2.7, 10.1.1.1", b"https", "https"),
        (b"192.0.2.66, 192.0.2.7, 10.1.1.1", b"http, https, http", "https"),
    ],
)
def test_the_scheme_is_what_the_client_used(nodes, schemes, scheme):
    fields = (b"x-forwarded-for", nodes), (b"x-forwarded-proto", schemes)
    assert look(*fields)[1] == scheme


def test_the_scheme_alone_is_enough():
    assert look((b"x-forwarded-proto", b"https")) == (PROXY, "https", b"inside")


def test_only_the_fields_that_are_asked_for_are_taken():
    fields = [
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"outside.example:444"),
    ]
    assert look(*fields) == (("192.0.2.7", 0), "https", b"inside")
    assert look(*fields, forwarded_fields=("host",)) == (PROXY, "http", b"outside.example:444")


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a, b@c", b"", b"user@a"])
def test_a_host_that_is_none_is_not_taken(host):
    fields = (b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-host", host)
    assert look(*fields, forwarded_fields=("for", "host"))[2] == b"inside"


# RFC 7239


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        (b"for=192.0.2.7", ("192.0.2.7", 0), "http"),
        (b"For=192.0.2.7;Proto=https;by=10.0.0.1", ("192.0.2.7", 0), "https"),
        (b'for="[2001:db8::7]:5123" ; proto="https"', ("2001:db8::7", 5123), "https"),
        (b'for="192.0.2.7:80"', ("192.0.2.7", 80), "http"),
        (b'for="192.0.2\\.7"', ("192.0.2.7", 0), "http"),
        (b"for=192.0.2.66;proto=https, for=192.0.2.7;proto=http", ("192.0.2.7", 0), "http"),
        (b"for=192.0.2.7;proto=https, for=10.1.1.1;proto=http", ("192.0.2.7", 0), "https"),
        (b"for=unknown;proto=https", PROXY, "https"),
        (b"for=_hidden, for=10.1.1.1", ("10.1.1.1", 0), "http"),
        # What a client writes on the left does not change what is on the right.
        (b'for="192.0.2.66, for=192.0.2.7', ("192.0.2.7", 0), "http"),
        (b'"\\, for=192.0.2.7;proto=https', ("192.0.2.7", 0), "https"),
        (b"for=192.0.2.66;;;, for=192.0.2.7", ("192.0.2.7", 0), "http"),
        (b"for 192.0.2.7", PROXY, "http"),
        (b"", PROXY, "http"),
    ],
)
def test_rfc_7239(value, client, scheme):
    assert look((b"forwarded", value), dialect="forwarded")[:2] == (client, scheme)


def test_rfc_7239_names_the_host():
    fields = (b"forwarded", b'for=192.0.2.7;host="outside.example:444"')
    found = look(fields, dialect="forwarded", forwarded_fields=("host",))
    assert found == (PROXY, "http", b"outside.example:444")


def test_one_dialect_is_read_never_both():
    fields = (b"forwarded", b"for=192.0.2.7"), (b"x-forwarded-for", b"192.0.2.8")
    assert look(*fields)[0] == ("192.0.2.8", 0)
    assert look(*fields, dialect="forwarded")[0] == ("192.0.2.7", 0)
    assert look(fields[0])[0] == PROXY
    assert look(fields[1], dialect="forwarded")[0] == PROXY


def test_what_is_remembered_of_addresses_is_bounded():
    trusted = Trusted(("10.0.0.0/8",))
    for number in range(3 * MOST_KNOWN):
        assert trusted.has(f"10.0.{number >> 8}.{number & 255}")
        assert not trusted.has(f"192.0.{number >> 8}.{number & 255}")
        assert len(trusted._known) <= MOST_KNOWN


# Through a connection


@pytest.mark.parametrize("connect", VERSIONS.values(), ids=VERSIONS)
def test_the_application_sees_the_client_and_its_scheme(connect):
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    config = Config(proxy_headers="x-forwarded", forwarded_allow_ips=("*",))
    peer = connect(application, config)
    peer.house.context.forwarding = forwarding(config)
    fields = ((b"x-forwarded-for", b"192.0.2.7:1"), (b"x-forwarded-proto", b"https"))
    for _ in range(3):  # remembered heads too
        assert peer.fetch("/", headers=fields).status == 200
    assert peer.fetch("/").status == 200
    assert [scope["client"] for scope in scopes[:3]] == [("192.0.2.7", 1)] * 3
    assert [scope["scheme"] for scope in scopes[:3]] == ["https"] * 3
    assert scopes[3]["client"] != ("192.0.2.7", 1)
