"""What checks look at, each as a finding: builds, decisions, keys, CloudTrail's records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from iamaccess import Outcome
from iamaccess.lint import Aim, lint_key_policy

from keyrunbook import access, policies
from keyrunbook.access import Answer, Cell
from keyrunbook.aws import who
from keyrunbook.aws.clients import Clients
from keyrunbook.exercises import stage
from keyrunbook.exercises.account import Account
from keyrunbook.findings import Finding
from keyrunbook.records import Record, parse_record

SAME_POLICY: Final = "The key's policy is what it was"


def judged(statement: str, passes: bool, good: str, bad: str) -> Finding:
    """A finding that passes or fails, with the evidence of the one or the other."""
    return Finding(statement, "pass" if passes else "fail", (good if passes else bad).rstrip("."))


def opens(account: Account, workflow_arn: str | None, role_arn: str, what: str = "") -> Finding:
    """Whether a build can read the workflow as the execution role: observed by a build."""
    statement = f"A build can read the workflow{what}"
    if workflow_arn is None:
        return Finding(statement, "fail", "there is no build version of it")
    build = stage.build(account, workflow_arn, role_arn)
    if build.decrypted is None:
        return Finding(statement, "not checked", f"the build is {build.status}: check again soon")
    return judged(statement, build.decrypted, build.reason, build.reason)


def cells(account: Account, key_arn: str, role_name: str) -> list[Cell]:
    """What a role may do with a key, decided from the policies; none where there is no such role.

    Where a policy may not be read, answers are UNKNOWN.
    """
    clients = account.administrator
    key = who.key_side(clients, key_arn)
    matrix = access.decided(who.read(clients, key, role_name), who.operator(clients, key))
    return [cell for cell in matrix.cells if cell.principal == access.ROLE]


def may_read(account: Account, key_arn: str, role_name: str, workflow_arn: str) -> Answer | None:
    """Whether the role may decrypt this workflow, and why; None where there is no such role."""
    clients = account.administrator
    read = who.read(clients, who.key_side(clients, key_arn), role_name)
    if read is None:
        return None
    (request,) = (one for one in access.role_requests(read) if one.action == "kms:Decrypt")
    context = {**request.context, policies.CONTEXT_KEY: stage.context_arn(workflow_arn)}
    return access.answered(replace(request, context=context), read.policies)


def workflows_only(account: Account, key_arn: str, role_name: str) -> Finding:
    """Whether the execution role may use the key for nothing else than workflows."""
    return _none_allowed(
        "The execution role may use the key for nothing else",
        [cell for cell in cells(account, key_arn, role_name) if not cell.wanted],
    )


def may_not_use(account: Account, key_arn: str, role_name: str, statement: str) -> Finding:
    """Whether a role may use a key for nothing at all."""
    return _none_allowed(statement, cells(account, key_arn, role_name))


def may_use(account: Account, key_arn: str, role_name: str) -> Finding:
    """Whether the execution role may use the key for this account's workflows."""
    statement = "The execution role may use the key for workflows"
    wanted = [cell for cell in cells(account, key_arn, role_name) if cell.wanted]
    wrong = [cell for cell in wanted if cell.outcome is not Outcome.ALLOWED]
    said = wrong[0].why if wrong else wanted[0].why if wanted else "there is no such role"
    return judged(statement, bool(wanted) and not wrong, said, said)


def _none_allowed(statement: str, asked: Iterable[Cell]) -> Finding:
    asked = list(asked)
    wrong = [cell for cell in asked if cell.outcome is not Outcome.DENIED]
    if wrong:
        one = wrong[0]
        said = f"{one.action} for {one.what} is {one.outcome.value}: {one.why}"
        return Finding(statement, "fail", said.rstrip("."))
    why = asked[0].why if asked else "there is no such role"
    return Finding(statement, "pass" if asked else "fail", why.rstrip("."))


def keeps_control(account: Account, key_arn: str) -> Finding:
    """Whether the administrator may read and change the key's policy.

    A key that nobody may manage: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    statement = "You can change the key's policy again"
    clients = account.administrator
    side = who.key_side(clients, key_arn)
    if side.text is None:
        return Finding(
            statement,
            "fail",
            "you may not even read it, so you are locked out. On AWS nobody but AWS Support could "
            "help; here, open the exercise again",
        )
    control = access.keeps_control(who.operator(clients, side), json.loads(side.text))
    return judged(statement, control.outcome is Outcome.ALLOWED, control.why, control.why)


def statements_count(account: Account, key_arn: str, role_arn: str) -> Finding:
    """Whether each statement of the key's policy says something about this key."""
    statement = "Each statement of the key's policy has an effect"
    text = who.key_side(account.administrator, key_arn).text
    if text is None:
        return Finding(statement, "not checked", "the policy may not be read")
    aim = Aim(key_arn=key_arn, account=account.number, execution_role=role_arn)
    idle = [one for one in lint_key_policy(text, aim) if one.rule in ("K03", "K04")]
    said = f"{idle[0].rule} at {idle[0].pointer}: {idle[0].why}" if idle else "none is idle"
    return judged(statement, not idle, said, said)


def key_state(account: Account, key_arn: str, wanted: str = "Enabled") -> Finding:
    """Whether the key is in the state that is wanted."""
    state = account.administrator("kms").describe_key(KeyId=key_arn)["KeyMetadata"]["KeyState"]
    return judged(f"The key is {wanted}", state == wanted, state, f"it is {state}")


def alias_names(account: Account, alias: str, key_arn: str) -> Finding:
    """Whether an alias names the key."""
    now = account.administrator("kms").describe_key(KeyId=alias)["KeyMetadata"]["Arn"]
    return judged(f"{alias} names the key", now == key_arn, now, f"it names {now}")


def same_policy(account: Account, key_arn: str, was: Mapping[str, Any]) -> Finding:
    """Whether the key's policy is still what it was: nobody was given more."""
    now = stage.key_policy(account, key_arn)
    said = "; ".join(line.strip() for line in policies.differences(was, now))
    return judged(SAME_POLICY, policies.same(was, now), "no difference", f"it differs: {said}")


def records(clients: Clients, name: str) -> list[Record]:
    """The newest records of an event name in the Event history, newest first, fifty at most."""
    answer = clients("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}], MaxResults=50
    )
    return [parse_record(one["CloudTrailEvent"]) for one in answer["Events"]]


def short(arn: str | None) -> str:
    """Who, without the account: ``user/Olga``."""
    return (arn or "somebody").split(":", 5)[-1]
