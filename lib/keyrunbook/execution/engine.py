"""The door through which papermill finds the engine `keyrunbook`.

    papermill --engine keyrunbook notebooks/01_create_key.ipynb out.ipynb

The engine itself is in `cells`. It is fetched on demand because the import goes in a circle:
importing papermill loads every registered engine, this one too, and the engine is made of
papermill's parts. Whoever comes first, papermill has to be there before the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyrunbook.execution.cells import RunbookEngine

__all__ = ["RunbookEngine"]


def __getattr__(name: str) -> Any:
    if name != "RunbookEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load_papermill()
    from keyrunbook.execution.cells import RunbookEngine

    return RunbookEngine


def load_papermill() -> Any:
    """The papermill module, imported without the grammar of RFC 3987.

    jsonschema, which papermill imports through nbformat, imports that grammar to check one string
    format, `iri`, which no notebook has; it takes three quarters of papermill's import time.
    jsonschema goes without it where it is not installed, which is what it is told here. Nothing
    changes when jsonschema was imported before.
    """
    import sys

    grammar = "rfc3987_syntax"
    if grammar in sys.modules or "jsonschema" in sys.modules:
        import papermill

        return papermill
    sys.modules[grammar] = None  # type: ignore[assignment]
    try:
        import papermill
    finally:
        del sys.modules[grammar]
    return papermill
