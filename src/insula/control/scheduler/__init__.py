from insula.control.scheduler.placement import HostPolicy
from insula.control.scheduler.scheduler import Scheduler

__all__ = ["HostPolicy", "Scheduler"]
