from insula.control.nodes.accounting import account
from insula.control.nodes.nodes import Nodes
from insula.control.nodes.spaces import Spaces

__all__ = ["Nodes", "Spaces", "account"]
