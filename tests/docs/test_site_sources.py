"""The site's pages against the code that they speak of."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import click
import doc_pages
import pytest
from command_lines import refused, runbook_lines
from generate import PARTS, filled, linked
from generate.commands import exit_statuses, tree
from generate.notebooks import shown
from generate.texts import restructured
from keyrunbook.execution.result import RunError, RunResult, StepResult
from keyrunbook.parameters import Parameters, project_dir
from keyrunbook.steps import STEPS


def test_each_part_is_asked_for_by_one_page() -> None:
    asked = [
        name
        for page in doc_pages.pages()
        for name in re.findall(r"^<!-- ([a-z ]+) -->$", doc_pages.text_of(page), re.MULTILINE)
    ]
    assert sorted(asked) == sorted(PARTS)


def test_a_part_that_there_is_not_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("# Title\n\n<!-- no such part -->\n")


def test_every_command_and_option_is_on_the_page() -> None:
    page = PARTS["commands"]()
    contexts = list(tree())
    assert len(contexts) > 12
    for context in contexts:
        section = page.partition(f"\n## {context.command_path}\n")[2].partition("\n## ")[0]
        for option in context.command.get_params(context):
            if record := option.get_help_record(context):
                assert f"\n`{record[0]}`\n: " in section
        stated = exit_statuses(context.command)
        assert isinstance(context.command, click.Group) or len(stated) >= 2, context.command_path


def test_a_list_in_a_help_text_is_a_list_of_links() -> None:
    page = PARTS["commands"]()
    assert "- [`runbook emergency-stop`](#command-runbook-emergency-stop): disable the key;" in page
    assert "sandbox of [`runbook sandbox`](#command-runbook-sandbox) uses that" in page


def test_an_address_in_a_table_is_a_link_and_nowhere_else() -> None:
    table = "| a fact | https://docs.aws.amazon.com/x.html | a test |"
    made = "| a fact | [docs.aws.amazon.com/x.html](https://docs.aws.amazon.com/x.html) | a test |"
    assert linked(table) == made
    assert linked(made) == made
    assert linked("see https://docs.aws.amazon.com/x.html, too") == (
        "see https://docs.aws.amazon.com/x.html, too"
    )


def test_examples_of_the_help_texts_are_right() -> None:
    [*examples] = doc_pages.blocks(PARTS["commands"](), "commands")
    lines = [a for block in examples if block.kind == "bash" for a in runbook_lines(block.code)]
    assert len(lines) > 20
    assert [(arguments, why) for arguments in lines if (why := refused(arguments))] == []


def test_every_parameter_is_on_the_page_with_the_notebooks_that_have_it() -> None:
    page = PARTS["parameters"]()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(Parameters.model_fields)
    section = page.partition("## pending_window_days\n")[2].partition("\n## ")[0]
    assert "- at least: 7\n- at most: 30\n" in section
    assert section.rstrip().endswith("in the notebooks: 06_clean_up")


def test_the_exit_statuses_are_those_of_the_commands() -> None:
    page = PARTS["exit statuses"]()
    assert re.findall(r"^## (\d+)$", page, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "130"]


def test_the_first_picture_is_the_notebook_s_and_has_words() -> None:
    picture = PARTS["first picture"]()
    assert "data:image/png;base64," in picture
    assert 'alt="Verdict: PROVED (embedded sandbox, not AWS)' in picture


def table(page: str, after: str) -> list[str]:
    """The first cells of the table that follows some words."""
    rows = doc_pages.text_of(page).partition(after)[2].partition("\n\n")[2].lstrip()
    rows = rows[rows.index("| field |") :].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)


@pytest.mark.parametrize(
    ("after", "kind"),
    [("## result.json", RunResult), ("Each of `steps`", StepResult), ("And `error`", RunError)],
)
def test_the_fields_of_result_json(after: str, kind: type) -> None:
    assert table("reference/formats.md", after) == [one.name for one in dataclasses.fields(kind)]


def test_every_kind_of_line_that_is_written_is_documented() -> None:
    documented = set(re.findall(r"``([a-z_]+)``", PARTS["ledger lines"]()))
    written = {
        node.args[0].value
        for path in (project_dir() / "lib" / "keyrunbook").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("record", "append")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and any(keyword.arg for keyword in node.keywords) | (node.func.attr == "record")
    }
    assert {"intent", "outcome", "verdict", "done"} <= written
    assert written - documented == set()


def test_the_tutorial_is_the_notebooks_themselves() -> None:
    there = sorted(doc_pages.DOCS.glob("tutorial/notebooks/0*.ipynb"))
    assert [path.stem for path in there] == list(STEPS)
    assert Path(there[0]).samefile(project_dir() / "notebooks" / there[0].name)


def test_solutions_are_closed_and_nothing_else_is() -> None:
    def code(*tags: str) -> dict[str, object]:
        return {"cell_type": "code", "metadata": {"tags": [*tags]}, "source": "x"}

    cells = as_shown(code("solution"), code("parameters"), {**code(), "metadata": {}})
    assert ["hide-cell" in cell["metadata"]["tags"] for cell in cells] == [True, False, False]


@pytest.mark.parametrize(
    ("source", "tags", "made"),
    [
        ("Go to [`01`](01_key.ipynb).", [], 'Go to <a href="01_key.html">`01`</a>.'),
        (
            "[a](../b.ipynb#c) [d](e.ipynb)",
            [],
            '<a href="../b.html#c">a</a> <a href="e.html">d</a>',
        ),
        ("[AWS](https://aws.amazon.com/x.html)", [], "[AWS](https://aws.amazon.com/x.html)"),
        ("## How\n\nSo.", ["solution"], "<details>\n<summary>How</summary>\n\nSo.\n\n</details>"),
        ("So.", ["solution"], "<details>\n<summary>Solution</summary>\n\nSo.\n\n</details>"),
        ("## How\n\nSo.", [], "## How\n\nSo."),
    ],
)
def test_markdown_of_notebooks(source: str, tags: list[str], made: str) -> None:
    [cell] = as_shown({"cell_type": "markdown", "metadata": {"tags": tags}, "source": [source]})
    assert cell["source"] == made


def test_links_in_outputs() -> None:
    html = ['<a href="01_key.ipynb">', "<a href='https://x.y/z.ipynb'>"]
    output = {"output_type": "execute_result", "data": {"text/html": html}}
    [cell] = as_shown({"cell_type": "code", "metadata": {}, "source": "", "outputs": [output]})
    made = cell["outputs"][0]["data"]["text/html"]
    assert made == "<a href=\"01_key.html\"><a href='https://x.y/z.ipynb'>"


def as_shown(*cells: dict[str, object]) -> list[Any]:
    """These cells as the site has them."""
    return list(json.loads(shown(json.dumps({"cells": cells})))["cells"])


@pytest.mark.parametrize("page", ["how-to/*.md", "explanation/*.md"])
def test_facts_of_aws_carry_aws_s_address(page: str) -> None:
    for path in doc_pages.DOCS.glob(page):
        if path.stem not in ("index", "orchestrator"):
            assert "](https://docs.aws.amazon.com/" in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    ("docstring", "made"),
    [
        ("One line.", ["One line."]),
        ("May be `x`s, or ``y``.", [r"May be ``x``\ s, or ``y``."]),
        ("Stars: kms:*, a_ b_, |c|.", [r"Stars: kms:\*, a\_ b\_, \|c\|."]),
        ("*sound*: a rule.", ["*sound*: a rule."]),
        ("See https://x.y/a_b.html.", ["See https://x.y/a_b.html."]),
        ("Two\nlines, one paragraph.", ["Two lines, one paragraph."]),
        ("Rules:\n- one\n  goes on\n- two", ["Rules:", "- one goes on", "- two"]),
        ("Code:\n\n    a *= b", ["Code:", "::", "a *= b"]),
        ("Raises:\n    KeyError: no.", ["Raises:", "- KeyError: no."]),
        (
            "Raises:\n    KeyError: a\n        b.\n    OSError: c.",
            ["Raises:", "- KeyError: a b.", "- OSError: c."],
        ),
        ("Raises: KeyError, where\n    it is not.", ["Raises: KeyError, where it is not."]),
        ("Alias for field number 3", []),
    ],
)
def test_docstrings_as_autodoc_reads_them(docstring: str, made: list[str]) -> None:
    lines = [line.strip() for line in restructured(docstring.splitlines())]
    assert [line for line in lines if line] == made


def test_the_notebooks_are_listed_with_the_one_to_start_with_first() -> None:
    listed = re.findall(r"^notebooks/(\w+)$", PARTS["notebooks"](), re.MULTILINE)
    assert [name for name in listed if name != "start"] == list(STEPS)
    assert "start" not in listed[1:]
