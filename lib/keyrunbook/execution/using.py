"""What `runbook usage` does: who used a key, from any source of records, and what KMS says itself.

No run is opened and nothing is written: of a run only its ledger is read. AWS is asked for
GetKeyLastUsage, with clients that can only read, unless the records are files on this machine and
nothing says where AWS is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from keyrunbook.aws.clients import Clients
from keyrunbook.aws.lookup import REACH
from keyrunbook.errors import ParameterError, StepMissing
from keyrunbook.execution.proving import (
    Question,
    Watch,
    athena_logs,
    check_principals,
    check_source,
    trail_logs,
)
from keyrunbook.execution.runs import existing
from keyrunbook.findings import Findings
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.logs import IMAGE_BUILDER_WORD, Wanted, search
from keyrunbook.logs.athena import of_key
from keyrunbook.parameters import Parameters, outputs_dir
from keyrunbook.proof import Searched
from keyrunbook.proof.claim import KEY_ARN
from keyrunbook.records import Record
from keyrunbook.session import reach
from keyrunbook.show.tables import findings_table
from keyrunbook.show.usage import UsagePicture, by_day, usage_table
from keyrunbook.steps.events import CLOCK_SKEW, history_of, whose
from keyrunbook.steps.key_usage import last_usage, spans
from keyrunbook.usage import Agreement, Compared, LastUsage, Usage, compare, summarise

NO, UNKNOWN = 1, 3
"""Exit statuses, as every command has them."""

_INTERVAL_S: Final = 5.0
_IN_FILES: Final = (
    "Files were searched for the key's id and for Image Builder: a refusal that names neither, "
    "such as one by an alias, was not found."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The usage, KMS's own word beside it (None: nobody was asked), and what belongs beside it.

    `where` names the endpoint where it is not AWS's.
    """

    usage: Usage
    compared: Compared | None
    notes: tuple[str, ...]
    where: str

    @property
    def exit_status(self) -> int:
        """0 told; 1 KMS and the records disagree; 3 not all was searched, or KMS's word not had."""
        if self.compared is not None and self.compared.agreement is Agreement.DISAGREES:
            return NO
        unknown = self.compared is not None and self.compared.agreement is Agreement.UNKNOWN
        return UNKNOWN if unknown or not self.usage.searched.complete else 0

    def text(self) -> str:
        """The answer, for a person."""
        findings = [] if self.compared is None else [self.compared.finding]
        parts = [
            usage_table(self.usage).text(),
            *([findings_table(Findings(findings)).text()] if findings else []),
            *(f"Note: {note}" for note in self.notes),
        ]
        return "\n\n".join(parts)

    def picture(self) -> UsagePicture:
        """The usage by principal and day."""
        return by_day(self.usage, self.where)

    def to_dict(self) -> dict[str, Any]:
        """The answer, for a program."""
        compared = self.compared
        return {
            **self.usage.to_dict(),
            "last_use": None
            if compared is None
            else {"agreement": compared.agreement.value, "reason": compared.reason},
            "notes": list(self.notes),
            "exit_status": self.exit_status,
        }


class _Key(NamedTuple):
    arn: str
    account: str
    region: str
    id: str


def carry_out(question: Question, parameters: Parameters, watch: Watch | None = None) -> Answer:
    """Summarise the use of `question`'s key, or of the run's; it says nothing of a workflow.

    Raises:
        ParameterError: the question contradicts itself, names no key, one of another account than
            is asked, or a source that is not there; or from when on to search is not known.
        StepMissing: the run has made no key yet.
        AwsRefused, Unreachable, CredentialsMissing, SandboxGone: as the clients do.
    """
    check_source(question)
    check_principals(question)
    watch = watch or Watch()
    key, opened = _key(question, parameters)
    clients = None
    if question.kind != "path" or opened or parameters.target or parameters.profile:
        parameters = parameters.model_copy(update={"region": parameters.region or key.region})
        target, clients = reach(parameters, opened)
        _check(clients, key)
    told = None if clients is None else last_usage(clients, key.arn)
    since = question.since
    if since is None and isinstance(told, LastUsage):
        since = told.created - CLOCK_SKEW[target]
    records, searched, notes = _searched(question, parameters, clients, key, since, watch)
    usage = summarise(records, key.arn, searched)
    compared = None if told is None else compare(usage, told)
    if told is None:
        notes = (*notes, "AWS was not asked for GetKeyLastUsage: give --target to ask it.")
    if question.principals is not None:
        usage = usage.of(*question.principals)
        notes = (*notes, f"Only calls by {', '.join(question.principals)} are shown.")
    where = "" if clients is None else whose(clients)
    return Answer(usage, compared, notes, where)


def _key(question: Question, parameters: Parameters) -> tuple[_Key, Mapping[str, Any] | None]:
    """The key that is named, or the run's, and the line that opened the run."""
    if (parameters.run_id is None) == (question.key_arn is None):
        raise ParameterError(
            "Whose use is asked for is not said, or said twice.", "Give --run-id ID or --key ARN."
        )
    arn, opened = question.key_arn, None
    if parameters.run_id is not None:
        ledger = Ledger(existing(outputs_dir(parameters), parameters.run_id) / NAME)
        opened, arn = ledger.opened(), ledger.facts().get("key_arn")
        if opened is None or arn is None:
            raise StepMissing(
                f"The run {parameters.run_id!r} has made no key yet.",
                "Go on with it up to 01_create_key: runbook resume",
            )
    assert arn is not None
    if KEY_ARN.fullmatch(arn) is None:
        raise ParameterError(
            f"--key: {arn!r} is not the ARN of a KMS key.",
            "Give the ARN of the key itself (arn:…:key/…), not of an alias: an alias may have "
            "moved.",
        )
    _, _, _, region, account, resource = arn.split(":", 5)
    return _Key(arn, account, region, resource.removeprefix("key/")), opened


def _check(clients: Clients, key: _Key) -> None:
    """Raise ParameterError where it is not the key's own account and Region that are asked."""
    here = clients.identity.account, clients.region
    if here != (key.account, key.region):
        raise ParameterError(
            f"The key is of account {key.account} in {key.region}, and {here[0]} in {here[1]} "
            "would be asked: all uses are in its own account's records.",
            "Give a --profile of the key's account, and leave --region out.",
        )


def _searched(
    question: Question,
    parameters: Parameters,
    clients: Clients | None,
    key: _Key,
    since: datetime | None,
    watch: Watch,
) -> tuple[Sequence[Record], Searched, tuple[str, ...]]:
    until, words = question.until, (key.id, IMAGE_BUILDER_WORD)
    if question.kind == "path":
        wanted = Wanted(since, until, key.account, key.region)
        found = search([question.source], wanted, words=words, progress=watch.files)
        return found.records, found.searched, (*found.notes, _IN_FILES)
    assert clients is not None
    if question.kind == "lookup":
        source = history_of(clients, parameters.lookup_calls, estimated=watch.calls)
        now = clients.now()
        begin = since or now - REACH
        if question.since is None:
            begin = max(begin, now - REACH)
        looked = source.search(spans(begin, min(until or now, now)))
        return looked.records, looked.searched, ()
    if since is None:
        raise ParameterError(
            "From when on is to be searched is not known: GetKeyLastUsage was not read.",
            "Give a time by --since.",
        )
    if question.kind == "athena":
        table = athena_logs(question, clients, key.account, key.region, _INTERVAL_S)
        found = table.search(since, until, kinds=of_key(key.id), progress=watch.query)
        return found.records, found.searched, found.notes
    logs = trail_logs(question, clients, key.account, key.region)
    found = logs.search(since, until, words=words, progress=watch.files)
    return found.records, found.searched, (*found.notes, _IN_FILES)
