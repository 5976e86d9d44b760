from insula.control.operations.assemble import open_engine
from insula.control.operations.engine.engine import Engine, EngineOptions
from insula.control.operations.retry import TRANSITIONS, VOLUME_STATES

__all__ = ["TRANSITIONS", "VOLUME_STATES", "Engine", "EngineOptions", "open_engine"]
