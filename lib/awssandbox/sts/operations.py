"""What the operations of STS do: who am I, and becoming a session of a role.

Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from iamaccess import ContextValue, MalformedPolicy, Policy, parse_policy

from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.errors import AwsError, not_imitated
from awssandbox.iam.mfa import check_code
from awssandbox.sts import sessions

if TYPE_CHECKING:
    from awssandbox.moto_iam import IamPrincipal

CHAINED_DURATION_S: Final = 3600
"""The longest session of a role that another role's session assumes.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining
"""
SESSION_POLICY_SIZE: Final = 2_048
"""Characters of the inline session policy and of the policy ARNs together."""
SESSION_POLICIES: Final = 10
"""Managed policies of a session."""
_NOT_IMITATED: Final = {
    "Tags": "session tags",
    "TransitiveTagKeys": "session tags",
    "SourceIdentity": "source identities",
    "ProvidedContexts": "trusted identity contexts",
}


def _nothing(call: Call) -> Sequence[Access]:
    return ()


def _get_caller_identity(call: Call) -> Answer:
    """No permission is needed, and no Deny takes it away.

    Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    caller = call.caller
    return Answer(
        {"UserId": caller.principal_id, "Account": caller.account, "Arn": caller.principal.arn},
        record_request=None,
    )


def _access_key_info_access(call: Call) -> Sequence[Access]:
    if call.caller.principal.kind == "user" and call.caller.session_created is not None:
        # A user's temporary credentials may call AssumeRole and GetCallerIdentity alone; the text
        # is not documented.
        raise AwsError("AccessDenied", "Cannot call GetAccessKeyInfo with session credentials", 403)
    return [Access("sts:GetAccessKeyInfo")]


def _get_access_key_info(call: Call) -> Answer:
    """The account of an access key.

    UNCONFIRMED: AWS's answer for a key that was never made.
    Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html
    """
    key_id = call.parameters["AccessKeyId"]
    session = sessions.find(call.world, key_id)
    account = session.account if session else call.world.iam.key_account(key_id)
    if account is None:
        raise not_imitated("GetAccessKeyInfo of access keys that it did not make")
    return Answer({"Account": account})


# AssumeRole --------------------------------------------------------------------------------------


def _role(call: Call) -> IamPrincipal:
    """Raises AwsError (AccessDenied) when there is no such role."""
    arn = call.parameters["RoleArn"]
    found = call.world.seen_principal(arn)
    if found is None or found.kind != "role":
        raise sessions.no_role(call.caller.principal.arn, arn)
    return found


def _assume_role_access(call: Call) -> Sequence[Access]:
    """``sts:AssumeRole`` on the role, which its trust policy gives.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
    """
    given = call.parameters
    for member, what in _NOT_IMITATED.items():
        if given.get(member):
            raise not_imitated(f"{what} ({member})")
    if call.caller.principal.kind == "root":
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", 403)
    context: dict[str, ContextValue] = {"sts:RoleSessionName": given["RoleSessionName"]}
    if "ExternalId" in given:
        context["sts:ExternalId"] = given["ExternalId"]
    if _with_code(call):
        context |= {"aws:MultiFactorAuthPresent": True, "aws:MultiFactorAuthAge": "0"}
    return [sessions.trusted(_role(call), context)]


def _assume_role(call: Call) -> Answer:
    role = _role(call)
    duration_s = _duration_s(call, role)
    session = sessions.start(
        call,
        role,
        call.parameters["RoleSessionName"],
        duration_s,
        _session_policies(call, role),
        mfa="TokenCode" in call.parameters,
    )
    return Answer(
        {
            "Credentials": _shown(session),
            "AssumedRoleUser": {"AssumedRoleId": session.assumed_role_id, "Arn": session.arn},
        },
        resources=(sessions.role_resource(role.arn),),
        record_request=_without_code(call),
        record_response=sessions.recorded(session),
    )


def _shown(session: sessions.Session | sessions.UserSession) -> dict[str, Any]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.session_token,
        "Expiration": session.expires,
    }


def _with_code(call: Call) -> bool:
    """Whether a code of the caller's device came with the call, and is good.

    Raises AwsError (AccessDenied), and ValidationError for one of the two without the other.
    """
    serial, given = (call.parameters.get(name) for name in ("SerialNumber", "TokenCode"))
    if (serial is None) != (given is None):
        text = "SerialNumber and TokenCode must both be specified, or neither."  # UNCONFIRMED
        raise AwsError("ValidationError", text)
    if serial is None:
        return False
    check_code(call, serial, str(given))
    return True


# GetSessionToken ---------------------------------------------------------------------------------

DEFAULT_USER_SESSION_S: Final = 43_200


def _get_session_token(call: Call) -> Answer:
    """Temporary credentials of the user who calls. No permission is needed.

    Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html; of the
    text, https://github.com/aws/aws-sdk-net/issues/1704
    """
    caller = call.caller
    if caller.principal.kind != "user" or caller.session_created is not None:
        if caller.principal.kind == "root":
            raise not_imitated("GetSessionToken of the root user")
        raise AwsError("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
    mfa = _with_code(call)
    duration_s = call.parameters.get("DurationSeconds", DEFAULT_USER_SESSION_S)
    session = sessions.start_of_user(call, duration_s, mfa)
    return Answer(
        {"Credentials": _shown(session)},
        record_request=_without_code(call),
        record_response=sessions.recorded_credentials(session),
    )


def _without_code(call: Call) -> Mapping[str, Any] | None:
    """The recorded parameters. UNCONFIRMED: whether AWS records the code, which is spent then."""
    given = {name: value for name, value in call.parameters.items() if name != "TokenCode"}
    return {name[0].lower() + name[1:]: value for name, value in given.items()} or None


def _duration_s(call: Call, role: IamPrincipal) -> int:
    """How long the session lasts.

    Raises AwsError (ValidationError) beyond the role's maximum, or beyond an hour for a session
    that assumes a role. Source of the texts: https://github.com/99designs/aws-vault/issues/263
    """
    asked: int = call.parameters.get("DurationSeconds", sessions.DEFAULT_DURATION_S)
    if call.caller.principal.kind == "session" and asked > CHAINED_DURATION_S:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining.",
        )
    if asked > role.max_session_s:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )
    return asked


def _session_policies(call: Call, role: IamPrincipal) -> tuple[Policy, ...]:
    """The policies that limit the session: the inline one, and managed ones of the role's account.

    Raises AwsError: MalformedPolicyDocument, PackedPolicyTooLarge (where AWS measures a packed
    form, the characters are counted here), and for a managed policy that does not exist.
    """
    text = call.parameters.get("Policy")
    arns = [one["arn"] for one in call.parameters.get("PolicyArns", ())]
    if len(arns) > SESSION_POLICIES:
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value at 'policyArns' failed to satisfy constraint: "
            f"Member must have length less than or equal to {SESSION_POLICIES}",
        )
    if len(text or "") + sum(map(len, arns)) > SESSION_POLICY_SIZE:
        raise AwsError(
            "PackedPolicyTooLarge",
            f"The session policies have more than {SESSION_POLICY_SIZE} characters.",
        )
    documents = [] if text is None else [("session policy", text)]
    for arn in arns:
        found = call.world.iam.managed_policy(role.account, arn)
        if found is None:
            # UNCONFIRMED: AWS's code and text; the documentation says only that it must exist.
            raise AwsError("ValidationError", f"The managed policy {arn} does not exist.")
        documents.append(found)
    try:
        return tuple(parse_policy(text, kind="identity", name=name) for name, text in documents)
    except MalformedPolicy as error:
        raise AwsError("MalformedPolicyDocument", error.reason) from error


OPERATIONS: Final[Mapping[str, Operation]] = {
    "AssumeRole": Operation(
        _assume_role, _assume_role_access, read_only=True, refused_request=_without_code
    ),
    "GetAccessKeyInfo": Operation(_get_access_key_info, _access_key_info_access, read_only=True),
    "GetSessionToken": Operation(
        _get_session_token, _nothing, read_only=True, refused_request=_without_code
    ),
    "GetCallerIdentity": Operation(_get_caller_identity, _nothing, read_only=True),
}
