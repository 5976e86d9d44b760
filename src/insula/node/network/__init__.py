"""Networks of instances: one segment for each, reachable through forwards, without a way to the host's loopback."""

from insula.node.network.detect import choose
from insula.node.network.wiring import InstanceNetwork, WireRequest, Wiring

__all__ = ["InstanceNetwork", "WireRequest", "Wiring", "choose"]
