"""net/tls.py: from the configuration to a context, and from a handshake to the scope."""

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tricorn.config import Config, ConfigError
from tricorn.net import tls


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def files(authority, tmp_path):
    return authority.issue(tmp_path, "localhost")


@pytest.fixture
def config(files):
    return replace(Config(), certfile=files.certificate, keyfile=files.key)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """In memory; the server's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    pending = [theirs, ours]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not pending:
            return ours
    raise AssertionError("no end of the handshake")


def problem(config) -> str:
    with pytest.raises(ConfigError) as raised:
        tls.server_context(config)
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


def test_without_a_certificate_there_is_no_tls():
    assert tls.server_context(Config()) is None


def test_context_is_strict(config):
    context = tls.server_context(config)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.verify_mode == ssl.CERT_NONE


def test_minimum_version(config):
    context = tls.server_context(replace(config, tls_min_version="1.3"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3


def test_certificate_and_key_in_one_file(config):
    both = Path(config.certfile).read_text() + Path(config.keyfile).read_text()
    Path(config.certfile).write_text(both)
    assert tls.server_context(replace(config, keyfile=""))


@pytest.mark.parametrize("option", ["certfile", "keyfile", "ca_certs"])
def test_file_that_is_missing(config, option):
    assert "missing: No such file or directory" in problem(replace(config, **{option: "missing"}))


@pytest.mark.parametrize("option", ["certfile", "keyfile", "ca_certs"])
def test_file_that_is_a_directory(config, option, tmp_path):
    assert "directory" in problem(replace(config, **{option: str(tmp_path)}))


@pytest.mark.parametrize("content", [b"", b"garbage", os.urandom(2000), b"\0" * 100])
@pytest.mark.parametrize("option", ["certfile", "keyfile", "ca_certs"])
def test_file_that_is_garbage(config, option, content, tmp_path):
    path = tmp_path / "garbage"
    path.write_bytes(content)
    assert str(path) in problem(replace(config, **{option: str(path)}))


def test_certificate_whose_end_is_missing(config):
    path = Path(config.certfile)
    path.write_bytes(path.read_bytes()[:-50])
    assert config.certfile in problem(config)


def test_key_in_place_of_the_certificate(config):
    assert config.keyfile in problem(replace(config, certfile=config.keyfile))


def test_key_of_somebody_else(authority, config, tmp_path):
    other = authority.issue(tmp_path, "other")
    assert "is not the key of" in problem(replace(config, keyfile=other.key))


@pytest.mark.parametrize("password", ["", "wrong", "x" * 2000])
def test_password_that_does_not_open_the_key(authority, tmp_path, password):
    locked = authority.issue(tmp_path, "locked", password="right")
    config = replace(
        Config(), certfile=locked.certificate, keyfile=locked.key, keyfile_password=password
    )
    assert "is encrypted" in problem(config)


def test_password_that_opens_the_key(authority, tmp_path):
    locked = authority.issue(tmp_path, "locked", password="right")
    config = replace(
        Config(), certfile=locked.certificate, keyfile=locked.key, keyfile_password="right"
    )
    assert tls.server_context(config)


def test_password_for_a_key_that_has_none(config):
    assert tls.server_context(replace(config, keyfile_password="needless"))


@pytest.mark.parametrize("ciphers", ["", "ROT13", "TLS_AES_128_GCM_SHA256"])
def test_ciphers_of_which_none_is_known(config, ciphers):
    assert "--ciphers" in problem(replace(config, ciphers=ciphers))


def test_key_that_everybody_can_read_is_worth_a_warning(config):
    assert tls.warnings(config) == []
    os.chmod(config.keyfile, 0o644)
    (sentence,) = tls.warnings(config)
    assert config.keyfile in sentence


def test_scope_without_a_client_certificate(authority, config):
    session = shake_hands(tls.server_context(config), authority.client_context())
    facts = tls.describe(session)
    assert facts["client_cert_chain"] == []
    assert facts["client_cert_name"] is None and facts["client_cert_error"] is None
    assert facts["tls_version"] == 0x0304
    assert facts["cipher_suite"] in (0x1301, 0x1302, 0x1303)


@pytest.mark.parametrize(
    "name, organization, expected",
    [
        ("client", "", "CN=client"),
        ("client", "Ink & Paper", "CN=client,O=Ink & Paper"),
        ("client", 'a,b+c"d\\e<f>g;h', 'CN=client,O=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h'),
        ("client", "#first", "CN=client,O=\\#first"),
        ("client", " around ", "CN=client,O=\\ around\\ "),
        ("client", "Tür=Tor", "CN=client,O=Tür=Tor"),
    ],
)
def test_name_of_a_client_is_written_as_rfc4514(
    authority, config, tmp_path, name, organization, expected
):
    known = authority.issue(tmp_path, name, organization=organization)
    config = replace(config, verify_mode="CERT_REQUIRED", ca_certs=authority.write(tmp_path))
    session = shake_hands(tls.server_context(config), authority.client_context(known))
    facts = tls.describe(session)
    assert facts["client_cert_name"] == expected
    assert facts["client_cert_chain"] == [Path(known.certificate).read_text()]


def test_protocol_is_chosen_from_what_both_speak(authority, config):
    client = authority.client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    session = shake_hands(tls.server_context(config), client)
    assert session.selected_alpn_protocol() == "h2"
