"""http2/header_blocks.py: HPACK as RFC 7541 has it, what is remembered, and what is refused."""

from __future__ import annotations

import time
import tracemalloc

import hpack
import pytest

from tricorn.connection import Field, Refused
from tricorn.fields import Memory
from tricorn.http2 import huffman
from tricorn.http2.header_blocks import CompressionError, Decoder, Encoder, Vocabulary
from tricorn.http2.representations import (
    GREATEST,
    NEWEST,
    encoded_integer,
    integer,
    literal_block,
    spelled,
    string,
)

ORDINARY, PSEUDO = 0, 1


def classify(name: bytes, value: bytes) -> int:
    return PSEUDO if name.startswith(b":") else ORDINARY


def decoder(**options: int) -> Decoder[str]:
    return Decoder(Vocabulary(classify), **{"most_fields": 100, "most_octets": 32768, **options})


def encoder() -> Encoder:
    return Encoder(Memory())


def fields_of(of: Decoder[str], block: bytes) -> list[Field]:
    return [field for field, _, _ in of.decode(block)]


def dynamic(of: Decoder[str]) -> list[Field]:
    return [field for field, _, _ in of.table[NEWEST:]]


def fields(text: str) -> list[Field]:
    """One field a line; its value is what follows `: `."""
    lines = [line.strip().encode() for line in text.strip().split("\n")]
    return [(line[: line.index(b": ", 1)], line[line.index(b": ", 1) + 2 :]) for line in lines]


# RFC7541, Appendix C: blocks, the fields that they mean, the size of the table behind each.

REQUESTS = [
    """:method: GET
    :scheme: http
    :path: /
    :authority: www.example.com""",
    """:method: GET
    :scheme: http
    :path: /
    :authority: www.example.com
    cache-control: no-cache""",
    """:method: GET
    :scheme: https
    :path: /index.html
    :authority: www.example.com
    custom-key: custom-value""",
]
RESPONSES = [
    """:status: 302
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:21 GMT
    location: https://www.example.com""",
    """:status: 307
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:21 GMT
    location: https://www.example.com""",
    """:status: 200
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:22 GMT
    location: https://www.example.com
    content-encoding: gzip
    set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1""",
]
EXAMPLES = {
    "C.3": (
        4096,
        REQUESTS,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [57, 110, 164],
    ),
    "C.4": (
        4096,
        REQUESTS,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        [57, 110, 164],
    ),
    "C.5": (
        256,
        RESPONSES,
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a32"
            "3120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970"
            "7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d61"
            "67653d333630303b2076657273696f6e3d31",
        ],
        [222, 222, 215],
    ),
    "C.6": (
        256,
        RESPONSES,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad"
            "171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2"
            "e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
        [222, 222, 215],
    ),
}


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_examples_of_the_standard_are_decoded(section):
    table_size, texts, blocks, sizes = EXAMPLES[section]
    peer = decoder(table_size=table_size)
    for text, block, size in zip(texts, blocks, sizes, strict=True):
        assert fields_of(peer, bytes.fromhex(block)) == fields(text)
        assert peer.octets == size


def test_the_last_example_leaves_the_table_that_the_standard_shows():  # RFC7541§C.6.3
    peer = decoder(table_size=256)
    for block in EXAMPLES["C.6"][2]:
        peer.decode(bytes.fromhex(block))
    assert dynamic(peer) == [
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        (b"content-encoding", b"gzip"),
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    ]


@pytest.mark.parametrize(
    "block, field, added",
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", b"custom-key: custom-header", 1),
        ("040c2f73616d706c652f70617468", b":path: /sample/path", 0),
        ("100870617373776f726406736563726574", b"password: secret", 0),
        ("82", b":method: GET", 0),
    ],
)
def test_the_representations_of_the_standard_are_decoded(block, field, added):  # RFC7541§C.2
    peer = decoder()
    assert fields_of(peer, bytes.fromhex(block)) == fields(field.decode())
    assert len(dynamic(peer)) == added


@pytest.mark.parametrize("text", [*REQUESTS, *RESPONSES])
def test_the_fields_of_the_examples_survive_our_encoder_and_hpack_s_decoder(text):
    ours, theirs, peer = encoder(), hpack.Decoder(), decoder()
    for _ in range(4):
        block = ours.encode_fields(tuple(fields(text)))
        assert theirs.decode(block, raw=True) == fields(text)
        assert fields_of(peer, block) == fields(text)


@pytest.mark.parametrize(
    "value, prefix, octets", [(10, 0x1F, "0a"), (1337, 0x1F, "1f9a0a"), (42, 0xFF, "2a")]
)
def test_the_integers_of_the_standard_are_encoded(value, prefix, octets):  # RFC7541§C.1
    assert encoded_integer(value, prefix, 0) == bytes.fromhex(octets)


@pytest.mark.parametrize("value", [31, 32, 158, 159, 1337, 65535, GREATEST])
def test_an_integer_survives(value):
    octets = encoded_integer(value, 0x1F, 0)
    assert integer(octets, 1, 0x1F) == (value, len(octets))


# What is decoded.


def test_an_entry_has_the_field_its_kind_and_its_size():
    assert decoder().decode(b"\x82\x53\x01x") == [
        ((b":method", b"GET"), PSEUDO, 32 + 7 + 3),
        ((b"accept", b"x"), ORDINARY, 32 + 6 + 1),
    ]


def test_a_field_that_is_referred_to_is_not_classified_again():
    asked = []
    peer: Decoder[str] = Decoder(
        Vocabulary(lambda name, value: asked.append((name, value)) or 0),
        most_fields=100,
        most_octets=32768,
    )
    peer.decode(b"\x53\x01x")
    del asked[:]
    first = peer.decode(b"\xbe\x82")
    assert peer.decode(b"\xbe\x82")[0] is first[0] and asked == []


def test_a_literal_is_known_to_other_connections_too():
    vocabulary = Vocabulary(classify)
    one: Decoder[str] = Decoder(vocabulary, most_fields=9, most_octets=999)
    other: Decoder[str] = Decoder(vocabulary, most_fields=9, most_octets=999)
    block = b"\x04\x03/ab\x00" + string(b"x-long-name-of-a-field") + string(b"and its value")
    assert all(a is b for a, b in zip(one.decode(block), other.decode(block), strict=True))


def test_a_literal_with_a_name_of_the_table_means_what_the_table_means():
    vocabulary = Vocabulary(classify)
    one: Decoder[str] = Decoder(vocabulary, most_fields=9, most_octets=999)
    other: Decoder[str] = Decoder(vocabulary, most_fields=9, most_octets=999)
    one.decode(b"\x40\x01a\x01b")
    other.decode(b"\x40\x01c\x01d")
    assert fields_of(one, b"\x0f\x2f\x01x") == [(b"a", b"x")]
    assert fields_of(other, b"\x0f\x2f\x01x") == [(b"c", b"x")]


def test_an_entry_larger_than_the_table_empties_it():  # RFC7541§4.4
    peer = decoder(table_size=64)
    peer.decode(b"\x40\x01a\x01b")
    assert fields_of(peer, b"\x7e\x28" + b"x" * 40) == [(b"a", b"x" * 40)]
    assert dynamic(peer) == [] and peer.octets == 0


def test_the_oldest_entries_make_room():  # RFC7541§4.4
    peer = decoder(table_size=80)
    for name in (b"a", b"b", b"c"):
        peer.decode(b"\x40\x01" + name + b"\x01x")
    assert dynamic(peer) == [(b"c", b"x"), (b"b", b"x")]


def test_a_large_index_is_found():
    peer = decoder()
    for number in range(100):
        peer.decode(b"\x40\x01a\x02%02d" % number)
    assert fields_of(peer, encoded_integer(NEWEST + 99, 0x7F, 0x80)) == [(b"a", b"00")]


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # nothing is there
        b"\xff\x80\x01",
        b"\x7f\x00\x01x",
        b"\xff",  # an integer without its end
        b"\xff\x80\x80\x80\x80\x80\x00",  # longer than an integer may be
        b"\xff\xff\xff\xff\xff\x0f",  # larger
        b"\x04",
        b"\x04\x02x",  # the block ends in a string
        b"\x00\x02x",
        b"\x00\x01x",
        b"\x04\x7f\x80\x80\x80\x80\x07x",
        b"\x04\x81\x00",  # padding that is not all ones
        b"\x04\x82\xff\xff",  # padding of 16 bits
        b"\x04\x84\xff\xff\xff\xff",  # the end of the string as a symbol (RFC7541§5.2)
        b"\x00\x81\x00\x01x",
        b"\x20\x20\x20",  # three updates (RFC7541§4.2)
        b"\x82\x20",  # an update behind a field
        b"\x20\x82\x20",
        b"\x3f\xe2\x1f",  # to 4097
    ],
)
def test_what_cannot_be_decoded_is_an_error_of_the_connection(block):
    with pytest.raises(CompressionError):
        decoder().decode(block)


@pytest.mark.parametrize("block", [b"\x20\x82", b"\x20\x3f\xe1\x1f\x82", b"\x3f\xe1\x1f\x20\x82"])
def test_two_updates_may_begin_a_block(block):
    assert fields_of(decoder(), block) == [(b":method", b"GET")]


def test_an_update_evicts():
    peer = decoder()
    peer.decode(b"\x40\x01a\x01b")
    peer.decode(b"\x20\x3f\xe1\x1f")
    assert dynamic(peer) == [] and peer.limit == 4096


def test_a_lowered_size_must_be_obeyed():  # RFC7541§4.2
    peer = decoder()
    peer.set_table_size(100)
    with pytest.raises(CompressionError):
        peer.decode(b"\x82")


@pytest.mark.parametrize("block", [b"", b"\x3f", b"\x3f\xe0", b"\x3f\xe2\x1f"])
def test_a_lowered_size_is_obeyed_by_a_whole_update_only(block):
    peer = decoder()
    peer.set_table_size(100)
    with pytest.raises(CompressionError):
        peer.decode(block)


def test_a_size_that_was_lowered_and_raised_must_be_obeyed_too():
    peer = decoder()
    peer.set_table_size(0)
    peer.set_table_size(4096)
    with pytest.raises(CompressionError):
        peer.decode(b"\x3f\xe1\x1f\x82")


def test_the_smallest_of_the_lowered_sizes_must_be_obeyed():
    peer = decoder()
    peer.set_table_size(50)
    peer.set_table_size(100)
    with pytest.raises(CompressionError):
        peer.decode(b"\x3f\x45\x82")  # to 100


def test_a_size_that_is_obeyed_need_not_be_again():
    peer = decoder()
    peer.set_table_size(0)
    peer.set_table_size(4096)
    peer.decode(b"\x20\x3f\xe1\x1f\x82")
    assert fields_of(peer, b"\x82") == [(b":method", b"GET")]


def test_three_updates_are_too_many_where_one_was_due():
    peer = decoder()
    peer.set_table_size(0)
    with pytest.raises(CompressionError):
        peer.decode(b"\x20\x20\x20")


def test_a_raised_size_may_be_used():
    peer = decoder()
    peer.set_table_size(8192)
    peer.decode(b"\x3f\xe2\x1f")
    assert peer.limit == 4097


# What is too large.


@pytest.mark.parametrize(
    "block",
    [
        b"\x82" * 11,
        b"\x04\x01x" * 11,
        b"\x82" * 10 + b"\x04\x01x",
        b"\x04\x01x" + b"\x82" * 10,
        b"\x82" * 30 + b"\x04\x01x",
        b"\x04\x7f\xf2\x06" + b"x" * 1009,
    ],
)
def test_too_many_fields_or_octets_are_refused(block):
    with pytest.raises(Refused) as refused:
        decoder(most_fields=10, most_octets=1000).decode(block)
    assert refused.value.status == 431


def test_as_many_fields_and_octets_as_allowed_are_not_refused():
    peer = decoder(most_fields=10, most_octets=10 * (32 + 7 + 3))
    assert len(peer.decode(b"\x82" * 10)) == 10


def test_one_octet_more_than_allowed_is_refused():
    with pytest.raises(Refused):
        decoder(most_fields=10, most_octets=10 * (32 + 7 + 3) - 1).decode(b"\x82" * 10)


def test_a_literal_that_another_connection_sent_is_counted_too():
    vocabulary = Vocabulary(classify)
    large: Decoder[str] = Decoder(vocabulary, most_fields=9, most_octets=999)
    small: Decoder[str] = Decoder(vocabulary, most_fields=9, most_octets=100)
    block = b"\x04\x70" + b"x" * 112
    large.decode(block)
    with pytest.raises(Refused):
        small.decode(block)


def test_the_table_is_right_behind_what_was_refused():
    peer = decoder(most_fields=2)
    with pytest.raises(Refused):
        peer.decode(b"\x40\x01a\x01b" * 5 + b"\x40\x01c\x01d")
    assert fields_of(peer, b"\xbe\xbf") == [(b"c", b"d"), (b"a", b"b")]


def cost_of(peer: Decoder[str], block: bytes) -> float:
    """Microseconds of the processor for an octet of what is refused."""
    before = time.process_time()
    with pytest.raises((Refused, CompressionError)):
        peer.decode(block)
    return (time.process_time() - before) * 1e6 / len(block)


BOMB = b"\x40\x01a\x7f\xc0\x1e" + b"x" * 4031
"""Fills the table with one entry that one octet refers to (CVE-2016-6581)."""
FLOODS = {
    "updates": b"\x20" * 65536,
    "references": b"\xbe" * 65536,
    "long references": b"\xff\x00" * 32768,
    "empty literals": b"\x04\x00" * 32768,
    "empty entries": b"\x44\x00" * 32768,
    "new entries": b"".join(b"\x44\x02%b" % (n.to_bytes(2, "big")) for n in range(16384)),
    "empty names": b"\x00\x00\x00" * 21845,
    "rare octets": b"\x04\xff\x80\xfe\x03" + huffman.encode(b"\x01\x16" * 9400),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_block_of_64_kib_costs_under_a_microsecond_an_octet(flood):
    costs = []
    for _ in range(3):  # the best: a neighbour on the machine can only make it dearer
        peer = decoder()
        peer.decode(BOMB)
        costs.append(cost_of(peer, FLOODS[flood]))
    assert min(costs) < 1


@pytest.mark.slow
@pytest.mark.parametrize("flood", FLOODS)
def test_a_block_of_64_kib_takes_a_megabyte_at_most_and_keeps_next_to_nothing(flood):
    peer = decoder()
    peer.decode(BOMB)
    tracemalloc.start()
    try:
        cost_of(peer, FLOODS[flood])
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1 << 20 and kept < 1 << 20


# What is remembered of blocks.


def test_a_block_is_known_until_the_table_changes():
    peer = decoder()
    peer.decode(b"\x82")
    peer.remember(b"\x82", "GET")
    assert peer.known == {b"\x82": "GET"}
    peer.decode(b"\x84")
    assert peer.known
    peer.decode(b"\x40\x01a\x01b")
    assert peer.known == {}


def test_a_block_is_not_known_behind_an_update():
    peer = decoder()
    peer.decode(b"\x82")
    peer.remember(b"\x82", "GET")
    peer.decode(b"\x20\x82")
    assert peer.known == {}


@pytest.mark.parametrize(
    "block", [b"\x40\x01a\x01b", b"\x20\x82", b"\x04\x7f\xff\x03" + b"x" * 638]
)
def test_a_block_that_changes_the_table_or_is_long_is_not_remembered(block):
    peer = decoder()
    peer.decode(block)
    peer.remember(block, "")
    assert peer.known == {}


def test_no_more_than_64_blocks_are_remembered():
    peer = decoder()
    for number in range(1000):
        block = b"\x04\x04%04d" % number
        peer.decode(block)
        peer.remember(block, "")
        assert len(peer.known) <= 64


# Huffman's code.


def test_every_octet_survives_both_ways_of_decoding():
    for octet in range(256):
        for length in (1, 2, 9, 40):
            text = bytes((octet,)) * length
            coded = huffman.encode(text)
            assert huffman.decode(coded) == huffman.decode_by_table(coded) == text


def test_zlib_knows_a_string_of_ordinary_octets_by_itself(monkeypatch):
    monkeypatch.setattr(huffman, "decode_by_table", None)
    for length in range(20, 60):  # every length of padding is among them
        text = (b"/0aZ; =_&,." * 9)[:length]
        if (coded := huffman.encode(text))[-1] != 0xFF:
            assert huffman.decode(coded) == text


def test_the_padding_may_be_seven_ones_and_not_eight():
    text = b"a" * 40  # 200 bits: no padding
    assert huffman.decode(huffman.encode(text)) == text
    with pytest.raises(CompressionError):
        huffman.decode(huffman.encode(text) + b"\xff")
    text = b"0" * 37 + b"b"  # ends in 191 bits: one of padding
    assert huffman.decode(huffman.encode(text)) == text


@pytest.mark.parametrize("ending", [b"\xfe", b"\x00", b"\xff\xff", b"\xff\xff\xff\xff"])
def test_any_other_ending_is_rejected(ending):
    with pytest.raises(CompressionError):
        huffman.decode(huffman.encode(b"a" * 40) + ending)


def test_there_is_a_node_for_whatever_may_be_pending_and_no_more():
    for first in range(256):
        for second in range(256):
            try:
                huffman.decode_by_table(bytes((first, second, 0xFF, 0xFF)))
            except CompressionError:
                continue
    assert len(huffman.nodes) <= 257


# What is encoded.


def test_a_field_is_added_to_the_table_when_it_is_sent_again():
    ours = encoder()
    field = (b"x-frame-options", b"deny")
    plain, adding, _ = spelled(field)
    blocks = [ours.encode(200, (field,)) for _ in range(4)]
    assert blocks == [b"\x88" + plain, b"\x88" + (adding or b""), b"\x88\xbe", b"\x88\xbe"]


def test_an_unusual_status_is_a_field_like_others():
    ours = encoder()
    assert [ours.encode(418, ()) for _ in range(3)] == [b"\x08\x03418", b"\x48\x03418", b"\xbe"]


@pytest.mark.parametrize("status, octet", [(200, 8), (204, 9), (206, 10), (304, 11), (404, 13)])
def test_a_usual_status_is_one_octet(status, octet):
    assert encoder().encode(status, ()) == bytes((0x80 + octet,))


@pytest.mark.parametrize(
    "name", [b"content-length", b"date", b"etag", b"location", b"last-modified", b"age"]
)
def test_what_changes_is_never_added(name):
    ours = encoder()
    blocks = {ours.encode(200, ((name, b"12"),)) for _ in range(4)}
    assert blocks == {b"\x88" + spelled((name, b"12"))[0]} and ours.octets == 0


@pytest.mark.parametrize("name", [b"set-cookie", b"authorization", b"proxy-authorization"])
def test_a_secret_is_never_indexed_and_not_remembered_for_others(name):  # RFC7541§7.1.3
    literals: Memory[Field, tuple[bytes, bytes | None, int]] = Memory()
    ours = Encoder(literals)
    for _ in range(3):
        assert ours.encode_fields(((name, b"a=b"),))[0] & 0xF0 == 0x10
    assert literals.young == {}


def test_a_long_field_is_not_added():
    ours = encoder()
    for _ in range(3):
        ours.encode(200, ((b"content-security-policy", b"x" * 1024),))
    assert ours.octets == 0


def test_only_a_block_that_can_be_sent_again_is_remembered():
    ours = encoder()
    response = ((b"content-type", b"text/html"), (b"content-length", b"12"))
    remembered = []
    for _ in range(3):
        block = ours.encode(200, response)
        ours.remember("response", block)
        remembered.append(ours.known.get("response"))
    assert remembered == [None, None, block]
    ours.encode(200, ((b"x-a", b"1"),))
    assert ours.known
    ours.encode(200, ((b"x-a", b"1"),))
    assert not ours.known


def test_a_known_block_is_forgotten_when_the_table_changes():
    ours, theirs = encoder(), hpack.Decoder()
    a, b = ((b"x-a", b"1"),), ((b"x-b", b"2"),)
    for response in (a, a, a, b, b, a, b, a):
        theirs_fields = theirs.decode(ours.encode(200, response), raw=True)
        assert theirs_fields == [(b":status", b"200"), *response]


def test_a_table_of_the_peer_is_used_up_to_4096_octets():  # library-gaps 18
    ours = encoder()
    ours.set_table_size(2**31)
    for number in range(2000):
        for _ in range(3):
            ours.encode(200, ((b"x-number", b"%d" % number),))
    assert 4096 - 60 < ours.octets <= 4096 and len(ours.order) == len(ours.indices)


def test_an_entry_far_behind_is_referred_to_by_a_longer_integer():
    ours, theirs = encoder(), hpack.Decoder()
    lists = [((b"a", b"%d" % number),) for number in range(100)]
    for trailers in [each for each in lists for _ in range(2)] + lists:
        block = ours.encode_fields(trailers)
        assert theirs.decode(block, raw=True) == list(trailers)
    assert block == b"\xbe" and ours.encode_fields(lists[0]) == b"\xff\x22"


def test_a_smaller_table_is_announced_once():
    ours = encoder()
    ours.set_table_size(0)
    assert [ours.encode(200, ()) for _ in range(2)] == [b"\x20\x88", b"\x88"]


def test_the_smallest_size_and_the_last_are_announced():  # RFC7541§4.2
    ours = encoder()
    for size in (100, 0, 200, 5000):
        ours.set_table_size(size)
    assert ours.encode(200, ()) == b"\x20\x3f\xe1\x1f\x88"


def test_a_larger_table_than_ours_is_not_announced():
    ours = encoder()
    ours.set_table_size(65536)
    assert ours.encode(200, ()) == b"\x88"


def test_nothing_is_added_to_a_table_without_room():
    ours, theirs = encoder(), hpack.Decoder()
    ours.set_table_size(0)
    theirs.max_allowed_table_size = 0
    for _ in range(4):
        theirs.decode(ours.encode(200, ((b"x-a", b"1"),)), raw=True)
    assert ours.octets == 0 and not theirs.header_table.dynamic_entries


def test_a_block_of_literals_may_end_any_block():
    extra = [(b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"), (b"server", b"tricorn")]
    ours, theirs = encoder(), hpack.Decoder()
    ending = literal_block(extra)
    for _ in range(3):
        block = ours.encode(200, ((b"x-a", b"1"),)) + ending
        assert theirs.decode(block, raw=True) == [(b":status", b"200"), (b"x-a", b"1"), *extra]


def test_huffmans_code_is_used_where_it_is_shorter():
    assert string(b"www.example.com") == bytes.fromhex("8cf1e3c2e5f23a6ba0ab90f4ff")
    assert string(b"\x00" * 20) == b"\x14" + b"\x00" * 20
    assert string(b"") == b"\x00"


def test_what_is_seen_once_takes_bounded_memory():
    ours = encoder()
    for number in range(500):
        ours.encode(200, ((b"x-number", b"%d" % number),))
    assert len(ours.seen) <= 64 and ours.octets == 0 and len(ours.known) <= 64
