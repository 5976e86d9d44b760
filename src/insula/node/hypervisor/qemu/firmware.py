"""Where distributions keep QEMU's UEFI firmware and the other data files it reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from insula.base.errors import Unsupported


@dataclass(frozen=True)
class UefiFirmware:
    """`code` is mapped read-only into the guest, `variables` is the empty template of its NVRAM."""

    code: Path
    variables: Path


_UEFI = (
    UefiFirmware(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),  # Debian, Ubuntu
    UefiFirmware(Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")),  # older ones, Fedora
    UefiFirmware(Path("/usr/share/edk2/x64/OVMF_CODE.4m.fd"), Path("/usr/share/edk2/x64/OVMF_VARS.4m.fd")),  # Arch
)

# QEMU's own data, and the folders that links in it lead to.
_DATA_FOLDERS = ("/usr/share/qemu", "/usr/share/seabios", "/usr/share/OVMF", "/usr/share/ovmf", "/usr/share/edk2")


def find_uefi() -> UefiFirmware:
    """The host's UEFI firmware. Raises :class:`Unsupported` with the package to install."""
    for firmware in _UEFI:
        if firmware.code.exists() and firmware.variables.exists():
            return firmware
    raise Unsupported(
        "This host has no UEFI firmware for guests",
        why=f"None of {', '.join(str(firmware.code) for firmware in _UEFI)} exists",
        todo="Install it: sudo apt-get install ovmf; or choose BIOS",
        code="no-uefi-firmware",
    )


def data_folders() -> tuple[Path, ...]:
    """The folders of this host that QEMU may read its firmware from."""
    return tuple(folder for folder in map(Path, _DATA_FOLDERS) if folder.is_dir())
