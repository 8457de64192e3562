"""The composition root: opens a run on the sandbox or on AWS, for one step of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from keyrunbook import sandboxes
from keyrunbook.aws.clients import Clients, Identity, aws_clients, sandbox_clients
from keyrunbook.errors import ParameterError, SandboxGone, StepMissing
from keyrunbook.ledger import NAME, Ledger, find_run, new_run_id, run_folder
from keyrunbook.parameters import Parameters, project_dir
from keyrunbook.steps import NEEDS, STEPS

OUTPUTS = "KEYRUNBOOK_OUTPUTS"
"""The environment variable that names the outputs folder where a notebook is given none."""


class Run:
    """One execution of the runbook, opened for one step of it.

    `clients` gives boto3 clients, `parameters` the validated parameters, `ledger` the memory.
    """

    def __init__(
        self,
        step: str,
        run_id: str,
        folder: Path,
        target: Literal["sandbox", "aws"],
        parameters: Parameters,
        clients: Clients,
    ) -> None:
        self.step = step
        self.run_id = run_id
        self.folder = folder
        self.target = target
        self.parameters = parameters
        self.clients = clients
        self.ledger = Ledger(folder / NAME)

    @property
    def identity(self) -> Identity:
        """The operator."""
        return self.clients.identity

    @property
    def region(self) -> str:
        """The Region that the run works in."""
        return self.clients.region

    @property
    def tags(self) -> dict[str, str]:
        """The tags of what this run creates: the caller's, and the run's own."""
        return {**self.parameters.tags, "keyrunbook:run": self.run_id}

    def now(self) -> datetime:
        """The service's time."""
        return self.clients.now()

    def record(self, kind: str, **fields: Any) -> None:
        """Write one line into the ledger."""
        time = self.now().astimezone(UTC).isoformat(timespec="milliseconds")
        self.ledger.append(kind, step=self.step, time=time, **fields)

    def learn(self, **facts: Any) -> None:
        """Remember values for later steps."""
        self.record("facts", facts=facts)

    def facts(self) -> dict[str, Any]:
        """What the run knows so far."""
        return self.ledger.facts()

    def known(self) -> dict[str, Any]:
        """The values of the symbols that a plan may hold: ``create_key.key_arn``, …"""
        return {
            f"{entry['step'].split('_', 1)[1]}.{name}": value
            for entry in self.ledger.of_kind("facts")
            for name, value in entry["facts"].items()
        }

    def done(self) -> None:
        """Note that the step has come to its end."""
        self.record("done")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import run_banner

        return run_banner(self).mimebundle()


def open_run(step: str, namespace: Mapping[str, Any]) -> Run:
    """Open the run that a notebook belongs to; `namespace` is the notebook's ``globals()``.

    `run_id` unset means the newest unfinished run of `outputs_dir`; ``00`` and ``01`` open a new
    one where there is none. From here on the notebook shows errors as one message.

    Raises ParameterError, StepMissing (naming the step to run first), SandboxGone,
    CredentialsMissing, Unreachable.
    """
    from keyrunbook.show.errors import show_errors_as_messages

    note = show_errors_as_messages()
    run = open_step(step, Parameters.from_notebook(namespace))
    note(run)
    return run


def open_step(step: str, parameters: Parameters) -> Run:
    """Open a run for `step`, from validated parameters. Raises as `open_run` does."""
    outputs = outputs_dir(parameters)
    run_id = parameters.run_id or find_run(outputs, STEPS[-1])
    if run_id is None:
        if NEEDS[step]:
            raise StepMissing(
                f"There is no unfinished run in {outputs}, and {step} goes on from one.",
                f"Run {STEPS[1]} first, or name a run by run_id.",
            )
        run_id = new_run_id()
    folder = outputs / run_id
    opened = Ledger(folder / NAME).opened()
    if opened is None and NEEDS[step]:
        raise StepMissing(
            f"The run {run_id!r} has not begun, and {step} goes on from {NEEDS[step]}.",
            f"Run {NEEDS[step]} first, with the same run_id.",
        )
    run_folder(outputs, run_id)
    target = parameters.target or (opened or {}).get("target") or "sandbox"
    clients = _clients(target, parameters, opened)
    run = Run(step, run_id, folder, target, parameters, clients)
    if opened is None:
        _open(run)
    else:
        _check_same(run, opened)
    needed = NEEDS[step]
    if needed and needed not in run.ledger.done():
        raise StepMissing(
            f"{step} needs {needed}, which has not come to its end in the run {run_id!r}.",
            f"Run {needed} first, with the same run_id.",
        )
    return run


def outputs_dir(parameters: Parameters) -> Path:
    """The folder of all runs: the parameter, the environment's, or the project's ``outputs/``."""
    given = parameters.outputs_dir or os.environ.get(OUTPUTS)
    return Path(given).expanduser().absolute() if given else project_dir() / "outputs"


def _clients(
    target: str, parameters: Parameters, opened: Mapping[str, Any] | None
) -> Clients:
    if target == "aws":
        region = parameters.region or (opened or {}).get("region")
        return aws_clients(parameters.profile, region)
    if parameters.profile is not None:
        raise ParameterError(
            f"profile = {parameters.profile!r} has no meaning on the sandbox.",
            "Leave profile out, or set target = 'aws'.",
        )
    handoff = sandboxes.handed_over() or sandboxes.shared()
    if opened is not None and opened["sandbox"] != handoff.instance_id:
        raise SandboxGone(
            f"The sandbox of the run {opened['run_id']!r} is gone, and its AWS account with it.",
            "Start a new run: give a new run_id, or leave run_id out and begin at 00 or 01.",
        )
    clients = sandbox_clients(handoff)
    clients.sandbox = handoff.instance_id
    return clients


def _open(run: Run) -> None:
    run.record(
        "opened",
        run_id=run.run_id,
        target=run.target,
        account=run.identity.account,
        region=run.region,
        partition=run.identity.partition,
        operator=run.identity.arn,
        endpoint=run.clients.endpoint,
        is_aws=run.clients.is_aws,
        sandbox=run.clients.sandbox,
        parameters=json.loads(run.parameters.model_dump_json(exclude_unset=True)),
    )


def _check_same(run: Run, opened: Mapping[str, Any]) -> None:
    """Refuse to go on with a run elsewhere than where it began."""
    wanted = run.parameters.region or run.region
    here = {"target": run.target, "account": run.identity.account, "region": wanted}
    for name, value in here.items():
        if opened[name] != value:
            raise ParameterError(
                f"The run {run.run_id!r} began with {name} {opened[name]}; this is {value}.",
                f"Go on with {name} {opened[name]}, or start a new run.",
            )
