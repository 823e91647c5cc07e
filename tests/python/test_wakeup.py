# SPDX-License-Identifier: MIT
"""Manager.wakeup() (api.md section 16): from any thread, any size, in order, none lost."""
import hashlib
import threading
import time

import pytest

from cymongoose import MG_EV_CLOSE, MG_EV_HTTP_MSG, MG_EV_WAKEUP
from support import DEADLINE, HOST, Peer, Recorder, get, join, read_responses, settle, spin, wait_until


@pytest.fixture
def mailbox(make_manager):
    """mailbox() -> (manager, listener, list of the payloads that have arrived)."""
    def make(**options):
        arrived = []
        manager = make_manager(lambda conn, ev, data: arrived.append(data) if ev == MG_EV_WAKEUP else None,
                               enable_wakeup=True, **options)
        return manager, manager.listen(f"tcp://{HOST}:0"), arrived
    return make


def test_an_existing_id_is_true_and_delivers(mailbox):
    """[tests rely] `is True`"""
    manager, listener, arrived = mailbox()
    assert manager.wakeup(listener.id, b"payload") is True
    spin(manager, lambda: arrived)
    assert arrived == [b"payload"]
    assert type(arrived[0]) is bytes


def test_empty_payload_is_empty_bytes(mailbox):
    manager, listener, arrived = mailbox()
    assert manager.wakeup(listener.id) is True
    assert manager.wakeup(listener.id, b"") is True
    spin(manager, lambda: len(arrived) == 2)
    assert arrived == [b"", b""]


def test_not_enabled_is_false(make_manager):
    """[tests rely]"""
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen(f"tcp://{HOST}:0")
    assert manager.wakeup_id == 0
    assert manager.wakeup(listener.id, b"x") is False
    settle(manager)
    assert "WAKEUP" not in events.names()


def test_id_0_is_false(mailbox):
    """[tests rely]"""
    manager, _, _ = mailbox()
    assert manager.wakeup(0, b"x") is False


def test_unknown_and_closed_ids_are_false(mailbox):
    manager, listener, arrived = mailbox()
    assert manager.wakeup(999_999, b"x") is False
    assert manager.wakeup(2**63, b"x") is False
    number = listener.id
    listener.close()
    settle(manager)
    assert manager.wakeup(number, b"x") is False
    settle(manager)
    assert arrived == []


@pytest.mark.parametrize("number", [-1, 2**64, -2**70, 2**70])
def test_ids_out_of_range_overflow(mailbox, number):
    with pytest.raises(OverflowError):
        mailbox()[0].wakeup(number, b"x")


@pytest.mark.parametrize("wrong", ["text", bytearray(b"x"), memoryview(b"x"), None, 5, [1]])
def test_data_is_exactly_bytes(mailbox, wrong):
    manager, listener, arrived = mailbox()
    with pytest.raises(TypeError):
        manager.wakeup(listener.id, wrong)
    settle(manager)
    assert arrived == []


def test_closed_manager_raises(mailbox):
    manager, listener, _ = mailbox()
    number, wakeup_id = listener.id, manager.wakeup_id
    manager.close()
    with pytest.raises(RuntimeError):
        manager.wakeup(number, b"x")
    assert manager.wakeup_id == wakeup_id, "kept after close"


def test_wakeup_id_ends_a_wait_and_is_no_event(mailbox):
    """[tests rely] a long poll ends promptly."""
    manager, listener, arrived = mailbox()
    assert manager.wakeup_id > 0
    assert manager.wakeup_id != listener.id
    assert manager.wakeup_id not in [conn.id for conn in manager.connections]
    settle(manager)
    timer = threading.Timer(0.02, lambda: manager.wakeup(manager.wakeup_id))
    timer.start()
    started = time.monotonic()
    manager.poll(int(DEADLINE * 1000))
    assert time.monotonic() - started < DEADLINE / 2
    join(timer)
    settle(manager)
    assert arrived == []


def test_a_wakeup_before_poll_is_not_missed(mailbox):
    manager, listener, arrived = mailbox()
    settle(manager)
    manager.wakeup(listener.id, b"early")
    started = time.monotonic()
    while not arrived:
        manager.poll(int(DEADLINE * 1000))
    assert time.monotonic() - started < DEADLINE / 2


def test_delivered_to_the_connection_with_that_id(make_manager, peer):
    events = Recorder()
    manager = make_manager(events, enable_wakeup=True)
    port = manager.listen(f"tcp://{HOST}:0").local_addr[1]
    for _ in range(3):
        peer(port)
    spin(manager, lambda: events.count("ACCEPT") == 3)
    for conn in reversed(manager.connections):
        assert manager.wakeup(conn.id, b"%d" % conn.id)
    spin(manager, lambda: events.count("WAKEUP") == 4)
    assert [(conn.id, data) for conn, name, data in events.entries if name == "WAKEUP"] == [
        (conn.id, b"%d" % conn.id) for conn in reversed(manager.connections)]


def test_the_connections_own_handler_gets_it(make_manager):
    own, default = Recorder(), Recorder()
    manager = make_manager(default, enable_wakeup=True)
    listener = manager.listen(f"tcp://{HOST}:0", own)
    manager.wakeup(listener.id, b"x")
    spin(manager, lambda: own.count("WAKEUP"))
    assert "WAKEUP" not in default.names()


@pytest.mark.parametrize("size", [1, 16376, 16377, 65499, 65500, 65536, 1 << 20, 5_000_003])
def test_any_size(mailbox, size):
    manager, listener, arrived = mailbox()
    payload = (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]
    assert manager.wakeup(listener.id, payload) is True
    spin(manager, lambda: arrived)
    assert arrived == [payload]


def test_sizes_mixed_in_order(mailbox):
    manager, listener, arrived = mailbox()
    payloads = [bytes([n % 256]) * (n * 7919 % 200_000) for n in range(100)]
    for payload in payloads:
        assert manager.wakeup(listener.id, payload)
    spin(manager, lambda: len(arrived) == len(payloads))
    assert arrived == payloads


def test_none_of_100000_is_lost_from_four_threads(mailbox):
    manager, listener, arrived = mailbox(events=[MG_EV_WAKEUP])
    threads_count, each = 4, 25_000
    number = listener.id
    refused = []

    def work(thread):
        for n in range(each):
            if not manager.wakeup(number, b"%d %d" % (thread, n)):
                refused.append((thread, n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(threads_count)]
    for thread in threads:
        thread.start()
    spin(manager, lambda: len(arrived) == threads_count * each, wait_ms=50)
    for thread in threads:
        join(thread)
    assert refused == []
    for thread in range(threads_count):
        assert [data for data in arrived if data.startswith(b"%d " % thread)] == [
            b"%d %d" % (thread, n) for n in range(each)]


def test_many_may_wait_without_a_poll(mailbox):
    manager, listener, arrived = mailbox()
    for n in range(10_000):
        assert manager.wakeup(listener.id, b"%d" % n) is True
    assert arrived == []
    spin(manager, lambda: len(arrived) == 10_000)
    assert arrived == [b"%d" % n for n in range(10_000)]


def test_the_queue_has_a_maximum_and_says_so(mailbox):
    """64 MiB wait at most; what was accepted arrives, and afterwards there is room again."""
    manager, listener, arrived = mailbox()
    payload = b"x" * (1 << 20)
    accepted = 0
    while manager.wakeup(listener.id, payload):
        accepted += 1
        assert accepted <= 100, "there is no maximum"
    assert accepted >= 32
    spin(manager, lambda: len(arrived) == accepted)
    assert set(map(len, arrived)) == {1 << 20}
    assert manager.wakeup(listener.id, b"again") is True
    spin(manager, lambda: arrived[-1] == b"again")


def test_a_wakeup_from_its_own_handler_comes_in_a_later_turn(make_manager):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_WAKEUP:
            seen.append(data)
            if len(seen) < 5:
                manager.wakeup(conn.id, b"%d" % len(seen))

    manager = make_manager(handler, enable_wakeup=True)
    listener = manager.listen(f"tcp://{HOST}:0")
    manager.wakeup(listener.id, b"0")
    spin(manager, lambda: len(seen) == 5)
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


def test_a_target_that_closes_gets_nothing_after_close(raw, peer):
    events = Recorder(lambda conn, ev, data: conn.close() if ev == MG_EV_WAKEUP else None)
    manager, port = raw(events, manager_options={"enable_wakeup": True})
    client = peer(port)
    conn = spin(manager, events.accepted)
    for n in range(10):
        manager.wakeup(conn.id, b"%d" % n)
    spin(manager, client.closed)
    settle(manager)
    assert events.names(conn) == ["OPEN", "ACCEPT", "WAKEUP", "CLOSE"]


def test_a_wakeup_in_close_is_refused(raw, peer):
    outcome, numbers = [], {}

    def handler(conn, ev, data):
        numbers.setdefault(conn, conn.id)
        if ev == MG_EV_CLOSE:
            outcome.append(manager.wakeup(numbers[conn], b"x"))

    manager, port = raw(handler, manager_options={"enable_wakeup": True})
    client = peer(port)
    spin(manager, lambda: len(manager.connections) == 2)
    client.close()
    spin(manager, lambda: outcome)
    assert outcome == [False]


def test_wakeups_are_kept_apart_between_managers(mailbox):
    one, two = mailbox(), mailbox()
    one[0].wakeup(one[1].id, b"one")
    two[0].wakeup(two[1].id, b"two")
    spin(one[0], lambda: one[2])
    spin(two[0], lambda: two[2])
    assert (one[2], two[2]) == ([b"one"], [b"two"])


def test_worker_threads_answer_three_parallel_requests(server):
    """[tests rely] the example: the answer comes from a worker through wakeup."""
    workers = []

    def work(number, uri):
        running.manager.wakeup(number, b"done " + uri.encode())

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            workers.append(threading.Thread(target=work, args=(conn.id, data.uri)))
            workers[-1].start()
        elif ev == MG_EV_WAKEUP:
            conn.reply(200, data)

    running = server(handler, poll_ms=int(DEADLINE * 1000), manager_options={"enable_wakeup": True})
    clients = [Peer(running.port) for _ in range(3)]
    for n, client in enumerate(clients):
        client.send(get(f"/{n}"))
    wait_until(lambda: all(client.responses(1) for client in clients))
    assert [read_responses(client.received)[0][0].body for client in clients] == [b"done /0", b"done /1", b"done /2"]
    for client in clients:
        client.close()
    for worker in workers:
        join(worker)
    running._stop.set()
    running.manager.wakeup(running.manager.wakeup_id)


def test_wakeups_race_with_closing_connections(raw, peer):
    """Ids come and go while four threads post to them: every call answers, nothing crashes."""
    manager, port = raw(lambda conn, ev, data: None, manager_options={"enable_wakeup": True})
    numbers, stop, answers = [], threading.Event(), []

    def work():
        while not stop.is_set():
            for number in numbers[-5:]:
                answers.append(manager.wakeup(number, b"x" * 100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        client = peer(port)
        spin(manager, lambda: len(manager.connections) == 2)
        numbers.append(manager.connections[1].id)
        manager.poll(0)
        client.close()
        spin(manager, lambda: len(manager.connections) == 1)
    stop.set()
    for thread in threads:
        join(thread)
    assert set(answers) <= {True, False}
