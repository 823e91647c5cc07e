# SPDX-License-Identifier: MIT
"""Timers (api.md section 17): when they fire, when they do not, and who keeps them alive."""
import gc
import sys
import threading
import time

import pytest

from cymongoose import Manager, Timer
from support import DEADLINE, HOST, join, settle, spin


def test_one_shot_fires_once_then_is_not_active(make_manager):
    """[tests rely]"""
    calls = []
    manager = make_manager()
    timer = manager.timer_add(5, lambda: calls.append(1))
    assert type(timer) is Timer
    assert timer.active is True
    spin(manager, lambda: calls)
    assert timer.active is False
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        manager.poll(5)
    assert calls == [1]


def test_not_before_its_time(make_manager):
    fired = []
    manager = make_manager()
    started = time.monotonic()
    manager.timer_add(50, lambda: fired.append(time.monotonic()))
    spin(manager, lambda: fired, wait_ms=1)
    assert fired[0] - started >= 0.049


def test_a_due_timer_shortens_the_wait(make_manager):
    fired = []
    manager = make_manager()
    manager.listen(f"tcp://{HOST}:0")
    settle(manager)
    started = time.monotonic()
    manager.timer_add(30, lambda: fired.append(time.monotonic() - started))
    while not fired:
        manager.poll(int(DEADLINE * 1000))
    assert 0.029 <= fired[0] < DEADLINE / 2


def test_zero_fires_in_the_very_next_poll(make_manager):
    """[tests rely]"""
    calls = []
    manager = make_manager()
    manager.timer_add(0, lambda: calls.append(1))
    assert calls == []
    manager.poll(0)
    assert calls == [1]


def test_run_now_one_shot(make_manager):
    """[tests rely] in the next poll, not inside timer_add; then never at its period."""
    calls = []
    manager = make_manager()
    timer = manager.timer_add(20, lambda: calls.append(1), run_now=True)
    assert calls == []
    manager.poll(0)
    assert calls == [1]
    assert timer.active is False
    end = time.monotonic() + 0.06
    while time.monotonic() < end:
        manager.poll(5)
    assert calls == [1]


def test_run_now_repeating_continues(make_manager):
    calls = []
    manager = make_manager()
    timer = manager.timer_add(5, lambda: calls.append(1), repeat=True, run_now=True)
    manager.poll(0)
    assert len(calls) == 1
    spin(manager, lambda: len(calls) >= 4)
    assert timer.active is True


def test_repeat_fires_every_period_until_cancelled(make_manager):
    """[tests rely] a 40 ms timer fires at least 3 times in 0.3 s under poll(50)."""
    calls = []
    manager = make_manager()
    timer = manager.timer_add(40, lambda: calls.append(time.monotonic()), repeat=True)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        manager.poll(50)
    assert 3 <= len(calls) <= 8
    timer.cancel()
    assert timer.active is False
    count = len(calls)
    manager.poll(50)
    assert len(calls) == count


def test_missed_periods_are_not_made_up(make_manager):
    calls = []
    manager = make_manager()
    manager.timer_add(5, lambda: calls.append(1), repeat=True)
    manager.poll(0)
    time.sleep(0.06)  # a stall of the program
    manager.poll(0)
    assert len(calls) <= 2


def test_a_repeating_timer_of_zero_does_not_hang_a_poll(make_manager):
    calls = []
    manager = make_manager()
    manager.timer_add(0, lambda: calls.append(1), repeat=True)
    for _ in range(5):
        manager.poll(0)
    assert 1 <= len(calls) <= 6
    spin(manager, lambda: len(calls) > 10)


def test_the_manager_keeps_a_dropped_timer_alive(make_manager):
    """[tests rely]"""
    calls = []
    manager = make_manager()
    manager.timer_add(5, lambda: calls.append(1))
    gc.collect()
    spin(manager, lambda: calls)


@pytest.mark.parametrize("repeat", [False, True])
def test_cancel(make_manager, repeat):
    """[tests rely] idempotent; active is False at once; no call starts afterwards."""
    calls = []
    manager = make_manager()
    timer = manager.timer_add(2, lambda: calls.append(1), repeat=repeat)
    assert timer.cancel() is None
    assert timer.active is False
    timer.cancel()
    end = time.monotonic() + 0.03
    while time.monotonic() < end:
        manager.poll(2)
    assert calls == []


def test_cancel_of_a_timer_that_is_due_already(make_manager):
    calls = []
    manager = make_manager()
    timers = []

    def first():
        calls.append("first")
        for timer in timers:
            timer.cancel()

    timers += [manager.timer_add(0, first) for _ in range(3)]
    settle(manager)
    assert calls == ["first"]


def test_cancel_inside_its_own_callback(make_manager):
    calls = []

    def callback():
        calls.append(1)
        timer.cancel()
        timer.cancel()
        assert timer.active is False

    manager = make_manager()
    timer = manager.timer_add(1, callback, repeat=True)
    spin(manager, lambda: calls)
    settle(manager)
    assert calls == [1]


def test_cancel_from_other_threads(make_manager):
    """[tests rely] from any thread, while the poller runs."""
    manager = make_manager(enable_wakeup=True)
    calls, stop = [0], threading.Event()

    def bump():
        calls[0] += 1

    timers = [manager.timer_add(1, bump, repeat=True) for _ in range(400)]

    def loop():
        while not stop.is_set():
            manager.poll(50)

    def cancel(part):
        for timer in part:
            timer.cancel()
            assert timer.active is False

    poller = threading.Thread(target=loop)
    poller.start()
    threads = [threading.Thread(target=cancel, args=(timers[n::4] + timers[::7],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    stop.set()
    manager.wakeup(manager.wakeup_id)
    join(poller)
    count = calls[0]
    settle(manager)
    assert calls[0] == count
    assert not any(timer.active for timer in timers)


def test_timer_add_from_another_thread_wakes_the_poller(make_manager):
    manager = make_manager()
    manager.listen(f"tcp://{HOST}:0")
    waiting, fired = threading.Event(), threading.Event()
    manager.timer_add(0, waiting.set)

    def loop():
        while not fired.is_set():
            manager.poll(int(DEADLINE * 1000))

    poller = threading.Thread(target=loop)
    poller.start()
    assert waiting.wait(DEADLINE)
    started = time.monotonic()
    manager.timer_add(1, fired.set)
    assert fired.wait(DEADLINE)
    assert time.monotonic() - started < DEADLINE / 2
    join(poller)


def test_a_timer_added_in_a_callback_fires_in_a_later_poll(make_manager):
    order = []

    def outer():
        order.append("outer")
        manager.timer_add(0, lambda: order.append("inner"))

    manager = make_manager()
    manager.timer_add(0, outer)
    manager.poll(0)
    assert order == ["outer"]
    manager.poll(0)
    assert order == ["outer", "inner"]


def test_close_ends_timers(make_manager):
    calls = []
    manager = make_manager()
    timers = [manager.timer_add(0, lambda: calls.append(1), repeat=repeat) for repeat in (False, True)]
    manager.close()
    assert [timer.active for timer in timers] == [False, False]
    for timer in timers:
        timer.cancel()
    assert calls == []
    with pytest.raises(RuntimeError):
        manager.timer_add(1, lambda: None)


def test_a_timer_outlives_its_manager():
    manager = Manager()
    timer = manager.timer_add(1000, lambda: None)
    del manager
    gc.collect()
    assert timer.active is False
    timer.cancel()


@pytest.mark.parametrize("callback", [lambda: None, 42, None, "x", lambda a, b: None])
def test_a_callback_that_cannot_be_called_is_noticed_when_it_fires_at_the_latest(make_manager, callback):
    errors = []
    manager = make_manager(error_handler=errors.append)
    try:
        timer = manager.timer_add(0, callback)
    except TypeError:
        assert not callable(callback)
        return
    spin(manager, lambda: not timer.active)
    if callback is not None and not (callable(callback) and callback.__code__.co_argcount == 0):
        assert [type(error) for error in errors] == [TypeError]


@pytest.mark.parametrize("wrong, error", [(-1, OverflowError), (-2**70, OverflowError), (2**70, OverflowError),
                                          ("5", TypeError), (None, TypeError)])
def test_bad_milliseconds(make_manager, wrong, error):
    with pytest.raises(error):
        make_manager().timer_add(wrong, lambda: None)


@pytest.mark.parametrize("far", [2**31, 2**32, 2**32 + 5, 10**12])
def test_times_far_away_do_not_wrap_around(make_manager, far):
    calls = []
    manager = make_manager()
    timer = manager.timer_add(far, lambda: calls.append(far))
    settle(manager)
    assert calls == []
    assert timer.active
    timer.cancel()


def test_timers_fire_in_the_order_of_their_times(make_manager):
    order = []
    manager = make_manager()
    for ms in (40, 10, 30, 1, 20, 0):
        manager.timer_add(ms, lambda ms=ms: order.append(ms))
    spin(manager, lambda: len(order) == 6, wait_ms=1)
    assert order == sorted(order)


def test_many_timers(make_manager):
    count, calls = 20_000, [0]

    def bump():
        calls[0] += 1

    manager = make_manager()
    timers = [manager.timer_add(n % 50, bump) for n in range(count)]
    for timer in timers[::2]:
        timer.cancel()
    spin(manager, lambda: calls[0] == count // 2)
    settle(manager)
    assert calls[0] == count // 2
    assert not any(timer.active for timer in timers)


def test_finished_timers_let_go_of_their_callback(make_manager):
    class Callback:
        def __call__(self):
            pass

    manager = make_manager()
    callback = Callback()
    before = sys.getrefcount(callback)
    fired = manager.timer_add(0, callback)
    cancelled = manager.timer_add(1000, callback)
    cancelled.cancel()
    spin(manager, lambda: not fired.active)
    settle(manager, 2)
    assert sys.getrefcount(callback) == before


def test_timers_fire_without_any_connection(make_manager):
    calls = []
    manager = make_manager(events=())
    manager.timer_add(1, lambda: calls.append(1))
    manager.poll(int(DEADLINE * 1000))
    spin(manager, lambda: calls)


def test_timers_run_on_the_polling_thread(make_manager):
    seen = []
    manager = make_manager()
    manager.timer_add(0, lambda: seen.append(threading.current_thread()))
    thread = threading.Thread(target=lambda: spin(manager, lambda: seen))
    thread.start()
    join(thread)
    assert seen == [thread]
