from insula.control.reconcile.collector import Collector
from insula.control.reconcile.reaper import Reaper
from insula.control.reconcile.reconciler import Reconciler

__all__ = ["Collector", "Reaper", "Reconciler"]
