"""Seven small notebooks, and a kernel that the tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_notebooks import STEPS, set_verdict, write_notebook


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """All seven, each doing nothing; 04 finds PROVED."""
    folder = tmp_path / "notebooks"
    for name in STEPS:
        write_notebook(folder / f"{name}.ipynb", "x = 1")
    set_verdict(folder, "PROVED")
    return folder


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A started kernel; a test that kills one starts its own."""
    from keyrunbook.execution.kernels import WarmKernel

    folder = tmp_path_factory.mktemp("cwd")
    warm = WarmKernel(folder, {}, folder / "kernel.log")
    warm.start()
    try:
        warm.ready()
        yield warm
    finally:
        warm.close()
