/* SPDX-License-Identifier: MIT
 *
 * The timing wheel: single steps first, then 100,000 random operations against a plain array as the model. */
#include "base/wheel.h"

#include <stdlib.h>

#include "random.h"
#include "test.h"

enum { START_MS = 1000003 }; /* not on the edge of any block */

static struct tavi__wheel wheel;

/* The time of the first entry in `due`, which is taken out; UINT64_MAX when there is none. */
static uint64_t take_due(void) {
  if (tavi__list_empty(&wheel.due)) return UINT64_MAX;
  struct tavi__wheel_entry *e = TAVI__CONTAINER(wheel.due.next, struct tavi__wheel_entry, node);
  tavi__wheel_remove(e);
  return e->at_ms;
}

/* Go where the wheel says that something is to be done next, until something is due. */
static uint64_t next_due(void) {
  for (int steps = 0; steps < 2 * TAVI__WHEEL_LEVELS; steps++) {
    uint64_t ms = tavi__wheel_next_ms(&wheel);
    if (ms == UINT64_MAX) return ms;
    tavi__wheel_advance(&wheel, ms);
    if (!tavi__list_empty(&wheel.due)) return take_due();
  }
  CHECK(!"the wheel takes more steps than it has levels");
  return UINT64_MAX;
}

TEST(wheel__empty__has_no_next) {
  tavi__wheel_init(&wheel, START_MS);
  CHECK(tavi__wheel_next_ms(&wheel) == UINT64_MAX);
  tavi__wheel_advance(&wheel, START_MS + (UINT64_C(1) << 40));
  CHECK(tavi__wheel_next_ms(&wheel) == UINT64_MAX);
  CHECK_INT(take_due(), UINT64_MAX);
}

TEST(wheel__time_now_or_past__is_due_at_once) {
  struct tavi__wheel_entry now = {0}, past = {0};
  tavi__wheel_init(&wheel, START_MS);
  tavi__wheel_add(&wheel, &now, START_MS);
  tavi__wheel_add(&wheel, &past, 0);
  CHECK_INT(tavi__wheel_next_ms(&wheel), START_MS);
  CHECK_INT(take_due(), START_MS);
  CHECK_INT(take_due(), 0);
}

TEST(wheel__one_ms__is_not_due_earlier) {
  struct tavi__wheel_entry e = {0};
  tavi__wheel_init(&wheel, START_MS);
  tavi__wheel_add(&wheel, &e, START_MS + 1);
  CHECK_INT(tavi__wheel_next_ms(&wheel), START_MS + 1);
  tavi__wheel_advance(&wheel, START_MS);
  CHECK_INT(take_due(), UINT64_MAX);
  tavi__wheel_advance(&wheel, START_MS + 1);
  CHECK_INT(take_due(), START_MS + 1);
}

TEST(wheel__each_edge_of_each_level__is_exact) {
  for (int level = 0; level < TAVI__WHEEL_LEVELS - 1; level++) {
    for (int near = -2; near <= 2; near++) {
      struct tavi__wheel_entry e = {0};
      uint64_t at_ms = START_MS + (UINT64_C(1) << (6 * (level + 1))) + (uint64_t)(int64_t)near;
      test_note("level %d, %d beside it", level, near);
      tavi__wheel_init(&wheel, START_MS);
      tavi__wheel_add(&wheel, &e, at_ms);
      CHECK(tavi__wheel_next_ms(&wheel) <= at_ms);
      tavi__wheel_advance(&wheel, at_ms - 1);
      CHECK_INT(take_due(), UINT64_MAX);
      CHECK(tavi__wheel_has(&e));
      CHECK_INT(tavi__wheel_next_ms(&wheel), at_ms);
      tavi__wheel_advance(&wheel, at_ms);
      CHECK_INT(take_due(), at_ms);
      CHECK(!tavi__wheel_has(&e));
    }
  }
}

TEST(wheel__far_away__is_reached_in_a_step_per_level) {
  const uint64_t delays[] = {63, 64, 65, 4095, 4096, 262144, 86400000, UINT64_C(1) << 41, (UINT64_C(1) << 42) - 1};
  for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
    struct tavi__wheel_entry e = {0};
    tavi__wheel_init(&wheel, START_MS);
    tavi__wheel_add(&wheel, &e, START_MS + delays[i]);
    test_note("delay %llu", (unsigned long long)delays[i]);
    CHECK_INT(next_due(), START_MS + delays[i]);
  }
}

TEST(wheel__jump_over_everything__is_in_order_of_time) {
  enum { COUNT = 500 };
  static struct tavi__wheel_entry e[COUNT];
  random_seed(3);
  tavi__wheel_init(&wheel, START_MS);
  for (int i = 0; i < COUNT; i++) {
    e[i] = (struct tavi__wheel_entry){0};
    tavi__wheel_add(&wheel, &e[i], START_MS + 1 + random_below(UINT64_C(1) << random_below(42)));
  }
  tavi__wheel_advance(&wheel, UINT64_C(1) << 45);
  uint64_t last = 0;
  for (int i = 0; i < COUNT; i++) {
    uint64_t at_ms = take_due();
    CHECK(at_ms >= last && at_ms != UINT64_MAX);
    last = at_ms;
  }
  CHECK_INT(take_due(), UINT64_MAX);
}

TEST(wheel__equal_times__keep_the_order_in_which_they_were_added) {
  struct tavi__wheel_entry e[3] = {0};
  tavi__wheel_init(&wheel, 0);
  tavi__wheel_add(&wheel, &e[0], 5000); /* lies in level 2 now ... */
  tavi__wheel_advance(&wheel, 4100);
  tavi__wheel_add(&wheel, &e[1], 5000); /* ... level 1 ... */
  tavi__wheel_advance(&wheel, 4993);
  tavi__wheel_add(&wheel, &e[2], 5000); /* ... and level 0 */
  tavi__wheel_advance(&wheel, 6000);
  for (int i = 0; i < 3; i++) {
    CHECK(wheel.due.next == &e[i].node);
    take_due();
  }
}

TEST(wheel__removed__is_forgotten_wherever_it_was) {
  struct tavi__wheel_entry far = {0}, near = {0}, due = {0}, stays = {0};
  tavi__wheel_init(&wheel, START_MS);
  tavi__wheel_add(&wheel, &far, START_MS + 1000000);
  tavi__wheel_add(&wheel, &near, START_MS + 10);
  tavi__wheel_add(&wheel, &due, START_MS);
  tavi__wheel_add(&wheel, &stays, START_MS + 2000000);
  tavi__wheel_remove(&due);
  tavi__wheel_remove(&near);
  CHECK(!tavi__wheel_has(&near));
  tavi__wheel_remove(&far);
  CHECK_INT(next_due(), START_MS + 2000000);
}

TEST(wheel__removed_while_due__leaves_the_others_due) {
  struct tavi__wheel_entry e[3] = {0};
  tavi__wheel_init(&wheel, START_MS);
  for (unsigned i = 0; i < 3; i++) tavi__wheel_add(&wheel, &e[i], START_MS + 5 + i);
  tavi__wheel_advance(&wheel, START_MS + 100);
  tavi__wheel_remove(&e[1]);
  CHECK_INT(take_due(), START_MS + 5);
  CHECK_INT(take_due(), START_MS + 7);
  CHECK_INT(take_due(), UINT64_MAX);
}

TEST(wheel__all_removed__is_known_to_be_empty_after_a_look) {
  struct tavi__wheel_entry e = {0};
  tavi__wheel_init(&wheel, START_MS);
  tavi__wheel_add(&wheel, &e, START_MS + 5);
  tavi__wheel_remove(&e);
  tavi__wheel_advance(&wheel, START_MS + 5);
  CHECK(tavi__wheel_next_ms(&wheel) == UINT64_MAX);
}

TEST(wheel__time_going_back__is_ignored) {
  struct tavi__wheel_entry e = {0};
  tavi__wheel_init(&wheel, START_MS);
  tavi__wheel_add(&wheel, &e, START_MS + 70);
  tavi__wheel_advance(&wheel, START_MS + 60);
  tavi__wheel_advance(&wheel, START_MS);
  CHECK_INT(wheel.now_ms, START_MS + 60);
  CHECK_INT(next_due(), START_MS + 70);
}

/* ==== against a model ==== */

enum { ENTRIES = 2000, OPERATIONS = 100000 };

static struct tavi__wheel_entry entries[ENTRIES];
static uint64_t wanted_ms[ENTRIES]; /* 0: not in the wheel */

static uint64_t model_first(void) {
  uint64_t first = UINT64_MAX;
  for (int i = 0; i < ENTRIES; i++)
    if (wanted_ms[i] != 0 && wanted_ms[i] < first) first = wanted_ms[i];
  return first;
}

static void model_add(int i, uint64_t now_ms) {
  uint64_t range = UINT64_C(1) << random_below(random_below(8) == 0 ? 42 : 16);
  wanted_ms[i] = now_ms + random_below(range);
  if (random_below(50) == 0) wanted_ms[i] = now_ms - random_below(1000);
  tavi__wheel_add(&wheel, &entries[i], wanted_ms[i]);
}

static void model_drain(uint64_t now_ms, bool is_ordered) {
  uint64_t last = 0;
  while (!tavi__list_empty(&wheel.due)) {
    struct tavi__wheel_entry *e = TAVI__CONTAINER(wheel.due.next, struct tavi__wheel_entry, node);
    ptrdiff_t i = e - entries;
    CHECK_INT(e->at_ms, wanted_ms[i]);
    CHECK(e->at_ms <= now_ms);
    CHECK(!is_ordered || e->at_ms >= last);
    last = e->at_ms;
    tavi__wheel_remove(e);
    wanted_ms[i] = 0;
  }
}

TEST(wheel__random_operations__agree_with_a_model) {
  uint64_t now_ms = START_MS, fired = 0;
  random_seed(1);
  tavi__wheel_init(&wheel, now_ms);
  for (int n = 0; n < OPERATIONS; n++) {
    int i = (int)random_below(ENTRIES);
    test_note("operation %d", n);
    if (wanted_ms[i] == 0) {
      model_add(i, now_ms);
    } else if (random_below(3) == 0) {
      tavi__wheel_remove(&entries[i]);
      wanted_ms[i] = 0;
    }
    if (random_below(20) != 0) continue;

    model_drain(now_ms, false); /* added with a time in the past: in any order */
    uint64_t first = model_first(), next = tavi__wheel_next_ms(&wheel);
    CHECK(next <= first);                                    /* never late */
    CHECK(next > now_ms);                                    /* and never without progress */

    if (random_below(2) == 0 && next != UINT64_MAX)
      now_ms = next;
    else
      now_ms += random_below(UINT64_C(1) << random_below(random_below(100) == 0 ? 40 : 14));
    bool any = first <= now_ms;
    tavi__wheel_advance(&wheel, now_ms);
    CHECK(tavi__list_empty(&wheel.due) == !any);
    model_drain(now_ms, true);
    fired += any;
    CHECK(model_first() > now_ms); /* nothing was forgotten */
  }
  CHECK(fired > 1000);
  model_drain(now_ms, false);
  while (model_first() != UINT64_MAX) {
    uint64_t next = tavi__wheel_next_ms(&wheel);
    if (!CHECK(next <= model_first() && next > now_ms)) break;
    now_ms = next;
    tavi__wheel_advance(&wheel, now_ms);
    model_drain(now_ms, true);
  }
  tavi__wheel_advance(&wheel, now_ms + (UINT64_C(1) << 43)); /* what was removed last may still have counted */
  CHECK(tavi__wheel_next_ms(&wheel) == UINT64_MAX);
}
