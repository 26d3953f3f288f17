"""Fixtures for all tests."""

from tests.support.peers import every_peer_ends_clean

__all__ = ["every_peer_ends_clean"]
