"""A true log: what CloudTrail holds after one build was made and read, from the AWS page's samples.

The page prints two records with four blank fields; here they are filled in as AWS documents them,
and both belong to one message. Image Builder's own two records stand beside them.
"""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

from keyrunbook.proof import Claim, Read, Searched, spans_for
from keyrunbook.records import IMAGE_BUILDER, KMS, Record, parse_record

Document = dict[str, Any]

PAGE: dict[str, Document] = json.loads(
    (Path(__file__).parent / "cases" / "data_protection_records.json").read_text()
)["records"]

KEY = "arn:aws:kms:us-west-2:111122223333:key/a1b2c3d4-5678-90ab-cdef-EXAMPLEzzzzz"
VERSION = (
    "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/sample-encrypted-workflow/1.0.0"
)
NAMES = {
    "KEY": KEY,
    "OTHER_KEY": "arn:aws:kms:us-west-2:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321",
    "ALIAS": "arn:aws:kms:us-west-2:111122223333:alias/ExampleKMSKey",
    "VERSION": VERSION,
    "BUILD": f"{VERSION}/1",
    "ANOTHER_BUILD": f"{VERSION}/2",
    "OPERATOR": "arn:aws:sts::111122223333:assumed-role/Admin/workflow-role-name",
    "OPERATORS_ROLE": "arn:aws:iam::111122223333:role/Admin",
    "SOMEBODY": "arn:aws:sts::111122223333:assumed-role/Developer/jo",
}
MESSAGE = "A2V5IG9mIG9uZSBtZXNzYWdl"
CREATED = datetime.fromisoformat(PAGE["GenerateDataKey"]["eventTime"])
READ = datetime.fromisoformat(PAGE["Decrypt"]["eventTime"])
ASKED = READ + timedelta(minutes=16)
REMOVED = "(removed)"


def true_log() -> dict[str, Document]:
    """The four records of one build, by what they are: create, generate, get, decrypt."""
    generate, decrypt = copy.deepcopy(PAGE["GenerateDataKey"]), copy.deepcopy(PAGE["Decrypt"])
    for record in (generate, decrypt):
        record.update(eventSource=KMS, sourceIPAddress=IMAGE_BUILDER, userAgent=IMAGE_BUILDER)
        record["userIdentity"]["invokedBy"] = IMAGE_BUILDER
        record["requestParameters"]["encryptionContext"]["aws-crypto-public-key"] = MESSAGE
    return {
        "create": _image_builders("CreateWorkflow", generate, {"name": "x"}),
        "generate": generate,
        "get": _image_builders("GetWorkflow", decrypt, {"workflowBuildVersionArn": NAMES["BUILD"]}),
        "decrypt": decrypt,
    }


def _image_builders(name: str, cause_of: Document, parameters: Document) -> Document:
    record = {
        key: copy.deepcopy(cause_of[key])
        for key in ("eventVersion", "userIdentity", "eventTime", "awsRegion", "recipientAccountId")
    }
    del record["userIdentity"]["invokedBy"]
    return {
        **record,
        "eventSource": IMAGE_BUILDER,
        "eventName": name,
        "requestParameters": parameters,
        "requestID": f"request-{name}",
        "eventID": f"event-{name}",
    }


def parsed(log: dict[str, Document]) -> list[Record]:
    """The records of a log, as every source yields them."""
    return [parse_record(json.dumps(document)) for document in log.values()]


def change(document: Document, changes: dict[str, Any]) -> None:
    """Set what each path of `changes` leads to; a path's parts stand between slashes.

    ``at_s`` sets the time, in seconds after the build's creation.
    """
    for path, value in changes.items():
        if path == "at_s":
            time = (CREATED + timedelta(seconds=value)).isoformat().replace("+00:00", "Z")
            document["eventTime"] = time
            continue
        *way, last = path.split("/")
        place: Any = document
        for part in way:
            place = place[int(part) if isinstance(place, list) else part]
        if value == REMOVED:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = named(value)


def named(value: Any) -> Any:
    """`value` with $KEY and the like replaced, in whatever it holds."""
    text = json.dumps(value)
    return json.loads(Template(text).substitute(NAMES))


def claim(**changes: Any) -> Claim:
    """The claim that the true log proves, with changes."""
    values: dict[str, Any] = {
        "workflow_build_arn": NAMES["BUILD"],
        "key_arn": KEY,
        "created": CREATED,
        "account": "111122223333",
        "region": "us-west-2",
        "kms_key_id": KEY,
        "prover_reads": (
            Read(READ - timedelta(seconds=1), READ, NAMES["OPERATOR"], "request-GetWorkflow"),
        ),
    }
    return Claim(**{**values, **changes})


def searched_all(claim: Claim, **changes: Any) -> Searched:
    """A source that was asked for all that the claim needs, long enough after, and answered."""
    values: dict[str, Any] = {"source": "the test's log", "spans": spans_for(claim), "at": ASKED}
    return Searched(**{**values, **changes})
