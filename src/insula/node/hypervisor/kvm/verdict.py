"""From what was seen to what it means: pure, so that hosts nobody here has can be tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from insula.node.hypervisor.kvm.host import HostFacts

# Hardware runs hundreds of millions of these loops a second in every mode, nested hardware as well; KVM's instruction
# emulator, which is what a guest's kernel mode gets without hardware, about one million.
FEWEST_LOOPS_PER_S = 50_000_000.0
_MODES = ("real", "protected", "long")


class Case(StrEnum):
    """What a host's KVM is."""

    NATIVE = "native"
    NESTED = "nested"  # we are in a virtual machine that passes hardware virtualization on
    PVM = "pvm"  # KVM without hardware virtualization
    BROKEN = "broken"
    CLOSED = "closed"  # there, but our machines may not open it
    ABSENT = "absent"


@dataclass(frozen=True)
class Payload:
    """What the tiny guests did: `rates` are loops per second by mode, `errors` say why a mode has none."""

    rates: Mapping[str, float]
    errors: Mapping[str, str]
    took_ms: int


@dataclass(frozen=True)
class Boot:
    """How the boot of a real kernel went: `problem` is empty when it came to its end."""

    took_ms: int
    problem: str


@dataclass(frozen=True)
class Verdict:
    """Whether machines use KVM, and why in one line. `todo` says how to change it, empty when nothing helps."""

    is_usable: bool
    case: Case
    explanation: str
    todo: str = ""
    is_final: bool = True  # False: unproved in part, ask again

    @property
    def accelerator(self) -> str:
        return "kvm" if self.is_usable else "tcg"


def without_device(facts: HostFacts) -> Verdict | None:
    """The verdict when /dev/kvm is missing or we cannot open it, else None."""
    if not facts.has_device:
        has_hardware = bool(facts.flags & {"vmx", "svm"})
        why = "the kernel's KVM module is not loaded" if has_hardware else "the CPU offers no virtualization"
        todo = "Load it: sudo modprobe kvm_intel || sudo modprobe kvm_amd"
        if not has_hardware:
            todo = "Enable VT-x or AMD-V in the firmware, or nested virtualization in the hypervisor around this host"
        return Verdict(False, Case.ABSENT, f"no KVM: {why}; machines are emulated", todo)
    if facts.trouble:
        todo = "Join the group kvm: sudo usermod -aG kvm $USER, then log in again"
        return _closed(facts.trouble, todo)
    return None


def _closed(why: str, todo: str) -> Verdict:
    return Verdict(False, Case.CLOSED, f"KVM is closed: {why}; machines are emulated", todo, is_final=False)


def after_payload(facts: HostFacts, payload: Payload | None) -> Verdict | None:
    """The verdict when KVM failed the payload or is closed to machines, else None: boot a kernel next.

    `payload` is None when it never came back.
    """
    is_pvm = "kvm_pvm" in facts.modules and not facts.modules & {"kvm_intel", "kvm_amd"}
    case = Case.PVM if is_pvm else Case.BROKEN
    label = "KVM is PVM (no hardware virtualization)" if is_pvm else "KVM is broken"
    if payload is None:
        return Verdict(False, case, f"{label}: a guest of four instructions hangs; machines are emulated", _todo(case))
    if payload.errors:
        mode, error = next(iter(payload.errors.items()))
        return Verdict(False, case, f"{label}: no guest in {mode} mode ({error}); machines are emulated", _todo(case))
    slowest = min(_MODES, key=lambda mode: payload.rates.get(mode, 0.0))
    rate = payload.rates.get(slowest, 0.0)
    if rate < FEWEST_LOOPS_PER_S:
        speed = f"a guest's kernel in {slowest} mode runs {rate / 1e6:.1f} million loops/s where hardware runs hundreds"
        return Verdict(False, case, f"{label}: {speed}; machines are emulated", _todo(case))
    if facts.closed_to_machines:
        return _closed(
            facts.closed_to_machines, "Open it to a group: sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm"
        )
    return None


def after_boot(facts: HostFacts, boot: Boot | None) -> Verdict:
    """The verdict when the payload ran well. `boot` is None when there was no kernel to boot."""
    case = Case.NESTED if "hypervisor" in facts.flags else Case.NATIVE
    if "kvm_pvm" in facts.modules and not facts.modules & {"kvm_intel", "kvm_amd"}:
        case = Case.PVM
    if boot is None:
        return Verdict(True, case, f"KVM is {case}; its payload ran well, a kernel was not booted yet", is_final=False)
    if boot.problem:
        why = f"KVM is {case}, yet a kernel does not boot: {boot.problem}; machines are emulated"
        return Verdict(False, case, why, _todo(Case.BROKEN))
    return Verdict(True, case, f"KVM is {case}: a kernel booted in {boot.took_ms} ms")


def _todo(case: Case) -> str:
    if case is Case.PVM:
        return "Use a host with hardware virtualization, or enable it in the hypervisor around this host"
    return "Look at dmesg for KVM errors; update the host's kernel, or set INSULA_ACCELERATOR=tcg"
