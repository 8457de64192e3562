"""Whether a caller may do what a call needs: the policies of both sides, put to `iamaccess`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Final

import iamaccess

from awssandbox.call import Access, Call, Caller
from awssandbox.errors import AwsError, not_imitated

if TYPE_CHECKING:
    from awssandbox.moto_iam import Document, IamPrincipal
    from awssandbox.world import World

_REFUSAL: Final[Mapping[str, tuple[str, int]]] = {
    "athena": ("AccessDeniedException", 400),
    "kms": ("AccessDeniedException", 400),
    "cloudtrail": ("AccessDeniedException", 400),
    "imagebuilder": ("AccessDeniedException", 403),
    "ec2": ("UnauthorizedOperation", 403),
    "iam": ("AccessDenied", 403),
    "macie2": ("AccessDeniedException", 403),
    "s3": ("AccessDenied", 403),
    "sso-admin": ("AccessDeniedException", 400),
    "sts": ("AccessDenied", 403),
}
"""The access-denied error of each service, on the wire.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html and the same page of
each other service
"""


class Authoriser:
    """Decides for the principals of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def require(self, call: Call, access: Access) -> None:
        """Refuse unless the caller has `access`.

        Raises AwsError: access denied with AWS's text, or, where the decision rests on what AWS
        does not document, an error that names the element.
        """
        decision = self.decide(call, access)
        if decision.outcome is iamaccess.Outcome.ALLOWED:
            return
        code, status = _REFUSAL[call.service]
        asked = self.request(call, access)
        text = iamaccess.denied_message(decision, asked)
        if call.service == "ec2":
            text = f"You are not authorized to perform this operation. {text}"
            raise AwsError(code, text, status, record_code=f"Client.{code}")
        raise AwsError(code, text, status, record_code="AccessDenied")

    def decide(self, call: Call, access: Access) -> iamaccess.Decision:
        """The decision on `access`, from all policies of both sides. There is no organization.

        Raises AwsError where it rests on what AWS does not document.
        """
        found = self._found(call.caller)
        policies = iamaccess.Policies(
            identity=_parsed(found.policies if found is not None else ()),
            resource=access.resource_policies,
            grants=access.grants,
            boundary=_parsed(found.boundary if found is not None else ()),
            session=call.caller.session_policies,
            service_control=(),
            resource_control=(),
        )
        decision = iamaccess.decide(self._request(call, access, found), policies)
        if decision.undocumented:
            doubt = decision.undocumented[0]
            place = f"policy {doubt.policy!r}, {doubt.pointer or 'as a whole'}"
            raise not_imitated(f"{doubt.element} ({place}), and the decision rests on it")
        return decision

    def request(self, call: Call, access: Access) -> iamaccess.Request:
        """What is asked of the policies, for the text of a refusal."""
        return self._request(call, access, self._found(call.caller))

    def _request(self, call: Call, access: Access, found: IamPrincipal | None) -> iamaccess.Request:
        context = {**_global_conditions(call, access, found), **access.context}
        return iamaccess.Request(
            call.caller.principal, access.action, access.resource, context, access.resource_account
        )

    def _found(self, caller: Caller) -> IamPrincipal | None:
        """The user or role behind a caller; None for root, services, and what is gone."""
        principal = caller.principal
        arn = {"user": principal.arn, "session": principal.role_arn}.get(principal.kind)
        found = None if arn is None else self._world.seen_principal(arn)
        return found if found is not None and found.unique_id == principal.unique_id else None


def _global_conditions(
    call: Call, access: Access, found: IamPrincipal | None
) -> dict[str, iamaccess.ContextValue]:
    """The condition keys that every request has; `found` is the user or role who calls.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    caller, principal = call.caller, call.caller.principal
    keys: dict[str, iamaccess.ContextValue] = {
        "aws:CurrentTime": call.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": str(int(call.time.timestamp())),
        "aws:RequestedRegion": call.region,
        "aws:SecureTransport": caller.secure or caller.invoked_by is not None,
        "aws:PrincipalIsAWSService": principal.kind == "service",
        "aws:ViaAWSService": bool(caller.called_via),
    }
    resource_account = access.resource_account or principal.account
    if resource_account is not None:
        keys["aws:ResourceAccount"] = resource_account
    if principal.kind == "service":
        keys["aws:PrincipalServiceName"] = principal.arn
        return keys
    keys |= {
        "aws:PrincipalArn": principal.role_arn or principal.arn,
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalType": _TYPES[principal.kind],
        "aws:userid": caller.principal_id,
        "aws:SourceIp": caller.source_ip,
    }
    if caller.user_name is not None and principal.kind == "user":
        keys["aws:username"] = caller.user_name
    if not caller.called_via:
        keys["aws:UserAgent"] = caller.user_agent
    else:
        keys["aws:CalledVia"] = caller.called_via
        keys["aws:CalledViaFirst"] = caller.called_via[0]
        keys["aws:CalledViaLast"] = caller.called_via[-1]
    if caller.mfa is not None:
        keys["aws:MultiFactorAuthPresent"] = caller.mfa
        if caller.session_created is not None:
            if caller.mfa:
                age_s = (call.time - caller.session_created).total_seconds()
                keys["aws:MultiFactorAuthAge"] = str(int(age_s))
            keys["aws:TokenIssueTime"] = caller.session_created.strftime("%Y-%m-%dT%H:%M:%SZ")
    tags = (found.tags if found is not None else None) or {}
    return keys | {f"aws:PrincipalTag/{name}": value for name, value in tags.items()}


_TYPES: Final[Mapping[str, str]] = {
    "root": "Account",
    "user": "User",
    "role": "AssumedRole",
    "session": "AssumedRole",
    "anonymous": "Anonymous",
}
"""Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html"""


def _parsed(documents: Iterable[Document]) -> tuple[iamaccess.Policy, ...]:
    return tuple(
        iamaccess.parse_policy(text, kind="identity", name=name) for name, text in documents
    )
