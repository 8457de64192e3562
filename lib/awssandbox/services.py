"""The services that the sandbox serves, and where their operations are, loaded on first use."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import botocore.session
from botocore.model import ServiceModel

from awssandbox.call import Operation
from awssandbox.models import session

MODULES: Mapping[str, str] = {
    "athena": "awssandbox.athena",
    "cloudtrail": "awssandbox.cloudtrail",
    "ec2": "awssandbox.ec2",
    "iam": "awssandbox.iam",
    "imagebuilder": "awssandbox.imagebuilder",
    "kms": "awssandbox.kms",
    "macie2": "awssandbox.macie2",
    "s3": "awssandbox.s3",
    "sso-admin": "awssandbox.sso_admin",
    "sts": "awssandbox.sts",
}
"""The package of each served service, by its name among botocore's models."""

SIGNS_AS: Mapping[str, str] = {"sso-admin": "sso"}
"""What a service is called in signatures, in actions and in records, where that is another name."""

PROTOCOLS: Mapping[str, str] = {
    "athena": "json",
    "cloudtrail": "json",
    "ec2": "ec2",
    "iam": "query",
    "imagebuilder": "rest-json",
    "kms": "json",
    "macie2": "rest-json",
    "s3": "rest-xml",
    "sso-admin": "json",
    "sts": "query",
}

_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Service:
    """A served service: its model and its operations by name.

    `own_limits` names the operations that hold their parameters to the model's limits themselves,
    because they answer other errors than ValidationException; None for none, all for ``*``.
    """

    name: str
    model: ServiceModel
    operations: Mapping[str, Operation]
    own_limits: frozenset[str]

    @property
    def protocol(self) -> str:
        """The wire protocol's name."""
        return PROTOCOLS[self.name]

    def checks_limits(self, operation: str) -> bool:
        """Whether the pipeline is to hold an operation's parameters to the model's limits."""
        return not self.own_limits & {operation, "*"}


def of_scope(name: str) -> str:
    """The service that signatures call `name`."""
    return next((service for service, signs in SIGNS_AS.items() if signs == name), name)


@cache
def botocore_session() -> botocore.session.Session:
    """The process's one botocore session, which keeps the models that it read."""
    return session()


@cache
def regions(partition: str) -> tuple[str, ...]:
    """The Regions of a partition that have KMS, by the AWS SDK's own table of endpoints.

    Image Builder is not in that table.
    """
    return tuple(botocore_session().get_available_regions("kms", partition))


@cache
def all_regions(partition: str) -> frozenset[str]:
    """Every Region of a partition, by the AWS SDK's own table of partitions."""
    table = botocore_session().get_data("partitions")["partitions"]
    return frozenset(region for one in table if one["id"] == partition for region in one["regions"])


@cache
def model(name: str) -> ServiceModel:
    """A service's botocore model."""
    with _lock:
        if name == "s3":  # its clients take the bucket out of the paths in their session's model
            return session().get_service_model(name)
        return botocore_session().get_service_model(name)


@cache
def service(name: str) -> Service:
    """A served service. Raises KeyError for any other."""
    with _lock:
        package = importlib.import_module(MODULES[name])
        limits = frozenset(getattr(package, "OWN_LIMITS", ()))
        return Service(name, model(name), package.OPERATIONS, limits)
