"""One thing is wrong in the page's statement: the sandbox refuses, the judge says the same and why.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from botocore.exceptions import ClientError
from iamaccess import Outcome, Policies, Principal, Request, decide, denied_message, parse_policy
from iamaccess.explain import explain
from served import ACCOUNT, Served, document
from test_access_to_keys import ADMINISTRATORS, PATTERN, Setting, own, step_1

NAME = "aws:imagebuilder:arn"
CONTEXT = f"kms:EncryptionContext:{NAME}"
PRINTED = f"arn:aws:kms:*:{ACCOUNT}:key/"
FOREIGN = PATTERN.replace(ACCOUNT, "444455556666")


@pytest.fixture
def setting(sandbox: Served) -> Setting:
    return Setting(sandbox)


def asked(setting: Setting, statement: dict[str, Any], context: dict[str, str]) -> tuple[str, str]:
    """What the sandbox answers to the role's GenerateDataKey; what the judge explains, beside it.

    The sandbox's words are those of the judge's decision.
    """
    setting.key_policy(ADMINISTRATORS, statement)
    caller = setting.sandbox.client("sts", setting.session).get_caller_identity()["Arn"]
    who = Principal("session", caller, ACCOUNT, setting.role)
    pairs = {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
    request = Request(who, "kms:GenerateDataKey", setting.key, pairs)
    policy = parse_policy(document(ADMINISTRATORS, statement), kind="resource", name="key policy")
    layers = Policies((), [policy], (), (), (), (), ())
    decision = decide(request, layers)
    why = str(explain(request, layers, decision))
    if decision.outcome is Outcome.ALLOWED:
        return setting.attempt(context), why
    with pytest.raises(ClientError) as refusal:
        setting.as_role().generate_data_key(
            KeyId=setting.key, NumberOfBytes=32, EncryptionContext=context
        )
    assert refusal.value.response["Error"]["Message"] == denied_message(decision, request)
    return str(refusal.value.response["Error"]["Code"]), why


def but(statement: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(statement), **changes}


def test_as_the_page_has_it_both_allow(setting: Setting) -> None:
    answer, why = asked(setting, step_1(setting.role), own())
    assert answer == "allowed"
    assert why.startswith("ALLOWED: key policy, statement 'Allow access to build images with")


WRONG = [
    pytest.param(
        {},
        {NAME: own()[NAME].replace("workflow", "workflaw")},
        "(one character differs: 'a', not 'o', at place 51)",
        id="a letter of the encryption context",
    ),
    pytest.param(
        {},
        {NAME: own()[NAME].replace("workflow", "Workflow")},
        "(differs in letter case only)",
        id="the case of a letter",
    ),
    pytest.param(
        {},
        {NAME.replace("arn", "arm"): own()[NAME]},
        "(it has kms:EncryptionContext:aws:imagebuilder:arm: one character differs",
        id="a letter of its name",
    ),
    pytest.param(
        {"Condition": {"StringLike": {CONTEXT: FOREIGN}}},
        own(),
        "(only the account differs)",
        id="the account of the condition",
    ),
    pytest.param({"Resource": PRINTED}, own(), f"resource needs {PRINTED}", id="the Resource"),
    pytest.param(
        {"Effect": "Deny"}, own(), "denies kms:GenerateDataKey explicitly", id="the Effect"
    ),
]


@pytest.mark.parametrize(("changes", "context", "because"), WRONG)
def test_one_wrong_letter_is_refused_and_pointed_at(
    setting: Setting, changes: dict[str, Any], context: dict[str, str], because: str
) -> None:
    answer, why = asked(setting, but(step_1(setting.role), **changes), context)
    assert (answer, why.partition(":")[0]) == ("AccessDeniedException", "DENIED")
    assert because in why
