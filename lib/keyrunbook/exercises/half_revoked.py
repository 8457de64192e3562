"""Access was "revoked" by closing one path of several."""

from __future__ import annotations

from dataclasses import dataclass

from botocore.exceptions import ClientError
from iamaccess import Outcome

from keyrunbook import access
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told."""

    key_arn: str
    role_arn: str
    role_name: str
    workflow_arn: str


def situation(account: Account) -> Facts:
    """The key's policy has lost the role's statement; the role's own policy and a grant are left.

    The path that was closed is as if it had never been: only what is left counts.
    """
    role = stage.a_role(account)
    key = stage.a_key(account, stage.delegation(account), stage.use_by(account, role))
    stage.may_use(account, key)
    workflow = stage.a_workflow(account.administrator, key)
    account.administrator("kms").create_grant(
        KeyId=key,
        GranteePrincipal=role,
        Operations=["Decrypt"],
    )
    stage.put_key_policy(account, key, stage.delegation(account))
    return Facts(key, role, stage.ROLE, workflow)


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """Builds are refused as the role; the key and its other users are as they were."""
    account, facts = exercise.account, exercise.facts
    return [
        seen.key_state(account, facts.key_arn),
        _refused(account, facts),
        _still_read(account, facts.workflow_arn),
    ]


def _refused(account: Account, facts: Facts) -> Finding:
    """By a build, and by the policies: it might fail for another reason."""
    statement = "A build is refused the workflow"
    answer = seen.may_read(account, facts.key_arn, facts.role_name, facts.workflow_arn)
    if answer is None:
        return Finding(statement, "fail", "the role is gone, so nothing tells; begin anew")
    build = stage.build(account, facts.workflow_arn, facts.role_arn)
    why = answer.why.rstrip(".")
    if build.decrypted is True:
        return Finding(statement, "fail", f"it read it: a path is still open ({why})")
    if answer.outcome is not Outcome.DENIED:
        said = f"it fails for another reason, and a path is still open ({why})"
        return Finding(statement, "fail", said)
    return seen.judged(statement, build.decrypted is False, build.reason, build.status)


def _still_read(account: Account, workflow_arn: str) -> Finding:
    statement = "You can still read the workflow"
    try:
        account.administrator("imagebuilder").get_workflow(workflowBuildVersionArn=workflow_arn)
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            raise
        return Finding(statement, "fail", explain(error).what.rstrip("."))
    return Finding(statement, "pass", f"as {access.OPERATOR}")


def solution(exercise: Exercise[Facts]) -> None:
    """Both paths that are left are closed: the role's own policy, and the grant."""
    facts = exercise.facts
    exercise.client("iam").delete_role_policy(RoleName=facts.role_name, PolicyName="WorkflowKey")
    kms = exercise.client("kms")
    for grant in kms.list_grants(KeyId=facts.key_arn)["Grants"]:
        if grant["GranteePrincipal"] == facts.role_arn:
            kms.revoke_grant(KeyId=facts.key_arn, GrantId=grant["GrantId"])


LESSON = Lesson(
    title="Revoked, they said; and the build still runs",
    minutes=8,
    learn="each path of access is enough alone; revoking means closing them all",
    task="make builds with the role unable to read the workflow. You, and everybody else who may "
    "use the key, keep that.",
    situation=situation,
    check=check,
    moral="Key policy, IAM policy by way of delegation, grant: each was enough alone. An explicit "
    "Deny in the key's policy would have closed all at once. A disabled key revokes everybody.",
    hints=(
        "The check names the path by which the role still got in. Close that one, and check "
        "again: is that all?",
        "A grant is such a path, and no policy shows it: list the grants of the key (ListGrants), "
        "and revoke the one whose grantee is the role.",
        "The key's policy delegates to the account, so the role's own policy counts, too: take "
        "its inline policy WorkflowKey away. (Or close all paths at once: an explicit Deny for "
        "the role in the key's policy.)",
    ),
    solution=solution,
)
