/* SPDX-License-Identifier: MIT
 *
 * Timers by the real clock. What is checked is never "how late" (a loaded machine decides that) but order, "not early",
 * and in which turn. */
#include "e2e.h"

#include <time.h>

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int order[64];
static int fired;

static void note(struct tavi_timer *t, void *user) {
  (void)t;
  if (fired < 64) order[fired] = (int)(intptr_t)user;
  fired++;
}

static struct tavi_timer *start(uint64_t delay_ms, uint64_t period_ms, tavi_timer_fn fn, void *user) {
  struct tavi_timer *t = NULL;
  CHECK_INT(tavi_timer_start(manager, delay_ms, period_ms, fn, user, &t), 0);
  return t;
}

static void begin(void) {
  set_up();
  fired = 0;
}

/* Let time pass without the loop. */
static void stall(uint64_t ms) {
  struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
  while (nanosleep(&t, &t) != 0) continue; /* allow: nanosleep, the stall is what is tested */
}

TEST(timers__bad_arguments__are_refused) {
  struct tavi_timer *t = (struct tavi_timer *)(void *)&fired;
  begin();
  CHECK_INT(tavi_timer_start(manager, 1, 0, NULL, NULL, &t), TAVI_E_ARG);
  CHECK_INT(tavi_timer_start(manager, TAVI_TIMER_MS_MAX + 1, 0, note, NULL, &t), TAVI_E_ARG);
  CHECK_INT(tavi_timer_start(manager, 1, UINT64_MAX, note, NULL, &t), TAVI_E_ARG);
  CHECK((void *)t == (void *)&fired);
  CHECK_INT(tavi_timer_start(manager, TAVI_TIMER_MS_MAX, TAVI_TIMER_MS_MAX, note, NULL, &t), 0);
  tavi_timer_cancel(t);
  tavi_timer_cancel(NULL);
  CHECK_INT(tavi_timer_start(manager, TAVI_TIMER_MS_MAX, 0, note, NULL, NULL), 0);
  CHECK_INT(tavi_manager_poll(manager, 0), 0);
  tear_down();
}

TEST(timers__of_one_turn__run_in_the_order_of_their_times) {
  begin();
  start(20, 0, note, (void *)3);
  start(5, 0, note, (void *)1);
  start(30, 0, note, (void *)4);
  start(10, 0, note, (void *)2);
  start(30, 0, note, (void *)5); /* equal times: in the order of their making */
  stall(40);
  CHECK_INT(tavi_manager_poll(manager, 0), 5);
  CHECK_INT(fired, 5);
  for (int i = 0; i < fired; i++) CHECK_INT(order[i], i + 1);
  tear_down();
}

TEST(timers__overdue_ones__run_before_one_that_is_made_now) {
  begin();
  start(5, 0, note, (void *)1);
  stall(20);
  start(0, 0, note, (void *)2);
  CHECK_INT(tavi_manager_poll(manager, 0), 2);
  CHECK_INT(order[0], 1);
  CHECK_INT(order[1], 2);
  tear_down();
}

TEST(timers__zero_ms__is_served_by_the_next_turn) {
  begin();
  for (int i = 0; i < 5; i++) {
    start(0, 0, note, (void *)(intptr_t)i);
    CHECK_INT(tavi_manager_poll(manager, 0), 1);
    CHECK_INT(fired, i + 1);
  }
  start(0, 0, note, (void *)0);
  uint64_t before = tavi_millis();
  CHECK_INT(tavi_manager_poll(manager, 20000), 1); /* and ends the wait */
  CHECK(tavi_millis() - before < 10000);
  tear_down();
}

TEST(timers__due__ends_a_long_wait) {
  begin();
  start(30, 0, note, (void *)1);
  uint64_t before = tavi_millis();
  CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  CHECK(tavi_millis() - before < 10000);
  start(30, 0, note, (void *)1);
  CHECK_INT(tavi_manager_poll(manager, -1), 1);
  CHECK_INT(fired, 2);
  tear_down();
}

TEST(timers__far_away__do_not_end_the_wait_on_their_way_down) {
  begin();
  start(3600000, 0, note, (void *)1);
  start(70, 0, note, (void *)2); /* looked at once before, perhaps */
  CHECK_INT(tavi_manager_poll(manager, 20000), 1);
  CHECK_INT(order[0], 2);
  uint64_t before = now_ns();
  CHECK_INT(tavi_manager_poll(manager, 150), 0);
  CHECK(now_ns() - before >= UINT64_C(150000000));
  tear_down();
}

static uint64_t not_before_ns[64];

static void check_not_early(struct tavi_timer *t, void *user) {
  (void)t;
  CHECK(now_ns() >= not_before_ns[(intptr_t)user]);
  fired++;
}

TEST(timers__any_delay__is_never_early) {
  begin();
  for (int round = 0; round < 20; round++) {
    fired = 0;
    for (int i = 0; i < 64; i++) {
      uint64_t delay_ms = (uint64_t)(i * 7 + round) % 13;
      not_before_ns[i] = now_ns() + delay_ms * 1000000;
      start(delay_ms, 0, check_not_early, (void *)(intptr_t)i);
    }
    RUN_UNTIL(fired == 64);
  }
  tear_down();
}

/* ==== repeating ==== */

TEST(timers__repeating__keeps_the_beat) {
  begin();
  uint64_t began = tavi_millis();
  struct tavi_timer *t = start(10, 10, note, (void *)1);
  while (fired < 8) {
    tavi_manager_poll(manager, 20000);
    CHECK((uint64_t)fired * 10 <= tavi_millis() - began); /* not early, and no drift to the front */
  }
  tavi_timer_cancel(t);
  int before = fired;
  CHECK_INT(tavi_manager_poll(manager, 30), 0);
  CHECK_INT(fired, before);
  tear_down();
}

static uint64_t beats_ns[8];

static void slow_beat(struct tavi_timer *t, void *user) {
  (void)user;
  beats_ns[fired++] = now_ns();
  if (fired == 8) tavi_timer_cancel(t);
  stall(3); /* a callback that takes its time must not move the beat */
}

/* How far the closest of the later beats is behind the grid of 20 ms, in ms. */
static uint64_t beats_behind_ms(void) {
  uint64_t began = now_ns(), least = UINT64_MAX;
  fired = 0;
  start(20, 20, slow_beat, NULL);
  RUN_UNTIL(fired == 8);
  for (int i = 3; i < 6; i++) {
    uint64_t behind = (beats_ns[i] - began) / 1000000 % 20;
    if (behind < least) least = behind;
  }
  return least;
}

TEST(timers__repeating__does_not_add_the_time_of_its_callback) {
  uint64_t behind_ms = UINT64_MAX;
  begin();
  /* Adding it would put them 9 to 15 ms behind. So may a loaded machine, but not always. */
  for (int attempt = 0; attempt < 10 && behind_ms >= 8; attempt++) behind_ms = beats_behind_ms();
  CHECK(behind_ms < 8);
  tear_down();
}

TEST(timers__missed_periods__are_left_out) {
  begin();
  start(5, 5, note, (void *)1);
  stall(52);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 1); /* not ten times */
  stall(52);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 2);
  tear_down();
}

TEST(timers__zero_then_repeating__begins_at_once) {
  begin();
  start(0, 15, note, (void *)1);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 1);
  RUN_UNTIL(fired == 3);
  tear_down();
}

/* ==== cancelling ==== */

static struct tavi_timer *victims[4];

static void cancel_self(struct tavi_timer *t, void *user) {
  (void)user;
  fired++;
  tavi_timer_cancel(t);
  tavi_timer_cancel(t); /* twice is once, while it runs */
}

TEST(timers__cancelled_in_its_own_callback__does_not_run_again) {
  begin();
  start(0, 1, cancel_self, NULL);
  start(1, 0, cancel_self, NULL);
  stall(5);
  CHECK_INT(tavi_manager_poll(manager, 0), 2);
  stall(5);
  CHECK_INT(tavi_manager_poll(manager, 0), 0);
  CHECK_INT(fired, 2);
  tear_down();
}

static void cancel_others(struct tavi_timer *t, void *user) {
  (void)user;
  fired++;
  for (int i = 0; i < 4; i++)
    if (victims[i] != t && victims[i] != NULL) tavi_timer_cancel(victims[i]);
  memset(victims, 0, sizeof victims);
}

TEST(timers__cancelled_by_another_due_timer__does_not_run) {
  begin();
  for (int i = 0; i < 4; i++) victims[i] = start(1 + (uint64_t)i, i % 2 ? 1000 : 0, cancel_others, NULL);
  stall(10);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 1);
  CHECK_INT(tavi_manager_poll(manager, 10), 0);
  tear_down();
}

static void cancel_and_start(struct tavi_timer *t, void *user) {
  (void)t, (void)user;
  tavi_timer_cancel(victims[0]);
  start(0, 0, note, (void *)7); /* may well get the cancelled one's memory */
}

TEST(timers__memory_used_again_in_a_callback__is_a_new_timer) {
  begin();
  start(1, 0, cancel_and_start, NULL);
  victims[0] = start(2, 0, note, (void *)8);
  stall(5);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 0);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 1);
  CHECK_INT(order[0], 7);
  tear_down();
}

/* ==== made by callbacks ==== */

static void start_another(struct tavi_timer *t, void *user) {
  (void)t;
  fired++;
  start((uint64_t)(intptr_t)user, 0, start_another, user);
}

TEST(timers__made_in_a_callback__run_in_the_next_turn) {
  begin();
  start(0, 0, start_another, (void *)0);
  for (int i = 1; i <= 20; i++) {
    CHECK_INT(tavi_manager_poll(manager, 0), 1);
    CHECK_INT(fired, i);
  }
  tear_down();
}

static unsigned wakeups;

static void start_in_wakeup(struct tavi_conn *c, struct tavi_slice data, void *user) {
  (void)c, (void)data, (void)user;
  wakeups++;
  start(0, 0, note, NULL);
}

TEST(timers__made_in_an_earlier_part_of_the_turn__wait_for_the_next) {
  static const struct tavi_conn_handlers handlers = {.on_wakeup = start_in_wakeup};
  struct tavi_conn *c;
  begin();
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &handlers, NULL, &c), 0);
  tavi_manager_poll(manager, 0);
  for (int i = 0; i < 5; i++) { /* wakeups are served before the timers of a turn */
    CHECK_INT(tavi_manager_wakeup(manager, tavi_conn_id(c), NULL, 0), 0);
    CHECK_INT(tavi_manager_poll(manager, 20000), 1);
    CHECK_INT(wakeups, i + 1);
    CHECK_INT(fired, i);
    CHECK_INT(tavi_manager_poll(manager, 20000), 1);
    CHECK_INT(fired, i + 1);
  }
  tear_down();
}

static void stall_and_start(struct tavi_timer *t, void *user) {
  (void)t, (void)user;
  start(1, 0, note, (void *)1);
  stall(5); /* by now it is due, but not in this turn */
}

TEST(timers__made_in_a_callback_and_due_in_the_same_turn__still_wait_for_the_next) {
  begin();
  start(0, 0, stall_and_start, NULL);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 0);
  CHECK_INT(tavi_manager_poll(manager, 0), 1);
  CHECK_INT(fired, 1);
  tear_down();
}

static void break_turn(struct tavi_timer *t, void *user) {
  note(t, user);
  tavi_manager_break(manager);
}

TEST(timers__broken_turn__serves_the_rest_next) {
  begin();
  for (int i = 0; i < 4; i++) start((uint64_t)i, 0, break_turn, (void *)(intptr_t)i);
  stall(10);
  for (int i = 0; i < 4; i++) {
    CHECK_INT(tavi_manager_poll(manager, 20000), 1);
    CHECK_INT(fired, i + 1);
    CHECK_INT(order[i], i);
  }
  tear_down();
}

TEST(timers__close_all__cancels_them) {
  begin();
  for (uint64_t i = 0; i < 200; i++) start(i % 5, i % 3 * 100000, note, NULL);
  stall(3);
  CHECK_INT(tavi_manager_close_all(manager), 0);
  stall(5);
  CHECK_INT(tavi_manager_poll(manager, 0), 0);
  CHECK_INT(fired, 0);
  start(0, 0, note, NULL);
  CHECK_INT(tavi_manager_poll(manager, 0), 1); /* and the manager lives on */
  tear_down();
}

/* ==== many ==== */

enum { MANY = 1000000 };

static struct tavi_timer *many[MANY];
static uint64_t many_due_ms[MANY];
static unsigned char many_fired[MANY];

static void on_many(struct tavi_timer *t, void *user) {
  size_t i = (size_t)(uintptr_t)user;
  CHECK(many[i] == t);
  CHECK(many_fired[i] == 0);
  CHECK(tavi_millis() >= many_due_ms[i]);
  many_fired[i] = 1;
  many[i] = NULL;
  fired++;
}

TEST(timers__a_million__each_runs_once_or_is_cancelled) {
  uint32_t random = 1;
  int cancelled = 0;
  begin();
  for (size_t i = 0; i < MANY; i++) {
    random = random * 1664525 + 1013904223;
    uint64_t delay_ms = i % 4 == 0 ? 1000000 + random % 100000000 : random % 1500;
    many_due_ms[i] = tavi_millis() + delay_ms;
    many[i] = start(delay_ms, 0, on_many, (void *)(uintptr_t)i);
  }
  for (size_t i = 0; i < MANY; i++) {
    if (i % 4 != 0 && i % 3 != 0) continue; /* all the far ones, and a third of the near */
    tavi_timer_cancel(many[i]);
    many[i] = NULL;
    many_fired[i] = 2;
    cancelled++;
  }
  RUN_UNTIL(fired == MANY - cancelled);
  for (size_t i = 0; i < MANY; i++) CHECK(many_fired[i] != 0 && many[i] == NULL);
  CHECK_INT(tavi_manager_poll(manager, 0), 0);
  tear_down();
}
