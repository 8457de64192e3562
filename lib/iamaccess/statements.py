"""Compiled statements."""

from __future__ import annotations


class Statement:
    """A compiled statement."""
