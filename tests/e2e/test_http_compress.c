/* SPDX-License-Identifier: MIT
 *
 * Compressed answers as a peer on a socket sees them: what is negotiated, the headers, whole replies and streams, what is
 * left alone, that the choice is for one request, and what happens when memory is short. */
#include "decode.h"
#include "failmalloc.h"

#include "e2e/http_rig.h"

#define ASK(target, codings) "GET " target " HTTP/1.1\r\nHost: x\r\nAccept-Encoding: " codings "\r\n\r\n"
#define ASK_HEAD(target, codings) "HEAD " target " HTTP/1.1\r\nHost: x\r\nAccept-Encoding: " codings "\r\n\r\n"

enum { PAGE_BYTES = 20000, LARGE_BYTES = 1000000 };

static const struct {
  unsigned coding;
  const char *name;
} codings[] = {{TAVI_CODING_GZIP, "gzip"}, {TAVI_CODING_BROTLI, "br"}, {TAVI_CODING_ZSTD, "zstd"}};

static char page[LARGE_BYTES], noise[LARGE_BYTES];

/* What the handler is to do; chosen is what tavi_http_compress() returned. */
static struct {
  struct tavi_http_compress_opts opts;
  const struct tavi_http_header *headers;
  size_t header_count;
  int status, chosen;
  struct tavi_slice body;
} plan;

static void fill(void) {
  uint32_t x = 1;
  for (size_t i = 0; i < LARGE_BYTES; i++) {
    x = x * 1664525u + 1013904223u;
    page[i] = "the quick brown fox "[(i + (x >> 28 == 0 ? 3 : 0)) % 20];
    noise[i] = (char) (x >> 24);
  }
}

static unsigned built(void) {
  struct tavi_http_compress_opts opts;
  tavi_http_compress_opts_init(&opts);
  return opts.codings;
}

static void reply_planned(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  plan.chosen = tavi_http_compress(c, msg, &plan.opts);
  CHECK_INT(tavi_http_reply(c, plan.status, plan.headers, plan.header_count, plan.body), 0);
}

static void serve(const struct tavi_http_opts *opts) {
  fill();
  rig_serve(opts);
  memset(&plan, 0, sizeof(plan));
  tavi_http_compress_opts_init(&plan.opts);
  plan.status = 200;
  plan.body = (struct tavi_slice){page, PAGE_BYTES};
  rig.on_message = reply_planned;
}

static bool decodes_to(unsigned coding, struct tavi_slice in, const char *wanted, size_t len) {
  struct decoder d;
  decoder_begin(&d, coding);
  bool is_good = decoder_put(&d, in.ptr, in.len) && d.is_end && d.len == len && memcmp(d.out, wanted, len) == 0;
  decoder_end(&d);
  return is_good;
}

/* One request, one response. */
static void ask(struct peer *p, const char *request, struct response *r) {
  peer_send(p, request);
  if (strncmp(request, "HEAD", 4) == 0)
    RESPONSE_TO_HEAD(p, r);
  else
    RESPONSE(p, r);
}

static unsigned count_headers(const struct response *r, const char *line) {
  unsigned n = 0;
  size_t len = strlen(line);
  for (const char *at = r->head.ptr; (at = memmem(at, (size_t) (r->head.ptr + r->head.len - at), line, len)) != NULL; at++) n++;
  return n;
}

#define CHECK_PLAIN(r) \
  CHECK(find_header((r), "Content-Encoding") == NULL && (r)->body.len == plan.body.len && \
        memcmp((r)->body.ptr, plan.body.ptr, plan.body.len) == 0)

/* ==== whole replies ==== */

TEST(reply__each_coding__decodes_and_says_so) {
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  for (int i = 0; i < 3; i++) {
    if (!(built() & codings[i].coding)) continue;
    for (int level = 1; level <= 9; level++) {
      char request[200];
      test_note("%s %d", codings[i].name, level);
      snprintf(request, sizeof(request), ASK("/", "%s"), codings[i].name);
      plan.opts.level = level;
      plan.body.len = level % 2 ? PAGE_BYTES : LARGE_BYTES;
      ask(&p, request, &r);
      CHECK_INT(plan.chosen, codings[i].coding);
      CHECK_INT(r.status, 200);
      CHECK(header_is(&r, "Content-Encoding", codings[i].name));
      CHECK(header_is(&r, "Vary", "Accept-Encoding"));
      CHECK(r.body.len < plan.body.len / 2);
      CHECK(decodes_to(codings[i].coding, r.body, page, plan.body.len));
    }
  }
  CHECK_INT(rig.opened, 1);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(reply__negotiation__the_best_that_both_have) {
  static const struct {
    const char *accepted;
    unsigned offered, chosen;
  } cases[] = {
      {"gzip", 7, 1},  {"x-gzip", 7, 1}, {"gzip, br", 1, 1}, {"gzip;q=0", 7, 0},         {"identity", 7, 0},
      {"gzip", 0, 0},  {"*", 1, 1},      {"", 7, 0},         {"identity, gzip;q=0.5", 7, 0}, {"deflate", 7, 0},
      {"gzip, br;q=0.1", 7, 1}, {"gzip;q=0.1", 8, 0},
  };
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char request[200];
    test_note("%s of %u", cases[i].accepted, cases[i].offered);
    snprintf(request, sizeof(request), ASK("/", "%s"), cases[i].accepted);
    plan.opts.codings = cases[i].offered;
    ask(&p, request, &r);
    CHECK_INT(plan.chosen, cases[i].chosen);
    CHECK_INT(find_header(&r, "Content-Encoding") != NULL, cases[i].chosen != 0);
    CHECK(header_is(&r, "Vary", "Accept-Encoding")); /* it would be another one for another client */
    if (cases[i].chosen == 0) CHECK_PLAIN(&r);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(reply__vary__joined_and_not_said_twice) {
  static const char *const cases[][2] = {
      {"Cookie", "Cookie, Accept-Encoding"},
      {"Accept-Language,Cookie", "Accept-Language,Cookie, Accept-Encoding"},
      {"accept-encoding", "accept-encoding"},
      {"Cookie, ACCEPT-ENCODING", "Cookie, ACCEPT-ENCODING"},
      {"*", "*"},
      {"X-Accept-Encoding", "X-Accept-Encoding, Accept-Encoding"},
  };
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct tavi_http_header vary = {SLICE("vary"), {cases[i][0], strlen(cases[i][0])}};
    plan.headers = &vary;
    plan.header_count = 1;
    for (int is_accepted = 0; is_accepted < 2; is_accepted++) {
      test_note("%s", cases[i][0]);
      ask(&p, is_accepted ? ASK("/", "gzip") : GET("/"), &r);
      CHECK(header_is(&r, "vary", cases[i][1]));
      CHECK_INT(count_headers(&r, "\r\nvary:") + count_headers(&r, "\r\nVary:"), 1);
      CHECK_INT(find_header(&r, "Content-Encoding") != NULL, is_accepted);
    }
  }
  struct tavi_http_header two[] = {HEADER("Vary", "Cookie"), HEADER("X", "y"), HEADER("Vary", "Accept-Encoding")};
  plan.headers = two;
  plan.header_count = 3;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "Vary", "Cookie"));
  CHECK_INT(count_headers(&r, "Accept-Encoding"), 1);
  two[2] = HEADER("Vary", "Origin");
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "Vary", "Cookie, Accept-Encoding"));
  CHECK_INT(count_headers(&r, "Accept-Encoding"), 1);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(reply__etag__a_strong_one_becomes_weak_when_compressed) {
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  struct tavi_http_header tag = HEADER("ETag", "\"abc\"");
  plan.headers = &tag;
  plan.header_count = 1;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "ETag", "W/\"abc\""));
  ask(&p, GET("/"), &r);
  CHECK(header_is(&r, "ETag", "\"abc\""));
  tag = HEADER("ETag", "W/\"abc\"");
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "ETag", "W/\"abc\""));
  plan.body.ptr = noise; /* does not get smaller */
  tag = HEADER("ETag", "\"abc\"");
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "ETag", "\"abc\""));
  CHECK(header_is(&r, "Vary", "Accept-Encoding"));
  CHECK_PLAIN(&r);

  plan.status = 304; /* says what the 200 would have said */
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "ETag", "W/\"abc\""));
  CHECK(header_is(&r, "Vary", "Accept-Encoding"));
  CHECK(find_header(&r, "Content-Encoding") == NULL);
  ask(&p, GET("/"), &r);
  CHECK(header_is(&r, "ETag", "\"abc\""));
  CHECK(header_is(&r, "Vary", "Accept-Encoding"));
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(reply__left_alone__no_header_of_ours) {
  static const struct {
    int status;
    const char *name, *value;
    size_t len;
  } cases[] = {
      {200, "X", "y", 511},
      {200, "X", "y", 0},
      {200, "Content-Encoding", "gzip", PAGE_BYTES},
      {200, "Content-Range", "bytes 0-1/3", PAGE_BYTES},
      {206, "X", "y", PAGE_BYTES},
      {204, "X", "y", 0},
      {200, "Cache-Control", "public, No-Transform", PAGE_BYTES},
      {200, "Repr-Digest", "sha-256=:AAAA:", PAGE_BYTES},
      {200, "Content-Type", "image/png", PAGE_BYTES},
      {200, "content-type", "IMAGE/JPEG ; q=1", PAGE_BYTES},
      {200, "Content-Type", "video/mp4", PAGE_BYTES},
      {200, "Content-Type", "font/woff2", PAGE_BYTES},
      {200, "Content-Type", "application/zip", PAGE_BYTES},
      {200, "Content-Type", "application/epub+zip; a=b", PAGE_BYTES},
      {200, "Content-Type", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", PAGE_BYTES},
  };
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct tavi_http_header h = {{cases[i].name, strlen(cases[i].name)}, {cases[i].value, strlen(cases[i].value)}};
    test_note("%d %s: %s", cases[i].status, cases[i].name, cases[i].value);
    plan.headers = &h;
    plan.header_count = 1;
    plan.status = cases[i].status;
    plan.body.len = cases[i].len;
    ask(&p, ASK("/", "gzip"), &r);
    CHECK_INT(r.body.len, cases[i].len);
    CHECK(find_header(&r, "Vary") == NULL);
    CHECK_INT(count_headers(&r, "\r\nContent-Encoding:"), strcmp(h.name.ptr, "Content-Encoding") == 0);
  }
  static const char *const others[] = {"text/html; charset=utf-8", "image/svg+xml", "application/json", "application/problem+json",
                                       "text/zip", "application/octet-stream", "image/bmp", "x"};
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    struct tavi_http_header h = {SLICE("Content-Type"), {others[i], strlen(others[i])}};
    test_note("%s", others[i]);
    plan.headers = &h;
    plan.status = i % 2 ? 404 : 200;
    plan.body.len = PAGE_BYTES;
    ask(&p, ASK("/", "gzip"), &r);
    CHECK(header_is(&r, "Content-Encoding", "gzip"));
    CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, PAGE_BYTES));
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(reply__sizes__from_bytes_min_on) {
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  plan.body.len = 512;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, 512));
  plan.opts.bytes_min = 0;
  for (size_t len = 0; len < 200; len++) {
    test_note("%zu bytes", len);
    plan.body.len = len;
    ask(&p, ASK("/", "gzip"), &r);
    if (find_header(&r, "Content-Encoding") != NULL)
      CHECK(r.body.len < len && decodes_to(TAVI_CODING_GZIP, r.body, page, len));
    else
      CHECK_PLAIN(&r);
    CHECK(len < 100 || find_header(&r, "Content-Encoding") != NULL);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(reply__head__the_same_head_as_get) {
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  struct tavi_http_header headers[] = {HEADER("ETag", "\"a\""), HEADER("Date", "Sun, 06 Nov 1994 08:49:37 GMT")};
  plan.headers = headers;
  plan.header_count = 2;
  ask(&p, ASK("/", "gzip"), &r);
  char *head = strndup(r.head.ptr, r.head.len);
  if (head == NULL) abort();
  ask(&p, ASK_HEAD("/", "gzip"), &r);
  CHECK_STR(r.head, head);
  ask(&p, GET("/"), &r); /* nothing came behind it */
  CHECK_PLAIN(&r);
  free(head);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static unsigned released;

static void release(void *arg) {
  (void) arg;
  released++;
}

static void reply_foreign(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  plan.chosen = tavi_http_compress(c, msg, &plan.opts);
  CHECK_INT(tavi_http_reply_foreign(c, 200, plan.headers, plan.header_count, plan.body, release, NULL), 0);
}

TEST(reply_foreign__compressed_or_not__released_once) {
  static const size_t sizes[] = {600, PAGE_BYTES, LARGE_BYTES};
  struct tavi_http_header image = HEADER("Content-Type", "image/png");
  serve(NULL);
  rig.on_message = reply_foreign;
  struct peer p = peer_open();
  struct response r = {0};
  for (size_t i = 0; i < 3; i++) {
    test_note("%zu bytes", sizes[i]);
    plan.body = (struct tavi_slice){page, sizes[i]};
    released = 0;
    ask(&p, ASK("/", "gzip"), &r);
    CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, sizes[i]));
    CHECK_INT(released, 1);
    ask(&p, GET("/"), &r);
    CHECK_PLAIN(&r);
    CHECK(header_is(&r, "Vary", "Accept-Encoding"));
    plan.body.ptr = noise;
    ask(&p, ASK("/", "gzip"), &r);
    CHECK_PLAIN(&r);
    plan.headers = &image;
    plan.header_count = 1;
    ask(&p, ASK("/", "gzip"), &r);
    CHECK_PLAIN(&r);
    CHECK(find_header(&r, "Vary") == NULL);
    plan.header_count = 0;
    UNTIL(released == 4);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void hints_then_page(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  CHECK_INT(tavi_http_compress(c, msg, NULL), TAVI_CODING_GZIP);
  CHECK_INT(tavi_http_reply(c, 103, NULL, 0, NOTHING), 0);
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, plan.body), 0);
  CHECK_INT(tavi_http_compress(c, msg, NULL), TAVI_E_STATE);
}

static void bad_then_good(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header bad = {SLICE("X"), SLICE("a\r\nb")};
  struct tavi_http_compress_opts opts = plan.opts;
  opts.level = 0;
  CHECK_INT(tavi_http_compress(c, msg, &opts), TAVI_E_ARG);
  opts.level = 10;
  CHECK_INT(tavi_http_compress(c, msg, &opts), TAVI_E_ARG);
  CHECK_INT(tavi_http_compress(c, msg, NULL), TAVI_CODING_GZIP);
  CHECK_INT(tavi_http_reply(c, 200, &bad, 1, plan.body), TAVI_E_ARG);
  CHECK_INT(tavi_http_begin(c, 200, &bad, 1, TAVI_HTTP_STREAM), TAVI_E_ARG);
  CHECK_INT(tavi_conn_send(c, NULL, 0), 0);
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, plan.body), 0);
}

TEST(reply__after_an_interim_or_a_refused_one__still_compressed) {
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  rig.on_message = hints_then_page;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK_INT(r.status, 103);
  CHECK(find_header(&r, "Vary") == NULL);
  RESPONSE(&p, &r);
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, PAGE_BYTES));
  rig.on_message = bad_then_good;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, PAGE_BYTES));
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void with_length(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  CHECK_INT(tavi_http_compress(c, msg, NULL), TAVI_CODING_GZIP);
  CHECK_INT(tavi_http_begin(c, 200, NULL, 0, PAGE_BYTES), 0);
  CHECK_INT(tavi_conn_send(c, page, PAGE_BYTES), 0);
}

TEST(begin__with_a_length__left_alone) {
  serve(NULL);
  rig.on_message = with_length;
  struct peer p = peer_open();
  struct response r = {0};
  ask(&p, ASK("/", "gzip"), &r);
  CHECK_PLAIN(&r);
  CHECK(find_header(&r, "Vary") == NULL);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(compress__on_a_client__is_not_possible) {
  serve(NULL);
  char url[64];
  struct tavi_conn *c = NULL;
  struct tavi_http_msg msg = {0};
  snprintf(url, sizeof(url), "http://127.0.0.1:%u", rig.port);
  CHECK_INT(tavi_http_connect(rig.m, url, NULL, &rig__handlers, NULL, &c), 0);
  CHECK_INT(tavi_http_compress(c, &msg, NULL), TAVI_E_STATE);
  rig_stop();
}

/* ==== streams ==== */

static void begin_stream(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  plan.chosen = tavi_http_compress(c, msg, &plan.opts);
  CHECK_INT(tavi_http_begin(c, 200, plan.headers, plan.header_count, TAVI_HTTP_STREAM), 0);
}

/* Decode the chunks that have arrived by now. */
static void pump_decoder(struct peer *p, struct decoder *d, size_t *at) {
  peer_pump(p);
  while (*at < p->len) {
    char *line = memmem(p->bytes + *at, p->len - *at, "\r\n", 2);
    if (line == NULL) return;
    size_t size = strtoull(p->bytes + *at, NULL, 16), start = (size_t) (line + 2 - p->bytes);
    if (size == 0 || p->len < start + size + 2) return;
    CHECK(decoder_put(d, p->bytes + start, size));
    *at = start + size + 2;
  }
}

TEST(stream__each_chunk__can_be_decoded_when_it_arrives) {
  for (int i = 0; i < 3; i++) {
    if (!(built() & codings[i].coding)) continue;
    static const size_t sizes[] = {1, 10, 5000, 200000, 7};
    struct decoder d;
    char request[200];
    size_t at = 0, told = 0;
    test_note("%s", codings[i].name);
    serve(NULL);
    rig.on_message = begin_stream;
    struct peer p = peer_open();
    snprintf(request, sizeof(request), ASK("/", "%s"), codings[i].name);
    peer_send(&p, request);
    UNTIL((peer_pump(&p), p.len > 0 && memmem(p.bytes, p.len, "\r\n\r\n", 4) != NULL));
    at = (size_t) ((char *) memmem(p.bytes, p.len, "\r\n\r\n", 4) + 4 - p.bytes);
    decoder_begin(&d, codings[i].coding);
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
      CHECK_INT(tavi_http_chunk(rig.conn, page + told, sizes[k]), 0);
      told += sizes[k];
      UNTIL((pump_decoder(&p, &d, &at), d.len == told));
      CHECK_INT(tavi_conn_send(rig.conn, "1\r\nx\r\n", 6), TAVI_E_STATE); /* would be in the middle of it */
    }
    CHECK(tavi_manager_buffered(rig.m) > 100000); /* the encoder counts */
    CHECK(!d.is_end && memcmp(d.out, page, told) == 0);
    CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
    UNTIL((pump_decoder(&p, &d, &at), d.is_end));
    CHECK_INT(d.len, told);
    UNTIL((peer_pump(&p), p.len - at == 5 && memcmp(p.bytes + at, "0\r\n\r\n", 5) == 0));
    p.at = p.len;
    CHECK_INT(tavi_manager_buffered(rig.m), 0);

    rig.on_message = NULL; /* and then the next request */
    peer_send(&p, GET("/next"));
    EXPECT(&p, 200, "GET /next ");
    decoder_end(&d);
    peer_close(&p);
    rig_stop();
  }
}

static void whole_stream(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header good = HEADER("X-Sum", "1"), bad = HEADER("X-Sum", "a\nb");
  begin_stream(c, msg);
  for (size_t at = 0; at < LARGE_BYTES; at += LARGE_BYTES / 10) CHECK_INT(tavi_http_chunk(c, page + at, LARGE_BYTES / 10), 0);
  bool has_trailers = msg->minor == 1 && msg->method.len == 3; /* not after HEAD */
  if (has_trailers) CHECK_INT(tavi_http_end(c, &bad, 1), TAVI_E_ARG); /* and it goes on */
  CHECK_INT(tavi_http_chunk(c, "tail", 4), 0);
  CHECK_INT(tavi_http_end(c, &good, 1), 0);
  if (has_trailers) CHECK_INT(tavi_http_chunk(c, "x", 1), TAVI_E_STATE);
}

static void reply_chunked(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header h = HEADER("Transfer-Encoding", "chunked");
  plan.chosen = tavi_http_compress(c, msg, NULL);
  CHECK_INT(tavi_http_reply(c, 200, &h, 1, SLICE("a stream")), 0); /* of whatever size: more may come */
  CHECK_INT(tavi_http_end(c, NULL, 0), 0);
}

TEST(stream__to_its_end__decodes) {
  serve(NULL);
  struct peer p = peer_open();
  struct response r = {0};
  char *wanted = malloc(LARGE_BYTES + 4);
  if (wanted == NULL) abort();
  memcpy(wanted, page, LARGE_BYTES);
  memcpy(wanted + LARGE_BYTES, "tail", 4);
  rig.on_message = whole_stream;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(header_is(&r, "Content-Encoding", "gzip"));
  CHECK(header_is(&r, "Vary", "Accept-Encoding"));
  CHECK(r.body.len < LARGE_BYTES / 2);
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, wanted, LARGE_BYTES + 4));
  CHECK(strstr(r.trailers, "X-Sum: 1") != NULL);

  ask(&p, GET("/"), &r); /* accepts none: the stream as it is, with Vary */
  CHECK(header_is(&r, "Vary", "Accept-Encoding"));
  CHECK_BYTES(r.body.ptr, r.body.len, wanted, LARGE_BYTES + 4);

  rig.on_message = reply_chunked;
  ask(&p, ASK("/", "gzip"), &r);
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, "a stream", 8));

  rig.on_message = whole_stream; /* the body of an answer to a HEAD is dropped */
  ask(&p, ASK_HEAD("/", "gzip"), &r);
  CHECK(header_is(&r, "Content-Encoding", "gzip"));
  CHECK(header_is(&r, "Transfer-Encoding", "chunked"));
  CHECK_INT(tavi_manager_buffered(rig.m), 0);

  ask(&p, "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n", &r); /* until it closes */
  CHECK(header_is(&r, "Content-Encoding", "gzip"));
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, wanted, LARGE_BYTES + 4));
  EXPECT_END(&p);
  free(wanted);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(stream__closed_in_the_middle__its_encoder_is_freed) {
  serve(NULL);
  rig.on_message = begin_stream;
  for (int i = 0; i < 3; i++) {
    struct peer p = peer_open();
    peer_send(&p, ASK("/", "gzip"));
    UNTIL(rig.messages == (unsigned) i + 1);
    if (i > 0) tavi_http_chunk(rig.conn, page, 1000);
    CHECK(tavi_manager_buffered(rig.m) > 100000);
    if (i < 2) peer_close(&p);
    if (i == 2) tavi_conn_close(rig.conn);
    UNTIL(rig.closed == (unsigned) i + 1);
    CHECK_INT(tavi_manager_buffered(rig.m), 0);
    peer_close(&p);
  }
  struct peer q = peer_open(); /* and one that the manager's end closes */
  peer_send(&q, ASK("/", "gzip"));
  UNTIL(rig.messages == 4);
  rig_stop();
  peer_close(&q);
}

/* ==== for one request ==== */

static void by_target(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  static const char by_hand[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
  struct tavi_http_header image = HEADER("Content-Type", "image/png");
  char kind = msg->target.len > 1 ? msg->target.ptr[1] : ' ';
  if (kind != 'p') tavi_http_compress(c, msg, NULL);
  if (kind == 'h') CHECK_INT(tavi_conn_send(c, by_hand, sizeof(by_hand) - 1), 0);
  if (kind == 'o') CHECK_INT(tavi_http_begin(c, 200, &image, 1, 3), 0); /* to a HEAD: its body might still be sent */
  if (kind == 'c' || kind == 'p') CHECK_INT(tavi_http_reply(c, 200, NULL, 0, plan.body), 0);
}

TEST(pipeline__the_choice__is_for_the_request_it_was_made_for) {
  serve(NULL);
  rig.on_message = by_target;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, ASK("/c", "gzip") ASK("/p", "gzip") ASK("/c", "gzip") ASK("/h", "gzip") ASK("/p", "gzip") ASK("/c", "gzip")
                    ASK_HEAD("/o", "gzip") ASK("/p", "gzip") ASK("/h", "gzip") ASK("/p", "gzip"));
  for (const char *kind = "cpchpcophp"; *kind != '\0'; kind++) {
    test_note("%s", kind);
    if (*kind == 'o')
      RESPONSE_TO_HEAD(&p, &r);
    else
      RESPONSE(&p, &r);
    CHECK_INT(find_header(&r, "Content-Encoding") != NULL, *kind == 'c');
    CHECK_INT(find_header(&r, "Vary") != NULL, *kind == 'c');
    if (*kind == 'c') CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, PAGE_BYTES));
    if (*kind == 'p') CHECK_PLAIN(&r);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void compress_only(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (msg->target.len == 1) CHECK_INT(tavi_http_compress(c, msg, NULL), TAVI_CODING_GZIP);
}

TEST(deferred__answered_later__with_the_next_requests_waiting) {
  serve(NULL);
  rig.on_headers = compress_only;
  rig.on_message = compress_only;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, ASK("/", "gzip") ASK("/plain", "gzip") ASK("/", "gzip"));
  for (unsigned i = 1; i <= 3; i++) {
    UNTIL(rig.messages == i);
    rig_settle();
    CHECK_INT(tavi_http_reply(rig.conn, 200, NULL, 0, plan.body), 0);
    RESPONSE(&p, &r);
    CHECK_INT(find_header(&r, "Content-Encoding") != NULL, i != 2);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

static void compress_body(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  CHECK_INT(tavi_http_compress(c, msg, NULL), TAVI_CODING_GZIP);
}

static void reply_page(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  (void) msg;
  CHECK_INT(tavi_http_reply(c, 200, NULL, 0, plan.body), 0);
}

TEST(request_with_a_body__in_pieces__answer_compressed) {
  serve(NULL);
  rig.on_headers = compress_body;
  rig.on_message = reply_page;
  struct peer p = peer_open();
  struct response r = {0};
  const char *request = "POST / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  peer_send_slowly(&p, request, strlen(request));
  RESPONSE(&p, &r);
  CHECK(decodes_to(TAVI_CODING_GZIP, r.body, page, PAGE_BYTES));

  peer_send(&p, "POST / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: 99999999999\r\n\r\n");
  RESPONSE(&p, &r); /* what the library says itself is as always */
  CHECK_INT(r.status, 413);
  CHECK(find_header(&r, "Vary") == NULL);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* ==== short of memory ==== */

TEST(manager_is_full__stream_goes_as_it_is_or_fails) {
  struct tavi_manager_opts opts;
  struct tavi_listener *l;
  struct tavi_addr addr;
  fill();
  memset(&rig, 0, sizeof(rig));
  tavi_manager_opts_init(&opts);
  opts.buffered_bytes_max = 100000;
  if (tavi_manager_new(&opts, &rig.m) != 0) abort();
  if (tavi_http_listen(rig.m, "http://127.0.0.1:0", NULL, &rig__handlers, NULL, &l) != 0) abort();
  if (tavi_listener_local_addr(l, &addr) != 0) abort();
  rig.port = addr.port;
  tavi_http_compress_opts_init(&plan.opts);
  plan.header_count = 0;
  rig.on_message = begin_stream;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, ASK("/", "gzip"));
  UNTIL(rig.messages == 1);
  CHECK_INT(tavi_http_chunk(rig.conn, "hello", 5), 0);
  CHECK_INT(tavi_http_end(rig.conn, NULL, 0), 0);
  RESPONSE(&p, &r);
  CHECK_STR(r.body, "hello");
  CHECK(find_header(&r, "Content-Encoding") == NULL);
  CHECK(header_is(&r, "Vary", "Accept-Encoding"));
  if (built() & TAVI_CODING_ZSTD) { /* takes its memory with the first bytes */
    peer_send(&p, ASK("/", "zstd"));
    UNTIL(rig.messages == 2);
    CHECK_INT(tavi_http_chunk(rig.conn, "hello", 5), TAVI_E_LIMIT);
    UNTIL(rig.closed == 1);
    CHECK_INT(rig.err, TAVI_E_LIMIT);
  }
  CHECK_INT(tavi_manager_buffered(rig.m), 0);
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* The whole answer, or a part of it and then the end. */
static void alloc_message(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_header h[] = {HEADER("ETag", "\"a\""), HEADER("Vary", "Cookie")};
  int err = tavi_http_compress(c, msg, NULL);
  CHECK(err > 0 || err == TAVI_E_NOMEM);
  if (msg->target.ptr[1] == 's') {
    if (tavi_http_begin(c, 200, h, 2, TAVI_HTTP_STREAM) == 0 && tavi_http_chunk(c, page, 3000) == 0 &&
        tavi_http_chunk(c, page + 3000, PAGE_BYTES - 3000) == 0)
      tavi_http_end(c, NULL, 0);
  } else {
    tavi_http_reply(c, 200, h, 2, (struct tavi_slice){page, PAGE_BYTES});
  }
  if (tavi_http_is_waiting(c)) tavi_conn_close(c);
}

static void check_alloc(const char *request, unsigned coding) {
  unsigned n = 1, compressed = 0, plain = 0;
  for (bool failed = true; failed && n < 300; n++) {
    rig_serve(NULL);
    rig.on_message = alloc_message;
    struct peer p = peer_open();
    struct response r = {0};
    peer_pump(&p);
    p.bytes = __real_realloc(p.bytes, 1 << 20);
    if (p.bytes == NULL) abort();
    p.cap = 1 << 20;
    test_note("%s: allocation %u fails", request, n);
    fail_begin(n);
    peer_send(&p, request);
    UNTIL(peer_pump(&p));
    failed = fail_end();
    if (peer_parse(&p, &r, false) == 1) { /* not cut off */
      bool is_coded = find_header(&r, "Content-Encoding") != NULL;
      CHECK(is_coded ? decodes_to(coding, r.body, page, PAGE_BYTES)
                     : r.body.len == PAGE_BYTES && memcmp(r.body.ptr, page, PAGE_BYTES) == 0);
      CHECK(!is_coded || header_is(&r, "Vary", "Cookie, Accept-Encoding"));
      compressed += is_coded;
      plain += !is_coded;
    }
    CHECK_INT(tavi_manager_buffered(rig.m), 0);
    response_free(&r);
    peer_close(&p);
    rig_stop();
  }
  CHECK(compressed > 0); /* the last one, at least */
  CHECK(plain > 0);      /* no memory for the encoder: no reason to fail */
  CHECK(n > 5 && n < 300);
  printf("%u allocations\n", n - 2);
}

TEST(each_allocation_fails__answered_as_it_is_or_closed) {
#define CLOSING(target, coding) \
  "GET " target " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: " coding "\r\n\r\n"
  fill();
  check_alloc(CLOSING("/whole", "gzip"), TAVI_CODING_GZIP);
  check_alloc(CLOSING("/stream", "gzip"), TAVI_CODING_GZIP);
  if (built() & TAVI_CODING_BROTLI) {
    check_alloc(CLOSING("/whole", "br"), TAVI_CODING_BROTLI);
    check_alloc(CLOSING("/stream", "br"), TAVI_CODING_BROTLI);
  }
  if (built() & TAVI_CODING_ZSTD) {
    check_alloc(CLOSING("/whole", "zstd"), TAVI_CODING_ZSTD);
    check_alloc(CLOSING("/stream", "zstd"), TAVI_CODING_ZSTD);
  }
}
