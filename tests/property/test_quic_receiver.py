"""What a QUIC stream delivers does not depend on how its octets were cut, ordered or repeated."""

from __future__ import annotations

from itertools import pairwise

import pytest
from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.stream import FinalSizeError, QuicStreamReceiver
from hypothesis import given
from hypothesis import strategies as st

from tricorn.http3.inbound import Receiver, ScatteredError

PIECES = 256
CONTENT = bytes(range(256)) * 2


@st.composite
def frames(draw: st.DrawFn) -> list[tuple[int, int, bool]]:
    """Cuts of CONTENT's first octets, each once at least, in any order, overlapping at will."""
    size = draw(st.integers(0, 60))
    cuts = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=12))})
    pieces = [(a, b, b == size) for a, b in pairwise(cuts)] or [(0, 0, True)]
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, size))
        end = draw(st.integers(start, size))
        pieces.append((start, end, end == size and draw(st.booleans())))
    return draw(st.permutations(pieces))


@given(frames())
def test_delivers_what_the_library_delivers(cuts: list[tuple[int, int, bool]]) -> None:
    ours, library = Receiver(0, PIECES), QuicStreamReceiver(0, readable=True)
    got = [b"", b""]
    for start, end, fin in cuts:
        for which, receiver in enumerate((ours, library)):
            frame = QuicStreamFrame(data=CONTENT[start:end], fin=fin, offset=start)
            if (event := receiver.handle_frame(frame)) is not None:
                got[which] += event.data
        assert got[0] == got[1]
        assert ours.is_finished == library.is_finished
        assert ours.starting_offset() == library.starting_offset()
        assert ours.highest_offset == library.highest_offset
    assert ours.is_finished
    assert got[0] == CONTENT[: max(end for _, end, _ in cuts)]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), max_size=8),
)
def test_refuses_the_final_sizes_that_the_library_refuses(
    cuts: list[tuple[int, int, bool]],
) -> None:
    ours, library = Receiver(0, PIECES), QuicStreamReceiver(0, readable=True)
    for start, length, fin in cuts:
        refused = []
        for receiver in (ours, library):
            frame = QuicStreamFrame(data=CONTENT[start : start + length], fin=fin, offset=start)
            try:
                receiver.handle_frame(frame)
            except FinalSizeError:
                refused.append(receiver)
        assert len(refused) in (0, 2)
        if refused:
            return


def test_an_octet_far_ahead_costs_an_octet() -> None:
    receiver = Receiver(0, PIECES)
    receiver.handle_frame(QuicStreamFrame(data=b"x", offset=10_000_000))
    assert sum(len(piece) for piece in receiver._pieces) == 1


def test_pieces_with_gaps_between_them_are_bounded() -> None:
    receiver = Receiver(0, PIECES)
    for at in range(PIECES):
        receiver.handle_frame(QuicStreamFrame(data=b"x", offset=2 + 2 * at))
    receiver.handle_frame(QuicStreamFrame(data=b"y", offset=3))  # goes to the first
    with pytest.raises(ScatteredError):
        receiver.handle_frame(QuicStreamFrame(data=b"x", offset=2 + 2 * PIECES))


def test_a_window_whose_every_packet_was_turned_round_fits() -> None:
    receiver = Receiver(0, PIECES)
    window = 256 * 1024
    starts = list(range(0, window, 1200))
    got = b""
    for at in reversed(starts):
        event = receiver.handle_frame(QuicStreamFrame(data=bytes(1200), offset=at))
        if event is not None:
            got += event.data
    assert len(got) == len(starts) * 1200
