"""The key pairs that sign digest files: one for each Region and year, and ListPublicKeys.

They derive from the sandbox's seed, so they are made here and not by a library, which would take
no seed. Each is made when the first digest needs it, in some tenths of a second.
How long AWS uses a key pair is UNCONFIRMED; here it is a calendar year.
Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_ListPublicKeys.html
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.cloudtrail import errors
from awssandbox.records import derived

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from awssandbox.identifiers import Identifiers

_PRIME_BITS: Final = 1024
_EXPONENT: Final = 65537
_SMALL: Final = [n for n in range(3, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
_SMALL_PRODUCT: Final = math.prod(_SMALL)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key pair and its year. `public` is the public key in DER's PKCS #1 form."""

    private: RSAPrivateKey
    public: bytes
    start: datetime
    end: datetime

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits as in AWS's sample; that they are the key's MD5 is UNCONFIRMED."""
        return hashlib.md5(self.public, usedforsecurity=False).hexdigest()

    def sign(self, text: str) -> str:
        """A text's signature by RSA (PKCS #1 v1.5) over SHA-256, in hexadecimal."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return self.private.sign(text.encode(), PKCS1v15(), SHA256()).hex()


class KeyPairs:
    """The key pairs of one Region, by year."""

    def __init__(self) -> None:
        self.made: dict[int, KeyPair] = {}

    def at(self, moment: datetime, region: str, ids: Identifiers) -> KeyPair:
        """The key pair that signs at `moment`."""
        if moment.year not in self.made:
            seed = int(ids.make("digest key", region, moment.year), 16)
            self.made[moment.year] = _key_pair(seed, moment.year)
        return self.made[moment.year]


@lru_cache
def _key_pair(seed: int, year: int) -> KeyPair:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    source = random.Random(seed)
    p, q = _prime(source), _prime(source)
    d = pow(_EXPONENT, -1, math.lcm(p - 1, q - 1))
    private = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q),
    ).private_key()  # which checks the numbers
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    start = datetime(year, 1, 1, tzinfo=UTC)
    return KeyPair(private, public, start, start.replace(year=year + 1) - timedelta(seconds=1))


def _prime(source: random.Random) -> int:
    """The first prime from a number on that is as long as it can be, and odd."""
    number = source.getrandbits(_PRIME_BITS) | 3 << (_PRIME_BITS - 2) | 1
    while not (_is_prime(number) and number % _EXPONENT != 1):
        number += 2
    return number


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test, after a quick one that sorts out most."""
    if math.gcd(number, _SMALL_PRODUCT) != 1:
        return False
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    for base in (2, *_SMALL[:11]):
        power = pow(base, (number - 1) >> twos, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _access(call: Call) -> Sequence[Access]:
    return [Access("cloudtrail:ListPublicKeys")]


def _list(call: Call) -> Answer:
    """The keys that signed in a range of time; without one the present key."""
    if call.parameters.get("NextToken"):
        raise errors.invalid_page_token()
    now = call.time
    since, until = call.parameters.get("StartTime", now), call.parameters.get("EndTime", now)
    if since > until:
        raise errors.invalid_time_range()
    pairs = call.world.state(KeyPairs, "", call.region)
    if since <= now <= until:
        pairs.at(now, call.region, call.world.ids)
    listed = [
        {
            "Value": pair.public,
            "ValidityStartTime": pair.start,
            "ValidityEndTime": pair.end,
            "Fingerprint": pair.fingerprint,
        }
        for _, pair in sorted(pairs.made.items())
        if pair.start <= until and since <= pair.end
    ]
    return Answer({"PublicKeyList": listed}, record_request=derived(call))


OPERATIONS: Final[Mapping[str, Operation]] = {
    "ListPublicKeys": Operation(_list, _access, read_only=True),
}
