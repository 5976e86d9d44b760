"""What the commands of one call share: the client, made on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insula.base import settings

if TYPE_CHECKING:
    from insula.client import Client


class Session:
    """One call of `insula`."""

    def __init__(self, project: str = "") -> None:
        self._project = project
        self._client: Client | None = None
        self._settings: settings.Settings | None = None

    @property
    def settings(self) -> settings.Settings:
        """Read from the environment once. Raises InvalidInput."""
        if self._settings is None:
            self._settings = settings.load()
        return self._settings

    @property
    def client(self) -> Client:
        """Connects on its first request, not here."""
        if self._client is None:
            from insula.client import Client  # noqa: PLC0415 - `insula --help` does without

            self._client = Client(project=self._project)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
