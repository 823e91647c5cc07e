/* SPDX-License-Identifier: MIT
 *
 * Event streams and channels: what a reader of each kind of stream gets, who leaves a channel and when, and what
 * becomes of those who read slowly or not at all. */
#include "failmalloc.h"

#include <limits.h>
#include <strings.h>
#include <sys/resource.h>

#include "decode.h"
#include "e2e/http_rig.h"

#define HEAD_REQUEST "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_10 "GET / HTTP/1.0\r\n\r\n"
#define GET_GZIP "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"

enum { PEERS_MAX = 1000 };

static struct tavi_sse_channel *channel, *other;

static struct tavi_sse_event data_event(const char *data, size_t len) {
  struct tavi_sse_event ev;
  tavi_sse_event_init(&ev);
  ev.data = (struct tavi_slice){data, len};
  return ev;
}

static int64_t publish(struct tavi_sse_channel *ch, const char *text) {
  struct tavi_sse_event ev = data_event(text, strlen(text));
  return tavi_sse_publish(ch, &ev);
}

static int send_event(struct tavi_conn *c, const char *text) {
  struct tavi_sse_event ev = data_event(text, strlen(text));
  return tavi_sse_send(c, &ev);
}

/* ==== what a peer has got ==== */

/* The body so far, of a stream that is chunked or not; NULL when it is wrong. Free it. */
static char *body_so_far(struct peer *p, size_t *ret_len) {
  peer_pump(p);
  *ret_len = 0;
  const char *start = p->bytes + p->at, *end = p->bytes + p->len;
  const char *head_end = p->len == p->at ? NULL : memmem(start, p->len - p->at, "\r\n\r\n", 4);
  char *out = calloc(1, p->len - p->at + 1);
  if (out == NULL) abort();
  if (head_end == NULL) return out;

  struct response r = {.head = {start, (size_t) (head_end + 4 - start)}};
  const char *at = head_end + 4;
  if (!header_is(&r, "Transfer-Encoding", "chunked")) {
    *ret_len = (size_t) (end - at);
    memcpy(out, at, *ret_len);
    return out;
  }
  for (;;) {
    const char *nl = at == end ? NULL : memchr(at, '\n', (size_t) (end - at));
    char *digits_end;
    if (nl == NULL) return out;
    unsigned long long size = strtoull(at, &digits_end, 16);
    if (digits_end == at || digits_end[0] != '\r' || digits_end + 1 != nl) break;
    if (size == 0 || (size_t) (end - nl - 1) < size + 2) return out;
    if (memcmp(nl + 1 + size, "\r\n", 2) != 0) break;
    memcpy(out + *ret_len, nl + 1, size);
    *ret_len += size;
    at = nl + 1 + size + 2;
  }
  free(out);
  return NULL;
}

static bool has_body(struct peer *p, const char *wanted) {
  size_t len;
  char *body = body_so_far(p, &len);
  bool is_it = body != NULL && len == strlen(wanted) && memcmp(body, wanted, len) == 0;
  free(body);
  return is_it;
}

/* It has got exactly this, and nothing else comes. */
#define EXPECT_BODY(p, wanted)                      \
  do {                                              \
    UNTIL(has_body((p), (wanted)));                 \
    rig_settle();                                   \
    CHECK(has_body((p), (wanted)));                 \
  } while (0)

/* ==== handlers ==== */

static void begin_stream(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_sse_begin(c, NULL, 0), 0);
}

static void begin_and_subscribe(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  begin_stream(c, msg);
  CHECK_INT(tavi_sse_subscribe(channel, c), 0);
}

static void serve(void (*on_message)(struct tavi_conn *, const struct tavi_http_msg *)) {
  rig_serve(NULL);
  rig.on_message = on_message;
  CHECK_INT(tavi_sse_channel_new(rig.m, NULL, &channel), 0);
}

/* A peer whose request was served. */
static struct peer open_and_ask(const char *request) {
  unsigned before = rig.messages;
  struct peer p = peer_open();
  peer_send(&p, request);
  UNTIL(rig.messages > before);
  return p;
}

/* ==== one stream ==== */

TEST(begin__head_of_the_answer) {
  serve(begin_stream);
  struct peer p = open_and_ask(GET("/"));
  struct response r = {0};
  CHECK_INT(send_event(rig.conn, "x"), 0);
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
  if (RESPONSE(&p, &r)) {
    CHECK_INT(r.status, 200);
    CHECK(header_is(&r, "Content-Type", "text/event-stream"));
    CHECK(header_is(&r, "Cache-Control", "no-store"));
    CHECK(header_is(&r, "Transfer-Encoding", "chunked"));
    CHECK_STR(r.body, "data: x\n\n");
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void begin_with_headers(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header headers[] = {HEADER("cache-control", "no-cache"), HEADER("X-Accel-Buffering", "no"),
                                       HEADER("content-type", "text/event-stream; charset=utf-8")};
  struct tavi_http_header bad = HEADER("X", "a\nb");
  (void) msg;
  CHECK_INT(tavi_sse_begin(c, &bad, 1), TAVI_E_ARG);
  CHECK_INT(tavi_sse_begin(c, headers, 3), 0);
  CHECK_INT(tavi_sse_begin(c, headers, 3), TAVI_E_STATE);
  CHECK_INT(tavi_http_end(c, NULL, 0), 0);
}

TEST(begin__the_callers_headers_take_the_place_of_ours) {
  serve(begin_with_headers);
  struct peer p = open_and_ask(GET("/"));
  struct response r = {0};
  if (RESPONSE(&p, &r)) {
    CHECK(header_is(&r, "Cache-Control", "no-cache"));
    CHECK(header_is(&r, "X-Accel-Buffering", "no"));
    CHECK(header_is(&r, "Content-Type", "text/event-stream; charset=utf-8"));
    CHECK(memmem(r.head.ptr, r.head.len, "no-store", 8) == NULL);
    CHECK(memmem(r.head.ptr, r.head.len, "Content-Type", 12) == NULL);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void refuse_tunnel(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_sse_begin(c, NULL, 0), TAVI_E_STATE);
  reply_text(c, 405, "no");
}

TEST(begin__not_for_a_tunnel) {
  serve(refuse_tunnel);
  struct peer p = open_and_ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
  EXPECT(&p, 405, "no");
  peer_close(&p);
  rig_stop();
}

TEST(send__events_of_all_kinds) {
  serve(begin_stream);
  struct peer p = open_and_ask(GET("/"));
  struct tavi_sse_event ev = data_event("a\r\nb", 4), bad = data_event("x", 1);
  ev.event = SLICE("note");
  ev.id = SLICE("7");
  ev.retry_ms = 1000;
  bad.event = SLICE("a\nb");
  CHECK_INT(tavi_sse_send(rig.conn, &ev), 0);
  CHECK_INT(tavi_sse_send(rig.conn, &bad), TAVI_E_ARG);
  tavi_sse_event_init(&ev);
  CHECK_INT(tavi_sse_send(rig.conn, &ev), 0);
  CHECK_INT(send_event(rig.conn, "end"), 0);
  EXPECT_BODY(&p, "event: note\nid: 7\nretry: 1000\ndata: a\ndata: b\n\n\ndata: end\n\n");
  peer_close(&p);
  UNTIL(rig.closed == 1);
  rig_stop();
}

TEST(send__large_events) {
  static const size_t sizes[] = {1000, 1017, 1018, 3980, 4000, 5000, 100000, 3000000};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    serve(begin_stream);
    struct peer p = open_and_ask(GET("/"));
    char *data = repeat("x", sizes[i], NULL), *wanted = malloc(sizes[i] + 9);
    if (wanted == NULL) abort();
    memcpy(wanted, "data: ", 6);
    memcpy(wanted + 6, data, sizes[i]);
    memcpy(wanted + 6 + sizes[i], "\n\n", 3);
    CHECK_INT(send_event(rig.conn, data), 0);
    UNTIL(has_body(&p, wanted));
    free(data);
    free(wanted);
    peer_close(&p);
    rig_stop();
  }
}

TEST(http10__unframed_until_close) {
  serve(begin_and_subscribe);
  struct peer p = open_and_ask(GET_10);
  CHECK_INT(send_event(rig.conn, "a"), 0);
  CHECK_INT(publish(channel, "b"), 1);
  EXPECT_BODY(&p, "data: a\n\ndata: b\n\n");
  CHECK(memmem(p.bytes, p.len, "Transfer-Encoding", 17) == NULL);
  CHECK(memmem(p.bytes, p.len, "Connection: close\r\n", 19) != NULL);
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
  CHECK_INT(publish(channel, "late"), 0);
  UNTIL(peer_pump(&p));
  CHECK(!p.was_reset);
  CHECK(has_body(&p, "data: a\n\ndata: b\n\n"));
  UNTIL(rig.closed == 1);
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  peer_close(&p);
  rig_stop();
}

TEST(head__no_body_and_the_next_request_is_served) {
  serve(begin_and_subscribe);
  struct peer p = open_and_ask(HEAD_REQUEST);
  struct response r = {0};
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  CHECK_INT(send_event(rig.conn, "dropped"), 0);
  CHECK_INT(publish(channel, "dropped"), 0);
  if (RESPONSE_TO_HEAD(&p, &r)) CHECK(header_is(&r, "Content-Type", "text/event-stream"));
  rig.on_message = NULL;
  peer_send(&p, GET("/next"));
  EXPECT(&p, 200, "GET /next ");
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void begin_any(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM), 0);
  CHECK_INT(tavi_sse_subscribe(channel, c), 0);
}

TEST(head__a_stream_that_was_begun_otherwise_gets_no_body_either) {
  serve(begin_any);
  struct peer p = open_and_ask(HEAD_REQUEST);
  struct response r = {0};
  CHECK_INT(send_event(rig.conn, "dropped"), 0);
  CHECK_INT(publish(channel, "dropped"), 0);
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
  RESPONSE_TO_HEAD(&p, &r);
  rig.on_message = NULL;
  peer_send(&p, GET("/next"));
  EXPECT(&p, 200, "GET /next ");
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void begin_closing(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  begin_stream(c, msg);
  CHECK_INT(tavi_sse_subscribe(channel, c), TAVI_E_CLOSED);
  CHECK_INT(send_event(c, "x"), TAVI_E_CLOSED);
}

TEST(head__http10__closes) {
  serve(begin_closing);
  struct peer p = open_and_ask("HEAD / HTTP/1.0\r\n\r\n");
  struct response r = {0};
  RESPONSE_TO_HEAD(&p, &r);
  EXPECT_END(&p);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static const char *head_by_hand;

static void write_head(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_conn_send(c, head_by_hand, strlen(head_by_hand)), 0);
  CHECK_INT(tavi_sse_subscribe(channel, c), 0);
}

TEST(by_hand__a_head_that_says_chunked) {
  head_by_hand = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  serve(write_head);
  struct peer p = open_and_ask(GET("/"));
  CHECK_INT(send_event(rig.conn, "a"), 0);
  CHECK_INT(publish(channel, "b"), 1);
  EXPECT_BODY(&p, "data: a\n\ndata: b\n\n");
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
  EXPECT(&p, 200, "data: a\n\ndata: b\n\n");
  rig.on_message = NULL;
  peer_send(&p, GET("/next"));
  EXPECT(&p, 200, "GET /next ");
  peer_close(&p);
  rig_stop();
}

TEST(by_hand__a_head_without_framing) {
  head_by_hand = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
  serve(write_head);
  struct peer p = open_and_ask(GET("/"));
  CHECK_INT(send_event(rig.conn, "a"), 0);
  CHECK_INT(publish(channel, "b"), 1);
  EXPECT_BODY(&p, "data: a\n\ndata: b\n\n");
  tavi_conn_drain(rig.conn);
  UNTIL(peer_pump(&p));
  CHECK(has_body(&p, "data: a\n\ndata: b\n\n"));
  peer_close(&p);
  rig_stop();
}

/* ==== channels ==== */

TEST(publish__each_kind_of_stream_gets_its_framing) {
  serve(begin_and_subscribe);
  struct peer a = open_and_ask(GET("/")), b = open_and_ask(GET_10), c = open_and_ask(GET("/"));
  char *large = repeat("x", 100000, NULL), *wanted = malloc(200000);
  if (wanted == NULL) abort();
  int len = snprintf(wanted, 200000, "data: small\n\ndata: %s\n\ndata: end\n\n", large);
  CHECK(len > 100000);
  CHECK_INT(publish(channel, "small"), 3);
  CHECK_INT(publish(channel, large), 3);
  CHECK_INT(publish(channel, "end"), 3);
  UNTIL(has_body(&a, wanted) && has_body(&b, wanted) && has_body(&c, wanted));
  free(large);
  free(wanted);
  peer_close(&a);
  peer_close(&b);
  peer_close(&c);
  UNTIL(rig.closed == 3);
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  rig_stop();
}

/* The sizes around which it is decided whether the memory is shared. */
TEST(publish__every_size) {
  serve(begin_and_subscribe);
  struct peer p = open_and_ask(GET("/"));
  char data[5000], *wanted = malloc(64 << 20), *end = wanted;
  if (wanted == NULL) abort();
  memset(data, 'y', sizeof(data));
  for (size_t len = 0; len < sizeof(data); len += len < 200 ? 1 : len < 990 || len > 1030 ? 61 : 1) {
    struct tavi_sse_event ev = data_event(data, len);
    ev.has_data = true;
    CHECK_INT(tavi_sse_publish(channel, &ev), 1);
    memcpy(end, "data: ", 6);
    memcpy(end + 6, data, len);
    memcpy(end + 6 + len, "\n\n", 3);
    end += 8 + len;
  }
  UNTIL(has_body(&p, wanted));
  free(wanted);
  peer_close(&p);
  rig_stop();
}

TEST(publish__a_bad_event_and_nobody) {
  serve(begin_and_subscribe);
  struct tavi_sse_event bad = data_event("x", 1);
  bad.id = SLICE("a\0b");
  CHECK_INT(publish(channel, "x"), 0);
  CHECK_INT(tavi_sse_publish(channel, &bad), TAVI_E_ARG);
  struct peer p = open_and_ask(GET("/"));
  CHECK_INT(tavi_sse_publish(channel, &bad), TAVI_E_ARG);
  EXPECT_BODY(&p, "");
  peer_close(&p);
  rig_stop();
}

static void subscribe_to_both(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  begin_and_subscribe(c, msg);
  CHECK_INT(tavi_sse_subscribe(other, c), 0);
  CHECK_INT(tavi_sse_subscribe(channel, c), 0); /* twice is once */
}

TEST(channels__several_of_one_stream) {
  serve(subscribe_to_both);
  CHECK_INT(tavi_sse_channel_new(rig.m, NULL, &other), 0);
  struct peer p = open_and_ask(GET("/"));
  CHECK_INT(tavi_sse_subscriber_count(channel), 1);
  CHECK_INT(publish(channel, "1"), 1);
  CHECK_INT(publish(other, "2"), 1);
  tavi_sse_unsubscribe(other, rig.conn);
  tavi_sse_unsubscribe(other, rig.conn);
  CHECK_INT(publish(other, "3"), 0);
  CHECK_INT(publish(channel, "4"), 1);
  CHECK_INT(tavi_sse_subscribe(other, rig.conn), 0);
  tavi_sse_channel_free(channel);
  tavi_sse_channel_free(NULL);
  CHECK_INT(publish(other, "5"), 1);
  EXPECT_BODY(&p, "data: 1\n\ndata: 2\n\ndata: 4\n\ndata: 5\n\n");
  peer_close(&p);
  UNTIL(rig.closed == 1);
  CHECK_INT(tavi_sse_subscriber_count(other), 0);
  rig_stop();
}

TEST(channels__the_manager_frees_what_is_left) {
  serve(subscribe_to_both);
  CHECK_INT(tavi_sse_channel_new(rig.m, NULL, &other), 0);
  struct peer p = open_and_ask(GET("/")), q = open_and_ask(GET("/"));
  CHECK_INT(publish(channel, "x"), 2);
  rig_stop(); /* the sanitizer looks for what was not freed */
  peer_close(&p);
  peer_close(&q);
}

static void refuse_to_subscribe(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_manager *m = NULL;
  struct tavi_sse_channel *foreign = NULL;
  struct tavi_sse_channel_opts opts;
  (void) msg;
  tavi_sse_channel_opts_init(&opts);
  opts.slow = (enum tavi_sse_slow) 7;
  CHECK_INT(tavi_manager_new(NULL, &m), 0);
  CHECK_INT(tavi_sse_channel_new(m, &opts, &foreign), TAVI_E_ARG);
  CHECK_INT(tavi_sse_channel_new(m, NULL, &foreign), 0);
  CHECK_INT(tavi_sse_subscribe(channel, c), TAVI_E_STATE);
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, 5), 0);
  CHECK_INT(tavi_sse_subscribe(channel, c), TAVI_E_STATE); /* an answer with a length is no event stream */
  CHECK_INT(tavi_sse_subscribe(foreign, c), TAVI_E_ARG);
  CHECK_INT(tavi_conn_send(c, "hello", 5), 0);
  CHECK_INT(tavi_sse_subscribe(channel, c), TAVI_E_STATE);
  tavi_conn_close(c);
  CHECK_INT(tavi_sse_subscribe(channel, c), TAVI_E_CLOSED);
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  tavi_manager_free(m);
}

TEST(subscribe__only_streams) {
  serve(refuse_to_subscribe);
  struct peer p = open_and_ask(GET("/"));
  UNTIL(rig.closed == 1);
  peer_close(&p);
  rig_stop();
}

/* ==== compressed streams ==== */

static void begin_compressed(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  CHECK(tavi_http_compress(c, msg, NULL) >= 0);
  begin_and_subscribe(c, msg);
}

static bool decodes_to(struct peer *p, const char *wanted) {
  struct decoder d;
  size_t len;
  char *body = body_so_far(p, &len);
  decoder_begin(&d, TAVI_CODING_GZIP);
  bool is_good = body != NULL && decoder_put(&d, body, len);
  bool is_it = is_good && d.len == strlen(wanted) && memcmp(d.out, wanted, d.len) == 0;
  decoder_end(&d);
  free(body);
  return is_it;
}

TEST(compressed__each_event_can_be_decoded_when_it_arrives) {
  serve(begin_compressed);
  struct peer p = open_and_ask(GET_GZIP);
  struct tavi_conn *c = rig.conn;
  struct peer q = open_and_ask(GET("/"));
  CHECK_INT(publish(channel, "1"), 2);
  UNTIL(decodes_to(&p, "data: 1\n\n"));
  CHECK_INT(send_event(c, "2"), 0);
  UNTIL(decodes_to(&p, "data: 1\n\ndata: 2\n\n"));
  CHECK_INT(publish(channel, "3"), 2);
  UNTIL(decodes_to(&p, "data: 1\n\ndata: 2\n\ndata: 3\n\n"));
  EXPECT_BODY(&q, "data: 1\n\ndata: 3\n\n");
  CHECK_INT(tavi_http_end(c, NULL, 0), 0);
  CHECK_INT(tavi_sse_subscriber_count(channel), 1);
  peer_close(&p);
  peer_close(&q);
  rig_stop();
}

/* What the user may do in on_error, which only a compressed stream calls in the middle of a publication. */
enum inside { FREE, UNSUBSCRIBE_NEXT, PUBLISH, CLOSE_NEXT, SUBSCRIBE };
static enum inside inside;
static struct tavi_conn *next_one, *third;

static void meddle(struct tavi_conn *c) {
  (void) c;
  fail_end();
  switch (inside) {
    case FREE: tavi_sse_channel_free(channel); break;
    case UNSUBSCRIBE_NEXT: tavi_sse_unsubscribe(channel, next_one); break;
    case PUBLISH: CHECK_INT(publish(channel, "inner"), 2); break;
    case CLOSE_NEXT: tavi_conn_close(next_one); break;
    case SUBSCRIBE:
      tavi_sse_unsubscribe(channel, third);
      CHECK_INT(tavi_sse_subscribe(channel, third), 0);
      break;
  }
}

/* Three subscribers; for the compressed one, which comes first, an allocation fails. Returns what publishing does. */
static int64_t publish_meddling(enum inside what, const char *text, struct peer *peers) {
  inside = what;
  serve(begin_compressed);
  rig.on_error = meddle;
  peers[0] = open_and_ask(GET("/"));
  third = rig.conn;
  peers[1] = open_and_ask(GET("/"));
  next_one = rig.conn;
  peers[2] = open_and_ask(GET_GZIP);
  tavi_manager_poll(rig.m, 0);
  fail_begin(2); /* the first: the memory that others share */
  int64_t count = publish(channel, text);
  fail_end();
  CHECK_INT(rig.errors, 1);
  UNTIL(rig.closed >= 1);
  return count;
}

TEST(compressed__on_error_in_the_middle_of_a_publication_may_do_anything) {
  char noise[40000], *outer = malloc(sizeof(noise) + 9), *both = malloc(sizeof(noise) + 100);
  if (outer == NULL || both == NULL) abort();
  uint64_t state = 88172645463325252u; /* what no compression makes smaller, so that it takes several blocks */
  for (size_t i = 0; i < sizeof(noise) - 1; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    noise[i] = (char) (33 + (state >> 20) % 90);
  }
  noise[sizeof(noise) - 1] = '\0';
  snprintf(outer, sizeof(noise) + 9, "data: %s\n\n", noise);
  snprintf(both, sizeof(noise) + 100, "data: inner\n\n%s", outer);
  static const struct {
    enum inside what;
    int count;
    bool first, second; /* who of the others gets it */
  } cases[] = {{FREE, 0, false, false},
               {UNSUBSCRIBE_NEXT, 1, true, false},
               {PUBLISH, 2, true, true},
               {CLOSE_NEXT, 1, true, false},
               {SUBSCRIBE, 1, false, true}}; /* as one who comes now, it gets what comes from now on */
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct peer peers[3];
    test_note("case %d", (int) cases[i].what);
    CHECK_INT(publish_meddling(cases[i].what, noise, peers), cases[i].count);
    const char *wanted = cases[i].what == PUBLISH ? both : outer;
    UNTIL(has_body(&peers[0], cases[i].first ? wanted : ""));
    UNTIL(has_body(&peers[1], cases[i].second ? wanted : ""));
    for (int k = 0; k < 3; k++) peer_close(&peers[k]);
    rig_stop();
  }
  free(outer);
  free(both);
}

/* ==== the end of a subscription ==== */

TEST(ends__a_peer_that_leaves) {
  serve(begin_and_subscribe);
  struct peer a = open_and_ask(GET("/")), b = open_and_ask(GET("/"));
  CHECK_INT(publish(channel, "1"), 2);
  peer_close(&a);
  UNTIL(rig.closed == 1);
  CHECK_INT(tavi_sse_subscriber_count(channel), 1);
  CHECK_INT(publish(channel, "2"), 1);
  EXPECT_BODY(&b, "data: 1\n\ndata: 2\n\n");
  peer_reset(&b);
  UNTIL(rig.closed == 2);
  CHECK_INT(publish(channel, "3"), 0);
  rig_stop();
}

TEST(ends__a_connection_that_is_closing_or_draining_gets_nothing_more) {
  serve(begin_and_subscribe);
  struct peer a = open_and_ask(GET("/"));
  struct tavi_conn *draining = rig.conn;
  struct peer b = open_and_ask(GET("/"));
  struct tavi_conn *closing = rig.conn;
  CHECK_INT(publish(channel, "1"), 2);
  tavi_manager_poll(rig.m, 0);
  tavi_conn_drain(draining);
  tavi_conn_close(closing);
  CHECK_INT(publish(channel, "2"), 0);
  UNTIL(rig.closed == 2);
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  CHECK(has_body(&a, "data: 1\n\n"));
  CHECK(has_body(&b, "data: 1\n\n"));
  peer_close(&a);
  peer_close(&b);
  rig_stop();
}

static void stream_or_echo(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (msg->path.len == 1)
    begin_and_subscribe(c, msg);
  else
    reply_echo(c, msg);
}

TEST(ends__with_the_stream_and_a_pipelined_request_is_served_then) {
  serve(stream_or_echo);
  struct peer p = open_and_ask(GET("/") GET("/behind"));
  CHECK_INT(publish(channel, "1"), 1);
  EXPECT_BODY(&p, "data: 1\n\n");
  CHECK_INT(rig.messages, 1);
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  CHECK_INT(publish(channel, "2"), 0);
  EXPECT(&p, 200, "data: 1\n\n");
  EXPECT(&p, 200, "GET /behind ");
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 3);
  CHECK_INT(publish(channel, "3"), 1);
  EXPECT_BODY(&p, "data: 3\n\n");
  peer_close(&p);
  rig_stop();
}

static void begin_and_end(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  begin_and_subscribe(c, msg);
  CHECK_INT(publish(channel, "1"), 1);
  CHECK_INT(tavi_http_end(c, NULL, 0), 0);
  CHECK_INT(publish(channel, "2"), 0); /* inside of the request's own callback */
}

TEST(ends__with_a_stream_that_ends_in_its_own_callback) {
  serve(begin_and_end);
  struct peer p = open_and_ask(GET("/") GET("/"));
  EXPECT(&p, 200, "data: 1\n\n");
  EXPECT(&p, 200, "data: 1\n\n");
  CHECK_INT(tavi_sse_subscriber_count(channel), 0);
  peer_close(&p);
  rig_stop();
}

/* ==== inside of callbacks ==== */

static void publish_inside(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (msg->path.len == 1) {
    begin_and_subscribe(c, msg);
    CHECK(publish(channel, "joined") > 0);
  } else {
    publish(channel, "asked");
    reply_text(c, 200, "ok");
  }
}

static void publish_leaving(struct tavi_conn *c) {
  (void) c;
  if (channel != NULL) publish(channel, "left");
}

static void free_on_close(struct tavi_conn *c) {
  tavi_sse_unsubscribe(channel, c);
  tavi_sse_channel_free(channel);
  channel = NULL;
}

TEST(inside__publish_subscribe_and_free) {
  serve(publish_inside);
  rig.on_close = publish_leaving;
  struct peer a = open_and_ask(GET("/")), b = open_and_ask(GET("/")), c = open_and_ask(GET("/ask"));
  EXPECT_BODY(&a, "data: joined\n\ndata: joined\n\ndata: asked\n\n");
  peer_close(&c);
  UNTIL(rig.closed == 1);
  peer_close(&b);
  UNTIL(rig.closed == 2);
  EXPECT_BODY(&a, "data: joined\n\ndata: joined\n\ndata: asked\n\ndata: left\n\ndata: left\n\n");
  rig.on_close = free_on_close;
  peer_close(&a);
  UNTIL(rig.closed == 3);
  CHECK(channel == NULL);
  rig_stop();
}

/* ==== many ==== */

static size_t peers_possible(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 100;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  size_t room = limit.rlim_cur > 200 ? (size_t) (limit.rlim_cur - 200) / 2 : 1;
  return room < PEERS_MAX ? room : PEERS_MAX;
}

TEST(many__each_subscriber_gets_each_event_in_order) {
  static struct peer peers[PEERS_MAX];
  enum { ROUNDS = 20 };
  size_t count = peers_possible(), wanted_len = 0;
  char wanted[ROUNDS * 32] = "";
  serve(begin_and_subscribe);
  for (size_t i = 0; i < count; i++) peers[i] = open_and_ask(i % 10 == 9 ? GET_10 : GET("/"));
  CHECK_INT(tavi_sse_subscriber_count(channel), count);
  for (int i = 0; i < ROUNDS; i++) {
    char text[32];
    snprintf(text, sizeof(text), "event %d", i);
    wanted_len += (size_t) snprintf(wanted + wanted_len, sizeof(wanted) - wanted_len, "data: %s\n\n", text);
    CHECK_INT(publish(channel, text), count);
    if (i % 3 == 0) tavi_manager_poll(rig.m, 0);
  }
  for (size_t i = 0; i < count; i++) UNTIL(has_body(&peers[i], wanted));
  for (size_t i = 0; i < count; i += 2) peer_close(&peers[i]);
  UNTIL(rig.closed == (count + 1) / 2);
  CHECK_INT(publish(channel, "half"), count / 2);
  CHECK_INT(tavi_sse_skipped_count(channel), 0);
  CHECK_INT(tavi_sse_closed_count(channel), 0);
  for (size_t i = 1; i < count; i += 2) peer_close(&peers[i]);
  rig_stop();
}

/* ==== slow readers ==== */

static void serve_slow(enum tavi_sse_slow slow, size_t pending_max, const struct tavi_http_opts *http_opts) {
  struct tavi_sse_channel_opts opts;
  tavi_sse_channel_opts_init(&opts);
  opts.slow = slow;
  opts.pending_bytes_max = pending_max;
  rig_serve(http_opts);
  rig.on_message = begin_and_subscribe;
  CHECK_INT(tavi_sse_channel_new(rig.m, &opts, &channel), 0);
}

enum { PENDING_MAX = 50000, EVENT_BYTES = 2000, FRAMED_BYTES = EVENT_BYTES + 20 };

static size_t most_pending, most_buffered;

/* Publish, a turn each, until `count` is `wanted` or much more was published than any system buffers, watching the memory
 * of the connection meanwhile, and of all. Returns how often. */
static size_t publish_until(const char *text, uint64_t (*count)(const struct tavi_sse_channel *), uint64_t wanted,
                            uint64_t watched_id, struct peer *reader) {
  size_t published = 0;
  most_pending = most_buffered = 0;
  for (; count(channel) != wanted && published < 50000; published++) {
    const struct tavi_conn *c = tavi_manager_conn(rig.m, watched_id);
    size_t pending = c == NULL ? 0 : tavi_conn_send_pending(c), buffered = tavi_manager_buffered(rig.m);
    if (pending > most_pending) most_pending = pending;
    if (buffered > most_buffered) most_buffered = buffered;
    publish(channel, text);
    tavi_manager_poll(rig.m, 0);
    if (reader != NULL) peer_pump(reader);
  }
  CHECK_INT(count(channel), wanted);
  return published;
}

/* It has got `count` whole events of EVENT_BYTES, and `extra` bytes behind them. */
static void expect_events(struct peer *p, size_t count, size_t extra) {
  size_t each = EVENT_BYTES + 8, len = 0;
  char *body = NULL;
  UNTIL((free(body), body = body_so_far(p, &len), len >= count * each + extra));
  CHECK_INT(len, count * each + extra);
  for (size_t i = 0; body != NULL && i < count; i++)
    if (!CHECK(memcmp(body + i * each, "data: xxx", 9) == 0)) break;
  free(body);
}

TEST(slow__who_never_reads_is_closed_and_the_others_get_everything) {
  serve_slow(TAVI_SSE_SLOW_CLOSE, PENDING_MAX, NULL);
  struct peer deaf = open_and_ask(GET("/"));
  uint64_t id = tavi_conn_id(rig.conn);
  struct peer p = open_and_ask(GET("/"));
  char *text = repeat("x", EVENT_BYTES, NULL);
  size_t count = publish_until(text, tavi_sse_closed_count, 1, id, &p);
  CHECK(most_pending > PENDING_MAX && most_pending <= PENDING_MAX + FRAMED_BYTES);
  CHECK(most_buffered < (size_t) 4 * PENDING_MAX);
  UNTIL(rig.closed == 1);
  CHECK_INT(tavi_sse_subscriber_count(channel), 1);
  CHECK_INT(tavi_sse_skipped_count(channel), 0);
  CHECK_INT(rig.errors, 0);
  expect_events(&p, count, 0);
  free(text);
  peer_close(&deaf);
  peer_close(&p);
  rig_stop();
}

TEST(slow__who_never_reads_misses_events_and_gets_whole_ones_later) {
  serve_slow(TAVI_SSE_SLOW_SKIP, PENDING_MAX, NULL);
  struct peer deaf = open_and_ask(GET("/"));
  char *text = repeat("x", EVENT_BYTES, NULL);
  size_t count = publish_until(text, tavi_sse_skipped_count, 1000, tavi_conn_id(rig.conn), NULL) - 1000;
  CHECK(most_pending > PENDING_MAX && most_pending <= PENDING_MAX + FRAMED_BYTES);
  CHECK(most_buffered < (size_t) 4 * PENDING_MAX);
  CHECK_INT(tavi_sse_subscriber_count(channel), 1);
  CHECK_INT(tavi_sse_closed_count(channel), 0);
  expect_events(&deaf, count, 0);
  CHECK_INT(publish(channel, "again"), 1); /* it has caught up */
  expect_events(&deaf, count, sizeof("data: again\n\n") - 1);
  CHECK_INT(tavi_sse_skipped_count(channel), 1000);
  free(text);
  peer_close(&deaf);
  rig_stop();
}

/* The bound is on what a reader leaves, not on what is published in one turn. */
TEST(slow__a_burst_within_a_turn_makes_nobody_slow) {
  serve_slow(TAVI_SSE_SLOW_CLOSE, 1000, NULL);
  CHECK_INT(tavi_sse_channel_new(rig.m, NULL, &other), 0);
  rig.on_message = subscribe_to_both;
  struct peer p = open_and_ask(GET("/"));
  char *text = repeat("x", EVENT_BYTES, NULL);
  for (int i = 0; i < 100; i++) CHECK_INT(publish(channel, text) + publish(other, text), 2);
  expect_events(&p, 200, 0);
  CHECK_INT(tavi_sse_closed_count(channel), 0);
  free(text);
  peer_close(&p);
  rig_stop();
}

TEST(slow__a_burst_beyond_send_bytes_max_is_cut_and_fails_nobody) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.listen.conn.send_bytes_max = 10000;
  serve_slow(TAVI_SSE_SLOW_SKIP, PENDING_MAX, &opts);
  struct peer p = open_and_ask(GET("/"));
  char *text = repeat("x", EVENT_BYTES, NULL);
  tavi_manager_poll(rig.m, 0); /* the head leaves */
  for (int i = 0; i < 100; i++) publish(channel, text);
  CHECK_INT(tavi_sse_skipped_count(channel), 100 - 10000 / FRAMED_BYTES);
  CHECK(tavi_conn_send_pending(rig.conn) <= 10000);
  expect_events(&p, 10000 / FRAMED_BYTES, 0);
  CHECK_INT(rig.errors, 0);
  CHECK_INT(rig.closed, 0);
  free(text);
  peer_close(&p);
  rig_stop();
}

/* ==== memory ==== */

static unsigned allocations(size_t len, int rounds) {
  char text[6000];
  memset(text, 'x', sizeof(text));
  text[len] = '\0';
  serve(begin_and_subscribe);
  struct peer p = open_and_ask(GET("/")), q = open_and_ask(GET("/"));
  unsigned counted = 0;
  for (int i = 0; i < rounds + 10; i++) {
    if (i == 10) fail_begin(UINT_MAX); /* none fails, all are counted */
    CHECK_INT(publish(channel, text), 2);
    tavi_manager_poll(rig.m, 0);
    fail_at = 0; /* the peers' own */
    peer_pump(&p);
    peer_pump(&q);
    if (i >= 10) fail_at = UINT_MAX;
  }
  counted = fail_count;
  fail_end();
  peer_close(&p);
  peer_close(&q);
  rig_stop();
  return counted;
}

TEST(memory__no_allocation_for_small_events) {
  CHECK_INT(allocations(10, 200), 0);
  CHECK_INT(allocations(900, 200), 0);
  CHECK_INT(allocations(5000, 200), 200 * 3); /* the shared bytes, and a piece for each */
}

/* With the n-th allocation failing: 0 and positive results are success. Returns false when all have succeeded. */
static bool exchange_fails_at(unsigned n, const char *large) {
  serve(NULL);
  struct peer p = open_and_ask("POST / HTTP/1.1\r\nHost: x\r\n\r\n"); /* is answered, and makes the connection */
  EXPECT(&p, 200, "POST / ");
  rig.on_message = begin_stream;
  peer_send(&p, GET("/"));
  UNTIL(rig.messages == 2);
  tavi_manager_poll(rig.m, 0);

  fail_begin(n);
  int made = tavi_sse_channel_new(rig.m, NULL, &other);
  int subscribed = made < 0 ? made : tavi_sse_subscribe(other, rig.conn);
  int64_t told = subscribed < 0 ? subscribed : publish(other, large);
  int64_t also = subscribed < 0 ? subscribed : publish(other, "small");
  int sent = send_event(rig.conn, large);
  bool has_failed = fail_end();

  bool was_closed = made == 0 && tavi_sse_closed_count(other) > 0;
  CHECK(made == 0 || made == TAVI_E_NOMEM);
  CHECK(subscribed == 0 || subscribed == TAVI_E_NOMEM);
  CHECK(told == 1 || told == TAVI_E_NOMEM || (told == 0 && was_closed));
  CHECK(also == 1 || also == TAVI_E_NOMEM || (also == 0 && was_closed));
  CHECK(sent == 0 || sent == TAVI_E_NOMEM || (sent == TAVI_E_CLOSED && was_closed));
  CHECK(!has_failed || made < 0 || subscribed < 0 || told < 1 || also < 1 || sent < 0);
  CHECK_INT(rig.errors, sent == TAVI_E_NOMEM); /* publishing fails nobody */
  peer_close(&p);
  rig_stop();
  return has_failed;
}

static void begin_failing(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  fail_begin(1);
  CHECK_INT(tavi_sse_begin(c, NULL, 0), TAVI_E_NOMEM);
  CHECK(fail_end());
}

TEST(memory__every_allocation_fails_once) {
  char *large = repeat("x", 50000, NULL);
  unsigned n = 1;
  for (; n < 100; n++) {
    test_note("allocation %u", n);
    if (!exchange_fails_at(n, large)) break;
  }
  CHECK(n > 5 && n < 100);
  free(large);
}

TEST(memory__an_answer_that_cannot_begin_fails_its_connection) {
  serve(begin_failing);
  struct peer p = open_and_ask(GET("/"));
  UNTIL(rig.closed == 1);
  CHECK_INT(rig.err, TAVI_E_NOMEM);
  peer_close(&p);
  rig_stop();
}

/* The manager's buffered_bytes_max: who cannot be given an event for that is slow, and nobody else is touched. */
TEST(memory__the_managers_maximum) {
  struct tavi_manager_opts opts;
  struct tavi_listener *l = NULL;
  struct tavi_addr addr;
  serve(begin_and_subscribe);
  tavi_manager_free(rig.m);
  tavi_manager_opts_init(&opts);
  opts.buffered_bytes_max = 20000;
  CHECK_INT(tavi_manager_new(&opts, &rig.m), 0);
  CHECK_INT(tavi_http_listen(rig.m, "http://127.0.0.1:0", NULL, &rig__handlers, NULL, &l), 0);
  CHECK_INT(tavi_listener_local_addr(l, &addr), 0);
  rig.port = addr.port;
  CHECK_INT(tavi_sse_channel_new(rig.m, NULL, &channel), 0);
  struct peer peers[10];
  for (int i = 0; i < 10; i++) peers[i] = open_and_ask(GET("/"));
  tavi_manager_poll(rig.m, 0);
  CHECK_INT(publish(channel, "x"), 4); /* a block each */
  CHECK_INT(tavi_sse_closed_count(channel), 6);
  CHECK_INT(rig.errors, 0);
  UNTIL(rig.closed == 6);
  for (int i = 0; i < 10; i++) peer_close(&peers[i]);
  rig_stop();
}
