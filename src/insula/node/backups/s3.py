"""An S3-compatible object store as a target. Source: Amazon S3 API Reference; obstore's documentation."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from insula.base.errors import Forbidden, HostFailure, NotFound, Unavailable
from insula.node.backups.target import Stored

_TIMEOUT = "60s"


@dataclass(frozen=True)
class S3Place:
    """A bucket, or what lies below `prefix` in it. `endpoint` is empty for Amazon's own."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = "us-east-1"


class S3Target:
    """Implements Target."""

    def __init__(self, place: S3Place, access_key: str, secret_key: str) -> None:
        self._name = f"bucket {place.bucket}"
        self._address = place.endpoint or f"https://s3.{place.region}.amazonaws.com"
        self._store = S3Store(
            place.bucket,
            prefix=place.prefix or None,
            region=place.region,
            access_key_id=access_key,
            secret_access_key=secret_key,
            client_options={"timeout": _TIMEOUT, "allow_http": place.endpoint.startswith("http://")},
            endpoint=self._address,
        )

    async def put(self, name: str, data: bytes) -> None:
        with self._translated(name):
            try:
                await obstore.put_async(self._store, name, data, use_multipart=False)
            except FileNotFoundError as error:  # only the bucket can be what is not found
                raise HostFailure(
                    f"The {self._name} is not there",
                    why=f"{self._address} does not know it",
                    todo="Make the bucket, or look for a mistake in its name, the region or the endpoint",
                    code="no-bucket",
                ) from error

    async def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._translated(name):
            if length is None and offset == 0:
                return bytes(await (await obstore.get_async(self._store, name)).bytes_async())
            if length is not None:
                with contextlib.suppress(BaseError):  # not all servers answer for a part that is not all there
                    return bytes(await obstore.get_range_async(self._store, name, start=offset, length=length))
            size = int((await obstore.head_async(self._store, name))["size"])
            end = size if length is None else min(size, offset + length)
            if end <= offset:
                return b""
            try:
                return bytes(await obstore.get_range_async(self._store, name, start=offset, end=end))
            except (
                BaseError
            ):  # some servers answer for a part as if it were the whole; what they have is asked for then
                return bytes(await (await obstore.get_async(self._store, name)).bytes_async())[offset:end]

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        with self._translated(prefix):
            async for batch in obstore.list(self._store, prefix, chunk_size=1000):
                for found in batch:
                    yield Stored(found["path"], int(found["size"]), found["last_modified"].timestamp())

    async def delete(self, name: str) -> None:
        try:
            with self._translated(name):
                await obstore.delete_async(self._store, name)
        except NotFound:
            return

    async def remove_drafts(self, before_s: float) -> None:
        """There are none: what was not sent whole is nowhere."""

    async def close(self) -> None:
        """Connections end by themselves."""

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(
                f"The backup store has no object {name}", why=f"It is not in {self._name}", code="no-object"
            ) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise Forbidden(
                f"{self._name} may not be used with this key",
                why=_first_line(error),
                todo="Look at the access key, and at what it may do there",
                code="backup-target-forbidden",
            ) from error
        except (BaseError, OSError) as error:  # the library has tried again by itself
            raise Unavailable(
                f"{self._name} does not answer",
                why=_first_line(error),
                todo="Look at the network and the store, and try again",
                code="backup-target-unavailable",
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
