/* SPDX-License-Identifier: MIT
 *
 * The text of server-sent events: what is written, that its size is told exactly, and that a reader of the standard's
 * (WHATWG HTML section 9.2.6, here the other way round) gets what was sent. */
#include "wire/event_stream.h"

#include "guard.h"
#include "random.h"
#include "test.h"

#define SLICE(text) ((struct tavi_slice){(text), sizeof(text) - 1})

static struct tavi_sse_event event_of(struct tavi_slice data) {
  struct tavi_sse_event ev = {.data = data, .retry_ms = -1};
  return ev;
}

/* Written so that memory ends behind its size. */
static struct tavi_slice written(const struct tavi_sse_event *ev) {
  size_t size = tavi__event_stream_size(ev);
  guard_init();
  if (!CHECK(size > 0 && size <= guard_size)) return (struct tavi_slice){NULL, 0};
  char *start = guard_first + guard_size - size;
  CHECK(tavi__event_stream_put(start, ev) == start + size);
  return (struct tavi_slice){start, size};
}

static struct tavi_slice written_data(struct tavi_slice data) {
  struct tavi_sse_event ev = event_of(data);
  return written(&ev);
}

/* ==== what is written ==== */

TEST(event_stream__one_line_of_data) {
  CHECK_STR(written_data(SLICE("hello")), "data: hello\n\n");
  CHECK_STR(written_data(SLICE(" with a space")), "data:  with a space\n\n");
  CHECK_STR(written_data(SLICE("data: x")), "data: data: x\n\n");
  CHECK_STR(written_data(SLICE("\xc3\xa4")), "data: \xc3\xa4\n\n");
  CHECK_BYTES(written_data(SLICE("a\0b")).ptr, 11, "data: a\0b\n\n", 11);
}

TEST(event_stream__each_line_of_data_is_a_field_whatever_ends_it) {
  CHECK_STR(written_data(SLICE("a\nb")), "data: a\ndata: b\n\n");
  CHECK_STR(written_data(SLICE("a\rb")), "data: a\ndata: b\n\n");
  CHECK_STR(written_data(SLICE("a\r\nb")), "data: a\ndata: b\n\n");
  CHECK_STR(written_data(SLICE("a\n\rb")), "data: a\ndata: \ndata: b\n\n");
  CHECK_STR(written_data(SLICE("a\r\r\nb")), "data: a\ndata: \ndata: b\n\n");
  CHECK_STR(written_data(SLICE("a\r\n\r\nb")), "data: a\ndata: \ndata: b\n\n");
  CHECK_STR(written_data(SLICE("a\n\nb")), "data: a\ndata: \ndata: b\n\n");
}

TEST(event_stream__a_line_end_at_the_end_is_data_too) {
  CHECK_STR(written_data(SLICE("a\n")), "data: a\ndata: \n\n");
  CHECK_STR(written_data(SLICE("a\r")), "data: a\ndata: \n\n");
  CHECK_STR(written_data(SLICE("a\r\n")), "data: a\ndata: \n\n");
  CHECK_STR(written_data(SLICE("\n")), "data: \ndata: \n\n");
}

TEST(event_stream__data_cannot_end_the_event_or_begin_another_field) {
  CHECK_STR(written_data(SLICE("x\n\nevent: evil\ndata: y")), "data: x\ndata: \ndata: event: evil\ndata: data: y\n\n");
}

TEST(event_stream__empty_data_only_when_it_is_wanted) {
  struct tavi_sse_event ev = event_of((struct tavi_slice){NULL, 0});
  CHECK_STR(written(&ev), "\n");
  ev.has_data = true;
  CHECK_STR(written(&ev), "data: \n\n");
  ev.event = SLICE("tick");
  ev.has_data = false;
  CHECK_STR(written(&ev), "event: tick\n\n");
}

TEST(event_stream__all_fields) {
  struct tavi_sse_event ev = {
      .event = SLICE("note"), .data = SLICE("a\nb"), .id = SLICE("17"), .retry_ms = 2500, .has_data = true};
  CHECK_STR(written(&ev), "event: note\nid: 17\nretry: 2500\ndata: a\ndata: b\n\n");
}

TEST(event_stream__id) {
  struct tavi_sse_event ev = event_of(SLICE("x"));
  ev.has_id = true;
  CHECK_STR(written(&ev), "id: \ndata: x\n\n");
  ev.id = SLICE("abc def");
  CHECK_STR(written(&ev), "id: abc def\ndata: x\n\n");
  ev.has_id = false;
  CHECK_STR(written(&ev), "id: abc def\ndata: x\n\n");
}

TEST(event_stream__retry) {
  static const struct {
    int64_t ms;
    const char *text;
  } cases[] = {{0, "retry: 0\n\n"},       {9, "retry: 9\n\n"},
               {10, "retry: 10\n\n"},     {99999, "retry: 99999\n\n"},
               {-1, "\n"},                {INT64_MIN, "\n"},
               {INT64_MAX, "retry: 9223372036854775807\n\n"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tavi_sse_event ev = {.retry_ms = cases[i].ms};
    CHECK_STR(written(&ev), cases[i].text);
  }
}

/* ==== what must not be sent ==== */

TEST(event_stream__names_and_ids_of_more_than_one_line_are_refused) {
  static const struct tavi_slice bad[] = {{"a\nb", 3}, {"a\rb", 3}, {"\n", 1}, {"x\r", 2}, {"x\r\ndata: evil", 13}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct tavi_sse_event ev = event_of(SLICE("x"));
    ev.event = bad[i];
    CHECK_INT(tavi__event_stream_size(&ev), 0);
    ev.event = (struct tavi_slice){NULL, 0};
    ev.id = bad[i];
    CHECK_INT(tavi__event_stream_size(&ev), 0);
  }
}

TEST(event_stream__nul_in_an_id_is_refused_because_readers_ignore_such_an_id) {
  struct tavi_sse_event ev = event_of(SLICE("x"));
  ev.id = SLICE("a\0b");
  CHECK_INT(tavi__event_stream_size(&ev), 0);
}

TEST(event_stream__lengths_beyond_all_memory_are_refused) {
  struct tavi_sse_event ev = event_of((struct tavi_slice){"", SIZE_MAX});
  CHECK_INT(tavi__event_stream_size(&ev), 0);
}

/* ==== both ways ==== */

/* What a reader makes of an event's text, which is one event and nothing else. Returns false when it is not. */
static bool read_data(struct tavi_slice in, char *out, size_t *ret_len) {
  const char *at = in.ptr, *end = in.ptr + in.len;
  bool is_first = true;
  *ret_len = 0;
  while (at < end) {
    const char *lf = memchr(at, '\n', (size_t) (end - at));
    if (lf == NULL) return false;
    if (lf == at) return lf + 1 == end;
    if (lf - at < 6 || memcmp(at, "data: ", 6) != 0) return false;
    if (memchr(at, '\r', (size_t) (lf - at)) != NULL) return false;
    if (!is_first) out[(*ret_len)++] = '\n';
    is_first = false;
    memcpy(out + *ret_len, at + 6, (size_t) (lf - at) - 6);
    *ret_len += (size_t) (lf - at) - 6;
    at = lf + 1;
  }
  return false;
}

/* Data as a reader can get it: all line ends are LF. */
static size_t normal(const char *data, size_t len, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    bool is_pair = data[i] == '\r' && i + 1 < len && data[i + 1] == '\n';
    if (is_pair) continue;
    out[n++] = data[i] == '\r' ? '\n' : data[i];
  }
  return n;
}

TEST(event_stream__any_data_arrives) {
  static const char alphabet[] = {'\r', '\n', 'a', ' ', ':', '\0', '\xff', 'd'};
  random_seed(7);
  for (int i = 0; i < 20000; i++) {
    char data[64], wanted[64], got[64];
    size_t len = random_below(sizeof data), got_len;
    uint64_t kinds = 2 + random_below(sizeof alphabet - 1);
    for (size_t k = 0; k < len; k++) data[k] = alphabet[random_below(kinds)];
    struct tavi_sse_event ev = event_of((struct tavi_slice){data, len});
    ev.has_data = true;
    test_note("round %d", i);
    if (!CHECK(read_data(written(&ev), got, &got_len))) return;
    if (!CHECK_BYTES(got, got_len, wanted, normal(data, len, wanted))) return;
  }
}

/* Searching the rest of the data once more for every line would take minutes here. */
TEST(event_stream__many_lines_of_one_kind__time_is_linear) {
  enum { LINES = 4 << 20 };
  char *data = malloc(LINES);
  if (data == NULL) abort();
  for (int is_cr = 0; is_cr < 2; is_cr++) {
    memset(data, is_cr ? '\r' : '\n', LINES);
    struct tavi_sse_event ev = event_of((struct tavi_slice){data, LINES});
    CHECK_INT(tavi__event_stream_size(&ev), 7 * (LINES + 1) + 1);
  }
  free(data);
}
