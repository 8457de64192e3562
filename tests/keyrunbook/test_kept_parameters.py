"""What is given now wins over what a run, or its plan, was made with; the rest is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keyrunbook.cli.common import load, load_with_kept
from keyrunbook.parameters import Parameters

KEPT = {"key_alias": "alias/kept", "workflow_name": "kept", "tags": {"team": "images"}}

CASES: list[tuple[str, tuple[tuple[str, str], ...], str, dict[str, Any], dict[str, Any]]] = [
    ("nothing is given", (), "", {}, KEPT),
    ("by -p", (("key_alias", "alias/new"),), "", {}, {**KEPT, "key_alias": "alias/new"}),
    ("by the file", (), "workflow_name: new", {}, {**KEPT, "workflow_name": "new"}),
    ("by an option", (), "", {"region": "eu-west-1"}, {**KEPT, "region": "eu-west-1"}),
    ("the default", (("workflow_name", "encrypted-build"),), "", {},
     {**KEPT, "workflow_name": "encrypted-build"}),
]  # fmt: skip


@pytest.mark.parametrize(("pairs", "text", "options", "want"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_what_is_given_wins_and_the_rest_is_kept(
    pairs: tuple[tuple[str, str], ...],
    text: str,
    options: dict[str, Any],
    want: dict[str, Any],
    tmp_path: Path,
) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text or "{}")
    _, given = load(pairs, file, options)
    parameters, named = load_with_kept(pairs, file, options, given, KEPT)
    assert parameters == Parameters.load(want)
    assert named == set(want)
