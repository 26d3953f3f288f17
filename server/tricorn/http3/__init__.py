"""HTTP/3 (RFC 9114) over QUIC (RFC 9000). Imported only where QUIC is bound."""
