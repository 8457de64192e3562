"""A whole run in an account of its own, in which calls go wrong by schedule, and what is left."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from jobs import Job, module_of
from keyrunbook import sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.lookup import IAM
from keyrunbook.aws.refusals import explain
from keyrunbook.errors import RunbookError
from keyrunbook.parameters import Parameters, project_dir
from keyrunbook.policies import sid
from keyrunbook.proof import Span
from keyrunbook.records import KMS
from keyrunbook.sandboxes import Handoff
from keyrunbook.session import Run, open_step
from keyrunbook.steps import STEPS, inventory
from keyrunbook.steps.events import history, moment

Rules = Sequence[Mapping[str, Any]]

RESTORE = "05 restore"
"""The second half of notebook 05; its first half is ``05``, as the other parts are their steps."""
CHANGES: Mapping[str, tuple[str, ...]] = {
    "01": ("kms:CreateKey", "kms:EnableKeyRotation", "kms:CreateAlias"),
    "02": ("iam:CreateRole", "kms:PutKeyPolicy", "iam:PutRolePolicy"),
    "03": ("imagebuilder:CreateWorkflow",),
    "04": (),
    "05": (
        "imagebuilder:CreateImage",
        "kms:PutKeyPolicy",
        "iam:DeleteRolePolicy",
        "kms:RevokeGrant",
    ),
    RESTORE: ("kms:PutKeyPolicy", "iam:PutRolePolicy", "kms:CreateGrant"),
    "06": (
        "imagebuilder:DeleteWorkflow",
        "iam:DeleteRolePolicy",
        "iam:DeleteRole",
        "kms:DeleteAlias",
        "kms:ScheduleKeyDeletion",
    ),
}
"""Every change that each part of the runbook makes on the sandbox."""
READS: Mapping[str, tuple[str, ...]] = {
    "01": ("sts:GetCallerIdentity", "kms:DescribeKey", "kms:GetKeyRotationStatus"),
    "02": (
        "iam:GetRole",
        "kms:GetKeyPolicy",
        "iam:GetRolePolicy",
        "iam:ListRolePolicies",
        "kms:ListGrants",
    ),
    "03": (
        "imagebuilder:ListWorkflows",
        "imagebuilder:GetWorkflow",
        "imagebuilder:ListWorkflowBuildVersions",
    ),
    "04": ("imagebuilder:GetWorkflow", "cloudtrail:LookupEvents"),
    "05": ("kms:GetKeyPolicy", "imagebuilder:GetImage", "cloudtrail:LookupEvents"),
    RESTORE: ("kms:GetKeyPolicy", "kms:ListGrants", "imagebuilder:GetImage"),
    "06": ("kms:DescribeKey", "kms:GetKeyLastUsage", "cloudtrail:LookupEvents", "iam:GetRole"),
}
"""Reads that each part rests on."""


BEFORE: Mapping[str, int] = {"imagebuilder:CreateWorkflow": 1}
"""How often a call is made before it is made in earnest: CreateWorkflow's dry run."""


def rules(calls: Sequence[str], fault: str, after: int = 0, **more: Any) -> Rules:
    """The fault in each of these calls, once, unless `times` says otherwise."""
    return [
        {
            "service": call.partition(":")[0],
            "operation": call.partition(":")[2],
            "fault": fault,
            "after": after + BEFORE.get(call, 0),
            **more,
        }
        for call in calls
    ]


@dataclass(frozen=True)
class Stop:
    """That a step ended early: in which part, the call that AWS refused, and the error's type."""

    part: str
    call: str
    error: str


class Faulty:
    """One run in a fresh account of a sandbox, part by part, each with its own schedule.

    The cells of the notebooks are executed as they are; what ends early is begun again from its
    top, as a person or `runbook resume` would.
    """

    def __init__(self, there: Handoff, folder: Path, word: str, more: Mapping[str, Any]) -> None:
        new = sandboxes.command(there, "new-account")
        names = ("account", "access_key_id", "secret_access_key")
        self.handoff = replace(there, **{name: new[name] for name in names})
        self.path = folder / f"{word}.json"
        self.path.touch(mode=0o600)
        shown = {name: getattr(self.handoff, name) for name in self.handoff.__slots__}
        self.path.write_text(json.dumps(shown))
        self.job = Job(folder, word)
        self._more = more
        self._by_others: Counter[str] = Counter()
        self._schedules: Mapping[str, Rules] = {}
        self.stops: list[Stop] = []
        self.unmet: list[str] = []
        """The rules of the schedules that no call has met, by part and operation."""

    def admin(self) -> Clients:
        """The account's administrator, for whom nothing goes wrong while no schedule is on."""
        return sandbox_clients(self.handoff)

    def open(self, step: str) -> Run:
        """Open a step, with limits that a form could not hold: parts of a second."""
        given = Parameters.load(self.job.given).model_copy(update=dict(self._more))
        return open_step(next(name for name in STEPS if name.startswith(step)), given)

    def through(self, schedules: Mapping[str, Rules], *steps: str) -> None:
        """Do these steps, with the schedule of each part."""
        self._schedules = dict(schedules)
        for step in steps:
            self._part = step
            self._begin(step)
            for _ in range(12):
                try:
                    self._execute(step)
                    break
                except (RunbookError, ClientError, BotoCoreError) as error:
                    told = error if isinstance(error, RunbookError) else explain(error)
                    name = re.match(r"AWS (?:refused|gave no answer to) (?:\w+:)?(\w+)", told.what)
                    call = name[1] if name else told.what
                    self.stops.append(Stop(self._part, call, type(told).__name__))
            else:
                raise AssertionError(self.stops)
            self._end()

    def _begin(self, part: str) -> None:
        self._part = part
        self._on = list(self._schedules.get(part, ()))
        sandboxes.command(self.handoff, "faults", rules=self._on)

    def _end(self) -> None:
        answer = sandboxes.command(self.handoff, "faults", rules=[])
        for rule, matched in zip(self._on, answer["matched_before"], strict=True):
            if not matched:
                self.unmet.append(f"{self._part} {rule['operation']}")

    def _execute(self, step: str) -> None:
        names = {"run": self.open(step), "step": module_of(step), "inventory": inventory}
        for code in cells(step):
            if "changed_meanwhile" in code and self._part != RESTORE:
                self._end()
                self._begin(RESTORE)
            exec(compile(code, step, "exec"), names)

    # What is left

    def wrong_when_made(self) -> Iterator[str]:
        """What there is not exactly one of, once 05 has given everything back."""
        aws, given = self.admin(), self.job.given
        kms, iam, builder = aws("kms"), aws("iam"), aws("imagebuilder")
        keys = [one["KeyId"] for one in kms.list_keys()["Keys"]]
        if len(keys) != 1:
            yield f"keys: {keys}"
            return
        tags = kms.list_resource_tags(KeyId=keys[0])["Tags"]
        if {"TagKey": "keyrunbook:run", "TagValue": given["run_id"]} not in tags:
            yield f"tags: {tags}"
        aliases = [one["AliasName"] for one in kms.list_aliases()["Aliases"]]
        if aliases != [given["key_alias"]]:
            yield f"aliases: {aliases}"
        if not kms.get_key_rotation_status(KeyId=keys[0])["KeyRotationEnabled"]:
            yield "the key does not rotate"
        policy = json.loads(kms.get_key_policy(KeyId=keys[0])["Policy"])
        sids = [one["Sid"] for one in policy["Statement"]]
        if len(sids) != 2 or sid("WorkflowKeyUse", given["run_id"]) not in sids:
            yield f"statements: {sids}"
        if len(grants := kms.list_grants(KeyId=keys[0])["Grants"]) != 1:
            yield f"grants: {grants}"
        roles = [one["RoleName"] for one in iam.list_roles()["Roles"]]
        if roles != [given["execution_role"]]:
            yield f"roles: {roles}"
            return
        if len(names := iam.list_role_policies(RoleName=roles[0])["PolicyNames"]) != 1:
            yield f"policies of the role: {names}"
        versions = builder.list_workflows(owner="Self")["workflowVersionList"]
        builds = [
            one["arn"]
            for version in versions
            for one in builder.list_workflow_build_versions(workflowVersionArn=version["arn"])[
                "workflowSummaryList"
            ]
        ]
        if len(builds) != 1:
            yield f"workflow builds: {builds}"

    def wrong_when_gone(self) -> Iterator[str]:
        """What 06 has left."""
        aws = self.admin()
        kms = aws("kms")
        keys = [
            kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"]["KeyState"]
            for one in kms.list_keys()["Keys"]
        ]
        left = {
            "aliases": kms.list_aliases()["Aliases"],
            "roles": aws("iam").list_roles()["Roles"],
            "workflows": aws("imagebuilder").list_workflows(owner="Self")["workflowVersionList"],
        }
        if keys != ["PendingDeletion"]:
            yield f"keys: {keys}"
        yield from (f"{what}: {found}" for what, found in left.items() if found)

    def wrong_in_the_ledger(self) -> Iterator[str]:
        """Where the ledger says other than CloudTrail. Raises LedgerDamaged."""
        ledger = self.job.open("06").ledger
        if unsettled := ledger.unsettled():
            yield f"outcomes that nobody knows: {unsettled}"
        told = Counter(outcome["call"] for _, outcome in ledger.served())
        if told != (seen := self.recorded()):
            yield f"only in the ledger: {told - seen}; only in CloudTrail: {seen - told}"

    def recorded(self) -> Counter[str]:
        """The changes of the run that CloudTrail has, by their calls."""
        run = self.job.open("06")
        since = moment(run.ledger.entries()[0]["time"]) - timedelta(seconds=5)
        changes = Span("ReadOnly", "false", since, run.now() + timedelta(seconds=5))
        found = (
            record
            for source in (KMS, IAM)
            for record in history(run, source).search([changes]).records
        )
        seen = Counter(
            f"{one.source.partition('.')[0]}:{one.name}"
            for one in found
            if not one.failed and one.invoked_by is None
        )
        return seen - self._by_others

    def lend(self) -> None:
        """Give the role a grant on the key, as somebody else: 05 has to take it, and give it."""
        facts = self.open("05").facts()
        self._by_others["kms:CreateGrant"] += 1
        self.admin()("kms").create_grant(
            KeyId=facts["key_arn"], GranteePrincipal=facts["role_arn"], Operations=["Decrypt"]
        )

    def take_back(self) -> None:
        """Revoke that grant: 06 would leave a key that others are set up to use."""
        key, kms = self.open("05").facts()["key_arn"], self.admin()("kms")
        for grant in kms.list_grants(KeyId=key)["Grants"]:
            kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
            self._by_others["kms:RevokeGrant"] += 1


def cells(step: str) -> Iterator[str]:
    """The code of a step's notebook, without its parameters and the opening of the run."""
    (path,) = (project_dir() / "notebooks").glob(f"{step}_*.ipynb")
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "code" and not code.startswith("# Parameters"):
            yield "\n".join(line for line in code.splitlines() if "open_run" not in line)
