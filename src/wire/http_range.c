/* SPDX-License-Identifier: MIT
 *
 * Byte ranges (RFC 9110 section 14).
 *
 * A field that is malformed anywhere is ignored as a whole, which is always allowed (section 14.2): the client gets
 * everything. That, and the limit on ranges as they are written, is also what keeps "bytes=0-,0-,0-" from multiplying
 * an answer (section 17.15): whatever is asked for, no byte is sent twice, because ranges that overlap are joined. */
#include "wire/http_range.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/ascii.h"
#include "wire/http1.h"

/* One range as it is written: "first-last", "first-" or "-suffix". */
struct spec {
  bool has_first, has_last;
  uint64_t first, last; /* last is the suffix length when there is no first */
};

/* Take digits at *at; false when there are none. */
static bool take_number(struct tavi_slice s, size_t *at, uint64_t *ret_number) {
  size_t start = *at;
  uint64_t number = 0;
  for (; *at < s.len && tavi__is_digit(s.ptr[*at]); ++*at) {
    uint64_t digit = (uint64_t) (s.ptr[*at] - '0');
    number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
  }
  *ret_number = number;
  return *at > start;
}

/* Take one range at *at; false when there is no good one. */
static bool take_spec(struct tavi_slice s, size_t *at, struct spec *ret_spec) {
  struct spec *r = ret_spec;
  r->has_first = take_number(s, at, &r->first);
  if (*at == s.len || s.ptr[*at] != '-') return false;
  ++*at;
  r->has_last = take_number(s, at, &r->last);
  if (r->has_first && r->has_last) return r->first <= r->last;
  return r->has_first || r->has_last;
}

/* The bytes that a spec means; false when there are none. */
static bool resolve(const struct spec *s, uint64_t size, struct tavi__range *ret_range) {
  if (size == 0) return false;
  uint64_t last = size - 1;
  if (!s->has_first) {
    *ret_range = (struct tavi__range){s->last < size ? size - s->last : 0, last};
    return s->last > 0;
  }
  *ret_range = (struct tavi__range){s->first, s->has_last && s->last < last ? s->last : last};
  return s->first < size;
}

static bool touch(struct tavi__range a, struct tavi__range b) { /* neither ends at 2^64-1: a size is at most that */
  return a.first <= b.last + 1 && b.first <= a.last + 1;
}

/* Add a range to `count` others that do not touch each other, so that one pass finds whatever touches it. Returns their
 * number then. */
static int join(struct tavi__range *ranges, int count, struct tavi__range added) {
  int kept = 0, place = -1;
  for (int i = 0; i < count; i++) {
    struct tavi__range r = ranges[i];
    if (!touch(r, added)) {
      ranges[kept++] = r;
      continue;
    }
    if (r.first < added.first) added.first = r.first;
    if (r.last > added.last) added.last = r.last;
    if (place < 0) place = kept++;
  }
  if (place < 0) place = kept++;
  ranges[place] = added;
  return kept;
}

int tavi__http_ranges(struct tavi_slice value, uint64_t size, struct tavi__range *ret_ranges, int cap) {
  assert(cap > 0);
  if (!tavi__slice_begins(value, "bytes=", 6)) return 0;

  int written = 0, count = 0;
  bool may_begin = true, is_suffix_of_nothing = false;
  for (size_t at = 6; at < value.len;) {
    char c = value.ptr[at];
    if (tavi__is_space(c) || c == ',') {
      may_begin |= c == ',';
      at++;
      continue;
    }
    struct spec spec;
    struct tavi__range range;
    if (!may_begin || !take_spec(value, &at, &spec) || written++ == cap) return 0;
    may_begin = false;
    if (resolve(&spec, size, &range)) count = join(ret_ranges, count, range);
    if (size == 0 && !spec.has_first && spec.last > 0) is_suffix_of_nothing = true;
  }
  if (count > 0) return count;
  return written == 0 || is_suffix_of_nothing ? 0 : -416;
}

size_t tavi__http_content_range(const struct tavi__range *r, uint64_t size, char *out) {
  const size_t room = TAVI__HTTP_CONTENT_RANGE_BYTES;
  int len = r == NULL ? snprintf(out, room, "bytes */%" PRIu64, size)
                      : snprintf(out, room, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, r->first, r->last, size);
  return (size_t) len;
}
