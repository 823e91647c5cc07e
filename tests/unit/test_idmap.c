/* SPDX-License-Identifier: MIT
 *
 * The map from ids to objects: growing, looking up, and above all deleting, against an array as the model. */
#include "base/idmap.h"

#include <stdlib.h>

#include "failmalloc.h"
#include "random.h"
#include "test.h"

static struct tavi__idmap map;

TEST(idmap__empty__finds_nothing) {
  CHECK(tavi__idmap_find(&map, 0) == NULL);
  CHECK(tavi__idmap_find(&map, 1) == NULL);
  tavi__idmap_free(&map);
}

TEST(idmap__added__is_found_by_its_own_pointer) {
  static uint64_t ids[1000];
  for (uint64_t i = 0; i < 1000; i++) {
    ids[i] = i + 2;
    CHECK(tavi__idmap_add(&map, &ids[i]));
  }
  CHECK_INT(map.count, 1000);
  for (uint64_t i = 0; i < 1000; i++) CHECK(tavi__idmap_find(&map, i + 2) == &ids[i]);
  CHECK(tavi__idmap_find(&map, 1) == NULL);
  CHECK(tavi__idmap_find(&map, 1002) == NULL);
  tavi__idmap_free(&map);
  CHECK(tavi__idmap_find(&map, 2) == NULL);
}

TEST(idmap__unknown_removed__changes_nothing) {
  uint64_t id = 7;
  CHECK(tavi__idmap_add(&map, &id));
  tavi__idmap_remove(&map, 8);
  CHECK_INT(map.count, 1);
  CHECK(tavi__idmap_find(&map, 7) == &id);
  tavi__idmap_free(&map);
}

TEST(idmap__window_of_live_ids__does_not_grow_for_ever) {
  enum { WINDOW = 100 };
  static uint64_t ids[WINDOW];
  for (uint64_t n = 0; n < 200000; n++) {
    uint64_t *id = &ids[n % WINDOW];
    if (n >= WINDOW) tavi__idmap_remove(&map, *id);
    *id = n + 2;
    if (!CHECK(tavi__idmap_add(&map, id))) return;
  }
  CHECK(map.bits <= 8);
  for (int i = 0; i < WINDOW; i++) CHECK(tavi__idmap_find(&map, ids[i]) == &ids[i]);
  tavi__idmap_free(&map);
}

TEST(idmap__random_operations__agree_with_a_model) {
  enum { COUNT = 3000 };
  static uint64_t ids[COUNT];
  static bool is_in[COUNT];
  size_t live = 0;
  random_seed(2);
  for (int i = 0; i < COUNT; i++) ids[i] = (uint64_t)i * (i % 3 == 0 ? 1 : UINT64_C(1) << (i % 40)) + 5;
  for (int i = 1; i < COUNT; i++) /* distinct, whatever the formula makes of it */
    for (int k = 0; k < i; k++)
      if (ids[k] == ids[i]) ids[i] = UINT64_MAX - (uint64_t)i;

  for (int n = 0; n < 200000; n++) {
    /* Phases of mostly growing and mostly shrinking, so that clusters come and go. */
    bool add = random_below(100) < ((n / 20000) % 2 == 0 ? 70u : 30u);
    int i = (int)random_below(COUNT);
    if (add == is_in[i]) continue;
    if (add) {
      CHECK(tavi__idmap_add(&map, &ids[i]));
      live++;
    } else {
      tavi__idmap_remove(&map, ids[i]);
      live--;
    }
    is_in[i] = add;
    CHECK_INT(map.count, live);
    if (n % 500 != 0) continue;
    test_note("operation %d", n);
    for (int k = 0; k < COUNT; k++) CHECK(tavi__idmap_find(&map, ids[k]) == (is_in[k] ? &ids[k] : NULL));
  }
  CHECK(map.count * 4 <= (size_t)3 << map.bits);
  tavi__idmap_free(&map);
}

TEST(idmap__no_memory__keeps_what_it_has) {
  enum { COUNT = 200 };
  static uint64_t ids[COUNT];
  int failures = 0;
  for (uint64_t i = 0; i < COUNT; i++) {
    ids[i] = i + 2;
    fail_begin(1);
    bool ok = tavi__idmap_add(&map, &ids[i]);
    bool failed = fail_end();
    CHECK_INT(ok, !failed);
    if (!failed) continue;
    failures++;
    CHECK_INT(map.count, i);
    for (uint64_t k = 0; k < i; k++) CHECK(tavi__idmap_find(&map, k + 2) == &ids[k]);
    CHECK(map.count == 0 || tavi__idmap_find(&map, ids[i]) == NULL);
    CHECK(tavi__idmap_add(&map, &ids[i]));
  }
  CHECK_INT(failures, 6); /* 0 -> 16 -> 32 -> ... -> 512 */
  tavi__idmap_free(&map);
}
