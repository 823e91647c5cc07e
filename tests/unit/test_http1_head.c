/* SPDX-License-Identifier: MIT
 *
 * Heads of HTTP/1.1: all vectors of tests/vectors/http1, each whole, at every prefix, and against pages that may not be
 * touched; then every byte value at every place where one may stand; then the limits, each at its edge.
 *
 * What is compared is a one-line summary of the message, so that a vector reads as what it means. */
#include "guard.h"
#include "test.h"
#include "wire/http1.h"

enum { HEADERS_MAX = 64, HEAD_MAX = 4096 };

static const struct tavi__http1_limits wide = {HEAD_MAX, HEAD_MAX, HEADERS_MAX};

enum kind { REQUEST, RESPONSE };

struct vector {
  const char *section;
  const char *title;
  const char *bytes;
  size_t len;
  const char *summary; /* NULL when refused */
  int status;          /* of a refused one, negative */
  enum tavi__http1_question question;
};

#define SIZED(literal) literal, sizeof(literal) - 1
#define GOOD(section, title, head, summary) {section, title, SIZED(head), summary, 0, TAVI__HTTP1_OTHER},
#define ASKED(section, title, question, head, summary) \
  {section, title, SIZED(head), summary, 0, TAVI__HTTP1_##question},
#define BAD(section, title, bytes, status) {section, title, SIZED(bytes), NULL, -(status), TAVI__HTTP1_OTHER},

static const struct vector requests[] = {
#include "../vectors/http1/request.inc"
};

#undef BAD
#define BAD(section, title, bytes) {section, title, SIZED(bytes), NULL, -502, TAVI__HTTP1_OTHER},

static const struct vector responses[] = {
#include "../vectors/http1/response.inc"
};

enum { REQUESTS = sizeof requests / sizeof requests[0], RESPONSES = sizeof responses / sizeof responses[0] };

static struct tavi_http_header headers[HEADERS_MAX + 1];

static int parse(enum kind kind, const struct vector *v, const char *p, size_t len,
                 const struct tavi__http1_limits *limits, size_t *consumed, struct tavi_http_msg *ret_msg) {
  memset(ret_msg, 0xa5, sizeof *ret_msg); /* a field that is not set shows */
  *consumed = SIZE_MAX;
  if (kind == REQUEST) return tavi__http1_request(p, len, limits, headers, consumed, ret_msg);
  return tavi__http1_response(p, len, v->question, limits, headers, consumed, ret_msg);
}

/* ==== summaries ==== */

struct text {
  char bytes[2 * HEAD_MAX];
  size_t len;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  t->len += (size_t)vsnprintf(t->bytes + t->len, sizeof t->bytes - t->len, format, args);
  va_end(args);
}

static void put_slice(struct text *t, struct tavi_slice s) {
  if (s.len > 0) memcpy(t->bytes + t->len, s.ptr, s.len);
  t->len += s.len;
}

static void put_framing(struct text *t, const struct tavi_http_msg *m) {
  switch (m->framing) {
    case TAVI_HTTP_NO_BODY: put(t, " none"); break;
    case TAVI_HTTP_LENGTH: put(t, " %llu", (unsigned long long)m->content_length); break;
    case TAVI_HTTP_CHUNKED: put(t, " chunked"); break;
    case TAVI_HTTP_UNTIL_CLOSE: put(t, " close"); break;
  }
}

static void summarise(enum kind kind, const struct tavi_http_msg *m, struct text *t) {
  t->len = 0;
  if (kind == REQUEST) {
    put_slice(t, m->method);
    put(t, " ");
    put_slice(t, m->target);
    const bool is_plain = m->path.ptr == m->target.ptr && m->path.len == m->target.len && m->query.len == 0;
    if (!is_plain) {
      put(t, "(");
      put_slice(t, m->path);
      put(t, ",");
      put_slice(t, m->query);
      put(t, ")");
    }
  } else {
    put(t, "%d <", m->status);
    put_slice(t, m->reason);
    put(t, ">");
  }
  put(t, " 1.%d", m->minor);
  put_framing(t, m);
  put(t, m->keep_alive ? " keep" : " close");
  if (m->expects_continue) put(t, " expect");
  if (m->upgrades) put(t, " upgrade");
  for (size_t i = 0; i < m->header_count; i++) {
    put(t, "|");
    put_slice(t, m->headers[i].name);
    put(t, "=");
    put_slice(t, m->headers[i].value);
  }
}

/* ==== one vector ==== */

static void check_good(enum kind kind, const struct vector *v, const char *p, size_t len) {
  struct tavi_http_msg m;
  struct text t;
  size_t consumed;
  if (!CHECK_INT(parse(kind, v, p, len, &wide, &consumed, &m), TAVI_WIRE_EVENT)) return;
  CHECK_INT(consumed, v->len);
  summarise(kind, &m, &t);
  CHECK_BYTES(t.bytes, t.len, v->summary, strlen(v->summary));

  const size_t skipped = kind == REQUEST && *p == '\r' ? 2 : 0;
  CHECK(m.head.ptr == p + skipped && m.head.len == v->len - skipped);
  CHECK(m.version.len == 8 && memcmp(m.version.ptr, "HTTP/1.", 7) == 0);
  CHECK(m.headers == headers && m.trailer_count == 0 && m.body.len == 0);
  if (kind == REQUEST) CHECK(m.status == 0 && m.reason.len == 0);
  else CHECK(m.method.len == 0 && m.target.len == 0 && m.path.len == 0 && m.query.len == 0 && !m.expects_continue);
}

/* The answer for the first `len` bytes, which must be what the whole is going to get, or MORE. */
static int check_prefix(enum kind kind, const struct vector *v, const char *p, size_t len) {
  struct tavi_http_msg m;
  size_t consumed;
  const int got = parse(kind, v, p, len, &wide, &consumed, &m);
  test_note("%s %s, %zu of %zu bytes", v->section, v->title, len, v->len);
  if (v->summary == NULL) CHECK(got == TAVI_WIRE_MORE || got == v->status);
  else CHECK_INT(got, TAVI_WIRE_MORE);
  return got;
}

static void check_vector(enum kind kind, const struct vector *v) {
  int before = TAVI_WIRE_MORE;
  for (size_t len = 0; len < v->len; len++) {
    const int got = check_prefix(kind, v, guard_at_end(v->bytes, len), len);
    CHECK_INT(check_prefix(kind, v, guard_at_start(v->bytes, len), len), got);
    CHECK(before == TAVI_WIRE_MORE || got == before);
    before = got;
  }
  test_note("%s %s", v->section, v->title);
  struct tavi_http_msg m;
  size_t consumed;
  if (v->summary == NULL) {
    CHECK_INT(parse(kind, v, guard_at_end(v->bytes, v->len), v->len, &wide, &consumed, &m), v->status);
    CHECK_INT(parse(kind, v, guard_at_start(v->bytes, v->len), v->len, &wide, &consumed, &m), v->status);
    CHECK_INT(consumed, SIZE_MAX);
    return;
  }
  check_good(kind, v, guard_at_end(v->bytes, v->len), v->len);
  check_good(kind, v, guard_at_start(v->bytes, v->len), v->len);

  char more[HEAD_MAX]; /* what follows a head is none of the parser's business */
  memcpy(more, v->bytes, v->len);
  memcpy(more + v->len, "\n\0 GET", 6);
  check_good(kind, v, guard_at_end(more, v->len + 6), v->len + 6);
}

TEST(http1_request__all_vectors_at_every_prefix) {
  for (size_t i = 0; i < REQUESTS; i++) check_vector(REQUEST, &requests[i]);
}

TEST(http1_response__all_vectors_at_every_prefix) {
  for (size_t i = 0; i < RESPONSES; i++) check_vector(RESPONSE, &responses[i]);
}

/* The length of the head must not matter to the block scanners: shift every vector through all alignments and sizes by
 * a field in front that grows by one byte. */
TEST(http1_request__vectors_behind_a_growing_field) {
  for (size_t i = 0; i < REQUESTS; i++) {
    const struct vector *v = &requests[i];
    const char *line_end = memchr(v->bytes, '\n', v->len);
    if (v->summary == NULL || *v->bytes == '\r') continue;
    const size_t line = (size_t)(line_end - v->bytes) + 1;
    for (size_t grow = 0; grow < 18; grow++) {
      char head[HEAD_MAX];
      size_t len = line;
      memcpy(head, v->bytes, line);
      len += (size_t)snprintf(head + len, sizeof head - len, "P: %.*s\r\n", (int)grow, "abcdefghijklmnopqrstuvwxyz");
      memcpy(head + len, v->bytes + line, v->len - line);
      len += v->len - line;
      test_note("%s %s, %zu", v->section, v->title, grow);
      struct tavi_http_msg m;
      size_t consumed;
      CHECK_INT(parse(REQUEST, v, guard_at_end(head, len), len, &wide, &consumed, &m), TAVI_WIRE_EVENT);
      if (CHECK_INT(consumed, len)) CHECK_INT(m.headers[0].value.len, grow);
    }
  }
}

/* ==== every byte value ==== */

static bool is_token_byte(int c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != 0 && c < 0x80 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_value_byte(int c) { return c == '\t' || (c >= ' ' && c != 0x7f); }
static bool is_target_byte(int c) { return c > ' ' && c != 0x7f && c != '#'; }
static bool is_method_byte(int c) { return is_token_byte(c); }
static bool is_reason_byte(int c) { return is_value_byte(c); }

static bool is_host_byte(int c) {
  return (is_token_byte(c) && strchr("#%^`|", c) == NULL) || (c != 0 && c < 0x80 && strchr("();=", c) != NULL);
}

/* Put each byte value at each place of the run between `before` and `after`; the run is `run_len` times 'z'. */
static void check_every_byte(enum kind kind, const char *before, const char *after, bool (*is_allowed)(int)) {
  static const struct vector nothing;
  for (size_t run_len = 3; run_len < 40; run_len += 12) {
    for (size_t at = 1; at + 1 < run_len; at++) {
      for (int c = 0; c < 256; c++) {
        char head[HEAD_MAX];
        size_t len = strlen(before);
        memcpy(head, before, len);
        memset(head + len, 'z', run_len); /* not a hexadecimal digit: '%' is good in no place */
        head[len + at] = (char)c;
        memcpy(head + len + run_len, after, strlen(after));
        len += run_len + strlen(after);
        test_note("byte 0x%02x at %zu of %zu behind \"%s\"", (unsigned)c, at, run_len, before);
        struct tavi_http_msg m;
        size_t consumed;
        const int got = parse(kind, &nothing, guard_at_end(head, len), len, &wide, &consumed, &m);
        if (is_allowed(c)) CHECK_INT(got, TAVI_WIRE_EVENT);
        else CHECK_INT(got, kind == REQUEST ? -400 : -502);
      }
    }
  }
}

/* A colon inside a name ends it, and a colon inside a host begins a port, of which letters are none. A space ends a
 * method or target, and then what follows is wrong. */
static bool is_name_byte(int c) { return is_token_byte(c) || c == ':'; }

TEST(http1_request__every_byte_in_a_method) {
  check_every_byte(REQUEST, "", " / HTTP/1.1\r\nHost: a\r\n\r\n", is_method_byte);
}

TEST(http1_request__every_byte_in_a_path) {
  check_every_byte(REQUEST, "GET /", " HTTP/1.1\r\nHost: a\r\n\r\n", is_target_byte);
}

TEST(http1_request__every_byte_in_a_query) {
  check_every_byte(REQUEST, "GET /?", " HTTP/1.1\r\nHost: a\r\n\r\n", is_target_byte);
}

TEST(http1_request__every_byte_in_a_name) {
  check_every_byte(REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n", ": y\r\n\r\n", is_name_byte);
}

TEST(http1_request__every_byte_in_a_value) {
  check_every_byte(REQUEST, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n", is_value_byte);
}

TEST(http1_request__every_byte_in_a_host) {
  check_every_byte(REQUEST, "GET / HTTP/1.1\r\nHost: ", "\r\n\r\n", is_host_byte);
}

TEST(http1_response__every_byte_in_a_reason) {
  check_every_byte(RESPONSE, "HTTP/1.1 200 ", "\r\n\r\n", is_reason_byte);
}

TEST(http1_response__every_byte_in_a_value) {
  check_every_byte(RESPONSE, "HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n", is_value_byte);
}


/* ==== limits ==== */

static int request_with(const char *head, size_t head_max, size_t target_max, size_t count_max) {
  const struct tavi__http1_limits limits = {head_max, target_max, count_max};
  const struct vector nothing = {0};
  struct tavi_http_msg m;
  size_t consumed;
  int before = TAVI_WIRE_MORE;
  for (size_t len = 0; len <= strlen(head); len++) { /* an error must stay the same from where it is first told */
    const int got = parse(REQUEST, &nothing, guard_at_end(head, len), len, &limits, &consumed, &m);
    test_note("limits %zu %zu %zu, %zu bytes of %s", head_max, target_max, count_max, len, head);
    CHECK(before == TAVI_WIRE_MORE || got == before);
    before = got;
  }
  return before;
}

TEST(http1_request__head_of_exactly_the_limit_is_good) {
  const char *head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  CHECK_INT(request_with(head, 27, 100, 9), TAVI_WIRE_EVENT);
  CHECK_INT(request_with("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, 100, 9), TAVI_WIRE_EVENT);
  for (size_t max = 0; max < 16; max++) CHECK_INT(request_with(head, max, 100, 9), -414);
  for (size_t max = 16; max < 27; max++) CHECK_INT(request_with(head, max, 100, 9), -431);
}

TEST(http1_request__errors_before_the_head_limit_win) {
  CHECK_INT(request_with("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 26, 100, 9), -400);
  CHECK_INT(request_with("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 25, 100, 9), -431);
}

TEST(http1_request__target_limit) {
  const char *head = "GET /abc?de HTTP/1.1\r\nHost: a\r\n\r\n";
  CHECK_INT(request_with(head, 100, 7, 9), TAVI_WIRE_EVENT);
  for (size_t max = 0; max < 7; max++) CHECK_INT(request_with(head, 100, max, 9), -414);
  CHECK_INT(request_with("GET /abc\x01 HTTP/1.1\r\n", 100, 4, 9), -400);
  CHECK_INT(request_with("GET /abc\x01 HTTP/1.1\r\n", 100, 3, 9), -414);
  CHECK_INT(request_with("GET /abcdefghijklmnopqrstuvwxyz0123456789", 100, 30, 9), -414);
}

TEST(http1_request__header_count_limit) {
  const char *head = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n";
  CHECK_INT(request_with(head, 100, 100, 3), TAVI_WIRE_EVENT);
  for (size_t max = 0; max < 3; max++) CHECK_INT(request_with(head, 100, 100, max), -431);
  CHECK_INT(request_with("GET / HTTP/1.0\r\n\r\n", 100, 100, 0), TAVI_WIRE_EVENT);
}

TEST(http1_request__header_array_is_not_written_beyond_the_limit) {
  memset(headers, 0x5a, sizeof headers);
  const struct tavi_http_header untouched = headers[2];
  CHECK_INT(request_with("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n", 100, 100, 2), -431);
  CHECK(memcmp(&headers[2], &untouched, sizeof untouched) == 0);
}

TEST(http1_request__hundreds_of_headers) {
  static char head[3 * HEAD_MAX];
  static struct tavi_http_header many[1000];
  size_t len = (size_t)snprintf(head, sizeof head, "GET / HTTP/1.0\r\n");
  for (int i = 0; i < 1000; i++) len += (size_t)snprintf(head + len, sizeof head - len, "X%d:%d\r\n", i, i);
  len += (size_t)snprintf(head + len, sizeof head - len, "\r\n");
  const struct tavi__http1_limits limits = {sizeof head, 100, 1000};
  struct tavi_http_msg m;
  size_t consumed;
  CHECK_INT(tavi__http1_request(head, len, &limits, many, &consumed, &m), TAVI_WIRE_EVENT);
  CHECK_INT(m.header_count, 1000);
  CHECK_STR(many[999].name, "X999");
  CHECK_STR(many[999].value, "999");
}

TEST(http1_response__limits) {
  const char *head = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
  const struct vector nothing = {0};
  struct tavi_http_msg m;
  size_t consumed;
  for (size_t max = 0; max <= strlen(head); max++) {
    const struct tavi__http1_limits limits = {max, 0, 2};
    CHECK_INT(parse(RESPONSE, &nothing, head, strlen(head), &limits, &consumed, &m), max < strlen(head) ? -431 : 1);
  }
  const struct tavi__http1_limits one = {100, 0, 1};
  CHECK_INT(parse(RESPONSE, &nothing, head, strlen(head), &one, &consumed, &m), -431);
}

TEST(http1_response__length_of_an_answer_to_head_is_told) {
  const char *head = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";
  struct tavi_http_msg m;
  size_t consumed;
  CHECK_INT(tavi__http1_response(head, strlen(head), TAVI__HTTP1_HEAD, &wide, headers, &consumed, &m), TAVI_WIRE_EVENT);
  CHECK_INT(m.framing, TAVI_HTTP_NO_BODY);
  CHECK_INT(m.content_length, 12);
}

/* ==== pipelining ==== */

TEST(http1_request__two_in_a_row) {
  const char *two = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
  struct tavi_http_msg m;
  size_t first;
  size_t second;
  CHECK_INT(tavi__http1_request(two, strlen(two), &wide, headers, &first, &m), TAVI_WIRE_EVENT);
  CHECK_STR(m.path, "/a");
  CHECK_INT(tavi__http1_request(two + first, strlen(two) - first, &wide, headers, &second, &m), TAVI_WIRE_EVENT);
  CHECK_STR(m.path, "/b");
  CHECK_INT(first + second, strlen(two));
}
