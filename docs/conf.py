"""How Sphinx makes the site: `make docs`. Nothing is executed, and nothing is asked of the net."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from generate import filled, linked  # found by the line above
from generate.notebooks import shown
from generate.texts import restructured

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

project = "keyrunbook"
version = release = _PROJECT["project"]["version"]
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["**/.ipynb_checkpoints", "requirements.txt"]
smartquotes = False  # `--option` stays so

# The notebooks are shown with the outputs that are committed, which `make test` compares.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # from the network, else; each widget has a static twin
nb_mime_priority_overrides = [("html", "text/html", 0)]
nb_merge_streams = True

myst_enable_extensions = ["deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True  # without addresses in memory

html_title = "keyrunbook"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"  # without one a browser asks for /favicon.ico
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "navbar_align": "left",
    # The theme's default field has a label that is not its text, its default tree summaries
    # without words: both are in the way of who listens to the page.
    "navbar_persistent": ["search-button"],
    "collapse_navigation": True,
    "footer_start": ["licence"],
    "footer_end": [],
    # Not beside notebooks: their tables need the width.
    "secondary_sidebar_items": {one: ["page-toc"] for one in ("[!t]*", "[!t]*/**", "training")},
}
html_sidebars = {"index": []}
templates_path = ["_templates"]


def setup(app: Sphinx) -> None:
    """Fill in what is made from the code, and make docstrings what autodoc reads."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _docstring)


def _fill(_: Sphinx, name: str, source: list[str]) -> None:
    notebook = name.startswith("tutorial/notebooks/")
    source[0] = shown(source[0]) if notebook else linked(filled(source[0]))


def _docstring(_app: Sphinx, _what: str, _name: str, _o: Any, _opts: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)
