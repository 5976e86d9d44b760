"""Images."""

from __future__ import annotations

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.image import Image
from insula.domain.operation import Operation


class Images:
    """The catalogue and what of it lies on the host."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Image]:
        return [build(Image, item) for item in self._connection.pages(path_of("images"))]

    def get(self, name: str) -> Image:
        return build(Image, self._connection.get(path_of("images", name)))

    def prepare(self, name: str) -> Operation:
        """Build or download an image of the catalogue; succeeds at once when it is ready."""
        return build(Operation, self._connection.request("POST", path_of("images", name, "prepare")))

    def warm(self, name: str, *, plan: str = "") -> Operation:
        """Make what new instances of a plan (empty: the default one) go on from instead of booting."""
        body = {"plan": plan} if plan else None
        return build(Operation, self._connection.request("POST", path_of("images", name, "warm"), body=body))

    def import_file(self, name: str, path: str, *, image_format: str = "qcow2") -> Operation:
        """Import a disk image that lies on the service's host (administrators only). `image_format`: qcow2 or raw."""
        body = {"name": name, "path": path, "image_format": image_format}
        return build(Operation, self._connection.request("POST", path_of("images"), body=body))

    def delete(self, name: str) -> Operation:
        """Remove its files from the host. Raises Conflict while instances use it."""
        return build(Operation, self._connection.request("DELETE", path_of("images", name)))
