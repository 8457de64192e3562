"""`runbook lab`: the notebooks in JupyterLab."""

from __future__ import annotations

from pathlib import Path

import click

from keyrunbook.cli.common import outputs_folder


@click.command(
    epilog="""\b
Exit status:
  0    JupyterLab was closed
  2    wrong usage
  5    JupyterLab or the sandbox could not be started
  130  interrupted"""
)
@click.option("--port", type=click.IntRange(1, 65535), help="JupyterLab's port. Default: 8888 up.")
@click.option("--no-browser", is_flag=True, help="Print the address; open nothing.")
@click.option(
    "--outputs", type=click.Path(path_type=Path), metavar="DIR", help="Where runs' folders go."
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
    metavar="DIR",
    help="Where the sandbox's state is kept. Default: .sandbox in the outputs folder.",
)
def lab(port: int | None, no_browser: bool, outputs: Path | None, state: Path | None) -> None:
    """Open the notebooks in JupyterLab, with a sandbox that goes on where it ended last time.

    It opens start.ipynb: the map of the seven, how the current run stands, and which notebook is
    next. Notebooks opened one after another share a run. JupyterLab serves this machine only. To
    begin anew with another sandbox, move the folder of --state away.
    """
    from keyrunbook import sandboxes
    from keyrunbook.execution.lab import serve
    from keyrunbook.execution.runner import notebooks_dir
    from keyrunbook.parameters import OUTPUTS, Parameters

    folder = outputs_folder(Parameters(outputs_dir=None if outputs is None else str(outputs)))
    environment = {OUTPUTS: str(folder)}
    if sandboxes.handed_over() is not None:
        raise click.exceptions.Exit(
            serve(notebooks_dir(), environment, port=port, browser=not no_browser)
        )
    kept = ("--state", str(state or folder / ".sandbox"))
    with sandboxes.start_private(sandboxes.TLS, *kept) as own:
        own.ready()
        environment |= own.environment()
        status = serve(notebooks_dir(), environment, port=port, browser=not no_browser)
    raise click.exceptions.Exit(status)
