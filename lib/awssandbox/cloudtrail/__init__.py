"""AWS CloudTrail: its Event history (LookupEvents), trails, and what they deliver."""

from awssandbox.cloudtrail import keys, operations, trails

OPERATIONS = {**operations.OPERATIONS, **trails.OPERATIONS, **keys.OPERATIONS}

__all__ = ["OPERATIONS", "OWN_LIMITS"]

OWN_LIMITS = ("LookupEvents",)
"""LookupEvents has errors of its own for parameters outside their limits."""
