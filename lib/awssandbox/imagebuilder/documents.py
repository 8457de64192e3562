"""Workflow documents: read safely, and held to Image Builder's rules.

The rules, each from the page that states it:

- structure, names, lengths, `if`: DOCUMENT_PAGE
- step actions, their inputs, stages and longest time-outs: ACTIONS_PAGE
- references: VARIABLES_PAGE
- 15 steps, 25 parameters, 1,024 characters in a parameter's value: QUOTAS_PAGE

Where two of them disagree the stricter one holds here: `timeoutSeconds` ends at 86,400 although
two actions are said to allow more, a parameter needs its `type`, `CollectImageMetadata` is for
build workflows, an input that holds a reference needs ``.$`` at the end of its name (some of AWS's
own examples lack it). AWS does not document which of the rules on references are checked when a
workflow is created and which only when it runs; here all are checked at creation. The values of
inputs are not checked, except for references, nor are the names of a step's outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import yaml

DOCUMENT_PAGE: Final = (
    "https://docs.aws.amazon.com/imagebuilder/latest/userguide/image-workflow-create-document.html"
)
ACTIONS_PAGE: Final = (
    "https://docs.aws.amazon.com/imagebuilder/latest/userguide/wfdoc-step-actions.html"
)
VARIABLES_PAGE: Final = (
    "https://docs.aws.amazon.com/imagebuilder/latest/userguide/wfdoc-dynamic-vars.html"
)
QUOTAS_PAGE: Final = "https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html"

MAXIMUM_STEPS: Final = 15
MAXIMUM_PARAMETERS: Final = 25
MAXIMUM_PARAMETER_VALUE: Final = 1024
MAXIMUM_TIMEOUT_SECONDS: Final = 86_400
MAXIMUM_YAML_NODES: Final = 20_000

WorkflowType = Literal["BUILD", "TEST", "DISTRIBUTION"]


class DocumentError(ValueError):
    """A document that breaks a rule: where, and what is valid there."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}" if place else what)
        self.place = place
        self.what = what


@dataclass(frozen=True, slots=True)
class Action:
    """A step action: its inputs, the stages that it runs in, its longest time-out in seconds."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset({"BUILD", "TEST", "DISTRIBUTION"})
    maximum_seconds: int = 43_200


_INSTANCE: Final = frozenset({"instanceId"})
_DISTRIBUTION: Final = frozenset({"DISTRIBUTION"})

ACTIONS: Final[Mapping[str, Action]] = {
    "ApplyImageConfigurations": Action(
        frozenset({"distributedImages"}), frozenset({"configurations"}), _DISTRIBUTION
    ),
    "BootstrapInstanceForContainer": Action(_INSTANCE),
    "CollectImageMetadata": Action(_INSTANCE, stages=frozenset({"BUILD"})),
    "CollectImageScanFindings": Action(_INSTANCE, stages=frozenset({"TEST"})),
    "CreateImage": Action(_INSTANCE, maximum_seconds=259_200),
    "CreateImageFromIso": Action(_INSTANCE),
    "DistributeContainerImage": Action(_INSTANCE, stages=_DISTRIBUTION),
    "DistributeImage": Action(frozenset(), frozenset({"distributions"}), _DISTRIBUTION),
    "ExecuteComponents": Action(
        _INSTANCE, stages=frozenset({"BUILD", "TEST"}), maximum_seconds=86_400
    ),
    "ExecuteStateMachine": Action(
        frozenset({"stateMachineArn"}), frozenset({"input"}), maximum_seconds=86_400
    ),
    "LaunchInstance": Action(
        frozenset({"waitFor"}),
        frozenset({"imageIdOverride", "instanceTypesOverride", "healthCheck"}),
    ),
    "ModifyImageAttributes": Action(
        frozenset({"distributedImages"}), frozenset({"attributes"}), _DISTRIBUTION, 10_800
    ),
    "RegisterImage": Action(
        frozenset(),
        frozenset(
            {
                "architecture",
                "blockDeviceMapping",
                "bootMode",
                "description",
                "enaSupport",
                "imageLocation",
                "imdsSupport",
                "includeSnapshotTags",
                "kernelId",
                "ramdiskId",
                "rootDeviceName",
                "sriovNetSupport",
                "tpmSupport",
                "uefiData",
                "virtualizationType",
            }
        ),
    ),
    "RunCommand": Action(
        frozenset({"instanceId", "documentName"}), frozenset({"parameters", "documentVersion"})
    ),
    "RunSysPrep": Action(_INSTANCE),
    "SanitizeInstance": Action(_INSTANCE),
    "TerminateInstance": Action(_INSTANCE, frozenset({"waitForTermination"})),
    "WaitForAction": Action(
        frozenset(),
        frozenset({"snsTopicArn", "lambdaFunctionName", "payload"}),
        maximum_seconds=604_800,
    ),
    "WaitForSSMAgent": Action(_INSTANCE, maximum_seconds=10_800),
}
"""Every supported step action. Source: ACTIONS_PAGE."""

_AMI_DISTRIBUTION: Final = ("DistributeImage", "ModifyImageAttributes", "ApplyImageConfigurations")

SYSTEM_VARIABLES: Final = frozenset(
    {
        "cloudWatchLogGroup",
        "cloudWatchLogStream",
        "collectImageMetadata",
        "collectImageScanFindings",
        "dateTime",
        "imageBuildNumber",
        "imageId",
        "imageName",
        "imageType",
        "imageVersionNumber",
        "instanceProfileName",
        "platform",
        "s3Logs",
        "securityGroups",
        "sourceImageARN",
        "subnetId",
        "terminateInstanceOnFailure",
        "workflowPhase",
        "workingDirectory",
    }
)
"""What ``$.imagebuilder.`` may name. Source: VARIABLES_PAGE (`dateTime`: its example)."""

COMPARISONS: Final[Mapping[str, tuple[type, ...]]] = {
    "booleanEquals": (bool,),
    "numberEquals": (int, float),
    "numberGreaterThan": (int, float),
    "numberGreaterThanEquals": (int, float),
    "numberLessThan": (int, float),
    "numberLessThanEquals": (int, float),
    "stringEquals": (str,),
}
"""The comparison operators of `if`, with the types of their operands. Source: DOCUMENT_PAGE."""

_STEP_NAME = re.compile(r"[A-Za-z0-9_]{3,128}")
_INTERPOLATION = re.compile(r"\{\{\s*(\$\..*?)\s*\}\}", re.DOTALL)
_TOP_KEYS = ("name", "description", "schemaVersion", "parameters", "steps", "outputs")
_PARAMETER_KEYS = ("name", "type", "default", "description")
_STEP_KEYS = (
    "name",
    "action",
    "description",
    "if",
    "inputs",
    "onFailure",
    "rollbackEnabled",
    "timeoutSeconds",
)
_OUTPUT_KEYS = ("name", "value")
_CONDITION_WORDS = ("and", "or", "not")


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input parameter of a workflow; `default` None: a value is required when it runs."""

    name: str
    type: str
    default: tuple[str, ...] | None
    description: str | None

    def detail(self) -> dict[str, Any]:
        """As GetWorkflow gives it (``WorkflowParameterDetail``)."""
        detail: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.default is not None:
            detail["defaultValue"] = list(self.default)
        if self.description is not None:
            detail["description"] = self.description
        return detail


@dataclass(frozen=True, slots=True)
class Document:
    """A valid workflow document, as far as anything else needs it."""

    parameters: tuple[Parameter, ...]
    steps: tuple[str, ...]
    outputs: tuple[str, ...]


def parse_document(text: str, workflow_type: WorkflowType) -> Document:
    """The workflow document in `text`, for a workflow of `workflow_type`.

    Raises DocumentError naming the first place that breaks a rule (see the module's docstring).
    """
    document = _mapping(_load(text), "", "The document")
    _keys(document, _TOP_KEYS, "")
    if str(document.get("schemaVersion")) != "1.0":
        raise DocumentError("", "Invalid schema version. Supported versions include: 1.0.")
    for key in ("name", "description"):
        if key in document:
            _string(document[key], key)
    parameters = _parameters(document.get("parameters", []))
    names = frozenset(parameter.name for parameter in parameters)
    steps = _steps(document.get("steps"), workflow_type, names)
    outputs = _outputs(document.get("outputs", []), _References(names, frozenset(steps)))
    return Document(parameters, steps, outputs)


def _load(text: str) -> object:
    try:
        _check_keys(yaml.compose(text, Loader=yaml.SafeLoader))
        loaded: object = yaml.safe_load(text)
    except DocumentError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise DocumentError(place, f"The document is not valid YAML: {problem}.") from None
    except (RecursionError, ValueError, OverflowError):
        raise DocumentError("", "The document is not valid YAML.") from None
    # Aliases make a short text stand for a huge tree, so the tree is counted before it is read.
    for count, _ in enumerate(_walk(loaded, "", 0)):
        if count > MAXIMUM_YAML_NODES:
            raise DocumentError("", "The document is nested too deeply or repeats too much.")
    return loaded


def _check_keys(root: object) -> None:
    """Raises DocumentError for a key that comes twice in one mapping, or that is not text."""
    waiting = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                place = f"line {key.start_mark.line + 1}"
                if key.tag != "tag:yaml.org,2002:str":
                    raise DocumentError(place, f"The key '{key.value}' must be a string.")
                if key.value in keys:
                    raise DocumentError(place, f"The key '{key.value}' occurs twice.")
                keys.add(key.value)
                waiting.append(value)


def _walk(value: object, place: str, depth: int) -> Iterator[tuple[str, object]]:
    """Every value inside `value`, with its place; raises DocumentError beyond 50 levels."""
    if depth > 50:
        raise DocumentError("", "The document is nested too deeply or repeats too much.")
    yield place, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{place}.{key}" if place else str(key), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{place}[{index}]", depth + 1)


def _mapping(value: object, place: str, noun: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DocumentError(place, f"{noun} must be a mapping of keys to values.")
    return cast("dict[str, Any]", value)


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise DocumentError(place, f"'{place}' must be a list.")
    return value


def _string(value: object, place: str, longest: int | None = None) -> str:
    if not isinstance(value, str) or not value:
        raise DocumentError(place, "The value must be a string that is not empty.")
    if longest is not None and len(value) > longest:
        raise DocumentError(place, f"The value must have between 1 and {longest} characters.")
    return value


def _keys(value: Mapping[str, Any], allowed: tuple[str, ...], place: str) -> None:
    for key in value:
        if key not in allowed:
            raise DocumentError(
                place, f"The key '{key}' is not supported. Supported keys: {', '.join(allowed)}."
            )


def _required(value: Mapping[str, Any], key: str, place: str) -> Any:
    if key not in value:
        raise DocumentError(place, f"The key '{key}' is required.")
    return value[key]


def _parameters(value: object) -> tuple[Parameter, ...]:
    items = _list(value, "parameters")
    if len(items) > MAXIMUM_PARAMETERS:
        raise DocumentError(
            "parameters", f"A workflow can have up to {MAXIMUM_PARAMETERS} parameters."
        )
    parameters: list[Parameter] = []
    for index, item in enumerate(items):
        place = f"parameters[{index}]"
        fields = _mapping(item, place, "A parameter")
        _keys(fields, _PARAMETER_KEYS, place)
        name = _string(_required(fields, "name", place), f"{place}.name", 128)
        if any(name == other.name for other in parameters):
            raise DocumentError(f"{place}.name", f"The parameter name '{name}' is not unique.")
        kind = _required(fields, "type", place)
        description = fields.get("description")
        if description is not None:
            _string(description, f"{place}.description", 1024)
        default = _default(fields["default"], kind, place) if "default" in fields else None
        parameters.append(Parameter(name, _parameter_type(kind, place), default, description))
    return tuple(parameters)


def _parameter_type(kind: object, place: str) -> str:
    if not isinstance(kind, str) or kind not in ("string", "integer", "boolean", "stringList"):
        raise DocumentError(
            f"{place}.type",
            f"The type '{kind}' is not supported. "
            "Supported types: string, integer, boolean, stringList.",
        )
    return kind


def _default(value: object, kind: object, place: str) -> tuple[str, ...]:
    """The default as GetWorkflow gives it: a list of texts."""
    kind = _parameter_type(kind, place)
    texts: tuple[str, ...] | None = None
    if kind == "string" and isinstance(value, str):
        texts = (value,)
    elif kind == "boolean" and isinstance(value, bool):
        texts = ("true" if value else "false",)
    elif kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
        texts = (str(value),)
    elif (
        kind == "stringList"
        and isinstance(value, list)
        and all(isinstance(item, str) for item in value)
    ):
        texts = tuple(value)
    if texts is None:
        raise DocumentError(f"{place}.default", f"The default must be of the type '{kind}'.")
    if any(len(text) > MAXIMUM_PARAMETER_VALUE for text in texts):
        raise DocumentError(
            f"{place}.default",
            f"A parameter value can have up to {MAXIMUM_PARAMETER_VALUE:,} characters.",
        )
    return texts


@dataclass(frozen=True, slots=True)
class _References:
    """What a reference may name at one place: the parameters, and the steps before it."""

    parameters: frozenset[str]
    steps: frozenset[str]

    def check(self, path: str, place: str) -> None:
        """Raises DocumentError unless `path` names something that exists here."""
        node, _, rest = path.removeprefix("$.").partition(".")
        if not path.startswith("$.") or not rest:
            raise DocumentError(
                place,
                f"'{path}' is not a reference. Use $.parameters.NAME, "
                "$.stepOutputs.STEP.OUTPUT, $.workflowOutputs.NAME or $.imagebuilder.NAME.",
            )
        if node == "parameters":
            if rest not in self.parameters:
                raise DocumentError(place, f"'{path}' names a parameter that is not declared.")
        elif node == "stepOutputs":
            step, _, output = rest.partition(".")
            if not output:
                raise DocumentError(place, f"'{path}' must name an output of the step '{step}'.")
            if step not in self.steps:
                raise DocumentError(place, f"'{path}' names a step that does not come before.")
        elif node == "imagebuilder":
            if rest not in SYSTEM_VARIABLES:
                raise DocumentError(place, f"'{path}' names a system variable that does not exist.")
        elif node != "workflowOutputs":
            raise DocumentError(
                place,
                f"'{path}' must start with $.parameters, $.stepOutputs, $.workflowOutputs "
                "or $.imagebuilder.",
            )

    def check_text(self, text: str, place: str) -> None:
        """Check the references inside double braces in `text`."""
        for path in _INTERPOLATION.findall(text):
            self.check(path, place)


def _steps(
    value: object, workflow_type: WorkflowType, parameters: frozenset[str]
) -> tuple[str, ...]:
    items = [] if value is None else _list(value, "steps")
    if not items:
        raise DocumentError("steps", "A workflow needs at least one step.")
    if len(items) > MAXIMUM_STEPS:
        raise DocumentError("steps", f"A workflow can have up to {MAXIMUM_STEPS} steps.")
    names: list[str] = []
    actions: set[str] = set()
    for index, item in enumerate(items):
        place = f"steps[{index}]"
        step = _mapping(item, place, "A step")
        name = _required(step, "name", place)
        if not isinstance(name, str) or not _STEP_NAME.fullmatch(name):
            raise DocumentError(
                f"{place}.name",
                f"Invalid step name '{name}'. Use 3 to 128 letters, digits and underscores.",
            )
        if name in names:
            raise DocumentError(f"{place}.name", f"The step name '{name}' is not unique.")
        place = f"steps[{index}] '{name}'"
        references = _References(parameters, frozenset(names))
        actions.add(_step(step, place, workflow_type, references))
        names.append(name)
    if "DistributeContainerImage" in actions and actions.intersection(_AMI_DISTRIBUTION):
        raise DocumentError(
            "steps",
            "A workflow distributes either container images or AMIs: DistributeContainerImage "
            f"cannot come with {', '.join(_AMI_DISTRIBUTION)}.",
        )
    return tuple(names)


def _step(
    step: Mapping[str, Any], place: str, workflow_type: WorkflowType, references: _References
) -> str:
    """Check one step; gives its action's name."""
    _keys(step, _STEP_KEYS, place)
    name = _required(step, "action", place)
    action = ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise DocumentError(
            f"{place}.action",
            f"The action '{name}' is not supported. Supported actions: {', '.join(ACTIONS)}.",
        )
    if workflow_type not in action.stages:
        raise DocumentError(
            f"{place}.action",
            f"The action '{name}' cannot be used in a workflow of type {workflow_type}.",
        )
    if "description" in step:
        _string(step["description"], f"{place}.description", 1024)
    if "if" in step:
        _condition(step["if"], f"{place}.if", references)
    _inputs(step.get("inputs", {}), str(name), action, f"{place}.inputs", references)
    if step.get("onFailure", "Abort") not in ("Abort", "Continue"):
        raise DocumentError(f"{place}.onFailure", "The value must be Abort or Continue.")
    _rollback(step.get("rollbackEnabled", True), f"{place}.rollbackEnabled", references)
    if "timeoutSeconds" in step:
        _timeout(step["timeoutSeconds"], action, f"{place}.timeoutSeconds")
    return str(name)


def _inputs(value: object, name: str, action: Action, place: str, references: _References) -> None:
    inputs = _mapping(value, place, "The inputs")
    given: set[str] = set()
    for key in inputs:
        bare = key.removesuffix(".$")
        if bare not in action.required | action.optional:
            known = ", ".join(sorted(action.required | action.optional))
            raise DocumentError(
                place, f"The input '{bare}' is not supported by {name}. Supported inputs: {known}."
            )
        if bare in given:
            raise DocumentError(place, f"The input '{bare}' is given twice.")
        given.add(bare)
    for key in sorted(action.required - given):
        raise DocumentError(place, f"The input '{key}' is required by {name}.")
    for where, inner in _walk(inputs, place, 0):
        if not isinstance(inner, str):
            if where.endswith(".$"):
                raise DocumentError(where, "The value must be a reference ($.…).")
        elif where.endswith(".$"):
            references.check(inner, where)
        elif inner.startswith("$."):
            raise DocumentError(
                where,
                f"An input that refers to '{inner}' must have a name that ends in '.$'.",
            )
        else:
            references.check_text(inner, where)


def _rollback(value: object, place: str, references: _References) -> None:
    if isinstance(value, str):
        references.check(value, place)
    elif not isinstance(value, bool):
        raise DocumentError(place, "The value must be true, false or a reference ($.…).")


def _timeout(value: object, action: Action, place: str) -> None:
    longest = min(action.maximum_seconds, MAXIMUM_TIMEOUT_SECONDS)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= longest:
        raise DocumentError(place, f"The value must be an integer between 1 and {longest}.")


def _condition(value: object, place: str, references: _References) -> None:
    condition = _mapping(value, place, "A condition")
    words = [word for word in _CONDITION_WORDS if word in condition]
    if words:
        if len(condition) != 1:
            raise DocumentError(place, f"'{words[0]}' must stand by itself.")
        inner = condition[words[0]]
        if words[0] == "not":
            _condition(inner, f"{place}.not", references)
            return
        members = _list(inner, f"{place}.{words[0]}")
        if not members:
            raise DocumentError(f"{place}.{words[0]}", "The list must not be empty.")
        for index, member in enumerate(members):
            _condition(member, f"{place}.{words[0]}[{index}]", references)
        return
    _comparison(condition, place, references)


def _comparison(condition: Mapping[str, Any], place: str, references: _References) -> None:
    operators = [key for key in condition if key in COMPARISONS]
    if len(operators) != 1:
        raise DocumentError(
            place,
            f"A condition needs one of {', '.join((*_CONDITION_WORDS, *COMPARISONS))}.",
        )
    operator = operators[0]
    _keys(condition, (operator, "value"), place)
    against = condition[operator]
    if isinstance(against, str) and against.startswith("$."):
        references.check(against, f"{place}.{operator}")
    else:
        types = COMPARISONS[operator]
        if not isinstance(against, types) or (isinstance(against, bool) and bool not in types):
            raise DocumentError(
                f"{place}.{operator}", f"{operator} cannot compare with '{against}'."
            )
    value = _required(condition, "value", place)
    if isinstance(value, str) and value.startswith("$."):
        references.check(value, f"{place}.value")


def _outputs(value: object, references: _References) -> tuple[str, ...]:
    names: list[str] = []
    for index, item in enumerate(_list(value, "outputs")):
        place = f"outputs[{index}]"
        output = _mapping(item, place, "An output")
        _keys(output, _OUTPUT_KEYS, place)
        name = _string(_required(output, "name", place), f"{place}.name")
        if name in names:
            raise DocumentError(f"{place}.name", f"The output name '{name}' is not unique.")
        text = _string(_required(output, "value", place), f"{place}.value")
        if text.startswith("$."):
            references.check(text, f"{place}.value")
        else:
            references.check_text(text, f"{place}.value")
        names.append(name)
    return tuple(names)
