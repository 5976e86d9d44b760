"""The agent: keeps every instance of a node at what its record says."""

from insula.node.agent.assemble import assemble
from insula.node.agent.node import Node
from insula.node.agent.parts import NodeParts

__all__ = ["Node", "NodeParts", "assemble"]
