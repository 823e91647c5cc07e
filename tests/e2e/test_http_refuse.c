/* SPDX-License-Identifier: MIT
 *
 * Bad requests, slow and broken peers: what they are told, that no handler sees them, and that others are served. */
#include "e2e/http_rig.h"

#include <strings.h>

/* ==== refusals ==== */

/* The request is answered with this status and the connection closed; no handler sees it, nor on_error. */
static void refused(const char *bytes, size_t len, int status) {
  for (int slowly = 0; slowly < (len < 400 ? 2 : 1); slowly++) {
    rig_serve(NULL);
    struct peer p = peer_open();
    struct response r = {0};
    peer_send(&p, GET("/good"));
    EXPECT(&p, 200, "GET /good ");
    unsigned reads = rig.reads;
    if (slowly)
      peer_send_slowly(&p, bytes, len);
    else
      peer_send_bytes(&p, bytes, len);
    if (RESPONSE(&p, &r)) {
      CHECK_INT(r.status, status);
      CHECK(header_is(&r, "Connection", "close"));
      CHECK(find_header(&r, "Date") != NULL);
      CHECK(r.body.len > 0);
    }
    EXPECT_END(&p);
    CHECK_INT(rig.headers, 1);
    CHECK_INT(rig.messages, 1);
    CHECK_INT(rig.errors, 0);
    CHECK(rig.reads > reads);
    response_free(&r);
    peer_close(&p);
    UNTIL(rig.closed == 1);
    rig_stop();
  }
}

#define REFUSED(text, status)             \
  do {                                    \
    test_note("%s", (text));              \
    refused((text), sizeof(text) - 1, (status)); \
  } while (0)

TEST(refusal__each_status) {
  REFUSED("junk\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400);
  REFUSED("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
  REFUSED("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505);
  REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: x\r\n\r\n", 417);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400);
}

TEST(smuggling__no_handler_sees_any_of_these) {
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nabc", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", 501);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400);
  REFUSED("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\nHost: x\n\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400);
  REFUSED("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\n\xc3\xa4: a\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400);
  REFUSED("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", 400);
  REFUSED("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
  REFUSED("GET / HTTP/1.1\r\nHost: x\r\n\r\r\n", 400);
}

TEST(refusal__what_is_allowed_is_not_refused) {
  static const char *const good[] = {
      GET("/\xc3\xa4?\xff"),
      "GET / HTTP/1.1\r\nhOST:x\r\nX: \xff\xfe\r\nY:\r\nZ:   a b  \r\n\r\n",
      "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
      "XYZZY / HTTP/1.1\r\nHost:\r\n\r\n",
      "get / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
  };
  rig_serve(NULL);
  struct peer p = peer_open();
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    struct response r = {0};
    test_note("%s", good[i]);
    peer_send(&p, good[i]);
    if (RESPONSE(&p, &r)) CHECK_INT(r.status, 200);
    response_free(&r);
  }
  CHECK_INT(rig.opened, 1);
  peer_close(&p);
  rig_stop();
}

/* A request of many bytes, sent without looking at what comes back. */
static void refused_long(const char *head, const char *line, size_t count, const char *tail, int status) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  char *lines = repeat(line, count, NULL);
  peer_send(&p, head);
  peer_send(&p, lines);
  peer_send(&p, tail);
  if (RESPONSE(&p, &r)) CHECK_INT(r.status, status);
  EXPECT_END(&p);
  CHECK_INT(rig.headers, 0);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  free(lines);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(refusal__too_long) {
  refused_long("GET / HTTP/1.1\r\nHost: x\r\n", "X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 2048, "\r\n",
               431);
  refused_long("GET / HTTP/1.1\r\nHost: x\r\nX: ", "aaaaaaaaaa", 10240, "\r\n\r\n", 431);
  refused_long("GET / HTTP/1.1\r\nHost: x\r\n", "A:b\r\n", 10000, "\r\n", 431);
  refused_long("GET /", "aaaaaaaaaa", 2000, " HTTP/1.1\r\nHost: x\r\n\r\n", 414);
  refused_long("GET /", "aaaaaaaaaa", 10240, " HTTP/1.1\r\nHost: x\r\n\r\n", 414);
  refused_long("", "aaaaaaaaaa", 10240, " / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
}

TEST(refusal__limits_of_the_options) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.head_bytes_max = 100;
  opts.target_bytes_max = 20;
  opts.header_count_max = 2;
  static const struct {
    const char *request;
    int status;
  } cases[] = {
      {"GET /aaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n", 200},
      {"GET /aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nC: d\r\n\r\n", 431},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: "
       "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", 200},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: "
       "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", 431},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    for (int slowly = 0; slowly < 2; slowly++) {
      test_note("case %zu, slowly %d, %zu bytes", i, slowly, strlen(cases[i].request));
      rig_serve(&opts);
      struct peer p = peer_open();
      struct response r = {0};
      if (slowly)
        peer_send_slowly(&p, cases[i].request, strlen(cases[i].request));
      else
        peer_send(&p, cases[i].request);
      if (RESPONSE(&p, &r)) CHECK_INT(r.status, cases[i].status);
      response_free(&r);
      peer_close(&p);
      rig_stop();
    }
  }
}

TEST(refusal__garbage_behind_a_good_request__first_answered_then_400) {
  rig_serve(NULL);
  struct peer p = peer_open();
  peer_send(&p, GET("/one") GET("/two") "\x16\x03\x01garbage\r\n\r\n" GET("/three"));
  EXPECT(&p, 200, "GET /one ");
  EXPECT(&p, 200, "GET /two ");
  EXPECT(&p, 400, "400 Bad Request\n");
  EXPECT_END(&p);
  CHECK_INT(rig.messages, 2);
  peer_close(&p);
  rig_stop();
}

static struct tavi_timer *timer;

static void answer_late(struct tavi_timer *t, void *user) {
  (void) t;
  timer = NULL;
  CHECK_INT(reply_text(user, 200, "late"), 0);
}

static void defer(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_timer_start(rig.m, 20, 0, answer_late, c, &timer);
}

TEST(refusal__garbage_behind_a_deferred_answer__in_order) {
  rig_serve(NULL);
  rig.on_message = defer;
  struct peer p = peer_open();
  peer_send(&p, GET("/one") "garbage\r\n\r\n");
  EXPECT(&p, 200, "late");
  EXPECT(&p, 400, "400 Bad Request\n");
  EXPECT_END(&p);
  peer_close(&p);
  rig_stop();
}

TEST(refusal__after_a_head_request__has_its_body) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" "bad\r\n\r\n");
  RESPONSE_TO_HEAD(&p, &r);
  EXPECT(&p, 400, "400 Bad Request\n");
  EXPECT_END(&p);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* ==== time-outs ==== */

static void hurry(struct tavi_http_opts *opts) {
  tavi_http_opts_init(opts);
  opts->head_timeout_ms = 40;
  opts->body_timeout_ms = 60;
  opts->keepalive_timeout_ms = 80;
}

TEST(timeout__head__408) {
  struct tavi_http_opts opts;
  hurry(&opts);
  rig_serve(&opts);
  struct peer p = peer_open();
  uint64_t start = rig_now_ms();
  peer_send(&p, "GET / HTTP/1.1\r\nHo");
  EXPECT(&p, 408, "408 Request Timeout\n");
  CHECK(rig_now_ms() - start >= 38);
  EXPECT_END(&p);
  CHECK_INT(rig.errors, 0);
  peer_close(&p);
  rig_stop();
}

TEST(timeout__head_in_drops__is_no_way_around_it) {
  struct tavi_http_opts opts;
  hurry(&opts);
  rig_serve(&opts);
  struct peer p = peer_open();
  uint64_t end = rig_now_ms() + RIG_DEADLINE_MS;
  peer_send(&p, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
  while (!peer_pump(&p) && rig_now_ms() < end) { /* a byte every few milliseconds */
    peer_try_send(&p, "a", 1);
    tavi_manager_poll(rig.m, 5);
  }
  EXPECT(&p, 408, "408 Request Timeout\n");
  peer_close(&p);
  rig_stop();
}

TEST(timeout__second_head_and_body__408) {
  static const char *const halves[] = {"GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
                                       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
  for (int i = 0; i < 3; i++) {
    struct tavi_http_opts opts;
    hurry(&opts);
    rig_serve(&opts);
    struct peer p = peer_open();
    peer_send(&p, GET("/"));
    EXPECT(&p, 200, "GET / ");
    peer_send(&p, halves[i]);
    EXPECT(&p, 408, "408 Request Timeout\n");
    EXPECT_END(&p);
    CHECK_INT(rig.messages, 1);
    CHECK_INT(rig.errors, 0);
    peer_close(&p);
    rig_stop();
  }
}

TEST(timeout__body_in_pieces__none_while_they_come) {
  struct tavi_http_opts opts;
  hurry(&opts);
  rig_serve(&opts);
  struct peer p = peer_open();
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n");
  for (int i = 0; i < 10; i++) {
    uint64_t until = rig_now_ms() + 15;
    UNTIL(rig_now_ms() >= until);
    peer_send(&p, "z");
  }
  EXPECT(&p, 200, "POST / zzzzzzzzzz");
  peer_close(&p);
  rig_stop();
}

TEST(timeout__keep_alive_and_silent_peer__closed_without_a_word) {
  struct tavi_http_opts opts;
  hurry(&opts);
  rig_serve(&opts);
  struct peer silent = peer_open(), p = peer_open();
  peer_send(&p, GET("/"));
  EXPECT(&p, 200, "GET / ");
  EXPECT_END(&p);
  EXPECT_END(&silent);
  CHECK_INT(silent.len, 0);
  CHECK_INT(rig.closed, 2);
  CHECK_INT(rig.errors, 0);
  peer_close(&p);
  peer_close(&silent);
  rig_stop();
}

TEST(timeout__zero_is_no_limit) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.head_timeout_ms = opts.body_timeout_ms = opts.keepalive_timeout_ms = 0;
  rig_serve(&opts);
  struct peer p = peer_open();
  static const char post[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
  peer_send_slowly(&p, post, sizeof(post) - 1);
  EXPECT(&p, 200, "POST / abc");
  peer_send_slowly(&p, GET("/"), sizeof(GET("/")) - 1);
  EXPECT(&p, 200, "GET / ");
  peer_close(&p);
  rig_stop();
}

TEST(timeout__deferred_answer__is_waited_for) {
  struct tavi_http_opts opts;
  hurry(&opts);
  opts.keepalive_timeout_ms = opts.head_timeout_ms = opts.body_timeout_ms = 5;
  rig_serve(&opts);
  rig.on_message = defer;
  struct peer p = peer_open();
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT(&p, 200, "late");
  peer_close(&p);
  rig_stop();
}

static void reply_10m(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static char body[10 * 1000 * 1000];
  (void) msg;
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){body, sizeof(body)}), 0);
}

TEST(timeout__slow_download__is_not_cut_by_the_keep_alive_time_out) {
  static const char *const asked[] = {GET("/"), GET("/") GET("/"), GET("/"),
                                      "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"};
  for (int way = 0; way < 4; way++) {
    struct tavi_http_opts opts;
    hurry(&opts);
    opts.keepalive_timeout_ms = opts.head_timeout_ms = opts.body_timeout_ms = 20;
    if (way >= 2) opts.listen.conn.send_high_water = 20 << 20; /* not even full */
    rig_serve(&opts);
    rig.on_message = reply_10m;
    struct peer p = peer_open_with(4096);
    test_note("way %d", way);
    peer_send(&p, asked[way]);
    UNTIL(rig.messages >= 1);
    uint64_t until = rig_now_ms() + 100;
    UNTIL(rig_now_ms() > until); /* reads nothing for so long */
    struct response r = {0};
    for (int i = 0; i < (way == 1 ? 2 : 1); i++)
      if (RESPONSE(&p, &r)) CHECK_INT(r.body.len, 10 * 1000 * 1000);
    EXPECT_END(&p);
    response_free(&r);
    peer_close(&p);
    rig_stop();
  }
}

static void pause_in_headers(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_conn_pause(c);
}

TEST(timeout__paused_by_the_handler__is_not_the_peers_fault) {
  struct tavi_http_opts opts;
  hurry(&opts);
  rig_serve(&opts);
  rig.on_headers = pause_in_headers;
  struct peer p = peer_open();
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
  UNTIL(rig.headers == 1);
  peer_send(&p, "abc");
  uint64_t until = rig_now_ms() + 200;
  UNTIL(rig_now_ms() > until);
  CHECK_INT(rig.messages, 0);
  tavi_conn_resume(rig.conn);
  EXPECT(&p, 200, "POST / abc");
  peer_close(&p);
  rig_stop();
}

TEST(timeout__peer_never_reads__write_time_out) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.write_timeout_ms = 50;
  rig_serve(&opts);
  rig.on_message = reply_10m;
  struct peer p = peer_open_with(4096);
  peer_send(&p, GET("/"));
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.errors, 1);
  CHECK_INT(rig.err, TAVI_E_TIMEOUT);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  peer_close(&p);
  rig_stop();
}

/* ==== peers ==== */

static char last_body[20 * 1000 * 1000];

static void reply_last(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  struct tavi_http_header h = HEADER("Connection", "close");
  CHECK_INT(tavi_http_reply(c, 200, &h, 1, (struct tavi_slice){last_body, sizeof(last_body)}), 0);
}

TEST(peer__floods_while_the_last_answer_leaves__memory_stays_small) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.send_high_water = 40 << 20; /* so that it is not that which stops the reading */
  rig_serve(&opts);
  rig.on_message = reply_last;
  struct peer p = peer_open_with(4096);
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  size_t taken = 0, held = 0;
  for (int quiet = 0; quiet < 50 && rig.closed == 0 && taken < 40 << 20;) { /* it sends and does not read */
    ssize_t n = peer_try_send(&p, last_body, 100000);
    if (n < 0) break;
    taken += (size_t) n;
    quiet = n > 0 ? 0 : quiet + 1;
    tavi_manager_poll(rig.m, n > 0 ? 0 : 1);
    if (tavi_manager_buffered(rig.m) > held) held = tavi_manager_buffered(rig.m);
  }
  CHECK(held < sizeof(last_body) + (1 << 20));
  CHECK(taken < 20 << 20);
  peer_close(&p);
  UNTIL(rig.closed == 1);
  rig_stop();
}

static void never(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) c;
  (void) msg;
}

TEST(peer__floods_while_its_answer_is_deferred__is_held_back) {
  rig_serve(NULL);
  rig.on_message = never;
  struct peer p = peer_open();
  size_t len, taken = 0, held = 0;
  char *many = repeat(GET("/"), 4000, &len);
  for (int quiet = 0; quiet < 50 && taken < 40 << 20;) {
    ssize_t n = peer_try_send(&p, many + taken % len, len - taken % len);
    if (!CHECK(n >= 0)) break;
    taken += (size_t) n;
    quiet = n > 0 ? 0 : quiet + 1;
    tavi_manager_poll(rig.m, n > 0 ? 0 : 1);
    if (tavi_manager_buffered(rig.m) > held) held = tavi_manager_buffered(rig.m);
  }
  CHECK(taken < 20 << 20);
  CHECK(held < 1 << 20);
  CHECK_INT(rig.messages, 1);
  free(many);
  rig.on_message = NULL;
  CHECK_INT(reply_text(rig.conn, 200, "at last"), 0);
  EXPECT(&p, 200, "at last");
  EXPECT(&p, 200, "GET / ");
  peer_close(&p);
  rig_stop();
}

TEST(peer__stops_midway_and_leaves__nothing_is_told) {
  static const char *const parts[] = {"G", "GET / HTTP/1.1\r\nHost: x\r\n",
                                      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
                                      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", ""};
  for (size_t i = 0; i < 5; i++) {
    for (int by_reset = 0; by_reset < 2; by_reset++) {
      rig_serve(NULL);
      struct peer p = peer_open();
      peer_send(&p, parts[i]);
      UNTIL(rig.opened == 1);
      if (by_reset)
        peer_reset(&p);
      else
        peer_close(&p);
      UNTIL(rig.closed == 1);
      CHECK_INT(rig.messages, 0);
      CHECK_INT(rig.errors, 0);
      CHECK_INT(tavi_manager_buffered(rig.m), 0);
      rig_stop();
    }
  }
}

TEST(peer__resets_in_the_middle_of_the_response) {
  rig_serve(NULL);
  rig.on_message = reply_10m;
  struct peer p = peer_open_with(4096);
  peer_send(&p, GET("/"));
  UNTIL(peer_pump(&p) || p.len > 0);
  peer_reset(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.errors, 0);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  struct peer q = peer_open();
  rig.on_message = NULL;
  peer_send(&q, GET("/"));
  EXPECT(&q, 200, "GET / ");
  peer_close(&q);
  rig_stop();
}

TEST(peer__resets_while_its_answer_is_deferred__closed_and_the_timer_finds_nobody) {
  rig_serve(NULL);
  rig.on_message = defer;
  struct peer p = peer_open();
  peer_send(&p, GET("/") GET("/"));
  UNTIL(rig.messages == 1);
  tavi_timer_cancel(timer);
  peer_reset(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.errors, 0);
  rig_stop();
}

TEST(peer__half_closes_after_the_request__is_still_answered) {
  rig_serve(NULL);
  struct peer p = peer_open();
  peer_send(&p, GET("/one") GET("/two"));
  shutdown(p.fd, SHUT_WR);
  EXPECT(&p, 200, "GET /one ");
  EXPECT(&p, 200, "GET /two ");
  EXPECT_END(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.errors, 0);
  peer_close(&p);
  rig_stop();
}

TEST(peer__half_closes_and_the_answer_is_large__all_of_it_arrives) {
  rig_serve(NULL);
  rig.on_message = reply_10m;
  struct peer p = peer_open_with(4096);
  struct response r = {0};
  peer_send(&p, GET("/") GET("/"));
  shutdown(p.fd, SHUT_WR);
  for (int i = 0; i < 2; i++)
    if (RESPONSE(&p, &r)) CHECK_INT(r.body.len, 10 * 1000 * 1000);
  EXPECT_END(&p);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(peer__fifty_idle_ones__others_are_served) {
  rig_serve(NULL);
  struct peer idle[50], p;
  for (int i = 0; i < 50; i++) idle[i] = peer_open();
  for (int i = 0; i < 50; i += 2) peer_send(&idle[i], "GET / HTTP/1.1\r\nHost:");
  p = peer_open();
  peer_send(&p, GET("/"));
  EXPECT(&p, 200, "GET / ");
  CHECK_INT(rig.opened, 51);
  for (int i = 0; i < 50; i += 2) peer_send(&idle[i], " x\r\n\r\n");
  for (int i = 0; i < 50; i += 2) EXPECT(&idle[i], 200, "GET / ");
  for (int i = 0; i < 50; i++) peer_close(&idle[i]);
  peer_close(&p);
  UNTIL(rig.closed == 51);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  rig_stop();
}

TEST(peer__refused_and_stays__is_let_go_soon) {
  rig_serve(NULL);
  struct peer p = peer_open();
  peer_send(&p, "bad\r\n\r\n");
  EXPECT(&p, 400, "400 Bad Request\n");
  UNTIL(rig.closed == 1); /* without any help of the peer, who keeps its side open */
  peer_close(&p);
  rig_stop();
}
