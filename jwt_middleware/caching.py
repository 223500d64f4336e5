"""Keep personal answers out of shared caches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .credentials import Source
from .decision import Completion

Headers = Sequence[tuple[str, str]]


class PersonalAnswer:
    """Adds headers to an answer that depends on the user.

    RFC 9111 §3.5 keeps an answer to a request with ``Authorization`` out of shared
    caches, but not an answer to a request with a cookie or without credentials.
    """

    def __init__(self, names: Sequence[str], inner: Completion | None = None) -> None:
        self._names = names
        self._inner = inner

    async def complete(self, status: int, headers: Headers) -> Headers:
        """Return *headers* with ``Vary``, and ``Cache-Control`` if it is not set."""
        if self._inner is not None:
            headers = await self._inner.complete(status, headers)
        if status == 101:  # no cache keeps a WebSocket
            return headers
        added = []
        known = _words(value for name, value in headers if name.lower() == "vary")
        missing = [name for name in self._names if name.lower() not in known]
        if missing and "*" not in known:
            added.append(("Vary", ", ".join(missing)))
        if all(name.lower() != "cache-control" for name, _ in headers):
            added.append(("Cache-Control", "private"))
        return [*headers, *added]


def header_names(
    sources: Sequence[Source],
) -> tuple[Sequence[str], Sequence[Source]]:
    """Return the headers that *sources* read, and the sources unknown to caches.

    The latter do not read ``Authorization``, or do not say which header they read.
    """
    names = [getattr(source, "header_name", "") for source in sources]
    unknown = [
        source
        for source, name in zip(sources, names, strict=True)
        if name.lower() != "authorization"
    ]
    return tuple(dict.fromkeys(name for name in names if name)), unknown


def _words(values: Iterable[str]) -> set[str]:
    return {word.strip().lower() for value in values for word in value.split(",")}
