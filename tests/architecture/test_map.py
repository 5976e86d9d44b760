"""ARCHITECTURE.md tells the truth about files: what it names is there, and what is there it names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
_PATH_ROW = re.compile(r"^\| \d+ \| `([^`]+)` \|", re.MULTILINE)


def test_create_passes_through_nine_files_at_most_and_all_exist() -> None:
    files = _PATH_ROW.findall(TEXT)
    assert 0 < len(files) <= 9
    assert [name for name in files if not (ROOT / "src" / "insula" / name).is_file()] == []


def test_each_file_on_the_path_of_create_leads_to_the_next_room() -> None:
    """A file names the next one's room, or the Protocol or library that stands between them."""
    hints = {
        "cli/commands/create.py": "client.instances.create",
        "client/instances.py": 'path_of("instances")',
        "frontends/api/instances.py": "instances.create",
        "control/actions/instances.py": "_acceptor.new_instance",
        "control/operations/instances/create_instance.py": "work.node.start",
        "node/agent/node.py": "keeper.start",
        "node/agent/keeper.py": "launcher.start",
        "node/agent/launch.py": "driver.start",
        "node/hypervisor/qemu/driver.py": "qmp.run",
    }
    assert list(hints) == _PATH_ROW.findall(TEXT)
    missing = {name: hint for name, hint in hints.items() if hint not in (ROOT / "src" / "insula" / name).read_text()}
    assert missing == {}


def test_every_room_is_on_the_map() -> None:
    rooms = [path.name for path in (ROOT / "src" / "insula").iterdir() if (path / "__init__.py").is_file()]
    inner = [
        path.name
        for room in ("control", "node", "frontends")
        for path in (ROOT / "src" / "insula" / room).iterdir()
        if (path / "__init__.py").is_file()
    ]
    assert [name for name in [*rooms, *inner] if f"{name}/" not in TEXT] == []
