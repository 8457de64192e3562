"""What the site takes out of the executed notebooks."""

from __future__ import annotations

import json
import re

from keyrunbook.parameters import project_dir

_LINK = re.compile(r"\[((?:`[^`]*`|[^\[\]])*)\]\(([\w./-]+)\.ipynb(#[^)]*)?\)")
_HREF = re.compile(r"""(?<=href=["'])(?!https?:)([\w./-]+)\.ipynb""")
_HEADING = re.compile(r"#+ +(.+)\n?")

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


def notebooks() -> str:
    """The list of the notebooks, the one to start with first."""
    names = sorted(
        (path.stem for path in NOTEBOOKS.glob("*.ipynb")), key=lambda name: (name != "start", name)
    )
    entries = "\n".join(f"notebooks/{name}" for name in names)
    return f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```"


def exercises() -> str:
    """The list of the exercises, where there are any."""
    return _EXERCISES if list(NOTEBOOKS.glob("exercises/*.ipynb")) else ""


def shown(notebook: str) -> str:
    """A notebook's text as the site takes it.

    Solutions, which are the cells with that tag, are closed until a reader opens them; links to
    other notebooks lead to their pages.
    """
    found = json.loads(notebook)
    for cell in found["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if cell["cell_type"] == "markdown":
            text = _to_pages("".join(cell["source"]))
            cell["source"] = _folded(text) if "solution" in tags else text
        elif "solution" in tags:
            tags.append("hide-cell")
        for output in cell.get("outputs", ()):
            if html := output.get("data", {}).get("text/html"):
                output["data"]["text/html"] = _HREF.sub(r"\1.html", "".join(html))
    return json.dumps(found)


def _to_pages(text: str) -> str:
    """Links of HTML in place of those of Markdown, which Sphinx would look for in notebooks/."""
    return _LINK.sub(r'<a href="\2.html\3">\1</a>', text)


def _folded(text: str) -> str:
    """Markdown that is closed until it is opened; a heading on top is what one opens it by."""
    heading = _HEADING.match(text)
    title, body = (heading[1], text[heading.end() :]) if heading else ("Solution", text)
    return f"<details>\n<summary>{title}</summary>\n\n{body.strip()}\n\n</details>"


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
