/* SPDX-License-Identifier: MIT
 *
 * The client against servers that are a socket and a script: every framing of responses, pipelining, interim responses,
 * tunnels, and servers that break off or talk nonsense. */
#include "e2e/http_rig.h"

#include <strings.h>

static int listening = -1;

static void start(void) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof(a);
  rig_start();
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listening, (struct sockaddr *) &a, sizeof(a)) != 0 || listen(listening, 10) != 0) abort();
  getsockname(listening, (struct sockaddr *) &a, &len);
  rig.port = ntohs(a.sin_port);
  nonblocking(listening);
}

static void stop(void) {
  rig_stop();
  close(listening);
}

/* A client, and the server's end of its connection. */
static struct peer connect_client(const struct tavi_http_opts *opts) {
  struct peer p = {.fd = -1};
  char url[64];
  snprintf(url, sizeof(url), "http://127.0.0.1:%u", rig.port);
  CHECK_INT(tavi_http_connect(rig.m, url, opts, &rig__handlers, NULL, NULL), 0);
  UNTIL((p.fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
  int one = 1;
  setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* single bytes shall arrive one by one */
  return p;
}

static void ask(const char *request) {
  if (CHECK(rig.conn != NULL)) CHECK_INT(tavi_conn_send(rig.conn, request, strlen(request)), 0);
}

/* Close the server's end in good order: what it did not read would make a reset of it. */
static void hang_up(struct peer *p) {
  rig_settle();
  peer_pump(p);
  peer_close(p);
}

static void message_is(int status, const char *body) {
  CHECK_INT(rig.status, status);
  CHECK_BYTES(rig.body, rig.body_len, body, strlen(body));
}

/* ==== framing ==== */

static const struct {
  const char *request, *response, *body;
  int status;
} framings[] = {
    {GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200},
    {GET("/"), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "", 404},
    {GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", 200},
    {GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", "abc", 200},
    {GET("/"), "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok", 200},
    {GET("/"), "HTTP/1.1 204 No Content\r\n\r\n", "", 204},
    {GET("/"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", "", 304},
    {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "", 200},
    {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", 200},
    {"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "no", 403},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nz", "z",
     200},
};

enum { FRAMINGS = sizeof(framings) / sizeof(framings[0]) };

TEST(response__every_framing__whole_and_byte_by_byte) {
  for (int slowly = 0; slowly < 2; slowly++) {
    start();
    struct peer p = connect_client(NULL);
    for (unsigned i = 0; i < FRAMINGS; i++) {
      test_note("framing %u, slowly %d", i, slowly);
      ask(framings[i].request);
      UNTIL((peer_pump(&p), p.len - p.at == strlen(framings[i].request)));
      p.at = p.len;
      if (slowly)
        peer_send_slowly(&p, framings[i].response, strlen(framings[i].response));
      else
        peer_send(&p, framings[i].response);
      UNTIL(rig.messages == i + 1);
      message_is(framings[i].status, framings[i].body);
    }
    CHECK_INT(rig.headers, FRAMINGS);
    CHECK_INT(rig.errors, 0);
    hang_up(&p);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.errors, 0);
    stop();
  }
}

TEST(response__all_pipelined__matched_to_their_questions) {
  start();
  struct peer p = connect_client(NULL);
  char all[4096] = "";
  for (unsigned i = 0; i < FRAMINGS; i++) {
    ask(framings[i].request);
    size_t len = strlen(all);
    snprintf(all + len, sizeof all - len, "%s", framings[i].response);
  }
  UNTIL(rig.conn != NULL && tavi_conn_send_pending(rig.conn) == 0);
  peer_send(&p, all);
  UNTIL(rig.messages == FRAMINGS);
  message_is(200, "z");
  CHECK_INT(rig.errors, 0);
  hang_up(&p);
  stop();
}

TEST(request__written_in_parts_and_with_chunks__is_followed) {
  static const char question[] = "HEAD /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "3\r\nabc\r\n0\r\nX: y\r\n\r\n"
                                 "HEAD /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /" GET("/c");
  start();
  struct peer p = connect_client(NULL);
  for (size_t i = 0; i < sizeof(question) - 1; i++) CHECK_INT(tavi_conn_send(rig.conn, question + i, 1), 0);
  peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nc");
  UNTIL(rig.messages == 3);
  message_is(200, "c");
  CHECK_INT(rig.errors, 0);
  hang_up(&p);
  stop();
}

TEST(request__upload_by_tavi_http_chunk) {
  start();
  struct peer p = connect_client(NULL);
  struct tavi_http_header trailer = HEADER("X-Sum", "1");
  ask("HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  CHECK_INT(tavi_http_chunk(rig.conn, "hello world, again", 18), 0);
  CHECK_INT(tavi_http_end(rig.conn, &trailer, 1), 0);
  ask(GET("/next"));
  UNTIL((peer_pump(&p), memmem(p.bytes, p.len, "/next HTTP/1.1\r\nHost: x\r\n\r\n", 27) != NULL));
  CHECK(memmem(p.bytes, p.len, "\r\n\r\n12\r\nhello world, again\r\n0\r\n", 31) != NULL);
  CHECK(memmem(p.bytes, p.len, "0\r\nX-Sum: 1\r\n\r\nGET /next", 24) != NULL);
  peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nn");
  UNTIL(rig.messages == 2);
  message_is(200, "n");
  hang_up(&p);
  stop();
}

TEST(request__too_many_in_flight__is_refused_and_the_connection_lives) {
  start();
  struct peer p = connect_client(NULL);
  int sent = 0;
  while (sent < 1000 && tavi_conn_send(rig.conn, GET("/"), sizeof(GET("/")) - 1) == 0) sent++;
  CHECK(sent >= 32);
  CHECK_INT(tavi_conn_send(rig.conn, "HEAD /", 6), 0); /* half of one */
  static const char too_much[] = " HTTP/1.1\r\nHost: x\r\n\r\n" GET("/");
  CHECK_INT(tavi_conn_send(rig.conn, too_much, sizeof(too_much) - 1), TAVI_E_STATE);
  rig_settle();
  for (int i = 0; i < sent; i++) peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nn");
  UNTIL(rig.messages == (unsigned) sent);
  ask(" HTTP/1.1\r\nHost: x\r\n\r\n"); /* the other half */
  peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
  UNTIL(rig.messages == (unsigned) sent + 1);
  CHECK_INT(rig.errors, 0);
  hang_up(&p);
  stop();
}

TEST(response__until_the_end) {
  for (int slowly = 0; slowly < 2; slowly++) {
    start();
    struct peer p = connect_client(NULL);
    static const char response[] = "HTTP/1.1 200 OK\r\n\r\nhello";
    ask(GET("/"));
    if (slowly)
      peer_send_slowly(&p, response, sizeof(response) - 1);
    else
      peer_send(&p, response);
    UNTIL(rig.headers == 1);
    rig_settle();
    CHECK_INT(rig.messages, 0);
    hang_up(&p);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.messages, 1);
    message_is(200, "hello");
    CHECK_INT(rig.errors, 0);
    stop();
  }
}

static void answer_is_interim(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) c;
  if (rig.headers == 1) CHECK_INT(msg->status, 100);
  if (rig.headers == 2) CHECK(msg->status == 103 && msg->header_count == 1);
}

TEST(response__interim_ones__on_headers_alone) {
  start();
  rig.on_headers = answer_is_interim;
  struct peer p = connect_client(NULL);
  ask(GET("/"));
  peer_send(&p, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  UNTIL(rig.messages == 1);
  CHECK_INT(rig.headers, 3);
  message_is(200, "ok");
  hang_up(&p);
  stop();
}

/* ==== broken servers ==== */

/* The connection fails with this error, and no message is told. */
static void broken(const char *request, const char *response, int err) {
  for (int slowly = 0; slowly < 2; slowly++) {
    test_note("%s", response);
    start();
    struct peer p = connect_client(NULL);
    if (request != NULL) ask(request);
    if (slowly)
      peer_send_slowly(&p, response, strlen(response));
    else
      peer_send(&p, response);
    rig_settle();
    hang_up(&p);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.messages, 0);
    CHECK_INT(rig.errors, 1);
    CHECK_INT(rig.err, err);
    stop();
  }
}

TEST(broken__truncated__protocol_error_and_no_short_message) {
  broken(GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\r\nContent-Le", TAVI_E_PROTOCOL);
}

TEST(broken__nonsense) {
  broken(GET("/"), "hello\r\n\r\n", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 20 OK\r\n\r\n", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/2.0 200 OK\r\n\r\n", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", TAVI_E_PROTOCOL);
  broken(GET("/"), "HTTP/1.1 200 OK\nContent-Length: 1\n\na", TAVI_E_PROTOCOL);
}

TEST(broken__response_without_a_request) {
  broken(NULL, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", TAVI_E_PROTOCOL);
  start();
  struct peer p = connect_client(NULL);
  ask(GET("/"));
  peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb");
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.messages, 1);
  CHECK_INT(rig.err, TAVI_E_PROTOCOL);
  hang_up(&p);
  stop();
}

TEST(broken__longer_than_the_limit) {
  static const char *const responses[] = {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
                                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n",
                                          "HTTP/1.1 200 OK\r\n\r\nhello world"};
  for (int i = 0; i < 3; i++) {
    struct tavi_http_opts opts;
    tavi_http_opts_init(&opts);
    opts.body_bytes_max = 10;
    start();
    struct peer p = connect_client(&opts);
    ask(GET("/"));
    peer_send(&p, responses[i]);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.messages, 0);
    CHECK_INT(rig.err, TAVI_E_LIMIT);
    hang_up(&p);
    stop();
  }
}

TEST(silent_server__idle_time_out) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.idle_timeout_ms = 30;
  start();
  struct peer p = connect_client(&opts);
  ask(GET("/"));
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.err, TAVI_E_TIMEOUT);
  hang_up(&p);
  stop();
}

/* ==== streaming and pausing ==== */

static size_t streamed;

static void stream(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_stream_body(c), 0);
}

static void take(struct tavi_conn *c) {
  if (!(tavi_conn_flags(c) & TAVI_CONN_HTTP) || rig.headers == rig.messages) return;
  struct tavi_slice in = tavi_conn_peek(c);
  streamed += in.len;
  tavi_conn_consume(c, in.len);
}

TEST(stream__every_framing) {
  start();
  rig.on_headers = stream;
  rig.on_read = take;
  streamed = 0;
  struct peer p = connect_client(NULL);
  size_t wanted = 0;
  for (unsigned i = 0; i < FRAMINGS; i++) {
    test_note("framing %u", i);
    ask(framings[i].request);
    peer_send_slowly(&p, framings[i].response, strlen(framings[i].response));
    UNTIL(rig.messages == i + 1);
    CHECK_INT(rig.body_len, 0);
    wanted += strlen(framings[i].body);
    CHECK_INT(streamed, wanted);
  }
  ask(GET("/"));
  peer_send(&p, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
  rig_settle();
  hang_up(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.messages, FRAMINGS + 1);
  CHECK_INT(streamed, wanted + 13);
  CHECK_INT(rig.errors, 0);
  stop();
}

TEST(stream__until_the_end__consumed_after_it) {
  start();
  rig.on_headers = stream;
  struct peer p = connect_client(NULL);
  ask(GET("/"));
  peer_send(&p, "HTTP/1.1 200 OK\r\n\r\nabcdef");
  UNTIL(rig.reads > 0);
  hang_up(&p);
  rig_settle();
  CHECK_INT(rig.messages, 0);
  CHECK_INT(rig.closed, 0);
  CHECK_STR(tavi_conn_peek(rig.conn), "abcdef");
  tavi_conn_consume(rig.conn, 6);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.messages, 1);
  CHECK_INT(rig.errors, 0);
  stop();
}

/* ==== tunnels ==== */

TEST(tunnel__connect__raw_with_the_bytes_that_came_along) {
  start();
  struct peer p = connect_client(NULL);
  ask("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
  peer_send(&p, "HTTP/1.1 200 Connected\r\n\r\nhello");
  UNTIL(rig.messages == 1);
  UNTIL(tavi_conn_peek(rig.conn).len == 5);
  CHECK(!(tavi_conn_flags(rig.conn) & TAVI_CONN_HTTP));
  CHECK_STR(tavi_conn_peek(rig.conn), "hello");
  tavi_conn_consume(rig.conn, 5);
  ask("anything at all");
  UNTIL((peer_pump(&p), memmem(p.bytes, p.len, "anything at all", 15) != NULL));
  peer_send(&p, "HTTP/1.1 nonsense");
  UNTIL(tavi_conn_peek(rig.conn).len == 17);
  hang_up(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.errors, 0);
  stop();
}

TEST(tunnel__101__raw) {
  start();
  struct peer p = connect_client(NULL);
  ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
  peer_send(&p, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nxyz");
  UNTIL(rig.messages == 1);
  UNTIL(tavi_conn_peek(rig.conn).len == 3);
  CHECK(!(tavi_conn_flags(rig.conn) & TAVI_CONN_HTTP));
  hang_up(&p);
  stop();
}

/* ==== handlers ==== */

static void close_it(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_conn_close(c);
}

TEST(handler__closes_anywhere) {
  for (int in_headers = 0; in_headers < 2; in_headers++) {
    for (unsigned i = 0; i < FRAMINGS; i++) {
      start();
      if (in_headers)
        rig.on_headers = close_it;
      else
        rig.on_message = close_it;
      struct peer p = connect_client(NULL);
      ask(framings[i].request);
      peer_send(&p, framings[i].response);
      UNTIL(rig.closed == 1);
      CHECK_INT(rig.headers, 1);
      CHECK_INT(rig.errors, 0);
      hang_up(&p);
      stop();
    }
  }
}

static void ask_again(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  if (rig.messages < 100) CHECK_INT(tavi_conn_send(c, GET("/"), sizeof(GET("/")) - 1), 0);
}

TEST(handler__asks_again_from_on_message) {
  start();
  rig.on_message = ask_again;
  struct peer p = connect_client(NULL);
  ask(GET("/"));
  for (unsigned i = 1; i <= 100; i++) {
    UNTIL((peer_pump(&p), p.len == i * (sizeof(GET("/")) - 1)));
    peer_send(&p, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nn");
  }
  UNTIL(rig.messages == 100);
  hang_up(&p);
  stop();
}
