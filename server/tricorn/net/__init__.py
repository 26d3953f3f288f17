"""Where bytes come from: the accept loop, TCP and unix sockets, TLS."""
