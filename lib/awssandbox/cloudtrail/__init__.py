"""AWS CloudTrail: its Event history (LookupEvents), and the configuration of trails."""

from awssandbox.cloudtrail import operations, trails

OPERATIONS = {**operations.OPERATIONS, **trails.OPERATIONS}

__all__ = ["OPERATIONS", "OWN_LIMITS"]

OWN_LIMITS = ("LookupEvents",)
"""LookupEvents has errors of its own for parameters outside their limits."""
