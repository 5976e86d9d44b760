"""Machines that go on from one frozen memory, on a driver of their own, without a node around them."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from insula.base.clock import monotonic_s
from insula.domain.instance import Firmware, MachineType, Resources
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import execute, exists
from insula.node.hypervisor.driver import (
    CanCutNetwork,
    CanPause,
    CanSave,
    DirectBoot,
    GuestMemory,
    Machine,
    MachineSpec,
    StreamNic,
)
from insula.node.hypervisor.qemu.driver import QemuDriver
from insula.node.runtime import shared_memory
from insula.node.runtime.uids import UidRange
from insula.node.storage.backend import BootableImage, SeedContents
from insula.node.storage.seed import write_seed
from tests.small_guest import booted

_EXEC_S = 60.0


@dataclass
class Sibling:
    """A machine that goes on, without a link until it is renewed; `mac` and `instance_id` are what it shall become."""

    spec: MachineSpec
    machine: Machine
    agent: GuestAgent
    mac: str
    instance_id: str
    renew_ms: int = 0

    async def renew(self) -> str:
        """Run the guest's renewal and return what it prints; fails with its reason when it fails."""
        began_s = monotonic_s()
        argv = ["/usr/lib/insula/renew", f"{time.time():.6f}", self.mac]
        done = await execute(self.agent, argv, secrets.token_bytes(64), _EXEC_S)
        self.renew_ms = int((monotonic_s() - began_s) * 1000)
        assert done.exit_code == 0, (done.stderr + done.stdout).decode()
        assert isinstance(self.machine, CanCutNetwork)
        await self.machine.set_link(True)
        return done.stdout.decode()

    async def run(self, script: str) -> str:
        done = await execute(self.agent, ["/bin/sh", "-c", script], b"", _EXEC_S)
        assert done.exit_code == 0, f"{script}: {(done.stderr + done.stdout).decode()}"
        return done.stdout.decode().strip()

    async def ready(self, timeout_s: float) -> None:
        """Wait until it says that its first-boot work is done."""
        async with asyncio.timeout(timeout_s):
            while not await exists(self.agent, "/run/insula/ready"):
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        await self.agent.close()
        await self.machine.kill()


class Family:
    """The siblings of one image, and the template that they come from."""

    def __init__(self, home: Path, image: BootableImage, memory_mib: int) -> None:
        self._home = home
        self._image = image
        self._resources = Resources(vcpus=1, memory_mib=memory_mib, disk_gib=4, cpu_percent=100)
        self._uids = UidRange() if UidRange.is_usable() else None
        self._driver = QemuDriver(home, accelerator="tcg")
        self._stack = AsyncExitStack()
        self._template: MachineSpec | None = None
        self._memory = -1
        self._born = 0

    async def close(self) -> None:
        await self._stack.aclose()

    async def freeze(self) -> None:
        """Boot the template until it is ready, save it, end it and seal its memory."""
        spec = await self._spec("template", SeedContents("template-of-a-test", "template"), new_disk=True)
        self._memory = shared_memory.make("template", spec.resources.memory_mib << 20)
        self._stack.callback(os.close, self._memory)
        machine = await self._driver.start(replace(spec, memory=GuestMemory(self._memory)))
        agent = GuestAgent(spec.folder / "agent.sock", "template")
        try:
            await booted(spec.folder, 180)
            # Until nothing is left to do, lest siblings are born in the middle of it.
            await agent.await_answer(60)
            assert isinstance(machine, CanSave)
            assert isinstance(machine, CanCutNetwork)
            await machine.set_link(False)
            settled = await execute(agent, ["/usr/lib/insula/renew", "settle"], b"", _EXEC_S)
            assert settled.exit_code == 0, settled.stderr.decode()
            await machine.pause()
            await machine.save(spec.folder / "devices")
        finally:
            await machine.kill()
            await agent.close()
        shared_memory.seal(self._memory)
        self._template = spec

    @asynccontextmanager
    async def sibling(self, user_data: str = "", keys: tuple[str, ...] = ()) -> AsyncIterator[Sibling]:
        """One that goes on from the template, not yet renewed; it is gone afterwards."""
        assert self._template is not None
        self._born += 1
        number = self._born
        contents = SeedContents(f"ins_{number}", f"web{number}.example.org", keys, user_data)
        spec = await self._spec(f"web{number}", contents, new_disk=False)
        saved = self._template.folder / "devices"
        machine = await self._driver.start(replace(spec, saved=saved, memory=GuestMemory(self._memory, True)))
        agent = GuestAgent(spec.folder / "agent.sock", spec.name)
        mac = f"52:54:00:00:01:{number:02x}"
        one = Sibling(spec, machine, agent, mac, contents.instance_id)
        try:
            assert isinstance(machine, CanPause)
            await agent.attach(10)
            await machine.resume()
            yield one
        finally:
            await one.end()

    async def _spec(self, name: str, contents: SeedContents, *, new_disk: bool) -> MachineSpec:
        folder = self._home / name
        folder.mkdir(mode=0o711)
        uid = self._uids.claim(folder) if self._uids else None
        if self._uids:
            self._stack.callback(self._uids.release, folder)
        disk = folder / "disk.qcow2"
        if new_disk:
            command = [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "qcow2",
                "-b",
                str(self._image.disk),
                str(disk),
                "4G",
            ]
            subprocess.run(command, check=True, timeout=30)
        else:
            assert self._template is not None
            shutil.copyfile(self._template.disk, disk)
        write_seed(folder / "seed.iso", contents, uid)
        kernel = self._image.boot_for(Firmware.BIOS, "tcg")
        assert kernel is not None
        return MachineSpec(
            id=f"ins_{name}_{os.getpid()}",
            name=name,
            folder=folder,
            resources=self._resources,
            machine_type=MachineType.Q35,
            firmware=Firmware.BIOS,
            disk=disk,
            read_only=(self._image.disk,),
            seed=folder / "seed.iso",
            direct_boot=DirectBoot(kernel.kernel, kernel.initrd, kernel.command_line),
            nic=StreamNic("52:54:00:00:00:ff", await self._wire(folder / "net.sock")),
            uid=uid,
        )

    async def _wire(self, path: Path) -> Path:
        """A network on which nobody answers."""

        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65536):
                pass
            writer.close()

        server = await asyncio.start_unix_server(swallow, path)
        self._stack.callback(server.close)
        path.chmod(0o666)
        return path
