"""TLS as clients meet it."""

import json
import shutil
import socket
import ssl
import subprocess

import pytest

from tests.support.certificates import Authority
from tests.support.process import Client, serve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    return authority.issue(tmp_path_factory.mktemp("certificates"), "localhost")


@pytest.fixture(scope="module")
def server(files, tmp_path_factory):
    """With four workers; for tests that change nothing in it."""
    with serve(tmp_path_factory.mktemp("tls"), *files.options, workers=4) as server:
        yield server


def test_page_over_tls(server, authority):
    answer = server.fetch("/tls", authority.client_context())
    scheme, facts = json.loads(answer.text)
    assert scheme == "https"
    assert facts["tls_version"] == 0x0304
    assert facts["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert facts["client_cert_chain"] == [] and facts["client_cert_name"] is None


def test_lasting_connection_over_tls(server, authority):
    with server.connect(authority.client_context()) as client:
        assert [client.fetch("/pid").text for _ in range(20)] == [client.fetch("/pid").text] * 20
        body = bytes(range(256)) * 4096
        assert len(client.upload("/upload", body).text) == 64


def test_version_12(server, authority):
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    facts = json.loads(server.fetch("/tls", context).text)[1]
    assert facts["tls_version"] == 0x0303
    assert facts["cipher_suite"] is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_version_11_is_refused(server, authority):
    context = authority.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        server.fetch("/", context)
    assert server.fetch("/", authority.client_context()).status == 200


def test_minimum_version_can_be_raised(tmp_path, authority, files):
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serve(tmp_path, *files.options, "--tls-min-version", "1.3") as server:
        with pytest.raises(ssl.SSLError):
            server.fetch("/", context)
        assert server.fetch("/", authority.client_context()).status == 200


@pytest.mark.parametrize(
    "offered, chosen",
    [
        (["http/1.1"], "http/1.1"),
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        ([], None),
    ],
)
def test_protocol_is_negotiated(server, authority, offered, chosen):
    context = authority.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    with server.connect(context) as client:
        assert client.socket.selected_alpn_protocol() == chosen
        if chosen != "h2":
            assert client.fetch().status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_of_one_worker_is_resumed_by_the_others(server, authority, version):  # T-04
    context = authority.client_context()
    context.maximum_version = context.minimum_version = version
    with server.connect(context) as client:
        client.fetch()  # TLS 1.3 sends the ticket after the handshake
        session = client.socket.session
    workers = set()
    for _ in range(12):
        with server.connect(context, session=session) as client:
            assert client.socket.session_reused
            workers.add(client.fetch("/pid").text)
    assert len(workers) > 1


def test_session_is_resumed_while_the_workers_are_busy_with_others(server, authority):  # T-04
    context = authority.client_context()
    with server.connect(context) as first:
        first.fetch()
        session = first.socket.session
        held = [server.connect(context, session=session) for _ in range(12)]
        try:
            workers = {client.fetch("/pid").text for client in held}
            assert all(client.socket.session_reused for client in held)
            assert len(workers) > 1
        finally:
            for client in held:
                client.socket.close()


def test_renegotiation_is_refused(server, authority):  # T-02, RFC5746
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    ended = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"],
        input="R\n",  # the command of s_client that renegotiates
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert "RENEGOTIATING" in ended.stdout + ended.stderr
    assert "no renegotiation" in ended.stderr or "handshake failure" in ended.stderr
    assert server.fetch("/", authority.client_context()).status == 200


def test_client_without_the_required_certificate_is_refused(tmp_path, authority, files):
    options = (*files.options, "--verify-mode", "CERT_REQUIRED")
    options += ("--ca-certs", authority.write(tmp_path))
    stranger = Authority("somebody else").issue(tmp_path, "stranger")
    with serve(tmp_path, *options) as server:
        for context in (authority.client_context(), authority.client_context(stranger)):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                server.fetch("/", context)
        known = authority.issue(tmp_path, "client", organization='Ink, "Paper" & Co')
        answer = server.fetch("/tls", authority.client_context(known))
        facts = json.loads(answer.text)[1]
        assert facts["client_cert_name"] == 'CN=client,O=Ink\\, \\"Paper\\" & Co'
        with open(known.certificate) as file:
            assert facts["client_cert_chain"][0] == file.read()


def test_optional_client_certificate(tmp_path, authority, files):
    options = (*files.options, "--verify-mode", "CERT_OPTIONAL")
    options += ("--ca-certs", authority.write(tmp_path))
    known = authority.issue(tmp_path, "client")
    with serve(tmp_path, *options) as server:
        without = json.loads(server.fetch("/tls", authority.client_context()).text)[1]
        assert without["client_cert_name"] is None
        shown = json.loads(server.fetch("/tls", authority.client_context(known)).text)[1]
        assert shown["client_cert_name"] == "CN=client"


def test_plain_text_to_a_secure_port_does_no_harm(server, authority):
    with server.connect() as client:
        client.request()
        assert b"200" not in client.wait_for_end()
    assert server.fetch("/", authority.client_context()).status == 200


def test_handshake_with_a_plain_port_does_no_harm(tmp_path, authority):
    with serve(tmp_path) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.fetch("/", authority.client_context())
        assert server.fetch().status == 200
    assert "Traceback" not in server.log


def test_close_of_a_client_is_answered(server, authority):  # RFC8446§6.1
    with server.connect(authority.client_context()) as client:
        client.fetch()
        client.socket.unwrap()  # raises where our close_notify does not come


def test_end_of_a_response_is_told_from_a_cut_connection(server, authority):
    with server.connect(authority.client_context()) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        # Without close_notify this would raise SSLEOFError.
        client.socket.suppress_ragged_eofs = False
        data = b""
        while part := client.socket.recv(65536):
            data += part
        assert data.endswith(b"hello\n")


def test_application_that_fails_late_is_seen_as_a_cut(server, authority):
    with server.connect(authority.client_context()) as client:
        client.socket.suppress_ragged_eofs = False
        client.send(b"GET /half HTTP/1.0\r\n\r\n")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            while client.socket.recv(65536):
                pass


def test_curl(server, authority, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    ended = subprocess.run(
        [
            *("curl", "-sS", "-w", "%{http_version} %{ssl_verify_result} %{num_connects}\n"),
            *("--cacert", authority.write(tmp_path)),
            *("--resolve", f"localhost:{server.port}:127.0.0.1"),
            f"https://localhost:{server.port}/hello",
            f"https://localhost:{server.port}/hello",
        ],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert ended.stdout == "hello\n2 0 1\nhello\n2 0 0\n", ended.stderr


def test_handshake_in_many_small_pieces(server, authority):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with Client("127.0.0.1", server.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                for start in range(0, len(data), 7):
                    client.send(data[start : start + 7])
                incoming.write(client.socket.recv(65536))
        peer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        for byte in outgoing.read():
            client.send(bytes([byte]))
        while True:
            try:
                assert peer.read(65536).startswith(b"HTTP/1.1 200 ")
                break
            except ssl.SSLWantReadError:
                incoming.write(client.socket.recv(65536))
