"""AWS CloudTrail's Event history: LookupEvents."""

from awssandbox.cloudtrail.operations import OPERATIONS

__all__ = ["OPERATIONS", "OWN_LIMITS"]

OWN_LIMITS = ("LookupEvents",)
"""LookupEvents has errors of its own for parameters outside their limits."""
