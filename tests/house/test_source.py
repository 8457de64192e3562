"""Rules of the runbook's source that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

LIB = Path(__file__).parents[2] / "lib"
MODULES = {
    path.relative_to(LIB / "keyrunbook").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((LIB / "keyrunbook").rglob("*.py"))
}
SERVICES = ("kms", "iam", "imagebuilder", "sts", "cloudtrail", "s3")
MUTATING = (
    "add_", "attach_", "cancel_", "create_", "delete_", "detach_", "disable_", "enable_",
    "import_", "put_", "remove_", "retire_", "revoke_", "schedule_", "start_", "stop_", "tag_",
    "untag_", "update_", "upload_",
)  # fmt: skip
THE_PLACE_THAT_MUTATES = "aws/mutate.py"


def literal_partitions(tree: ast.Module) -> Iterator[str]:
    """Strings with a literal ``arn:aws:``, but for docstrings, examples, what AWS's page prints."""
    ignored = {
        id(node)
        for printed in ast.walk(tree)
        if isinstance(printed, ast.FunctionDef) and printed.name.startswith("printed_")
        for node in ast.walk(printed)
    }
    ignored |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    ignored |= {
        id(node)
        for given in ast.walk(tree)
        if isinstance(given, ast.keyword) and given.arg == "examples"
        for node in ast.walk(given)
    }
    for node in ast.walk(tree):
        if id(node) in ignored or not isinstance(node, ast.Constant):
            continue
        if "arn:aws:" in str(node.value):
            yield f"line {node.lineno}: {node.value}"


def lock_out_bypasses(tree: ast.Module) -> Iterator[str]:
    """Any name or string that turns KMS's lock-out check off."""
    for node in ast.walk(tree):
        words = [getattr(node, name, None) for name in ("value", "arg", "attr", "id")]
        if any(isinstance(w, str) and "BypassPolicyLockoutSafetyCheck" in w for w in words):
            yield f"line {getattr(node, 'lineno', 0)}"


def mutating_operations() -> frozenset[str]:
    """The client methods that change AWS, from botocore's own models."""
    session = botocore.session.Session()
    names = (
        xform_name(operation)
        for service in SERVICES
        for operation in session.get_service_model(service).operation_names
    )
    return frozenset(name for name in names if name.startswith(MUTATING))


OPERATIONS = mutating_operations()


def mutating_calls(tree: ast.Module) -> Iterator[str]:
    """Calls of a method that changes AWS, and calls whose method is only known when it runs."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in OPERATIONS:
            yield f"line {node.lineno}: {node.func.attr}"
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            name = node.args[1]
            if isinstance(name, ast.Constant) and name.value in OPERATIONS:
                yield f"line {node.lineno}: {name.value}"
        if isinstance(node.func, ast.Call) and ast.unparse(node.func).startswith("getattr("):
            yield f"line {node.lineno}: a method by its name"


Check = Callable[[ast.Module], Iterator[str]]


RULES = [
    (check, module)
    for check in (literal_partitions, lock_out_bypasses, mutating_calls)
    for module in MODULES
    if (check, module) != (mutating_calls, THE_PLACE_THAT_MUTATES)
]


@pytest.mark.parametrize(("check", "module"), RULES)
def test_rule(check: Check, module: str) -> None:
    """The partition is the session's; the lock-out check stays on; one module mutates."""
    assert list(check(ast.parse(MODULES[module]))) == []


def test_the_place_that_mutates_does() -> None:
    assert list(mutating_calls(ast.parse(MODULES[THE_PLACE_THAT_MUTATES])))


@pytest.mark.parametrize(
    ("check", "code", "found"),
    [
        (literal_partitions, "x = 'arn:aws:iam::1:root'", 1),
        (literal_partitions, "def f(a):\n    return f'arn:aws:iam::{a}:root'", 1),
        (literal_partitions, "def f(p):\n    return f'arn:{p}:iam::1:root'", 0),
        (literal_partitions, "def printed_it(a):\n    return f'arn:aws:iam::{a}:root'", 0),
        (literal_partitions, "def f():\n    '''Such as arn:aws:iam::1:root.'''", 0),
        (literal_partitions, "Field(examples=['arn:aws:iam::1:root'])", 0),
        (literal_partitions, "Field(default='arn:aws:iam::1:root')", 1),
        (lock_out_bypasses, "kms.create_key(BypassPolicyLockoutSafetyCheck=True)", 1),
        (lock_out_bypasses, "x = {'BypassPolicyLockoutSafetyCheck': True}", 1),
        (mutating_calls, "run.clients('kms').put_key_policy(KeyId='k')", 1),
        (mutating_calls, "client.schedule_key_deletion(KeyId='k')", 1),
        (mutating_calls, "getattr(client, 'create_role')()", 2),
        (mutating_calls, "getattr(client, change.operation)(**parameters)", 1),
        (mutating_calls, "client.get_key_policy(KeyId='k')", 0),
        (mutating_calls, "progress.update_everything()", 0),
    ],
)
def test_the_rule_sees(check: Check, code: str, found: int) -> None:
    assert len(list(check(ast.parse(code)))) == found
