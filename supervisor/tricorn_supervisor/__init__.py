"""Looks after worker processes."""
