"""Rules of the runbook's source that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from keyrunbook.aws.reading import WORDS, reads

LIB = Path(__file__).parents[2] / "lib"
MODULES = {
    path.relative_to(LIB / "keyrunbook").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((LIB / "keyrunbook").rglob("*.py"))
}
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
            yield f"line {node.lineno}: {node.value!r}"


def lock_out_bypasses(tree: ast.Module) -> Iterator[str]:
    """Any name or string that turns KMS's lock-out check off."""
    for node in ast.walk(tree):
        words = [getattr(node, name, None) for name in ("value", "arg", "attr", "id")]
        if any(isinstance(w, str) and "BypassPolicyLockoutSafetyCheck" in w for w in words):
            yield f"line {getattr(node, 'lineno', 0)}"


def mutating_operations() -> frozenset[str]:
    """The client methods that do more than read, from botocore's own models."""
    session = botocore.session.Session()
    names = (
        xform_name(operation)
        for service in WORDS
        for operation in session.get_service_model(service).operation_names
        if not reads(service, operation)
    )
    return frozenset(names)


OPERATIONS = mutating_operations() - {"verify"}  # a step's verb; KMS's Verify changes nothing
QUERIES = ("aws/athena.py", "start_query_execution")
"""The one other call that is not a read by its name: a SELECT, which `reads` tells by its text."""
BY_ANY_NAME = frozenset({"_make_api_call", "_make_request", "methodcaller"})
NO_CLIENTS = frozenset({"parameters", "keyrunbook.errors"})


def mutating_calls(tree: ast.Module) -> Iterator[str]:
    """Methods that change AWS, called or handed on; and those whose name is known only later."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if (
                name in (OPERATIONS if isinstance(node, ast.Attribute) else ())
                or name in BY_ANY_NAME
            ):
                yield f"line {node.lineno}: {name}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            of, name_of = node.args[:2]
            if not isinstance(name_of, ast.Constant):
                if ast.unparse(of) not in NO_CLIENTS:
                    yield f"line {node.lineno}: a method by its name"
            elif name_of.value in OPERATIONS:
                yield f"line {node.lineno}: {name_of.value}"


THE_PLACE_OF_CLIENTS = "aws/clients.py"


def other_clients(tree: ast.Module) -> Iterator[str]:
    """Clients that nobody holds back: of boto3, or of a session of botocore's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names]
            if "boto3" in (*names, getattr(node, "module", None)):
                yield f"line {node.lineno}: boto3"
        if isinstance(node, ast.Attribute) and node.attr == "create_client":
            yield f"line {node.lineno}: create_client"


Check = Callable[[ast.Module], Iterator[str]]


EXERCISES = "exercises/"
"""The package that sets training situations up, by calls that nobody plans, on the sandbox only."""
THE_PLACE_THAT_REFUSES = "exercises/account.py"
WAYS_TO_AN_ACCOUNT = frozenset(
    {"sandbox_clients", "aws_clients", "aws_session", "sandboxes", "session", "Handoff"}
)


def other_ways(tree: ast.Module) -> Iterator[str]:
    """Imports by which an exercise would get clients past the place that refuses other endpoints.

    What only names a type is none.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"line {node.lineno}: {one.name}" for one in node.names if "." in one.name)
        if isinstance(node, ast.ImportFrom):
            last = (node.module or "").rpartition(".")[2]
            for name in {last, *(one.name for one in node.names)} & WAYS_TO_AN_ACCOUNT:
                yield f"line {node.lineno}: {name}"


RULES = [
    (check, module)
    for check in (literal_partitions, lock_out_bypasses, mutating_calls, other_clients)
    for module in MODULES
    if (check, module)
    not in {(mutating_calls, THE_PLACE_THAT_MUTATES), (other_clients, THE_PLACE_OF_CLIENTS)}
    and not (check is mutating_calls and module.startswith(EXERCISES))
]
RULES += [
    (other_ways, module)
    for module in MODULES
    if module.startswith(EXERCISES) and module != THE_PLACE_THAT_REFUSES
]


@pytest.mark.parametrize(("check", "module"), RULES)
def test_rule(check: Check, module: str) -> None:
    """The partition is the session's; the lock-out check stays on; one module mutates.

    And one makes the clients, which refuse to do more than read where a run may only read. The
    exercises change their accounts freely: they get them in one place, which refuses whatever is
    not the sandbox.
    """
    found = list(check(ast.parse(MODULES[module])))
    if check is mutating_calls and module == QUERIES[0]:
        assert [one.partition(": ")[2] for one in found] == [QUERIES[1]]
    else:
        assert found == []


def test_the_places_that_may_do() -> None:
    assert list(mutating_calls(ast.parse(MODULES[THE_PLACE_THAT_MUTATES])))
    assert list(other_clients(ast.parse(MODULES[THE_PLACE_OF_CLIENTS])))
    assert list(other_ways(ast.parse(MODULES[THE_PLACE_THAT_REFUSES])))


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
        (mutating_calls, "partial(kms.put_key_policy, KeyId='k')()", 1),
        (mutating_calls, "call = run.clients('iam').set_default_policy_version", 1),
        (mutating_calls, "run.clients('kms').replicate_key(KeyId='k')", 1),
        (mutating_calls, "run.clients('sts').assume_role(RoleArn='r')", 1),
        (mutating_calls, "getattr(client, 'create_role')()", 1),
        (mutating_calls, "getattr(client, change.operation)(**parameters)", 1),
        (mutating_calls, "method = getattr(client, name)", 1),
        (mutating_calls, "getattr(parameters, name)", 0),
        (mutating_calls, "getattr(client, 'meta')", 0),
        (mutating_calls, "client._make_api_call('CreateKey', {})", 1),
        (mutating_calls, "operator.methodcaller('create_key')(client)", 1),
        (mutating_calls, "methodcaller('create_key')(client)", 1),
        (other_clients, "import boto3", 1),
        (other_clients, "from boto3 import Session", 1),
        (other_clients, "session.create_client('kms')", 1),
        (other_clients, "import botocore.session", 0),
        (other_ways, "from keyrunbook.aws.clients import sandbox_clients", 1),
        (other_ways, "from keyrunbook.aws.clients import Clients", 0),
        (other_ways, "from keyrunbook import sandboxes", 1),
        (other_ways, "from keyrunbook.session import open_run", 1),
        (other_ways, "import keyrunbook.session", 1),
        (mutating_calls, "client.get_key_policy(KeyId='k')", 0),
        (mutating_calls, "progress.update_everything()", 0),
    ],
)
def test_the_rule_sees(check: Check, code: str, found: int) -> None:
    assert len(list(check(ast.parse(code)))) == found
