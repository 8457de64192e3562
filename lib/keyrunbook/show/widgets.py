"""Widgets beside what is shown without them: an output never holds a widget alone."""

from __future__ import annotations

import os
from html import escape
from typing import Any, Final

FRONT_END: Final = "JPY_SESSION_NAME"
"""The variable by which a Jupyter server tells a kernel its notebook's name.

Source: https://github.com/jupyter-server/jupyter_server/pull/1100
"""


AS_OUTPUT: Final = "jp-RenderedHTMLCommon"
"""The class by which JupyterLab styles outputs that are HTML: a widget's has it only if given."""


def is_live() -> bool:
    """Whether a front end that shows widgets started this kernel, as JupyterLab does."""
    return FRONT_END in os.environ


def bundle(form: Any, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ipywidgets shows of a form, with its metadata."""
    shown = form._repr_mimebundle_(**more)
    return shown if isinstance(shown, tuple) else (shown, {})


def status(text: str) -> str:
    """A sentence as HTML that a screen reader announces when it is put there."""
    return f'<p role="status" style="line-height:1.35;overflow-wrap:anywhere">{escape(text)}</p>'
