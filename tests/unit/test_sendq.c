/* SPDX-License-Identifier: MIT
 *
 * The send queue against a plain string: whatever is put in comes out in order, however it is cut by partial sends, and
 * what was borrowed is given back exactly once. */
#include "net/file.h"
#include "net/sendq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "failmalloc.h"
#include "loop/manager.h"
#include "random.h"
#include "test.h"

static struct tavi_manager *manager; /* for its blocks and its accounts only */
static struct tavi__sendq q;

static void set_up(size_t bytes_max) {
  struct tavi_manager_opts opts;
  tavi_manager_opts_init(&opts);
  opts.buffered_bytes_max = bytes_max;
  CHECK_INT(tavi_manager_new(&opts, &manager), 0);
  q = (struct tavi__sendq){0};
}

static void tear_down(void) {
  tavi__sendq_clear(&q, manager);
  CHECK_INT(q.bytes, 0);
  CHECK(q.last == NULL);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  tavi_manager_free(manager);
}

/* Send at most n bytes of what tavi__sendq_next() offers, as a socket would; they go to out. Returns their number. */
static size_t send_some(size_t n, char *out) {
  struct iovec iov[TAVI__IOV_MAX];
  struct tavi__file *file = NULL;
  uint64_t offset = 0;
  size_t len = 0, done = 0;
  bool more;
  int count = tavi__sendq_next(&q, iov, TAVI__IOV_MAX, &file, &offset, &len, &more);
  if (count == 0) {
    done = len < n ? len : n;
    ssize_t got = pread(file->fd, out, done, (off_t)offset);
    CHECK_INT(got, done);
  }
  for (int i = 0; i < count && done < n; i++) {
    size_t part = iov[i].iov_len < n - done ? iov[i].iov_len : n - done;
    memcpy(out + done, iov[i].iov_base, part);
    done += part;
  }
  tavi__sendq_sent(&q, manager, done);
  return done;
}

static size_t send_all(size_t step, char *out) {
  size_t total = 0;
  while (q.last != NULL) total += send_some(step, out + total);
  return total;
}

static unsigned released[16];

static void release(void *arg) { released[(uintptr_t)arg]++; }

/* A file of ten letters that has no name any more. */
static struct tavi__file *new_file(void) {
  char path[] = "/tmp/tavi-sendq-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
  unlink(path);
  return tavi__file_new(fd);
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0 || errno != EBADF; }

TEST(sendq__small_pieces__share_a_block) {
  char out[16];
  set_up(1 << 20);
  CHECK_INT(tavi__sendq_copy(&q, manager, "ab", 2), 0);
  CHECK_INT(tavi__sendq_copy(&q, manager, "cd", 2), 0);
  CHECK_INT(tavi__sendq_copy(&q, manager, "", 0), 0);
  CHECK_INT(tavi__sendq_held(&q), TAVI__BLOCK_BYTES);
  CHECK_INT(q.bytes, 4);
  CHECK_INT(send_some(16, out), 4);
  CHECK_BYTES(out, 4, "abcd", 4);
  CHECK_INT(tavi__sendq_held(&q), 0);
  tear_down();
}

TEST(sendq__every_size_after_every_fill__comes_out_whole) {
  static char data[9000], out[18000];
  set_up(1 << 20);
  for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i % 251);
  for (size_t fill = 0; fill < 200; fill += fill < 70 ? 1 : 13) {
    for (size_t len = 3900; len < 4200; len++) {
      test_note("%zu bytes behind %zu", len, fill);
      CHECK_INT(tavi__sendq_copy(&q, manager, data, fill), 0);
      CHECK_INT(tavi__sendq_copy(&q, manager, data, len), 0);
      CHECK_INT(q.bytes, fill + len);
      CHECK_INT(send_all(SIZE_MAX, out), fill + len);
      CHECK(memcmp(out, data, fill) == 0 && memcmp(out + fill, data, len) == 0);
    }
  }
  tear_down();
}

TEST(sendq__room__is_filled_in_place) {
  char out[8192];
  set_up(1 << 20);
  for (size_t len = 1; len <= TAVI__SENDQ_ROOM_MAX; len += 371) {
    char *room = tavi__sendq_room(&q, manager, TAVI__SENDQ_ROOM_MAX);
    if (!CHECK(room != NULL)) break;
    memset(room, 'r', TAVI__SENDQ_ROOM_MAX); /* all of it may be written, whatever is committed */
    tavi__sendq_commit(&q, len);
    CHECK_INT(send_all(SIZE_MAX, out), len);
  }
  tear_down();
}

/* All kinds of pieces in one queue, in the way of every possible split. */
static const char mixed[] = "small-" "FOREIGN-" "234567" "more-" "0" "TAIL-" "end";

static int fill_mixed(void) { /* returns the file's descriptor */
  static const char foreign1[] = "FOREIGN-", foreign2[] = "TAIL-";
  memset(released, 0, sizeof released);
  struct tavi__file *file = new_file();
  CHECK_INT(tavi__sendq_copy(&q, manager, "small-", 6), 0);
  CHECK_INT(tavi__sendq_foreign(&q, manager, foreign1, 8, release, (void *)1), 0);
  CHECK_INT(tavi__sendq_file(&q, manager, file, 2, 6), 0);
  CHECK_INT(tavi__sendq_copy(&q, manager, "more-", 5), 0);
  CHECK_INT(tavi__sendq_file(&q, manager, new_file(), 0, 1), 0);
  CHECK_INT(tavi__sendq_foreign(&q, manager, foreign2, 5, release, (void *)2), 0);
  CHECK_INT(tavi__sendq_copy(&q, manager, "end", 3), 0);
  return file->fd;
}

TEST(sendq__mixed_pieces__come_out_the_same_at_every_split) {
  const size_t len = sizeof mixed - 1;
  char out[64];
  set_up(1 << 20);
  for (size_t first = 1; first < len; first++) {
    for (size_t step = 1; step < len; step++) {
      test_note("first %zu, then %zu at a time", first, step);
      int fd = fill_mixed();
      CHECK_INT(q.bytes, len);
      size_t done = send_some(first, out);
      CHECK_INT(q.bytes, len - done);
      done += send_all(step, out + done);
      CHECK_BYTES(out, done, mixed, len);
      CHECK_INT(released[1], 1);
      CHECK_INT(released[2], 1);
      CHECK(!is_open(fd));
      CHECK_INT(q.bytes, 0);
      CHECK_INT(tavi_manager_buffered(manager), 0);
    }
  }
  tear_down();
}

TEST(sendq__cleared_at_every_point__gives_everything_back_once) {
  char out[64];
  set_up(1 << 20);
  for (size_t n = 0; n < sizeof mixed - 1; n++) {
    test_note("after %zu bytes", n);
    int fd = fill_mixed();
    for (size_t done = 0; done < n;) done += send_some(n - done, out);
    CHECK_INT(released[1], n >= 14);
    CHECK_INT(released[2], n >= 31);
    CHECK_INT(is_open(fd), n < 20);
    tavi__sendq_clear(&q, manager);
    CHECK_INT(released[1], 1);
    CHECK_INT(released[2], 1);
    CHECK(!is_open(fd));
    CHECK_INT(q.bytes, 0);
    CHECK_INT(tavi_manager_buffered(manager), 0);
  }
  tear_down();
}

TEST(sendq__nothing_to_send__is_given_back_at_once) {
  memset(released, 0, sizeof released);
  set_up(1 << 20);
  struct tavi__file *file = new_file();
  int fd = file->fd;
  CHECK_INT(tavi__sendq_foreign(&q, manager, "", 0, release, (void *)1), 0);
  CHECK_INT(tavi__sendq_file(&q, manager, file, 0, 0), 0);
  CHECK_INT(released[1], 1);
  CHECK(!is_open(fd));
  CHECK(q.last == NULL);
  tear_down();
}

TEST(sendq__more_pieces_than_one_call_takes__says_that_more_follows) {
  struct iovec iov[4];
  struct tavi__file *next = NULL;
  uint64_t offset;
  size_t len;
  bool more = false;
  set_up(1 << 20);
  for (int i = 0; i < 6; i++) CHECK_INT(tavi__sendq_foreign(&q, manager, "x", 1, release, (void *)3), 0);
  CHECK_INT(tavi__sendq_next(&q, iov, 4, &next, &offset, &len, &more), 4);
  CHECK(more);
  tavi__sendq_sent(&q, manager, 3);
  CHECK_INT(tavi__sendq_next(&q, iov, 4, &next, &offset, &len, &more), 3);
  CHECK(!more);
  struct tavi__file *file = new_file();
  CHECK_INT(tavi__sendq_file(&q, manager, file, 0, 10), 0);
  CHECK_INT(tavi__sendq_next(&q, iov, 4, &next, &offset, &len, &more), 3);
  CHECK(more);
  tavi__sendq_sent(&q, manager, 3);
  CHECK_INT(tavi__sendq_next(&q, iov, 4, &next, &offset, &len, &more), 0);
  CHECK(next == file && offset == 0 && len == 10 && !more);
  tavi__sendq_sent(&q, manager, 4);
  CHECK_INT(tavi__sendq_next(&q, iov, 4, &next, &offset, &len, &more), 0);
  CHECK(next == file && offset == 4 && len == 6);
  tear_down();
}

TEST(sendq__peek__copies_memory_and_leaves_files_out) {
  char out[64];
  set_up(1 << 20);
  fill_mixed();
  CHECK_BYTES(out, tavi__sendq_peek(&q, out, sizeof out), "small-FOREIGN-more-TAIL-end", 27);
  CHECK_BYTES(out, tavi__sendq_peek(&q, out, 8), "small-FO", 8);
  CHECK_INT(tavi__sendq_peek(&q, out, 0), 0);
  tear_down();
}

/* A release function belongs to the user, who may send again from there. */
static void release_and_send(void *arg) {
  released[(uintptr_t)arg]++;
  CHECK_INT(tavi__sendq_copy(&q, manager, "again", 5), 0);
}

TEST(sendq__sending_in_a_release_function__is_queued_behind) {
  char out[16];
  memset(released, 0, sizeof released);
  set_up(1 << 20);
  CHECK_INT(tavi__sendq_foreign(&q, manager, "x", 1, release_and_send, (void *)1), 0);
  CHECK_INT(send_some(16, out), 1);
  CHECK_INT(released[1], 1);
  CHECK_INT(q.bytes, 5);
  CHECK_INT(send_some(16, out), 5);
  CHECK_BYTES(out, 5, "again", 5);
  tear_down();
}

/* ==== limits and memory ==== */

TEST(sendq__manager_maximum__refuses_and_gives_back) {
  static char data[20000];
  memset(released, 0, sizeof released);
  set_up(10000);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, sizeof data), TAVI_E_LIMIT);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, 4000), 0);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, 4000), 0);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, 4000), TAVI_E_LIMIT);
  CHECK_INT(q.bytes, 8000);
  for (int i = 0; i < 1000; i++)
    if (tavi__sendq_foreign(&q, manager, data, 1, release, (void *)1) == TAVI_E_LIMIT) break;
  CHECK_INT(released[1], 1); /* the one that was refused */
  struct tavi__file *file = new_file();
  int fd = file->fd;
  CHECK_INT(tavi__sendq_file(&q, manager, file, 0, 10), TAVI_E_LIMIT);
  CHECK(!is_open(fd));
  tear_down();
}

TEST(sendq__no_memory__is_an_error_and_changes_nothing) {
  static char data[20000];
  memset(released, 0, sizeof released);
  set_up(1 << 20);
  fail_begin(1);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, 10), TAVI_E_NOMEM);
  CHECK(fail_end());
  fail_begin(1);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, sizeof data), TAVI_E_NOMEM);
  CHECK(fail_end());
  fail_begin(1);
  CHECK_INT(tavi__sendq_foreign(&q, manager, data, 10, release, (void *)1), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK_INT(released[1], 1);
  struct tavi__file *file = new_file();
  int fd = file->fd;
  fail_begin(1);
  CHECK_INT(tavi__sendq_file(&q, manager, file, 0, 10), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK(!is_open(fd));
  CHECK(q.last == NULL && q.bytes == 0);
  CHECK_INT(tavi_manager_buffered(manager), 0);
  tear_down();
}

TEST(sendq__steady_traffic__allocates_nothing) {
  char out[4096], data[1000] = {0};
  set_up(1 << 20);
  CHECK_INT(tavi__sendq_copy(&q, manager, data, sizeof data), 0);
  send_all(SIZE_MAX, out);
  fail_begin(1);
  for (int i = 0; i < 1000; i++) {
    CHECK_INT(tavi__sendq_copy(&q, manager, data, sizeof data), 0);
    send_all(700, out);
  }
  CHECK(!fail_end());
  tear_down();
}

TEST(sendq__random_operations__agree_with_a_model) {
  enum { BYTES = 1 << 22 };
  static char data[30000], model[BYTES], out[BYTES];
  size_t in = 0, done = 0;
  random_seed(5);
  memset(released, 0, sizeof released);
  unsigned foreign = 0;
  for (size_t i = 0; i < sizeof data; i++) data[i] = (char)random_next();
  set_up((size_t)64 << 20);
  for (int n = 0; n < 20000 && in < BYTES - sizeof data; n++) {
    size_t len = (size_t)random_below(UINT64_C(1) << random_below(15));
    test_note("operation %d", n);
    if (random_below(2) == 0) {
      if (random_below(4) == 0) {
        CHECK_INT(tavi__sendq_foreign(&q, manager, data, len, release, (void *)1), 0);
        foreign++;
      } else {
        CHECK_INT(tavi__sendq_copy(&q, manager, data, len), 0);
      }
      memcpy(model + in, data, len);
      in += len;
    } else if (q.last != NULL && len > 0) {
      done += send_some(len, out + done);
    }
    CHECK_INT(q.bytes, in - done);
    CHECK(tavi__sendq_held(&q) == tavi_manager_buffered(manager));
  }
  done += send_all(10000, out + done);
  CHECK_INT(done, in);
  CHECK(memcmp(out, model, in) == 0);
  CHECK_INT(released[1], foreign);
  tear_down();
}
