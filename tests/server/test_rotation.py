"""net/rotation.py: changes of files are seen, and shown to new connections only."""

import contextlib
import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tricorn.config import Config, ConfigError
from tricorn.http3.opening import configuration_of
from tricorn.net.rotation import Encryption, Watch


def secret(directory: Path, version: str, text: str) -> Path:
    """A directory as Kubernetes mounts a Secret: links through ..data, which is renamed."""
    (directory / version).mkdir()
    (directory / version / "tls.crt").write_text(text)
    (directory / "..data_tmp").symlink_to(version)
    os.rename(directory / "..data_tmp", directory / "..data")
    link = directory / "tls.crt"
    if not link.is_symlink():
        link.symlink_to("..data/tls.crt")
    return link


def test_file_that_is_written_again_is_seen_when_it_stays_the_same(tmp_path):
    path = tmp_path / "cert"
    path.write_text("one")
    watch = Watch([str(path), ""])
    assert [watch.changed() for _ in range(3)] == [False] * 3
    path.write_text("three")
    assert [watch.changed() for _ in range(3)] == [False, True, False]


def test_secret_that_kubernetes_renames_is_seen(tmp_path):
    watch = Watch([str(secret(tmp_path, "..1", "same size"))])
    assert not watch.changed()
    secret(tmp_path, "..2", "size same")
    assert [watch.changed() for _ in range(3)] == [False, True, False]


def test_file_that_is_gone_for_a_moment_is_no_end(tmp_path):
    path = tmp_path / "cert"
    path.write_text("one")
    watch = Watch([str(path)])
    path.unlink()
    assert not watch.changed()
    path.write_text("three")
    assert [watch.changed() for _ in range(2)] == [False, True]


def test_files_that_go_on_changing_are_waited_for(tmp_path):
    path = tmp_path / "cert"
    path.write_text("")
    watch = Watch([str(path)])
    for size in range(1, 5):
        path.write_text("x" * size)
        assert not watch.changed()
    assert watch.changed()


# What clients see


class Pair:
    """A handshake in memory with the shared context of a server."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, **options) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, **options)
        pending = [self.client.do_handshake, self.server.do_handshake]
        for step in pending * 5:
            try:
                step()
            except ssl.SSLWantReadError:
                continue
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.read(1)  # takes the tickets of TLS 1.3

    @property
    def serial(self) -> str:
        return self.client.getpeercert()["serialNumber"]


@pytest.fixture
def config(tmp_path) -> Config:
    files = Authority().issue(tmp_path, "localhost")
    return Config(certfile=files.certificate, keyfile=files.key)


def trusting(*authorities: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata="".join(each.pem for each in authorities))
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize("name", ["localhost", None], ids=["sni", "no sni"])
def test_new_connections_get_the_new_certificate_and_old_sessions_go_on(tmp_path, name):
    authority = Authority()
    files = authority.issue(tmp_path, "localhost")
    encryption = Encryption(Config(certfile=files.certificate, keyfile=files.key))
    client = trusting(authority)
    if name is None:
        client.check_hostname = False
    before = Pair(encryption.context, client, server_hostname=name)

    authority.issue(tmp_path, "localhost")
    show = encryption.prepare()
    assert Pair(encryption.context, client, server_hostname=name).serial == before.serial
    show()
    after = Pair(encryption.context, client, server_hostname=name)
    assert after.serial != before.serial
    assert after.client.selected_alpn_protocol() == "h2"
    resumed = Pair(encryption.context, client, server_hostname=name, session=before.client.session)
    assert resumed.client.session_reused


def test_authorities_of_clients_are_exchanged_too(tmp_path):
    (tmp_path / "clients").mkdir()
    first, second = Authority("first"), Authority("second")
    files = first.issue(tmp_path, "localhost")
    config = Config(
        certfile=files.certificate,
        keyfile=files.key,
        ca_certs=first.write(tmp_path),
        verify_mode="CERT_REQUIRED",
    )
    client = trusting(first)
    shown = second.issue(tmp_path / "clients", "client")
    client.load_cert_chain(shown.certificate, shown.key)
    encryption = Encryption(config)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        Pair(encryption.context, client, server_hostname="localhost")

    second.write(tmp_path)
    encryption.prepare()()
    pair = Pair(encryption.context, client, server_hostname="localhost")
    assert pair.server.getpeercert()["subject"] == ((("commonName", "client"),),)


def test_files_that_are_wrong_change_nothing(tmp_path, config):
    encryption = Encryption(config)
    other = Authority().issue(tmp_path, "other")
    Path(config.keyfile).write_bytes(Path(other.key).read_bytes())
    with pytest.raises(ConfigError, match="is not the key of"):
        encryption.prepare()
    assert encryption.context.sni_callback is None


def test_what_quic_shows_is_read_with_the_rights_of_the_master(config):
    encryption = Encryption(replace(config, quic_bind=("127.0.0.1:0",)))
    Path(config.keyfile).unlink()  # as if it could be read no more
    made = configuration_of(config, encryption.identity)
    assert made.private_key is encryption.identity.key
    assert made.certificate is encryption.identity.certificate


def test_without_a_certificate_there_is_no_encryption(config):
    with pytest.raises(ConfigError, match="add --certfile"):
        Encryption(replace(config, certfile=""))
