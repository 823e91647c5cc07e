/* SPDX-License-Identifier: MIT
 *
 * Handlers that close, drain and pause wherever they can, connections by the thousand, and what is left afterwards. */
#include "e2e/http_rig.h"

#include <dirent.h>
#include <strings.h>

#define POST(body_len, body) "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " body_len "\r\n\r\n" body

/* ==== closing ==== */

static void close_now(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_conn_close(c);
  tavi_conn_close(c);
}

static void reply_and_close(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  reply_echo(c, msg);
  tavi_conn_close(c);
}

static void reply_and_drain(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  reply_echo(c, msg);
  tavi_conn_drain(c);
}

static void fail_now(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_conn_fail(c, "no more");
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

static const char *const requests[] = {GET("/"), POST("3", "abc"), POST("3", "a"), GET("/") GET("/"),
                                       CHUNKED "3\r\nabc\r\n0\r\n\r\n", CHUNKED "3\r\nab"};

enum { REQUESTS = sizeof(requests) / sizeof(requests[0]) };

/* Every request, in either callback: one close, and nothing after it. */
static void closes_in(void (*what)(struct tavi_conn *, const struct tavi_http_msg *), bool in_headers, int errors) {
  for (int i = 0; i < REQUESTS; i++) {
    bool is_whole = i != 2 && i != 5;
    if (!is_whole && !in_headers) continue;
    test_note("request %d, %s", i, in_headers ? "on_headers" : "on_message");
    rig_serve(NULL);
    if (in_headers)
      rig.on_headers = what;
    else
      rig.on_message = what;
    struct peer p = peer_open();
    peer_send(&p, requests[i]);
    UNTIL(peer_pump(&p));
    peer_close(&p);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.errors, errors);
    CHECK_INT(rig.headers, 1);
    CHECK(rig.messages <= 1);
    CHECK_INT(tavi_manager_buffered(rig.m), 0);
    rig_stop();
  }
}

TEST(handler__closes__nothing_is_called_afterwards) {
  closes_in(close_now, true, 0);
  closes_in(close_now, false, 0);
  closes_in(reply_and_close, true, 0);
  closes_in(reply_and_close, false, 0);
}

TEST(handler__fails__one_error_one_close) {
  closes_in(fail_now, true, 1);
  closes_in(fail_now, false, 1);
}

TEST(handler__replies_and_drains__answer_arrives) {
  for (int in_headers = 0; in_headers < 2; in_headers++) {
    for (int i = 0; i < REQUESTS; i++) {
      if (!in_headers && (i == 2 || i == 5)) continue;
      test_note("request %d, %s", i, in_headers ? "on_headers" : "on_message");
      rig_serve(NULL);
      if (in_headers)
        rig.on_headers = reply_and_drain;
      else
        rig.on_message = reply_and_drain;
      struct peer p = peer_open();
      struct response r = {0};
      peer_send(&p, requests[i]);
      if (RESPONSE(&p, &r)) CHECK_INT(r.status, 200);
      EXPECT_END(&p);
      CHECK_INT(rig.headers, 1);
      response_free(&r);
      peer_close(&p);
      rig_stop();
    }
  }
}

static void drain_only(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  tavi_conn_drain(c);
  CHECK(!tavi_http_is_waiting(c));
  CHECK_INT(reply_text(c, 200, "x"), TAVI_E_CLOSED);
}

TEST(handler__drains_without_an_answer__closed) {
  closes_in(drain_only, true, 0);
  closes_in(drain_only, false, 0);
}

static struct tavi_conn *victim;

static void close_the_other(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (victim == NULL) {
    victim = c;
    return;
  }
  tavi_conn_close(victim);
  CHECK_INT(reply_text(victim, 200, "x"), TAVI_E_CLOSED);
  reply_echo(c, msg);
}

TEST(handler__closes_another_that_is_ready_in_the_same_turn) {
  for (int i = 0; i < 20; i++) {
    rig_serve(NULL);
    rig.on_message = close_the_other;
    victim = NULL;
    struct peer a = peer_open(), b = peer_open();
    UNTIL(rig.opened == 2);
    peer_send(&a, GET("/a"));
    peer_send(&b, GET("/b"));
    UNTIL(rig.messages == 2);
    UNTIL(rig.closed == 1);
    struct peer *lives = rig.targets[1] == 'a' ? &b : &a, *dies = lives == &a ? &b : &a;
    EXPECT(lives, 200, lives == &a ? "GET /a " : "GET /b ");
    UNTIL(peer_pump(dies));
    CHECK_INT(dies->len, 0);
    peer_close(&a);
    peer_close(&b);
    rig_stop();
  }
}

static void close_in_read(struct tavi_conn *c) { tavi_conn_close(c); }

TEST(handler__closes_in_on_read_and_low_water) {
  rig_serve(NULL);
  rig.on_read = close_in_read;
  struct peer p = peer_open();
  peer_send(&p, GET("/"));
  UNTIL(rig.closed == 1);
  peer_close(&p);
  rig_stop();
}

static void reply_4m(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static char body[4 << 20];
  (void) msg;
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){body, sizeof(body)}), 0);
}

TEST(handler__closes_in_on_low_water) {
  rig_serve(NULL);
  rig.on_message = reply_4m;
  rig.on_low_water = close_in_read;
  struct peer p = peer_open();
  peer_send(&p, GET("/") GET("/"));
  UNTIL(peer_pump(&p));
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.messages, 1);
  peer_close(&p);
  rig_stop();
}

/* ==== pausing ==== */

static void pause_and_reply(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  reply_echo(c, msg);
  tavi_conn_pause(c);
}

TEST(handler__pauses__next_requests_wait_for_resume) {
  rig_serve(NULL);
  rig.on_message = pause_and_reply;
  struct peer p = peer_open();
  peer_send(&p, GET("/1") GET("/2") GET("/3"));
  for (unsigned i = 1; i <= 3; i++) {
    char wanted[16];
    snprintf(wanted, sizeof(wanted), "GET /%u ", i);
    EXPECT(&p, 200, wanted);
    rig_settle();
    CHECK_INT(rig.messages, i);
    tavi_conn_resume(rig.conn);
    tavi_conn_resume(rig.conn);
  }
  peer_send(&p, GET("/4"));
  EXPECT(&p, 200, "GET /4 ");
  peer_close(&p);
  rig_stop(); /* while it is paused */
}

TEST(handler__pauses_and_the_peer_leaves__closed_after_resume_or_at_once) {
  for (int by_reset = 0; by_reset < 2; by_reset++) {
    rig_serve(NULL);
    rig.on_message = pause_and_reply;
    struct peer p = peer_open();
    peer_send(&p, GET("/"));
    EXPECT(&p, 200, "GET / ");
    if (by_reset)
      peer_reset(&p);
    else
      peer_close(&p);
    rig_settle();
    if (rig.conn != NULL) tavi_conn_resume(rig.conn);
    UNTIL(rig.closed == 1);
    rig_stop();
  }
}

/* ==== many ==== */

static unsigned descriptors(void) {
  unsigned count = 0;
  DIR *dir = opendir("/proc/self/fd");
  if (dir == NULL) return 0;
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

TEST(many__2000_connections__descriptors_and_memory_are_back) {
  rig_serve(NULL);
  enum { AT_ONCE = 50, ROUNDS = 40 };
  unsigned before = descriptors();
  for (int round = 0; round < ROUNDS; round++) {
    struct peer p[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
      p[i] = peer_open();
      peer_send(&p[i], i % 3 == 0 ? POST("3", "abc") : i % 3 == 1 ? GET("/") : GET("/") "bad\r\n\r\n");
    }
    for (int i = 0; i < AT_ONCE; i++) {
      EXPECT(&p[i], 200, i % 3 == 0 ? "POST / abc" : "GET / ");
      if (i % 3 == 2) EXPECT(&p[i], 400, "400 Bad Request\n");
    }
    for (int i = 0; i < AT_ONCE; i++) {
      if (i % 5 == 0)
        peer_reset(&p[i]);
      else
        peer_close(&p[i]);
    }
  }
  CHECK_INT(rig.opened, AT_ONCE * ROUNDS);
  UNTIL(rig.closed == AT_ONCE * ROUNDS);
  CHECK_INT(descriptors(), before);
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  CHECK_INT(tavi_manager_ids(rig.m, NULL, 0), 1); /* the listener */
  CHECK_INT(rig.errors, 0);
  rig_stop();
}

TEST(many__listener_closed__connections_live_on) {
  rig_serve(NULL);
  struct peer p = peer_open();
  uint64_t ids[2];
  peer_send(&p, GET("/"));
  EXPECT(&p, 200, "GET / ");
  CHECK_INT(tavi_manager_ids(rig.m, ids, 2), 2);
  tavi_listener_close(tavi_manager_listener(rig.m, ids[0]));
  rig_settle();
  peer_send(&p, GET("/still"));
  EXPECT(&p, 200, "GET /still ");
  peer_close(&p);
  rig_stop();
}

TEST(many__manager_freed_in_the_middle_of_everything) {
  rig_serve(NULL);
  rig.on_message = reply_4m;
  struct peer p[REQUESTS];
  for (int i = 0; i < REQUESTS; i++) {
    p[i] = peer_open_with(4096);
    peer_send(&p[i], requests[i]);
  }
  UNTIL(rig.opened == REQUESTS);
  rig_stop(); /* checks that each has closed once */
  for (int i = 0; i < REQUESTS; i++) peer_close(&p[i]);
}
