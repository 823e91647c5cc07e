/* SPDX-License-Identifier: MIT
 *
 * Multipart bodies: in one piece, byte by byte, in pieces of sizes taken from the input, and with data taken in bites, the
 * events are the same: heads, data, ends, and the error. What the public walk over a whole body finds is the same, too.
 * The first line of the input is the boundary. */
#include "fuzz.h"
#include "tavi/http_form.h"
#include "wire/multipart.h"

enum { HEAD_BYTES_MAX = 96, INPUT_MAX = 4096 };

/* Events one behind the other: a letter, and the bytes. Data of neighbouring events is joined. */
struct result {
  int status; /* 0 unfinished, 1 the last delimiter was seen, negative error */
  size_t len;
  char events[4 * INPUT_MAX];
};

static void note(struct result *r, char letter, struct tavi_slice data) {
  r->events[r->len++] = letter;
  if (data.len > 0) memcpy(r->events + r->len, data.ptr, data.len);
  r->len += data.len;
  FUZZ_CHECK(r->len < sizeof r->events - 8);
}

/* Read with `step` more bytes at a time (0: all at once), `bite` bytes of data at most (0: all). */
static void parse(struct tavi__multipart mp, const char *input, size_t size, size_t step, size_t bite, struct result *r) {
  size_t have = step == 0 ? size : 0, at = 0;
  bool is_in_data = false;
  r->status = 0;
  r->len = 0;
  for (;;) {
    const size_t len = have - at;
    char *p = fuzz_copy(input + at, len);
    size_t consumed = 0;
    enum tavi__multipart_event event = TAVI__MULTIPART_DATA;
    struct tavi_slice data = {NULL, 0};
    const int got = tavi__multipart_read(&mp, p, len, &consumed, &event, &data);
    FUZZ_CHECK(got == TAVI_WIRE_MORE || got == TAVI_WIRE_EVENT || got == TAVI_E_PROTOCOL || got == TAVI_E_LIMIT);
    FUZZ_CHECK(consumed <= len);
    if (got == TAVI_WIRE_EVENT) {
      FUZZ_CHECK(data.len == 0 || (data.ptr >= p && data.ptr + data.len == p + consumed));
      FUZZ_CHECK((event == TAVI__MULTIPART_DATA) == (data.len > 0) || event == TAVI__MULTIPART_PART);
      if (event == TAVI__MULTIPART_DATA && bite > 0 && data.len > bite) {
        consumed -= data.len - bite;
        data.len = bite;
      }
      if (event == TAVI__MULTIPART_DATA && is_in_data) {
        memcpy(r->events + r->len, data.ptr, data.len);
        r->len += data.len;
      } else {
        note(r, "PDEL"[event], data);
      }
      is_in_data = event == TAVI__MULTIPART_DATA;
      if (event == TAVI__MULTIPART_LAST) r->status = 1;
      FUZZ_CHECK(event != TAVI__MULTIPART_PART || data.len <= HEAD_BYTES_MAX);
    }
    free(p);
    at += consumed;
    if (got < 0) {
      r->status = got;
      FUZZ_CHECK(tavi__multipart_read(&mp, "--", 2, &consumed, &event, &data) == TAVI_E_PROTOCOL);
      return;
    }
    if (got == TAVI_WIRE_EVENT) continue;
    FUZZ_CHECK(have - at < HEAD_BYTES_MAX + 2);
    if (have == size) return;
    have += step < size - have ? step : size - have;
  }
}

static void check_head(struct tavi_slice head) {
  struct tavi__multipart_head said;
  const int r = tavi__multipart_head(head, &said);
  FUZZ_CHECK(r == 0 || r == TAVI_E_PROTOCOL);
  if (r < 0) return;
  const struct tavi_slice all[] = {said.name, said.filename, said.content_type};
  for (size_t i = 0; i < 3; i++) {
    if (all[i].len == 0) continue;
    FUZZ_CHECK(all[i].ptr >= head.ptr && all[i].ptr + all[i].len <= head.ptr + head.len);
    char *out = fuzz_copy(all[i].ptr, all[i].len);
    FUZZ_CHECK(tavi__multipart_decode((struct tavi_slice){out, all[i].len}, out) <= all[i].len);
    free(out);
  }
}

/* The whole body by the public function: its parts are those of the machine, as far as their heads are good. */
static void check_walk(struct tavi_slice boundary, const char *input, size_t size, const struct result *whole) {
  char *p = fuzz_copy(input, size);
  struct tavi_multipart_part part;
  size_t at = 0, event = 0;
  int r;
  while ((r = tavi_multipart_next((struct tavi_slice){p, size}, boundary, &at, &part)) == 0) {
    FUZZ_CHECK(at <= size);
    if (whole->status == TAVI_E_LIMIT) continue; /* there the limit is another one */
    FUZZ_CHECK(event < whole->len && whole->events[event] == 'P');
    event += 1 + part.head.len;
    if (part.body.len > 0) {
      FUZZ_CHECK(event + 1 + part.body.len < whole->len && whole->events[event] == 'D');
      FUZZ_CHECK(memcmp(whole->events + event + 1, part.body.ptr, part.body.len) == 0);
      event += 1 + part.body.len;
    }
    FUZZ_CHECK(event < whole->len && whole->events[event] == 'E');
    event++;
  }
  FUZZ_CHECK(r == TAVI_E_PROTOCOL || r == TAVI_E_NOT_FOUND || r == TAVI_E_LIMIT);
  if (r == TAVI_E_NOT_FOUND && whole->status != TAVI_E_LIMIT)
    FUZZ_CHECK(whole->status == 1 && event + 1 == whole->len && whole->events[event] == 'L');
  at = size / 2; /* an offset of nobody, and a boundary that is guessed */
  tavi_multipart_next((struct tavi_slice){p, size}, (struct tavi_slice){NULL, 0}, &at, &part);
  FUZZ_CHECK(at <= size);
  free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct result whole;
  static struct result pieces;
  struct tavi__multipart mp;
  if (size > INPUT_MAX) return 0;

  const char *input = (const char *)data, *lf = size == 0 ? NULL : memchr(input, '\n', size);
  check_head((struct tavi_slice){input, size});
  if (lf == NULL) return 0;
  const struct tavi_slice boundary = {input, (size_t)(lf - input)};
  if (!tavi__multipart_init(&mp, boundary, HEAD_BYTES_MAX)) return 0;
  size -= boundary.len + 1;
  input = lf + 1;

  parse(mp, input, size, 0, 0, &whole);
  const size_t steps[] = {1, 2, 3, size > 0 ? (uint8_t)input[size / 2] % 29u + 1 : 1, 0};
  for (size_t i = 0; i < 2 * sizeof steps / sizeof steps[0]; i++) {
    parse(mp, input, size, steps[i / 2], i % 2 == 0 ? 0 : 1 + i / 2, &pieces);
    FUZZ_CHECK(pieces.status == whole.status);
    FUZZ_CHECK(pieces.len == whole.len && memcmp(pieces.events, whole.events, whole.len) == 0);
  }
  check_walk(boundary, input, size, &whole);
  return 0;
}
