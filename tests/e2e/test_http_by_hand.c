/* SPDX-License-Identifier: MIT
 *
 * Responses that the handler writes by hand: they are followed for their framing and count as answers; and tunnels,
 * which are HTTP no more. */
#include "e2e/http_rig.h"

#include <strings.h>

static void wake_myself(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_manager_wakeup(rig.m, tavi_conn_id(c), "x", 1), 0);
}

/* ==== by hand ==== */

static const char *pieces[8];
static int results[8];

/* Send all pieces in one event. */
static void send_pieces(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  for (int i = 0; i < 8 && pieces[i] != NULL; i++) results[i] = tavi_conn_send(c, pieces[i], strlen(pieces[i]));
}

#define PIECES(...)                                        \
  do {                                                     \
    static const char *const pieces_[8] = {__VA_ARGS__};   \
    memcpy(pieces, pieces_, sizeof(pieces));               \
    for (int pieces_i_ = 0; pieces_i_ < 8; pieces_i_++) results[pieces_i_] = 0; \
  } while (0)

/* What is written by hand counts as the answer: a second request on the connection is served. */
static void by_hand(const char *request, bool is_head, int status, const char *body) {
  for (int in_one_event = 0; in_one_event < 2; in_one_event++) {
    rig_serve(NULL);
    struct peer p = peer_open();
    struct response r = {0};
    test_note("%s", in_one_event ? "all in one event" : "a turn between them");
    rig.on_message = in_one_event ? send_pieces : NULL;
    if (!in_one_event) rig.on_message = wake_myself; /* deferred: nothing is sent in the callback */
    peer_send(&p, request);
    UNTIL(rig.messages == 1);
    for (int i = 0; !in_one_event && i < 8 && pieces[i] != NULL; i++) {
      CHECK_INT(tavi_conn_send(rig.conn, pieces[i], strlen(pieces[i])), 0);
      tavi_manager_poll(rig.m, 0);
    }
    for (int i = 0; i < 8; i++) CHECK_INT(results[i], 0);
    if (peer_response_to(&p, &r, is_head, __FILE__, __LINE__)) {
      CHECK_INT(r.status, status);
      CHECK_STR(r.body, body);
    }
    rig.on_message = NULL;
    peer_send(&p, GET("/next"));
    EXPECT(&p, 200, "GET /next ");
    response_free(&r);
    peer_close(&p);
    rig_stop();
  }
}

TEST(by_hand__whole_response__counts_as_the_answer) {
  PIECES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  by_hand(GET("/"), false, 200, "hello");
}

TEST(by_hand__head_and_body_in_parts) {
  PIECES("HTTP/1.1 200 OK\r", "\nContent-Le", "ngth: 5\r\n\r", "\nhe", "llo");
  by_hand(GET("/"), false, 200, "hello");
  PIECES("H", "TTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  by_hand(GET("/"), false, 200, "");
}

TEST(by_hand__chunks) {
  PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  by_hand(GET("/"), false, 200, "abcde");
  PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r", "\na", "bc", "\r\n0\r\nX: y\r\n\r\n");
  by_hand(GET("/"), false, 200, "abc");
}

/* A relay passes on what it reads, split wherever that was. */
TEST(by_hand__chunks_split_inside_the_last_line) {
  PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r", "\n");
  by_hand(GET("/"), false, 200, "abc");
  PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: ", "y\r", "\n\r", "\n");
  by_hand(GET("/"), false, 200, "abc");
}

TEST(by_hand__without_a_body) {
  PIECES("HTTP/1.1 204 No Content\r\n\r\n");
  by_hand(GET("/"), false, 204, "");
  PIECES("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n");
  by_hand(GET("/"), false, 304, "");
}

TEST(by_hand__interim_first) {
  rig_serve(NULL);
  struct peer p = peer_open();
  rig.on_message = send_pieces;
  PIECES("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  peer_send(&p, GET("/"));
  EXPECT(&p, 103, "");
  EXPECT(&p, 200, "ok");
  PIECES("HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  peer_send(&p, GET("/"));
  EXPECT(&p, 102, "");
  EXPECT(&p, 103, "");
  EXPECT(&p, 200, "ok");
  for (int i = 0; i < 8; i++) CHECK_INT(results[i], 0);
  peer_close(&p);
  rig_stop();
}

TEST(by_hand__many_interim_responses_in_one_piece) {
  size_t len;
  char *interims = repeat("HTTP/1.1 103 x\r\n\r\n", 20000, &len);
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  rig.on_message = wake_myself;
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  CHECK_INT(tavi_conn_send(rig.conn, interims, len), 0);
  CHECK_INT(reply_text(rig.conn, 200, "end"), 0);
  for (int i = 0; i < 20000 && RESPONSE(&p, &r); i++) CHECK_INT(r.status, 103);
  EXPECT(&p, 200, "end");
  free(interims);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(by_hand__head__the_body_is_dropped) {
  PIECES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  by_hand("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", true, 200, "");
  PIECES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hel", "lo");
  by_hand("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", true, 200, "");
  PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", "0\r\n\r\n");
  by_hand("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", true, 200, "");
}

TEST(by_hand__head_after_an_interim__only_the_body_is_dropped) {
  rig_serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  rig.on_message = send_pieces;
  PIECES("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  peer_send(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  if (RESPONSE_TO_HEAD(&p, &r)) CHECK_INT(r.status, 103);
  if (RESPONSE_TO_HEAD(&p, &r)) CHECK_INT(r.status, 200);
  rig.on_message = NULL;
  peer_send(&p, GET("/next"));
  EXPECT(&p, 200, "GET /next ");
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(by_hand__chunked_head_with_tavi_http_chunk) {
  rig_serve(NULL);
  struct peer p = peer_open();
  for (int i = 0; i < 2; i++) {
    rig.on_message = send_pieces;
    PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer_send(&p, GET("/"));
    UNTIL(rig.messages == (unsigned) i + 1);
    CHECK_INT(tavi_http_chunk(rig.conn, "abc", 3), 0);
    CHECK_INT(tavi_http_chunk(rig.conn, "def", 3), 0);
    CHECK_INT(tavi_http_chunk(rig.conn, "", 0), 0);
    EXPECT(&p, 200, "abcdef");
  }
  peer_close(&p);
  rig_stop();
}

TEST(by_hand__no_framing__ends_with_the_connection) {
  rig_serve(NULL);
  struct peer p = peer_open();
  rig.on_message = send_pieces;
  PIECES("HTTP/1.1 200 OK\r\n\r\n", "some", "thing");
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  CHECK_INT(tavi_conn_send(rig.conn, "!", 1), 0);
  tavi_conn_drain(rig.conn);
  EXPECT(&p, 200, "something!");
  EXPECT_END(&p);
  peer_close(&p);
  rig_stop();
}

TEST(by_hand__connection_close_or_http_1_0__closes_after_it) {
  static const char *const responses[] = {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
                                          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"};
  for (int i = 0; i < 2; i++) {
    rig_serve(NULL);
    struct peer p = peer_open();
    rig.on_message = send_pieces;
    memset(pieces, 0, sizeof(pieces));
    pieces[0] = responses[i];
    peer_send(&p, GET("/"));
    EXPECT(&p, 200, "ok");
    EXPECT_END(&p);
    peer_close(&p);
    rig_stop();
  }
}

TEST(by_hand__no_http_at_all__let_through_until_close) {
  rig_serve(NULL);
  struct peer p = peer_open();
  rig.on_message = send_pieces;
  PIECES("SSH-2.0-x\r\n", "more");
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 1);
  tavi_conn_drain(rig.conn);
  UNTIL(peer_pump(&p));
  CHECK_BYTES(p.bytes, p.len, "SSH-2.0-x\r\nmore", 15);
  peer_close(&p);
  rig_stop();
}

/* Nothing of a piece that does not fit is sent, and the request can still be answered. */
TEST(by_hand__more_bytes_than_the_head_says__refused_whole) {
  static const char *const too_long[] = {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello",
                                         "HTTP/1.1 204 No Content\r\n\r\nhello",
                                         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nhello",
                                         "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\nhello",
                                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nhello"};
  rig_serve(NULL);
  struct peer p = peer_open();
  rig.on_message = send_pieces;
  memset(pieces, 0, sizeof(pieces));
  for (size_t i = 0; i < sizeof(too_long) / sizeof(too_long[0]); i++) {
    test_note("case %zu", i);
    pieces[0] = too_long[i];
    peer_send(&p, GET("/"));
    UNTIL(rig.messages == i + 1);
    CHECK_INT(results[0], TAVI_E_STATE);
    CHECK(tavi_http_is_waiting(rig.conn));
    CHECK_INT(reply_text(rig.conn, 200, "fits"), 0);
    EXPECT(&p, 200, "fits");
  }
  peer_close(&p);
  rig_stop();
}

/* ==== tunnels ==== */

static void echo_raw(struct tavi_conn *c) {
  struct tavi_slice in = tavi_conn_peek(c);
  if (tavi_conn_flags(c) & TAVI_CONN_HTTP) return;
  if (in.len == 0) return;
  CHECK_INT(tavi_conn_send(c, in.ptr, in.len), 0);
  tavi_conn_consume(c, in.len);
}

static void accept_tunnel(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, SLICE("not sent")), 0);
  CHECK(tavi_conn_flags(c) & TAVI_CONN_HTTP); /* until the callback returns */
}

static void accept_tunnel_by_hand(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_conn_send(c, "HTTP/1.1 200 Connected\r\n\r\n", 26), 0);
}

static void accept_tunnel_later(struct tavi_conn *c) { accept_tunnel_by_hand(c, NULL); }

static const char connect_request[] = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";

TEST(tunnel__connect_2xx__raw_with_the_bytes_that_came_along) {
  for (int way = 0; way < 4; way++) {
    test_note("way %d", way);
    rig_serve(NULL);
    rig.on_read = echo_raw;
    if (way == 0) rig.on_message = accept_tunnel;
    if (way == 1) rig.on_message = accept_tunnel_by_hand;
    if (way == 2) rig.on_headers = accept_tunnel;
    if (way == 3) rig.on_message = wake_myself, rig.on_wakeup = accept_tunnel_later;
    struct peer p = peer_open();
    peer_send(&p, connect_request);
    peer_send(&p, "early");
    struct response r = {0};
    if (RESPONSE_TO_HEAD(&p, &r)) CHECK_INT(r.status, 200);
    CHECK(memmem(p.bytes, p.len, "Content-Length", 14) == NULL);
    CHECK(memmem(p.bytes, p.len, "Connection:", 11) == NULL);
    UNTIL((peer_pump(&p), p.len - p.at == 5));
    CHECK(!(tavi_conn_flags(rig.conn) & TAVI_CONN_HTTP));
    peer_send(&p, "GET / HTTP/1.1\r\n\r\n"); /* means nothing in here */
    UNTIL((peer_pump(&p), p.len - p.at == 5 + 18));
    CHECK_BYTES(p.bytes + p.at, p.len - p.at, "earlyGET / HTTP/1.1\r\n\r\n", 23);
    CHECK_INT(rig.headers, 1);
    peer_close(&p);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.errors, 0);
    rig_stop();
  }
}

static void forbid(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(reply_text(c, 403, "no"), 0);
}

TEST(tunnel__connect_refused__stays_http) {
  rig_serve(NULL);
  struct peer p = peer_open();
  rig.on_message = forbid;
  peer_send(&p, connect_request);
  peer_send(&p, connect_request);
  EXPECT(&p, 403, "no");
  EXPECT(&p, 403, "no");
  CHECK_INT(rig.messages, 2);
  peer_close(&p);
  rig_stop();
}

static void switch_by_reply(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header h[] = {HEADER("Connection", "Upgrade"), HEADER("Upgrade", "echo")};
  CHECK(msg->upgrades);
  CHECK_INT(tavi_http_reply(c, 101, h, 2, NOTHING), 0);
}

static void switch_by_hand(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  static const char head[] = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ";
  CHECK_INT(tavi_conn_send(c, head, sizeof(head) - 1), 0); /* with the first bytes of the new protocol */
}

TEST(tunnel__101__raw) {
  for (int by_hand_too = 0; by_hand_too < 2; by_hand_too++) {
    rig_serve(NULL);
    rig.on_read = echo_raw;
    rig.on_message = by_hand_too ? switch_by_hand : switch_by_reply;
    struct peer p = peer_open();
    peer_send(&p, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nab");
    EXPECT(&p, 101, "");
    size_t greeting = by_hand_too ? 6 : 0;
    UNTIL((peer_pump(&p), p.len - p.at == greeting + 2));
    peer_send(&p, "cd");
    UNTIL((peer_pump(&p), p.len - p.at == greeting + 4));
    CHECK_BYTES(p.bytes + p.at + greeting, p.len - p.at - greeting, "abcd", 4);
    peer_close(&p);
    rig_stop();
  }
}
