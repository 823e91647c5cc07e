# SPDX-License-Identifier: MIT
"""MG_EV_POLL: in the first turn of a connection, then in sweeps at least 100 ms apart, and only where it is wanted."""
import time

from cymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_OPEN, MG_EV_POLL, MG_EV_READ
from support import DEADLINE, HOST, settle, spin


def keep_polling(manager, seconds):
    """Poll for so long with short waits, so that there are many turns."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        manager.poll(1)


def test_poll_event_reaches_a_listener_during_a_single_poll(make_manager):
    """[tests rely]"""
    seen = []
    manager = make_manager(lambda conn, ev, data: seen.append((conn, ev, data)) if ev == MG_EV_POLL else None)
    listener = manager.listen(f"tcp://{HOST}:0")
    manager.poll(10)
    assert seen == [(listener, MG_EV_POLL, None)]


def test_poll_events_come_in_sweeps_at_least_100_ms_apart(raw, peer):
    times = {}

    def handler(conn, ev, data):
        if ev == MG_EV_POLL:
            times.setdefault(conn, []).append(time.monotonic())

    manager, port = raw(handler)
    peer(port)
    keep_polling(manager, 0.55)
    assert len(times) == 2, "the listener and the accepted connection"
    for each in times.values():
        assert 3 <= len(each) <= 7
        gaps = [later - earlier for earlier, later in zip(each[1:], each[2:])]
        assert min(gaps) >= 0.09


def test_poll_event_comes_in_the_first_turns_of_a_connection(raw, peer):
    events = []
    manager, port = raw(lambda conn, ev, data: None if conn.is_listening else events.append(ev))
    peer(port)
    spin(manager, lambda: MG_EV_POLL in events, seconds=0.5 * DEADLINE, wait_ms=1)
    assert events[:2] == [MG_EV_OPEN, MG_EV_ACCEPT]


def test_poll_events_are_never_delivered_when_interest_excludes_them(raw, peer):
    seen = []
    manager, port = raw(lambda conn, ev, data: seen.append(ev), manager_options={"events": [MG_EV_READ, MG_EV_CLOSE]})
    client = peer(port)
    client.send(b"x")
    keep_polling(manager, 0.25)
    client.close()
    spin(manager, lambda: MG_EV_CLOSE in seen)
    assert set(seen) == {MG_EV_READ, MG_EV_CLOSE}


def test_poll_events_do_not_end_a_wait(make_manager):
    manager = make_manager(lambda conn, ev, data: None)
    manager.listen(f"tcp://{HOST}:0")
    settle(manager)
    started = time.monotonic()
    manager.poll(300)
    assert time.monotonic() - started >= 0.28


def test_a_connection_may_close_itself_in_poll(raw, peer):
    manager, port = raw(lambda conn, ev, data: conn.close() if ev == MG_EV_POLL and not conn.is_listening else None)
    client = peer(port)
    spin(manager, client.closed)
