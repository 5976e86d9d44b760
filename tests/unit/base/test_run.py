"""These are the tests of the process seam itself, so they do start (tiny) processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from insula.base.errors import CommandFailed, CommandMissing, DiskFull
from insula.base.run import detach, run


async def test_output_and_input_are_whole() -> None:
    done = await run(["cat"], stdin=b"x" * 300_000, timeout_s=10)
    assert (done.returncode, len(done.stdout)) == (0, 300_000)


async def test_a_failure_keeps_the_output_and_hides_secrets() -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(["sh", "-c", "echo 'token hunter2' >&2; exit 3", "hunter2"], timeout_s=10, secrets=["hunter2"])
    assert "exit status 3" in caught.value.what
    assert "token ***" in caught.value.why
    assert "hunter2" not in str(caught.value)


async def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(CommandMissing, match="no-such-program"):
        await run(["no-such-program"], timeout_s=1)


async def test_a_full_disk_is_recognised() -> None:
    with pytest.raises(DiskFull):
        await run(["sh", "-c", "cat /etc/passwd > /dev/full"], timeout_s=10)


async def test_the_environment_is_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKY", "yes")
    done = await run(["env"], env={"GIVEN": "1"}, timeout_s=10)
    assert "GIVEN=1" in done.text
    assert "LEAKY" not in done.text


async def test_a_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(CommandFailed) as caught:
        await run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout_s=0.5)
    assert caught.value.code == "command-timeout"
    await _gone(int(pid_file.read_text()))


async def test_cancellation_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    task = asyncio.create_task(run(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"], timeout_s=30))
    while not (pid_file.exists() and pid_file.read_text().strip()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _gone(int(pid_file.read_text()))


@pytest.mark.parametrize("turns", range(1, 16))
async def test_cancellation_while_it_starts_leaves_nothing(turns: int) -> None:
    seconds = f"60.{os.getpid()}{turns:02}"  # by which it is found
    task = asyncio.create_task(run(["sh", "-c", f"sleep {seconds} & wait"], timeout_s=30))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            assert seconds.encode() not in (folder / "cmdline").read_bytes()


async def test_what_was_printed_and_never_read_does_not_keep_a_killed_program() -> None:
    with pytest.raises(CommandFailed) as caught:
        await run(["sh", "-c", "exec cat /dev/zero >&2"], timeout_s=0.5, on_line=lambda line: time.sleep(0.1))
    assert caught.value.code == "command-timeout"


async def test_lines_are_seen_while_it_runs() -> None:
    seen: list[str] = []
    await run(["sh", "-c", "printf '10%%\\r20%%\\nend' >&2"], timeout_s=10, on_line=seen.append)
    assert seen == ["10%", "20%", "end"]


async def test_a_detached_program_has_its_own_session_and_a_private_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    await detach(["sh", "-c", "echo $$; exec sleep 60"], log=log)
    deadline = time.monotonic() + 5
    while not log.read_text().endswith("\n") and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    pid = int(log.read_text())
    try:
        assert os.getsid(pid) == pid
        assert log.stat().st_mode & 0o777 == 0o600
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent != os.getpid()
    finally:
        os.kill(pid, signal.SIGKILL)
        await _gone(pid)


async def _gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"process {pid} is still there")
