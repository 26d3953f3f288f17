"""RFC 9113 over hyper-h2: the oracle of our own engine, and what `--http2-engine h2` speaks.

It keeps the same contract in the plainest way. It is many times slower, and less hardened: of the
attacks it counts resets, frame sizes and what it buffers; floods of PING, SETTINGS, PRIORITY or
empty frames, table-size updates and unknown settings cost what they cost in hyper-h2, and a head
of more than twice its limit ends the connection. It knows no priorities, no push, no keep-alive
ping and no minimum rate of a body, and it does not miss the acknowledgement of its settings.
"""
