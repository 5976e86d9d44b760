"""What guests ask, what they are answered, and answers that are read out of a tree of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Ask:
    """A request. `headers` are by their names in small letters."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What it gets."""

    body: bytes = b""
    status: int = 200
    content_type: str = _TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


READ_ONLY = Answer(b"Metadata can be read only\n", 405)


def listed(files: Mapping[str, bytes], folder: str) -> list[str]:
    """What is in a folder of the tree, folders with a slash at the end; nothing when there is no such folder."""
    begin = f"{folder.strip('/')}/".lstrip("/")
    inside = (path.removeprefix(begin) for path in files if path.startswith(begin))
    return list(dict.fromkeys(name + slash for name, slash, _ in (rest.partition("/") for rest in inside)))


def read(files: Mapping[str, bytes], path: str) -> Answer | None:
    """A file, or the list of a folder; None for what is not there. Paths of files begin without a slash."""
    name = path.strip("/")
    if name in files and not path.endswith("/"):
        return Answer(files[name])
    names = listed(files, name)
    return Answer("\n".join(names).encode()) if names else None
