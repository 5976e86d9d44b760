from insula.control.reconcile.accountant import Accountant
from insula.control.reconcile.collector import Collector
from insula.control.reconcile.connector import Connector
from insula.control.reconcile.reaper import Reaper
from insula.control.reconcile.reconciler import Reconciler
from insula.control.reconcile.recorder import Recorder
from insula.control.reconcile.timekeeper import Timekeeper

__all__ = ["Accountant", "Collector", "Connector", "Reaper", "Reconciler", "Recorder", "Timekeeper"]
