"""`runbook runs` and `runbook show`: what was run, from what is on disk."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyrunbook.cli.common import OUTPUTS, given_options, load, outputs_folder, write_picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@click.command(
    epilog="""\b
Exit status:
  0    listed, damaged ones included
  2    wrong usage"""
)
@OUTPUTS
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def runs(outputs: Path | None, as_json: bool) -> None:
    """List the runs, the one last written first: when, where, how far, and how each ended.

    A run that says it is running while no such process lives was killed: it says so. A damaged
    ledger is named, with its line.
    """
    from keyrunbook.execution.runs import run_ids, summary

    folder = outputs_folder(load((), None, given_options(outputs_dir=outputs))[0])
    found = [summary(folder, run_id) for run_id in run_ids(folder)]
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2, ensure_ascii=False))
    elif not found:
        click.echo(f"There are no runs in {folder}.")
    else:
        from keyrunbook.execution.progress import print_runs

        print_runs(found, sys.stdout)


@click.command(
    epilog="""\b
Exit status:
  0    told
  1    the ledger is damaged, or does not hold the line of --head
  2    wrong usage, or no such run"""
)
@click.argument("run_id")
@OUTPUTS
@click.option("--head", metavar="HASH", help="A head hash kept from earlier: it must be there.")
@click.option(
    "--timeline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the run's timeline too, as a picture: a PNG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(
    run_id: str, outputs: Path | None, head: str | None, timeline: Path | None, as_json: bool
) -> None:
    """Tell the story of a run, from its ledger.

    Who, where, on what; each change with why, how it is undone, AWS's request id and how it came
    out; findings, verdict, errors; what the run made and is left in AWS, by the ledger; and the
    ledger's head hash. Nothing is asked of AWS, and nothing is written but the picture that
    --timeline names: calls, changes of policy, the records and refusals that the run saw, and how
    late they were.
    """
    from keyrunbook.execution.result import stored_result
    from keyrunbook.execution.runs import existing, how_it_ended
    from keyrunbook.ledger import NAME, Ledger
    from keyrunbook.show import story
    from keyrunbook.steps import standing

    parameters, _ = load((), None, given_options(run_id=run_id, outputs_dir=outputs))
    folder = existing(outputs_folder(parameters), run_id)
    ledger = Ledger(folder / NAME)
    chain = ledger.chain()
    if head is not None:
        ledger.check_head(chain, head)
    opened = next((entry for entry in chain.entries if entry["kind"] == "opened"), None)
    ended = how_it_ended(folder, stored_result(folder))
    told = story.tell(chain.entries)
    things = story.left(told)
    stands = standing.told(chain.entries, run_id, folder.parent)
    if timeline is not None:
        _draw(chain.entries, f"Run {run_id}", timeline)
    if as_json:
        whole = {
            "run_id": run_id,
            "ended": ended,
            "standing": stands,
            "story": [one.to_dict() for one in told],
            "left": [{"what": one.what, "state": one.state} for one in things],
            "lines": len(chain.entries),
            "head": chain.head,
            "torn_bytes": chain.torn_bytes,
            "worth": story.WORTH.replace("\n", " "),
        }
        click.echo(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    tables = [
        story.heading(run_id, opened, ended, stands),
        *story.chapters(told),
        *story.ending(things, "no target" if opened is None else story.on_what(opened), chain),
    ]
    click.echo("\n\n".join(table.text() for table in tables))


def _draw(entries: Sequence[Mapping[str, Any]], name: str, path: Path) -> None:
    """Write the timeline as PNG, to where --timeline says."""
    from keyrunbook.show import story
    from keyrunbook.steps.timeline import timeline

    opened = next((entry for entry in entries if entry["kind"] == "opened"), None)
    where = "no target" if opened is None else story.on_what(opened)
    write_picture(path, timeline(entries, f"{name}, {where}").png(), "--timeline")
