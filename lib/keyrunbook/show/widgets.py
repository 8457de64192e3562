"""Widgets beside what is shown without them: an output never holds a widget alone."""

from __future__ import annotations

from typing import Any


def bundle(form: Any, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ipywidgets shows of a form, with its metadata."""
    shown = form._repr_mimebundle_(**more)
    return shown if isinstance(shown, tuple) else (shown, {})
