"""Images."""

from __future__ import annotations

from insula.client.connection import Connection, path_of
from insula.client.decode import build
from insula.domain.image import Image
from insula.domain.operation import Operation


class Images:
    """The catalogue, imported and published images. A name is NAME, NAME@VERSION or an id."""

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

    def import_file(self, name: str, path: str, *, image_format: str = "qcow2", platform: str = "nocloud") -> Operation:
        """Import a disk image that lies on the service's host (administrators only). `image_format`: qcow2 or raw.

        `platform` (nocloud, digitalocean, akamai, ec2) is what its machines say that they are, for cloud-init in it.
        """
        body = {"name": name, "path": path, "image_format": image_format, "platform": platform}
        return build(Operation, self._connection.request("POST", path_of("images"), body=body))

    def publish(self, name: str, source: str) -> Operation:
        """Make the next version of an image. `source`: INSTANCE, INSTANCE@SNAPSHOT (names or ids), or a snapshot's id.

        What is the instance's own (keys, logs, identifiers, history) is taken out of the copy. The result has the
        image's `id` and `version`.
        """
        body = {"name": name, "source": source}
        return build(Operation, self._connection.request("POST", path_of("images", "publish"), body=body))

    def deprecate(self, name: str, *, deprecated: bool = True) -> Image:
        """Let NAME alone not mean this version any more, or take that back; NAME is all its versions."""
        body = {"deprecated": deprecated}
        return build(Image, self._connection.request("POST", path_of("images", name, "deprecate"), body=body))

    def share(self, name: str, project: str = "") -> Image:
        """Let another project (empty: all) see and launch all versions of a published image."""
        return self._share(name, project, "share")

    def unshare(self, name: str, project: str = "") -> Image:
        """End that; instances that were made of it stay."""
        return self._share(name, project, "unshare")

    def _share(self, name: str, project: str, verb: str) -> Image:
        body = {"project": project or "*"}
        return build(Image, self._connection.request("POST", path_of("images", name, verb), body=body))

    def delete(self, name: str) -> Operation:
        """Remove its files from the host. Raises Conflict while instances use it.

        A published version is gone for everybody at once; its files stay until nothing uses them any more.
        """
        return build(Operation, self._connection.request("DELETE", path_of("images", name)))
