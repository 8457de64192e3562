"""AWS's words for a refusal.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

from collections.abc import Mapping

from iamaccess.model import Decision, Layer, Outcome, Request

_NOUNS: Mapping[Layer, str] = {
    "identity": "identity-based policy",
    "resource": "resource-based policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "service_control": "service control policy",
    "resource_control": "resource control policy",
}


def denied_message(decision: Decision, request: Request) -> str:
    """The text of AWS's access-denied error for a decision that is DENIED.

    AWS names one policy type even where several refuse, and it names no resource where a role's
    trust policy refuses.

    Raises: ValueError for any other decision.
    """
    if decision.outcome is not Outcome.DENIED or decision.layer is None:
        raise ValueError(f"only a DENIED decision has a message, not {decision.outcome.value}")
    user, action = request.principal.arn, request.action
    explicit = decision.reason == "explicit_deny"
    if decision.layer == "resource" and action.lower() == "sts:assumerole":
        why = (
            "with an explicit deny in the role trust policy"
            if explicit
            else f"because no role trust policy allows the {action} action"
        )
        return f"User: {user} is not authorized to perform: {action} {why}"
    noun = _NOUNS[decision.layer]
    article = "an" if noun[0] in "aeiou" else "a"
    why = (
        f"with an explicit deny in {article} {noun}"
        if explicit
        else f"because no {noun} allows the {action} action"
    )
    return (
        f"User: {user} is not authorized to perform: {action} on resource: {request.resource} {why}"
    )
