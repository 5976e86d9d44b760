"""Insula turns any Linux machine into your own VPS cloud.

``from insula import Client`` is the public Python interface; everything else is internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insula.client import Client as Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    # Imported on first use: `insula --version` must not pay for an HTTP client.
    if name == "Client":
        from insula.client import Client  # noqa: PLC0415

        return Client
    raise AttributeError(f"module 'insula' has no attribute {name!r}")
