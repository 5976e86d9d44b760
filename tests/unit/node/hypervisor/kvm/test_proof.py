from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from insula.node.hypervisor.kvm import proof
from insula.node.hypervisor.kvm.host import HostFacts
from insula.node.hypervisor.kvm.verdict import Boot, Case, Payload, Verdict, after_boot, after_payload, without_device

INTEL = HostFacts(True, "", "", frozenset({"vmx"}), frozenset({"kvm_intel"}), "key-1")
INSIDE_AMD = replace(INTEL, flags=frozenset({"svm", "hypervisor"}), modules=frozenset({"kvm_amd"}))
PVM = replace(INTEL, flags=frozenset({"hypervisor"}), modules=frozenset({"kvm_pvm"}))
FAST = Payload({"real": 9e8, "protected": 9e8, "long": 9e8}, {}, 120)
SLOW = Payload({"real": 1.1e6, "protected": 1.2e6, "long": 0.8e6}, {}, 130)


def _verdict(facts: HostFacts, payload: Payload | None, boot: Boot | None = None) -> Verdict:
    return without_device(facts) or after_payload(facts, payload) or after_boot(facts, boot)


@pytest.mark.parametrize(
    ("facts", "payload", "boot", "case", "usable"),
    [
        (INTEL, FAST, Boot(700, ""), Case.NATIVE, True),
        (INTEL, FAST, None, Case.NATIVE, True),
        (INSIDE_AMD, FAST, Boot(900, ""), Case.NESTED, True),
        (INTEL, FAST, Boot(20_000, "it did not end"), Case.NATIVE, False),
        (INTEL, replace(FAST, rates={**FAST.rates, "real": 1e6}), None, Case.BROKEN, False),
        (INTEL, Payload({"real": 9e8}, {"long": "Invalid argument"}, 9), None, Case.BROKEN, False),
        (INTEL, Payload({"real": 9e8}, {}, 9), None, Case.BROKEN, False),
        (INTEL, None, None, Case.BROKEN, False),
        (PVM, SLOW, None, Case.PVM, False),
        (PVM, None, None, Case.PVM, False),
        (PVM, FAST, Boot(20_000, "crawls"), Case.PVM, False),
        (replace(INTEL, has_device=False), FAST, None, Case.ABSENT, False),
        (replace(INTEL, trouble="this user may not open /dev/kvm"), FAST, None, Case.CLOSED, False),
        (replace(INTEL, closed_to_machines="mode 600"), FAST, None, Case.CLOSED, False),
        (replace(PVM, closed_to_machines="mode 600"), SLOW, None, Case.PVM, False),
    ],
)
def test_every_kind_of_host_is_told_apart(
    facts: HostFacts, payload: Payload | None, boot: Boot | None, case: Case, usable: bool
) -> None:
    verdict = _verdict(facts, payload, boot)
    assert (verdict.case, verdict.is_usable) == (case, usable)
    assert verdict.accelerator == ("kvm" if usable else "tcg")
    assert "\n" not in verdict.explanation
    assert usable or verdict.todo


def test_the_explanation_has_the_numbers() -> None:
    assert "0.8 million loops/s" in _verdict(PVM, SLOW).explanation
    assert "700 ms" in _verdict(INTEL, FAST, Boot(700, "")).explanation


def test_a_missing_module_is_told_from_missing_hardware() -> None:
    assert "modprobe" in _verdict(replace(INTEL, has_device=False), None).todo
    without = replace(INTEL, has_device=False, flags=frozenset())
    assert "no virtualization" in _verdict(without, None).explanation


class Experiments:
    def __init__(self, payload: Payload | None, boot: Boot) -> None:
        self.payload = payload
        self.boot = boot
        self.runs: list[str] = []

    async def run_payload(self) -> Payload | None:
        self.runs.append("payload")
        return self.payload

    async def boot_kernel(self, kernel: Path) -> Boot:
        self.runs.append(f"boot {kernel}")
        return self.boot

    def proof(self, file: Path) -> proof.KvmProof:
        return proof.KvmProof(file, needs_group=False, run_payload=self.run_payload, boot_kernel=self.boot_kernel)


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> list[HostFacts]:
    """What the host says, in a list whose only entry a test may exchange."""
    now = [INTEL]
    monkeypatch.setattr(proof, "read_facts", lambda qemu, needs_group: now[0])
    monkeypatch.setattr(proof, "find_program", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("insula.node.hypervisor.kvm.probe.host_kernel", lambda: None)
    return now


async def test_it_is_proved_once_and_again_when_the_host_changes(tmp_path: Path, facts: list[HostFacts]) -> None:
    tried = Experiments(FAST, Boot(700, ""))
    file = tmp_path / "node" / "kvm.json"
    first = await tried.proof(file).verdict(Path("/k"))
    assert await tried.proof(file).verdict() == first
    assert tried.runs == ["payload", "boot /k"]
    facts[0] = replace(INTEL, key="key-2")
    await tried.proof(file).verdict(Path("/k"))
    assert len(tried.runs) == 4


async def test_a_failed_payload_boots_nothing(tmp_path: Path, facts: list[HostFacts]) -> None:
    facts[0] = PVM
    tried = Experiments(SLOW, Boot(1, ""))
    assert not (await tried.proof(tmp_path / "kvm.json").verdict(Path("/k"))).is_usable
    assert tried.runs == ["payload"]


async def test_without_a_kernel_it_stays_open(tmp_path: Path, facts: list[HostFacts]) -> None:
    tried = Experiments(FAST, Boot(700, ""))
    assert (await tried.proof(tmp_path / "kvm.json").verdict()).is_usable
    assert not (tmp_path / "kvm.json").exists()
    await tried.proof(tmp_path / "kvm.json").verdict(Path("/k"))
    assert tried.runs == ["payload", "payload", "boot /k"]


@pytest.mark.parametrize("text", ["", "[]", '{"key": "key-1"}', json.dumps({"key": "key-1", "case": "odd"})])
async def test_a_damaged_verdict_is_proved_again(tmp_path: Path, facts: list[HostFacts], text: str) -> None:
    (tmp_path / "kvm.json").write_text(text)
    tried = Experiments(FAST, Boot(700, ""))
    assert (await tried.proof(tmp_path / "kvm.json").verdict(Path("/k"))).is_usable
    assert tried.runs == ["payload", "boot /k"]
