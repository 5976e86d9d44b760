"""Images and disks with the real tools: qemu-img in its jail, gpgv, a server on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from insula.base.clock import now_utc
from insula.base.errors import CommandMissing, Conflict, DataCorrupt, InvalidInput, NotFound
from insula.base.run import SEARCH_PATH
from insula.domain.image import ImageState
from insula.domain.volume import FileSystem
from insula.node.storage import fork_point
from insula.node.storage.backend import BootableImage
from insula.node.storage.disks import Disks
from insula.node.storage.downloading import CloudImage, Downloaded, verify_signature
from insula.node.storage.headers import FileFormat
from insula.node.storage.library import ImageLibrary
from insula.node.storage.template import Template, TemplateFacts, write_template
from tests.unit.node.storage.loopback import Served, serving

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")


def ignore(message: str, percent: int = -1) -> None:
    pass


def qemu_img(*arguments: str | Path) -> str:
    return subprocess.run(
        ["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def facts_of(disk: Path) -> dict[str, object]:
    facts: dict[str, object] = json.loads(qemu_img("info", "--output=json", "-U", disk))
    return facts


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder that an unprivileged user can reach, as the jail's user must."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    return tmp_path


@pytest.fixture
def qcow2(room: Path) -> Path:
    """A small disk with something on it."""
    raw, disk = room / "content.raw", room / "source.qcow2"
    raw.write_bytes(os.urandom(1 << 20))
    os.truncate(raw, 1 << 28)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", raw, disk)
    return disk


async def imported(room: Path, disk: Path) -> BootableImage:
    library = ImageLibrary(room / "images", [])
    image = await library.import_file("mine", disk, "qcow2", ignore)
    assert image.state is ImageState.READY
    return await library.bootable("mine")


async def test_an_imported_disk_has_the_same_contents_and_the_source_stays(room: Path, qcow2: Path) -> None:
    before = hashlib.sha256(qcow2.read_bytes()).digest()
    bootable = await imported(room, qcow2)
    qemu_img("compare", "-f", "qcow2", "-F", "raw", bootable.disk, room / "content.raw")
    assert hashlib.sha256(qcow2.read_bytes()).digest() == before
    assert sorted(path.name for path in bootable.disk.parent.iterdir()) == ["disk.qcow2", "manifest.json"]
    assert bootable.disk.stat().st_uid == os.geteuid()


async def test_a_raw_disk_is_imported_too(room: Path, qcow2: Path) -> None:
    library = ImageLibrary(room / "images", [])
    await library.import_file("raw", room / "content.raw", "raw", ignore)
    disk = (await library.bootable("raw")).disk
    assert facts_of(disk)["format"] == "qcow2"
    qemu_img("compare", "-f", "qcow2", "-F", "raw", disk, room / "content.raw")


async def test_a_disk_with_a_hidden_backing_file_is_refused_and_leaves_nothing(room: Path, qcow2: Path) -> None:
    overlay = room / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", qcow2, overlay)
    library = ImageLibrary(room / "images", [])
    with pytest.raises(InvalidInput, match="backing file"):
        await library.import_file("mine", overlay, "qcow2", ignore)
    assert list((room / "images").glob("[!.]*")) == []
    assert list((room / "images").glob(".*building*")) == []


async def test_a_truncated_disk_is_refused_and_leaves_nothing(room: Path, qcow2: Path) -> None:
    os.truncate(qcow2, qcow2.stat().st_size - 300_000)
    library = ImageLibrary(room / "images", [])
    with pytest.raises(DataCorrupt) as caught:
        await library.import_file("mine", qcow2, "qcow2", ignore)
    assert caught.value.code == "damaged-image-file"
    assert list((room / "images").glob("[!.]*")) == []


async def test_a_clone_is_thin_private_and_names_its_image(room: Path, qcow2: Path) -> None:
    bootable = await imported(room, qcow2)
    disk = room / "disk.qcow2"
    await Disks().clone(bootable, disk, 5)
    facts = facts_of(disk)
    assert facts["virtual-size"] == 5 << 30
    assert facts["backing-filename"] == str(bootable.disk)
    assert facts["backing-filename-format"] == "qcow2"
    assert disk.stat().st_mode & 0o777 == 0o600
    assert disk.stat().st_blocks * 512 < 1 << 20
    await Disks().clone(bootable, disk, 6)
    assert facts_of(disk)["virtual-size"] == 6 << 30


@pytest.mark.parametrize("size_gib", [0, -1, 10**9])
async def test_an_impossible_size_is_refused_before_anything_is_written(room: Path, qcow2: Path, size_gib: int) -> None:
    bootable = await imported(room, qcow2)
    with pytest.raises(InvalidInput) as caught:
        await Disks().clone(bootable, room / "disk.qcow2", size_gib)
    assert "disk_gib" in caught.value.fields
    assert not (room / "disk.qcow2").exists()


async def test_a_disk_grows_but_never_shrinks(room: Path, qcow2: Path) -> None:
    bootable = await imported(room, qcow2)
    disk = room / "disk.qcow2"
    await Disks().clone(bootable, disk, 5)
    for size_gib in (7, 7):
        await Disks().grow(disk, size_gib)
        assert facts_of(disk)["virtual-size"] == 7 << 30
    with pytest.raises(Conflict) as caught:
        await Disks().grow(disk, 6)
    assert caught.value.code == "disk-shrink"
    with pytest.raises(NotFound):
        await Disks().grow(room / "absent.qcow2", 9)


@pytest.mark.parametrize("file_system", list(FileSystem))
async def test_a_volumes_disk_has_a_labelled_file_system_and_takes_no_room(room: Path, file_system: FileSystem) -> None:
    if file_system is FileSystem.XFS and shutil.which("mkfs.xfs", path=SEARCH_PATH) is None:
        pytest.skip("needs xfsprogs")
    disk = room / "volume.qcow2"
    await Disks().blank(disk, 5, file_system, "a-long-name-of-a-volume")
    assert (facts_of(disk)["format"], facts_of(disk)["virtual-size"]) == ("qcow2", 5 << 30)
    assert disk.stat().st_mode & 0o777 == 0o600
    assert disk.stat().st_blocks * 512 < 64 << 20
    assert [path.name for path in room.iterdir()] == [disk.name]
    raw = room / "volume.raw"
    qemu_img("convert", "-O", "raw", disk, raw)
    found = subprocess.run(["blkid", "-o", "export", raw], capture_output=True, text=True, timeout=30, check=False)
    facts = dict(line.split("=", 1) for line in found.stdout.splitlines())
    labels = {"ext4": "a-long-name-of-a", "xfs": "a-long-name-"}
    assert facts.get("TYPE", "none") == file_system
    assert facts.get("LABEL") == labels.get(file_system)


async def test_a_tool_that_is_missing_is_named_with_its_package(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insula.base.run.SEARCH_PATH", "/nowhere")
    with pytest.raises(CommandMissing, match=r"mkfs\.xfs") as refused:
        await Disks().blank(room / "volume.qcow2", 1, FileSystem.XFS, "data")
    assert "apt-get install xfsprogs" in refused.value.todo
    assert list(room.iterdir()) == []


async def test_a_disk_whose_header_was_bent_to_a_host_file_is_not_opened(room: Path, qcow2: Path) -> None:
    secret = room / "secret"
    secret.write_bytes(b"s" * 4096)
    disk = room / "disk.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disk, "1G")
    with pytest.raises(DataCorrupt) as caught:
        await Disks().grow(disk, 2)
    assert caught.value.code == "foreign-backing-file"


async def test_a_volume_with_parts_in_another_file_is_not_handed_on(room: Path) -> None:
    disk, secret = room / "volume.qcow2", room / "secret"
    await Disks().blank(disk, 1, FileSystem.NONE, "data")
    await Disks().check_alone(disk)
    disk.unlink()
    with pytest.raises(NotFound):
        await Disks().check_alone(disk)
    secret.write_bytes(b"s" * 4096)
    for bent in (("-F", "raw", "-b", secret), ("-o", f"data_file={secret}")):
        qemu_img("create", "-q", "-f", "qcow2", *bent, disk, "1G")
        with pytest.raises(DataCorrupt) as caught:
            await Disks().check_alone(disk)
        assert caught.value.code == "foreign-backing-file"


async def test_a_disk_on_a_template_grows_when_the_template_is_based_on_an_image(room: Path, qcow2: Path) -> None:
    bootable = await imported(room, qcow2)
    template = Template(room, TemplateFacts("0" * 64, bootable.name, str(bootable.disk), 1, 128, 5, now_utc(), {}))
    await Disks().clone(bootable, template.disk, 5)
    write_template(room, template.facts)
    based = template.based(bootable)
    assert based.disks == (template.disk, bootable.disk)
    disk = room / "own.qcow2"
    await Disks().clone(based, disk, 5)
    await Disks().grow(disk, 7)
    assert facts_of(disk)["virtual-size"] == 7 << 30
    secret = room / "secret"
    secret.write_bytes(b"s" * 4096)
    template.disk.unlink()
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, template.disk, "5G")
    with pytest.raises(DataCorrupt) as caught:
        await Disks().grow(disk, 8)
    assert caught.value.code == "foreign-backing-file"


async def test_disks_over_a_fork_grow(room: Path, qcow2: Path) -> None:
    bootable = await imported(room, qcow2)
    disk = room / "own.qcow2"
    await Disks().clone(bootable, disk, 5)
    for name in ("one", "two"):
        folder = room / "forks" / name
        fork_point.begin(folder, fork_point.ForkFacts("ins_1", now_utc()), disk)
        await Disks().layer(folder / fork_point.DISK_FILE, disk)
        fork_point.share(folder, None)
    child = room / "child.qcow2"
    await Disks().layer(folder / fork_point.DISK_FILE, child)
    for path, size_gib in ((disk, 7), (child, 8)):
        assert facts_of(path)["virtual-size"] == 5 << 30
        await Disks().grow(path, size_gib)
        assert facts_of(path)["virtual-size"] == size_gib << 30
    secret = room / "disk.qcow2"
    secret.write_bytes(b"s" * 4096)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, folder / fork_point.DISK_FILE, "5G")
    with pytest.raises(DataCorrupt) as caught:
        await Disks().grow(child, 9)
    assert caught.value.code == "foreign-backing-file"


async def test_the_layers_of_a_disk_are_merged(room: Path, qcow2: Path) -> None:
    """What it reads stays what it is, at every point; the layers between are left alone."""
    bootable = await imported(room, qcow2)
    disk = room / "own.qcow2"
    await Disks().clone(bootable, disk, 5)
    for number, name in enumerate(("one", "two", "three")):
        qemu_img(
            "bench",
            "-q",
            "-f",
            "qcow2",
            "-w",
            f"--pattern={number + 1}",
            "-c",
            "8",
            "-s",
            "65536",
            "-o",
            f"{number}M",
            disk,
        )
        folder = room / "forks" / name
        fork_point.begin(folder, fork_point.ForkFacts("ins_1", now_utc()), disk)
        await Disks().layer(folder / fork_point.DISK_FILE, disk)
    before = room / "before.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", disk, before)
    layers = [room / "forks" / name / fork_point.DISK_FILE for name in ("one", "two", "three")]
    digests = [hashlib.sha256(layer.read_bytes()).digest() for layer in layers]
    for _ in range(2):
        await Disks().merge(disk, bootable.disk)
        assert facts_of(disk)["backing-filename"] == str(bootable.disk)
        qemu_img("compare", "-q", "-f", "qcow2", "-F", "raw", disk, before)
    assert [hashlib.sha256(layer.read_bytes()).digest() for layer in layers] == digests
    for folder in (room / "forks").iterdir():
        shutil.rmtree(folder)
    qemu_img("compare", "-q", "-f", "qcow2", "-F", "raw", disk, before)
    with pytest.raises(DataCorrupt):
        await Disks().merge(disk, room / "foreign.qcow2")


@pytest.mark.root
async def test_a_fork_is_read_by_its_group_only(room: Path, qcow2: Path) -> None:
    bootable = await imported(room, qcow2)
    disk, folder = room / "own.qcow2", room / "forks" / "one"
    await Disks().clone(bootable, disk, 5, uid=1_900_000_001)
    fork_point.begin(folder, fork_point.ForkFacts("ins_1", now_utc()), disk)
    await Disks().layer(folder / fork_point.DISK_FILE, disk, uid=1_900_000_001)
    fork_point.share(folder, 1_900_000_002)
    shared = (folder / fork_point.DISK_FILE).stat()
    assert (shared.st_uid, shared.st_gid, shared.st_mode & 0o777) == (0, 1_900_000_002, 0o640)
    await Disks().grow(disk, 6)
    assert facts_of(disk)["virtual-size"] == 6 << 30


@pytest.mark.root
async def test_a_disk_belongs_to_the_user_it_is_made_for_and_stays_his(room: Path, qcow2: Path) -> None:
    bootable = await imported(room, qcow2)
    disk = room / "disk.qcow2"
    await Disks().clone(bootable, disk, 5, uid=1_900_000_001)
    await Disks().grow(disk, 6)
    assert (disk.stat().st_uid, disk.stat().st_mode & 0o777) == (1_900_000_001, 0o600)


def cloud(url: str, **changes: str) -> Downloaded:
    return Downloaded(
        CloudImage(
            name="cloud",
            title="Cloud",
            url=f"{url}/cloud.img",
            format=FileFormat.QCOW2,
            checksums=f"{url}/SHA512SUMS",
            min_memory_mib=512,
            min_disk_gib=1,
            **changes,
        )
    )


def sums(data: bytes) -> bytes:
    return f"{hashlib.sha512(data).hexdigest()}  cloud.img\n".encode()


async def test_a_vendors_image_is_fetched_verified_and_ready(room: Path, qcow2: Path) -> None:
    data = qcow2.read_bytes()
    seen: list[int] = []
    with serving({"/cloud.img": Served(data), "/SHA512SUMS": Served(sums(data))}) as url:
        library = ImageLibrary(room / "images", [cloud(url)])
        image = await library.prepare("cloud", lambda _, percent=-1: seen.append(percent))
    assert image.state is ImageState.READY
    assert image.version == "2026-01-31"
    assert seen == sorted(seen)
    disk = (await library.bootable("cloud")).disk
    qemu_img("compare", "-f", "qcow2", "-F", "raw", disk, room / "content.raw")


@pytest.mark.parametrize("what", ["changed", "unlisted", "backing"])
async def test_a_vendors_image_that_is_not_right_is_never_used(room: Path, qcow2: Path, what: str) -> None:
    data = qcow2.read_bytes()
    listed = sums(data) if what == "changed" else b"" if what == "unlisted" else None
    if what == "changed":
        data = data[:-1] + bytes([data[-1] ^ 1])
    if what == "backing":
        overlay = room / "overlay.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", qcow2, overlay)
        data = overlay.read_bytes()
    files = {"/cloud.img": Served(data), "/SHA512SUMS": Served(sums(data) if listed is None else listed)}
    with serving(files) as url:
        library = ImageLibrary(room / "images", [cloud(url)])
        with pytest.raises((DataCorrupt, InvalidInput)) as caught:
            await library.prepare("cloud", ignore)
    codes = {"changed": "wrong-checksum", "unlisted": "no-checksum", "backing": "image-not-self-contained"}
    assert caught.value.code == codes[what]
    assert list((room / "images").glob("[!.]*")) == []
    assert list((room / "images").glob(".*building*")) == []
    assert [image.state for image in await library.list()] == [ImageState.FAILED]


@pytest.fixture
def signer(tmp_path: Path) -> Path:
    """A folder with a fresh key: `keyring.gpg`, and `sign` leaves `NAME.gpg` beside NAME."""
    if shutil.which("gpg") is None:
        pytest.skip("needs gpg")
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "vendor@example.org", "ed25519"], check=True, timeout=60)
    (home / "SUMS").write_bytes(b"sums\n")
    subprocess.run([*gpg, "--detach-sign", str(home / "SUMS")], check=True, timeout=60)
    subprocess.run([*gpg, "--output", str(home / "keyring.gpg"), "--export"], check=True, timeout=60)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True, timeout=60)
    return home


async def test_a_signature_counts_only_for_the_very_file_and_key(signer: Path) -> None:
    await verify_signature(signer / "SUMS", signer / "SUMS.sig", signer / "keyring.gpg")
    (signer / "other").write_bytes(b"changed\n")
    with pytest.raises(DataCorrupt) as caught:
        await verify_signature(signer / "other", signer / "SUMS.sig", signer / "keyring.gpg")
    assert caught.value.code == "wrong-signature"
    with pytest.raises(DataCorrupt):
        await verify_signature(signer / "SUMS", signer / "SUMS.sig", Path(os.devnull))


async def test_a_wrong_signature_stops_a_download_before_the_image_is_fetched(
    room: Path, qcow2: Path, signer: Path
) -> None:
    data = qcow2.read_bytes()
    image = Served(data)
    signature = Served((signer / "SUMS.sig").read_bytes())
    with serving({"/cloud.img": image, "/SHA512SUMS": Served(sums(data)), "/SIG": signature}) as url:
        maker = cloud(url, checksum_signature=f"{url}/SIG", checksum_keyring=str(signer / "keyring.gpg"))
        with pytest.raises(DataCorrupt) as caught:
            await ImageLibrary(room / "images", [maker]).prepare("cloud", ignore)
    assert caught.value.code == "wrong-signature"
    assert image.requests == []
