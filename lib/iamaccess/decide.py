"""The decision."""

from __future__ import annotations

from iamaccess.model import Decision, Policies, Request


def decide(request: Request, policies: Policies) -> Decision:
    """Decide a request. Raises: Unsupported."""
    raise NotImplementedError
