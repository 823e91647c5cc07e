/* SPDX-License-Identifier: MIT
 *
 * Kept connections of the library's requests: used again, lost, limited; and the ends of calls: cancelled in any callback
 * and at any time, ended with their manager. */
#include "e2e/request_rig.h"

/* ==== kept connections ==== */

TEST(kept__one_connection_for_many_requests) {
  start();
  struct peer p = {.fd = -1};
  for (int i = 0; i < 20; i++) {
    struct ask a = {0};
    get(&a, "/k", i & 1 ? &pieces : &whole);
    if (i == 0) p = accept_peer();
    answer(&p, "GET /k ", "kept");
    got(&a, 200, "kept");
    CHECK(a.was_kept == (i > 0));
    forget(&a);
  }
  CHECK_INT(stats().conns_opened, 1);
  CHECK_INT(stats().idle, 1);
  peer_close(&p);
  UNTIL(stats().conns == 0);
  stop();
}

static int begun;
static struct ask chain[50];

static void ask_next(struct ask *a) {
  (void) a;
  if (++begun < 50) get(&chain[begun], "/n", &whole);
  if (begun < 50) chain[begun].on_done = ask_next;
}

TEST(kept__a_request_from_on_done__takes_the_same_connection) {
  start();
  begun = 0;
  chain[0].on_done = ask_next;
  get(&chain[0], "/n", &whole);
  struct peer p = accept_peer();
  for (int i = 0; i < 50; i++) answer(&p, "GET /n ", "x");
  UNTIL(chain[49].done == 1);
  for (int i = 0; i < 50; i++) {
    CHECK_INT(chain[i].err, 0);
    forget(&chain[i]);
  }
  CHECK_INT(stats().conns_opened, 1);
  peer_close(&p);
  stop();
}

/* The server closes an idle connection: it is not used again. */
TEST(kept__closed_while_idle) {
  struct ask a = {0}, b = {0};
  start();
  get(&a, "/1", &whole);
  struct peer p = accept_peer();
  answer(&p, "/1", "1");
  got(&a, 200, "1");
  peer_close(&p);
  UNTIL(stats().conns == 0);
  get(&b, "/2", &whole);
  p = accept_peer();
  answer(&p, "/2", "2");
  got(&b, 200, "2");
  peer_close(&p);
  stop();
  forget(&a);
  forget(&b);
}

/* The server closes the kept connection when it gets the next request: once more for what may be done twice. */
static void lost(const char *method, bool retries, bool by_reset) {
  struct ask a = {0}, b = {0};
  test_note("%s", method);
  start();
  get(&a, "/1", &whole);
  struct peer p = accept_peer();
  answer(&p, "/1", "1");
  got(&a, 200, "1");
  new_req(method, "/2");
  if (method[0] == 'P') req.body = SLICE("data");
  CHECK_INT(send_req(&b, &whole), 0);
  request(&p);
  rig_settle();
  peer_pump(&p);
  if (by_reset) peer_reset(&p);
  else peer_close(&p);
  if (retries) {
    p = accept_peer();
    answer(&p, " /2 ", method[0] == 'H' ? "" : "2");
    got(&b, 200, method[0] == 'H' ? "" : "2");
    CHECK(!b.was_kept);
    peer_close(&p);
  } else {
    failed(&b, TAVI_E_RESET, "server");
  }
  CHECK_INT(stats().conns_opened, retries ? 2 : 1);
  stop();
  forget(&a);
  forget(&b);
}

TEST(kept__lost_with_the_next_request__is_repeated_if_it_may_be) {
  for (int by_reset = 0; by_reset < 2; by_reset++) {
    lost("GET", true, by_reset);
    lost("HEAD", true, by_reset);
    lost("PUT", true, by_reset);
    lost("DELETE", true, by_reset);
    lost("POST", false, by_reset);
    lost("PATCH", false, by_reset);
  }
}

/* Not twice, and not when something of a response came, and not on a first connection. */
TEST(kept__repeated_once_only) {
  struct ask a = {0}, b = {0};
  start();
  get(&a, "/1", &whole);
  struct peer p = accept_peer();
  answer(&p, "/1", "1");
  got(&a, 200, "1");
  get(&b, "/2", &whole);
  request(&p);
  peer_close(&p);
  p = accept_peer();
  request(&p);
  peer_close(&p);
  failed(&b, TAVI_E_RESET, "without a response");
  CHECK_INT(stats().conns_opened, 2);
  stop();
  forget(&a);
  forget(&b);
}

TEST(kept__connection_close__by_either) {
  static const struct tavi_http_header close_it = {{"Connection", 10}, {"close", 5}};
  struct ask a = {0}, b = {0};
  start();
  get(&a, "/", &whole);
  struct peer p = accept_peer();
  request(&p);
  peer_send(&p, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na");
  got(&a, 200, "a");
  UNTIL(stats().conns == 0);
  peer_close(&p);
  new_req("GET", "/");
  req.headers = &close_it;
  req.header_count = 1;
  CHECK_INT(send_req(&b, &whole), 0);
  p = accept_peer();
  answer(&p, "Connection: close", "b");
  got(&b, 200, "b");
  UNTIL(stats().conns == 0);
  peer_close(&p);
  stop();
  forget(&a);
  forget(&b);
}

TEST(kept__limits) {
  struct tavi_http_client_opts opts;
  struct ask a[8] = {{0}};
  struct peer p[8];
  start();
  tavi_http_client_opts_init(&opts);
  opts.conns_per_host_max = 3;
  opts.idle_per_host_max = 2;
  opts.idle_timeout_ms = 50;
  CHECK_INT(tavi_http_client_set(rig.m, &opts), 0);
  for (int i = 0; i < 8; i++) get(&a[i], "/", &whole);
  CHECK_INT(stats().conns, 3);
  CHECK_INT(stats().waiting, 5);
  for (int i = 0; i < 3; i++) p[i] = accept_peer();
  for (int i = 0; i < 8; i++) {
    answer(&p[i % 3], "GET", "x");
    UNTIL(a[i].done + a[(i + 1) % 8].done + a[(i + 2) % 8].done > 0);
  }
  for (int i = 0; i < 8; i++) got(&a[i], 200, "x");
  CHECK_INT(stats().conns_opened, 3);
  CHECK_INT(stats().idle, 2);
  UNTIL(stats().conns == 0); /* idle_timeout_ms */
  for (int i = 0; i < 8; i++) forget(&a[i]);
  for (int i = 0; i < 3; i++) peer_close(&p[i]);
  opts.conns_per_host_max = 0;
  CHECK_INT(tavi_http_client_set(rig.m, &opts), TAVI_E_ARG);
  stop();
}

TEST(kept__oldest_goes_when_there_are_too_many) {
  struct tavi_http_client_opts opts;
  int fds[3];
  uint16_t ports[3];
  struct peer p[3];
  start();
  tavi_http_client_opts_init(&opts);
  opts.idle_max = 2;
  CHECK_INT(tavi_http_client_set(rig.m, &opts), 0);
  for (int i = 0; i < 3; i++) {
    struct ask a = {0};
    char text[64];
    fds[i] = listen_any(&ports[i]);
    snprintf(text, sizeof(text), "http://127.0.0.1:%u/", ports[i]);
    get(&a, text, &whole);
    p[i] = accept_from(fds[i]);
    answer(&p[i], "GET", "x");
    got(&a, 200, "x");
    forget(&a);
  }
  UNTIL(stats().conns == 2);
  CHECK_INT(stats().idle, 2);
  UNTIL(peer_pump(&p[0]));
  CHECK(!peer_pump(&p[1]) && !peer_pump(&p[2]));
  for (int i = 0; i < 3; i++) peer_close(&p[i]), close(fds[i]);
  stop();
}

/* A server that speaks while nobody has asked is not asked again. */
TEST(kept__speaks_while_idle) {
  struct ask a = {0};
  start();
  get(&a, "/", &whole);
  struct peer p = accept_peer();
  answer(&p, "GET", "x");
  got(&a, 200, "x");
  peer_send(&p, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
  UNTIL(stats().conns == 0);
  peer_close(&p);
  stop();
  forget(&a);
}

TEST(kept__none_is_found_by_looking) {
  struct ask a = {0};
  uint64_t ids[4];
  start();
  get(&a, "/", &whole);
  CHECK_INT(tavi_manager_ids(rig.m, ids, 4), 0);
  struct peer p = accept_peer();
  answer(&p, "GET", "x");
  got(&a, 200, "x");
  CHECK_INT(tavi_manager_ids(rig.m, ids, 4), 0);
  peer_close(&p);
  stop();
  forget(&a);
}

/* ==== callbacks that do things ==== */

static void cancel_it(struct ask *a) {
  tavi_http_call_cancel(a->call);
  a->call = NULL;
}

TEST(cancel__in_every_callback) {
  for (int where = 0; where < 5; where++) {
    for (unsigned i = 0; i < FRAMINGS; i++) {
      struct ask a = {0};
      test_note("where %d, framing %u", where, i);
      if (where == 0) a.on_headers = cancel_it;
      if (where == 1) a.on_data = cancel_it;
      if (where == 2) a.on_interim = cancel_it;
      if (where == 3) a.on_more = cancel_it;
      if (where == 4) a.on_done = cancel_it;
      start();
      new_req("POST", "/");
      req.streams_body = where == 3;
      CHECK_INT(send_req(&a, &pieces), 0);
      struct peer p = accept_peer();
      request(&p);
      if (where == 3) UNTIL(a.mores == 1);
      peer_send(&p, framings[i].response);
      rig_settle();
      if (framings[i].closes) hang_up(&p);
      rig_settle();
      if (a.call != NULL) UNTIL(a.done == 1);
      CHECK(a.done == 0 || where > 0);
      CHECK_INT(stats().calls, 0);
      peer_close(&p);
      stop();
      forget(&a);
    }
  }
}

TEST(cancel__at_any_time) {
  for (int when = 0; when < 4; when++) {
    struct ask a = {0};
    start();
    get(&a, "/", &whole);
    if (when == 0) cancel_it(&a);
    struct peer p = {.fd = -1};
    if (when > 0) p = accept_peer();
    if (when == 1) cancel_it(&a);
    if (when > 1) request(&p);
    if (when == 3) peer_send(&p, OK("10\r\n\r\nabc"));
    rig_settle();
    if (when > 1) cancel_it(&a);
    rig_settle();
    CHECK_INT(a.done, 0);
    CHECK_INT(stats().calls, 0);
    CHECK_INT(stats().conns, 0);
    tavi_http_call_cancel(NULL);
    peer_close(&p);
    stop();
    forget(&a);
  }
}

/* One that waits, one that has failed and was not told yet. */
TEST(cancel__without_a_connection) {
  struct ask a = {0}, b = {0}, c = {0};
  struct tavi_http_client_opts opts;
  start();
  tavi_http_client_opts_init(&opts);
  opts.conns_per_host_max = 1;
  CHECK_INT(tavi_http_client_set(rig.m, &opts), 0);
  get(&a, "/", &whole);
  get(&b, "/", &whole);
  get(&c, "https://x/", &whole);
  cancel_it(&b);
  cancel_it(&c);
  cancel_it(&a);
  rig_settle();
  CHECK_INT(a.done + b.done + c.done, 0);
  CHECK_INT(stats().conns, 0);
  stop();
}

TEST(manager__goes_with_calls_in_flight) {
  for (int freed = 0; freed < 2; freed++) {
    struct ask a[20] = {{0}};
    unsigned released = 0;
    struct tavi_http_client_opts opts;
    start();
    tavi_http_client_opts_init(&opts);
    opts.conns_per_host_max = 5;
    CHECK_INT(tavi_http_client_set(rig.m, &opts), 0);
    for (int i = 0; i < 20; i++) {
      new_req("PUT", i == 19 ? "https://x/" : "/");
      req.body = SLICE("taken");
      req.release = release;
      req.release_arg = &released;
      req.total_timeout_ms = 100000;
      CHECK_INT(send_req(&a[i], &whole), 0);
    }
    struct peer p = accept_peer();
    if (freed) request(&p);
    if (freed) {
      tavi_manager_free(rig.m);
    } else {
      CHECK_INT(tavi_manager_close_all(rig.m), 0);
      CHECK_INT(stats().calls, 0);
    }
    CHECK_INT(released, 20);
    for (int i = 0; i < 20; i++) {
      CHECK_INT(a[i].done, 1);
      if (i < 19) CHECK_INT(a[i].err, TAVI_E_CLOSED);
    }
    peer_close(&p);
    if (!freed) { /* and it can go on */
      struct ask b = {0};
      close(listening);
      listening = listen_any(&port);
      get(&b, "/", &whole);
      p = accept_peer();
      answer(&p, "GET", "x");
      got(&b, 200, "x");
      forget(&b);
      peer_close(&p);
      stop();
    } else {
      close(listening);
    }
  }
}

static void ask_when_closing(struct ask *a) {
  struct ask b = {0};
  (void) a;
  new_req("GET", "/");
  CHECK_INT(send_req(&b, &whole), TAVI_E_CLOSED);
}

TEST(manager__closing__takes_no_new_calls) {
  struct ask a = {.on_done = ask_when_closing};
  start();
  get(&a, "/", &whole);
  stop();
  CHECK_INT(a.done, 1);
}
