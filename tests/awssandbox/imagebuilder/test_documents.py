"""The rules of workflow documents: one row a rule, with the page that states it.

Each row changes the valid document below in one place and names the refusal that must follow.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from awssandbox.imagebuilder.documents import (
    ACTIONS,
    ACTIONS_PAGE,
    DOCUMENT_PAGE,
    QUOTAS_PAGE,
    VARIABLES_PAGE,
    DocumentError,
    WorkflowType,
    parse_document,
)
from hypothesis import given, settings
from hypothesis import strategies as st

WORKFLOWS = Path(__file__).parents[3] / "notebooks" / "workflows"

VALID = """\
---
name: sample
description: A sample.
schemaVersion: 1.0
parameters:
  - name: wait
    type: boolean
    default: true
    description: Whether to wait.
steps:
  - name: Launch
    action: LaunchInstance
    description: Launch it.
    onFailure: Abort
    rollbackEnabled: true
    timeoutSeconds: 900
    inputs:
      waitFor: ssmAgent
  - name: Wait_1
    action: WaitForAction
    if:
      booleanEquals: true
      value: $.parameters.wait
  - name: Terminate
    action: TerminateInstance
    onFailure: Continue
    inputs:
      instanceId.$: $.stepOutputs.Launch.instanceId
outputs:
  - name: instance
    value: $.stepOutputs.Launch.instanceId
"""


class Rule(NamedTuple):
    """Replacing `old` by `new` in VALID must give an error that contains `error`."""

    title: str
    source: str
    old: str
    new: str
    error: str
    type: str = "BUILD"


STEP = "  - name: Wait_1\n    action: WaitForAction\n"
IF = "    if:\n      booleanEquals: true\n      value: $.parameters.wait\n"


def steps(count: int) -> str:
    return "".join(f"  - {{name: Step{n:02}, action: WaitForAction}}\n" for n in range(count))


def parameters(count: int) -> str:
    return "".join(f"  - {{name: p{n}, type: string}}\n" for n in range(count))


RULES = [
    Rule(
        "the schema version is required",
        DOCUMENT_PAGE,
        "schemaVersion: 1.0\n",
        "",
        "Invalid schema version. Supported versions include: 1.0.",
    ),
    Rule("it is 1.0", DOCUMENT_PAGE, "schemaVersion: 1.0", "schemaVersion: 1.1", "Invalid schema"),
    Rule("not 1", DOCUMENT_PAGE, "schemaVersion: 1.0", "schemaVersion: 1", "Invalid schema"),
    Rule(
        "an unknown key of the document",
        DOCUMENT_PAGE,
        "outputs:",
        "output:",
        "The key 'output' is not supported.",
    ),
    Rule("the name is text", DOCUMENT_PAGE, "name: sample", "name: [a]", "name: The value must be"),
    Rule(
        "a parameter needs a name",
        DOCUMENT_PAGE,
        "  - name: wait\n    type: boolean",
        "  - type: boolean",
        "parameters[0]: The key 'name' is required.",
    ),
    Rule(
        "a parameter needs a type",
        DOCUMENT_PAGE,
        "    type: boolean\n",
        "",
        "parameters[0]: The key 'type' is required.",
    ),
    Rule(
        "the types of parameters",
        DOCUMENT_PAGE,
        "type: boolean",
        "type: number",
        "parameters[0].type: The type 'number' is not supported. "
        "Supported types: string, integer, boolean, stringList.",
    ),
    Rule(
        "a default has the parameter's type",
        DOCUMENT_PAGE,
        "default: true",
        'default: "true"',
        "parameters[0].default: The default must be of the type 'boolean'.",
    ),
    Rule(
        "true is no integer",
        DOCUMENT_PAGE,
        "type: boolean",
        "type: integer",
        "must be of the type 'integer'",
    ),
    Rule(
        "a list of strings holds strings",
        DOCUMENT_PAGE,
        "type: boolean\n    default: true",
        "type: stringList\n    default: [1]",
        "must be of the type 'stringList'",
    ),
    Rule(
        "an unknown key of a parameter",
        DOCUMENT_PAGE,
        "    default: true",
        "    defaultValue: true",
        "parameters[0]: The key 'defaultValue' is not supported.",
    ),
    Rule(
        "parameter names are unique",
        DOCUMENT_PAGE,
        "parameters:\n",
        "parameters:\n  - {name: wait, type: string}\n",
        "parameters[1].name: The parameter name 'wait' is not unique.",
    ),
    Rule(
        "25 parameters at most",
        QUOTAS_PAGE,
        "parameters:\n",
        "parameters:\n" + parameters(25),
        "parameters: A workflow can have up to 25 parameters.",
    ),
    Rule(
        "a parameter value has 1,024 characters at most",
        QUOTAS_PAGE,
        "parameters:\n",
        f"parameters:\n  - {{name: long, type: string, default: {'a' * 1025}}}\n",
        "parameters[0].default: A parameter value can have up to 1,024 characters.",
    ),
    Rule("15 steps at most", DOCUMENT_PAGE, "steps:\n", "steps:\n" + steps(13), "up to 15 steps"),
    Rule(
        "a step needs a name",
        DOCUMENT_PAGE,
        "  - name: Wait_1\n    action",
        "  - action",
        "steps[1]: The key 'name' is required.",
    ),
    Rule("of 3 characters", DOCUMENT_PAGE, "Wait_1", "Wa", "steps[1].name: Invalid step name 'Wa'"),
    Rule("128 at most", DOCUMENT_PAGE, "Wait_1", "W" * 129, "Invalid step name"),
    Rule("without spaces", DOCUMENT_PAGE, "Wait_1", "Wait 1", "Invalid step name 'Wait 1'"),
    Rule("without hyphens", DOCUMENT_PAGE, "Wait_1", "Wait-1", "Invalid step name 'Wait-1'"),
    Rule(
        "a unique name",
        DOCUMENT_PAGE,
        "Wait_1",
        "Launch",
        "steps[1].name: The step name 'Launch' is not unique.",
    ),
    Rule(
        "a step needs an action",
        DOCUMENT_PAGE,
        "    action: WaitForAction\n",
        "",
        "steps[1] 'Wait_1': The key 'action' is required.",
    ),
    Rule(
        "a supported one",
        ACTIONS_PAGE,
        "WaitForAction",
        "CopyImage",
        "steps[1] 'Wait_1'.action: The action 'CopyImage' is not supported.",
    ),
    Rule(
        "in letters of the right case",
        ACTIONS_PAGE,
        "WaitForAction",
        "waitForAction",
        "The action 'waitForAction' is not supported.",
    ),
    Rule(
        "there is no next",
        DOCUMENT_PAGE,
        STEP,
        f"{STEP}    next: Terminate\n",
        "steps[1] 'Wait_1': The key 'next' is not supported.",
    ),
    Rule(
        "a step's description is not empty",
        DOCUMENT_PAGE,
        "description: Launch it.",
        'description: ""',
        "steps[0] 'Launch'.description: The value must be a string that is not empty.",
    ),
    Rule(
        "nor longer than 1,024",
        DOCUMENT_PAGE,
        "Launch it.",
        "a" * 1025,
        "between 1 and 1024 characters",
    ),
    Rule(
        "onFailure",
        DOCUMENT_PAGE,
        "onFailure: Abort",
        "onFailure: Retry",
        "steps[0] 'Launch'.onFailure: The value must be Abort or Continue.",
    ),
    Rule(
        "rollbackEnabled",
        DOCUMENT_PAGE,
        "rollbackEnabled: true",
        "rollbackEnabled: 1",
        "rollbackEnabled: The value must be true, false or a reference",
    ),
    Rule(
        "rollbackEnabled may be a reference, to something that exists",
        DOCUMENT_PAGE,
        "rollbackEnabled: true",
        "rollbackEnabled: $.parameters.other",
        "names a parameter that is not declared",
    ),
    Rule("a time-out of 1", DOCUMENT_PAGE, "timeoutSeconds: 900", "timeoutSeconds: 0", "between 1"),
    Rule("true is no time-out", DOCUMENT_PAGE, "Seconds: 900", "Seconds: true", "be an integer"),
    Rule("text is none", DOCUMENT_PAGE, "Seconds: 900", 'Seconds: "900"', "be an integer"),
    Rule(
        "24 hours at most",
        DOCUMENT_PAGE,
        STEP,
        f"{STEP}    timeoutSeconds: 86401\n",
        "steps[1] 'Wait_1'.timeoutSeconds: The value must be an integer between 1 and 86400.",
    ),
    Rule(
        "and less for most actions",
        ACTIONS_PAGE,
        "timeoutSeconds: 900",
        "timeoutSeconds: 43201",
        "between 1 and 43200",
    ),
    Rule(
        "a required input",
        ACTIONS_PAGE,
        "      waitFor: ssmAgent",
        "      healthCheck: RUNNING",
        "steps[0] 'Launch'.inputs: The input 'waitFor' is required by LaunchInstance.",
    ),
    Rule(
        "an unknown input",
        ACTIONS_PAGE,
        "waitFor: ssmAgent",
        "waitFor: ssmAgent\n      instanceType: t3.micro",
        "The input 'instanceType' is not supported by LaunchInstance.",
    ),
    Rule(
        "an input twice",
        ACTIONS_PAGE,
        "      instanceId.$:",
        "      instanceId: i-1\n      instanceId.$:",
        "The input 'instanceId' is given twice.",
    ),
    Rule(
        "inputs are a mapping",
        DOCUMENT_PAGE,
        "    inputs:\n      waitFor: ssmAgent",
        "    inputs: ssmAgent",
        "inputs: The inputs must be a mapping",
    ),
    Rule(
        "a reference needs the chaining indicator",
        VARIABLES_PAGE,
        "instanceId.$:",
        "instanceId:",
        "must have a name that ends in '.$'",
    ),
    Rule(
        "the chaining indicator needs a reference",
        VARIABLES_PAGE,
        "instanceId.$: $.stepOutputs.Launch.instanceId",
        "instanceId.$: i-1234567890abcdef0",
        "'i-1234567890abcdef0' is not a reference.",
    ),
    Rule(
        "a reference to a later step",
        DOCUMENT_PAGE,
        "instanceId.$: $.stepOutputs.Launch.",
        "instanceId.$: $.stepOutputs.Terminate.",
        "names a step that does not come before",
    ),
    Rule(
        "a reference to a step without its output",
        VARIABLES_PAGE,
        "instanceId.$: $.stepOutputs.Launch.instanceId",
        "instanceId.$: $.stepOutputs.Launch",
        "must name an output of the step 'Launch'",
    ),
    Rule(
        "a reference to a parameter that is not declared",
        DOCUMENT_PAGE,
        "value: $.parameters.wait",
        "value: $.parameters.Wait",
        "'$.parameters.Wait' names a parameter that is not declared.",
    ),
    Rule(
        "a reference to an unknown system variable",
        VARIABLES_PAGE,
        "value: $.parameters.wait",
        "value: $.imagebuilder.weather",
        "names a system variable that does not exist",
    ),
    Rule(
        "a reference to an unknown structure",
        VARIABLES_PAGE,
        "value: $.parameters.wait",
        "value: $.inputs.wait",
        "must start with $.parameters",
    ),
    Rule(
        "a reference inside text",
        VARIABLES_PAGE,
        "    action: WaitForAction\n",
        "    action: WaitForAction\n    inputs:\n      payload: 'is {{ $.stepOutputs.Nope.x }}'\n",
        "names a step that does not come before",
    ),
    Rule(
        "an output's reference",
        DOCUMENT_PAGE,
        "    value: $.stepOutputs.Launch.instanceId",
        "    value: $.stepOutputs.Start.instanceId",
        "outputs[0].value: '$.stepOutputs.Start.instanceId' names a step",
    ),
    Rule(
        "an output needs a value",
        DOCUMENT_PAGE,
        "  - name: instance\n    value: $.stepOutputs.Launch.instanceId\n",
        "  - name: instance\n",
        "outputs[0]: The key 'value' is required.",
    ),
    Rule(
        "output names are unique",
        DOCUMENT_PAGE,
        "outputs:\n",
        "outputs:\n  - {name: instance, value: a}\n",
        "outputs[1].name: The output name 'instance' is not unique.",
    ),
    Rule(
        "an unknown comparison",
        DOCUMENT_PAGE,
        "booleanEquals: true",
        "boolEquals: true",
        "if: A condition needs one of and, or, not, booleanEquals",
    ),
    Rule(
        "two comparisons at once",
        DOCUMENT_PAGE,
        "      booleanEquals: true",
        "      booleanEquals: true\n      stringEquals: a",
        "A condition needs one of",
    ),
    Rule(
        "a comparison with a value of another type",
        DOCUMENT_PAGE,
        "booleanEquals: true",
        "booleanEquals: yes please",
        "booleanEquals cannot compare with 'yes please'",
    ),
    Rule(
        "true is no number",
        DOCUMENT_PAGE,
        "booleanEquals: true",
        "numberEquals: true",
        "numberEquals cannot compare with 'True'",
    ),
    Rule(
        "a comparison without its value",
        DOCUMENT_PAGE,
        "      value: $.parameters.wait\n",
        "",
        "if: The key 'value' is required.",
    ),
    Rule(
        "and stands by itself",
        DOCUMENT_PAGE,
        IF,
        IF.replace("    if:\n", "    if:\n      and: []\n"),
        "'and' must stand by itself",
    ),
    Rule("or of nothing", DOCUMENT_PAGE, IF, "    if:\n      or: []\n", "must not be empty"),
    Rule(
        "a condition inside not",
        DOCUMENT_PAGE,
        IF,
        "    if:\n      not: {and: [{stringEquals: a, value: $.parameters.nope}]}\n",
        "if.not.and[0].value: '$.parameters.nope' names a parameter",
    ),
    Rule(
        "components do not run in distribution workflows",
        ACTIONS_PAGE,
        "WaitForAction",
        "ExecuteComponents",
        "cannot be used in a workflow of type DISTRIBUTION",
        "DISTRIBUTION",
    ),
    Rule(
        "scan findings are for test workflows",
        ACTIONS_PAGE,
        "WaitForAction",
        "CollectImageScanFindings",
        "cannot be used in a workflow of type BUILD",
    ),
    Rule(
        "metadata is for build workflows",
        ACTIONS_PAGE,
        "WaitForAction",
        "CollectImageMetadata",
        "cannot be used in a workflow of type TEST",
        "TEST",
    ),
    Rule(
        "images are distributed in distribution workflows",
        ACTIONS_PAGE,
        "WaitForAction",
        "ApplyImageConfigurations",
        "cannot be used in a workflow of type BUILD",
    ),
    Rule("a key twice", DOCUMENT_PAGE, "name: sample", "name: a\nname: b", "'name' occurs twice"),
    Rule("a key that is no text", DOCUMENT_PAGE, "name: sample", "1: b", "must be a string"),
    Rule("broken YAML", DOCUMENT_PAGE, "name: sample", "name: [", "is not valid YAML"),
    Rule("a tag that runs code", DOCUMENT_PAGE, "sample", "!!python/name:os.system", "not valid"),
    Rule("a list for a document", DOCUMENT_PAGE, VALID, "- a", "The document must be a mapping"),
    Rule("an empty document", DOCUMENT_PAGE, VALID, " ", "The document must be a mapping"),
    Rule("two documents", DOCUMENT_PAGE, VALID, f"{VALID}---\na: 1", "not valid YAML"),
    Rule("deep nesting", DOCUMENT_PAGE, VALID, "[" * 8000, "The document is not valid YAML"),
    Rule(
        "nesting that can be read but not walked",
        DOCUMENT_PAGE,
        "name: sample",
        f"name: {'[' * 80}{']' * 80}",
        "nested too deeply",
    ),
    Rule(
        "aliases that multiply",
        DOCUMENT_PAGE,
        VALID,
        "\n".join(
            ["a0: &a0 [x, x, x, x, x, x, x, x]"]
            + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 9)]
        ),
        "repeats too much",
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.title)
def test_a_document_that_breaks_a_rule_is_refused_with_the_place(rule: Rule) -> None:
    assert rule.old in VALID
    parse_document(VALID, "BUILD")
    with pytest.raises(DocumentError) as caught:
        parse_document(VALID.replace(rule.old, rule.new, 1), cast("WorkflowType", rule.type))
    assert rule.error in str(caught.value)


def test_a_workflow_needs_a_step() -> None:
    for document in ("schemaVersion: 1.0", "schemaVersion: 1.0\nsteps: []"):
        with pytest.raises(DocumentError, match="at least one step"):
            parse_document(document, "BUILD")


def test_limits_are_reached_but_not_passed() -> None:
    many = VALID.replace("parameters:\n", "parameters:\n" + parameters(24))
    many = many.replace("steps:\n", "steps:\n" + steps(12))
    document = parse_document(many, "TEST")
    assert (len(document.parameters), len(document.steps)) == (25, 15)


@pytest.mark.parametrize(
    "condition",
    [
        "{stringEquals: AMI, value: $.imagebuilder.imageType}",
        "{numberGreaterThanEquals: 1.5, value: $.stepOutputs.Launch.count}",
        "{and: [{booleanEquals: true, value: $.parameters.wait}]}",
        "{not: {or: [{numberLessThan: 3, value: 2}, {stringEquals: a, value: b}]}}",
        "{stringEquals: $.workflowOutputs.other, value: $.parameters.wait}",
    ],
)
def test_conditions_that_the_page_allows(condition: str) -> None:
    parse_document(VALID.replace(IF, f"    if: {condition}\n"), "BUILD")


def test_a_container_workflow_does_not_distribute_amis() -> None:
    """Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/wfdoc-step-actions.html"""
    document = """
        schemaVersion: 1.0
        steps:
          - {name: One, action: DistributeContainerImage, inputs: {instanceId: i-1}}
          - {name: Two, action: DistributeImage}
    """
    with pytest.raises(DocumentError, match="either container images or AMIs"):
        parse_document(document, "DISTRIBUTION")


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_each_action_is_taken_with_its_required_inputs_in_its_stages(name: str) -> None:
    action = ACTIONS[name]
    inputs = ", ".join(f"{key}.$: $.parameters.any" for key in sorted(action.required))
    document = (
        "{schemaVersion: 1.0, parameters: [{name: any, type: string}], "
        f"steps: [{{name: One, action: {name}, inputs: {{{inputs}}}}}]}}"
    )
    for stage in ("BUILD", "TEST", "DISTRIBUTION"):
        if stage in action.stages:
            parse_document(document, cast("WorkflowType", stage))
        else:
            with pytest.raises(DocumentError, match="cannot be used"):
                parse_document(document, cast("WorkflowType", stage))


def test_parameters_as_getworkflow_gives_them() -> None:
    extra = """
  - {name: text, type: string, default: a b}
  - {name: count, type: integer, default: -3}
  - {name: zones, type: stringList, default: [a, b]}
  - {name: open, type: string}
"""
    document = parse_document(VALID.replace("parameters:\n", f"parameters:{extra}"), "BUILD")
    assert [parameter.detail() for parameter in document.parameters] == [
        {"name": "text", "type": "string", "defaultValue": ["a b"]},
        {"name": "count", "type": "integer", "defaultValue": ["-3"]},
        {"name": "zones", "type": "stringList", "defaultValue": ["a", "b"]},
        {"name": "open", "type": "string"},
        {
            "name": "wait",
            "type": "boolean",
            "defaultValue": ["true"],
            "description": "Whether to wait.",
        },
    ]


@pytest.mark.parametrize(("name", "type_"), [("build-image", "BUILD"), ("test-image", "TEST")])
def test_the_notebooks_own_documents_follow_the_rules(name: str, type_: WorkflowType) -> None:
    document = parse_document((WORKFLOWS / f"{name}.yaml").read_text(encoding="utf-8"), type_)
    assert document.outputs
    assert document.parameters
    assert len(document.steps) >= 4


@settings(max_examples=150)
@given(st.text(max_size=200))
def test_any_text_is_refused_or_read_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(DocumentError):
        parse_document(text, "BUILD")


@settings(max_examples=150)
@given(st.integers(0, len(VALID) - 1), st.text(max_size=3))
def test_a_damaged_document_is_refused_or_read_and_nothing_else_happens(at: int, by: str) -> None:
    with contextlib.suppress(DocumentError):
        parse_document(VALID[:at] + by + VALID[at + 1 :], "BUILD")
