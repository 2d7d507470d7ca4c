"""A manifest of trusted documents: a JSON file from the SHA-256 of each text to the text, made by a client's build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from execution.documents import DocumentRefused, Documents

MAX_MANIFEST_BYTES: Final = 64 * 1_048_576

APOLLO: Final = "apollo-persisted-query-manifest"
"""Value that Apollo's tool writes into `format`."""


class ManifestWrong(ValueError):
    """The message names the file and the first document that does not fit."""


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_manifest(path: Path) -> Mapping[str, str]:
    """Raises ManifestWrong."""
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            msg = f"{path}: the file is larger than {MAX_MANIFEST_BYTES} bytes"
            raise ManifestWrong(msg)
        given = orjson.loads(path.read_bytes())
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise ManifestWrong(msg) from error
    except orjson.JSONDecodeError as error:
        msg = f"{path}: invalid JSON: {error.msg}"
        raise ManifestWrong(msg) from error
    documents = dict(_entries(given, path))
    for digest, text in documents.items():
        if digest != digest_of(text):
            msg = f"{path}: {digest[:100]!r} is not the SHA-256 of its text, which is {digest_of(text)}"
            raise ManifestWrong(msg)
    return documents


def check_valid(manifest: Mapping[str, str], documents: Documents, path: Path) -> None:
    """Raises ManifestWrong for a document that this version of the schema refuses."""
    for digest, text in manifest.items():
        try:
            documents.get(text)
        except DocumentRefused as refused:
            msg = f"{path}: {digest}: {refused.errors[0].message}"
            raise ManifestWrong(msg) from refused


def _entries(given: Any, path: Path) -> Iterator[tuple[str, str]]:
    """Yields digests and texts of an object from digest to text, or of Apollo's list of operations."""
    operations = given.get("operations") if isinstance(given, dict) and given.get("format") == APOLLO else None
    if isinstance(operations, list):
        found: Any = [(one.get("id"), one.get("body")) for one in operations if isinstance(one, dict)]
    else:
        found = list(given.items()) if isinstance(given, dict) and "format" not in given else [(None, None)]
    for digest, text in found:
        if not isinstance(digest, str) or not isinstance(text, str):
            msg = f"{path}: expected an object from SHA-256 to text, or a manifest of Apollo's with id and body"
            raise ManifestWrong(msg)
        yield digest, text
