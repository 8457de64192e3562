"""Plans several steps at once: each as things will be when the steps before it are done."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws import approval
from keyrunbook.aws.refusals import explain
from keyrunbook.plan import Plan, RunPlan
from keyrunbook.steps.common import Forecast

if TYPE_CHECKING:
    from keyrunbook.session import Run

CHANGING = (
    "01_create_key",
    "02_grant_access",
    "03_encrypt_workflow",
    "05_revoke_access",
    "06_clean_up",
)
"""The steps that change something; the others have nothing to plan."""


def plan_steps(run: Run, steps: Sequence[str]) -> RunPlan:
    """The plans of these steps, in order, from what is there now. Changes nothing in AWS.

    Raises what the steps' `observe` and `plan` raise; what AWS refuses, or cannot be asked, as one
    of the run's own errors.
    """
    plans: list[Plan] = []
    ahead = run
    for step in steps:
        if step in CHANGING:
            forecast = _forecast(ahead.at(step))
            plans.append(forecast.plan)
            ahead = ahead.after(forecast.plan, forecast.leaves)
    return approval.plan_of_all(run, plans, steps)


def _forecast(run: Run) -> Forecast:
    module = import_module(f"keyrunbook.steps.{run.step.split('_', 1)[1]}")
    try:
        forecast: Forecast = module.forecast(run)
    except (ClientError, BotoCoreError) as error:
        raise explain(error) from error
    return forecast
