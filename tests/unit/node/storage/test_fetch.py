from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt, InvalidInput, Unavailable
from insula.node.storage import fetch as module
from insula.node.storage.fetch import check_url, fetch
from tests.unit.node.storage.loopback import Served, serving

DATA = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 65536)


def ignore(have: int, total: int) -> None:
    pass


async def test_a_file_arrives_with_true_progress_and_its_date(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with serving({"/x": Served(DATA)}) as url:
        done = await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=lambda *step: seen.append(step))
    assert (tmp_path / "x").read_bytes() == DATA
    assert done.size_bytes == len(DATA)
    assert done.modified == "2026-01-31"
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert len(seen) > 10


async def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    served = Served(DATA, drop_after=1_000_000, drops=2)
    with serving({"/x": served}) as url:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert (tmp_path / "x").read_bytes() == DATA
    assert served.requests == ["", "bytes=1000000-", "bytes=2000000-"]


async def test_a_server_that_cannot_resume_sends_it_all_again(tmp_path: Path) -> None:
    with serving({"/x": Served(DATA, ranges=False, drop_after=1_000_000, drops=1)}) as url:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert (tmp_path / "x").read_bytes() == DATA


async def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path) -> None:
    served = Served(DATA, drop_after=1_000_000, drops=1)

    def change(have: int, total: int) -> None:
        served.etag, served.data = '"v2"', DATA[::-1]

    with serving({"/x": served}) as url:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=change)
    assert (tmp_path / "x").read_bytes() == DATA[::-1]


async def test_a_server_that_resumes_elsewhere_is_not_believed(tmp_path: Path) -> None:
    served = Served(DATA, drop_after=1_000_000, drops=1, resume_at=5)
    with serving({"/x": served}) as url:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert (tmp_path / "x").read_bytes() == DATA
    assert served.requests == ["", "bytes=1000000-", ""]


@pytest.mark.parametrize("claim", [1, 500])
async def test_a_server_that_promises_more_than_it_sends_is_given_up(tmp_path: Path, claim: int) -> None:
    with serving({"/x": Served(b"x" * 1000, claim=claim, ranges=False)}) as url, pytest.raises(Unavailable) as caught:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert "1000 of" in caught.value.why
    assert list(tmp_path.iterdir()) == []


async def test_a_short_hiccup_of_the_server_is_survived(tmp_path: Path) -> None:
    with serving({"/x": Served(DATA, status=503, failures=2)}) as url:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("path", ["/absent", "/forbidden"])
async def test_a_refusal_is_final_and_told(tmp_path: Path, path: str) -> None:
    served = Served(status=403, failures=9)
    with serving({"/forbidden": served}) as url, pytest.raises(Unavailable, match="could not be fetched") as caught:
        await fetch(f"{url}{path}", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert "40" in caught.value.why
    assert len(served.requests) <= 1
    assert list(tmp_path.iterdir()) == []


async def test_too_much_is_refused_before_and_while_it_comes(tmp_path: Path) -> None:
    with serving({"/x": Served(DATA)}) as url, pytest.raises(DataCorrupt) as caught:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=len(DATA) - 1, on_progress=ignore)
    assert caught.value.code == "download-too-large"
    assert list(tmp_path.iterdir()) == []


async def test_a_redirection_is_followed_when_it_is_as_safe(tmp_path: Path) -> None:
    files = {"/x": Served(location="/y"), "/y": Served(DATA)}
    with serving(files) as url:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("location", ["http://example.invalid/x", "ftp://example.invalid/x", "file:///etc/passwd"])
async def test_a_redirection_to_anything_else_is_refused(tmp_path: Path, location: str) -> None:
    with serving({"/x": Served(location=location)}) as url, pytest.raises(InvalidInput) as caught:
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)
    assert caught.value.code == "url-not-https"
    assert list(tmp_path.iterdir()) == []


async def test_redirections_in_a_circle_end(tmp_path: Path) -> None:
    with serving({"/x": Served(location="/x")}) as url, pytest.raises(Unavailable):
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with serving({}) as url:
        pass
    with pytest.raises(Unavailable, match="could not be fetched"):
        await fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=ignore)


async def test_cancelling_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_progress(have: int, total: int) -> None:
        loop.call_soon_threadsafe(begun.set)

    with serving({"/x": Served(DATA, drop_after=100_000, drops=9)}) as url:
        task = asyncio.create_task(fetch(f"{url}/x", tmp_path / "x", max_bytes=1 << 30, on_progress=on_progress))
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://x/y", "file:///etc/passwd", "x", "", "https:///x"])
def test_only_https_and_loopback_addresses_are_taken(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url)
    assert check_url("https://example.org/x") == "https://example.org/x"
    assert check_url("http://127.0.0.1:1/x") == "http://127.0.0.1:1/x"
