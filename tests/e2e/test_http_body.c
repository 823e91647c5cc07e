/* SPDX-License-Identifier: MIT
 *
 * Bodies of requests: collected, in any pieces; limits; Expect; answers that come before the body; streaming to the
 * handler, with back-pressure to the peer. */
#include "e2e/http_rig.h"

#include <strings.h>

#define CHUNKED_HEAD "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_BODY "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\nX-Two: b\r\n\r\n"
#define LENGTH_HEAD "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n"

static char trailers_seen[256];

static void note_trailers(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  size_t at = 0;
  for (size_t i = 0; i < msg->trailer_count && at < 200; i++)
    at += (size_t) snprintf(trailers_seen + at, 100, "%.*s=%.*s;", (int) msg->trailers[i].name.len,
                            msg->trailers[i].name.ptr, (int) msg->trailers[i].value.len, msg->trailers[i].value.ptr);
  trailers_seen[at] = '\0';
  reply_echo(c, msg);
}

/* ==== collected ==== */

TEST(body__whole_or_byte_by_byte__the_same_message) {
  static const char *const requests[] = {LENGTH_HEAD "abcdefg", CHUNKED_HEAD CHUNKED_BODY};
  for (int i = 0; i < 2; i++) {
    rig_serve(NULL);
    rig.on_message = note_trailers;
    struct peer p = peer_open();
    peer_send(&p, requests[i]);
    EXPECT(&p, 200, "POST / abcdefg");
    CHECK(strcmp(trailers_seen, i == 0 ? "" : "X-Sum=7;X-Two=b;") == 0);
    trailers_seen[0] = '\0';
    peer_send_slowly(&p, requests[i], strlen(requests[i]));
    EXPECT(&p, 200, "POST / abcdefg");
    CHECK(strcmp(trailers_seen, i == 0 ? "" : "X-Sum=7;X-Two=b;") == 0);
    CHECK_INT(rig.headers, 2);
    CHECK_INT(rig.messages, 2);
    peer_close(&p);
    rig_stop();
  }
}

static bool streams;

static void stream_all(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_stream_body(c), 0);
}

static char streamed[4096];
static size_t streamed_len;

static void take_all(struct tavi_conn *c) {
  struct tavi_slice in = tavi_conn_peek(c);
  if (rig.headers == rig.messages) return; /* between requests it is the raw request */
  if (streamed_len + in.len < sizeof(streamed)) memcpy(streamed + streamed_len, in.ptr, in.len);
  streamed_len += in.len;
  tavi_conn_consume(c, in.len);
}

/* Three pipelined requests, split at every position; collected, or streamed. */
static void every_split(void) {
  static const char all[] = CHUNKED_HEAD CHUNKED_BODY LENGTH_HEAD "abcdefg" GET("/last");
  rig_serve(NULL);
  rig.on_message = note_trailers;
  if (streams) {
    rig.on_headers = stream_all;
    rig.on_read = take_all;
  }
  struct peer p = peer_open();
  for (size_t split = 1; split < sizeof(all) - 1; split++) {
    unsigned reads = rig.reads;
    streamed_len = 0;
    test_note("split at %zu", split);
    peer_send_bytes(&p, all, split);
    UNTIL(rig.reads > reads);
    peer_send_bytes(&p, all + split, sizeof(all) - 1 - split);
    EXPECT(&p, 200, streams ? "POST / " : "POST / abcdefg");
    EXPECT(&p, 200, streams ? "POST / " : "POST / abcdefg");
    EXPECT(&p, 200, "GET /last ");
    CHECK_INT(rig.messages, 3 * split);
    if (streams) CHECK_BYTES(streamed, streamed_len, "abcdefgabcdefg", 14);
  }
  CHECK_INT(rig.errors, 0);
  peer_close(&p);
  rig_stop();
}

TEST(body__split_at_every_position__collected) {
  streams = false;
  every_split();
}

TEST(body__split_at_every_position__streamed) {
  streams = true;
  every_split();
}

TEST(body__large__arrives_whole) {
  rig_serve(NULL);
  struct peer p = peer_open();
  size_t len = 10 * 1000 * 1000;
  char *body = malloc(len);
  char head[128];
  if (body == NULL) abort();
  for (size_t i = 0; i < len; i++) body[i] = (char) (i * 7 + i / 251);
  snprintf(head, sizeof(head), "PUT /big HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
  for (int i = 0; i < 2; i++) {
    struct response r = {0};
    peer_send(&p, head);
    peer_send_bytes(&p, body, len);
    if (RESPONSE(&p, &r)) CHECK_BYTES(r.body.ptr + 9, r.body.len - 9, body, len);
    response_free(&r);
  }
  free(body);
  UNTIL(tavi_manager_buffered(rig.m) == 0);
  peer_close(&p);
  rig_stop();
}

/* ==== limits ==== */

static void limit(struct tavi_http_opts *opts, size_t body_bytes_max) {
  tavi_http_opts_init(opts);
  opts->body_bytes_max = body_bytes_max;
}

TEST(limit__body_of_exactly_that_size__is_taken) {
  struct tavi_http_opts opts;
  limit(&opts, 7);
  rig_serve(&opts);
  struct peer p = peer_open();
  peer_send(&p, LENGTH_HEAD "abcdefg" CHUNKED_HEAD CHUNKED_BODY);
  EXPECT(&p, 200, "POST / abcdefg");
  EXPECT(&p, 200, "POST / abcdefg");
  peer_send_slowly(&p, CHUNKED_HEAD CHUNKED_BODY, sizeof(CHUNKED_HEAD CHUNKED_BODY) - 1);
  EXPECT(&p, 200, "POST / abcdefg");
  peer_close(&p);
  rig_stop();
}

TEST(limit__one_byte_more__413_by_the_declared_length) {
  struct tavi_http_opts opts;
  limit(&opts, 6);
  rig_serve(&opts);
  struct peer p = peer_open();
  peer_send(&p, LENGTH_HEAD);
  EXPECT(&p, 413, "413 Content Too Large\n");
  EXPECT_END(&p);
  CHECK_INT(rig.messages, 0);
  CHECK_INT(rig.errors, 0);
  CHECK(rig.reads >= 1);
  peer_close(&p);
  UNTIL(rig.closed == 1);
  rig_stop();
}

TEST(limit__one_byte_more__413_by_the_growth_of_chunks) {
  struct tavi_http_opts opts;
  limit(&opts, 6);
  for (int slowly = 0; slowly < 2; slowly++) {
    rig_serve(&opts);
    struct peer p = peer_open();
    test_note("slowly %d", slowly);
    if (slowly)
      peer_send_slowly(&p, CHUNKED_HEAD CHUNKED_BODY, sizeof(CHUNKED_HEAD CHUNKED_BODY) - 1);
    else
      peer_send(&p, CHUNKED_HEAD CHUNKED_BODY);
    EXPECT(&p, 413, "413 Content Too Large\n");
    EXPECT_END(&p);
    CHECK_INT(rig.messages, 0);
    CHECK_INT(rig.headers, 1);
    peer_close(&p);
    rig_stop();
  }
}

TEST(limit__does_not_bind_who_streams) {
  struct tavi_http_opts opts;
  limit(&opts, 2);
  rig_serve(&opts);
  rig.on_headers = stream_all;
  rig.on_read = take_all;
  struct peer p = peer_open();
  streamed_len = 0;
  peer_send(&p, LENGTH_HEAD "abcdefg" CHUNKED_HEAD CHUNKED_BODY);
  EXPECT(&p, 200, "POST / ");
  EXPECT(&p, 200, "POST / ");
  CHECK_BYTES(streamed, streamed_len, "abcdefgabcdefg", 14);
  peer_close(&p);
  rig_stop();
}

TEST(limit__413_while_the_peer_goes_on_sending__it_can_read_the_answer) {
  rig_serve(NULL);
  struct peer p = peer_open();
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
  static char junk[1 << 16];
  size_t sent = 0;
  for (ssize_t n = 0; sent < 100000000 && n >= 0; sent += n > 0 ? (size_t) n : 0) { /* until it is cut off */
    n = peer_try_send(&p, junk, sizeof(junk));
    if (n == 0) tavi_manager_poll(rig.m, 1);
  }
  CHECK(sent < 60000000); /* TAVI__LINGER_BYTES and what the system holds */
  EXPECT(&p, 413, "413 Content Too Large\n");
  CHECK_INT(rig.messages, 0);
  peer_close(&p);
  rig_stop();
}

TEST(bad_chunks__400_and_no_message) {
  static const char *const bad[] = {"x\r\n",          "3\nabc\r\n",    "3\r\nabcd\r\n", " 3\r\nabc\r\n", "-1\r\n",
                                    "0x3\r\nabc\r\n", "3\r\nabc\n0\r\n", "\r\n",         "3 \r\nabc\r\n",
                                    "0\r\nContent-Length: 3\r\n\r\n", "0\r\nHost: y\r\n\r\n", "0\r\nno colon\r\n\r\n",
                                    "fffffffffffffffff\r\n"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    for (int slowly = 0; slowly < 2; slowly++) {
      test_note("%s", bad[i]);
      rig_serve(NULL);
      struct peer p = peer_open();
      peer_send(&p, CHUNKED_HEAD);
      if (slowly)
        peer_send_slowly(&p, bad[i], strlen(bad[i]));
      else
        peer_send(&p, bad[i]);
      EXPECT(&p, 400, "400 Bad Request\n");
      EXPECT_END(&p);
      CHECK_INT(rig.messages, 0);
      CHECK_INT(rig.errors, 0);
      peer_close(&p);
      rig_stop();
    }
  }
}

TEST(bad_chunks__trailer_section_too_long__431) {
  rig_serve(NULL);
  struct peer p = peer_open();
  char *line = repeat("X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 200, NULL);
  peer_send(&p, CHUNKED_HEAD "0\r\n");
  peer_send(&p, line);
  free(line);
  EXPECT(&p, 431, "431 Request Header Fields Too Large\n");
  peer_close(&p);
  rig_stop();
}

/* ==== Expect ==== */

#define EXPECT_HEAD "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n"

TEST(expect__body_is_wanted__100_then_the_answer) {
  rig_serve(NULL);
  struct peer p = peer_open();
  for (int i = 0; i < 2; i++) {
    peer_send(&p, EXPECT_HEAD);
    EXPECT(&p, 100, "");
    CHECK_INT(p.len - p.at, 0);
    peer_send(&p, "abcdefg");
    EXPECT(&p, 200, "POST / abcdefg");
  }
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n");
  EXPECT(&p, 100, "");
  peer_send(&p, CHUNKED_BODY);
  EXPECT(&p, 200, "POST / abcdefg");
  peer_close(&p);
  rig_stop();
}

TEST(expect__body_is_there_already_or_none__no_100) {
  rig_serve(NULL);
  struct peer p = peer_open();
  peer_send(&p, EXPECT_HEAD "abcdefg");
  EXPECT(&p, 200, "POST / abcdefg");
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
  EXPECT(&p, 200, "POST / ");
  peer_send(&p, "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n");
  EXPECT(&p, 200, "GET / ");
  peer_send(&p, "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
  rig_settle();
  peer_pump(&p);
  CHECK_INT(p.len - p.at, 0); /* HTTP/1.0 knows no 100 */
  peer_send(&p, "z");
  EXPECT(&p, 200, "POST / z");
  CHECK(memmem(p.bytes, p.len, "100 Continue", 12) == NULL);
  peer_close(&p);
  rig_stop();
}

static void deny(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(reply_text(c, 401, "who are you?"), 0);
}

TEST(expect__answered_in_on_headers__no_100_and_closed) {
  rig_serve(NULL);
  rig.on_headers = deny;
  struct peer p = peer_open();
  peer_send(&p, EXPECT_HEAD);
  EXPECT(&p, 401, "who are you?");
  EXPECT_END(&p); /* the body may never come */
  CHECK_INT(rig.messages, 0);
  CHECK(memmem(p.bytes, p.len, "100 Continue", 12) == NULL);
  CHECK(memmem(p.bytes, p.len, "Connection: close\r\n", 19) != NULL);
  peer_close(&p);
  rig_stop();
}

static void say_continue(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
  if (msg->target.len > 1)
    CHECK_INT(tavi_conn_send(c, interim, sizeof(interim) - 1), 0);
  else
    CHECK_INT(tavi_http_reply(c, 100, NULL, 0, NOTHING), 0);
}

TEST(expect__the_handler_says_100_itself__only_once) {
  rig_serve(NULL);
  rig.on_headers = say_continue;
  struct peer p = peer_open();
  peer_send(&p, EXPECT_HEAD);
  EXPECT(&p, 100, "");
  peer_send(&p, "abcdefg");
  EXPECT(&p, 200, "POST / abcdefg");
  peer_send(&p, "POST /hand HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n");
  EXPECT(&p, 100, "");
  peer_send(&p, "abcdefg");
  EXPECT(&p, 200, "POST /hand abcdefg");
  peer_close(&p);
  rig_stop();
}

TEST(expect__something_else__417) {
  rig_serve(NULL);
  struct peer p = peer_open();
  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: wonders\r\n\r\n");
  EXPECT(&p, 417, "417 Expectation Failed\n");
  EXPECT_END(&p);
  CHECK_INT(rig.headers, 0);
  peer_close(&p);
  rig_stop();
}

/* ==== answered before the body ==== */

TEST(early_answer__small_rest__dropped_and_kept_alive) {
  rig_serve(NULL);
  rig.on_headers = deny;
  struct peer p = peer_open();
  static char body[200000];
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
  EXPECT(&p, 401, "who are you?");
  peer_send_bytes(&p, body, sizeof(body) / 2);
  rig_settle();
  peer_send_bytes(&p, body, sizeof(body) / 2);
  peer_send(&p, LENGTH_HEAD "abcdefg" GET("/"));
  EXPECT(&p, 401, "who are you?");
  EXPECT(&p, 401, "who are you?");
  CHECK_INT(rig.headers, 3);
  CHECK_INT(rig.messages, 0);
  CHECK_INT(rig.opened, 1);
  peer_close(&p);
  rig_stop();
}

TEST(early_answer__big_rest__closed_and_readable) {
  rig_serve(NULL);
  rig.on_headers = deny;
  struct peer p = peer_open();
  static char body[900000];
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n");
  for (size_t at = 0; at < sizeof(body); at += 100000) { /* all of it, without looking */
    peer_send_bytes(&p, body + at, 100000);
    tavi_manager_poll(rig.m, 0);
  }
  EXPECT(&p, 401, "who are you?");
  EXPECT_END(&p); /* the end, no reset */
  CHECK(memmem(p.bytes, p.len, "Connection: close\r\n", 19) != NULL);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  peer_close(&p);
  UNTIL(rig.closed == 1);
  rig_stop();
}

TEST(early_answer__chunks_still_to_come__closed) {
  rig_serve(NULL);
  rig.on_headers = deny;
  struct peer p = peer_open();
  peer_send(&p, CHUNKED_HEAD "3\r\nabc\r\n");
  EXPECT(&p, 401, "who are you?");
  peer_send(&p, "0\r\n\r\n" GET("/"));
  EXPECT_END(&p);
  CHECK_INT(rig.headers, 1);
  peer_close(&p);
  rig_stop();
}

TEST(early_answer__chunks_complete__kept_alive) {
  rig_serve(NULL);
  rig.on_headers = deny;
  struct peer p = peer_open();
  peer_send(&p, CHUNKED_HEAD CHUNKED_BODY GET("/"));
  EXPECT(&p, 401, "who are you?");
  EXPECT(&p, 401, "who are you?");
  peer_close(&p);
  rig_stop();
}

static void deny_by_hand(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static const char text[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
  (void) msg;
  CHECK_INT(tavi_conn_send(c, text, sizeof(text) - 1), 0);
}

TEST(early_answer__by_hand__the_same_rules) {
  rig_serve(NULL);
  rig.on_headers = deny_by_hand;
  struct peer p = peer_open();
  peer_send(&p, LENGTH_HEAD);
  EXPECT(&p, 401, "no");
  peer_send(&p, "abcdefg" CHUNKED_HEAD "3\r\nabc\r\n");
  EXPECT(&p, 401, "no");
  peer_send(&p, "0\r\n\r\n" GET("/"));
  EXPECT_END(&p); /* nobody looks for the end of those chunks */
  CHECK_INT(rig.headers, 2);
  peer_close(&p);
  rig_stop();
}

static void wake_myself(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_manager_wakeup(rig.m, tavi_conn_id(c), "x", 1), 0);
}

static void answer_wakeup(struct tavi_conn *c) { CHECK_INT(reply_text(c, 200, "woken"), 0); }

TEST(early_answer__from_another_event_while_the_body_arrives__no_message) {
  rig_serve(NULL);
  rig.on_headers = wake_myself;
  rig.on_wakeup = answer_wakeup;
  struct peer p = peer_open();
  for (int i = 0; i < 3; i++) {
    peer_send(&p, LENGTH_HEAD "abc");
    EXPECT(&p, 200, "woken");
    peer_send(&p, "defg");
  }
  rig_settle();
  CHECK_INT(rig.messages, 0);
  CHECK_INT(rig.headers, 3);
  CHECK_INT(rig.opened, 1);
  peer_send(&p, CHUNKED_HEAD "3\r\nabc\r\n");
  EXPECT(&p, 200, "woken");
  EXPECT_END(&p);
  CHECK_INT(rig.messages, 0);
  peer_close(&p);
  rig_stop();
}

/* An answer that takes its time is not cut off by the body's time-out, whatever becomes of the body. */
static void begin_slow_answer(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM), 0);
  CHECK_INT(tavi_http_chunk(c, "a", 1), 0);
}

TEST(early_answer__stream_longer_than_the_body_time_out__not_cut) {
  static const char *const requests[] = {CHUNKED_HEAD "3\r\nabc\r\n", LENGTH_HEAD "abc"};
  for (int i = 0; i < 2; i++) {
    struct tavi_http_opts opts;
    tavi_http_opts_init(&opts);
    opts.body_timeout_ms = 30;
    rig_serve(&opts);
    rig.on_headers = begin_slow_answer;
    struct peer p = peer_open();
    peer_send(&p, requests[i]);
    UNTIL(rig.headers == 1);
    uint64_t end = rig_now_ms() + 150;
    UNTIL(rig_now_ms() > end);
    CHECK_INT(tavi_http_chunk(rig.conn, "b", 1), 0);
    CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
    EXPECT(&p, 200, "ab");
    peer_close(&p);
    UNTIL(rig.closed == 1);
    rig_stop();
  }
}

/* ==== streamed ==== */

static void reply_count(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  char text[64];
  CHECK_INT(msg->body.len, 0);
  snprintf(text, sizeof(text), "%zu bytes", streamed_len);
  CHECK_INT(reply_text(c, 200, text), 0);
}

TEST(stream__consumed_in_small_pieces__end_is_told_after_the_last) {
  rig_serve(NULL);
  rig.on_headers = stream_all;
  rig.on_message = reply_count;
  struct peer p = peer_open();
  streamed_len = 0;
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789" GET("/behind"));
  UNTIL(rig.reads == 1);
  for (int i = 0; i < 10; i++) {
    CHECK_INT(rig.messages, 0);
    struct tavi_slice in = tavi_conn_peek(rig.conn);
    CHECK_INT(in.len, 10 - i);
    CHECK(in.len > 0 && in.ptr[0] == '0' + i);
    tavi_conn_consume(rig.conn, 1);
    streamed_len++;
    tavi_manager_poll(rig.m, 0);
  }
  EXPECT(&p, 200, "10 bytes");
  EXPECT(&p, 200, "10 bytes"); /* the one behind it */
  peer_close(&p);
  rig_stop();
}

TEST(stream__no_body_or_an_empty_one__message_comes) {
  rig_serve(NULL);
  rig.on_headers = stream_all;
  struct peer p = peer_open();
  peer_send(&p, GET("/") "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" CHUNKED_HEAD "0\r\n\r\n");
  EXPECT(&p, 200, "GET / ");
  EXPECT(&p, 200, "POST / ");
  EXPECT(&p, 200, "POST / ");
  CHECK_INT(tavi_http_stream_body(rig.conn), TAVI_E_STATE);
  peer_close(&p);
  rig_stop();
}

static void stream_and_break(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  stream_all(c, msg);
  tavi_manager_break(rig.m);
}

static void stream_and_pause(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  stream_all(c, msg);
  tavi_conn_pause(c);
}

TEST(stream__no_body_and_the_turn_broken__message_is_not_lost) {
  rig_serve(NULL);
  rig.on_headers = stream_and_break;
  struct peer p = peer_open();
  peer_send(&p, GET("/"));
  EXPECT(&p, 200, "GET / ");
  peer_close(&p);
  rig_stop();
}

TEST(stream__paused_where_the_body_ends__message_is_not_lost) {
  static const char *const requests[] = {GET("/"), LENGTH_HEAD "abcdefg", CHUNKED_HEAD CHUNKED_BODY};
  for (int i = 0; i < 3; i++) {
    test_note("request %d", i);
    rig_serve(NULL);
    rig.on_headers = stream_and_pause;
    rig.on_read = take_all;
    struct peer p = peer_open();
    streamed_len = 0;
    peer_send(&p, requests[i]);
    UNTIL(rig.headers == 1);
    rig_settle();
    tavi_conn_resume(rig.conn);
    EXPECT(&p, 200, i == 0 ? "GET / " : "POST / ");
    CHECK_INT(streamed_len, i == 0 ? 0 : 7);
    peer_close(&p);
    rig_stop();
  }
}

TEST(stream__handler_that_never_consumes__peer_is_held_back) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.recv_bytes_max = 100000;
  opts.body_timeout_ms = 50; /* it is not the peer who is slow */
  for (int chunked = 0; chunked < 2; chunked++) {
    rig_serve(&opts);
    rig.on_headers = stream_all;
    rig.on_message = reply_count;
    struct peer p = peer_open();
    const size_t total = 40 * 1000 * 1000, chunk = 10006;
    peer_send(&p, chunked ? CHUNKED_HEAD : "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n");
    char *piece = repeat("z", chunk, NULL);
    if (chunked) {
      memcpy(piece, "270e\r\n", 6);
      memcpy(piece + chunk - 2, "\r\n", 2);
    }
    size_t all = chunked ? total / 9998 * chunk : total, wanted = chunked ? total / 9998 * 9998 : total;
    size_t sent = 0, held = 0;
    streamed_len = 0;
    int quiet = 0;
    while (sent < all && quiet < 100) { /* until nothing is taken any more */
      size_t at = sent % chunk, n = all - sent < chunk - at ? all - sent : chunk - at;
      ssize_t went = peer_try_send(&p, piece + at, n);
      if (went < 0) break;
      sent += (size_t) went;
      quiet = went > 0 ? 0 : quiet + 1;
      if (went == 0) tavi_manager_poll(rig.m, 1);
    }
    CHECK(sent < 30 * 1000 * 1000);
    CHECK(tavi_conn_peek(rig.conn).len >= 100000);
    CHECK(tavi_manager_buffered(rig.m) < 600000);
    CHECK_INT(rig.closed, 0);
    while (sent < all || streamed_len < wanted) { /* now it consumes, a little at a time */
      size_t at = sent % chunk, n = all - sent < chunk - at ? all - sent : chunk - at;
      ssize_t went = n == 0 ? 0 : peer_try_send(&p, piece + at, n);
      if (went < 0 || rig.conn == NULL) break;
      sent += (size_t) went;
      struct tavi_slice in = tavi_conn_peek(rig.conn);
      size_t take = in.len > 30000 ? 30000 : in.len;
      tavi_conn_consume(rig.conn, take);
      streamed_len += take;
      if (tavi_manager_buffered(rig.m) > held) held = tavi_manager_buffered(rig.m);
      tavi_manager_poll(rig.m, 0);
      if (rig.messages > 0) break;
    }
    CHECK(held < 600000);
    if (chunked) peer_send(&p, "0\r\n\r\n");
    EXPECT(&p, 200, chunked ? "39992000 bytes" : "40000000 bytes");
    free(piece);
    peer_close(&p);
    rig_stop();
  }
}

TEST(stream__not_consumed__what_is_pipelined_behind_it_is_held_back) {
  size_t len, sent = 0, held_max = 0;
  char *more = repeat(GET("/more"), 1000000, &len);
  rig_serve(NULL);
  rig.on_headers = stream_all;
  struct peer p = peer_open();
  peer_send(&p, LENGTH_HEAD "abcdefg");
  UNTIL(rig.headers == 1);
  for (int quiet = 0; quiet < 20 && sent < len;) {
    ssize_t n = peer_try_send(&p, more + sent, len - sent);
    sent += n > 0 ? (size_t) n : 0;
    quiet = tavi_manager_poll(rig.m, 1) == 0 && n <= 0 ? quiet + 1 : 0;
    if (tavi_manager_buffered(rig.m) > held_max) held_max = tavi_manager_buffered(rig.m);
  }
  CHECK(sent < len);
  CHECK(held_max < 6 << 20);
  rig.on_headers = NULL;
  tavi_conn_consume(rig.conn, 3);
  tavi_conn_consume(rig.conn, 4);
  EXPECT(&p, 200, "POST / ");
  EXPECT(&p, 200, "GET /more ");
  peer_close(&p);
  rig_stop();
  free(more);
}

TEST(stream__small_recv_bytes_max_and_a_pipeline_behind__goes_on) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.recv_bytes_max = 4;
  rig_serve(&opts);
  rig.on_headers = stream_all;
  rig.on_read = take_all;
  struct peer p = peer_open();
  for (int i = 0; i < 3; i++) {
    peer_send(&p, LENGTH_HEAD "abcdefg" "GET /part HTTP/1.1\r\nHo"); /* the half of a head is more than the maximum */
    EXPECT(&p, 200, "POST / ");
    rig_settle();
    peer_send(&p, "st: x\r\n\r\n");
    EXPECT(&p, 200, "GET /part ");
  }
  peer_close(&p);
  rig_stop();
}

TEST(stream__300_mb_upload__memory_stays_small) {
  rig_serve(NULL);
  rig.on_headers = stream_all;
  rig.on_read = take_all;
  rig.on_message = reply_count;
  struct peer p = peer_open();
  const size_t total = 300 * 1000 * 1000;
  static char block[1 << 18];
  size_t sent = 0, held = 0;
  streamed_len = 0;
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n");
  while (sent < total) {
    ssize_t n = peer_try_send(&p, block, total - sent < sizeof(block) ? total - sent : sizeof(block));
    if (!CHECK(n >= 0)) break;
    sent += (size_t) n;
    tavi_manager_poll(rig.m, n == 0 ? 1 : 0);
    if (tavi_manager_buffered(rig.m) > held) held = tavi_manager_buffered(rig.m);
  }
  EXPECT(&p, 200, "300000000 bytes");
  CHECK(held < 1 << 20);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  peer_close(&p);
  rig_stop();
}

static void stream_and_deny(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  stream_all(c, msg);
  CHECK_INT(reply_text(c, 403, "no"), 0);
}

TEST(stream__answered_early__the_rest_still_goes_to_the_handler) {
  rig_serve(NULL);
  rig.on_headers = stream_and_deny;
  rig.on_read = take_all;
  struct peer p = peer_open();
  streamed_len = 0;
  peer_send(&p, LENGTH_HEAD "abc");
  EXPECT(&p, 403, "no");
  peer_send(&p, "defg");
  UNTIL(rig.messages == 1);
  CHECK_INT(streamed_len, 7);
  rig.on_headers = NULL;
  peer_send(&p, GET("/next"));
  EXPECT(&p, 200, "GET /next ");
  peer_close(&p);
  rig_stop();
}

static void stream_and_close(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header h = HEADER("Connection", "close");
  stream_all(c, msg);
  CHECK_INT(tavi_http_reply(c, 403, &h, 1, SLICE("no")), 0);
}

TEST(stream__answered_early_with_close__readable) {
  rig_serve(NULL);
  rig.on_headers = stream_and_close;
  struct peer p = peer_open();
  static char body[500000];
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
  peer_send_bytes(&p, body, sizeof(body));
  EXPECT(&p, 403, "no");
  EXPECT_END(&p);
  CHECK_INT(rig.messages, 0);
  peer_close(&p);
  rig_stop();
}

static void refuse_411(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (msg->framing != TAVI_HTTP_LENGTH) CHECK_INT(tavi_http_refuse(c, 411), 0);
}

TEST(refuse__411_where_a_length_is_demanded) {
  rig_serve(NULL);
  rig.on_headers = refuse_411;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, LENGTH_HEAD "abcdefg");
  EXPECT(&p, 200, "POST / abcdefg");
  peer_send(&p, CHUNKED_HEAD "3\r\nabc\r\n");
  if (RESPONSE(&p, &r)) {
    CHECK_INT(r.status, 411);
    CHECK(header_is(&r, "Connection", "close"));
    CHECK(header_is(&r, "Content-Type", "text/plain; charset=utf-8"));
    CHECK_STR(r.body, "411 Length Required\n");
  }
  EXPECT_END(&p);
  CHECK_INT(rig.errors, 0);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* A handler that sends back what it reads, while it reads it. */
static void begin_echo(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  stream_all(c, msg);
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM), 0);
}

static void echo_piece(struct tavi_conn *c) {
  struct tavi_slice in = tavi_conn_peek(c);
  if (in.len == 0 || rig.headers == rig.messages) return;
  CHECK_INT(tavi_http_chunk(c, in.ptr, in.len), 0);
  tavi_conn_consume(c, in.len);
}

static void end_echo(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_end(c, NULL, 0), 0);
}

TEST(stream__echo_to_a_peer_that_reads_late__both_ways_held_back) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.body_timeout_ms = 400; /* while the answer is not taken nothing is read: that is not the peer's delay */
  rig_serve(&opts);
  rig.on_headers = begin_echo;
  rig.on_read = echo_piece;
  rig.on_message = end_echo;
  struct peer p = peer_open_with(8192);
  static char block[60000];
  const size_t total = 20 * 1000 * 1000;
  size_t sent = 0;
  int quiet = 0;
  memset(block, 'e', sizeof(block));
  peer_send(&p, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n");
  while (sent < total && quiet < 500) {
    ssize_t n = peer_try_send(&p, block, total - sent < sizeof(block) ? total - sent : sizeof(block));
    if (!CHECK(n >= 0)) break;
    sent += (size_t) n;
    quiet = n > 0 ? 0 : quiet + 1;
    tavi_manager_poll(rig.m, n == 0 ? 1 : 0);
  }
  CHECK(sent < total);
  CHECK(tavi_manager_buffered(rig.m) < 3 << 20);
  while (sent < total) {
    size_t n = total - sent < sizeof(block) ? total - sent : sizeof(block);
    if (!CHECK(peer_send_bytes(&p, block, n))) break;
    sent += n;
  }
  struct response r = {0};
  if (RESPONSE(&p, &r)) CHECK_INT(r.body.len, total);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}
