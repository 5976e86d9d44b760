from insula.control.operations.assemble import open_engine
from insula.control.operations.engine.engine import Engine, EngineOptions
from insula.control.operations.retry import TRANSITIONS

__all__ = ["TRANSITIONS", "Engine", "EngineOptions", "open_engine"]
