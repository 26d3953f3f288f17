"""HTTP/1.1 (RFC 9112): one request at a time on a connection."""
