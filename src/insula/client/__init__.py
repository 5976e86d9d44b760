"""The Python client of the service; the command line uses nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insula.client.client import Client

if TYPE_CHECKING:
    from insula.client.sandbox import Sandbox as Sandbox

__all__ = ["Client", "Sandbox"]


def __getattr__(name: str) -> object:
    # Imported on first use: the command line does without sandboxes.
    if name == "Sandbox":
        from insula.client.sandbox import Sandbox  # noqa: PLC0415

        return Sandbox
    raise AttributeError(f"module 'insula.client' has no attribute {name!r}")
