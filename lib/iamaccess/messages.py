"""AWS's words for a refusal, from the decision that refused.

AWS names one policy type even where several refuse, no resource where a role's trust policy
refuses, and of an explicit deny within an account also the ARN of the policy, where it has one: of
managed policies and those of an organization. (AWS brings that to its services by and by; which
have it is not documented.) S3 puts the resource into quotation marks. That a VPC endpoint's policy
refuses never comes from here: the judge knows no such layer.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied-authorization-id.html
"""

from __future__ import annotations

from collections.abc import Mapping

from iamaccess.facts import Facts
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

    Raises: ValueError for any other decision.
    """
    layer = decision.layer
    if decision.outcome is not Outcome.DENIED or layer is None:
        raise ValueError(f"only a DENIED decision has a message, not {decision.outcome.value}")
    action = request.action
    trust = layer == "resource" and action.lower() == "sts:assumerole"
    noun = "role trust policy" if trust else _NOUNS[layer]
    if decision.reason == "explicit_deny":
        article = "the" if trust else "an" if noun[0] in "aeiou" else "a"
        why = f"with an explicit deny in {article} {noun}{_policy_arn(decision, request)}"
    else:
        why = f"because no {noun} allows the {action} action"
    quote = '"' if action.lower().startswith("s3:") else ""
    on = "" if trust else f"on resource: {quote}{request.resource}{quote} "
    return f"User: {request.principal.arn} is not authorized to perform: {action} {on}{why}"


def _policy_arn(decision: Decision, request: Request) -> str:
    """`: ARN` of the policy that denies, where AWS tells it."""
    statement = decision.statement
    if statement is None or not statement.policy.startswith("arn:"):
        return ""
    within = request.principal.account == Facts(request, bounded=False).owner
    return f": {statement.policy}" if within and decision.layer != "resource" else ""
