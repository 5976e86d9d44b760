"""The base chains, which are the same in every space: what a guest may send, who reaches whom, ways out and in.

Ports of instances are devices of their own (`p1-7`: number of the network, number of the port), and the space routes
between them, so that every packet has the sender's device as `iifname` and the receiver's as `oifname`. Ways out are
`up…`. A guest cannot forge what it does not fill in.
"""

from __future__ import annotations

from collections.abc import Mapping

from insula.node.network.rules.table import Chain

METADATA_ADDRESS = "169.254.169.254"
_PORT = 'iifname "p*"'
_OWN = 86  # what the router itself sends to a group is heard by itself again, as if the guest had sent it
_NAMELESS = 87  # what asks for metadata from an address that it chose by itself
_LINK_LOCAL = "169.254.0.0/16"

# Neighbour and router discovery is between a guest and its router only; MLD is what Linux sends with it.
_TO_ROUTER = "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report }"
_NEVER_FORWARDED = "{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect }"

_GUARD_LIMITS = ("limit name iifname map @limit_sent counter name too_fast drop",)
_GUARD = (
    "iifname . ether saddr . ip saddr @own4 goto sent4",
    "iifname . ether saddr . ip6 saddr @own6 goto sent6",
    f"meta mark {_OWN} accept",
    "iifname . ether saddr != @macs goto forged_packets",
    f"ip saddr {_LINK_LOCAL} ip daddr {METADATA_ADDRESS} tcp dport 80 goto nameless",
    "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
    f"ip6 saddr {{ ::, fe80::/64 }} icmpv6 type {_TO_ROUTER} accept",
    "ip6 saddr fe80::/64 udp sport 546 udp dport 547 accept",
    # So that a guest that only has its own link-local address is told why nothing answers.
    "ip6 saddr fe80::/64 icmpv6 type echo-request accept",
    "iifname . ip saddr @also4 goto sent4",
    "iifname . ip6 saddr @also6 goto sent6",
    "goto forged_packets",
)
# Before it has an address a guest may ask which one it has, as cloud-init does on one platform: from an address of its
# own choosing, which its neighbours may have chosen as well. From here on it is known by the address that is its own,
# and what is answered goes to the one that it asked from last.
_FROM_NAMELESS = (
    "update @chosen4 { iifname timeout 1h : ip saddr }",
    "ip saddr set iifname map @first4",
    f"ip saddr {_LINK_LOCAL} goto forged_packets",
    f"meta mark set {_NAMELESS}",
    "accept",
)
_TO_NAMELESS = f"ip saddr {METADATA_ADDRESS} ct mark {_NAMELESS} ip daddr set oifname map @chosen4"
_SENT4 = (
    "meta l4proto tcp accept",  # nothing else is asked of most packets
    "udp sport 67 udp dport 68 goto forged_packets",
    "icmp type { redirect, router-advertisement } goto forged_packets",
    "accept",
)
_SENT6 = (
    "meta l4proto tcp accept",
    "udp sport 547 udp dport 546 goto forged_packets",
    "icmpv6 type { nd-router-advert, nd-redirect } goto forged_packets",
    "accept",
)
_REACH = (
    "ct state vmap { established : accept, related : accept, invalid : drop }",
    f"icmpv6 type {_NEVER_FORWARDED} drop",
    f'{_PORT} oifname "p*" ip saddr . ip daddr @reach4 goto firewalls',
    f'{_PORT} oifname "p*" ip6 saddr . ip6 daddr @reach6 goto firewalls',
    f'{_PORT} oifname "p*" ip saddr . ip daddr @reach_also4 goto firewalls',
    f'{_PORT} oifname "p*" ip6 saddr . ip6 daddr @reach_also6 goto firewalls',
    # The host itself is not the outside.
    f'{_PORT} oifname "up*" ip daddr @host4 counter name apart drop',
    f'{_PORT} oifname "up*" ip6 daddr @host6 counter name apart drop',
    f'{_PORT} oifname "up*" iifname @outward goto firewalls',
    'iifname "up*" oifname "p*" ct status dnat goto firewalls',
    "counter name apart drop",
)
_TO_THE_ROUTER = (
    f"ip daddr {METADATA_ADDRESS} tcp dport 80 ct mark set meta mark",
    "ct state vmap { established : accept, related : accept, invalid : drop }",
    'iifname "lo" accept',
    f"icmpv6 type {_TO_ROUTER} accept",
    "icmp type echo-request limit rate 100/second accept",
    "icmpv6 type echo-request limit rate 100/second accept",
    'iifname != "p*" drop',
    "udp dport { 53, 67, 547 } accept",
    "tcp dport 53 accept",
    f"ip daddr {METADATA_ADDRESS} tcp dport 80 accept",
)
_DOORS = (
    'iifname "up*" dnat ip to ip daddr map @address_in4',
    'iifname "up*" dnat ip6 to ip6 daddr map @address_in6',
    'iifname "up*" dnat ip to meta l4proto . th dport map @doors4',
)
_WAYS_OUT = (
    'oifname "up*" snat ip to ip saddr map @address_out4',
    'oifname "up*" snat ip6 to ip6 saddr map @address_out6',
    'oifname "up*" masquerade',
)
_RECEIVED_LIMITS = ("limit name oifname map @limit_received counter name too_fast drop",)

# Where a sender's rule that accepts goes on: the receiver is asked as well.
LET_IN = "let_in"
COUNTERS = frozenset({"forged", "too_fast", "apart"})


def chains(*, has_limits: bool) -> Mapping[str, Chain]:
    """All of them, in an order in which each knows those that it leads to.

    Limits of packets are looked up only where somebody has one, since every packet pays for the question.
    """
    guard = (*_GUARD_LIMITS, *_GUARD) if has_limits else _GUARD
    received = _RECEIVED_LIMITS if has_limits else ()
    return {
        "forged_packets": Chain(("counter name forged drop",)),
        "sent4": Chain(_SENT4),
        "nameless": Chain(_FROM_NAMELESS),
        "sent6": Chain(_SENT6),
        "guard": Chain(
            ('iifname != "p*" accept', *guard), "type filter hook prerouting priority raw ; policy accept ;"
        ),
        "doors": Chain(_DOORS, "type nat hook prerouting priority dstnat ; policy accept ;"),
        LET_IN: Chain(("oifname vmap @inbound", "accept")),
        "firewalls": Chain(("iifname vmap @outbound", f"goto {LET_IN}")),
        "reach": Chain(_REACH, "type filter hook forward priority 0 ; policy drop ;"),
        "router": Chain(_TO_THE_ROUTER, "type filter hook input priority 0 ; policy drop ;"),
        "spoken": Chain(
            (f'oifname "p*" ip6 daddr ff00::/8 meta mark set {_OWN}', _TO_NAMELESS),
            "type filter hook output priority 0 ; policy accept ;",
        ),
        "ways_out": Chain(_WAYS_OUT, "type nat hook postrouting priority srcnat ; policy accept ;"),
        "received": Chain(received, "type filter hook postrouting priority 300 ; policy accept ;"),
    }
