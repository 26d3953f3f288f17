"""RFC 9204: without dynamic tables clients can say little, and nothing has to wait."""

from __future__ import annotations

import pytest

from tests.support import apps
from tests.support.h3peer import H3Peer, frame


def test_a_section_that_refers_to_the_table_ends_the_connection():  # §2.2.3
    peer = H3Peer(apps.never)
    peer.open(frame(1, b"\x02\x00\x80"), end=True)
    assert peer.closed_with == 0x200


@pytest.mark.parametrize("section", [b"", b"\x00", b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"])
def test_a_section_that_means_nothing_ends_the_connection(section):
    peer = H3Peer(apps.never)
    peer.open(frame(1, section), end=True)
    assert peer.closed_with in (0x200, 0x10E) or peer.resets


def test_a_table_of_no_size_may_be_set_so():  # §4.3.1
    peer = H3Peer(apps.hello)
    peer.uni(b"\x02\x20\x20")
    assert peer.fetch().status == 200


def test_an_insertion_ends_the_connection():  # §4.3
    peer = H3Peer(apps.never)
    peer.uni(b"\x02\x3f\xe1\x1f\xc0\x01a")
    assert peer.closed_with == 0x201


def test_a_cancelled_stream_may_be_told():  # §4.4.2
    peer = H3Peer(apps.hello)
    peer.uni(b"\x03\x44")
    assert peer.fetch().status == 200


def test_an_acknowledgement_of_nothing_ends_the_connection():  # §4.4.1
    peer = H3Peer(apps.never)
    peer.uni(b"\x03\x84")
    assert peer.closed_with == 0x202


@pytest.mark.parametrize("kind", [2, 3])
def test_streams_of_qpack_must_stay_open(kind):  # §4.2
    peer = H3Peer(apps.never)
    peer.write(peer.uni(bytes([kind])), b"", end=True)
    assert peer.closed_with == 0x104
