"""Makes `docs/run.svg`, the picture in the README: a real run, as its terminal shows it.

    .venv/bin/python docs/picture.py

The run is made on a sandbox with seed and clock fixed, so only the seconds change.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from keyrunbook import sandboxes
from keyrunbook.execution.reference import CLOCK, SEED
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

PICTURE = Path(__file__).with_name("run.svg")
COLUMNS = 124
STYLES = {"✓": "green", "✗": "red", "–": "dim"}

# rich's own template fetches a font from the network; this one takes what the reader has.
TEMPLATE = """\
<svg viewBox="0 0 {terminal_width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>A run of the runbook: seven steps, and the verdict PROVED</title>
<style>.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace;
font-size: {char_height}px; line-height: {line_height}px; }} {styles}</style>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g transform="translate(9, 9)" clip-path="none">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main() -> None:
    """Run, and draw what was printed."""
    with tempfile.TemporaryDirectory(prefix="keyrunbook-picture-") as folder:
        with sandboxes.start_private(sandboxes.TLS, "--seed", SEED, "--clock", CLOCK) as sandbox:
            sandbox.ready()
            words = [str(Path(sys.executable).with_name("runbook")), "run", "--outputs", folder]
            words += ["--run-id", "example"]
            environment = {**os.environ, **sandbox.environment()}
            done = subprocess.run(
                words, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
        printed = done.stdout.replace(folder, "outputs")
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(Text("$ make run", style="bold"))
    for line in printed.splitlines():
        console.print(Text(line, style=STYLES.get(line[:1], "")))
    picture = console.export_svg(theme=SVG_EXPORT_THEME, code_format=TEMPLATE, unique_id="run")
    # The template has no frames to clip by, and line ends need no drawing.
    picture = re.sub(r' clip-path="[^"]*"', "", picture)
    picture = re.sub(r"<text [^>]*>\n</text>", "", picture)
    PICTURE.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
