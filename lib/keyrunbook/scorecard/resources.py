"""Resources as AWS answers them, as the facts that the scorecard judges. Pure.

Source of the fields: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_Types.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from keyrunbook.scorecard.facts import Part, Resource

Answer = Mapping[str, Any]

WORKFLOW, COMPONENT = "workflow", "component"
IMAGE_RECIPE, CONTAINER_RECIPE = "image recipe", "container recipe"
INFRASTRUCTURE, DISTRIBUTION = "infrastructure configuration", "distribution configuration"
IMAGE, PIPELINE, KEY = "image", "image pipeline", "KMS key"
IMAGE_BUILDER: Final = (
    *(WORKFLOW, COMPONENT, IMAGE_RECIPE, CONTAINER_RECIPE),
    *(INFRASTRUCTURE, DISTRIBUTION, PIPELINE, IMAGE),
)
"""The kinds of Image Builder's resources that are looked at."""


def of_image_builder(kind: str, answer: Answer) -> Resource:
    """A resource from what its Get operation answers of it; a pipeline, an image: its list."""
    return _READERS[kind](kind, answer)


def of_key(answer: Answer, tags: Mapping[str, str], aliases: Iterable[str]) -> Resource:
    """A KMS key from DescribeKey's metadata, its tags and its aliases."""
    texts = {"description": str(answer.get("Description", "")), **_tags(tags)}
    texts |= {f"alias {number}": name for number, name in enumerate(aliases, 1)}
    return Resource(KEY, str(answer["Arn"]), _given(texts))


def _document(kind: str, answer: Answer) -> Resource:
    """A workflow or a component: its document, under the key that it names."""
    part = Part("document", answer.get("kmsKeyId"), answer.get("encrypted"))
    return Resource(
        kind,
        answer["arn"],
        _texts(answer, "description", "changeDescription"),
        _given({"document": answer.get("data")}),
        (part,),
    )


def _image_recipe(kind: str, answer: Answer) -> Resource:
    more = _tags(answer.get("amiTags", {}), "AMI tag")
    texts = {**_texts(answer, "description"), **more}
    volumes = tuple(_volumes(answer.get("blockDeviceMappings", ())))
    return Resource(kind, answer["arn"], texts, parts=volumes)


def _container_recipe(kind: str, answer: Answer) -> Resource:
    machine = answer.get("instanceConfiguration", {})
    template = answer.get("dockerfileTemplateData")
    parts = (
        Part("Dockerfile template", answer.get("kmsKeyId"), answer.get("encrypted")),
        *_volumes(machine.get("blockDeviceMappings", ())),
    )
    documents = _given({"Dockerfile template": template})
    return Resource(kind, answer["arn"], _texts(answer, "description"), documents, parts)


def _infrastructure(kind: str, answer: Answer) -> Resource:
    more = _tags(answer.get("resourceTags", {}), "resource tag")
    bucket = answer.get("logging", {}).get("s3Logs", {}).get("s3BucketName")
    texts = {**_texts(answer, "description"), **more}
    return Resource(kind, answer["arn"], texts, parts=(Part("settings"),), log_bucket=bucket)


def _distribution(kind: str, answer: Answer) -> Resource:
    texts, parts = _texts(answer, "description"), [Part("settings")]
    accounts: list[str] = []
    for one in answer.get("distributions", ()):
        region, image = one["region"], one.get("amiDistributionConfiguration")
        if image is None:
            continue
        parts.append(Part(f"AMIs in {region}", image.get("kmsKeyId")))
        named = {f"{region}: AMI name": image.get("name")}
        named[f"{region}: AMI description"] = image.get("description")
        texts |= _given({**named, **_tags(image.get("amiTags", {}), f"{region}: AMI tag")})
        launch = image.get("launchPermission", {})
        accounts += [*image.get("targetAccountIds", ()), *launch.get("userIds", ())]
        accounts += launch.get("userGroups", ())
    shared = tuple(dict.fromkeys(accounts))
    return Resource(kind, answer["arn"], texts, parts=tuple(parts), shared_with=shared)


def _image(kind: str, answer: Answer) -> Resource:
    return Resource(kind, answer["arn"], _texts(answer))


def _pipeline(kind: str, answer: Answer) -> Resource:
    more = _tags(answer.get("imageTags", {}), "image tag")
    return Resource(kind, answer["arn"], {**_texts(answer, "description"), **more})


_READERS: Final[Mapping[str, Callable[[str, Answer], Resource]]] = {
    WORKFLOW: _document,
    COMPONENT: _document,
    IMAGE_RECIPE: _image_recipe,
    CONTAINER_RECIPE: _container_recipe,
    INFRASTRUCTURE: _infrastructure,
    DISTRIBUTION: _distribution,
    PIPELINE: _pipeline,
    IMAGE: _image,
}


def _volumes(mappings: Iterable[Answer]) -> Iterator[Part]:
    """The volumes of a machine that are disks of EBS."""
    for one in mappings:
        if (ebs := one.get("ebs")) is not None:
            name = f"volume {one.get('deviceName', '(unnamed)')}"
            yield Part(name, ebs.get("kmsKeyId"), ebs.get("encrypted"))


def _texts(answer: Answer, *fields: str) -> dict[str, str]:
    found = {name: answer.get(name) for name in ("name", *fields)}
    return {**_given(found), **_tags(answer.get("tags") or {})}


def _tags(tags: Mapping[str, str], word: str = "tag") -> dict[str, str]:
    """Tags by their key: the key is free text as well as the value."""
    return {f"{word} {key}": f"{key}={value}" for key, value in tags.items()}


def _given(texts: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in texts.items() if value}
