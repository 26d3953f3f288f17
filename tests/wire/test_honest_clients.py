"""What ordinary clients and proxies send, byte for byte, is served: strictness is for attackers."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.peers import WAYS, H1Peer

REQUESTS = {
    "chrome": 'GET /search?q=a|b&x={1}&y="z"&w=<v>^`[] HTTP/1.1\nHost: www.example.com:8443\n'
    'Connection: keep-alive\nsec-ch-ua: "Chromium";v="136", "Not.A/Brand";v="99"\n'
    "sec-ch-ua-mobile: ?0\nUpgrade-Insecure-Requests: 1\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/136.0.0.0\n"
    "Accept: text/html,application/xhtml+xml;q=0.9,image/avif,*/*;q=0.8\nSec-Fetch-Site: none\n"
    "Accept-Encoding: gzip, deflate, br, zstd\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\n"
    'Cookie: _ga=GA1.2.3; session="a=b/c+d=="; empty=; theme={"dark":true}\n'
    'If-None-Match: W/"5f-abc"\nRange: bytes=0-\n\n',
    "browser-websocket": "GET /chat HTTP/1.1\nHost: x\nUpgrade: websocket\n"
    "Connection: keep-alive, Upgrade\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    "Sec-WebSocket-Version: 13\n\n",
    "firefox": "GET / HTTP/1.1\nHost: x\nUser-Agent: Mozilla/5.0\nAccept: */*\nDNT: 1\n"
    "Connection: keep-alive\nPriority: u=0, i\nTE: trailers\n\n",
    "safari-form": "POST /form HTTP/1.1\nHost: x\nOrigin: null\nContent-Length: 7\n"
    "Content-Type: application/x-www-form-urlencoded\n\na=1&b=2",
    "curl": "GET / HTTP/1.1\nHost: 127.0.0.1:8000\nUser-Agent: curl/8.5.0\nAccept: */*\n\n",
    "curl-http2": "GET / HTTP/1.1\nHost: x\nUser-Agent: curl/8.5.0\nAccept: */*\n"
    "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n",
    "curl-put-chunked": "PUT /file HTTP/1.1\nHost: x\nAccept: */*\nTransfer-Encoding: chunked\n"
    "Expect: 100-continue\n\n3\nabc\n0\n\n",
    "curl-head": "HEAD / HTTP/1.1\nHost: [::1]:8000\nAccept: */*\n\n",
    "curl-options": "OPTIONS * HTTP/1.1\nHost: x\n\n",
    "curl-proxy": "GET http://example.com/a?b HTTP/1.1\nHost: example.com\n"
    "Proxy-Connection: Keep-Alive\n\n",
    "java-http2": "POST / HTTP/1.1\nConnection: Upgrade, HTTP2-Settings\nContent-Length: 2\n"
    "Host: x\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\nUpgrade: h2c\n"
    "User-Agent: Java\n\nab",
    "go": "POST /rpc HTTP/1.1\nHost: x\nUser-Agent: Go-http-client/1.1\n"
    "Transfer-Encoding: chunked\nTrailer: X-Sum\nAccept-Encoding: gzip\n\n5\nhello\n0\n"
    "X-Sum: 1\n\n",
    "aiohttp": "POST / HTTP/1.1\nHost: x\nAccept: */*\nAccept-Encoding: gzip, deflate\n"
    "User-Agent: Python/3.11 aiohttp/3.9\nContent-Type: text/plain; charset=utf-8\n"
    "Transfer-Encoding: chunked\n\n2\nab\n0\n\n",
    "requests": "DELETE /a HTTP/1.1\nHost: x\nUser-Agent: python-requests/2\n"
    "Connection: keep-alive\nContent-Length: 0\n\n",
    "node": "GET / HTTP/1.1\nhost: x\nconnection: close\n\n",
    "undici": "POST / HTTP/1.1\nhost: x\nconnection: keep-alive\ncontent-length: 1\n\na",
    "wget-1.0": "GET / HTTP/1.0\nUser-Agent: Wget/1.8\nHost: x\nAccept: */*\n"
    "Connection: Keep-Alive\n\n",
    "ab": "GET / HTTP/1.0\nConnection: Keep-Alive\nHost: x\nUser-Agent: ApacheBench/2.3\n"
    "Accept: */*\n\n",
    "wrk": "GET / HTTP/1.1\nHost: 127.0.0.1:8080\n\n",
    "nginx-1.0": "GET / HTTP/1.0\nHost: backend_app\nConnection: close\nX-Real-IP: 192.0.2.1\n"
    "X-Forwarded-For: 192.0.2.1, 10.0.0.1\nX-Forwarded-Proto: https\n\n",
    "nginx-1.1": "POST / HTTP/1.1\nHost: example.com\nContent-Length: 3\nX-Forwarded-For: ::1\n"
    "\nabc",
    "haproxy-check": "OPTIONS / HTTP/1.0\n\n",
    "haproxy-check-1.1": "HEAD /health HTTP/1.1\nhost: x\nconnection: close\n\n",
    "haproxy": "GET / HTTP/1.1\nhost: x\nx-forwarded-for: 192.0.2.1\n"
    "forwarded: proto=http;for=192.0.2.1\n\n",
    "varnish": "GET / HTTP/1.1\nHost: x\nX-Varnish: 2\nVia: 1.1 v (Varnish/7.1)\n"
    "Accept-Encoding: gzip\n\n",
    "aws-health": "GET /ping HTTP/1.1\nHost: 10.0.0.1:80\nConnection: close\n"
    "User-Agent: ELB-HealthChecker/2.0\nAccept-Encoding: gzip, compressed\n\n",
    "kube-probe": "GET /healthz HTTP/1.1\nHost: 10.1.1.1:8000\nUser-Agent: kube-probe/1.29\n"
    "Accept: */*\nConnection: close\n\n",
    "envoy": "GET / HTTP/1.1\nhost: x\nx-request-id: 1\nx-envoy-expected-rq-timeout-ms: 15000\n\n",
    "webdav": 'PROPFIND /dav/ HTTP/1.1\nHost: x\nDepth: 1\nIf: <u> (["e"])\nContent-Length: 0\n\n',
    "git": "GET /r.git/info/refs?service=git-upload-pack HTTP/1.1\nHost: x\n"
    "Git-Protocol: version=2\n\n",
    "utf-8-value": "GET / HTTP/1.1\nHost: x\nX-Name: Jürgen\n\n",
    "no-space": "GET / HTTP/1.1\nHost:x\nAccept:*/*\nX-Empty:\n\n",
    "underscore": "GET / HTTP/1.1\nHost: my_service.internal\nX_Y: 1\n\n",
    "upper-host": "GET / HTTP/1.1\nHOST: EXAMPLE.COM\n\n",
    "odd-path": "GET //a/../b/./c;d=e/%2e%2F%zz?? HTTP/1.1\nHost: x\n\n",
    "connection-list": "GET / HTTP/1.1\nHost: x\nConnection: Keep-Alive, TE\n"
    "TE: trailers, deflate;q=0.5\n\n",
    "connection-twice": "GET / HTTP/1.1\nHost: x\nConnection: keep-alive\nConnection: x-hop\n"
    "X-Hop: 1\n\n",
    "connection-empty": "GET / HTTP/1.1\nHost: x\nConnection:\nKeep-Alive: 300\n\n",
    "big-cookie": "GET / HTTP/1.1\nHost: x\nCookie: " + "a=b; " * 1500 + "c=d\n\n",
    "many-cookies": "GET / HTTP/1.1\nHost: x\n" + "Cookie: a=b\n" * 60 + "\n",
    "get-with-body": "GET / HTTP/1.1\nHost: x\nContent-Length: 2\n"
    "Content-Type: application/json\n\n{}",
    "leading-zeros": "POST / HTTP/1.1\nHost: x\nContent-Length: 0002\n\nab",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("text", REQUESTS.values(), ids=REQUESTS)
def test_is_served(text, way):
    app = apps.Recorder()
    peer = H1Peer(app)
    peer.send(*way(text.replace("\n", "\r\n").encode()))
    method = text.split()[0]
    answer = peer.answer(method)
    assert answer.status == 200 and answer.complete and app.call.ended
    assert app.call.scope["method"] == method


@pytest.mark.parametrize("text", REQUESTS.values(), ids=REQUESTS)
def test_is_served_again_on_the_same_connection_if_it_persists(text):
    peer = H1Peer(apps.Recorder())
    data = text.replace("\n", "\r\n").encode()
    method = text.split()[0]
    for count in range(1, 4):
        peer.send(data)
        answers = peer.responses(*[method] * count)
        assert [each.status for each in answers] == [200] * count
        if peer.closed:
            lowered = text.lower()
            assert "connection: close" in lowered or "http/1.0" in lowered
            return
