"""The Python client of the service; the command line uses nothing else."""

from __future__ import annotations

from insula.client.client import Client

__all__ = ["Client"]
