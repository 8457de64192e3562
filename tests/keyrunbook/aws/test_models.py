"""The SDK's models as they are read here are those that the SDK reads; in the sandbox, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from awssandbox.models import session
from botocore.exceptions import UnknownServiceError
from botocore.loaders import create_loader
from keyrunbook.aws.models import loader

NAMES = ["kms/2014-11-01/service-2", "s3/2006-03-01/endpoint-rule-set-1", "endpoints", "partitions"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_is_the_same_in_the_same_order(name: str) -> None:
    expected = create_loader(None).load_data(name)
    for mine in (loader(None), session().get_component("data_loader")):
        found = mine.load_data(name)
        assert found == expected
        assert list(found) == list(expected)


def test_a_folder_of_models_of_one_s_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text('{"metadata": {"protocol": "json"}}')
    found = loader(str(tmp_path)).load_service_model("mine", "service-2")
    assert found["metadata"]["protocol"] == "json"
    with pytest.raises(UnknownServiceError):
        loader(None).load_service_model("mine", "service-2")
