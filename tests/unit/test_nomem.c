/* SPDX-License-Identifier: MIT
 *
 * Every allocation of the public calls fails once: the call answers with an ordinary error, nothing crashes, nothing
 * leaks (the sanitizers and valgrind see to that), and the same call succeeds afterwards. Then the same for whole
 * conversations, where the failing allocation may be anywhere in the loop. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failmalloc.h"
#include "tavi.h"
#include "test.h"

static struct tavi_manager *manager;
static unsigned opened, closed, errors, bytes_read;

static void on_open(struct tavi_conn *c, void *user) {
  (void)c, (void)user;
  opened++;
}

static void on_close(struct tavi_conn *c, void *user) {
  (void)c, (void)user;
  closed++;
}

static void on_error(struct tavi_conn *c, int err, const char *text, void *user) {
  (void)c, (void)user;
  CHECK(err == TAVI_E_NOMEM || err == TAVI_E_RESET || err == TAVI_E_REFUSED);
  CHECK(text[0] != 0);
  errors++;
}

static void on_read_echo(struct tavi_conn *c, void *user) {
  (void)user;
  struct tavi_slice in = tavi_conn_peek(c);
  bytes_read += (unsigned)in.len;
  tavi_conn_send(c, in.ptr, in.len);
  tavi_conn_consume(c, in.len / 2); /* some is left and has to be kept */
}

static void on_read_count(struct tavi_conn *c, void *user) {
  (void)user;
  bytes_read += (unsigned)tavi_conn_peek(c).len;
  tavi_conn_consume(c, SIZE_MAX);
}

static const struct tavi_conn_handlers echo = {
    .on_open = on_open, .on_read = on_read_echo, .on_error = on_error, .on_close = on_close};
static const struct tavi_conn_handlers client = {
    .on_open = on_open, .on_read = on_read_count, .on_error = on_error, .on_close = on_close};

static void set_up(enum tavi_backend backend) {
  struct tavi_manager_opts opts;
  tavi_manager_opts_init(&opts);
  opts.backend = backend;
  manager = NULL;
  CHECK_INT(tavi_manager_new(&opts, &manager), 0);
  opened = closed = errors = bytes_read = 0;
}

static void tear_down(void) {
  tavi_manager_free(manager);
  CHECK_INT(closed, opened);
}

TEST(nomem__manager_new__is_an_error) {
  for (int backend = TAVI_BACKEND_EPOLL; backend <= TAVI_BACKEND_POLL; backend++) {
    for (unsigned n = 1; fail_begin(n); n++) {
      struct tavi_manager_opts opts;
      struct tavi_manager *m = NULL;
      tavi_manager_opts_init(&opts);
      opts.backend = (enum tavi_backend)backend;
      int err = tavi_manager_new(&opts, &m);
      if (!fail_end()) {
        CHECK_INT(err, 0);
        CHECK(n > 2);
        tavi_manager_free(m);
        break;
      }
      test_note("allocation %u", n);
      CHECK_INT(err, TAVI_E_NOMEM);
      CHECK(m == NULL);
    }
  }
}

TEST(nomem__listen__is_an_error) {
  static const char *const urls[] = {"unix:/tmp/tavi-nomem.sock", "tcp://127.0.0.1:0", "unix:@tavi-nomem", "tcp://[::]:0"};
  set_up(TAVI_BACKEND_AUTO);
  for (size_t i = 0; i < 4; i++) {
    for (unsigned n = 1; fail_begin(n); n++) {
      struct tavi_listener *l = NULL;
      int err = tavi_listen(manager, urls[i], NULL, &echo, NULL, &l);
      test_note("%s, allocation %u", urls[i], n);
      if (!fail_end()) {
        CHECK_INT(err, 0);
        CHECK(n > 2);
        break;
      }
      CHECK_INT(err, TAVI_E_NOMEM);
      CHECK(l == NULL);
      if (i == 0) CHECK_INT(access("/tmp/tavi-nomem.sock", F_OK), -1); /* nothing stays behind */
    }
  }
  tear_down();
}

TEST(nomem__http_listen_and_connect__are_errors) {
  set_up(TAVI_BACKEND_AUTO);
  static const struct tavi_http_handlers handlers = {.conn = {.on_open = on_open, .on_close = on_close}};
  for (unsigned n = 1; fail_begin(n); n++) {
    int err = tavi_http_listen(manager, "tcp://127.0.0.1:0", NULL, &handlers, NULL, NULL);
    if (!fail_end()) {
      CHECK_INT(err, 0);
      break;
    }
    CHECK_INT(err, TAVI_E_NOMEM);
  }
  for (unsigned n = 1; fail_begin(n); n++) {
    int err = tavi_http_connect(manager, "http://127.0.0.1:9", NULL, &handlers, NULL, NULL);
    if (!fail_end()) {
      CHECK_INT(err, 0);
      break;
    }
    CHECK_INT(err, TAVI_E_NOMEM);
  }
  tear_down();
}

TEST(nomem__connect__is_an_error_and_calls_nobody) {
  static const char *const urls[] = {"tcp://127.0.0.1:9", "udp://127.0.0.1:9", "unix:@tavi-nobody", "tcp://:"};
  /* Names are in e2e/test_names_alloc.c. */
  set_up(TAVI_BACKEND_AUTO);
  for (size_t i = 0; i < 4; i++) {
    for (unsigned n = 1; fail_begin(n); n++) {
      struct tavi_conn *c = NULL;
      unsigned before = opened;
      int err = tavi_connect(manager, urls[i], NULL, &client, NULL, &c);
      test_note("%s, allocation %u", urls[i], n);
      if (!fail_end()) {
        CHECK_INT(err, 0);
        break;
      }
      CHECK_INT(err, TAVI_E_NOMEM);
      CHECK(c == NULL);
      CHECK_INT(opened, before);
    }
  }
  tear_down();
}

TEST(nomem__udp_listen__is_an_error) {
  set_up(TAVI_BACKEND_AUTO);
  for (unsigned n = 1; fail_begin(n); n++) {
    struct tavi_conn *c = NULL;
    int err = tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &echo, NULL, &c);
    if (!fail_end()) {
      CHECK_INT(err, 0);
      break;
    }
    CHECK_INT(err, TAVI_E_NOMEM);
    CHECK(c == NULL);
  }
  tear_down();
}

TEST(nomem__sntp_connect__is_an_error) {
  static const struct tavi_sntp_handlers nothing = {.on_time = NULL};
  set_up(TAVI_BACKEND_AUTO);
  for (unsigned n = 1; fail_begin(n); n++) {
    struct tavi_conn *c = NULL;
    int err = tavi_sntp_connect(manager, "sntp://127.0.0.1:9", NULL, &nothing, NULL, &c);
    if (!fail_end()) {
      CHECK_INT(err, 0);
      break;
    }
    CHECK_INT(err, TAVI_E_NOMEM);
    CHECK(c == NULL);
  }
  tear_down();
}

static void on_timer(struct tavi_timer *t, void *user) {
  (void)t, (void)user;
}

TEST(nomem__timers_and_shared_buffers__are_errors) {
  struct tavi_timer *t = NULL;
  struct tavi_shared *s = NULL;
  set_up(TAVI_BACKEND_AUTO);
  fail_begin(1);
  CHECK_INT(tavi_timer_start(manager, 0, 0, on_timer, NULL, &t), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK(t == NULL);
  fail_begin(1);
  CHECK_INT(tavi_shared_new("x", 1, &s), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK(s == NULL);
  tear_down();
}

static unsigned released;

static void release(void *arg) {
  (void)arg;
  released++;
}

/* Each kind of sending, on a connection that is not yet established. A failed send fails the connection. */
static int send_kind(struct tavi_conn *c, int kind, struct tavi_shared *s) {
  static char big[10000];
  int fds[2];
  switch (kind) {
    case 0: return tavi_conn_send(c, "x", 1);
    case 1: return tavi_conn_send(c, big, sizeof big);
    case 2: return tavi_conn_send_foreign(c, big, sizeof big, release, NULL);
    case 3: return tavi_conn_send_shared(c, s);
    default: CHECK_INT(pipe(fds), 0); close(fds[1]); return tavi_conn_send_file(c, fds[0], 0, 10);
  }
}

TEST(nomem__sending__fails_the_connection_once) {
  struct tavi_shared *s;
  CHECK_INT(tavi_shared_new("shared", 6, &s), 0);
  set_up(TAVI_BACKEND_AUTO);
  for (int kind = 0; kind < 5; kind++) {
    struct tavi_conn *c;
    test_note("kind %d", kind);
    CHECK_INT(tavi_connect(manager, "unix:@tavi-nobody", NULL, &client, NULL, &c), 0);
    errors = released = 0;
    fail_begin(1);
    CHECK_INT(send_kind(c, kind, s), TAVI_E_NOMEM);
    CHECK(fail_end());
    CHECK_INT(errors, 1);
    CHECK_INT(released, kind == 2);
    CHECK(tavi_conn_flags(c) & TAVI_CONN_CLOSING);
    tavi_manager_poll(manager, 0);
    CHECK_INT(errors, 1);
    CHECK_INT(tavi_manager_buffered(manager), 0);
  }
  tear_down();
  tavi_shared_unref(s);
}

TEST(nomem__wakeup__is_refused_and_works_again) {
  struct tavi_conn *c;
  set_up(TAVI_BACKEND_AUTO);
  CHECK_INT(tavi_udp_listen(manager, "udp://127.0.0.1:0", NULL, &echo, NULL, &c), 0);
  fail_begin(1);
  CHECK_INT(tavi_manager_wakeup(manager, tavi_conn_id(c), "x", 1), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK_INT(tavi_manager_wakeup(manager, tavi_conn_id(c), "x", 1), 0);
  tear_down();
}

/* ==== anywhere ==== */

static bool is_over(void) { return tavi_manager_ids(manager, NULL, 0) <= 1; } /* the listener stays */

/* Listen, connect, send both ways, close; the n-th allocation fails. Whatever fails, everything ends in order. */
static bool converse(enum tavi_backend backend, unsigned n) {
  static char request[20000];
  struct tavi_listener *l = NULL;
  struct tavi_conn *c = NULL;
  set_up(backend);
  fail_begin(n);
  tavi_listen(manager, "unix:@tavi-nomem-talk", NULL, &echo, NULL, &l);
  if (l != NULL) tavi_connect(manager, "unix:@tavi-nomem-talk", NULL, &client, NULL, &c);
  if (c != NULL && tavi_conn_send(c, request, sizeof request) == 0) tavi_conn_send(c, "tail", 4);
  uint64_t end_ms = tavi_millis() + 20000;
  while (l != NULL && !is_over() && tavi_millis() < end_ms) {
    tavi_manager_poll(manager, 10);
    c = NULL;
    uint64_t ids[8];
    size_t count = tavi_manager_ids(manager, ids, 8);
    if (bytes_read < sizeof request) continue;
    for (size_t i = 0; i < count && i < 8; i++) { /* enough: the client goes */
      struct tavi_conn *any = tavi_manager_conn(manager, ids[i]);
      if (any != NULL && tavi_conn_flags(any) & TAVI_CONN_CLIENT) tavi_conn_drain(any);
    }
    if (errors > 0) tavi_manager_close_all(manager);
  }
  bool failed = fail_end();
  CHECK(l == NULL || is_over());
  if (l != NULL) {
    tavi_manager_poll(manager, 0);
    CHECK_INT(tavi_manager_buffered(manager), 0);
  }
  tear_down();
  return failed;
}

TEST(nomem__anywhere_in_a_conversation__ends_it_in_order) {
  for (int backend = TAVI_BACKEND_EPOLL; backend <= TAVI_BACKEND_POLL; backend++) {
    unsigned n = 1;
    for (;; n++) {
      test_note("back end %d, allocation %u", backend, n);
      if (!converse((enum tavi_backend)backend, n)) break;
    }
    CHECK(n > 10);
  }
}
