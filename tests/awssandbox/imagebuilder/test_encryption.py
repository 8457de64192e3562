"""What the Encryption SDK asks of KMS, against a KMS of a few lines that notes each request.

Sources: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html and
https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/supported-algorithms.html
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import botocore.session
import pytest
from awssandbox.errors import AwsError
from awssandbox.imagebuilder.arns import workflow_arn
from awssandbox.imagebuilder.encryption import KmsRefusal, decrypt, encrypt, encryption_context
from botocore.awsrequest import AWSRequest, AWSResponse

KEY = "arn:aws:kms:us-west-2:111122223333:key/12345678-1234-1234-1234-123456789012"
ALIAS = "arn:aws:kms:us-west-2:111122223333:alias/ExampleKMSKey"
ARN = workflow_arn("aws", "us-west-2", "111122223333", "BUILD", "Sample_Workflow X", "1.0.0")
TEXT = "schemaVersion: 1.0 # äöü\n" * 400


class Kms:
    """Gives out one data key, and gives it back for exactly its ciphertext, key and context."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.refusal: AwsError | None = None
        self.last_error: AwsError | None = None

    def client(self, service: str) -> Any:
        session = botocore.session.Session()
        session.set_credentials("AKIAIOSFODNN7EXAMPLE", "secret")
        client = session.create_client(service, region_name="us-west-2")
        client.meta.events.register("before-send.kms", self.answer)
        return client

    def answer(self, request: AWSRequest, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().partition(".")[2]
        parameters = json.loads(request.body)
        self.requests.append((operation, parameters))
        if self.refusal is not None:
            self.last_error = self.refusal
            return _response(request, 400, {"__type": self.refusal.code, "message": "no"})
        if operation == "Decrypt":
            assert parameters["CiphertextBlob"] == base64.b64encode(b"wrapped").decode()
        body = {"KeyId": KEY, "Plaintext": base64.b64encode(bytes(32)).decode()}
        if operation == "GenerateDataKey":
            body["CiphertextBlob"] = base64.b64encode(b"wrapped").decode()
        return _response(request, 200, body)


def _response(request: AWSRequest, status: int, body: dict[str, str]) -> AWSResponse:
    response = AWSResponse(request.url, status, {}, None)
    response._content = json.dumps(body).encode()
    return response


def test_the_context_is_the_version_arn_with_a_literal_star() -> None:
    assert encryption_context(ARN) == {
        "aws:imagebuilder:arn": (
            "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/sample-workflow-x/1.0.0/*"
        )
    }


@pytest.mark.parametrize("key_id", [KEY, ALIAS])
def test_one_generatedatakey_of_32_bytes_and_one_decrypt_with_the_same_context(key_id: str) -> None:
    kms = Kms()
    body = encrypt(kms, key_id, encryption_context(ARN), TEXT)
    assert decrypt(kms, body) == TEXT
    (generate, generated), (opened, request) = kms.requests
    assert (generate, opened) == ("GenerateDataKey", "Decrypt")
    context = generated["EncryptionContext"]
    assert set(generated) == {"KeyId", "NumberOfBytes", "EncryptionContext"}
    assert (generated["KeyId"], generated["NumberOfBytes"]) == (key_id, 32)
    assert set(context) == {"aws:imagebuilder:arn", "aws-crypto-public-key"}
    assert context["aws:imagebuilder:arn"] == encryption_context(ARN)["aws:imagebuilder:arn"]
    assert set(request) == {"KeyId", "CiphertextBlob", "EncryptionContext"}
    assert (request["KeyId"], request["EncryptionContext"]) == (KEY, context)
    assert body.key_arn == KEY
    assert TEXT[:24].encode() not in body.message


def test_the_public_key_is_a_compressed_point_of_p_384_and_fresh_each_time() -> None:
    kms = Kms()
    for _ in range(2):
        encrypt(kms, KEY, encryption_context(ARN), TEXT)
    keys = [request["EncryptionContext"]["aws-crypto-public-key"] for _, request in kms.requests]
    assert keys[0] != keys[1]
    for key in keys:
        point = base64.b64decode(key)
        assert (len(point), point[0] in (2, 3)) == (49, True)


def test_a_changed_message_is_not_opened() -> None:
    from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
    from cryptography.exceptions import InvalidSignature, InvalidTag

    kms = Kms()
    body = encrypt(kms, KEY, encryption_context(ARN), TEXT)
    forged = type(body)(body.message.replace(b"sample-workflow-x", b"sample-workflow-y"), KEY)
    with pytest.raises((AWSEncryptionSDKClientError, InvalidSignature, InvalidTag)):
        decrypt(kms, forged)


def test_a_refusal_is_the_one_of_kms_and_is_not_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    kms = Kms()
    body = encrypt(kms, KEY, encryption_context(ARN), TEXT)
    kms.refusal = AwsError("DisabledException", f"{KEY} is disabled.")
    with caplog.at_level(logging.DEBUG, logger="awssandbox"):
        with pytest.raises(KmsRefusal) as refused_to_encrypt:
            encrypt(kms, KEY, encryption_context(ARN), TEXT)
        with pytest.raises(KmsRefusal) as refused_to_decrypt:
            decrypt(kms, body)
    assert refused_to_encrypt.value.cause is kms.refusal
    assert refused_to_decrypt.value.cause is kms.refusal
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert [name for name, _ in kms.requests] == ["GenerateDataKey", "GenerateDataKey", "Decrypt"]
