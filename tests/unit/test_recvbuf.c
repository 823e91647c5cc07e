/* SPDX-License-Identifier: MIT
 *
 * The receive buffer: bytes in at the end, out at the front, every byte of memory counted. */
#include "net/recvbuf.h"

#include <stdlib.h>

#include "failmalloc.h"
#include "loop/manager.h"
#include "random.h"
#include "test.h"

static struct tavi_manager *manager; /* for its accounts only */
static struct tavi__recvbuf *buf;

static void set_up(size_t bytes_max) {
  struct tavi_manager_opts opts;
  tavi_manager_opts_init(&opts);
  opts.buffered_bytes_max = bytes_max;
  CHECK_INT(tavi_manager_new(&opts, &manager), 0);
  buf = NULL;
}

static void tear_down(void) {
  tavi__recvbuf_free(&buf, manager);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  tavi_manager_free(manager);
}

TEST(recvbuf__appended__is_there_in_one_piece) {
  set_up(1 << 20);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, "abc", 3), 0);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, "def", 3), 0);
  CHECK_BYTES(buf->bytes + buf->start, buf->len, "abcdef", 6);
  CHECK_INT(tavi_manager_buffered(manager), sizeof *buf + buf->cap);
  tavi__recvbuf_consume(&buf, manager, 2);
  CHECK_BYTES(buf->bytes + buf->start, buf->len, "cdef", 4);
  tear_down();
}

TEST(recvbuf__all_consumed__is_freed) {
  set_up(1 << 20);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, "abc", 3), 0);
  tavi__recvbuf_consume(&buf, manager, 3);
  CHECK(buf == NULL);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  tavi__recvbuf_free(&buf, manager);
  tear_down();
}

TEST(recvbuf__reserve__makes_room_and_changes_nothing_else) {
  set_up(1 << 24);
  for (size_t more = 1; more < 1 << 20; more = more * 3 + 1) {
    test_note("%zu more", more);
    CHECK_INT(tavi__recvbuf_append(&buf, manager, "abcdefgh", 8), 0);
    tavi__recvbuf_consume(&buf, manager, 3);
    CHECK_INT(tavi__recvbuf_reserve(&buf, manager, more), 0);
    CHECK(buf->cap - buf->start - buf->len >= more);
    CHECK(memcmp(buf->bytes + buf->start + buf->len - 5, "defgh", 5) == 0);
  }
  tear_down();
}

TEST(recvbuf__window_that_moves_on__does_not_grow) {
  char piece[1000];
  set_up(1 << 20);
  memset(piece, 'x', sizeof piece);
  for (int i = 0; i < 3; i++) CHECK_INT(tavi__recvbuf_append(&buf, manager, piece, sizeof piece), 0);
  for (int i = 0; i < 10000; i++) {
    CHECK_INT(tavi__recvbuf_append(&buf, manager, piece, sizeof piece), 0);
    tavi__recvbuf_consume(&buf, manager, sizeof piece);
  }
  CHECK(tavi_manager_buffered(manager) <= 16384);
  tear_down();
}

TEST(recvbuf__manager_maximum__is_an_error_and_keeps_what_there_is) {
  static char piece[60000];
  set_up(100000);
  memset(piece, 'p', sizeof piece);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, piece, sizeof piece), 0);
  size_t before = tavi_manager_buffered(manager);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, piece, sizeof piece), TAVI_E_LIMIT);
  CHECK_INT(tavi_manager_buffered(manager), before);
  CHECK_BYTES(buf->bytes + buf->start, buf->len, piece, sizeof piece);
  tear_down();
}

TEST(recvbuf__no_memory__is_an_error_and_keeps_what_there_is) {
  static char piece[10000];
  set_up(1 << 20);
  fail_begin(1);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, "abc", 3), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK(buf == NULL);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, "abc", 3), 0);
  size_t before = tavi_manager_buffered(manager);
  fail_begin(1);
  CHECK_INT(tavi__recvbuf_append(&buf, manager, piece, sizeof piece), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK_INT(tavi_manager_buffered(manager), before);
  CHECK_BYTES(buf->bytes + buf->start, buf->len, "abc", 3);
  tear_down();
}

TEST(recvbuf__random_operations__agree_with_a_model) {
  enum { MODEL_BYTES = 1 << 20 };
  static char model[MODEL_BYTES], piece[20000];
  size_t from = 0, to = 0;
  random_seed(4);
  set_up(1 << 24);
  for (int n = 0; n < 20000; n++) {
    size_t len = (size_t)random_below(UINT64_C(1) << random_below(15));
    test_note("operation %d", n);
    if (random_below(2) == 0 && to - from + len < 200000) {
      if (to + len > MODEL_BYTES) {
        memmove(model, model + from, to - from);
        to -= from;
        from = 0;
      }
      for (size_t i = 0; i < len; i++) piece[i] = (char)random_next();
      memcpy(model + to, piece, len);
      to += len;
      if (len > 0) CHECK_INT(tavi__recvbuf_append(&buf, manager, piece, len), 0);
    } else if (to > from) {
      if (len > to - from) len = to - from;
      tavi__recvbuf_consume(&buf, manager, len);
      from += len;
    }
    CHECK_INT(buf == NULL ? 0 : buf->len, to - from);
    CHECK(buf == NULL || memcmp(buf->bytes + buf->start, model + from, to - from) == 0);
    CHECK_INT(tavi_manager_buffered(manager), buf == NULL ? 0 : sizeof *buf + buf->cap);
  }
  tear_down();
}
