from __future__ import annotations

import os
import socket

import pytest

from insula.base.errors import Conflict, HostFailure
from insula.main.ports import check_free


def test_a_taken_port_names_its_holder_and_another_choice() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Conflict) as caught:
            check_free("127.0.0.1", taken.getsockname()[1])
    assert f"(process {os.getpid()})" in caught.value.why
    assert "INSULA_LISTEN" in caught.value.todo


def test_a_free_port_is_free() -> None:
    check_free("127.0.0.1", 0)


def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(HostFailure) as caught:
        check_free("192.0.2.1", 7780)
    assert "INSULA_LISTEN" in caught.value.todo
