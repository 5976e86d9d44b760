"""What measurements of real guests share: an image's files, a key, and the moment a root command succeeds over SSH."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageFiles:
    """The files of a built image, as its manifest names them: the kernel as its distribution packs it."""

    disk: Path
    kernel: Path
    initrd: Path
    command_line: str


def image_files(home: Path, name: str) -> ImageFiles:
    """The newest build of image `name` in an INSULA_HOME."""
    manifest_path = max((home / "node" / "images" / name).rglob("manifest.json"), key=lambda path: path.stat().st_mtime)
    manifest = json.loads(manifest_path.read_bytes())
    folder = manifest_path.parent
    kernel = manifest["kernel"]
    return ImageFiles(
        folder / "disk.qcow2", folder / kernel["kernel"], folder / kernel["initrd"], manifest["command_line"]
    )


def make_key(folder: Path) -> Path:
    """A new key pair; returns the private key's path, the public key is beside it as `.pub`."""
    path = folder / "bench-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def wait_for_root(port: int, key: Path, timeout_s: float = 300.0) -> None:
    """Return when `id -u` over SSH says 0. Tries without a pause: a refused connection costs milliseconds."""
    command = [
        *("ssh", "-F", "none", "-i", str(key), "-p", str(port), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"),
        # The guest is minutes old and on loopback; its host key is nobody's business here.
        *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR"),
        *("root@127.0.0.1", "id -u"),
    ]
    deadline = time.monotonic() + timeout_s
    while True:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == "0":
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"no root command over SSH within {timeout_s:g} s: {done.stderr}")
        time.sleep(0.1)
