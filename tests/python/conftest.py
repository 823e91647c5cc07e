# SPDX-License-Identifier: MIT
"""Fixtures. The first one makes every test prove that it leaves no thread and no descriptor behind.

Run with PYTHONPATH=<build>/python; TAVI_BACKEND=epoll or poll chooses the back end of every Manager here.
"""
import gc
import threading

import pytest

import support
from cymongoose import Manager


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error")  # unraisable exceptions and exceptions of threads among them


@pytest.fixture(autouse=True)
def leaves_nothing():
    threads, open_before = set(threading.enumerate()), support.descriptors()
    yield
    support.wait_until(lambda: set(threading.enumerate()) <= threads, "the end of all threads")
    if support.descriptors().keys() - open_before.keys():
        gc.collect()
    left = {fd: what for fd, what in support.descriptors().items() if fd not in open_before}
    assert not left, f"descriptors left open: {left}"


@pytest.fixture
def make_manager(leaves_nothing):
    """make_manager(...) -> a Manager that is closed after the test."""
    made = []

    def make(*args, **options):
        made.append(Manager(*args, **options))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def peer(leaves_nothing):
    """peer(port) -> a raw client, closed after the test."""
    made = []

    def make(*args, **options):
        made.append(support.Peer(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def server(leaves_nothing):
    """server(handler, ...) -> a Server on its own thread, stopped after the test."""
    made = []

    def make(*args, **options):
        made.append(support.Server(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def http(make_manager):
    """http(handler, ...) -> (manager, port) of an HTTP listener that the test polls itself."""

    def make(handler, url=f"http://{support.HOST}:0", manager_options=(), **listen_options):
        manager = make_manager(handler, **dict(manager_options))
        return manager, manager.listen(url, **listen_options).local_addr[1]

    return make


@pytest.fixture
def raw(http):
    """raw(handler, ...) -> (manager, port) of a raw TCP listener that the test polls itself."""

    def make(handler, **options):
        return http(handler, f"tcp://{support.HOST}:0", **options)

    return make
