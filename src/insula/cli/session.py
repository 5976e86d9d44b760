"""What the commands of one call share: the client, made on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insula.base import settings

if TYPE_CHECKING:
    from insula.client import Client


def host_here(listening: str) -> str:
    """Where a client on this machine finds what listens at this address of it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listening, listening)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


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

    @property
    def web_url(self) -> str:
        """Where a browser on this machine, or a client over TCP, finds the service."""
        from insula.protocol.service_record import read_record  # noqa: PLC0415 - most commands do without

        found = self.settings
        if found.url.startswith("http"):
            return found.url
        record = read_record(found.home) if found.is_local else None
        host, _, port = record.listen.rpartition(":") if record else (found.listen_host, "", found.listen_port)
        return f"http://{host_here(host)}:{port}"

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
