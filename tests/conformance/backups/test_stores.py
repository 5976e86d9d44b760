"""A node's backups in stores of each kind: an S3 server and OpenSSH's SFTP server on loopback, and a folder."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from insula.base.errors import Forbidden, HostFailure, InsulaError, Unavailable
from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Resources
from insula.node.agent import Node
from insula.protocol.backups import StoreSecret, StoreSpec
from insula.protocol.node import InstanceSpec
from tests.conformance.backups.targets import s3_server, ssh_server
from tests.unit.node.agent.conftest import make_node, no_phase, quiet
from tests.unit.node.agent.test_forks import said, write

KINDS = tuple(StoreKind)


@asynccontextmanager
async def place(kind: StoreKind, top: Path) -> AsyncIterator[tuple[StorePlace, StoreSecret]]:
    """A store's place that is ready, and what opens it."""
    if kind is StoreKind.FOLDER:
        (top / "store").mkdir()
        yield StorePlace(kind, str(top / "store")), StoreSecret()
    elif kind is StoreKind.S3:
        async with s3_server(top) as (endpoint, access_key, secret_key):
            bucket = StorePlace(kind, "of/insula", endpoint=endpoint, bucket="backups")
            yield bucket, StoreSecret(access_key=access_key, secret_key=secret_key)
    else:
        async with ssh_server(top) as (where, key):
            folder = StorePlace(
                kind, where.folder, host=where.host, port=where.port, user=where.user, host_key=where.host_key
            )
            yield folder, StoreSecret(private_key=key.read_text())


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/tmp") as name:
        yield Path(name)


def new_store(where: StorePlace) -> StoreSpec:
    return StoreSpec(new_id(Kind.STORE), where)


async def instance(node: Node, name: str) -> InstanceSpec:
    resources = Resources(vcpus=1, memory_mib=64, disk_gib=1, cpu_percent=100)
    spec = InstanceSpec(new_id(Kind.INSTANCE), "p", name, name, "tiny", resources)
    await node.configure(spec)
    return spec


async def started(node: Node, spec: InstanceSpec) -> None:
    await node.start(spec.id)
    await node.await_ready(spec.id, 10, no_phase)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_instance_goes_there_and_comes_back(kind: StoreKind, tmp_path: Path, folder: Path) -> None:
    async with place(kind, tmp_path) as (where, secret), make_node(folder) as node:
        await node.prepare_image("tiny", quiet)
        web, store, backup = await instance(node, "web"), new_store(where), new_id(Kind.BACKUP)
        await node.make_disk(web)
        await started(node, web)
        await write(node, web, "/root/file", "then")
        assert (await node.open_store(store, secret)).is_new
        await node.make_backup(web.id, backup, store.id, quiet)
        assert (await node.check_store(store.id, True)).is_whole
        copy = await instance(node, "copy")
        await node.make_disk_from_backup(copy, store.id, backup, quiet)
        await started(node, copy)
        assert await said(node, copy, "cat", "/root/file") == "then"
        await node.remove_backups(store.id, [backup])
        assert await node.prune_store(store.id) > 0


@pytest.mark.parametrize("kind", [StoreKind.S3, StoreKind.SSH])
async def test_who_has_no_access_is_told(kind: StoreKind, tmp_path: Path, folder: Path) -> None:
    async with place(kind, tmp_path) as (where, secret), make_node(folder) as node:
        wrong = replace(secret, secret_key="wrong", private_key=_another_key(tmp_path))
        with pytest.raises(Forbidden):
            await node.open_store(store := new_store(where), wrong)
        with pytest.raises(InsulaError, match="no backup store"):
            await node.store_key(store.id)


@pytest.mark.parametrize("kind", [StoreKind.S3, StoreKind.SSH])
async def test_a_place_that_is_away_is_told(kind: StoreKind, tmp_path: Path, folder: Path) -> None:
    async with place(kind, tmp_path) as (where, secret):
        pass
    async with make_node(folder) as node:
        with pytest.raises(Unavailable):
            await node.open_store(new_store(where), secret)


async def test_a_bucket_that_is_not_there_is_told(tmp_path: Path, folder: Path) -> None:
    async with place(StoreKind.S3, tmp_path) as (where, secret), make_node(folder) as node:
        with pytest.raises(HostFailure, match="bucket nowhere is not there"):
            await node.open_store(new_store(replace(where, bucket="nowhere")), secret)


async def test_a_folder_that_is_not_mounted_is_told(tmp_path: Path, folder: Path) -> None:
    async with make_node(folder) as node:
        with pytest.raises(HostFailure, match="mount"):
            await node.open_store(new_store(StorePlace(StoreKind.FOLDER, str(tmp_path / "away"))), StoreSecret())


def _another_key(top: Path) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(top / "another"))
    return (top / "another").read_text()
