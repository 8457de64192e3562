"""Who may use a key for workflows: by real calls over HTTP, refused and allowed as on AWS.

The two statements are those of
https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
How they add up: https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from served import ACCOUNT, REGION, Credentials, Served, document

PATTERN = f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"
CONDITION = {"StringLike": {"kms:EncryptionContext:aws:imagebuilder:arn": PATTERN}}
USE = ["kms:Decrypt", "kms:GenerateDataKey"]
ADMINISTRATORS = {
    "Sid": "Allow access for key administrators",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
TRUST_THE_TESTER = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/administrator"},
    "Action": "sts:AssumeRole",
}


def workflow(region: str = REGION, account: str = ACCOUNT, kind: str = "workflow/build") -> str:
    """The value that Image Builder writes into the encryption context."""
    return f"arn:aws:imagebuilder:{region}:{account}:{kind}/example/1.0.0/*"


def step_1(role_arn: str) -> dict[str, Any]:
    """The page's key policy statement."""
    return {
        "Sid": "Allow access to build images with encrypted workflow",
        "Effect": "Allow",
        "Principal": {"AWS": role_arn},
        "Action": USE,
        "Resource": "*",
        "Condition": CONDITION,
    }


def step_2(key_arn: str) -> dict[str, Any]:
    """The page's role policy statement, with a Sid that IAM takes."""
    return {
        "Sid": "AllowAccessToWorkflowKey",
        "Effect": "Allow",
        "Action": USE,
        "Resource": key_arn,
        "Condition": CONDITION,
    }


class Setting:
    """A key whose policy delegates to the account, an execution role, and a session of it."""

    def __init__(self, sandbox: Served) -> None:
        self.sandbox = sandbox
        self.kms = sandbox.client("kms")
        self.iam = sandbox.client("iam")
        self.role = sandbox.role("Execution", TRUST_THE_TESTER)
        self.key = self.kms.create_key(Policy=document(ADMINISTRATORS))["KeyMetadata"]["Arn"]
        self.session: Credentials = sandbox.assume(self.role)

    def key_policy(self, *statements: dict[str, Any]) -> None:
        self.kms.put_key_policy(KeyId=self.key, Policy=document(*statements))

    def role_policy(self, *statements: dict[str, Any]) -> None:
        self.iam.put_role_policy(
            RoleName="Execution", PolicyName="key", PolicyDocument=document(*statements)
        )

    def as_role(self) -> Any:
        return self.sandbox.client("kms", self.session)

    def attempt(self, context: dict[str, str] | None = None) -> str:
        """What GenerateDataKey answers the role: an error code, or ``allowed``."""
        try:
            self.as_role().generate_data_key(
                KeyId=self.key,
                NumberOfBytes=32,
                EncryptionContext=own() if context is None else context,
            )
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "allowed"


def own() -> dict[str, str]:
    """The context of a workflow of this account, as the Encryption SDK sends it."""
    return {"aws:imagebuilder:arn": workflow(), "aws-crypto-public-key": "AnyKey"}


@pytest.fixture
def setting(sandbox: Served) -> Setting:
    return Setting(sandbox)


def test_the_page_s_two_steps_each_suffice_and_only_both_gone_revokes(setting: Setting) -> None:
    both = (ADMINISTRATORS, step_1(setting.role))
    assert setting.attempt() == "AccessDeniedException"
    setting.key_policy(*both)
    assert setting.attempt() == "allowed", "step 1 alone"
    setting.role_policy(step_2(setting.key))
    assert setting.attempt() == "allowed", "both"
    setting.key_policy(ADMINISTRATORS)
    assert setting.attempt() == "allowed", "step 2 alone, through the delegation to the account"
    setting.iam.delete_role_policy(RoleName="Execution", PolicyName="key")
    assert setting.attempt() == "AccessDeniedException"


def test_without_the_delegation_the_role_policy_counts_for_nothing(setting: Setting) -> None:
    setting.role_policy(step_2(setting.key))
    administrator = {**ADMINISTRATORS, "Principal": {"AWS": TRUST_THE_TESTER["Principal"]["AWS"]}}  # type: ignore[index]
    setting.key_policy(administrator)
    assert setting.attempt() == "AccessDeniedException"
    setting.key_policy(administrator, step_1(setting.role))
    assert setting.attempt() == "allowed"


CONTEXTS = [
    ("a workflow of this account", {"aws:imagebuilder:arn": workflow()}, "allowed"),
    ("with the SDK's public key beside it", own(), "allowed"),
    ("another Region", {"aws:imagebuilder:arn": workflow("eu-central-1")}, "allowed"),
    ("a test workflow", {"aws:imagebuilder:arn": workflow(kind="workflow/test")}, "allowed"),
    (
        "one letter of the value in the other case",
        {"aws:imagebuilder:arn": workflow(kind="Workflow/build")},
        "AccessDeniedException",
    ),
    (
        "another account's workflow",
        {"aws:imagebuilder:arn": workflow(account="999999999999")},
        "AccessDeniedException",
    ),
    (
        "a component",
        {"aws:imagebuilder:arn": workflow(kind="component")},
        "AccessDeniedException",
    ),
    ("another context key", {"aws:imagebuilder:ARNS": workflow()}, "AccessDeniedException"),
    # Condition keys ignore letter case; the context that is bound to the ciphertext does not.
    ("the context key in other letter case", {"AWS:ImageBuilder:Arn": workflow()}, "allowed"),
    ("no context", {}, "AccessDeniedException"),
]


@pytest.mark.parametrize("path", ["key policy", "role policy"])
def test_for_which_context_the_role_may_use_the_key(setting: Setting, path: str) -> None:
    if path == "key policy":
        setting.key_policy(ADMINISTRATORS, step_1(setting.role))
    else:
        setting.role_policy(step_2(setting.key))
    outcomes = {what: setting.attempt(context) for what, context, _ in CONTEXTS}
    assert outcomes == {what: expected for what, _, expected in CONTEXTS}


def test_a_statement_with_an_encryption_context_condition_allows_no_read(setting: Setting) -> None:
    """DescribeKey has no context, so the key is absent and the condition is false."""
    setting.key_policy(
        ADMINISTRATORS, {**step_1(setting.role), "Action": [*USE, "kms:DescribeKey"]}
    )
    with pytest.raises(ClientError, match="AccessDeniedException"):
        setting.as_role().describe_key(KeyId=setting.key)


@pytest.mark.parametrize(
    ("close", "told"),
    [
        (
            "nothing allows",
            "because no identity-based policy allows the kms:GenerateDataKey action",
        ),
        ("no delegation", "because no resource-based policy allows the kms:GenerateDataKey action"),
        ("explicit deny in the key policy", "with an explicit deny in a resource-based policy"),
        ("explicit deny in the role policy", "with an explicit deny in an identity-based policy"),
        ("permissions boundary", "because no permissions boundary allows the kms:GenerateDataKey"),
        ("session policy", "because no session policy allows the kms:GenerateDataKey action"),
    ],
)
def test_the_refusal_s_words(setting: Setting, close: str, told: str) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
    if close == "no delegation":
        administrator = TRUST_THE_TESTER["Principal"]
        setting.key_policy({**ADMINISTRATORS, "Principal": administrator})
    elif close != "nothing allows":
        setting.key_policy(ADMINISTRATORS, step_1(setting.role))
    if close == "explicit deny in the key policy":
        deny = {**step_1(setting.role), "Sid": "no", "Effect": "Deny"}
        setting.key_policy(ADMINISTRATORS, step_1(setting.role), deny)
    elif close == "explicit deny in the role policy":
        setting.role_policy({**step_2(setting.key), "Effect": "Deny"})
    elif close == "permissions boundary":
        only_s3 = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = setting.iam.create_policy(PolicyName="limit", PolicyDocument=document(only_s3))
        setting.iam.put_role_permissions_boundary(
            RoleName="Execution", PermissionsBoundary=policy["Policy"]["Arn"]
        )
    elif close == "session policy":
        only_s3 = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        setting.session = setting.sandbox.assume(setting.role, Policy=document(only_s3))
    with pytest.raises(ClientError) as refusal:
        setting.as_role().generate_data_key(
            KeyId=setting.key, NumberOfBytes=32, EncryptionContext=own()
        )
    error = refusal.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"].startswith(
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/Execution/tester is not authorized to perform: "
        f"kms:GenerateDataKey on resource: {setting.key} "
    )
    assert told in error["Message"]
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_disabled_key_serves_nobody(setting: Setting) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html"""
    setting.key_policy(ADMINISTRATORS, step_1(setting.role))
    setting.kms.disable_key(KeyId=setting.key)
    assert setting.attempt() == "DisabledException"
    setting.kms.enable_key(KeyId=setting.key)
    assert setting.attempt() == "allowed"


def test_the_printed_administrator_statement_locks_out(setting: Setting) -> None:
    """Its Resource ends in ``key/`` and matches no key, so nobody could change the policy again."""
    printed = {**ADMINISTRATORS, "Resource": f"arn:aws:kms:*:{ACCOUNT}:key/"}
    with pytest.raises(ClientError) as refusal:
        setting.key_policy(step_1(setting.role), printed)
    assert refusal.value.response["Error"] == {
        "Code": "MalformedPolicyDocumentException",
        "Message": "The new key policy will not allow you to update the key policy in the future.",
    }


def test_the_printed_role_policy_s_sid_is_refused(setting: Setting) -> None:
    """IAM's Sids have no spaces; a key policy's may."""
    with pytest.raises(ClientError) as refusal:
        setting.role_policy({**step_2(setting.key), "Sid": "Allow access to the workflow key"})
    assert refusal.value.response["Error"]["Code"] == "MalformedPolicyDocument"
    assert "alpha-numeric" in refusal.value.response["Error"]["Message"]


def test_a_principal_that_does_not_exist(setting: Setting) -> None:
    with pytest.raises(ClientError) as refusal:
        setting.key_policy(ADMINISTRATORS, step_1(f"arn:aws:iam::{ACCOUNT}:role/Nobody"))
    assert refusal.value.response["Error"] == {
        "Code": "MalformedPolicyDocumentException",
        "Message": "Policy contains a statement with one or more invalid principals.",
    }


def test_a_role_made_again_is_another_principal(setting: Setting) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
    setting.key_policy(ADMINISTRATORS, step_1(setting.role))
    setting.iam.delete_role(RoleName="Execution")
    shown = setting.kms.get_key_policy(KeyId=setting.key)["Policy"]
    assert '"AWS" : "AROA' in shown
    assert setting.sandbox.role("Execution", TRUST_THE_TESTER) == setting.role
    setting.session = setting.sandbox.assume(setting.role)
    assert setting.attempt() == "AccessDeniedException"
    setting.key_policy(ADMINISTRATORS, step_1(setting.role))
    assert setting.attempt() == "allowed"


CHANGED = {
    "a letter of the context": (None, {"aws:imagebuilder:arn": workflow(kind="workfow/build")}),
    "a digit of the context's account": (
        None,
        {"aws:imagebuilder:arn": workflow(account="111122223334")},
    ),
    "the account in the condition": (
        {
            "Condition": {
                "StringLike": {
                    "kms:EncryptionContext:aws:imagebuilder:arn": PATTERN.replace(
                        ACCOUNT, "444455556666"
                    )
                }
            }
        },
        None,
    ),
    "Deny for Allow": ({"Effect": "Deny"}, None),
    "…:key/ for the Resource": ({"Resource": f"arn:aws:kms:*:{ACCOUNT}:key/"}, None),
}


@pytest.mark.parametrize("path", ["key policy", "role policy"])
def test_one_change_of_the_page_s_statements_and_the_role_is_refused(
    setting: Setting, path: str
) -> None:
    """The words of the refusal tell an explicit Deny, which no other statement outweighs."""

    def put(changed: dict[str, Any]) -> None:
        if path == "key policy":
            setting.key_policy(ADMINISTRATORS, {**step_1(setting.role), **changed})
        else:
            setting.role_policy({**step_2(setting.key), **changed})

    put({})
    assert setting.attempt() == "allowed"
    for what, (changed, context) in CHANGED.items():
        put(changed or {})
        with pytest.raises(ClientError) as refusal:
            setting.as_role().generate_data_key(
                KeyId=setting.key, NumberOfBytes=32, EncryptionContext=context or own()
            )
        error = refusal.value.response["Error"]
        assert error["Code"] == "AccessDeniedException", what
        assert ("explicit deny" in error["Message"]) is (what == "Deny for Allow"), what


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ({"DateLessThan": {"aws:CurrentTime": "2100-01-01T00:00:00Z"}}, "allowed"),
        ({"DateLessThan": {"aws:CurrentTime": "2000-01-01T00:00:00Z"}}, "AccessDeniedException"),
        ({"NumericGreaterThan": {"aws:EpochTime": "946684800"}}, "allowed"),
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, "allowed"),
        ({"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8"]}}, "AccessDeniedException"),
    ],
)
def test_conditions_on_time_and_address(
    setting: Setting, condition: dict[str, Any], answer: str
) -> None:
    setting.key_policy(ADMINISTRATORS, {**step_1(setting.role), "Condition": condition})
    assert setting.attempt() == answer


def test_what_aws_does_not_document_is_refused_by_its_element(setting: Setting) -> None:
    """Never decided silently: which moment a date alone is, AWS does not say."""
    dated = {
        **step_1(setting.role),
        "Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01"}},
    }
    setting.key_policy(ADMINISTRATORS, dated)
    with pytest.raises(ClientError) as refusal:
        setting.as_role().generate_data_key(KeyId=setting.key, NumberOfBytes=32)
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "DateLessThan" in refusal.value.response["Error"]["Message"]
