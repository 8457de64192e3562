"""Who may do what, and why: a pure engine for IAM and KMS policies.

    policy = parse_policy(text, kind="resource", name="key policy")
    decide(Request(principal, "kms:Decrypt", key_arn, context), Policies(resource=[policy]))

`decide` does no I/O, builds no sentences and never raises: what was not read, is not told or is not
documented makes a decision UNKNOWN where it could change it, and is named.
"""

from iamaccess.decide import decide
from iamaccess.documents import parse_policy
from iamaccess.messages import denied_message
from iamaccess.model import (
    ContextValue,
    Decision,
    Doubt,
    Grant,
    MalformedPolicy,
    Outcome,
    Policies,
    Policy,
    Principal,
    Request,
    StatementRef,
)

__all__ = [
    "ContextValue",
    "Decision",
    "Doubt",
    "Grant",
    "MalformedPolicy",
    "Outcome",
    "Policies",
    "Policy",
    "Principal",
    "Request",
    "StatementRef",
    "decide",
    "denied_message",
    "parse_policy",
]
