"""The parameters of a run: one model that validates, and that the notebooks and ``--help`` share.

What a notebook leaves at None is taken from the run (its ledger), or from the default by target.
"""

from __future__ import annotations

import ast
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from keyrunbook.confidential import sensitive, sensitive_description
from keyrunbook.errors import ParameterError

Target = Literal["sandbox", "aws"]

EVENT_WAIT_SECONDS = {"sandbox": 30, "aws": 900}
"""CloudTrail: "about 5 minutes on average", not guaranteed; three times that on AWS.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html
"""

SETTLE_SECONDS = {"sandbox": 5, "aws": 120}
"""KMS shows changes "usually within a few seconds, in some cases after several minutes".

Source: https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html
"""

OUTPUTS = "KEYRUNBOOK_OUTPUTS"
"""The environment variable that names the outputs folder where a notebook is given none."""

OF_ONE_CALL = frozenset({"run_id", "outputs_dir", "approve", "read_only"})
"""Parameters that say which run it is and what is done with it now, not what it is made of."""

_PATH = r"^[^\x00]+$"


def _not_sensitive(text: str) -> str:
    if found := sensitive(text):
        raise ValueError(
            f"looks like {found}; names, tags and descriptions may end up in billing "
            "and diagnostic logs"
        )
    return text


class Parameters(BaseModel):
    """All parameters of the seven notebooks. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    run_id: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
            examples=["20260131-images"],
            description="name of the run and of its folder; unset: the current run, or a new one",
        ),
    ] = None
    outputs_dir: Annotated[
        str | None,
        Field(
            pattern=_PATH,
            examples=["~/runs"],
            description="where the runs' folders are; unset: outputs/",
        ),
    ] = None
    target: Annotated[
        Target | None,
        Field(examples=["aws"], description="the embedded sandbox, or a real AWS account"),
    ] = None
    region: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$",
            examples=["eu-central-1"],
            description="AWS Region; unset: the target's",
        ),
    ] = None
    profile: Annotated[
        str | None,
        Field(
            min_length=1,
            examples=["images"],
            description="AWS SDK profile; only on the target aws",
        ),
    ] = None
    account: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{12}$",
            examples=["111122223333"],
            description="number of the account that the run is for: another is refused; unset: any",
        ),
    ] = None
    use_fips: Annotated[
        bool | None,
        Field(
            examples=[True],
            description="whether calls go to FIPS endpoints; unset: as the AWS SDK is configured",
        ),
    ] = None
    read_only: Annotated[
        bool,
        Field(
            examples=[True],
            description="an audit: whatever would change AWS is refused, and said",
        ),
    ] = False
    key_alias: Annotated[
        str,
        Field(
            pattern=r"^alias/[A-Za-z0-9/_-]{1,250}$",
            examples=["alias/images"],
            description="alias of the key, alias/… (not alias/aws/…); a key given by key_arn gets "
            "one where it is another than this",
        ),
    ] = "alias/imagebuilder-workflows"
    key_arn: Annotated[
        str | None,
        Field(
            pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$",
            examples=[
                "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
            ],
            description="ARN of an existing key to use; unset: a key is created",
        ),
    ] = None
    rotate_key: Annotated[
        bool | None,
        Field(
            examples=[True],
            description="whether the key's rotation is turned on; unset: of a key that the run "
            "makes",
        ),
    ] = None
    execution_role: Annotated[
        str,
        Field(
            pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/([!-~]+/)?)?[A-Za-z0-9_+=,.@-]{1,64}$",
            examples=["ImageBuilderExecutionRole"],
            description="name or ARN of the workflow execution role; made on the sandbox",
        ),
    ] = "ImageBuilderExecutionRole"
    workflow_name: Annotated[
        str,
        Field(
            pattern=r"^[-_A-Za-z0-9][-_A-Za-z0-9 ]{1,126}[-_A-Za-z0-9]$",
            examples=["encrypted-build"],
            description="name of the workflow",
        ),
    ] = "encrypted-build"
    workflow_version: Annotated[
        str,
        Field(
            pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
            examples=["1.0.0"],
            description="its semantic version, x.y.z",
        ),
    ] = "1.0.0"
    workflow_type: Annotated[
        Literal["BUILD", "TEST", "DISTRIBUTION"],
        Field(examples=["BUILD"], description="what the workflow is for"),
    ] = "BUILD"
    workflow_file: Annotated[
        str,
        Field(
            pattern=_PATH,
            examples=["workflows/build-image.yaml"],
            description="its document, a path relative to notebooks/",
        ),
    ] = "workflows/build-image.yaml"
    workflow_uri: Annotated[
        str | None,
        Field(
            pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f*?$]{1,1024}$",
            examples=["s3://bucket/folder/build-image.yaml"],
            description="its document in S3, in place of workflow_file",
        ),
    ] = None
    approve: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{64}$",
            examples=["0123456789abcdef" * 4],
            description="digest of the plan that may be applied; needed on AWS",
        ),
    ] = None
    event_wait_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            le=7200,
            examples=[900],
            description="longest wait for CloudTrail; unset: 30 or, on AWS, 900",
        ),
    ] = None
    lookup_calls: Annotated[
        int,
        Field(
            ge=1, le=100_000, examples=[240], description="most calls of one LookupEvents search"
        ),
    ] = 240
    settle_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            le=3600,
            examples=[120],
            description="longest wait until it is known whether a change was made; unset: 5 or, on "
            "AWS, 120",
        ),
    ] = None
    answer_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=3600,
            examples=[60],
            description="longest wait for the answer to one call; then it counts as lost",
        ),
    ] = 60
    start_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=3600,
            examples=[60],
            description="longest wait for the sandbox, and for the kernel, to start",
        ),
    ] = 60
    cell_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=86400,
            examples=[3600],
            description="longest time of a cell of runbook run, besides its wait for CloudTrail",
        ),
    ] = 3600
    pending_window_days: Annotated[
        int,
        Field(
            ge=7,
            le=30,
            examples=[30],
            description="days until a key scheduled for deletion is deleted",
        ),
    ] = 30
    run_build: Annotated[
        bool | None,
        Field(
            examples=[False],
            description="whether a build exercises the execution role; unset: on the sandbox",
        ),
    ] = None
    build_recipe: Annotated[
        str | None,
        Field(
            pattern=r"^arn:aws[a-z-]*:imagebuilder:[a-z0-9-]+:[0-9]{12}:(image|container)-recipe/"
            r"[a-z0-9-_]+/[0-9]+\.[0-9]+\.[0-9]+$",
            examples=["arn:aws:imagebuilder:eu-central-1:111122223333:image-recipe/base/1.0.0"],
            description="ARN of the recipe that a build on AWS uses; only with run_build there",
        ),
    ] = None
    build_infrastructure: Annotated[
        str | None,
        Field(
            pattern=r"^arn:aws[a-z-]*:imagebuilder:[a-z0-9-]+:[0-9]{12}:"
            r"infrastructure-configuration/[a-z0-9-_]+$",
            examples=[
                "arn:aws:imagebuilder:eu-central-1:111122223333:infrastructure-configuration/base"
            ],
            description="ARN of the infrastructure configuration that a build on AWS uses",
        ),
    ] = None
    build_wait_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=3000,
            examples=[1800],
            description="longest wait, for each build on AWS, until it has used the workflow",
        ),
    ] = 1800
    revoke_by: Annotated[
        Literal["remove", "deny"],
        Field(
            examples=["deny"],
            description="what closes the role's paths: removing them, or an explicit Deny",
        ),
    ] = "remove"
    adopt_statements: Annotated[
        bool,
        Field(
            examples=[True],
            description="whether the run's key policy statement takes the place of those that "
            "somebody wrote by hand and that say the same; 06 gives them back",
        ),
    ] = False
    revoke_others: Annotated[
        bool,
        Field(
            examples=[True],
            description="whether remove also takes others' key policy statements for this role",
        ),
    ] = False
    delete_used_workflow: Annotated[
        bool,
        Field(
            examples=[True],
            description="whether a workflow goes that pipelines or running builds name",
        ),
    ] = False
    delete_used_key: Annotated[
        bool,
        Field(
            examples=[True],
            description="whether a key of this run is scheduled that others have used, too",
        ),
    ] = False
    tags: Annotated[
        dict[str, str],
        Field(
            max_length=40,
            examples=[{"team": "images"}],
            description="tags for what the run creates",
        ),
    ] = Field(default_factory=dict)

    @field_validator("key_alias")
    @classmethod
    def _not_reserved(cls, alias: str) -> str:
        if alias.startswith("alias/aws/"):
            raise ValueError("alias/aws/ is reserved for AWS managed keys")
        return alias

    @field_validator("key_alias", "workflow_name", "run_id", "execution_role")
    @classmethod
    def _plain_name(cls, name: str | None) -> str | None:
        return name if name is None else _not_sensitive(name)

    @field_validator("tags")
    @classmethod
    def _plain_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            shown = "a tag" if sensitive(key) else f"tag {key!r}"
            if not 1 <= len(key) <= 128 or len(value) > 256:
                raise ValueError(f"{shown}: keys have 1–128 characters, values up to 256")
            if key.lower().startswith(("aws:", "keyrunbook:")):
                raise ValueError(f"{shown}: aws: and keyrunbook: are reserved")
            for text in (key, value, f"{key}={value}"):
                try:
                    _not_sensitive(text)
                except ValueError as reason:
                    raise ValueError(f"{shown} {reason}") from None
        return tags

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Parameters:
        """The parameters in `values` (names to plain values).

        Raises ParameterError, naming each wrong parameter, its value and what is valid.
        """
        try:
            return cls(**{**values})
        except ValidationError as error:
            raise _explain(error) from None

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any]) -> Parameters:
        """The parameters that a notebook's parameters cell, and papermill's, have set.

        `namespace` is the notebook's ``globals()``. Raises ParameterError for a wrong value, and
        for an unknown name in the cell that papermill injects (papermill itself only warns).
        """
        injected = _assigned(cell for cell in namespace.get("In", ()) if _is_parameters(cell))
        names = (injected | cls.model_fields.keys()) & namespace.keys()
        return cls.load({name: namespace[name] for name in sorted(names)})


def _is_parameters(cell: str) -> bool:
    return cell.lstrip().startswith("# Parameters")


def _assigned(cells: Iterable[str]) -> set[str]:
    """The names that these cells of plain assignments assign."""
    return {
        target.id
        for cell in cells
        for node in ast.walk(_parsed(cell))
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def _parsed(cell: str) -> ast.Module:
    try:
        return ast.parse(cell)
    except SyntaxError:  # such a cell never ran, and assigned nothing
        return ast.Module([], [])


def _explain(error: ValidationError) -> ParameterError:
    """One error that names every wrong parameter; values that look like secrets are not shown."""
    problems = []
    for problem in error.errors():
        name = str(problem["loc"][0])
        field = Parameters.model_fields.get(name)
        if field is None:
            problems.append(f"there is no parameter {name!r}")
            continue
        shown = _shown(problem["input"])
        problems.append(f"{name}{shown}: {_reason(problem, field)} ({field.description})")
    return ParameterError(
        "; ".join(problems) + ".",
        f"Valid parameters are: {', '.join(Parameters.model_fields)}."
        if any("no parameter" in problem for problem in problems)
        else "Correct the parameter and run again.",
    )


def wrong_in(name: str, value: Any) -> str:
    """What is wrong with a value of a parameter, and what would be right; "" where nothing is.

    The value is not repeated. Raises KeyError where there is no such parameter.
    """
    field = Parameters.model_fields[name]
    try:
        Parameters(**{name: value})
    except ValidationError as error:
        return _reason(error.errors()[0], field)
    return ""


def _reason(problem: Mapping[str, Any], field: FieldInfo) -> str:
    """What is wrong, and what would be right: a value, not a regular expression."""
    reason: str = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch":
        reason = "has not the right form"
    if problem["type"] == "string_type" and isinstance(problem["input"], int | float):
        reason += " (papermill's -p takes digits for a number; give it by papermill's -r)"
    return f"{reason}, such as {(field.examples or [None])[0]!r}"


def _shown(value: object) -> str:
    texts = [repr(value)]
    if isinstance(value, Mapping):
        texts += [f"{name}={item}" for name, item in value.items()]
    found = next(filter(None, map(sensitive, texts)), None)
    return f" = {texts[0][:80]}" if found is None else f" (not shown: it looks like {found})"


def event_wait_seconds(parameters: Parameters, target: str) -> int:
    """The longest wait for CloudTrail records, in seconds."""
    given = parameters.event_wait_seconds
    return EVENT_WAIT_SECONDS[target] if given is None else given


def settle_seconds(parameters: Parameters, target: str) -> int:
    """The longest wait until it is known whether a change was made, in seconds."""
    given = parameters.settle_seconds
    return SETTLE_SECONDS[target] if given is None else given


def check_together(parameters: Parameters, target: Target, region: str | None) -> None:
    """Refuse parameters that contradict each other or the target, before anything is asked or made.

    `region` is the Region that the run works in, None where that is not known yet. A key may be of
    another account than the run's; it must be of the run's Region.

    Raises ParameterError.
    """
    for name in ("profile", "use_fips"):
        if target == "sandbox" and (given := getattr(parameters, name)):
            raise ParameterError(
                f"{name} = {given!r} has no meaning on the sandbox.",
                f"Leave {name} out, or set target = 'aws'.",
            )
    if parameters.key_arn is not None and region is not None:
        of_key = parameters.key_arn.split(":")[3]
        if of_key != region:
            raise ParameterError(
                f"The key of key_arn = {parameters.key_arn!r} is in {of_key}; the run works in "
                f"{region}.",
                f"Give region = {of_key!r}, or a key in {region}.",
            )
    if parameters.workflow_uri is not None and parameters.workflow_file != _WORKFLOW_FILE:
        raise ParameterError(
            f"workflow_uri = {parameters.workflow_uri!r} and workflow_file = "
            f"{parameters.workflow_file!r} name two documents.",
            "Leave one of them out.",
        )
    check_build(parameters, target, region)
    if parameters.account is not None:
        check_role(parameters, parameters.account)


def asks_for_alias(parameters: Parameters) -> bool:
    """Whether a key that was there before gets the alias: where another than the default is given.

    An alias of the default name nobody asked for, and it may be another key's.
    """
    return parameters.key_alias != str(Parameters.model_fields["key_alias"].default)


_WORKFLOW_FILE = Parameters.model_fields["workflow_file"].default


def check_role(parameters: Parameters, account: str) -> None:
    """Raise ParameterError when the execution role is given as another account's."""
    role = parameters.execution_role
    if role.startswith("arn:") and (of_role := role.split(":")[4]) != account:
        raise ParameterError(
            f"The role of execution_role = {role!r} is of the account {of_role}; the run is for "
            f"the account {account}.",
            "Give a role of the account that the run works in.",
        )


BUILD = ("build_recipe", "build_infrastructure")
"""The parameters that say what a build on AWS is made of."""


def check_build(parameters: Parameters, target: Target, region: str | None) -> None:
    """Raise ParameterError unless what a build is made of is given where one is made on AWS."""
    builds = target == "aws" and parameters.run_build is True
    for name in BUILD:
        given = getattr(parameters, name)
        if builds and given is None:
            raise ParameterError(
                f"run_build = True builds on AWS, and {name} is not set.",
                f"Give {' and '.join(BUILD)}, or leave run_build out.",
            )
        if not builds and given is not None:
            raise ParameterError(
                f"{name} = {given!r} has no meaning without a build on AWS.",
                f"Leave {name} out, or set run_build = True with target = 'aws'.",
            )
        if builds and region is not None and given.split(":")[3] != region:
            raise ParameterError(
                f"{name} = {given!r} is not of the Region {region}, where the run works.",
                f"Give one of {region}.",
            )


def check_build_account(parameters: Parameters, account: str) -> None:
    """Raise ParameterError when what a build is made of is another account's."""
    for name in BUILD:
        given = getattr(parameters, name)
        if given is not None and given.split(":")[4] != account:
            raise ParameterError(
                f"{name} = {given!r} is not of this account, {account}.",
                "Give one of the account that the run works in.",
            )


def project_dir() -> Path:
    """The project's folder: the package is installed in place, beside ``notebooks/``."""
    return Path(__file__).resolve().parents[2]


def outputs_dir(parameters: Parameters) -> Path:
    """The folder of all runs: the parameter, the environment's, or the project's ``outputs/``."""
    given = parameters.outputs_dir or os.environ.get(OUTPUTS)
    return Path(given).expanduser().absolute() if given else project_dir() / "outputs"


def outputs_option(parameters: Parameters) -> str:
    """How a command is told of the folder, where it has to be: with a space in front."""
    return outputs_words(parameters.outputs_dir)


def outputs_words(folder: str | Path | None) -> str:
    """The same, of a folder; None and the project's own need no word."""
    by_default = not os.environ.get(OUTPUTS) and str(folder) == str(project_dir() / "outputs")
    return f" --outputs {shlex.quote(str(folder))}" if folder and not by_default else ""


def workflow_document(parameters: Parameters) -> str:
    """The text of the workflow document that `workflow_file` names.

    Raises ParameterError when the file is not there, lies outside ``notebooks/``, is not YAML in
    UTF-8, or has a name or description that looks confidential.
    """
    folder = project_dir() / "notebooks"
    given = f"workflow_file = {parameters.workflow_file!r}"
    path = (folder / parameters.workflow_file).resolve()
    if not path.is_relative_to(folder):
        raise ParameterError(
            f"{given} lies outside notebooks/.",
            "Give a path below notebooks/, such as workflows/build-image.yaml.",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        present = sorted(p.relative_to(folder).as_posix() for p in folder.glob("workflows/*.yaml"))
        raise ParameterError(
            f"{given} could not be read: {error.strerror}.",
            f"Give a path relative to notebooks/, such as {', '.join(present)}.",
        ) from error
    except UnicodeDecodeError as error:
        raise _not_text(given) from error
    return _harmless(text, given)


def _not_text(given: str) -> ParameterError:
    return ParameterError(f"{given} is not text in UTF-8.", "Save it as UTF-8.")


def workflow_object(parameters: Parameters, body: bytes) -> str:
    """The text of the workflow document in S3 that `workflow_uri` names; `body` is the object's.

    Raises ParameterError as `workflow_document` does.
    """
    given = f"workflow_uri = {parameters.workflow_uri!r}"
    try:
        return _harmless(body.decode(), given)
    except UnicodeDecodeError as error:
        raise _not_text(given) from error


def _harmless(text: str, given: str) -> str:
    """A workflow document, which is YAML and has nothing confidential where AWS may log it."""
    try:
        found = sensitive_description(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"{given} is not YAML: {error}.", "Correct the document.") from error
    if found is not None:
        line, kind = found
        raise ParameterError(
            f"{given}, line {line}: the text looks like {kind}; names, tags and descriptions may "
            "end up in billing and diagnostic logs.",
            "Take it out of the document.",
        )
    return text
