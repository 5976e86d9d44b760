from __future__ import annotations

from pathlib import Path

import pytest

from insula.node.hypervisor import host_checks
from insula.node.hypervisor.kvm.verdict import Case, Verdict
from insula.node.runtime.cgroups import NoCgroups


def test_kvm_that_is_missing_is_a_note_and_broken_a_problem() -> None:
    assert host_checks.check_kvm(Verdict(True, Case.NATIVE, "proved")).verdict == "ok"
    assert host_checks.check_kvm(Verdict(False, Case.PVM, "slow")).verdict == "note"
    assert host_checks.check_kvm(Verdict(False, Case.BROKEN, "hangs", "look at dmesg")).verdict == "problem"


def test_missing_limits_say_why_and_what_to_do() -> None:
    check = host_checks.check_cgroups(NoCgroups("this user's cgroup is not delegated"))
    assert check.verdict == "note"
    assert "no memory limits: this user's cgroup is not delegated" in check.detail
    assert "Delegate=yes" in check.todo


@pytest.mark.parametrize(
    ("switch", "value", "words"),
    [
        ("_APPARMOR_SWITCH", "1", "/etc/apparmor.d/bwrap"),
        ("_DEBIAN_SWITCH", "0", "unprivileged_userns_clone=1"),
        ("_NAMESPACE_LIMIT", "0", "max_user_namespaces"),
        ("_NAMESPACE_LIMIT", "5", "container"),
    ],
)
def test_the_switch_that_forbids_namespaces_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, value: str, words: str
) -> None:
    for name in ("_APPARMOR_SWITCH", "_DEBIAN_SWITCH", "_NAMESPACE_LIMIT"):
        monkeypatch.setattr(host_checks, name, tmp_path / name)
    (tmp_path / switch).write_text(f"{value}\n")
    assert words in host_checks.mend_namespaces()
