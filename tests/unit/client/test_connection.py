"""Connections that are kept: shared by threads, given up when the service has closed them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from insula.client.connection import Connection

_THREADS = 4


class Server:
    """Answers every request with the number of its connection; closes connections on demand."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.open: list[socket.socket] = []
        self.slow_s = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                channel, _ = self._listening.accept()
            except OSError:
                return
            self.open.append(channel)
            threading.Thread(target=self._answer, args=(channel, len(self.open)), daemon=True).start()

    def _answer(self, channel: socket.socket, number: int) -> None:
        try:
            while channel.recv(65536):
                time.sleep(self.slow_s)
                body = json.dumps(number).encode()
                channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except OSError:
            return

    def hang_up(self) -> None:
        for channel in self.open:
            channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for channel in self.open:
            channel.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    made = Connection(server.url, "", "", timeout_s=10)
    yield made
    made.close()


def test_one_is_kept_for_what_comes_next(connection: Connection) -> None:
    assert [connection.request("POST", "/") for _ in range(3)] == [1, 1, 1]


def test_one_that_the_service_closed_is_not_used_again(server: Server, connection: Connection) -> None:
    connection.request("POST", "/")
    server.hang_up()
    time.sleep(0.1)
    assert connection.request("POST", "/") == 2


def test_threads_do_not_get_each_others_answers(server: Server, connection: Connection) -> None:
    server.slow_s = 0.05
    with ThreadPoolExecutor(_THREADS) as pool:
        numbers = list(pool.map(lambda _: connection.request("POST", "/"), range(5 * _THREADS)))
    assert len(server.open) <= _THREADS
    assert set(numbers) == set(range(1, len(server.open) + 1))


def test_one_that_nobody_closed_leaves_no_open_socket(server: Server) -> None:
    forgotten = Connection(server.url, "", "", timeout_s=10)
    forgotten.request("POST", "/")
    del forgotten
    server.open[0].settimeout(5)
    assert server.open[0].recv(1) == b""
