"""Style sheets, scripts and icons. Their addresses carry a digest of what they hold, so browsers keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from litestar.types import HTTPScope, Send

PREFIX = "/panel/assets/"
FOLDER = Path(__file__).parent / "static"
_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    path: Path
    address: str

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.path.read_bytes(), 9, mtime=0)

    @property
    def media(self) -> str:
        return _MEDIA[self.path.suffix]


class Assets:
    """Everything below the folder of this front end that browsers may have."""

    def __init__(self) -> None:
        found = [_asset(path) for path in sorted(FOLDER.rglob("*")) if path.suffix in _MEDIA]
        self._by_name = {asset.path.name: asset for asset in found}
        self._by_address = {asset.address: asset for asset in found}

    def address(self, name: str) -> str:
        """Where a page finds the file of this name."""
        return self._by_name[name].address

    async def serve(self, scope: HTTPScope, send: Send) -> None:
        """Answer one request; nobody need be known for it."""
        asset = self._by_address.get(scope["path"])
        if asset is None or scope["method"] not in {"GET", "HEAD"}:
            await _send(send, 404, [(b"content-type", b"text/plain")], b"no such file")
            return
        accepted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"")
        body, encoding = (asset.compressed, b"gzip") if b"gzip" in accepted else (asset.path.read_bytes(), b"identity")
        headers = [
            (b"content-type", asset.media.encode()),
            (b"content-encoding", encoding),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"vary", b"accept-encoding"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await _send(send, 200, headers, b"" if scope["method"] == "HEAD" else body)


def _asset(path: Path) -> Asset:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return Asset(path, f"{PREFIX}{digest}/{path.name}")


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
