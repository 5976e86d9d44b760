"""Renews an instance's lease from a thread, for as long as somebody wants the instance."""

from __future__ import annotations

import logging
import threading

from insula.base.errors import Conflict, InsulaError, NotFound
from insula.client.instances import Instances

log = logging.getLogger(__name__)

_RENEWALS_IN_A_LEASE = 3
_AGAIN_S = 1.0


class LeaseKeeper:
    """Begins at once, and ends by itself when there is nothing left to renew. `instances` is for its thread alone."""

    def __init__(self, instances: Instances, instance_id: str, lease_s: int) -> None:
        self._instances = instances
        self._instance_id = instance_id
        self._lease_s = lease_s
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name=f"lease of {instance_id}", daemon=True).start()

    def stop(self) -> None:
        """Renew it no more. May be repeated; a renewal that is under way is not waited for."""
        self._stopped.set()

    def _run(self) -> None:
        wait_s = self._lease_s / _RENEWALS_IN_A_LEASE
        while not self._stopped.wait(wait_s):
            try:
                if not self._renew():
                    return
                wait_s = self._lease_s / _RENEWALS_IN_A_LEASE
            except InsulaError:
                wait_s = _AGAIN_S  # a service that restarts gives everybody time to renew

    def _renew(self) -> bool:
        """False when there is no lease any more, since the instance is gone or somebody took the lease off."""
        try:
            if self._instances.get(self._instance_id).lease_until is None:
                return False
            self._instances.lease(self._instance_id, self._lease_s)
        except (NotFound, Conflict) as error:
            if not self._stopped.is_set():
                log.warning("The lease of %s is lost: %s", self._instance_id, error)
            return False
        return True
