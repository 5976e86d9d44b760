"""Which kernel modules a guest needs early, and in which order they load."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

from insula.base.errors import DataCorrupt

# What our machines have: virtio over PCI (q35) and MMIO (microvm); volumes, which come as SCSI disks; the root disk's
# and the seed's file systems; the agent's serial port; randomness; the power button, which arrives as a key press.
EARLY_MODULES: tuple[str, ...] = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "ext4",
    "isofs",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "button",
    "evdev",
    "crc32c_generic",
)

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def depends_of(module: bytes) -> tuple[str, ...]:
    """The names that a module's `.modinfo` lists as `depends=`."""
    found = _DEPENDS.search(module)
    return tuple(name for name in (found[1].decode() if found else "").split(",") if name)


def load_order(modules_folder: Path, wanted: Sequence[str]) -> list[Path]:
    """The `.ko` files of `wanted` and all they need, each after what it needs.

    The package carries no `modules.dep` (its post-installation script makes it), so the modules are asked themselves.
    Raises :class:`DataCorrupt` when one is missing, which a changed kernel configuration would cause.
    """
    by_name = {path.stem.replace("-", "_"): path for path in modules_folder.rglob("*.ko")}
    ordered: dict[str, Path] = {}

    def visit(name: str) -> None:
        name = name.replace("-", "_")
        if name in ordered:
            return
        if name not in by_name:
            raise DataCorrupt(
                f"The kernel in {modules_folder.name} has no module {name}",
                why="The guest could not find its disk, network or agent without it",
                todo="Report it: the recipe's list of modules does not fit this kernel any more",
            )
        for needed in depends_of(by_name[name].read_bytes()):
            visit(needed)
        ordered[name] = by_name[name]

    for name in wanted:
        visit(name)
    return list(ordered.values())


_SIGNATURE_MARK = b"~Module signature appended~\n"
# struct module_signature: five one-byte fields, three bytes of padding, the length of the signature before it.
_SIGNATURE_FACTS = struct.Struct(">5B3xI")


def without_signature(module: bytes) -> bytes:
    """The module without the signature at its end (the kernel's `Documentation/admin-guide/module-signing.rst`)."""
    if not module.endswith(_SIGNATURE_MARK):
        return module
    facts_at = len(module) - len(_SIGNATURE_MARK) - _SIGNATURE_FACTS.size
    if facts_at < 0:
        return module
    begin = facts_at - _SIGNATURE_FACTS.unpack_from(module, facts_at)[-1]
    return module[:begin] if begin > 0 else module
