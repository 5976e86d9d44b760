"""libnbd, which distributions install for their own Python only, loaded from there.

Source: libnbd-python(3). Its calls let other threads run while they wait.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from insula.base.errors import CommandMissing

_PLACE = Path("/usr/lib/python3/dist-packages")
_NATIVE, _WRAPPER = "libnbdmod", "nbd"


@functools.cache
def load() -> Any:
    """The module. Raises CommandMissing when it is not installed or was built for another Python."""
    suffix = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    native = next(iter(sorted(_PLACE.glob(f"{_NATIVE}.{suffix}-*.so"))), None)
    if native is None:
        raise CommandMissing(
            "libnbd is not installed for this Python",
            why=f"There is no {_NATIVE}.{suffix}-*.so in {_PLACE}",
            todo="Install it: sudo apt install python3-libnbd",
        )
    _loaded(_NATIVE, native)
    return _loaded(_WRAPPER, _PLACE / f"{_WRAPPER}.py")


def error() -> type[Exception]:
    """What its calls raise."""
    kind: type[Exception] = load().Error
    return kind


def _loaded(name: str, path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None  # noqa: S101, PT018 - the file is there
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module
