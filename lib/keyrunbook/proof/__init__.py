"""The proof: was this workflow build encrypted by Image Builder under this key, and is it readable?

`prove` is pure and three-valued. It takes CloudTrail records from any source, the claim, and what
the source was asked for. Absence of a record never refutes: delivery is not guaranteed.

Rules, by the names that the code uses:

- *sound*: a GenerateDataKey or Decrypt record that KMS wrote for a call which Image Builder made
  and KMS served, for this workflow version exactly, in this account and Region, at a possible
  time. The key is judged apart.
- *tied*: a sound Decrypt that a GetWorkflow call of this build made, and no other call can have
  made. The encryption context names the version, not the build, so it cannot tell builds apart.
- *pair*: a sound GenerateDataKey and a tied Decrypt with the same encryption context in full. The
  Encryption SDK puts a fresh public key into each message's context, and KMS refuses a Decrypt
  whose context is not exactly the one at generation: a pair belongs to one ciphertext.

PROVED needs a tied Decrypt (*readable*) and a pair (*encrypted*) under the key. REFUTED needs that
GetWorkflow names another key or none, or a pair under another key. All else is NOT_YET. Records get
lost, and a verdict must outlive that of any two: where GetWorkflow names no key ARN, nothing is
decided if another data key of the version was made at the same time. A record that does not count,
because it is corrected or at odds with another or tells no key or message, may still be in the way.

`claim` and `searched` are what the judge is given, `verdict` what it answers; `sound` and `tied`
are the first two rules, `judge` the third and the weighing.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
Source: https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
Source: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/algorithms-reference.html
"""

from __future__ import annotations

from keyrunbook.proof.claim import (
    NOT_READ,
    WORTH_WAITING,
    Claim,
    InvalidClaim,
    Read,
    Unread,
)
from keyrunbook.proof.judge import prove
from keyrunbook.proof.searched import Attribute, Searched, Span, joined, spans_for
from keyrunbook.proof.sound import ARN_KEY, DECRYPT, GENERATE, MESSAGE_KEY
from keyrunbook.proof.tied import GET_WORKFLOW, READERS
from keyrunbook.proof.verdict import Caller, Clause, Need, Outcome, Rejected, Verdict

__all__ = [
    "ARN_KEY",
    "DECRYPT",
    "GENERATE",
    "GET_WORKFLOW",
    "MESSAGE_KEY",
    "NOT_READ",
    "READERS",
    "WORTH_WAITING",
    "Attribute",
    "Caller",
    "Claim",
    "Clause",
    "InvalidClaim",
    "Need",
    "Outcome",
    "Read",
    "Rejected",
    "Searched",
    "Span",
    "Unread",
    "Verdict",
    "joined",
    "prove",
    "spans_for",
]
