"""Ids of theirs that none of ours stands for."""

from __future__ import annotations

import hashlib
import uuid


def project_uuid(project: str) -> str:
    """Projects have names only, which never change."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"project {project}".encode()).digest()[:16], version=4))
