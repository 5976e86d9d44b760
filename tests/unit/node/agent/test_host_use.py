from __future__ import annotations

import os

import pytest

from insula.domain.history import Metric
from insula.node.agent.host_use import disk_counts, network_counts, processor_s

_STAT = "cpu  100 20 30 4000 50 6 7 800 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
_DEVICES = """Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 9000      90    0    0    0     0          0         0     9000      90    0    0    0     0       0          0
  eth0:1000      10    0    0    0     0          0         0     300       3    0    0    0     0       0          0
  eth1: 500       5    0    0    0     0          0         0     40       4    0    0    0     0       0          0
"""
_DISKS = """   7       0 loop0 9 9 9 9 9 9 9 9 0 9 9
 254       0 vda 30 1 400 5 60 2 800 7 0 8 9 0 0 0 0
 254       1 vda1 30 1 400 5 60 2 800 7 0 8 9 0 0 0 0
 254      16 vdb 1 1 2 5 3 2 4 7 0 8 9
"""


def test_processors_work_in_all_modes_but_idle_waiting_and_stolen_ones() -> None:
    assert processor_s(_STAT) == pytest.approx((100 + 20 + 30 + 6 + 7) / os.sysconf("SC_CLK_TCK"))


def test_only_ways_out_are_counted() -> None:
    assert network_counts(_DEVICES, ["eth0", "eth1"]) == {
        Metric.NETWORK_RECEIVED: 1500,
        Metric.NETWORK_RECEIVED_PACKETS: 15,
        Metric.NETWORK_SENT: 340,
        Metric.NETWORK_SENT_PACKETS: 7,
    }
    assert set(network_counts(_DEVICES, []).values()) == {0}


def test_whole_disks_are_counted_in_bytes() -> None:
    assert disk_counts(_DISKS, ["vda", "vdb"]) == {
        Metric.DISK_READS: 31,
        Metric.DISK_READ: 402 * 512,
        Metric.DISK_WRITES: 63,
        Metric.DISK_WRITTEN: 804 * 512,
    }
    assert disk_counts(_DISKS, ["sda"]) == {}
