"""What a guest is asked about its disks: to see that one grew, and whether it uses one that is to be taken away.

The questions are scripts for any POSIX shell, busybox's included, which are handed to the guest through its agent. A
disk is known by the serial number that the host gave it. What they print is the guest's word and no more than that.
"""

from __future__ import annotations

from insula.base.errors import Conflict, GuestFailure, Unsupported
from insula.node.agent.guest import GuestAgent
from insula.node.agent.guest_commands import execute
from insula.protocol.node import GrowReport

ROOT_DISK = "disk"  # the serial number of an instance's own
_TIMEOUT_S = 120.0

_FIND = """
disk=
for place in /sys/block/*; do
    known=
    if [ -r "$place/serial" ]; then
        read -r known < "$place/serial" # has no line's end, for which read would fail
    elif [ -r "$place/device/vpd_pg80" ]; then
        known=$(tr -cd 'a-z0-9_' < "$place/device/vpd_pg80")
    fi
    [ "$known" = "$1" ] && disk=${place##*/}
done
[ -n "$disk" ] || { echo missing; exit 0; }
"""

# The file systems on the whole disk; one that is mounted at several places is told of once.
_GROW = """
[ ! -e "/sys/block/$disk/device/rescan" ] || echo 1 > "/sys/block/$disk/device/rescan"
tries=0
while read -r sectors < "/sys/block/$disk/size" && [ "$sectors" -lt "$2" ]; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || { echo unseen; exit 0; }
    sleep 0.1 2> /dev/null || sleep 1
done
read -r device < "/sys/block/$disk/dev"
done=
while read -r id parent number root place rest; do
    [ "$number" = "$device" ] && [ -z "$done" ] || continue
    done=yes
    place=$(printf '%b' "$place") # a space in it is written as \\040
    kind=${rest#*- }
    kind=${kind%% *}
    case "$kind" in
        ext[234]) said=$(resize2fs "/dev/$disk" 2>&1) ;;
        xfs) said=$(xfs_growfs "$place" 2>&1) ;;
        *) said="file systems of type $kind are left alone"; false ;;
    esac && echo "grown $place" || echo "failed $(echo "$said" | tail -n 1)"
done < /proc/self/mountinfo
for part in "/sys/block/$disk/$disk"*; do
    [ ! -e "$part" ] || done=${done:-parted}
done
[ "$done" = yes ] || echo "${done:-unmounted}"
"""

_USE = """
for part in "/sys/block/$disk" "/sys/block/$disk/$disk"*; do
    [ -r "$part/dev" ] && read -r device < "$part/dev" || continue
    while read -r id parent number root place rest; do
        source=${rest#* - * }
        source=${source%% *}
        # Some file systems, as btrfs, have a number of their own, and tell the device by its name only.
        [ "$number" = "$device" ] || [ "$source" -ef "/dev/${part##*/}" ] || continue
        echo "mounted $(printf '%b' "$place")"
    done < /proc/self/mountinfo
    while read -r file rest; do
        [ "$file" != "/dev/${part##*/}" ] || echo "swap $file"
    done < /proc/swaps
    for holder in "$part"/holders/*; do
        [ ! -e "$holder" ] || echo "held ${holder##*/}"
    done
done
sync
blockdev --flushbufs "/dev/$disk" 2> /dev/null
exit 0
"""


async def grow_file_systems(agent: GuestAgent, serial: str, size_gib: int) -> GrowReport:
    """Let the guest see a disk's new size and grow what is mounted from it; never raises for what a guest does."""
    sectors = str(size_gib << 21)
    try:
        said = await _ask(agent, "grow-disk", _FIND + _GROW, serial, sectors)
    except (GuestFailure, Unsupported) as error:
        return GrowReport(todo=f"The guest could not be asked ({error.what}). {_BY_HAND}")
    grown, todo = [], []
    for line in said:
        word, _, rest = line.partition(" ")
        if word == "grown":
            grown.append(rest)
        elif word in _TODO:
            todo.append(f"{_TODO[word]}{f': {rest}' if rest else ''}. {_BY_HAND}")
    return GrowReport(tuple(grown), " ".join(todo))


_BY_HAND = "Grow its file system in the guest: resize2fs for ext4, xfs_growfs for XFS"
NO_AGENT = GrowReport(todo=f"The guest has no agent that could be asked. {_BY_HAND}")
OFF = GrowReport()
"""No guest sees it now: an image of ours grows its own disk when it boots, and a volume is grown when it is mounted."""
_TODO = {
    "missing": "The guest does not know the disk",
    "unseen": "The guest does not see the new size yet",
    "unmounted": "Nothing is mounted from it",
    "parted": "It has partitions, which are left alone: make the last one larger first",
    "failed": "The guest did not grow it",
}


async def check_unused(agent: GuestAgent, serial: str, volume: str, instance: str) -> None:
    """Raise Conflict when the guest has the disk mounted, or uses it otherwise; what it has to write is written then.

    Raises GuestFailure when the guest does not answer.
    """
    uses = [line for line in await _ask(agent, "use-of-disk", _FIND + _USE, serial) if line != "missing"]
    if uses:
        raise Conflict(
            f"The guest of {instance} uses the volume {volume}",
            why="; ".join(uses[:5]),
            todo=f"Unmount it in the guest, or take it away all the same: insula volume detach {volume} --force",
            code="volume-in-use",
        )


async def _ask(agent: GuestAgent, name: str, script: str, *arguments: str) -> list[str]:
    done = await execute(agent, ("/bin/sh", "-s", "--", *arguments), f"# {name}\n{script}".encode(), _TIMEOUT_S)
    if done.exit_code != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise GuestFailure(
            "The guest could not be asked about its disks",
            why=said or f"The question ended with status {done.exit_code}",
            todo="Look at the guest over SSH or its console",
            code="guest-command-failed",
        )
    return done.stdout.decode("utf-8", "replace").splitlines()[:100]
