from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from insula.protocol.service_record import read_record, record_path, start_ticks_of, write_record


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_a_living_process_is_found(home: Path) -> None:
    write_record(home, "127.0.0.1:7780", "0.1.0")
    record = read_record(home)
    assert record is not None
    assert (record.pid, record.listen) == (os.getpid(), "127.0.0.1:7780")


def test_another_process_with_the_same_id_is_not_taken_for_it(home: Path) -> None:
    write_record(home, "127.0.0.1:7780", "0.1.0")
    data = json.loads(record_path(home).read_text())
    record_path(home).write_text(json.dumps(data | {"start_ticks": data["start_ticks"] - 1}))
    assert read_record(home) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"other": 1}', "null", '{"pid": "x"}'])
def test_a_corrupt_record_counts_as_none(home: Path, text: str) -> None:
    record_path(home).write_text(text)
    assert read_record(home) is None


def test_no_process_has_no_start() -> None:
    assert start_ticks_of(2**22 + 1) is None
