/* SPDX-License-Identifier: MIT
 *
 * The invariants that hold for every head, of requests and responses alike:
 *
 *  - what a prefix is refused for, the whole is refused for; a strict prefix of a good head is MORE;
 *  - `consumed` is within the input, and every slice is within the head;
 *  - the head alone, without what followed it, parses to the same message;
 *  - under narrower limits the answer is the same, or a limit's status.
 *
 * The including file defines PARSE(p, len, limits, headers, consumed, ret_msg). */
#ifndef TAVI_FUZZ_HTTP1_HEAD_H
#define TAVI_FUZZ_HTTP1_HEAD_H

#include "fuzz.h"
#include "wire/http1.h"

enum { FUZZ_HEADERS_MAX = 32 };

static const struct tavi__http1_limits fuzz_wide = {2048, 512, FUZZ_HEADERS_MAX};

static int fuzz_parse(const char *p, size_t len, const struct tavi__http1_limits *limits,
                      struct tavi_http_header *headers, size_t *consumed, struct tavi_http_msg *ret_msg) {
  memset(ret_msg, 0xa5, sizeof *ret_msg);
  *consumed = 0;
  return PARSE(p, len, limits, headers, consumed, ret_msg);
}

static void fuzz_check_within(struct tavi_slice s, struct tavi_slice head) {
  if (s.len == 0) return;
  FUZZ_CHECK(s.ptr >= head.ptr && s.len <= head.len && (size_t)(s.ptr - head.ptr) <= head.len - s.len);
}

/* No byte that could be taken for framing may have come through in a place where people build messages from it. */
static void fuzz_check_bytes(struct tavi_slice s) {
  for (size_t i = 0; i < s.len; i++) FUZZ_CHECK(s.ptr[i] != '\r' && s.ptr[i] != '\n' && s.ptr[i] != '\0');
}

static void fuzz_check_message(const struct tavi_http_msg *m, const char *p, size_t consumed) {
  FUZZ_CHECK(m->head.ptr + m->head.len == p + consumed && m->head.ptr >= p);
  FUZZ_CHECK(m->head.len >= 4 && memcmp(m->head.ptr + m->head.len - 4, "\r\n\r\n", 4) == 0);
  FUZZ_CHECK(m->header_count <= FUZZ_HEADERS_MAX);
  FUZZ_CHECK(m->minor == 0 || m->minor == 1);
  const struct tavi_slice parts[] = {m->method, m->target, m->query, m->reason, m->version};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    fuzz_check_within(parts[i], m->head);
    fuzz_check_bytes(parts[i]);
  }
  if (!(m->path.len == 1 && *m->path.ptr == '/')) fuzz_check_within(m->path, m->target); /* "/" may be ours */
  for (size_t i = 0; i < m->header_count; i++) {
    fuzz_check_within(m->headers[i].name, m->head);
    fuzz_check_within(m->headers[i].value, m->head);
    FUZZ_CHECK(fuzz_padded(tavi__http1_is_token, m->headers[i].name));
    FUZZ_CHECK(fuzz_padded(tavi__http1_is_value, m->headers[i].value));
    fuzz_check_bytes(m->headers[i].value);
  }
  if (m->framing == TAVI_HTTP_LENGTH) FUZZ_CHECK(m->content_length <= INT64_MAX);
  if (m->framing == TAVI_HTTP_UNTIL_CLOSE) FUZZ_CHECK(!m->keep_alive);
}

/* The same message at two places: equal bytes and equal meaning. */
static void fuzz_check_same(const struct tavi_http_msg *a, const struct tavi_http_msg *b) {
  FUZZ_CHECK(a->head.len == b->head.len && memcmp(a->head.ptr, b->head.ptr, a->head.len) == 0);
  FUZZ_CHECK(a->method.len == b->method.len && a->target.len == b->target.len && a->path.len == b->path.len);
  FUZZ_CHECK(a->query.len == b->query.len && a->reason.len == b->reason.len && a->status == b->status);
  FUZZ_CHECK(a->minor == b->minor && a->header_count == b->header_count && a->framing == b->framing);
  FUZZ_CHECK(a->content_length == b->content_length && a->keep_alive == b->keep_alive);
  FUZZ_CHECK(a->expects_continue == b->expects_continue && a->upgrades == b->upgrades);
  for (size_t i = 0; i < a->header_count; i++) {
    FUZZ_CHECK(a->headers[i].name.ptr - a->head.ptr == b->headers[i].name.ptr - b->head.ptr);
    FUZZ_CHECK(a->headers[i].name.len == b->headers[i].name.len);
    FUZZ_CHECK(a->headers[i].value.ptr - a->head.ptr == b->headers[i].value.ptr - b->head.ptr);
    FUZZ_CHECK(a->headers[i].value.len == b->headers[i].value.len);
  }
}

static void fuzz_check_prefixes(const char *whole, size_t len, int status, size_t consumed) {
  static struct tavi_http_header headers[FUZZ_HEADERS_MAX];
  struct tavi_http_msg m;
  for (size_t cut = 0; cut < len; cut++) {
    char *part = fuzz_copy(whole, cut);
    size_t used;
    const int got = fuzz_parse(part, cut, &fuzz_wide, headers, &used, &m);
    if (got < 0) FUZZ_CHECK(got == status);
    if (got == TAVI_WIRE_EVENT) FUZZ_CHECK(status == TAVI_WIRE_EVENT && used == consumed && cut >= consumed);
    if (status == TAVI_WIRE_EVENT && cut >= consumed) FUZZ_CHECK(got == TAVI_WIRE_EVENT);
    free(part);
  }
}

static void fuzz_check_narrow(const char *p, size_t len, int status, uint8_t seed) {
  static struct tavi_http_header headers[FUZZ_HEADERS_MAX];
  const struct tavi__http1_limits narrow = {seed, seed % 32u, seed % 5u};
  struct tavi_http_msg m;
  size_t consumed;
  const int got = fuzz_parse(p, len, &narrow, headers, &consumed, &m);
  FUZZ_CHECK(got == status || got == -414 || got == -431 || got == -502);
}

static void fuzz_head(const uint8_t *data, size_t size) {
  static struct tavi_http_header headers[FUZZ_HEADERS_MAX];
  static struct tavi_http_header again[FUZZ_HEADERS_MAX];
  char *input = fuzz_copy(data, size);
  struct tavi_http_msg m;
  size_t consumed;
  const int status = fuzz_parse(input, size, &fuzz_wide, headers, &consumed, &m);
  FUZZ_CHECK(consumed <= size);
  fuzz_check_prefixes(input, size < 1024 ? size : 1024, status, consumed);
  fuzz_check_narrow(input, size, status, size > 0 ? data[size - 1] : 0);
  if (status == TAVI_WIRE_EVENT) {
    fuzz_check_message(&m, input, consumed);
    char *alone = fuzz_copy(m.head.ptr, m.head.len);
    struct tavi_http_msg other;
    size_t used;
    FUZZ_CHECK(fuzz_parse(alone, m.head.len, &fuzz_wide, again, &used, &other) == TAVI_WIRE_EVENT);
    FUZZ_CHECK(used == m.head.len);
    fuzz_check_same(&m, &other);
    free(alone);
  }
  free(input);
}

#endif
