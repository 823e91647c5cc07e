/* SPDX-License-Identifier: MIT
 *
 * Memory: no allocation for a request in the steady state; and when the n-th allocation of a whole exchange fails, for
 * every n, the connection is served or closed, nothing leaks (the sanitizer looks), and the next one is served. */
#include "failmalloc.h"

#include <limits.h>

#include "e2e/http_rig.h"

/* ==== the steady state ==== */

static void plenty(struct peer *p) {
  p->cap = 8 << 20;
  p->bytes = __real_malloc(p->cap);
  if (p->bytes == NULL) abort();
}

static void reply_ok(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  struct tavi_http_header h = HEADER("Content-Type", "text/plain");
  tavi_http_reply(c, 200, &h, 1, SLICE("hello"));
}

/* Allocations during `rounds` times `request`, which is answered by `answers` responses of the same length. */
static unsigned allocations(const char *request, int rounds) {
  rig_serve(NULL);
  rig.on_message = reply_ok;
  struct peer p = peer_open();
  size_t size = 0;
  plenty(&p);
  unsigned counted = 0;
  for (int i = 0; i < rounds + 10; i++) {
    if (i == 10) fail_begin(UINT_MAX); /* none fails, all are counted */
    peer_send(&p, request);
    UNTIL((peer_pump(&p), i == 0 ? rig.messages > 0 : p.len == size));
    if (i == 0) {
      rig_settle();
      peer_pump(&p);
      size = p.len;
    }
    p.len = 0;
  }
  counted = fail_count;
  fail_end();
  CHECK(size > 0);
  peer_close(&p);
  rig_stop();
  return counted;
}

TEST(steady_state__no_allocation_per_request) {
  CHECK_INT(allocations(GET("/"), 1000), 0);
  CHECK_INT(allocations(GET("/") GET("/") GET("/") GET("/") GET("/") GET("/") GET("/") GET("/"), 200), 0);
  CHECK_INT(allocations("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", 200), 0);
  CHECK_INT(allocations("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200), 0);
}

/* ==== every allocation fails once ==== */

static size_t taken;

static void headers(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (msg->path.len > 1 && msg->path.ptr[1] == 's') tavi_http_stream_body(c);
}

static void read_body(struct tavi_conn *c) {
  if (rig.headers == rig.messages) return;
  taken += tavi_conn_peek(c).len;
  tavi_conn_consume(c, tavi_conn_peek(c).len);
}

static char big[100000];

/* Each kind of answer allocates in another way. */
static void message(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header long_one = {SLICE("X-Long"), {big, 5000}};
  struct tavi_http_header trailer = HEADER("X-Sum", "1");
  switch (msg->path.len > 1 ? msg->path.ptr[1] : ' ') {
    case 'l': tavi_http_reply(c, 200, &long_one, 1, (struct tavi_slice){big, sizeof(big)}); break;
    case 'b': tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){big, sizeof(big)}); break;
    case 'c':
      if (tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM) < 0) break;
      if (tavi_http_chunk(c, big, 10) == 0 && tavi_http_chunk(c, big, sizeof(big)) == 0) tavi_http_end(c, &trailer, 1);
      break;
    case 'h':
      tavi_conn_send(c, "HTTP/1.1 200 OK\r\nTransfer-", 26);
      tavi_conn_send(c, "Encoding: chunked\r\n\r\n3\r\nab", 26);
      tavi_conn_send(c, "c\r\n0\r\nX: ", 9);
      tavi_conn_send(c, "y\r\n\r\n", 5);
      break;
    default: reply_ok(c, msg); break;
  }
  if (tavi_http_is_waiting(c)) tavi_conn_close(c); /* it was not possible to answer */
}

static const struct {
  const char *text;
  bool is_apart; /* a turn before the next one */
} parts[] = {
    {GET("/small") "GET /b HTT", true},
    {"P/1.1\r\nHost: x\r\n\r\n" GET("/long"), false},
    {GET("/chunks") GET("/hand") "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234", true},
    {"56789POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", true},
    {"c\r\n0\r\nX: y\r\n\r\nPOST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", true},
    {"c\r\n0\r\nX:", true},
    {" y\r\n\r\nPOST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", false},
    {"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false},
};

/* The whole conversation, until the server has closed. */
static void converse(struct peer *p) {
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    if (!peer_send(p, parts[i].text)) break;
    for (int k = 0; parts[i].is_apart && k < 4; k++) tavi_manager_poll(rig.m, k == 0 ? 5 : 0);
  }
  UNTIL(peer_pump(p));
}

static void serve(void) {
  rig_serve(NULL);
  rig.on_headers = headers;
  rig.on_message = message;
  rig.on_read = read_body;
  memset(big, 'b', sizeof(big));
}

TEST(server__each_allocation_fails__served_or_closed) {
  unsigned n = 1, whole = 0;
  for (bool failed = true; failed && n < 1000; n++) {
    serve();
    struct peer p = peer_open(), q = peer_open();
    plenty(&p);
    plenty(&q);
    test_note("allocation %u fails", n);
    fail_begin(n);
    converse(&p);
    failed = fail_end();
    if (memmem(p.bytes, p.len, "Connection: close", 17) != NULL) whole++;
    peer_send(&q, GET("/after"));
    UNTIL((peer_pump(&q) || q.len > 0));
    if (rig.opened == 2) CHECK(q.len > 15 && memcmp(q.bytes, "HTTP/1.1 200 OK", 15) == 0);
    peer_close(&p);
    peer_close(&q);
    UNTIL(rig.closed == rig.opened);
    CHECK_INT(tavi_manager_buffered(rig.m), 0);
    rig_stop();
  }
  CHECK(n > 10);
  CHECK(whole >= 1); /* the last round, at least */
  printf("%u allocations\n", n - 2);
}

static unsigned responses, client_errors, client_opened, client_closed;

static void client_open(struct tavi_conn *c, void *user) {
  (void) c;
  (void) user;
  client_opened++;
}

static void client_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void) c;
  (void) user;
  (void) msg;
  responses++;
}

static void client_error(struct tavi_conn *c, int err, const char *text, void *user) {
  (void) c;
  (void) user;
  (void) text;
  client_errors += err < 0;
}

static void client_close(struct tavi_conn *c, void *user) {
  (void) c;
  (void) user;
  client_closed++;
}

static const struct tavi_http_handlers client_handlers = {
    .conn = {.on_open = client_open, .on_error = client_error, .on_close = client_close}, .on_message = client_message};

TEST(client__each_allocation_fails__answered_or_told) {
  unsigned n = 1;
  bool answered = false;
  for (bool failed = true; failed && n < 1000; n++) {
    static const char requests[] = GET("/small") "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n" GET("/chunks") GET("/long");
    char url[64];
    struct tavi_conn *c = NULL;
    serve();
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", rig.port);
    responses = client_errors = client_opened = client_closed = 0;
    test_note("allocation %u fails", n);
    fail_begin(n);
    int err = tavi_http_connect(rig.m, url, NULL, &client_handlers, NULL, &c);
    if (err == 0) err = tavi_conn_send(c, requests, 10);
    if (err == 0) err = tavi_conn_send(c, requests + 10, sizeof(requests) - 11);
    if (err == 0) UNTIL(responses == 4 || client_closed > 0);
    failed = fail_end();
    CHECK(err == 0 || err == TAVI_E_NOMEM);
    answered |= responses == 4;
    rig_stop();
    CHECK_INT(client_closed, client_opened);
  }
  CHECK(n > 5);
  CHECK(answered);
  printf("%u allocations\n", n - 2);
}
