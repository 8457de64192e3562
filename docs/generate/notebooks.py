"""What the site takes out of the executed notebooks."""

from __future__ import annotations

import json

from keyrunbook.parameters import project_dir

NOTEBOOKS = project_dir() / "notebooks"

_EXERCISES = """## Exercises

Each takes five to ten minutes, and sets its situation up in an account of its own on the sandbox. \
The check looks at the state that AWS is in, not at what you typed. Solutions stay closed until \
you open them.

```{toctree}
:maxdepth: 1
:glob:

notebooks/exercises/*
```
"""


def exercises() -> str:
    """The list of the exercises, where there are any."""
    return _EXERCISES if list(NOTEBOOKS.glob("exercises/*.ipynb")) else ""


def closed(notebook: str) -> str:
    """A notebook's text, in which each solution is closed until a reader opens it."""
    found = json.loads(notebook)
    for cell in found["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if "solution" in tags:
            tags.append("hide-cell")
    return json.dumps(found)


def first_picture() -> str:
    """The timeline that `04_confirm_events` drew, with the words that it has for who cannot see it.

    Raises LookupError where the notebook holds no picture.
    """
    notebook = NOTEBOOKS / "04_confirm_events.ipynb"
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            html = "".join(output.get("data", {}).get("text/html", ""))
            if html.startswith('<img alt="Verdict: '):
                return f"```{{raw}} html\n{html}\n```"
    raise LookupError(f"{notebook} holds no picture.")
