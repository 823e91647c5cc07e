/* SPDX-License-Identifier: MIT
 *
 * See event_stream.h. Every field is a line "name: value" LF, and an empty line ends the event. The space is always
 * there: a reader takes one away, so a value that begins with a space keeps its own.
 *
 * Data is cut into lines and each gets its field; a reader puts LF between them. So data arrives as it was, except
 * that CR LF and CR have become LF: there is no way to send those. */
#include "wire/event_stream.h"

#include <string.h>

#include "base/copy.h"

enum {
  FIELD_EVENT = sizeof("event: \n") - 1,
  FIELD_ID = sizeof("id: \n") - 1,
  FIELD_RETRY = sizeof("retry: \n") - 1,
  FIELD_DATA = sizeof("data: \n") - 1,
  END = 1
};

/* What is left of data that is read line by line. */
struct lines {
  const char *at;      /* the next line; NULL: there was the last one */
  const char *end;
  const char *lf, *cr; /* the next of each from `at` on, or `end`: so nothing is searched twice */
};

static const char *find(const char *from, const char *end, char c) {
  const char *p = from == end ? NULL : memchr(from, c, (size_t) (end - from));
  return p == NULL ? end : p;
}

static struct lines lines_of(struct tavi_slice data) {
  const char *from = data.len == 0 ? "" : data.ptr, *end = from + data.len;
  return (struct lines){from, end, find(from, end, '\n'), find(from, end, '\r')};
}

/* False behind the last line. Data without a line end is one line, even when it is empty. */
static bool next_line(struct lines *in, struct tavi_slice *ret_line) {
  if (in->at == NULL) return false;

  if (in->lf < in->at) in->lf = find(in->at, in->end, '\n');
  if (in->cr < in->at) in->cr = find(in->at, in->end, '\r');
  const char *stop = in->lf < in->cr ? in->lf : in->cr;
  *ret_line = (struct tavi_slice){in->at, (size_t) (stop - in->at)};
  bool is_pair = stop == in->cr && in->lf == stop + 1 && in->lf < in->end;
  in->at = stop == in->end ? NULL : stop + (is_pair ? 2 : 1);
  return true;
}

static bool has_data(const struct tavi_sse_event *ev) { return ev->data.len > 0 || ev->has_data; }

static bool has_id(const struct tavi_sse_event *ev) { return ev->id.len > 0 || ev->has_id; }

static bool holds(struct tavi_slice s, char c) { return s.len > 0 && memchr(s.ptr, c, s.len) != NULL; }

static bool is_one_line(struct tavi_slice s) { return !holds(s, '\n') && !holds(s, '\r'); }

static size_t digits(int64_t n) {
  size_t count = 1;
  while (n >= 10) n /= 10, count++;
  return count;
}

size_t tavi__event_stream_size(const struct tavi_sse_event *ev) {
  size_t each_max = SIZE_MAX / 4 / FIELD_DATA; /* then no sum of them below is too large */
  if (!is_one_line(ev->event) || !is_one_line(ev->id) || holds(ev->id, '\0')) return 0;
  if (ev->event.len > each_max || ev->id.len > each_max || ev->data.len > each_max) return 0;

  size_t size = END;
  if (ev->event.len > 0) size += FIELD_EVENT + ev->event.len;
  if (has_id(ev)) size += FIELD_ID + ev->id.len;
  if (ev->retry_ms >= 0) size += FIELD_RETRY + digits(ev->retry_ms);
  if (has_data(ev)) {
    struct lines in = lines_of(ev->data);
    for (struct tavi_slice line; next_line(&in, &line);) size += FIELD_DATA + line.len;
  }
  return size;
}

static char *put_field(char *out, const char *name, size_t name_len, struct tavi_slice value) {
  out = tavi__copy(out, name, name_len);
  out = tavi__copy(out, value.ptr, value.len);
  *out++ = '\n';
  return out;
}

static char *put_retry(char *out, int64_t ms) {
  size_t count = digits(ms);
  out = tavi__copy(out, "retry: ", 7);
  for (size_t i = count; i > 0; ms /= 10) out[--i] = (char) ('0' + ms % 10);
  out[count] = '\n';
  return out + count + 1;
}

#define PUT_FIELD(out, name, value) put_field((out), (name), sizeof(name) - 1, (value))

char *tavi__event_stream_put(char *out, const struct tavi_sse_event *ev) {
  if (ev->event.len > 0) out = PUT_FIELD(out, "event: ", ev->event);
  if (has_id(ev)) out = PUT_FIELD(out, "id: ", ev->id);
  if (ev->retry_ms >= 0) out = put_retry(out, ev->retry_ms);
  if (has_data(ev)) {
    struct lines in = lines_of(ev->data);
    for (struct tavi_slice line; next_line(&in, &line);) out = PUT_FIELD(out, "data: ", line);
  }
  *out++ = '\n';
  return out;
}
