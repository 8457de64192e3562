"""Who may do what, and why: a pure engine for IAM and KMS policies.

    policy = parse_policy(text, kind="resource", name="key policy")
    decide(Request(principal, "kms:Decrypt", key_arn, context), Policies(resource=[policy]))

`decide` does no I/O, builds no sentences and never raises for "no". It raises `Unsupported` where
a statement it cannot judge could have changed the answer.
"""

from iamaccess.decide import decide
from iamaccess.documents import parse_policy
from iamaccess.messages import denied_message
from iamaccess.model import (
    ContextValue,
    Decision,
    Grant,
    MalformedPolicy,
    Outcome,
    Policies,
    Policy,
    Principal,
    Request,
    StatementRef,
    Unsupported,
)

__all__ = [
    "ContextValue",
    "Decision",
    "Grant",
    "MalformedPolicy",
    "Outcome",
    "Policies",
    "Policy",
    "Principal",
    "Request",
    "StatementRef",
    "Unsupported",
    "decide",
    "denied_message",
    "parse_policy",
]
