"""Builds that use the workflow as the execution role: what only an observation can show.

On the sandbox a build is simulated as far as access goes. On AWS one is made only where `run_build`
asks for it: it starts instances, so it is cancelled as soon as it has used the workflow, or when
`build_wait_seconds` are over.

UNCONFIRMED: how a build that cannot decrypt its workflow fails on AWS. It counts as refused only
where CloudTrail has a refused Decrypt of the role, or the reason that AWS gives names a refusal of
KMS's; as decrypted where CloudTrail has the role's Decrypt, or steps of the workflow were run.
Anything else is not known, with the state and the reason as AWS gave them.
Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/image-failure-context.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from keyrunbook.aws.wait import NotYet, Pending, wait_until
from keyrunbook.parameters import check_build_account
from keyrunbook.plan import SYMBOL, Change, symbol
from keyrunbook.proof import ARN_KEY, DECRYPT, Span
from keyrunbook.records import IMAGE_BUILDER, KMS, Record
from keyrunbook.show.waiting import WaitBar
from keyrunbook.steps import presence
from keyrunbook.steps.common import or_none
from keyrunbook.steps.events import CLOCK_SKEW, INTERVAL_S, history, moment, wait_for

if TYPE_CHECKING:
    from keyrunbook.session import Run

ENDED: Final = {"AVAILABLE", "CANCELLED", "FAILED", "DEPRECATED", "DELETED", "DISABLED"}
"""The states of an image that is not being built any more.

Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImageState.html
"""
_RUN: Final = {"RUNNING", "COMPLETED"}
"""The statuses of a workflow's execution that are no failure and no waiting."""
_REFUSED = re.compile(r"AccessDenied|not authorized to perform:? kms:", re.IGNORECASE)
_OF_KMS = re.compile(r"\bkms\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Build:
    """How a build that used the workflow came out, as the role, or why none was made.

    `decrypted` is None where no build observed it, or policies may still take effect. `events` are
    the ids of its Decrypt's records, as far as they were looked for.
    """

    when: str
    decrypted: bool | None
    status: str
    reason: str
    events: tuple[str, ...] = ()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import build_table

        return build_table(self).mimebundle()


@dataclass(frozen=True, slots=True)
class Seen:
    """What Image Builder says of a build: the image's state, and how far our workflow came."""

    status: str
    reason: str
    begun: bool = False
    """Whether Image Builder runs the workflow and knows how many steps it has."""
    steps_run: bool = False
    """Whether a step of the workflow has come to its end."""

    @property
    def settled(self) -> bool:
        """Whether waiting for more is of no use: it ended, or has used the workflow."""
        return self.status in ENDED or self.begun or self.steps_run


def planned(run: Run, step: str, when: str) -> tuple[Change, ...]:
    """The build at that moment, where one is made; on AWS also its cancellation.

    Raises ParameterError when what it is to be made of is another account's.
    """
    wanted, on_aws = run.parameters, run.target == "aws"
    if wanted.run_build is False or (on_aws and not wanted.run_build):
        return ()
    facts, where = run.facts(), run.identity
    check_build_account(wanted, where.account)
    prefix = f"arn:{where.partition}:imagebuilder:{run.region}:{where.account}"
    build = Change(
        "imagebuilder",
        "create_image",
        {
            "imageRecipeArn": f"{prefix}:image-recipe/example/1.0.0",
            "infrastructureConfigurationArn": f"{prefix}:infrastructure-configuration/example",
            "executionRole": facts["role_arn"],
            "workflows": [{"workflowArn": facts["workflow_arn"]}],
            "tags": run.tags,
        },
        why=f"a build uses the workflow as the execution role ({when})",
        undo="nothing to undo: the sandbox keeps no image",
        gives=dict.fromkeys(("image_arn", _arn_of(when)), "imageBuildVersionArn"),
    )
    if not on_aws:
        return (build,)
    return _on_aws(run, build), cancellation(symbol(step, _arn_of(when)))


def _arn_of(when: str) -> str:
    """The name by which the run knows the image of the build at that moment."""
    return f"image_arn_{when}"


def _on_aws(run: Run, build: Change) -> Change:
    recipe = run.parameters.build_recipe or ""
    kind = "imageRecipeArn" if ":image-recipe/" in recipe else "containerRecipeArn"
    given = {name: value for name, value in build.parameters.items() if name != "imageRecipeArn"}
    machines = run.parameters.build_infrastructure
    return Change(
        build.service,
        build.operation,
        {kind: recipe, **given, "infrastructureConfigurationArn": machines},
        why=f"{build.why}; it starts instances until it is cancelled",
        undo="CancelImageCreation, which follows; the cancelled image's entry: DeleteImage",
        gives=build.gives,
    )


def cancellation(image_arn: str) -> Change:
    """The change that ends a build on AWS, so that nothing goes on costing."""
    return Change(
        "imagebuilder",
        "cancel_image_creation",
        {"imageBuildVersionArn": image_arn},
        why="the build has shown what it was for: nothing goes on costing",
        undo="none: CreateImage begins another",
    )


def observe(
    run: Run, when: str, image_arn: str, since: datetime, cancel: Callable[[], Any]
) -> Build:
    """Wait until the build has used the workflow, ended, or the limit is over; `cancel` ends it."""

    def probe() -> Seen | Pending:
        seen = look(run, image_arn)
        return seen if seen.settled else Pending(seen)

    answer = wait_until(
        probe,
        run.parameters.build_wait_seconds,
        INTERVAL_S[run.target],
        progress=WaitBar("the build to use the workflow"),
    )
    seen = look(run, image_arn) if isinstance(answer, NotYet) else answer
    if run.target == "sandbox":
        decrypted = seen.status != "FAILED" if seen.status in ENDED else None
        return Build(when, decrypted, seen.status, seen.reason)
    if seen.status not in ENDED:
        cancel()
    decrypted, why = judged(seen, [], run.facts())
    records = _decrypts(run, since, wait=decrypted is None)
    if decrypted is None:
        decrypted, why = judged(seen, records, run.facts())
    return Build(when, decrypted, seen.status, why, tuple(one.event_id for one in records))


def look(run: Run, image_arn: str) -> Seen:
    """GetImage's state, and on AWS ListWorkflowExecutions' entry of the run's workflow."""
    builder = run.clients("imagebuilder")
    state = builder.get_image(imageBuildVersionArn=image_arn)["image"]["state"]
    if run.target == "sandbox":
        return Seen(state["status"], state.get("reason", ""))
    pages = builder.get_paginator("list_workflow_executions")
    ours = [
        one
        for page in pages.paginate(imageBuildVersionArn=image_arn)
        for one in page["workflowExecutions"]
        if one["workflowBuildVersionArn"] == run.facts()["workflow_arn"]
    ]
    said = [state.get("reason", ""), *(one.get("message", "") for one in ours)]
    steps = [one.get("totalStepsSucceeded", 0) + one.get("totalStepsFailed", 0) for one in ours]
    running = [one["status"] in _RUN and one.get("totalStepCount", 0) for one in ours]
    reason = "; ".join(dict.fromkeys(filter(None, said)))
    return Seen(state["status"], reason, begun=any(running), steps_run=any(steps))


def judged(
    seen: Seen, records: Sequence[Record], facts: Mapping[str, Any]
) -> tuple[bool | None, str]:
    """Whether the role decrypted the workflow, and why that is known, or is not."""
    role, version = _role_and_version(facts)
    said = f"{seen.status}: {seen.reason or 'no reason given'}"
    if any(is_refusal(record, role) for record in records):
        return False, f"CloudTrail has a refused Decrypt of the role; {said}"
    if any(_is_use(record, role, version) for record in records):
        return True, f"CloudTrail has the role's Decrypt; {said}"
    if seen.steps_run:
        return True, f"steps of the workflow were run; {said}"
    if seen.status == "FAILED" and _REFUSED.search(seen.reason) and _OF_KMS.search(seen.reason):
        return False, said
    return None, f"not known: neither the state nor CloudTrail tells so far; {said}"


def _decrypts(run: Run, since: datetime, *, wait: bool) -> list[Record]:
    """The records of this build's Decrypts, waited for up to `event_wait_seconds` where asked.

    What was before the build, or is an earlier build's, is not this one's.
    """
    role, version = _role_and_version(run.facts())
    source, until = history(run), run.now() + CLOCK_SKEW[run.target]
    span = Span("EventName", DECRYPT, since.replace(microsecond=0), until)
    told = {event for one in run.ledger.of_kind("build") for event in one.get("events", ())}

    def found() -> list[Record]:
        return [
            one
            for one in source.search([span]).records
            if one.event_id not in told and (is_refusal(one, role) or _is_use(one, role, version))
        ]

    def probe() -> list[Record] | Pending:
        return found() or Pending()

    if not wait:
        return found()
    answer = wait_for(run, probe, "the role's Decrypt in CloudTrail")
    return [] if isinstance(answer, NotYet) else answer


def _role_and_version(facts: Mapping[str, Any]) -> tuple[str, str]:
    return facts["role_arn"], facts["workflow_arn"].rpartition("/")[0]


def windows(run: Run) -> list[Span]:
    """When the builds were that did not decrypt, or of which that is not known."""
    skew = CLOCK_SKEW[run.target]
    return [
        Span("EventName", DECRYPT, moment(one["since"]) - skew, moment(one["until"]) + skew)
        for one in run.ledger.of_kind("build")
        if one["decrypted"] is not True and one["status"] != NONE
    ]


NONE: Final = "no build"
"""What stands for an image's state where no build was made."""


def is_refusal(record: Record, role_arn: str) -> bool:
    """Whether KMS refused Image Builder a Decrypt as this role. Such a record may name no key.

    The record's form is not documented; the one in the sandbox is that of a refused Decrypt which
    another service made for its caller.
    """
    return record.error_code == "AccessDenied" and _is_decrypt(record, role_arn)


def _is_use(record: Record, role_arn: str, version_arn: str) -> bool:
    context = record.encryption_context or {}
    ours = context.get(ARN_KEY) == f"{version_arn}/*"
    return ours and not (record.failed or record.dry_run) and _is_decrypt(record, role_arn)


def _is_decrypt(record: Record, role_arn: str) -> bool:
    return (
        (record.source, record.name) == (KMS, DECRYPT)
        and record.invoked_by == IMAGE_BUILDER
        and record.issuer_arn == role_arn
    )


def unfinished(run: Run) -> tuple[Change, ...]:
    """The cancellation of a build of this run on AWS that nobody saw the end of."""
    if run.target == "sandbox":
        return ()
    told = {one.get("image_arn") for one in run.ledger.of_kind("build")}
    untold = [arn for arn in _made(run) if arn not in told and not SYMBOL.fullmatch(arn)]
    return tuple(cancellation(arn) for arn in untold if look(run, arn).status not in ENDED)


def left(run: Run) -> tuple[str, ...]:
    """The images of this run's builds on AWS that are still there; the sandbox's go with it."""
    if run.target == "sandbox":
        return ()
    get = run.clients("imagebuilder").get_image
    return tuple(
        arn
        for arn in _made(run)
        if SYMBOL.fullmatch(arn)
        or or_none(partial(get, imageBuildVersionArn=arn), "ResourceNotFoundException")
    )


def _made(run: Run) -> list[str]:
    """The images of this run's builds; of those that are still to be made, the symbols."""
    return [
        next(str(value) for name, value in one.items() if name.startswith(_arn_of("")))
        for one in presence.made(run, "imagebuilder:CreateImage")
    ]
