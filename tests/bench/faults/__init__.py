"""Faults, one after the other, beside the standing canary."""
