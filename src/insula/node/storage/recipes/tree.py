"""Lays our own files over a guest's root folder and clears others out of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

# A busybox without libraries, for scripts that must be quick: it has most commands in itself, so that an emulated CPU
# need not start, link and translate a program for each.
SHELL = "usr/lib/insula/sh"
FILES = Path(__file__).parent / "files"


def overlay(root: Path, *layers: str) -> None:
    """Copy `files/<layer>` over `root`. Only the executable bit is kept of their modes, whatever the umask was."""
    for layer in layers:
        source = FILES / layer
        for path in sorted(source.rglob("*")):
            target = root / path.relative_to(source)
            if path.is_dir():
                target.mkdir(mode=0o755, parents=True, exist_ok=True)
                continue
            target.unlink(missing_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def install(path: Path, program: bytes) -> None:
    """Write a program that is no file of ours."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_bytes(program)
    path.chmod(0o755)


def remove(root: Path, patterns: Iterable[str]) -> None:
    """Remove every file and folder that matches; fine when there is none."""
    for pattern in patterns:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, whatever it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
