/* SPDX-License-Identifier: MIT
 *
 * The mailbox by itself: order, sizes, its maximum, a batch that is broken off. Threads come in at the end, and in
 * tests/e2e/test_wakeup.c. */
#include "loop/mailbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/limits.h"
#include "failmalloc.h"
#include "random.h"
#include "test.h"

static struct tavi__mailbox box;

static int put(uint64_t id, const void *data, size_t len) {
  pthread_mutex_lock(&box.lock);
  int err = tavi__mailbox_put(&box, id, data, len);
  pthread_mutex_unlock(&box.lock);
  return err;
}

/* Take and drop everything; the number of payloads. */
static int drain(void) {
  uint64_t id;
  struct tavi_slice data;
  int count = 0;
  while (tavi__mailbox_take(&box))
    while (tavi__mailbox_next(&box, &id, &data)) count++;
  return count;
}

TEST(mailbox__empty__has_nothing_to_take) {
  CHECK_INT(tavi__mailbox_init(&box, 1000), 0);
  CHECK(!tavi__mailbox_take(&box));
  CHECK(!tavi__mailbox_has_batch(&box));
  tavi__mailbox_free(&box);
}

TEST(mailbox__payloads__come_out_as_they_went_in) {
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, 1000), 0);
  CHECK_INT(put(5, "five", 4), 0);
  CHECK_INT(put(6, NULL, 0), 0);
  CHECK_INT(put(5, "\0zero", 5), 0);
  CHECK(tavi__mailbox_take(&box));
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 5);
  CHECK_STR(data, "five");
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 6);
  CHECK_INT(data.len, 0);
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 5);
  CHECK_BYTES(data.ptr, data.len, "\0zero", 5);
  CHECK(!tavi__mailbox_next(&box, &id, &data));
  CHECK(!tavi__mailbox_has_batch(&box));
  CHECK(!tavi__mailbox_take(&box));
  tavi__mailbox_free(&box);
}

TEST(mailbox__every_size_around_a_block__keeps_order_and_bytes) {
  static char bytes[1 << 20];
  const size_t block = TAVI__MAIL_BLOCK_BYTES;
  const size_t sizes[] = {0, 1, 7, 8, 9, block - 64, block - 41, block - 40, block - 39, block - 33, block - 32,
                          block - 24, block - 17, block - 16, block - 1, block, block + 1, sizeof bytes, 3};
  const size_t count = sizeof sizes / sizeof sizes[0];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31 >> 3);
  CHECK_INT(tavi__mailbox_init(&box, (size_t)64 << 20), 0);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < count; i++)
      for (size_t k = 0; k < 3; k++) CHECK_INT(put(i * 3 + k, bytes + k, sizes[i] > k ? sizes[i] - k : 0), 0);
    CHECK(tavi__mailbox_take(&box));
    for (size_t i = 0; i < count * 3; i++) {
      uint64_t id;
      struct tavi_slice data;
      size_t k = i % 3, size = sizes[i / 3] > k ? sizes[i / 3] - k : 0;
      test_note("payload %zu of %zu bytes", i, size);
      if (!CHECK(tavi__mailbox_next(&box, &id, &data))) return;
      CHECK_INT(id, i);
      CHECK_INT(data.len, size);
      CHECK(data.len == size && memcmp(data.ptr, bytes + k, size) == 0);
      CHECK((uintptr_t)data.ptr % 8 == 0); /* handlers may look at it as numbers */
    }
    CHECK_INT(drain(), 0);
  }
  tavi__mailbox_free(&box);
}

TEST(mailbox__put_during_a_batch__is_in_the_next_one) {
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, 1000), 0);
  CHECK_INT(put(1, "a", 1), 0);
  CHECK(tavi__mailbox_take(&box));
  CHECK(tavi__mailbox_next(&box, &id, &data));
  CHECK_INT(put(2, "b", 1), 0);
  CHECK_STR(data, "a");
  CHECK(!tavi__mailbox_next(&box, &id, &data));
  CHECK(tavi__mailbox_take(&box));
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 2);
  CHECK_INT(drain(), 0);
  tavi__mailbox_free(&box);
}

TEST(mailbox__batch_broken_off__goes_on_where_it_was_and_before_what_is_newer) {
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, 1 << 20), 0);
  for (uint64_t i = 0; i < 5; i++) CHECK_INT(put(i, &i, sizeof i), 0);
  CHECK(tavi__mailbox_take(&box));
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 0);
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 1);
  CHECK(tavi__mailbox_has_batch(&box));
  for (uint64_t i = 5; i < 8; i++) CHECK_INT(put(i, &i, sizeof i), 0);
  for (uint64_t want = 2; want < 8;) {
    if (!CHECK(tavi__mailbox_take(&box))) break;
    while (tavi__mailbox_next(&box, &id, &data)) CHECK_INT(id, want++);
  }
  CHECK_INT(drain(), 0);
  tavi__mailbox_free(&box);
}

/* ==== the maximum ==== */

static int fill(size_t len) {
  static char bytes[1 << 16];
  int count = 0;
  while (put(9, bytes, len) == 0 && count < 1000000) count++;
  return count;
}

TEST(mailbox__full__refuses_and_accepts_again_when_all_was_delivered) {
  CHECK_INT(tavi__mailbox_init(&box, 100000), 0);
  int count = fill(100);
  CHECK(count > 700 && count <= 1000);
  while (put(9, NULL, 0) == 0) count++; /* small ones may still fit into what is left */
  CHECK_INT(put(9, NULL, 0), TAVI_E_LIMIT);
  drain();
  CHECK(fill(100) > 700);
  drain();
  tavi__mailbox_free(&box);
}

/* Nothing wakes the loop for a payload that is refused. So the room must be there as soon as the batch is over, not
 * with the next batch: there might never be one. */
TEST(mailbox__batch_delivered__has_room_without_another_take) {
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, 100000), 0);
  for (int round = 0; round < 5; round++) {
    CHECK(fill(1000) > 50);
    fill(0);
    CHECK_INT(put(9, NULL, 0), TAVI_E_LIMIT);
    CHECK(tavi__mailbox_take(&box));
    while (tavi__mailbox_next(&box, &id, &data)) continue;
    CHECK_INT(put(9, "x", 1), 0);
    CHECK_INT(drain(), 1);
  }
  tavi__mailbox_free(&box);
}

TEST(mailbox__during_a_long_batch__room_comes_back_step_by_step) {
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, (size_t)1 << 20), 0);
  int count = fill(1000);
  CHECK(tavi__mailbox_take(&box));
  CHECK_INT(fill(1000), 0); /* taken is not delivered */
  for (int i = 0; i < count / 2; i++) CHECK(tavi__mailbox_next(&box, &id, &data));
  CHECK(fill(1000) > count / 4);
  drain();
  tavi__mailbox_free(&box);
}

TEST(mailbox__one_payload_above_the_maximum__is_accepted_when_nothing_waits) {
  static char big[5000];
  CHECK_INT(tavi__mailbox_init(&box, 1000), 0);
  CHECK_INT(put(1, big, sizeof big), 0);
  CHECK_INT(put(1, big, 1), TAVI_E_LIMIT);
  CHECK_INT(drain(), 1);
  CHECK_INT(put(1, big, 1), 0);
  CHECK_INT(put(1, big, sizeof big), TAVI_E_LIMIT);
  CHECK_INT(drain(), 1);
  CHECK_INT(put(1, big, sizeof big), 0);
  CHECK_INT(drain(), 1);
  tavi__mailbox_free(&box);
}

TEST(mailbox__impossible_length__is_refused_before_anything_is_computed) {
  CHECK_INT(tavi__mailbox_init(&box, SIZE_MAX), 0);
  CHECK_INT(put(1, "", SIZE_MAX), TAVI_E_LIMIT);
  CHECK_INT(put(1, "", SIZE_MAX - 16), TAVI_E_LIMIT);
  CHECK_INT(drain(), 0);
  tavi__mailbox_free(&box);
}

/* ==== memory ==== */

TEST(mailbox__no_memory__refuses_this_one_and_keeps_the_others) {
  static char big[TAVI__MAIL_BLOCK_BYTES];
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, (size_t)1 << 20), 0);
  fail_begin(1);
  CHECK_INT(put(1, "a", 1), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK_INT(put(2, "b", 1), 0);
  fail_begin(1);
  CHECK_INT(put(3, big, sizeof big), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK_INT(put(4, "d", 1), 0);
  CHECK(tavi__mailbox_take(&box));
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 2);
  CHECK(tavi__mailbox_next(&box, &id, &data) && id == 4);
  CHECK_INT(drain(), 0);
  tavi__mailbox_free(&box);
}

TEST(mailbox__steady_traffic__allocates_nothing) {
  CHECK_INT(tavi__mailbox_init(&box, (size_t)1 << 20), 0);
  CHECK_INT(put(1, "warm", 4), 0);
  drain();
  fail_begin(1);
  for (int i = 0; i < 1000; i++) {
    CHECK_INT(put(1, "again", 5), 0);
    CHECK_INT(drain(), 1);
  }
  CHECK(!fail_end());
  tavi__mailbox_free(&box);
}

TEST(mailbox__freed_with_everything_in_it__leaks_nothing) {
  static char big[1 << 18];
  uint64_t id;
  struct tavi_slice data;
  CHECK_INT(tavi__mailbox_init(&box, (size_t)8 << 20), 0);
  for (int i = 0; i < 10; i++) CHECK_INT(put(1, big, i % 2 ? sizeof big : 100), 0);
  CHECK(tavi__mailbox_take(&box));
  CHECK(tavi__mailbox_next(&box, &id, &data));
  CHECK(tavi__mailbox_next(&box, &id, &data));
  for (int i = 0; i < 10; i++) CHECK_INT(put(1, big, i % 2 ? sizeof big : 100), 0);
  tavi__mailbox_free(&box);
}

/* ==== threads ==== */

enum { THREADS = 4, PER_THREAD = 20000 };

static void *producer(void *arg) {
  uint64_t thread = (uint64_t)(uintptr_t)arg;
  for (uint64_t n = 0; n < PER_THREAD;)
    if (put(thread, &n, sizeof n) == 0) n++;
  return NULL;
}

TEST(mailbox__four_threads__lose_nothing_and_keep_their_order) {
  pthread_t threads[THREADS];
  uint64_t next[THREADS] = {0}, total = 0;
  CHECK_INT(tavi__mailbox_init(&box, 200000), 0); /* small, so that producers run into it */
  for (uintptr_t i = 0; i < THREADS; i++) CHECK_INT(pthread_create(&threads[i], NULL, producer, (void *)i), 0);
  while (total < THREADS * PER_THREAD) {
    uint64_t id, n;
    struct tavi_slice data;
    if (!tavi__mailbox_take(&box)) continue;
    for (int i = 0; i < 1000 && tavi__mailbox_next(&box, &id, &data); i++, total++) {
      memcpy(&n, data.ptr, sizeof n);
      CHECK_INT(n, next[id]);
      next[id] = n + 1;
    }
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_INT(drain(), 0);
  tavi__mailbox_free(&box);
}
