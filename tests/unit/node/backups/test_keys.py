from __future__ import annotations

import pytest

from insula.base.errors import DataCorrupt, Forbidden, InvalidInput
from insula.node.backups.keys import Way, lock, new_recovery_key, unlock

MASTER = bytes(range(32))


def test_a_recovery_key_unlocks_however_it_is_typed() -> None:
    key = new_recovery_key()
    assert [len(group) for group in key.split("-")] == [4] * 10
    stored = lock(MASTER, key, Way.RECOVERY_KEY)
    assert MASTER not in stored
    for typed in (key, key.lower(), key.replace("-", " "), f"  {key.replace('-', '')}\n"):
        assert unlock(stored, typed) == MASTER


def test_a_passphrase_unlocks() -> None:
    stored = lock(MASTER, "correct horse", Way.PASSPHRASE)
    assert unlock(stored, "correct horse") == MASTER
    with pytest.raises(Forbidden, match="not the passphrase"):
        unlock(stored, "correct horsf")


def test_another_recovery_key_does_not_unlock() -> None:
    with pytest.raises(Forbidden):
        unlock(lock(MASTER, new_recovery_key(), Way.RECOVERY_KEY), new_recovery_key())


def test_a_mistyped_recovery_key_is_told_from_a_wrong_one() -> None:
    key = new_recovery_key()
    mistyped = ("A" if key[0] != "A" else "B") + key[1:]
    for wrong in (mistyped, key[:-1], "", "é"):
        with pytest.raises(InvalidInput, match="no recovery key"):
            lock(MASTER, wrong, Way.RECOVERY_KEY)


def test_a_damaged_key_is_named() -> None:
    with pytest.raises(DataCorrupt):
        unlock(b"{}", "x")
