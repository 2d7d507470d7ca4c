"""Texts of documents that clients name instead of sending: trusted documents, and those that clients register."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from gateway.errors import RequestError
from gateway.graphql_request import GraphQLRequest
from gateway.trusted_documents import digest_of

NOT_FOUND: Final = "PERSISTED_QUERY_NOT_FOUND"
NOT_SUPPORTED: Final = "PERSISTED_QUERY_NOT_SUPPORTED"

_OVERHEAD_BYTES: Final = 400
"""Measured size of an entry, besides its text."""


class PersistedQueries:
    """Automatic persisted queries by the protocol of Apollo's clients, in the memory of this process.

    A client registers a text with the digest of this text, so it can't put a text under another's name. At most it
    pushes texts out, and their clients send them again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._texts: OrderedDict[str, str] = OrderedDict()
        self.bytes = 0

    @property
    def are_on(self) -> bool:
        return self._max_bytes > 0

    def get(self, digest: str) -> str | None:
        text = self._texts.get(digest)
        if text is not None:
            self._texts.move_to_end(digest)
        return text

    def keep(self, digest: str, text: str) -> None:
        size = _size(text)
        if digest in self._texts or size > self._max_bytes:
            return
        self._texts[digest] = text
        self.bytes += size
        while self.bytes > self._max_bytes:
            _, oldest = self._texts.popitem(last=False)
            self.bytes -= _size(oldest)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) + _OVERHEAD_BYTES


class DocumentTexts:
    def __init__(self, trusted: Mapping[str, str], *, trusted_only: bool, persisted: PersistedQueries) -> None:
        self._trusted = trusted
        self._trusted_only = trusted_only
        self._persisted = persisted

    def text_of(self, given: GraphQLRequest) -> str:
        """The text that is to run. Raises RequestError."""
        if given.document_id is not None:
            return self._by_id(given.document_id)
        if given.query is None:
            assert given.query_hash is not None
            return self._by_hash(given.query_hash)
        if given.query_hash is not None and given.query_hash != digest_of(given.query):
            raise RequestError("BAD_USER_INPUT", "extensions.persistedQuery.sha256Hash is not the SHA-256 of query")
        if self._trusted_only and (given.query_hash or digest_of(given.query)) not in self._trusted:
            raise RequestError("FORBIDDEN", "only trusted documents are allowed: this document is not in the manifest")
        return given.query

    def register(self, given: GraphQLRequest) -> None:
        """Keeps a text that was sent with its hash, once it is known to be valid."""
        if given.query is not None and given.query_hash is not None and given.query_hash not in self._trusted:
            self._persisted.keep(given.query_hash, given.query)

    def _by_id(self, document_id: str) -> str:
        text = self._trusted.get(document_id.removeprefix("sha256:"))
        if text is None:
            raise RequestError(NOT_FOUND, "there is no trusted document with this documentId")
        return text

    def _by_hash(self, digest: str) -> str:
        text = self._trusted.get(digest)
        if text is not None:
            return text
        if self._trusted_only:
            raise RequestError("FORBIDDEN", "only trusted documents are allowed: this hash is not in the manifest")
        if not self._persisted.are_on:
            # Apollo's clients that do not know the codes look for exactly these words.
            raise RequestError(NOT_SUPPORTED, "PersistedQueryNotSupported")
        text = self._persisted.get(digest)
        if text is None:
            raise RequestError(NOT_FOUND, "PersistedQueryNotFound")
        return text
