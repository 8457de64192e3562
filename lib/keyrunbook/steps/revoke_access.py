"""Step 05: take the access away, show the refusal, give it back.

Access has more than one path in one account: the key policy's statement, the role's own policy
through the delegation to the account, a grant. Each suffices; only all gone is a revocation.

`revoke_by` says how. ``remove`` takes this run's statement and policy, and every grant of the role
that lets it use the key; with `revoke_others` also others' key policy statements that allow this
role and nobody else. What else lets the role in, such as a policy that others attached to it, is
not touched: it is named, and stays open. ``deny`` puts one explicit Deny into the key policy,
which is stronger than all of them, and takes nothing away. It denies workflows only: it does the
least harm.

A revocation has its own lines in the ledger: ``revocation`` (what it takes, and the key policy as
it leaves it) and ``restored``. Between the two it is open, also after a crash. While it is open
others may follow, each with a line of its own: they are undone together, the newest first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from iamaccess import Outcome
from iamaccess.explain import not_read

from keyrunbook import access, paths, policies, statements
from keyrunbook.access import OPERATOR, ROLE
from keyrunbook.aws import mutate, who
from keyrunbook.aws.lookup import Found as Looked
from keyrunbook.aws.refusals import code_of
from keyrunbook.aws.wait import NotYet, Pending, Waited, wait_until
from keyrunbook.errors import ParameterError
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters, settle_seconds
from keyrunbook.plan import Applied, Change, Plan
from keyrunbook.records import Record
from keyrunbook.show.tables import Table, records_table
from keyrunbook.steps import (
    STEPS,
    after_revocation,
    builds,
    grant_access,
    inventory,
    presence,
    standing,
)
from keyrunbook.steps.builds import Build
from keyrunbook.steps.common import Forecast, keep, passed
from keyrunbook.steps.events import INTERVAL_S, history, moment, wait_for
from keyrunbook.steps.grant_access import delete_role_policy, put_key_policy, put_role_policy

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "05_revoke_access"
USES: Final = {"Decrypt", "GenerateDataKey", "ReEncryptFrom"}
"""The operations of a grant that let its grantee read workflows, or encrypt them."""
BY_DENY: Final = 'Set revoke_by = "deny": an explicit Deny closes every path, and takes none away.'

Grant = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """The two policies, and the key's grants as ListGrants has them: None where not readable."""

    access: grant_access.State
    listed: tuple[Grant, ...] | None

    @property
    def grants(self) -> tuple[Grant, ...] | None:
        """The grants that let the role use the key, as CreateGrant takes them, with their ids."""
        role_arn = self.access.role_arn
        if role_arn is None:
            return ()
        if self.listed is None:
            return None
        return tuple(
            _as_given(one)
            for one in self.listed
            if policies.is_role(one["GranteePrincipal"], role_arn) and USES & set(one["Operations"])
        )

    @property
    def key(self) -> who.KeySide:
        """The key's policy and grants, as a decision takes them."""
        return who.as_read(self.access.key_arn, self.access.key_policy_text, self.listed)


@dataclass(frozen=True, slots=True)
class Saved:
    """What one revocation takes: of the key policy's text, the role's policy, its grants.

    `left` is the text of the key policy as the revocation leaves it; both texts are None where it
    leaves that alone.
    """

    key_policy: str | None
    role_policy: policies.Document | None
    grants: tuple[Grant, ...]
    left: str | None


def observe(run: Run) -> State:
    """Read the key policy and its grants, and the role's policy."""
    return State(grant_access.observe_role(run, run.facts()["role_name"]), _grants(run))


def _grants(run: Run) -> tuple[Grant, ...] | None:
    try:
        return tuple(presence.grants(run, run.facts()["key_arn"]))
    except ClientError as error:
        if code_of(error) == "AccessDeniedException":
            return None
        raise


def _as_given(grant: Grant) -> Grant:
    names = ("GrantId", "Name", "GranteePrincipal", "RetiringPrincipal", "Constraints")
    given = {name: grant[name] for name in names if grant.get(name)}
    return {**given, "Operations": sorted(grant["Operations"])}


# Taking away


def plan(state: State, parameters: Parameters) -> Plan:
    """Close the execution role's paths: first the key policy's, then its own policy's, then grants.

    A key policy that KMS may refuse for what others wrote is put last: what can be closed is.
    Raises ParameterError where a Deny is asked for and there is no role to deny, or no key policy
    that KMS would take.
    """
    before, changes, left = state.access, [], _left(state, parameters)
    if (text := before.key_policy_text) is not None and left not in (None, text):
        if parameters.revoke_by == "deny":
            grant_access.check_principals(
                str(left), 'Or leave revoke_by out: "remove" closes more.'
            )
        changes.append(put_key_policy(before.key_arn, text, str(left), _why(parameters)))
    if parameters.revoke_by == "remove":
        if before.role_policy is not None:
            changes.append(
                delete_role_policy(before, "path 2: the role's own policy no longer names the key")
            )
        changes += [_revoke_grant(before.key_arn, one) for one in state.grants or ()]
    return Plan(STEP, tuple(_in_order(changes)))


def _in_order(changes: Sequence[Change]) -> Iterator[Change]:
    """The changes, a key policy at the end whose principals KMS may refuse, with a word of it."""
    last = []
    for one in changes:
        gone = one.call == "kms:PutKeyPolicy" and policies.gone_principals(
            json.loads(one.parameters["Policy"])
        )
        if gone:
            last.append(replace(one, why=f"{one.why}; last, as KMS refuses it while {gone}"))
        else:
            yield one
    yield from last


def _why(parameters: Parameters) -> str:
    if parameters.revoke_by == "deny":
        return "every path: a Deny keeps the execution role from workflows, whatever allows it"
    return "path 1: the key no longer names the execution role"


def _left(state: State, parameters: Parameters) -> str | None:
    """The text of the key policy as the revocation leaves it; None for another account's key.

    Between accounts both sides must allow, so there the role's own policy is enough to take.
    """
    before, text = state.access, state.access.key_policy_text
    where, role_arn = before.place, before.role_arn
    if parameters.revoke_by == "deny":
        if role_arn is None:
            raise ParameterError(
                f"The role {before.role_name!r} is gone: there is nobody to deny.",
                'Leave revoke_by out: "remove" takes away what is left of its access.',
            )
        if text is None:
            raise ParameterError(
                f"The key {before.key_arn} is of another account, where its policy is put.",
                'Leave revoke_by out: "remove" takes away the role\'s own policy.',
            )
        return statements.put(
            text,
            policies.revoked_statement(where.run_id, role_arn, where.partition, where.account),
        )
    if text is None:
        return None
    text = statements.drop(text, policies.sid("WorkflowKeyUse", where.run_id))
    if parameters.revoke_others and role_arn is not None:
        only = role_arn
        text = statements.drop_where(text, lambda one: policies.allows_only(one, only))
    return text


def _revoke_grant(key_arn: str, grant: Grant) -> Change:
    return Change(
        "kms",
        "revoke_grant",
        {"KeyId": key_arn, "GrantId": grant["GrantId"]},
        why="path 3: a grant lets the execution role use the key",
        undo="CreateGrant as the ledger keeps it; the new grant has another id",
        keep={"grant": dict(grant)},
    )


def first_path(plan: Plan) -> Plan:
    """The first of several changes alone: what a hasty revocation would do."""
    return Plan(plan.step, plan.changes[:1] if len(plan) > 1 else ())


def open_paths(run: Run, state: State | None = None) -> Table:
    """The role's open paths to workflows, and what a revocation as it is set would do to each."""
    state = state or observe(run)
    read = who.read(run.clients, state.key, state.access.role_name)
    if read is None:
        return Table("Open paths of the execution role", ("path",), [], "There is no such role.")
    found = paths.of_role(read)
    after = _after(read, state, run.parameters)
    stay = set(found if after is None else paths.of_role(after))
    rows = [(one.kind, one.name, _becomes(one, stay), one.doubt) for one in found]
    sure = any(not one.doubt for one in stay)
    note = f"What stays open is not of this run. {BY_DENY}" if sure else ""
    if read.refused:
        note += f" Not read: {', '.join(read.refused)}."
    columns = ("path", "by", "after the revocation", "not decided")
    return Table("Open paths of the execution role", columns, rows, note.strip())


def _becomes(path: paths.Path, stay: Collection[paths.Path]) -> str:
    if path not in stay:
        return "✓ closed"
    return "? not known" if path.doubt else "✗ stays open"


def _after(read: access.Read, state: State, parameters: Parameters) -> access.Read | None:
    before = state.access
    name = grant_access.policy_name(before.place.run_id)
    removes = parameters.revoke_by == "remove"
    left = _left(state, parameters)
    return paths.changed(
        read,
        None if left is None else json.loads(left),
        name if removes else None,
        [one["GrantId"] for one in state.grants or ()] if removes else (),
    )


# Giving back


def restore(state: State, taken: Sequence[Saved]) -> Plan:
    """Give back what revocations took, the newest first: the key policy, the role's policy, grants.

    The key policy goes back byte for byte. Where somebody changed it meanwhile, only the statements
    that a revocation took or added are put right in it. Raises ParameterError when the role is
    gone.
    """
    before, changes = state.access, []
    if (text := before.key_policy_text) is not None:
        given = _given_back(text, taken)
        if not policies.same(json.loads(text), json.loads(given)):
            why = (
                "path 1 again: somebody changed the key policy meanwhile; theirs stays, and only "
                "what the revocation changed is put right"
                if meanwhile(state, taken)
                else "path 1 again: the key policy as it was, byte for byte"
            )
            changes.append(put_key_policy(before.key_arn, text, given, why))
    own = next((one.role_policy for one in taken if one.role_policy is not None), None)
    if own is not None and not policies.same(own, before.role_policy):
        changes.append(put_role_policy(before.place, before.role_name, before.role_policy, own))
    changes += [
        _create_grant(before.key_arn, one, f"grant_id_{number}")
        for number, one in enumerate(_grants_taken(taken))
        if not any(_alike(one, there) for there in state.grants or ())
    ]
    if changes and before.role_arn is None:
        raise ParameterError(
            f"The role {before.role_name!r} is gone.", "Make it again, then run 02_grant_access."
        )
    return Plan(STEP, tuple(_in_order(changes)))


def restoration(run: Run, state: State | None = None) -> Plan:
    """What gives back what the newest revocations of this run took, as things are now."""
    return restore(state or observe(run), saved(run))


def changed_meanwhile(run: Run, state: State | None = None) -> Table:
    """How the key policy differs from what the revocation left: what somebody else changed."""
    taken = saved(run)
    lines = meanwhile(state or observe(run), taken) if taken else []
    rows = [("key policy", "\n".join(lines))] if lines else []
    nobody = "Nobody changed the key policy meanwhile." if taken else "Nothing was taken."
    note = "" if rows else nobody
    return Table("Changed meanwhile by others", ("where", "-: left, +: now"), rows, note)


def _given_back(text: str, taken: Sequence[Saved]) -> str:
    """The text of a key policy with the revocations undone, the newest first."""
    for one in reversed(taken):
        if one.key_policy is not None and one.left is not None:
            text = statements.undone(text, one.key_policy, one.left)
    return text


def _grants_taken(taken: Sequence[Saved]) -> list[Grant]:
    """All grants that were taken; one that was taken twice, once."""
    found: list[Grant] = []
    for saved in taken:
        found += [one for one in saved.grants if not any(_alike(one, there) for there in found)]
    return found


def meanwhile(state: State, taken: Sequence[Saved]) -> list[str]:
    """How the key policy differs from what these revocations found or left: others' changes.

    Lines of a difference; none where nobody changed it, between two of them or since.
    """
    now = state.access.key_policy
    known = [
        (json.loads(one.key_policy), json.loads(one.left))
        for one in taken
        if one.key_policy is not None and one.left is not None
    ]
    if now is None or not known:
        return []
    lines = []
    for (_, left), (found, _) in pairwise(known):
        lines += policies.differences(left, found)
    if not any(policies.same(now, one) for both in known for one in both):
        lines += policies.differences(known[-1][1], now)
    return lines


def _create_grant(key_arn: str, grant: Grant, name: str) -> Change:
    given = {name: value for name, value in grant.items() if name != "GrantId"}
    return Change(
        "kms",
        "create_grant",
        {"KeyId": key_arn, **given},
        why="path 3 again: the grant as it was, under another id",
        undo="RevokeGrant",
        gives={name: "GrantId"},
    )


def _alike(one: Grant, other: Grant) -> bool:
    return {**one, "GrantId": ""} == {**other, "GrantId": ""}


def unfinished(run: Run) -> Plan:
    """What an earlier revocation of this run took and did not give back, as after a crash.

    On AWS also the cancellation of a build that nobody saw the end of.
    """
    given_back = restore(observe(run), saved(run)) if is_open(run) else Plan(STEP)
    ends = given_back.changes and run.step == STEP  # runbook restore is for nothing else
    notes = (_ends(_rounds(run)[-1]),) if ends else ()
    return Plan(STEP, (*builds.unfinished(run), *given_back.changes), notes)


def _ends(revocation: Mapping[str, Any]) -> str:
    """What becomes of a revocation that is open when the step begins, by its line."""
    when = f"{datetime.fromisoformat(revocation['time']):%Y-%m-%dT%H:%M:%SZ}"
    if revocation["step"] == STEP:
        return (
            f"The revocation that this step began at {when} did not come to its end: what it took "
            "is given back first."
        )
    return (
        f"The revocation of {when}, by runbook revoke, stands, and this step ends it: what it took "
        "is given back first, and is not taken again at the end. Where it is to stand, revoke "
        "again afterwards."
    )


# The ledger's memory of it


def is_open(run: Run) -> bool:
    """Whether a revocation of this run has changed something and is not given back."""
    return standing.open_revocation(run.ledger.entries()) is not None


def holds_of_others(run: Run) -> bool:
    """Whether a revocation that is open took what was not of this run."""
    taken = [_of_others(one, run.run_id) for one in saved(run)] if is_open(run) else []
    return any(
        one.grants or not policies.same(_document(one.key_policy), _document(one.left))
        for one in taken
    )


def _of_others(one: Saved, run_id: str) -> Saved:
    """What a revocation took of others: a run that is cleaned up has nothing of its own."""

    def theirs(text: str | None) -> str | None:
        for purpose in ("WorkflowKeyUse", "WorkflowKeyRevoked"):
            text = None if text is None else statements.drop(text, policies.sid(purpose, run_id))
        return text

    return Saved(theirs(one.key_policy), None, one.grants, theirs(one.left))


def _document(text: str | None) -> policies.Document:
    return dict(json.loads(text or "{}"))


def saved(run: Run) -> tuple[Saved, ...]:
    """What the newest revocations of this run took, the oldest of them first.

    They are those since all was given back before; of a run that was cleaned up, others' part.
    """
    taken = tuple(
        Saved(
            one["before"]["key_policy"],
            one["before"]["role_policy"],
            tuple(one["before"]["grants"]),
            one["left"],
        )
        for one in _rounds(run)
    )
    cleaned_up = STEPS[-1] in run.ledger.done()
    return tuple(_of_others(one, run.run_id) for one in taken) if cleaned_up else taken


def _rounds(run: Run) -> list[Mapping[str, Any]]:
    return standing.revocations(run.ledger.entries())


def _note(run: Run, plan: Plan) -> None:
    """Write down what the plan takes, and the key policy that it leaves, before it is sent."""
    taken = _taken_by(plan)
    before = {
        "key_policy": taken.key_policy,
        "role_policy": taken.role_policy,
        "grants": [dict(one) for one in taken.grants],
    }
    by, further = run.parameters.revoke_by, is_open(run)
    run.record("revocation", by=by, further=further, before=before, left=taken.left)


def _taken_by(plan: Plan) -> Saved:
    """What the changes of a revocation take."""
    kept = {one.call: one.keep.get("policy") for one in plan}
    left = [one.parameters["Policy"] for one in plan if one.call == "kms:PutKeyPolicy"]
    return Saved(
        kept.get("kms:PutKeyPolicy"),
        kept.get("iam:DeleteRolePolicy"),
        tuple(one.keep["grant"] for one in plan if one.call == "kms:RevokeGrant"),
        left[0] if left else None,
    )


def _settle(run: Run) -> None:
    """Note that the open revocation is given back, where it is."""
    if is_open(run) and not restore(observe(run), saved(run)).changes:
        run.record("restored")


# The step


def forecast(run: Run) -> Forecast:
    """Both rounds: the revocation in two parts, the restoration, and the builds in between."""
    left_over = unfinished(run)
    start = run.after(left_over, {})
    state = observe(start)
    revoked = plan(state, run.parameters)
    restored = restore(observe(start.after(revoked, {})), [_taken_by(revoked)])
    first = len(first_path(revoked))
    rounds = (
        *left_over.changes,
        *builds.planned(run, STEP, "before"),
        *revoked.changes[:first],
        *builds.planned(run, STEP, "one"),
        *revoked.changes[first:],
        *builds.planned(run, STEP, "both"),
        *restored.changes,
        *builds.planned(run, STEP, "restored"),
    )
    return Forecast(Plan(STEP, rounds, left_over.notes))


def whole(run: Run) -> Plan:
    """All that the step would change, to be approved at once."""
    return forecast(run).plan


def apply(run: Run, plan: Plan) -> Applied:
    """Make the changes of a revocation, a part of what the step changes."""
    return _apply(run, plan, lambda: _note(run, plan))


def give_back(run: Run, plan: Plan) -> Applied:
    """Make the changes of a restoration, a part of what the step changes."""
    applied = _apply(run, plan)
    _settle(run)
    return replace(applied, notes=plan.notes)


def _apply(run: Run, plan: Plan, note: Callable[[], None] | None = None) -> Applied:
    """Make the changes; `note` is called once nothing stands in the way of the first one."""
    if plan.step != STEP:  # a command's plan is a whole
        return mutate.apply(run, plan, before_first=note)
    return mutate.apply(run, plan, lambda: whole(run), parts=True, before_first=note)


def who_may(run: Run, when: str = "", key: who.KeySide | None = None) -> access.Matrix:
    """What the execution role may do now, decided from the policies as they are.

    With `when` the ledger remembers it: ``before``, ``revoked`` or ``restored``. `key` is the key's
    policy and grants, where they were read already.
    """
    matrix = grant_access.who_may(run, key=key)
    if when:
        grant_access.keep_access(run, matrix, when)
    return matrix


def build(run: Run, when: str) -> Build:
    """Have Image Builder use the workflow as the execution role; `when` names the moment.

    Where no build is made the answer is "decided, not observed". Policy changes may take effect
    late: a build that came out otherwise than the policies say is made again on the sandbox, up to
    `settle_seconds`; on AWS, where each costs, it is made once. In the end the answer is "not yet".
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html
    """
    since = run.now()
    changes = builds.planned(run, STEP, when)
    if not changes:
        outcome = Build(when, None, builds.NONE, "decided, not observed: see the matrix")
    else:
        outcome = _observed(run, when, changes[0])
    run.record(
        "build",
        when=when,
        decrypted=outcome.decrypted,
        status=outcome.status,
        reason=outcome.reason,
        events=list(outcome.events),
        image_arn=run.facts().get("image_arn") if changes else None,
        since=since.isoformat(),
        until=run.now().isoformat(),
    )
    return outcome


def _observed(run: Run, when: str, change: Change) -> Build:
    """How a build came out, once it is as the policies say it must be."""

    def probe() -> Build | Pending:
        since = run.now()
        _apply(run, Plan(STEP, (change,)))
        arn = run.facts()["image_arn"]
        outcome = builds.observe(run, when, arn, since, lambda: _cancel(run, arn))
        return Pending(outcome) if _is_early(run, outcome) else outcome

    limit_s = settle_seconds(run.parameters, run.target) if run.target == "sandbox" else 0
    answer = wait_until(
        probe,
        limit_s,
        INTERVAL_S[run.target],
        progress=run.waiting("policy changes to take effect"),
    )
    if not isinstance(answer, NotYet):
        return answer
    last = answer.last
    assert isinstance(last, Build)
    said = "decrypted" if last.decrypted else "was refused"
    why = (
        f"not yet: the policies say otherwise, and the build {said} ({answer.probes} tried in "
        f"{answer.waited_s:.0f} s). Policy changes take effect late, by seconds or minutes: run "
        f"the notebook again. {last.reason}"
    )
    return replace(last, decrypted=None, reason=why.strip())


EXPECTED: Final = {"before": True, "one": True, "both": False, "restored": True}
"""Whether the build of each moment decrypts, where nothing but this run changes the access."""


def _is_early(run: Run, outcome: Build) -> bool:
    """Whether a build came out otherwise than the policies say, which none but a late change does.

    The policies are asked only where the build was not as expected.
    """
    if outcome.decrypted in (None, EXPECTED[outcome.when]):
        return False
    decided = {
        one.outcome
        for one in grant_access.decided(run).cells
        if one.principal == ROLE and one.action == "kms:Decrypt" and one.wanted
    }
    says = Outcome.DENIED if outcome.decrypted else Outcome.ALLOWED
    return decided == {says}


def _cancel(run: Run, image_arn: str) -> None:
    _apply(run, Plan(STEP, (builds.cancellation(image_arn),)))


def refusals(run: Run, progress: Callable[[Waited], None] | None = None) -> list[Record]:
    """The refused Decrypts of the execution role that CloudTrail shows for this run's builds.

    Waits for the first one, up to `event_wait_seconds`, if a build may have been refused at all. An
    empty list proves nothing.
    """
    role, windows = run.facts()["role_arn"], builds.windows(run)
    if not windows:
        return []
    source = history(run)

    def probe() -> Looked | Pending:
        found = source.search(windows)
        seen = any(builds.is_refusal(one, role) for one in found.records)
        return found if seen else Pending()

    answer = wait_for(run, probe, "the refusal in CloudTrail", progress)
    refused = []
    if not isinstance(answer, NotYet):
        refused = [one for one in answer.records if builds.is_refusal(one, role)]
        after_revocation.note_refusals(run, answer.records, answer.searched)
    run.learn(refusal_events=[record.event_id for record in refused])
    return refused


def refused_records(run: Run, found: Sequence[Record] | None = None) -> Table:
    """`refusals` as a table; `found` are those that were looked for already."""
    refused = refusals(run) if found is None else found
    rows = [("✓ a refusal", record, record.error_message or "") for record in refused]
    return records_table("Refused Decrypts of the execution role", rows)


# What is so


def verify(run: Run) -> Findings:
    """Whether the refusal was seen, administrators kept their access, and all is given back."""
    _settle(run)
    outcomes = {one["when"]: one for one in run.ledger.of_kind("build", STEP)}
    records = run.facts().get("refusal_events", [])
    return keep(
        run,
        [
            _hasty_finding(run, outcomes),
            _build_finding(
                "With every path closed, builds cannot decrypt", outcomes, "both", False
            ),
            Finding(
                "CloudTrail shows the refusals",
                "pass" if records else "not checked",
                f"{len(records)} refused Decrypt of the role seen by LookupEvents"
                if records
                else "none seen so far by LookupEvents; absence proves nothing",
            ),
            after_revocation.finding(run),
            *revoked(run),
            _build_finding(
                "Access is given back: builds decrypt again", outcomes, "restored", True
            ),
            given_back(run),
            _inventory_finding(run),
        ],
    )


def _hasty_finding(run: Run, outcomes: dict[str, dict[str, Any]]) -> Finding:
    statement = "With one of two paths closed, builds still decrypt"
    one, begun = outcomes.get("one"), _rounds(run)
    closed = [
        n
        for n in standing.closing(run.ledger.entries())
        if begun and one is not None and begun[0]["n"] < n < one["n"]
    ]
    if one is not None and not closed:
        return Finding(statement, "not checked", "one change closes every path: none was closed")
    return _build_finding(statement, outcomes, "one", True)


def _inventory_finding(run: Run) -> Finding:
    lines = run.ledger.of_kind("inventory")
    if not lines:
        return Finding(
            "The inventory knows every workflow under the key", "not checked", "it was not made"
        )
    unknown = tuple((one["what"], one["why"]) for one in lines[-1]["not_known"])
    return inventory.Workflows(tuple(lines[-1]["under_the_key"]), unknown).finding()


def seen_since(run: Run) -> list[Finding]:
    """What CloudTrail shows of the role since its access was closed; nothing where it is too early.

    For a revocation that is open: what CloudTrail showed in between is no sign of it.
    """
    closed = closed_at(run)
    if closed is None or after_revocation.is_too_early(run, closed):
        return []
    return [after_revocation.look(run, closed)]


def closed_at(run: Run) -> datetime | None:
    """When the open revocation closed its last path; None where none is open."""
    if not is_open(run):
        return None
    begun = _rounds(run)[-1]["n"]
    done = [
        one
        for one in run.ledger.of_kind("outcome")
        if one["n"] > begun and one["call"] in standing.CLOSES and one["step"].startswith(STEP[:2])
    ]
    return moment(done[-1]["time"]) if done else None


def revoked(run: Run) -> list[Finding]:
    """What the matrices of this run say: the role was shut out, the operator was not."""
    seen = {one["when"]: one for one in run.ledger.of_kind("access")}
    return [_shut_out(seen.get("revoked")), _kept_in(seen.get("before"), seen.get("revoked"))]


def _shut_out(matrix: Mapping[str, Any] | None) -> Finding:
    statement = "Nothing allows the execution role to use workflows (decided, not observed)"
    if matrix is None:
        return Finding(statement, "not checked", "the matrix was not looked at")
    rows = [one for one in matrix["cells"] if one[0] == ROLE and one[5]]
    open_rows = [one for one in rows if one[3] == Outcome.ALLOWED.value]
    unknown = [one for one in rows if one[3] == Outcome.UNKNOWN.value]
    if open_rows:
        _, action, what, outcome, why, _ = open_rows[0]
        return Finding(statement, "fail", f"{action} for {what}: {outcome}, {why}", BY_DENY)
    unread = not_read(dict.fromkeys(matrix["not_read"]))
    if unknown:
        return Finding(statement, "not checked", f"{unknown[0][4]}; not read: {unread}")
    if not rows:
        return Finding(statement, "pass", "there is no execution role")
    said = f"{len(rows)} of {len(rows)} rows DENIED"
    return Finding(statement, "pass", said + (f"; not read: {unread}" if unread else ""))


def _kept_in(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Finding:
    statement = "The operator, an administrator of the key, keeps its access"
    if before is None or after is None:
        return Finding(statement, "not checked", "the matrix was not looked at before and after")
    was, now = _of_operator(before), _of_operator(after)
    said = "; ".join(f"{action}: {was[action]} before, {now[action]} after" for action in now)
    return passed(statement, was == now, said, "Give it back: runbook restore.")


def _of_operator(matrix: Mapping[str, Any]) -> dict[str, str]:
    rows: Sequence[Sequence[Any]] = matrix["cells"]
    return {str(one[1]): str(one[3]) for one in rows if one[0] == OPERATOR}


def given_back(run: Run) -> Finding:
    """Whether what the newest revocations took is there again, by a read."""
    statement = "What the revocation took is given back"
    found = saved(run)
    if not found:
        return passed(statement, True, "nothing was taken")
    state = observe(run)
    first = next((one.key_policy for one in found if one.key_policy is not None), None)
    missing = [change.call for change in restore(state, found)]
    if missing:
        evidence = f"still to be made: {', '.join(missing)}"
        return passed(statement, False, evidence, "Run the restore cell again.")
    if state.access.key_policy_text is None:
        how = "the role's policy says what it said; the key policy is another account's"
    elif first is None:
        how = "the role's policy and its grants are as they were; no key policy was changed"
    elif state.access.key_policy_text == first:
        how = "the key policy is as it was, byte for byte"
    elif meanwhile(state, found):
        lines = policies.differences(json.loads(first), state.access.key_policy or {})
        how = f"somebody changed the key policy meanwhile, and that stays: {_short(lines)}"
    else:
        how = "the key policy says what it said"
    return passed(statement, True, f"{how} (GetKeyPolicy, GetRolePolicy, ListGrants)")


def _short(lines: Iterable[str]) -> str:
    text = " ".join(line.strip() for line in lines)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _build_finding(
    statement: str, outcomes: dict[str, dict[str, Any]], when: str, wanted: bool
) -> Finding:
    outcome = outcomes.get(when)
    if outcome is None:
        return Finding(statement, "not checked", "this cell was not run")
    if outcome["decrypted"] is None:
        return Finding(statement, "not checked", outcome["reason"])
    return passed(
        statement,
        outcome["decrypted"] is wanted,
        "the build decrypted the workflow" if outcome["decrypted"] else "the build was refused",
        f"Another path may be open: see the matrix. {BY_DENY}",
    )
