"""Plans compare with literals: what each step would call, for each state of the account."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from keyrunbook import policies
from keyrunbook.errors import ParameterError, StepFailed
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import size
from keyrunbook.plan import Plan
from keyrunbook.show.tables import plan_table, policies_of
from keyrunbook.steps import (
    clean_up,
    create_key,
    encrypt_workflow,
    grant_access,
    in_use,
    revoke_access,
)
from keyrunbook.steps.common import Place

PLACE = Place("r1", "111122223333", "aws", "us-west-2", "sandbox", {"keyrunbook:run": "r1"})
KEY_ARN = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
KEY: dict[str, Any] = {
    "Arn": KEY_ARN, "KeyId": KEY_ARN.rsplit("/", 1)[1], "KeyManager": "CUSTOMER",
    "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled",
}  # fmt: skip
ROLE_ARN = "arn:aws:iam::111122223333:role/Builder"
WORKFLOW = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/encrypted-build/1.0.0/1"
START = policies.administrators_policy("aws", "111122223333")
PARAMETERS = Parameters(execution_role="Builder")


def calls(plan: Plan) -> list[str]:
    return [change.call for change in plan]


# 01


NO_KEY = create_key.State(PLACE, None, rotates=False, alias_key_id=None, made_here=False)
READY = create_key.State(PLACE, KEY, rotates=True, alias_key_id=KEY["KeyId"], made_here=True)


def test_a_key_with_rotation_and_alias() -> None:
    made, rotated, named = create_key.plan(NO_KEY, PARAMETERS)
    assert made.call == "kms:CreateKey"
    assert json.loads(made.parameters["Policy"]) == START
    assert made.parameters["Tags"] == [{"TagKey": "keyrunbook:run", "TagValue": "r1"}]
    assert dict(rotated.parameters) == {"KeyId": "${create_key.key_arn}"}
    assert dict(named.parameters) == {
        "AliasName": "alias/imagebuilder-workflows",
        "TargetKeyId": "${create_key.key_arn}",
    }


@pytest.mark.parametrize(
    ("state", "planned"),
    [
        (READY, []),
        (replace(READY, rotates=False), ["kms:EnableKeyRotation"]),
        (replace(READY, alias_key_id=None), ["kms:CreateAlias"]),
        (replace(READY, rotates=False, key={**KEY, "Origin": "AWS_KMS"}),
         ["kms:EnableKeyRotation"]),
        (replace(READY, rotates=False, key={**KEY, "Origin": "EXTERNAL"}), []),
        (replace(READY, rotates=False, key={**KEY, "Origin": "AWS_CLOUDHSM"}), []),
        (replace(READY, rotates=False, key={**KEY, "Origin": "EXTERNAL_KEY_STORE"}), []),
    ],
)  # fmt: skip
def test_only_what_is_missing(state: create_key.State, planned: list[str]) -> None:
    assert calls(create_key.plan(state, PARAMETERS)) == planned


THEIRS_KEY = replace(READY, rotates=False, alias_key_id=None, made_here=False)
ROTATE, NAME = ["kms:EnableKeyRotation"], ["kms:CreateAlias"]


@pytest.mark.parametrize(
    ("state", "asked", "planned"),
    [
        (THEIRS_KEY, {}, []),
        (THEIRS_KEY, {"rotate_key": True}, ROTATE),
        (THEIRS_KEY, {"key_alias": "alias/mine"}, NAME),
        (THEIRS_KEY, {"key_alias": "alias/mine", "rotate_key": True}, [*ROTATE, *NAME]),
        (THEIRS_KEY, {"key_alias": "alias/imagebuilder-workflows"}, []),
        (replace(READY, rotates=False), {"rotate_key": False}, []),
        (NO_KEY, {"rotate_key": False}, ["kms:CreateKey", *NAME]),
    ],
)
def test_a_key_that_was_there_gets_what_was_asked_for(
    state: create_key.State, asked: dict[str, Any], planned: list[str]
) -> None:
    assert calls(create_key.plan(state, Parameters(**asked))) == planned


@pytest.mark.parametrize(
    ("state", "asked", "status", "mend"),
    [
        (THEIRS_KEY, {}, "not checked", "Set rotate_key = True"),
        (THEIRS_KEY, {"rotate_key": True}, "fail", ""),
        (replace(THEIRS_KEY, rotates=True), {}, "pass", ""),
        (replace(READY, rotates=False), {}, "fail", ""),
        (replace(READY, rotates=False), {"rotate_key": False}, "not checked", "Set rotate_key"),
        (replace(THEIRS_KEY, rotates=None), {}, "not checked", ""),
        (replace(THEIRS_KEY, key={**KEY, "Arn": KEY_ARN.replace("1111", "9999")}), {},
         "not checked", "Enable it on arn:"),
    ],
)  # fmt: skip
def test_whether_the_key_rotates_is_judged_by_what_was_asked(
    state: create_key.State, asked: dict[str, Any], status: str, mend: str
) -> None:
    found = create_key._rotation(state, Parameters(**asked))
    assert (found.status, found.mend.startswith(mend)) == (status, True)


def test_that_imported_material_does_not_rotate_is_said_and_is_no_failure() -> None:
    key = {**KEY, "Origin": "EXTERNAL"}
    found = create_key._rotation(replace(READY, rotates=False, key=key), PARAMETERS)
    assert (found.status, "its material was imported" in found.evidence) == ("not checked", True)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (replace(READY, alias_key_id="other"), "belongs to the key other already"),
        (replace(NO_KEY, alias_key_id="other"), "belongs to the key other already"),
        (replace(READY, key={**KEY, "KeyState": "PendingDeletion"}), "state PendingDeletion"),
        (replace(READY, key={**KEY, "KeyManager": "AWS"}), "is an AWS managed key"),
        (replace(READY, key={**KEY, "KeySpec": "RSA_2048"}), "is RSA_2048"),
        (replace(READY, key={**KEY, "KeyUsage": "GENERATE_VERIFY_MAC"}), "GENERATE_VERIFY_MAC"),
    ],
)
def test_a_key_that_cannot_serve(state: create_key.State, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        create_key.plan(state, PARAMETERS)


# 02


UNGRANTED = grant_access.State(PLACE, KEY_ARN, "Builder", ROLE_ARN, policies.to_text(START), None)
WANTED_KEY_POLICY = policies.with_statement(START, grant_access.statement_for(UNGRANTED, ROLE_ARN))
WANTED_ROLE_POLICY = policies.role_policy("r1", KEY_ARN, "aws", "111122223333")


def with_key_policy(
    policy: dict[str, Any], state: grant_access.State = UNGRANTED
) -> grant_access.State:
    return replace(state, key_policy_text=policies.to_text(policy))


GRANTED = with_key_policy(WANTED_KEY_POLICY, replace(UNGRANTED, role_policy=WANTED_ROLE_POLICY))


def test_both_steps_of_the_page() -> None:
    key_policy, role_policy = grant_access.plan(UNGRANTED, PARAMETERS)
    assert (key_policy.call, role_policy.call) == ("kms:PutKeyPolicy", "iam:PutRolePolicy")
    assert json.loads(key_policy.parameters["Policy"])["Statement"] == [
        *START["Statement"],
        {
            "Sid": "WorkflowKeyUser1",
            "Effect": "Allow",
            "Principal": {"AWS": ROLE_ARN},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": {
                "StringLike": {
                    "kms:EncryptionContext:aws:imagebuilder:arn": (
                        "arn:aws:imagebuilder:*:111122223333:workflow/*"
                    )
                }
            },
        },
    ]
    assert key_policy.keep == {"policy": policies.to_text(START)}
    assert json.loads(role_policy.parameters["PolicyDocument"])["Statement"][0]["Resource"] == (
        KEY_ARN
    )


def test_a_role_is_made_on_the_sandbox_only_and_trusts_image_builder_for_this_account() -> None:
    without = replace(UNGRANTED, role_arn=None)
    role, *_ = grant_access.plan(without, PARAMETERS)
    assert role.call == "iam:CreateRole"
    assert (role.parameters["RoleName"], role.parameters["Path"]) == ("Builder", "/")
    [statement] = json.loads(role.parameters["AssumeRolePolicyDocument"])["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}
    on_aws = replace(without, place=replace(PLACE, target="aws"))
    with pytest.raises(ParameterError, match="There is no role 'Builder' in the account"):
        grant_access.plan(on_aws, PARAMETERS)


def test_a_role_given_by_arn_keeps_its_path() -> None:
    given = Parameters(execution_role="arn:aws:iam::111122223333:role/team/images/Builder")
    role, key_policy, _ = grant_access.plan(replace(UNGRANTED, role_arn=None), given)
    assert (role.parameters["RoleName"], role.parameters["Path"]) == ("Builder", "/team/images/")
    statement = json.loads(key_policy.parameters["Policy"])["Statement"][-1]
    assert statement["Principal"]["AWS"] == given.execution_role


def test_granted_access_is_granted_once() -> None:
    assert calls(grant_access.plan(GRANTED, PARAMETERS)) == []


def test_statements_of_others_stay_and_ours_is_put_in_its_place() -> None:
    theirs = {"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "kms:X"}
    ours = {"Sid": "WorkflowKeyUser1", "Effect": "Deny"}
    policy = {"Version": "2012-10-17", "Statement": [ours, theirs, *START["Statement"]]}
    change, *_ = grant_access.plan(with_key_policy(policy), PARAMETERS)
    sids = [one["Sid"] for one in json.loads(change.parameters["Policy"])["Statement"]]
    assert sids == ["WorkflowKeyUser1", "Theirs", "Allow access for key administrators"]


def test_a_key_policy_that_is_too_long_is_not_sent() -> None:
    long = {"Sid": "Long", "Effect": "Allow", "Principal": "*", "Action": ["kms:X" * 7000]}
    policy = {"Version": "2012-10-17", "Statement": [long, *START["Statement"]]}
    with pytest.raises(ParameterError, match=r"bytes; KMS takes 32768"):
        grant_access.plan(with_key_policy(policy), PARAMETERS)


def test_inline_policies_that_would_be_too_long_together_stop_it_before_the_key_policy() -> None:
    own = size(WANTED_ROLE_POLICY)
    fits = replace(UNGRANTED, other_characters=10_240 - own)
    assert len(calls(grant_access.plan(fits, PARAMETERS))) == 2
    with pytest.raises(ParameterError, match="would have 10241 characters; IAM takes 10240"):
        grant_access.plan(replace(fits, other_characters=10_241 - own), PARAMETERS)


def test_the_documents_are_shown_as_they_are_sent() -> None:
    plan = grant_access.plan(replace(UNGRANTED, role_arn=None), PARAMETERS)
    rows = policies_of(plan).rows
    assert [(row[0], row[1]) for row in rows] == [
        ("iam:CreateRole", "AssumeRolePolicyDocument"),
        ("kms:PutKeyPolicy", "Policy"),
        ("iam:PutRolePolicy", "PolicyDocument"),
    ]
    assert [json.loads(row[2]) for row in rows][1:] == [WANTED_KEY_POLICY, WANTED_ROLE_POLICY]
    assert "\n  " in rows[0][2]
    assert policies_of(Plan("02_grant_access")).note == "No policy is sent: they are so already."


# 03


PRESENT = {"arn": WORKFLOW, "kmsKeyId": KEY_ARN, "data": "document"}


@pytest.mark.parametrize(
    ("present", "planned"),
    [
        (PRESENT, []),
        (None, ["imagebuilder:CreateWorkflow"]),
        ({**PRESENT, "data": "other"}, ["imagebuilder:CreateWorkflow"]),
        ({**PRESENT, "kmsKeyId": KEY_ARN[:-1] + "0"}, ["imagebuilder:CreateWorkflow"]),
        ({"arn": WORKFLOW, "data": "document"}, ["imagebuilder:CreateWorkflow"]),
    ],
)
def test_a_workflow_is_created_unless_it_is_so(
    present: dict[str, Any] | None, planned: list[str]
) -> None:
    state = encrypt_workflow.State(PLACE, KEY_ARN, present, "document")
    assert calls(encrypt_workflow.plan(state, PARAMETERS)) == planned


def test_the_workflow_names_the_key() -> None:
    [change] = encrypt_workflow.plan(
        encrypt_workflow.State(PLACE, KEY_ARN, None, "document"), PARAMETERS
    )
    assert dict(change.parameters) == {
        "name": "encrypted-build",
        "semanticVersion": "1.0.0",
        "type": "BUILD",
        "data": "document",
        "kmsKeyId": KEY_ARN,
        "tags": {"keyrunbook:run": "r1"},
    }


# 05


def revoking(
    access: grant_access.State = GRANTED, grants: tuple[dict[str, Any], ...] = ()
) -> revoke_access.State:
    return revoke_access.State(access, grants)


def found(state: revoke_access.State, left: dict[str, Any]) -> revoke_access.Saved:
    return revoke_access.Saved(
        state.access.key_policy_text, state.access.role_policy, state.grants or (), json.dumps(left)
    )


GRANT = {"GrantId": "g1", "GranteePrincipal": ROLE_ARN, "Operations": ["Decrypt"], "Name": "n"}
DENIED = Parameters(execution_role="Builder", revoke_by="deny")
WITH_OTHERS = Parameters(execution_role="Builder", revoke_others=True)
BY_HAND = {
    "Sid": "Allow access to build images with encrypted workflow", "Effect": "Allow",
    "Principal": {"AWS": [ROLE_ARN]}, "Action": "kms:Decrypt", "Resource": "*",
}  # fmt: skip
FOR_TWO = {**BY_HAND, "Sid": "Two", "Principal": {"AWS": [ROLE_ARN, ROLE_ARN + "2"]}}


def with_statements(*more: dict[str, Any]) -> grant_access.State:
    policy = {**WANTED_KEY_POLICY, "Statement": [*WANTED_KEY_POLICY["Statement"], *more]}
    return with_key_policy(policy, GRANTED)


def test_revoking_closes_both_paths_and_restoring_opens_both() -> None:
    closed = revoke_access.plan(revoking(), PARAMETERS)
    assert calls(closed) == ["kms:PutKeyPolicy", "iam:DeleteRolePolicy"]
    assert policies.same(json.loads(closed.changes[0].parameters["Policy"]), START)
    assert calls(revoke_access.first_path(closed)) == ["kms:PutKeyPolicy"]
    assert calls(revoke_access.plan(revoking(UNGRANTED), PARAMETERS)) == []
    saved = replace(found(revoking(), START), key_policy=json.dumps(WANTED_KEY_POLICY, indent=7))
    opened = revoke_access.restore(revoking(UNGRANTED), [saved])
    assert calls(opened) == ["kms:PutKeyPolicy", "iam:PutRolePolicy"]
    assert opened.changes[0].parameters["Policy"] == saved.key_policy
    assert calls(revoke_access.restore(revoking(), [saved])) == []
    assert calls(revoke_access.restore(revoking(UNGRANTED), [])) == []


@pytest.mark.parametrize(
    ("state", "planned"),
    [
        (revoking(with_key_policy(START, GRANTED)), ["iam:DeleteRolePolicy"]),
        (revoking(replace(GRANTED, role_policy=None)), ["kms:PutKeyPolicy"]),
        (revoking(UNGRANTED, (GRANT,)), ["kms:RevokeGrant"]),
    ],
)
def test_revoking_plans_only_the_paths_that_are_open(
    state: revoke_access.State, planned: list[str]
) -> None:
    plan = revoke_access.plan(state, PARAMETERS)
    assert calls(plan) == planned
    assert calls(revoke_access.first_path(plan)) == []


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        pytest.param(PARAMETERS, ["Allow access for key administrators", BY_HAND["Sid"], "Two"],
                     id="others' statements stay"),
        pytest.param(WITH_OTHERS, ["Allow access for key administrators", "Two"],
                     id="one that names only this role goes on request"),
        pytest.param(DENIED, ["Allow access for key administrators", "WorkflowKeyUser1",
                              BY_HAND["Sid"], "Two", "WorkflowKeyRevokedr1"],
                     id="a Deny takes nothing away"),
    ],
)  # fmt: skip
def test_what_a_revocation_leaves_of_the_key_policy(
    parameters: Parameters, left: list[str]
) -> None:
    change = revoke_access.plan(revoking(with_statements(BY_HAND, FOR_TWO)), parameters).changes[0]
    sent = json.loads(change.parameters["Policy"])
    assert [one["Sid"] for one in sent["Statement"]] == left


def test_a_deny_is_one_change_and_denies_workflows_only() -> None:
    (change,) = revoke_access.plan(revoking(GRANTED, (GRANT,)), DENIED)
    *_, denied = json.loads(change.parameters["Policy"])["Statement"]
    assert (denied["Effect"], denied["Principal"]) == ("Deny", {"AWS": ROLE_ARN})
    assert denied["Condition"] == WANTED_KEY_POLICY["Statement"][-1]["Condition"]
    assert set(denied["Action"]) >= {"kms:Decrypt", "kms:GenerateDataKey"}
    with pytest.raises(ParameterError, match="nobody to deny"):
        revoke_access.plan(revoking(replace(GRANTED, role_arn=None)), DENIED)


def test_a_grant_comes_back_as_it_was() -> None:
    revoked = revoke_access.plan(revoking(UNGRANTED, (GRANT,)), PARAMETERS).changes[0]
    assert dict(revoked.parameters) == {"KeyId": KEY_ARN, "GrantId": "g1"}
    assert revoked.keep == {"grant": GRANT}
    saved = found(revoking(UNGRANTED, (GRANT,)), START)
    (again,) = revoke_access.restore(revoking(UNGRANTED), [saved])
    assert again.call == "kms:CreateGrant"
    assert dict(again.parameters) == {
        "KeyId": KEY_ARN, "GranteePrincipal": ROLE_ARN, "Operations": ["Decrypt"], "Name": "n",
    }  # fmt: skip
    there = revoking(UNGRANTED, ({**GRANT, "GrantId": "g2"},))
    assert calls(revoke_access.restore(there, [saved])) == []


THEIRS = {"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "kms:X"}


@pytest.mark.parametrize(
    ("left", "now", "restored"),
    [
        pytest.param(START, [*START["Statement"], THEIRS],
                     ["Allow access for key administrators", "Theirs", "WorkflowKeyUser1"],
                     id="theirs stays, ours comes back"),
        pytest.param(START, [THEIRS, *WANTED_KEY_POLICY["Statement"]], None,
                     id="somebody put ours back"),
        pytest.param(
            {**WANTED_KEY_POLICY, "Statement": [*WANTED_KEY_POLICY["Statement"], BY_HAND]},
            [*WANTED_KEY_POLICY["Statement"], BY_HAND, THEIRS],
            ["Allow access for key administrators", "WorkflowKeyUser1", "Theirs"],
            id="what the revocation added goes",
        ),
    ],
)  # fmt: skip
def test_restoring_where_somebody_changed_the_key_policy_meanwhile(
    left: dict[str, Any], now: list[dict[str, Any]], restored: list[str] | None
) -> None:
    state = revoking(with_key_policy({**START, "Statement": now}, GRANTED))
    saved = found(revoking(), left)
    assert any("Theirs" in line for line in revoke_access.meanwhile(state, [saved]))
    plan = revoke_access.restore(state, [saved])
    if restored is None:
        assert calls(plan) == []
        return
    (change,) = plan
    assert "somebody changed the key policy meanwhile" in change.why
    sent = json.loads(change.parameters["Policy"])
    assert [one["Sid"] for one in sent["Statement"]] == restored


DENY = policies.revoked_statement("r1", ROLE_ARN, "aws", "111122223333")


def saved_of(before: list[Any], left: list[Any], *grants: dict[str, Any]) -> revoke_access.Saved:
    texts = (json.dumps({**START, "Statement": one}, indent=3) for one in (before, left))
    before_text, left_text = texts
    return revoke_access.Saved(before_text, None, grants, left_text)


def test_two_revocations_are_undone_the_newest_first_and_what_others_did_between_stays() -> None:
    """Deny first; a colleague adds a statement and a grant; remove later; restore."""
    (admin,), ours = START["Statement"], WANTED_KEY_POLICY["Statement"][-1]
    first = saved_of([admin, ours], [admin, ours, DENY])
    later = {**GRANT, "GrantId": "g2", "Name": "later"}
    second = saved_of([admin, ours, DENY, THEIRS], [admin, DENY, THEIRS], GRANT, later)
    again = replace(second, key_policy=None, left=None, grants=({**GRANT, "GrantId": "g3"},))
    now = revoking(with_key_policy({**START, "Statement": [admin, DENY, THEIRS]}, GRANTED))
    assert any("Theirs" in one for one in revoke_access.meanwhile(now, [first, second]))
    policy, *grants = revoke_access.restore(now, [first, second, again])
    sent = json.loads(policy.parameters["Policy"])
    assert [one["Sid"] for one in sent["Statement"]] == [admin["Sid"], ours["Sid"], "Theirs"]
    assert "somebody changed the key policy meanwhile" in policy.why
    assert [one.parameters["Name"] for one in grants] == ["n", "later"]


GONE = {"Sid": "Left", "Effect": "Allow", "Principal": {"AWS": "AROA1234567890ABCDEFG"},
        "Action": "kms:Decrypt", "Resource": "*"}  # fmt: skip


def test_a_key_policy_that_kms_will_refuse_is_put_last_so_that_what_can_be_closed_is() -> None:
    state = revoking(with_statements(GONE), (GRANT,))
    plan = revoke_access.plan(state, PARAMETERS)
    assert calls(plan) == ["iam:DeleteRolePolicy", "kms:RevokeGrant", "kms:PutKeyPolicy"]
    assert "its statement 'Left' names AROA1234567890ABCDEFG" in plan.changes[-1].why
    open_again = revoking(with_key_policy({**START, "Statement": [*START["Statement"], GONE]}))
    given = revoke_access.restore(open_again, [revoke_access._taken_by(plan)])
    assert calls(given) == ["iam:PutRolePolicy", "kms:CreateGrant", "kms:PutKeyPolicy"]
    with pytest.raises(ParameterError, match="'Left' names AROA"):
        revoke_access.plan(state, DENIED)
    with pytest.raises(ParameterError, match="'Left' names AROA"):
        grant_access.plan(open_again.access, PARAMETERS)


# 06


MADE = clean_up.State(
    (WORKFLOW,), "alias/a", "Builder", GRANTED, KEY, key_made=True, rotation_made=False
)


@pytest.mark.parametrize(
    ("state", "planned"),
    [
        pytest.param(
            MADE,
            [
                "imagebuilder:DeleteWorkflow",
                "iam:DeleteRolePolicy",
                "iam:DeleteRole",
                "kms:DeleteAlias",
                "kms:ScheduleKeyDeletion",
            ],
            id="from the outside in, the key last",
        ),
        pytest.param(
            replace(MADE, role=None, alias=None, key_made=False),
            ["imagebuilder:DeleteWorkflow", "iam:DeleteRolePolicy", "kms:PutKeyPolicy"],
            id="what was there before stays, without this run's statements",
        ),
        pytest.param(
            replace(MADE, alias=None, key_made=False, rotation_made=True),
            [
                "imagebuilder:DeleteWorkflow",
                "iam:DeleteRolePolicy",
                "kms:PutKeyPolicy",
                "iam:DeleteRole",
                "kms:DisableKeyRotation",
            ],
            id="a key policy is put before the role that it names goes",
        ),
        pytest.param(
            clean_up.State(
                (), None, None, replace(GRANTED, role_arn=None, role_policy=None),
                {**KEY, "KeyState": "PendingDeletion", "DeletionDate": datetime.now(UTC)},
                key_made=True, rotation_made=False,
            ),
            [],
            id="nothing is left to do",
        ),
    ],
)  # fmt: skip
def test_clean_up(state: clean_up.State, planned: list[str]) -> None:
    assert calls(clean_up.plan(state, PARAMETERS)) == planned


@pytest.mark.parametrize(
    ("state", "asked", "said"),
    [
        (MADE, {}, []),
        (replace(MADE, role=None, key_made=False), {},
         [r"The key .* stays: this run did not make it\.",
          r"The role Builder stays: this run did not make it\."]),
        (replace(MADE, use=in_use.Use(key=(("someone", "Encrypt at noon"),))), {},
         [r"The key .* stays, with its alias alias/a: others use it \(someone: Encrypt at noon\)\. "
          r"delete_used_key = True schedules it\."]),
        (replace(MADE, use=in_use.Use(key_not_known=(("GetKeyLastUsage", "refused"),))), {},
         [r"whether others use it is not known \(GetKeyLastUsage: refused\)"]),
        (replace(MADE, use=in_use.Use(key=(("someone", "Encrypt"),))), {"delete_used_key": True},
         []),
        (replace(MADE, role_shared=("theirs",)), {},
         [r"The role Builder stays: it has policies of others \(theirs\)\."]),
        (clean_up.State((), None, None, replace(GRANTED, role_arn=None, role_policy=None),
                        {**KEY, "KeyState": "PendingDeletion"}, key_made=True,
                        rotation_made=False), {}, []),
    ],
)  # fmt: skip
def test_the_plan_says_what_stays_and_why(
    state: clean_up.State, asked: dict[str, Any], said: list[str]
) -> None:
    planned = clean_up.plan(state, Parameters(**asked))
    assert len(planned.notes) == len(said)
    for note, pattern in zip(planned.notes, said, strict=True):
        assert re.search(pattern, note)
    assert all(note in plan_table(planned).note for note in planned.notes)


IN_USE = in_use.Use(workflow=(("pipeline/p", "the pipeline names it"),))
USED = in_use.Use(key=(("someone", "Encrypt at noon"),))


def test_a_workflow_in_use_stops_the_step_unless_a_parameter_says_otherwise() -> None:
    with pytest.raises(StepFailed, match="pipeline/p: the pipeline names it") as caught:
        clean_up.plan(replace(MADE, use=IN_USE), PARAMETERS)
    assert "nothing was deleted" in caught.value.what
    assert "delete_used_workflow = True" in caught.value.fix
    asked = Parameters(delete_used_workflow=True)
    assert calls(clean_up.plan(replace(MADE, use=IN_USE), asked)) == calls(
        clean_up.plan(MADE, PARAMETERS)
    )


def test_a_key_that_others_use_stays_with_its_alias_unless_a_parameter_says_otherwise() -> None:
    left = clean_up.plan(replace(MADE, use=USED), PARAMETERS)
    assert calls(left) == [
        "imagebuilder:DeleteWorkflow",
        "iam:DeleteRolePolicy",
        "kms:PutKeyPolicy",
        "iam:DeleteRole",
    ]
    assert policies.same(json.loads(left.changes[2].parameters["Policy"]), START)
    asked = Parameters(delete_used_key=True)
    assert calls(clean_up.plan(replace(MADE, use=USED), asked)) == calls(
        clean_up.plan(MADE, PARAMETERS)
    )


@pytest.mark.parametrize(
    ("unknown", "stays"),
    [
        pytest.param({"key_not_known": (("GetKeyLastUsage", "refused"),)}, True, id="of the key"),
        pytest.param({"not_known": (("image pipelines", "not served"),)}, False, id="of others"),
    ],
)
def test_a_key_of_whose_use_not_all_could_be_read_stays(
    unknown: dict[str, Any], stays: bool
) -> None:
    state = replace(MADE, use=in_use.Use(**unknown))
    assert ("kms:ScheduleKeyDeletion" not in calls(clean_up.plan(state, PARAMETERS))) is stays
    asked = Parameters(delete_used_key=True)
    assert "kms:ScheduleKeyDeletion" in calls(clean_up.plan(state, asked))


def test_what_was_adopted_comes_back_where_ours_was() -> None:
    (admin,), ours = START["Statement"], WANTED_KEY_POLICY["Statement"][-1]
    was = json.dumps({**START, "Statement": [admin, BY_HAND]}, indent=5)
    adopted = ((was, json.dumps(WANTED_KEY_POLICY)),)

    def sent(state: grant_access.State) -> str:
        cleaned = replace(MADE, grant=state, key_made=False, adopted=adopted)
        (change,) = (
            one for one in clean_up.plan(cleaned, PARAMETERS) if one.call == "kms:PutKeyPolicy"
        )
        return str(change.parameters["Policy"])

    assert sent(GRANTED) == was
    theirs = with_key_policy({**START, "Statement": [admin, THEIRS, ours]}, GRANTED)
    found = json.loads(sent(theirs))["Statement"]
    assert found == [admin, THEIRS, BY_HAND]


def test_a_role_that_others_gave_policies_stays_without_ours() -> None:
    planned = calls(clean_up.plan(replace(MADE, role_shared=("theirs",)), PARAMETERS))
    assert "iam:DeleteRole" not in planned
    assert "iam:DeleteRolePolicy" in planned


def test_the_rotation_of_a_key_stays_while_other_runs_need_it() -> None:
    other = {"Sid": "WorkflowKeyUser2", "Effect": "Allow"}
    policy = {**WANTED_KEY_POLICY, "Statement": [*WANTED_KEY_POLICY["Statement"], other]}
    state = replace(MADE, grant=with_key_policy(policy, GRANTED), key_made=False)
    (change,) = (
        one
        for one in clean_up.plan(replace(state, rotation_made=True), PARAMETERS)
        if one.service == "kms" and one.call != "kms:DeleteAlias"
    )
    assert change.call == "kms:PutKeyPolicy"
    assert policies.sids(json.loads(change.parameters["Policy"])) == [
        "Allow access for key administrators", "WorkflowKeyUser2",
    ]  # fmt: skip


def test_the_deny_of_a_revocation_goes_too() -> None:
    denied = policies.revoked_statement("r1", ROLE_ARN, "aws", "111122223333")
    policy = policies.with_statement(WANTED_KEY_POLICY, denied)
    state = replace(MADE, grant=with_key_policy(policy, GRANTED), key_made=False)
    (change,) = (one for one in clean_up.plan(state, PARAMETERS) if one.call == "kms:PutKeyPolicy")
    assert policies.same(json.loads(change.parameters["Policy"]), START)


def test_what_a_revocation_holds_back_of_others_is_given_back_first() -> None:
    with pytest.raises(StepFailed, match="holds back what others had") as caught:
        clean_up.plan(replace(MADE, held=True), PARAMETERS)
    assert "runbook restore" in caught.value.fix


@pytest.mark.parametrize(
    ("reference", "means"),
    [
        (WORKFLOW, True),
        (WORKFLOW.rpartition("/")[0], True),
        (WORKFLOW.replace("1.0.0/1", "x.x.x"), True),
        (WORKFLOW.replace("1.0.0/1", "1.x.x"), True),
        (WORKFLOW.replace("1.0.0/1", "2.x.x"), False),
        (WORKFLOW.replace("1.0.0/1", "1.0.0/2"), False),
        (WORKFLOW.replace("encrypted-build", "encrypted-builds"), False),
        (WORKFLOW.replace("/build/", "/test/"), False),
        (WORKFLOW.replace("us-west-2", "us-east-1"), False),
    ],
)
def test_which_references_may_mean_a_workflow(reference: str, means: bool) -> None:
    assert in_use.names(reference, WORKFLOW) is means


def test_the_key_waits_as_long_as_is_asked() -> None:
    *_, key = clean_up.plan(MADE, Parameters(pending_window_days=7))
    assert dict(key.parameters) == {"KeyId": KEY_ARN, "PendingWindowInDays": 7}
