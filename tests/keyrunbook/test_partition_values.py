"""What is built for a partition is of that partition alone."""

from __future__ import annotations

import json
import re

import pytest
from keyrunbook import policies
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import Where, operator_policy
from keyrunbook.steps import STEPS

ACCOUNT = "111122223333"
PLACES = [("aws", "eu-central-1"), ("aws-us-gov", "us-gov-east-1"), ("aws-cn", "cn-northwest-1")]


def partitions_in(document: object) -> set[str]:
    return set(re.findall(r"arn:([a-z-]+):", json.dumps(document)))


@pytest.mark.parametrize(("partition", "region"), PLACES)
def test_the_policies(partition: str, region: str) -> None:
    key = f"arn:{partition}:kms:{region}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    role = f"arn:{partition}:iam::{ACCOUNT}:role/R"
    for document in (
        policies.execution_role_statement("r", role, partition, ACCOUNT),
        policies.role_policy("r", key, partition, ACCOUNT),
        policies.administrators_policy(partition, ACCOUNT),
        policies.workflow_pattern(partition, ACCOUNT),
    ):
        assert partitions_in(document) == {partition}


@pytest.mark.parametrize(("partition", "region"), PLACES)
@pytest.mark.parametrize("target", ["sandbox", "aws"])
def test_the_operator_s_policy(partition: str, region: str, target: str) -> None:
    parameters = Parameters.load({"target": target})
    for step in STEPS:
        policy = operator_policy([step], parameters, Where(partition, region, ACCOUNT))
        assert partitions_in(policy) <= {partition}
    whole = operator_policy(STEPS[:4], parameters, Where(partition, region, ACCOUNT))
    assert f":kms:{region}:" in json.dumps(whole)
