/* SPDX-License-Identifier: MIT
 *
 * Answers of an HTTP server as a peer on a socket sees them: replies, lengths, keep-alive, pipelining, streams, and
 * responses that the handler writes by hand. */
#include "e2e/http_rig.h"

#include <strings.h>
#include <sys/mman.h>
#include <time.h>

/* ==== keep-alive and versions ==== */

TEST(keep_alive__requests_one_after_another__same_connection) {
  rig_serve(NULL);
  struct peer p = peer_open();
  for (int i = 0; i < 5; i++) {
    peer_send(&p, GET("/a?b=c"));
    EXPECT(&p, 200, "GET /a?b=c ");
  }
  CHECK_INT(rig.opened, 1);
  CHECK_INT(rig.messages, 5);
  peer_close(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.errors, 0);
  rig_stop();
}

TEST(keep_alive__http_1_0__closes_unless_asked) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Connection", "keep-alive"));
  peer_send(&p, "GET / HTTP/1.0\r\n\r\n");
  if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Connection", "close"));
  EXPECT_END(&p);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(keep_alive__client_says_close__closed_after_the_answer) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n");
  if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Connection", "close"));
  EXPECT_END(&p);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void close_by_header(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  struct tavi_http_header h = HEADER("connection", "close");
  CHECK_INT(tavi_http_reply(c, 200, &h, 1, SLICE("bye")), 0);
}

TEST(keep_alive__handler_says_close__closed_after_the_answer) {
  rig_serve(NULL);
  rig.on_message = close_by_header;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Connection", "close"));
  CHECK_STR(r.body, "bye");
  EXPECT_END(&p);
  CHECK_INT(rig.messages, 1);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(keep_alive__handler_says_close_with_a_pipeline_behind__answer_is_not_lost) {
  rig_serve(NULL);
  rig.on_message = close_by_header;
  struct peer p = peer_open();
  size_t len;
  char *many = repeat(GET("/"), 20000, &len); /* more than one read: closing at once would reset the connection */
  size_t sent = 0;
  ssize_t n;
  while (sent < len && (n = peer_try_send(&p, many + sent, len - sent)) > 0) sent += (size_t) n;
  free(many);
  EXPECT(&p, 200, "bye");
  EXPECT_END(&p);
  CHECK_INT(rig.messages, 1);
  peer_close(&p);
  rig_stop();
}

static void reply_keep_alive_stream(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  struct tavi_http_header h = HEADER("Connection", "keep-alive");
  CHECK_INT(tavi_http_begin(c, 200, &h, 1, TAVI_HTTP_STREAM), 0);
  CHECK_INT(tavi_http_chunk(c, "abc", 3), 0);
  CHECK_INT(tavi_http_end(c, NULL, 0), 0);
}

TEST(keep_alive__handler_promises_what_cannot_be__close_is_added) {
  rig_serve(NULL);
  rig.on_message = reply_keep_alive_stream;
  struct peer p = peer_open();
  peer_send(&p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT(&p, 200, "abc");
  CHECK(memmem(p.bytes, p.len, "Connection: close\r\n", 19) != NULL);
  peer_close(&p);
  rig_stop();
}

/* ==== pipelining ==== */

TEST(pipeline__any_number__answered_in_order_and_together) {
  static const size_t counts[] = {1, 2, 3, 10, 100, 1000};
  for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
    rig_serve(NULL);
    struct peer p = peer_open();
    size_t cap = counts[k] * 64, len = 0;
    char *all = malloc(cap);
    if (all == NULL) abort();
    for (size_t i = 0; i < counts[k]; i++)
      len += (size_t) snprintf(all + len, cap - len, "GET /%zu HTTP/1.1\r\nHost: x\r\n\r\n", i);
    peer_send_bytes(&p, all, len);
    free(all);
    test_note("%zu requests", counts[k]);
    for (size_t i = 0; i < counts[k]; i++) {
      char wanted[40];
      snprintf(wanted, sizeof(wanted), "GET /%zu ", i);
      EXPECT(&p, 200, wanted);
    }
    CHECK(p.receives <= 2 + counts[k] / 20);
    peer_close(&p);
    rig_stop();
  }
}

static struct tavi_timer *timer;

static void answer_late(struct tavi_timer *t, void *user) {
  (void) t;
  char text[32];
  timer = NULL;
  snprintf(text, sizeof(text), "late %u", rig.messages);
  CHECK(tavi_http_is_waiting(user));
  CHECK_INT(reply_text(user, 200, text), 0);
  CHECK_INT(reply_text(user, 200, text), TAVI_E_STATE);
}

static void defer_to_timer(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK(timer == NULL); /* the next request waits until this one is answered */
  tavi_timer_start(rig.m, 1, 0, answer_late, c, &timer);
}

TEST(pipeline__answers_from_a_timer__in_order) {
  rig_serve(NULL);
  rig.on_message = defer_to_timer;
  struct peer p = peer_open();
  char *all = repeat(GET("/"), 20, NULL);
  peer_send(&p, all);
  free(all);
  for (int i = 1; i <= 20; i++) {
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "late %d", i);
    EXPECT(&p, 200, wanted);
  }
  peer_close(&p);
  rig_stop();
}

static void wake_myself(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_manager_wakeup(rig.m, tavi_conn_id(c), "x", 1), 0);
}

static void answer_wakeup(struct tavi_conn *c) { CHECK_INT(reply_text(c, 200, "woken"), 0); }

TEST(pipeline__answers_from_a_wakeup__in_order) {
  rig_serve(NULL);
  rig.on_message = wake_myself;
  rig.on_wakeup = answer_wakeup;
  struct peer p = peer_open();
  peer_send(&p, GET("/") GET("/") GET("/"));
  for (int i = 0; i < 3; i++) EXPECT(&p, 200, "woken");
  CHECK_INT(rig.messages, 3);
  peer_close(&p);
  rig_stop();
}

static struct tavi_conn *first_conn;

/* The first connection is answered by the second one's request. */
static void answer_the_other(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (first_conn == NULL) {
    first_conn = c;
    return;
  }
  CHECK_INT(reply_text(first_conn, 200, "from the other"), 0);
  CHECK_INT(reply_text(first_conn, 200, "again"), TAVI_E_STATE);
  first_conn = NULL;
  reply_echo(c, msg);
}

TEST(pipeline__answered_by_the_handler_of_another_connection__goes_on) {
  rig_serve(NULL);
  rig.on_message = answer_the_other;
  first_conn = NULL;
  struct peer a = peer_open(), b = peer_open();
  peer_send(&a, GET("/1"));
  UNTIL(rig.messages == 1);
  peer_send(&a, GET("/2")); /* waits */
  peer_send(&b, GET("/b"));
  EXPECT(&a, 200, "from the other");
  EXPECT(&b, 200, "GET /b ");
  UNTIL(rig.messages == 3);
  CHECK(first_conn != NULL);
  CHECK_INT(reply_text(first_conn, 200, "2"), 0);
  EXPECT(&a, 200, "2");
  peer_close(&a);
  peer_close(&b);
  rig_stop();
}

static void break_each(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  reply_echo(c, msg);
  tavi_manager_break(rig.m);
}

TEST(pipeline__the_turn_is_broken_in_its_middle__the_next_turn_goes_on) {
  rig_serve(NULL);
  rig.on_message = break_each;
  struct peer p = peer_open();
  char *all = repeat(GET("/"), 50, NULL);
  peer_send(&p, all);
  free(all);
  UNTIL(rig.messages == 1);
  tavi_manager_poll(rig.m, 0);
  CHECK_INT(rig.messages, 2);
  for (int i = 0; i < 50; i++) EXPECT(&p, 200, "GET / ");
  peer_close(&p);
  rig_stop();
}

static void reply_100k(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static char body[100000];
  (void) msg;
  memset(body, 'z', sizeof(body));
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){body, sizeof(body)}), 0);
}

TEST(pipeline__large_answers_to_a_slow_reader__the_rest_waits) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.send_high_water = 300000;
  opts.listen.conn.send_low_water = 100000;
  rig_serve(&opts);
  rig.on_message = reply_100k;
  struct peer p = peer_open_with(4096);
  char *all = repeat(GET("/"), 200, NULL);
  peer_send(&p, all);
  free(all);
  rig_settle();
  CHECK(rig.messages < 200); /* 20 MB are not queued for somebody who does not read */
  CHECK(tavi_conn_send_pending(rig.conn) <= 400500);
  struct response r = {0};
  for (int i = 0; i < 200; i++) {
    if (!RESPONSE(&p, &r)) break;
    CHECK_INT(r.body.len, 100000);
  }
  CHECK_INT(rig.messages, 200);
  CHECK(rig.lows > 10);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* ==== heads and lengths ==== */

static int status_to_send;
static struct tavi_http_header headers_to_send[4];
static size_t header_count_to_send;
static struct tavi_slice body_to_send;
static int result;

static void reply_as_told(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  result = tavi_http_reply(c, status_to_send, headers_to_send, header_count_to_send, body_to_send);
}

static void tell(int status, size_t header_count, struct tavi_slice body) {
  status_to_send = status;
  header_count_to_send = header_count;
  body_to_send = body;
  result = 1;
}

TEST(head__date__is_there_once_and_right) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) {
    struct tm tm = {0};
    const char *date = find_header(&r, "Date");
    if (CHECK(date != NULL)) {
      CHECK(strptime(date, "%a, %d %b %Y %H:%M:%S GMT\r\n", &tm) != NULL);
      long long off = (long long) time(NULL) - (long long) timegm(&tm);
      CHECK(off >= -1 && off <= 2);
    }
  }
  rig.on_message = reply_as_told;
  headers_to_send[0] = HEADER("date", "Sun, 06 Nov 1994 08:49:37 GMT");
  tell(200, 1, SLICE("x"));
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) {
    CHECK(header_is(&r, "Date", "Sun, 06 Nov 1994 08:49:37 GMT"));
    CHECK(memmem(r.head.ptr, r.head.len, "\r\nDate:", 7) == NULL); /* the caller's own alone */
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(head__date__follows_the_clock) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  char first[64] = "";
  uint64_t deadline = rig_now_ms() + RIG_DEADLINE_MS;
  bool changed = false;
  while (!changed && rig_now_ms() < deadline) {
    peer_send(&p, GET("/"));
    if (!RESPONSE(&p, &r)) break;
    const char *date = find_header(&r, "Date");
    if (date == NULL) break;
    if (first[0] == '\0') memcpy(first, date, 29);
    changed = memcmp(first, date, 29) != 0;
  }
  CHECK(changed);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(head__content_length_of_the_caller__is_replaced) {
  rig_serve(NULL);
  rig.on_message = reply_as_told;
  struct peer p = peer_open();
  struct response r = {0};
  headers_to_send[0] = HEADER("content-length", "999");
  headers_to_send[1] = HEADER("X-Two", "");
  tell(201, 2, SLICE("four"));
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) {
    CHECK_INT(r.status, 201);
    CHECK_STR(r.body, "four");
    CHECK(header_is(&r, "Content-Length", "4"));
    CHECK(header_is(&r, "X-Two", ""));
    CHECK(memmem(r.head.ptr, r.head.len, "999", 3) == NULL);
    CHECK(memcmp(r.head.ptr, "HTTP/1.1 201 Created\r\n", 22) == 0);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(head__answers_without_a_body__lengths_are_right) {
  rig_serve(NULL);
  rig.on_message = reply_as_told;
  struct peer p = peer_open();
  struct response r = {0};
  tell(200, 0, SLICE("12345"));
  peer_send(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  if (RESPONSE_TO_HEAD(&p, &r)) CHECK(header_is(&r, "Content-Length", "5"));
  tell(204, 0, SLICE("12345"));
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK(find_header(&r, "Content-Length") == NULL);
  tell(304, 0, SLICE("12345"));
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK(r.status == 304 && (find_header(&r, "Content-Length") == NULL));
  tell(200, 0, NOTHING);
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Content-Length", "0"));
  tell(599, 0, SLICE("odd"));
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK_INT(r.status, 599);
  rig_settle();
  peer_pump(&p);
  CHECK_INT(p.len - p.at, 0); /* none of the bodies that have no place on the wire */
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(head__interim_by_reply__then_the_answer) {
  rig_serve(NULL);
  rig.on_message = reply_as_told;
  struct peer p = peer_open();
  struct response r = {0};
  headers_to_send[0] = HEADER("Link", "</a.css>; rel=preload");
  tell(103, 1, NOTHING);
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) {
    CHECK_INT(r.status, 103);
    CHECK(header_is(&r, "Link", "</a.css>; rel=preload"));
  }
  CHECK(tavi_http_is_waiting(rig.conn));
  CHECK_INT(reply_text(rig.conn, 200, "now"), 0);
  EXPECT(&p, 200, "now");
  tell(103, 1, NOTHING);
  peer_send(&p, "GET / HTTP/1.0\r\n\r\n"); /* to whom an interim response must not be sent (RFC 9110 15.2) */
  UNTIL(rig.messages == 2);
  CHECK_INT(result, 0);
  CHECK_INT(reply_text(rig.conn, 200, "old"), 0);
  EXPECT(&p, 200, "old");
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(head__bad_arguments__nothing_is_sent_and_the_request_still_waits) {
  static const struct tavi_http_header bad[] = {
      {{"", 0}, {"v", 1}},          {{"a b", 3}, {"v", 1}},       {{"a:", 2}, {"v", 1}},
      {{"a\r\n", 3}, {"v", 1}},     {{"a\0", 2}, {"v", 1}},       {{"a", 1}, {"v\r\nX: y", 7}},
      {{"a", 1}, {"v\n", 2}},       {{"a", 1}, {"v\r", 2}},       {{"a", 1}, {"v\0w", 3}},
      {{"\xc3\xa4", 2}, {"v", 1}},  {{"Transfer-Encoding", 17}, {"gzip", 4}},
  };
  rig_serve(NULL);
  rig.on_message = reply_as_told;
  struct peer p = peer_open();
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    test_note("bad header %zu", i);
    headers_to_send[0] = HEADER("X-Good", "yes");
    headers_to_send[1] = bad[i];
    tell(200, 2, SLICE("no"));
    peer_send(&p, GET("/"));
    UNTIL(rig.messages == i + 1);
    CHECK_INT(result, TAVI_E_ARG);
    CHECK_INT(tavi_conn_send_pending(rig.conn), 0);
    CHECK_INT(tavi_http_begin(rig.conn, 200, headers_to_send, 2, 5), TAVI_E_ARG);
    CHECK_INT(reply_text(rig.conn, 99, "no"), TAVI_E_ARG);
    CHECK_INT(reply_text(rig.conn, 1000, "no"), TAVI_E_ARG);
    CHECK_INT(tavi_http_refuse(rig.conn, 200), TAVI_E_ARG);
    CHECK(tavi_http_is_waiting(rig.conn));
    CHECK_INT(reply_text(rig.conn, 200, "good"), 0);
    EXPECT(&p, 200, "good");
  }
  peer_close(&p);
  rig_stop();
}

TEST(head__larger_than_a_block__arrives_whole) {
  static char value[100000];
  static char body[200000];
  memset(value, 'v', sizeof(value));
  memset(body, 'b', sizeof(body));
  rig_serve(NULL);
  rig.on_message = reply_as_told;
  struct peer p = peer_open();
  struct response r = {0};
  for (size_t len = 3500; len <= sizeof(value); len = len < 4100 ? len + 7 : len + 95900) {
    test_note("value of %zu bytes", len);
    headers_to_send[0] = (struct tavi_http_header){SLICE("X-Long"), {value, len}};
    tell(200, 1, (struct tavi_slice){body, len * 2});
    peer_send(&p, GET("/"));
    if (!RESPONSE(&p, &r)) break;
    CHECK_INT(r.body.len, len * 2);
    const char *v = find_header(&r, "X-Long");
    CHECK(v != NULL && v[len - 1] == 'v' && v[len] == '\r');
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* A single answer may be larger than send_bytes_max; see tavi/conn.h. */
TEST(reply__larger_than_send_bytes_max__is_sent) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.send_bytes_max = 100000;
  rig_serve(&opts);
  rig.on_message = reply_as_told;
  static char body[300000];
  memset(body, 'b', sizeof(body));
  struct peer p = peer_open();
  struct response r = {0};
  tell(200, 0, (struct tavi_slice){body, sizeof(body)});
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK_INT(r.body.len, sizeof(body));
  CHECK_INT(result, 0);
  CHECK_INT(rig.errors, 0);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* ==== states ==== */

static void reply_twice(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK(tavi_http_is_waiting(c));
  CHECK_INT(reply_text(c, 200, "one"), 0);
  CHECK(!tavi_http_is_waiting(c));
  CHECK_INT(reply_text(c, 200, "two"), TAVI_E_STATE);
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, 3), TAVI_E_STATE);
  CHECK_INT(tavi_http_chunk(c, "x", 1), TAVI_E_STATE);
  CHECK_INT(tavi_http_end(c, NULL, 0), TAVI_E_STATE);
  CHECK_INT(tavi_http_refuse(c, 500), TAVI_E_STATE);
  CHECK_INT(tavi_conn_send(c, "x", 1), TAVI_E_STATE);
  CHECK_INT(tavi_http_stream_body(c), TAVI_E_STATE);
}

TEST(state__second_answer__refused) {
  rig_serve(NULL);
  rig.on_message = reply_twice;
  struct peer p = peer_open();
  peer_send(&p, GET("/") "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET("/"));
  for (int i = 0; i < 3; i++) EXPECT(&p, 200, "one");
  CHECK_INT(reply_text(rig.conn, 200, "nobody asked"), TAVI_E_STATE);
  rig_settle();
  peer_pump(&p);
  CHECK_INT(p.len - p.at, 0);
  peer_close(&p);
  rig_stop();
}

static void refuse_after_reply(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(reply_text(c, 200, "one"), 0);
  CHECK_INT(tavi_http_refuse(c, 500), TAVI_E_STATE);
}

TEST(state__refuse_after_an_answer_to_chunks__changes_nothing) {
  rig_serve(NULL);
  rig.on_headers = refuse_after_reply;
  struct peer p = peer_open();
  for (int i = 0; i < 2; i++) {
    peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    EXPECT(&p, 200, "one");
  }
  peer_close(&p);
  rig_stop();
}

static void close_then_reply(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_conn_close(c);
  CHECK(!tavi_http_is_waiting(c));
  CHECK_INT(reply_text(c, 200, "x"), TAVI_E_CLOSED);
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, 3), TAVI_E_CLOSED);
  CHECK_INT(tavi_http_chunk(c, "x", 1), TAVI_E_CLOSED);
  CHECK_INT(tavi_http_end(c, NULL, 0), TAVI_E_CLOSED);
  CHECK_INT(tavi_conn_send(c, "x", 1), TAVI_E_CLOSED);
}

TEST(state__reply_after_close__refused) {
  rig_serve(NULL);
  rig.on_message = close_then_reply;
  struct peer p = peer_open();
  peer_send(&p, GET("/") GET("/"));
  UNTIL(rig.closed == 1);
  UNTIL(peer_pump(&p));
  CHECK_INT(p.len, 0);
  CHECK_INT(rig.messages, 1);
  peer_close(&p);
  rig_stop();
}

/* ==== begin with a length ==== */

static uint64_t length_to_begin;

static void begin_and_send(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, length_to_begin), 0);
  CHECK(!tavi_http_is_waiting(c));
  CHECK_INT(tavi_conn_send(c, "abc", 3), 0);
  CHECK_INT(tavi_conn_send(c, "de", 2), 0);
}

TEST(begin__exact_number_of_bytes__keeps_alive) {
  rig_serve(NULL);
  rig.on_message = begin_and_send;
  length_to_begin = 5;
  struct peer p = peer_open();
  peer_send(&p, GET("/") GET("/"));
  EXPECT(&p, 200, "abcde");
  EXPECT(&p, 200, "abcde");
  peer_close(&p);
  rig_stop();
}

TEST(begin__more_bytes_than_announced__refused_and_the_connection_lives) {
  rig_serve(NULL);
  rig.on_message = begin_and_send;
  length_to_begin = 7;
  struct peer p = peer_open();
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  CHECK_INT(tavi_conn_send(rig.conn, "xyz", 3), TAVI_E_STATE);
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), TAVI_E_STATE);
  CHECK_INT(tavi_conn_send(rig.conn, "fg", 2), 0);
  CHECK_INT(tavi_conn_send(rig.conn, "h", 1), TAVI_E_STATE); /* complete: one byte more would belong to nobody */
  EXPECT(&p, 200, "abcdefg");
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 2);
  CHECK_INT(tavi_conn_send(rig.conn, "fg", 2), 0);
  EXPECT(&p, 200, "abcdefg");
  peer_close(&p);
  rig_stop();
}

TEST(begin__too_few_bytes_then_close__the_peer_sees_the_truncation) {
  rig_serve(NULL);
  rig.on_message = begin_and_send;
  length_to_begin = 10;
  struct peer p = peer_open();
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  tavi_conn_drain(rig.conn);
  UNTIL(peer_pump(&p));
  struct response r = {0};
  CHECK_INT(peer_parse(&p, &r, false), 0);
  CHECK(memmem(p.bytes, p.len, "Content-Length: 10\r\n", 20) != NULL);
  peer_close(&p);
  rig_stop();
}

static int file_fd;
static unsigned released;

static void release(void *arg) {
  (void) arg;
  released++;
}

static void begin_with_all_kinds(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  bool is_head = msg->method.len == 4; /* then any number of bytes is dropped */
  struct tavi_shared *s = NULL;
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, 20), 0);
  CHECK_INT(tavi_conn_send(c, "copy-", 5), 0);
  CHECK_INT(tavi_conn_send_foreign(c, "forn-", 5, release, NULL), 0);
  CHECK_INT(tavi_shared_new("shrd-", 5, &s), 0);
  CHECK_INT(tavi_conn_send_shared(c, s), 0);
  CHECK_INT(tavi_conn_send_file(c, dup(file_fd), 2, 5), 0);
  CHECK_INT(tavi_conn_send_foreign(c, "more", 4, release, NULL), is_head ? 0 : TAVI_E_STATE);
  tavi_shared_unref(s);
}

TEST(begin__copied_foreign_shared_and_file__all_arrive) {
  static const char methods[2][8] = {"GET", "HEAD"};
  file_fd = memfd_create("file", MFD_CLOEXEC);
  CHECK(write(file_fd, "0123456789", 10) == 10);
  for (int i = 0; i < 2; i++) {
    test_note("%s", methods[i]);
    rig_serve(NULL);
    rig.on_message = begin_with_all_kinds;
    released = 0;
    struct peer p = peer_open();
    char request[64];
    snprintf(request, sizeof(request), "%s / HTTP/1.1\r\nHost: x\r\n\r\n", methods[i]);
    for (int k = 0; k < 3; k++) {
      struct response r = {0};
      peer_send(&p, request);
      if (peer_response_to(&p, &r, i == 1, __FILE__, __LINE__)) {
        CHECK(header_is(&r, "Content-Length", "20"));
        CHECK_STR(r.body, i == 1 ? "" : "copy-forn-shrd-23456");
      }
      response_free(&r);
    }
    rig_settle();
    peer_pump(&p);
    CHECK_INT(p.len - p.at, 0);
    CHECK_INT(released, 6);
    peer_close(&p);
    rig_stop();
  }
  close(file_fd);
}

static void begin_later(struct tavi_conn *c) {
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, 5), 0);
  CHECK_INT(tavi_conn_send(c, "ab", 2), 0);
  CHECK_INT(tavi_conn_send(c, "cde", 3), 0);
}

/* In a callback and in another event the same calls must do the same. */
TEST(begin__head_answered_from_a_wakeup__no_byte_of_the_body_on_the_wire) {
  rig_serve(NULL);
  rig.on_message = wake_myself;
  rig.on_wakeup = begin_later;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" GET("/"));
  if (RESPONSE_TO_HEAD(&p, &r)) CHECK(header_is(&r, "Content-Length", "5"));
  EXPECT(&p, 200, "abcde");
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* ==== streams ==== */

static void stream_three(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header trailers[] = {HEADER("X-Sum", "42"), HEADER("X-More", "")};
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM), 0);
  CHECK_INT(tavi_http_chunk(c, "one ", 4), 0);
  CHECK_INT(tavi_http_chunk(c, "two ", 4), 0);
  CHECK_INT(tavi_http_chunk(c, "three", 5), 0);
  CHECK_INT(tavi_http_end(c, trailers, 2), 0);
  CHECK(tavi_http_chunk(c, "four", 4) != 0 || memcmp(msg->method.ptr, "HEAD", 4) == 0);
}

TEST(stream__chunks_and_trailers) {
  rig_serve(NULL);
  rig.on_message = stream_three;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/") "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" GET("/"));
  for (int i = 0; i < 3; i++) {
    bool is_head = i == 1;
    if (!peer_response_to(&p, &r, is_head, __FILE__, __LINE__)) break;
    CHECK(header_is(&r, "Transfer-Encoding", "chunked"));
    CHECK(find_header(&r, "Content-Length") == NULL);
    CHECK_STR(r.body, is_head ? "" : "one two three");
    CHECK(strcmp(r.trailers, is_head ? "" : "X-Sum: 42\r\nX-More: \r\n\r\n") == 0);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(stream__to_http_1_0__unframed_and_closed) {
  static const char *const requests[] = {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"};
  for (int i = 0; i < 2; i++) {
    rig_serve(NULL);
    rig.on_message = stream_three;
    struct peer p = peer_open();
    struct response r = {0};
    peer_send(&p, requests[i]);
    if (RESPONSE(&p, &r)) {
      CHECK_STR(r.body, "one two three");
      CHECK(find_header(&r, "Transfer-Encoding") == NULL);
      CHECK(find_header(&r, "Content-Length") == NULL);
      CHECK(header_is(&r, "Connection", "close"));
    }
    EXPECT_END(&p);
    response_free(&r);
    peer_close(&p);
    rig_stop();
  }
}

static void stream_by_reply(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  struct tavi_http_header h = HEADER("transfer-encoding", "Chunked");
  CHECK_INT(tavi_http_reply(c, 200, &h, 1, SLICE("first")), 0);
  CHECK_INT(tavi_http_chunk(c, ", second", 8), 0);
  CHECK_INT(tavi_http_chunk(c, NULL, 0), 0);
}

TEST(stream__reply_with_transfer_encoding__begins_one) {
  rig_serve(NULL);
  rig.on_message = stream_by_reply;
  struct peer p = peer_open();
  peer_send(&p, GET("/") GET("/"));
  EXPECT(&p, 200, "first, second");
  EXPECT(&p, 200, "first, second");
  peer_close(&p);
  rig_stop();
}

static void begin_stream(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM), 0);
}

TEST(stream__bad_trailers__refused_and_can_be_ended_then) {
  struct tavi_http_header bad = HEADER("X", "a\nb");
  rig_serve(NULL);
  rig.on_message = begin_stream;
  struct peer p = peer_open();
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  CHECK_INT(tavi_http_end(rig.conn, &bad, 1), TAVI_E_ARG);
  CHECK_INT(tavi_conn_send(rig.conn, "junk", 4), 0); /* no chunk: by hand; see below */
  peer_close(&p);
  rig_stop();
}

TEST(stream__closed_before_its_end__the_peer_sees_the_truncation) {
  rig_serve(NULL);
  rig.on_message = begin_stream;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  CHECK_INT(tavi_http_chunk(rig.conn, "abc", 3), 0);
  tavi_conn_drain(rig.conn);
  CHECK_INT(tavi_http_chunk(rig.conn, "abc", 3), TAVI_E_CLOSED);
  UNTIL(peer_pump(&p));
  CHECK_INT(peer_parse(&p, &r, false), 0);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* A producer that waits for on_low_water sends 200 MB to a reader that is slower than it. */
enum { STREAM_BYTES = 200 * 1000 * 1000, PIECE = 50000 };

static size_t produced, held_max, pending_max;

static void produce(struct tavi_conn *c) {
  static char piece[PIECE];
  while (produced < STREAM_BYTES && !(tavi_conn_flags(c) & TAVI_CONN_FULL)) {
    memset(piece, (int) ('a' + produced / PIECE % 26), sizeof(piece));
    CHECK_INT(tavi_http_chunk(c, piece, PIECE), 0);
    produced += PIECE;
  }
  if (tavi_conn_send_pending(c) > pending_max) pending_max = tavi_conn_send_pending(c);
  if (tavi_manager_buffered(rig.m) > held_max) held_max = tavi_manager_buffered(rig.m);
  if (produced == STREAM_BYTES) {
    produced++;
    CHECK_INT(tavi_http_end(c, NULL, 0), 0);
  }
}

static void begin_producing(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  begin_stream(c, msg);
  produce(c);
}

TEST(stream__200_mb_with_back_pressure__memory_stays_small) {
  rig_serve(NULL);
  rig.on_message = begin_producing;
  rig.on_low_water = produce;
  produced = held_max = pending_max = 0;
  struct peer p = peer_open_with(65536);
  peer_send(&p, GET("/"));
  rig_settle(); /* a reader that has not begun yet */
  CHECK(produced < 16 * 1000 * 1000);
  CHECK(rig.lows < 100);

  size_t chunk_bytes = 5 + 2 + PIECE + 2, got = 0, head = 0;
  static char buf[1 << 16];
  uint64_t deadline = rig_now_ms() + 4 * RIG_DEADLINE_MS;
  bool ended = false;
  while (!ended && rig_now_ms() < deadline) {
    ssize_t n = recv(p.fd, buf, sizeof(buf), 0);
    if (n > 0 && head == 0) head = (size_t) ((char *) memmem(buf, (size_t) n, "\r\n\r\n", 4) + 4 - buf);
    if (n > 0) got += (size_t) n;
    if (n > 0 && memcmp(buf + n - 5, "0\r\n\r\n", 5) == 0 && produced > STREAM_BYTES)
      ended = got - head == chunk_bytes * (STREAM_BYTES / PIECE) - STREAM_BYTES / PIECE + 5;
    if (n <= 0) tavi_manager_poll(rig.m, 1);
  }
  CHECK(ended);
  CHECK(pending_max < (1 << 20) + 2 * PIECE); /* the high water mark and one piece */
  CHECK(held_max < 2 << 20);
  CHECK(rig.lows > 50);
  peer_close(&p);
  rig_stop();
}

/* ==== foreign memory ==== */

static void reply_with_foreign(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static char body[500000];
  struct tavi_http_header chunked = HEADER("Transfer-Encoding", "chunked");
  unsigned long len = strtoul(msg->path.ptr + 2, NULL, 10);
  char kind = msg->path.ptr[1];
  memset(body, 'f', sizeof(body));
  CHECK_INT(tavi_http_reply_foreign(c, kind == 'n' ? 204 : 200, &chunked, kind == 'c', (struct tavi_slice){body, len},
                                    release, NULL), 0);
  if (kind == 'c') CHECK_INT(tavi_http_end(c, NULL, 0), 0);
  CHECK_INT(tavi_http_reply_foreign(c, 200, NULL, 0, (struct tavi_slice){body, len}, release, NULL), TAVI_E_STATE);
}

TEST(reply_foreign__every_kind_of_answer__released_once) {
  static const struct {
    const char *request;
    size_t len;
  } cases[] = {{GET("/b5"), 5},       {GET("/b500000"), 500000}, {GET("/n5"), 0},
               {GET("/n500000"), 0},  {GET("/c5"), 5},           {GET("/c500000"), 500000},
               {GET("/b0"), 0},       {"HEAD /b500000 HTTP/1.1\r\nHost: x\r\n\r\n", 0},
               {"HEAD /b5 HTTP/1.1\r\nHost: x\r\n\r\n", 0}};
  rig_serve(NULL);
  rig.on_message = reply_with_foreign;
  struct peer p = peer_open();
  released = 0;
  for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct response r = {0};
    test_note("case %u", i);
    peer_send(&p, cases[i].request);
    if (peer_response_to(&p, &r, cases[i].request[0] == 'H', __FILE__, __LINE__)) CHECK_INT(r.body.len, cases[i].len);
    UNTIL(released == 2 * (i + 1)); /* the refused one, too */
    response_free(&r);
  }
  rig_settle();
  CHECK_INT(released, 2 * sizeof(cases) / sizeof(cases[0]));
  peer_close(&p);
  rig_stop();
}
