from insula.control.nodes.nodes import Nodes

__all__ = ["Nodes"]
