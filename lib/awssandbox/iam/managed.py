"""The managed policies of AWS that the sandbox has: name to data in moto's form.

Only those whose document is known exactly; ListPolicies shows these, and no other can be attached.

Source: https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AdministratorAccess.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MANAGED_POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "AdministratorAccess": {
        "CreateDate": "2015-02-06T18:39:46+00:00",
        "DefaultVersionId": "v1",
        "Document": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        },
        "Path": "/",
        "PolicyId": "ANPAIWMBCKSKIEE64ZLYK",
        "UpdateDate": "2015-02-06T18:39:46+00:00",
    },
}
