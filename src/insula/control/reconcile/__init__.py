from insula.control.reconcile.reconciler import Reconciler

__all__ = ["Reconciler"]
