/* SPDX-License-Identifier: MIT
 *
 * Chunked bodies and trailers: all vectors of tests/vectors/http1/chunk.inc, decoded in one piece, in two pieces cut at
 * every place, and byte by byte, always from memory with nothing behind it. */
#include "guard.h"
#include "test.h"
#include "wire/http1.h"

enum { BYTES_MAX = 2048, TRAILER_BYTES_MAX = 64 };

struct vector {
  const char *section;
  const char *title;
  const char *bytes;
  size_t len;
  const char *data; /* NULL when refused */
  size_t data_len;
  const char *trailers;
  int status; /* of a refused one, negative */
};

#define SIZED(literal) literal, sizeof(literal) - 1
#define GOOD(section, title, bytes, data, trailers) {section, title, SIZED(bytes), SIZED(data), trailers, 0},
#define BAD(section, title, bytes, status) {section, title, SIZED(bytes), NULL, 0, NULL, -(status)},
#define TRAILERS(section, title, raw, summary)
#define BAD_TRAILERS(section, title, raw, status)

static const struct vector bodies[] = {
#include "../vectors/http1/chunk.inc"
};

#undef GOOD
#undef BAD
#undef TRAILERS
#undef BAD_TRAILERS
#define GOOD(section, title, bytes, data, trailers)
#define BAD(section, title, bytes, status)
#define TRAILERS(section, title, raw, summary) {section, title, SIZED(raw), summary, sizeof(summary) - 1, NULL, 0},
#define BAD_TRAILERS(section, title, raw, status) {section, title, SIZED(raw), NULL, 0, NULL, -(status)},

static const struct vector sections[] = {
#include "../vectors/http1/chunk.inc"
};

enum { BODIES = sizeof bodies / sizeof bodies[0], SECTIONS = sizeof sections / sizeof sections[0] };

/* ==== a caller ==== */

/* What a connection does: it keeps what was not consumed and appends what has come. */
struct caller {
  struct tavi__http1_chunks chunks;
  char kept[BYTES_MAX];
  size_t kept_len;
  char data[BYTES_MAX];
  size_t data_len;
  char trailers[BYTES_MAX];
  size_t trailers_len;
  int status; /* 0 going on, 1 complete, negative error */
};

static void feed(struct caller *c, const char *bytes, size_t len) {
  memcpy(c->kept + c->kept_len, bytes, len);
  c->kept_len += len;
  while (c->status == 0) {
    char *p = guard_at_end(c->kept, c->kept_len);
    size_t consumed = 0;
    enum tavi__http1_chunk_event event = TAVI__HTTP1_TRAILERS;
    struct tavi_slice data = {NULL, 0};
    const int got = tavi__http1_chunk(&c->chunks, p, c->kept_len, TRAILER_BYTES_MAX, &consumed, &event, &data);
    if (got < 0) {
      c->status = got;
      return;
    }
    if (!CHECK(consumed <= c->kept_len)) return;
    if (got == TAVI_WIRE_EVENT) {
      CHECK(data.len > 0 && data.ptr >= p && data.ptr + data.len == p + consumed);
      char *to = event == TAVI__HTTP1_DATA ? c->data : c->trailers;
      size_t *to_len = event == TAVI__HTTP1_DATA ? &c->data_len : &c->trailers_len;
      memcpy(to + *to_len, data.ptr, data.len);
      *to_len += data.len;
      if (event == TAVI__HTTP1_TRAILERS) c->status = 1;
    }
    memmove(c->kept, c->kept + consumed, c->kept_len - consumed);
    c->kept_len -= consumed;
    if (got == TAVI_WIRE_MORE) {
      CHECK(c->kept_len < TRAILER_BYTES_MAX);
      return;
    }
  }
}

static void check_result(const struct vector *v, const struct caller *c) {
  if (v->data == NULL) {
    CHECK_INT(c->status, v->status);
    return;
  }
  CHECK_INT(c->status, 1);
  CHECK_BYTES(c->data, c->data_len, v->data, v->data_len);
  CHECK_BYTES(c->trailers, c->trailers_len, v->trailers, strlen(v->trailers));
}

/* An error, or the end, must not be taken back. */
static void check_is_dead(struct caller *c) {
  size_t consumed = 0;
  enum tavi__http1_chunk_event event;
  struct tavi_slice data;
  const int wanted = c->status < 0 ? c->status : -400;
  CHECK_INT(tavi__http1_chunk(&c->chunks, "0\r\n\r\n", 5, TRAILER_BYTES_MAX, &consumed, &event, &data), wanted);
  CHECK_INT(tavi__http1_chunk(&c->chunks, "", 0, TRAILER_BYTES_MAX, &consumed, &event, &data), wanted);
}

TEST(http1_chunk__all_vectors_in_one_piece) {
  for (size_t i = 0; i < BODIES; i++) {
    const struct vector *v = &bodies[i];
    struct caller c = {.status = 0};
    test_note("%s %s", v->section, v->title);
    feed(&c, v->bytes, v->len);
    check_result(v, &c);
    if (v->data != NULL) CHECK_INT(c.kept_len, 0);
    check_is_dead(&c);
  }
}

TEST(http1_chunk__all_vectors_with_the_next_request_behind) {
  for (size_t i = 0; i < BODIES; i++) {
    const struct vector *v = &bodies[i];
    if (v->data == NULL) continue;
    struct caller c = {.status = 0};
    char both[BYTES_MAX];
    memcpy(both, v->bytes, v->len);
    memcpy(both + v->len, "GET / HTTP/1.1\r\n", 16);
    test_note("%s %s", v->section, v->title);
    feed(&c, both, v->len + 16);
    check_result(v, &c);
    CHECK_BYTES(c.kept, c.kept_len, "GET / HTTP/1.1\r\n", 16);
  }
}

TEST(http1_chunk__all_vectors_in_two_pieces) {
  for (size_t i = 0; i < BODIES; i++) {
    const struct vector *v = &bodies[i];
    for (size_t cut = 0; cut <= v->len; cut++) {
      struct caller c = {.status = 0};
      test_note("%s %s, cut at %zu", v->section, v->title, cut);
      feed(&c, v->bytes, cut);
      if (v->data != NULL && cut < v->len) CHECK_INT(c.status, 0);
      if (v->data == NULL) CHECK(c.status == 0 || c.status == v->status);
      feed(&c, v->bytes + cut, v->len - cut);
      check_result(v, &c);
    }
  }
}

TEST(http1_chunk__all_vectors_byte_by_byte) {
  for (size_t i = 0; i < BODIES; i++) {
    const struct vector *v = &bodies[i];
    struct caller c = {.status = 0};
    for (size_t at = 0; at < v->len; at++) {
      test_note("%s %s, byte %zu", v->section, v->title, at);
      feed(&c, v->bytes + at, 1);
    }
    check_result(v, &c);
  }
}

/* ==== limits ==== */

TEST(http1_chunk__size_line_of_256_bytes_is_good_and_257_is_not) {
  for (size_t line = 255; line <= 258; line++) {
    char body[BYTES_MAX];
    memset(body, 'x', sizeof body);
    memcpy(body, "1;", 2);
    memcpy(body + line - 2, "\r\nd\r\n0\r\n\r\n", 10);
    struct caller c = {.status = 0};
    test_note("%zu", line);
    feed(&c, body, line + 8);
    CHECK_INT(c.status, line <= 256 ? 1 : -400);
  }
}

TEST(http1_chunk__size_line_limit_is_for_each_line) {
  struct caller c = {.status = 0};
  char line[256];
  memset(line, 'x', sizeof line);
  memcpy(line, "1;", 2);
  memcpy(line + 199, "\r\nd\r\n", 5);
  for (int i = 0; i < 5; i++) feed(&c, line, 204);
  feed(&c, "0\r\n\r\n", 5);
  CHECK_INT(c.status, 1);
  CHECK_BYTES(c.data, c.data_len, "ddddd", 5);
}

TEST(http1_chunk__endless_extension_is_refused) {
  struct tavi__http1_chunks chunks = {0};
  enum tavi__http1_chunk_event event;
  struct tavi_slice data;
  size_t consumed = 0;
  CHECK_INT(tavi__http1_chunk(&chunks, "1;", 2, 64, &consumed, &event, &data), TAVI_WIRE_MORE);
  int got = TAVI_WIRE_MORE;
  int calls = 0;
  while (got == TAVI_WIRE_MORE && calls < 1000) {
    got = tavi__http1_chunk(&chunks, "a", 1, 64, &consumed, &event, &data);
    calls++;
  }
  CHECK_INT(got, -400);
  CHECK_INT(calls, 255);
}

TEST(http1_chunk__greatest_size_is_taken_and_data_is_told_in_runs) {
  struct tavi__http1_chunks chunks = {0};
  enum tavi__http1_chunk_event event;
  struct tavi_slice data;
  size_t consumed = 0;
  CHECK_INT(tavi__http1_chunk(&chunks, "7fffffffffffffff\r\nabc", 21, 64, &consumed, &event, &data), TAVI_WIRE_EVENT);
  CHECK_INT(consumed, 21);
  CHECK_INT(event, TAVI__HTTP1_DATA);
  CHECK_STR(data, "abc");
  CHECK_INT(tavi__http1_chunk(&chunks, "\r\n", 2, 64, &consumed, &event, &data), TAVI_WIRE_EVENT);
  CHECK_STR(data, "\r\n");
  CHECK_INT(chunks.left, INT64_MAX - 5);
}

TEST(http1_chunk__no_trailers_fit_a_limit_of_zero) {
  struct tavi__http1_chunks chunks = {0};
  enum tavi__http1_chunk_event event;
  struct tavi_slice data;
  size_t consumed = 0;
  CHECK_INT(tavi__http1_chunk(&chunks, "0\r\n\r\n", 5, 0, &consumed, &event, &data), TAVI_WIRE_EVENT);
  CHECK_INT(consumed, 5);
  CHECK_STR(data, "\r\n");
}

TEST(http1_chunk__state_is_small) { CHECK(sizeof(struct tavi__http1_chunks) <= 16); }

/* ==== trailer fields ==== */

TEST(http1_trailers__all_vectors) {
  for (size_t i = 0; i < SECTIONS; i++) {
    const struct vector *v = &sections[i];
    for (int at_start = 0; at_start < 2; at_start++) {
      struct tavi_http_header fields[4];
      const char *p = at_start ? guard_at_start(v->bytes, v->len) : guard_at_end(v->bytes, v->len);
      test_note("%s %s", v->section, v->title);
      const int count = tavi__http1_trailers((struct tavi_slice){p, v->len}, fields, 4);
      if (v->data == NULL) {
        CHECK_INT(count, v->status);
        continue;
      }
      char summary[256] = "";
      size_t len = 0;
      for (int k = 0; k < count; k++) {
        len += (size_t)snprintf(summary + len, sizeof summary - len, "%s%.*s=%.*s", k > 0 ? "|" : "",
                                (int)fields[k].name.len, fields[k].name.ptr, (int)fields[k].value.len,
                                fields[k].value.ptr);
      }
      CHECK_BYTES(summary, len, v->data, v->data_len);
    }
  }
}

TEST(http1_trailers__strict_prefixes_are_refused) {
  const char *raw = "X: y\r\nZ: w\r\n\r\n";
  struct tavi_http_header fields[4];
  for (size_t len = 0; len < strlen(raw); len++) {
    CHECK_INT(tavi__http1_trailers((struct tavi_slice){guard_at_end(raw, len), len}, fields, 4), -400);
  }
}
