"""Every block of code of the site: run on the sandbox, or parsed where it speaks of AWS.

The word behind the language says which: `sandbox` blocks are run, in the order of their page;
`aws` blocks are for an account, `parsed` ones are run by other tests. Plain `python` is run here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from command_lines import ci_commands, cron_commands, not_shell, refused, runbook_lines
from doc_pages import Block, blocks, blocks_of, pages, text_of
from keyrunbook.parameters import OUTPUTS, project_dir
from keyrunbook.sandboxes import start_private

KINDS = {
    "bash sandbox", "bash aws", "bash parsed", "python sandbox", "python", "yaml", "text",
    "text crontab",
}  # fmt: skip
FIRST = "how-to/index.md"
"""Its blocks make the run that the other pages' blocks name."""
RUN = sorted({block.page for block in blocks_of("bash sandbox", "python sandbox")} - {FIRST})


@pytest.mark.parametrize("page", pages())
def test_each_block_says_what_it_is(page: str) -> None:
    unknown = [f"{b}: {b.kind!r}" for b in blocks(text_of(page), page) if b.kind not in KINDS]
    assert unknown == []


def test_there_are_blocks_of_each_kind() -> None:
    assert {block.kind for block in blocks_of(*KINDS)} == KINDS


def wrong(shell: str) -> list[str]:
    """What is wrong with shell code, by the shell and by click."""
    found = [not_shell(shell)]
    found += [refused(arguments) or "" for arguments in runbook_lines(shell)]
    return [one for one in found if one]


@pytest.mark.parametrize("block", blocks_of("bash aws", "bash parsed", "bash sandbox"), ids=str)
def test_shell_code_is_the_command_s_own(block: Block) -> None:
    assert wrong(block.code) == []


def test_commands_of_a_crontab_and_of_ci() -> None:
    commands = [c for block in blocks_of("text crontab") for c in cron_commands(block.code)]
    commands += [c for block in blocks_of("yaml") for c in ci_commands(block.code)]
    assert sum("runbook " in command for command in commands) >= 5
    assert [found for command in commands for found in wrong(command)] == []


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        ("runbook prove --key K --workflow W", None),
        (".venv/bin/runbook show RUN_ID | tail -n 1", None),
        ("runbook run --steps 00..04 \\\n  --json > x", None),
        ("digest=$(cat x)\nrunbook run --approve \"$digest\"", None),
        ("runbook --version", None),
        ("runbook plan --targt aws", "No such option"),
        ("runbook prove --target azure", "'azure' is not one of"),
        ("runbook prove --since yesterday", "no time with a time zone"),
        ("true && runbook shw RUN_ID", "No such command"),
        ("runbook show", "Missing argument"),
        ("runbook show ONE TWO", "unexpected extra argument"),
        ("if true; then runbook runs", "syntax error"),
    ],
)  # fmt: skip
def test_what_the_check_sees(shell: str, says: str | None) -> None:
    found = wrong(shell)
    assert len(found) == (says is not None)
    assert all(says is not None and says in one for one in found)


@pytest.mark.parametrize("block", blocks_of("python"), ids=str)
def test_python_that_needs_no_aws_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block.code, str(block), "exec", dont_inherit=True), {"__name__": "__main__"})


@pytest.mark.parametrize("block", blocks_of("yaml"), ids=str)
def test_yaml_is_yaml(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.code), dict)


@dataclass(frozen=True)
class Shell:
    """A folder to work in, and an environment in which a sandbox is what AWS is."""

    folder: Path
    environment: dict[str, str]

    def do(self, page: str) -> None:
        """Run a page's blocks, in their order."""
        done = subprocess.run(
            ["bash", "-c", script(page)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def script(page: str) -> str:
    """One script of a page's blocks, which tells where it is."""
    lines = ["set -euo pipefail"]
    for block in blocks(text_of(page), page):
        if block.kind in ("bash sandbox", "python sandbox"):
            lines.append(f"echo '--- {block}' >&2")
            python = block.kind.startswith("python")
            lines.append(f"python - <<'CODE'\n{block.code}CODE" if python else block.code)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a sandbox, with the run `images` made."""
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "notebooks").symlink_to(project_dir() / "notebooks")
    with start_private("--event-delay", "0") as sandbox:
        told = sandbox.ready()
        shell = Shell(
            folder,
            {
                **os.environ,
                **sandbox.environment(),
                OUTPUTS: str(folder / "outputs"),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "AWS_ENDPOINT_URL": told.endpoint_url,
                "AWS_DEFAULT_REGION": told.region,
                "AWS_ACCESS_KEY_ID": told.access_key_id,
                "AWS_SECRET_ACCESS_KEY": told.secret_access_key,
            },
        )
        shell.do(FIRST)
        yield shell


@pytest.mark.e2e
@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run_on_the_sandbox(shell: Shell, page: str) -> None:
    shell.do(page)
