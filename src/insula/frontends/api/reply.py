"""What an endpoint answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

JSON = "application/json"
OCTETS = "application/octet-stream"
EVENTS = "text/event-stream"

Content = bytes | AsyncIterator[bytes]


@dataclass(frozen=True)
class Reply:
    """An answer; an iterator is streamed."""

    content: Content
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
