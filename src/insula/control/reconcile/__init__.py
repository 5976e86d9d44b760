from insula.control.reconcile.collector import Collector
from insula.control.reconcile.connector import Connector
from insula.control.reconcile.reaper import Reaper
from insula.control.reconcile.reconciler import Reconciler
from insula.control.reconcile.timekeeper import Timekeeper

__all__ = ["Collector", "Connector", "Reaper", "Reconciler", "Timekeeper"]
