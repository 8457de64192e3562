"""Policy documents: what IAM accepts, what it says of others, what it gives back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from awssandbox.iam.documents import size
from hypothesis import given
from hypothesis import strategies as st
from in_process import ACCOUNT, OTHER, Sandbox, allow, document, refusal, trust

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
TRUST = document(trust({"AWS": ROOT}))
PAGE = {
    "Sid": "Allow access to the workflow key",
    "Effect": "Allow",
    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    "Resource": f"arn:aws:kms:us-west-2:{ACCOUNT}:key/key_ID",
}
"""As printed on https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html"""


@pytest.fixture
def sandbox() -> Sandbox:
    made = Sandbox()
    made.role("Execution", trust({"AWS": ROOT}))
    made.user("ann")
    return made


def put(sandbox: Sandbox, text: str) -> Any:
    """Put an inline policy into the role."""
    iam = sandbox.client("iam")
    return iam.put_role_policy(RoleName="Execution", PolicyName="p", PolicyDocument=text)


def test_the_role_policy_of_the_page_is_refused_as_printed(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html"""
    assert refusal(lambda: put(sandbox, document(PAGE))) == (
        "MalformedPolicyDocument",
        "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular "
        "expression [0-9A-Za-z]*",
        400,
    )
    put(sandbox, document({**PAGE, "Sid": "AllowAccessToTheWorkflowKey"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Syntax errors in policy."),
        (document({"Effect": "Allow", "Action": "s3:*"}), "must contain resources"),
        (document({"Effect": "Allow", "Resource": "*"}), "must contain actions"),
        (document(allow("decrypt")), "must be prefaced by a vendor"),
        (document(allow("s3:*", "bucket")), 'must be in ARN format or "*"'),
        (document({**allow("s3:*"), "Principal": "*"}), "Has prohibited field Principal"),
        (document(allow("s3:*", Sid="a"), allow("s3:*", Sid="a")), "must be unique"),
    ],
)
def test_documents_that_iam_refuses(sandbox: Sandbox, text: str, said: str) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_policies.html"""
    iam = sandbox.client("iam")
    for call in (
        lambda: put(sandbox, text),
        lambda: iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=text),
        lambda: iam.create_policy(PolicyName="p", PolicyDocument=text),
    ):
        code, message, _ = refusal(call)
        assert code == "MalformedPolicyDocument"
        assert said in message


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/Nobody"}, '"AWS":"arn:aws:iam::{}:role/Nobody"'),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/Nobody"}, '"AWS":"arn:aws:iam::{}:user/Nobody"'),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/x/Execution"}, '"AWS":"arn:aws:iam::{}:role/x/Ex'),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"}, '"AWS":"arn:aws:iam::{}:role/*"'),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:group/staff"}, '"AWS":"arn:aws:iam::{}:group/staff"'),
        ({"AWS": [ROOT, f"arn:aws::iam::{ACCOUNT}:root"]}, '"AWS":"arn:aws::iam::{}:root"'),
        ({"AWS": "AROAAAAAAAAAAAAAAAAAA"}, '"AWS":"AROAAAAAAAAAAAAAAAAAA"'),
        ({"Service": "imagebuilder.amazonaw.com"}, '"SERVICE":"imagebuilder.amazonaw.com"'),
    ],
)
def test_a_trust_policy_that_names_nobody_is_refused(
    sandbox: Sandbox, principal: dict[str, Any], named: str
) -> None:
    """https://github.com/hashicorp/terraform-provider-aws/issues/8905, for malformed ones
    https://github.com/aws-cloudformation/cfn-lint/issues/4287"""
    iam = sandbox.client("iam")
    text = document(trust(principal))
    for call in (
        lambda: iam.create_role(RoleName="New", AssumeRolePolicyDocument=text),
        lambda: iam.update_assume_role_policy(RoleName="Execution", PolicyDocument=text),
    ):
        code, message, status = refusal(call)
        assert (code, status) == ("MalformedPolicyDocument", 400)
        assert message.startswith(f"Invalid principal in policy: {named.format(ACCOUNT)}")


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": ROOT},
        {"AWS": OTHER},
        {"AWS": "*"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Execution"},
        {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/Execution/any"},
        {"Service": ["imagebuilder.amazonaws.com", "ec2.amazonaws.com"]},
    ],
)
def test_a_trust_policy_that_names_somebody_is_kept_as_sent(
    sandbox: Sandbox, principal: dict[str, Any]
) -> None:
    iam = sandbox.client("iam")
    text = document(trust(principal))
    iam.create_role(RoleName="New", AssumeRolePolicyDocument=text)
    role = iam.get_role(RoleName="New")["Role"]
    assert role["AssumeRolePolicyDocument"] == json.loads(text)


def test_a_deleted_principal_is_shown_by_its_id_and_its_successor_is_another(
    sandbox: Sandbox,
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
    iam = sandbox.client("iam")
    arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    unique_id = iam.get_user(UserName="ann")["User"]["UserId"]
    iam.create_role(RoleName="New", AssumeRolePolicyDocument=document(trust({"AWS": [arn, ROOT]})))
    for remake in (False, True):
        iam.delete_user(UserName="ann") if not remake else iam.create_user(UserName="ann")
        shown = iam.get_role(RoleName="New")["Role"]["AssumeRolePolicyDocument"]
        assert shown["Statement"][0]["Principal"]["AWS"] == [unique_id, ROOT]
    iam.update_assume_role_policy(
        RoleName="New", PolicyDocument=document(trust({"AWS": [arn, ROOT]}))
    )
    shown = iam.get_role(RoleName="New")["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"][0]["Principal"]["AWS"] == [arn, ROOT]


ODD = document(allow("s3:GetObject", "arn:aws:s3:::b/a%20b/ü/+&<>*")).replace(" ", "\n  ")


def test_documents_come_back_as_they_were_sent(sandbox: Sandbox) -> None:
    """Percent signs, angle brackets and white space survive the store and the wire."""
    iam = sandbox.client("iam")
    put(sandbox, ODD)
    found = iam.get_role_policy(RoleName="Execution", PolicyName="p")["PolicyDocument"]
    assert found == json.loads(ODD)
    arn = iam.create_policy(PolicyName="p", PolicyDocument=ODD)["Policy"]["Arn"]
    new = document(allow("s3:*"))
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=new, SetAsDefault=True)
    for version, text in (("v1", ODD), ("v2", new)):
        shown = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
        assert shown["Document"] == json.loads(text)
        assert shown["IsDefaultVersion"] is (version == "v2")
    assert sandbox.world.iam.managed_policy(ACCOUNT, arn) == (arn, new)


WHITE = st.text(alphabet=" \t\r\n", max_size=20)


@given(WHITE, WHITE)
def test_white_space_does_not_count(before: str, after: str) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    text = json.dumps({"a": 1}, separators=(",", ":"))
    assert size(before + text + after) == len(text)


def padded(length: int) -> str:
    """A document of exactly `length` characters."""
    text = json.dumps(json.loads(document(allow("s3:*", "arn:aws:s3:::"))), separators=(",", ":"))
    return text.replace(":::", ":::" + "x" * (length - len(text)))


@pytest.mark.parametrize(
    ("kind", "name", "limit"), [("role", "Execution", 10_240), ("user", "ann", 2_048)]
)
def test_inline_policies_have_a_size_together(
    sandbox: Sandbox, kind: str, name: str, limit: int
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    put_one = getattr(sandbox.client("iam"), f"put_{kind}_policy")
    owner = {f"{kind.title()}Name": name}
    put_one(**owner, PolicyName="a", PolicyDocument=padded(1_000))
    put_one(**owner, PolicyName="b", PolicyDocument=padded(limit - 1_000))
    put_one(**owner, PolicyName="b", PolicyDocument=padded(limit - 1_000))
    code, message, status = refusal(
        lambda: put_one(**owner, PolicyName="b", PolicyDocument=padded(limit - 999))
    )
    assert (code, status) == ("LimitExceeded", 409)
    assert message == f"Maximum policy size of {limit} bytes exceeded for {kind} {name}"


def test_managed_and_trust_policies_have_a_size(sandbox: Sandbox) -> None:
    iam = sandbox.client("iam")
    iam.create_policy(PolicyName="a", PolicyDocument=padded(6_144))
    said = refusal(lambda: iam.create_policy(PolicyName="b", PolicyDocument=padded(6_145)))
    assert said[:2] == ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")
    long = document(*[trust({"AWS": ROOT}) for _ in range(30)])
    said = refusal(lambda: iam.create_role(RoleName="New", AssumeRolePolicyDocument=long))
    assert said[:2] == ("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")
