/* SPDX-License-Identifier: MIT
 *
 * Patterns with wildcards: see tavi/text.h.
 *
 * A search from left to right. '*' and '#' begin with nothing and take one character more each time that the rest does
 * not match behind them; the captures are the stack of that search. What keeps it from being exponential: one that was
 * begun at some place, and has failed up to its end (that of the path segment for '*'), fails from every place in
 * between. And it is never begun before the place where it was begun first, for the search comes to all places from the
 * left: if a later way to it led further left, both ways would cross inside of a wildcard of the first, and the search
 * would have gone over from there already. So it is enough to remember where each has ended, and its capture does; no
 * wildcard is tried twice at the same place. */
#include <stdbool.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "tavi/text.h"

struct search {
  const char *text, *text_end;
  const char *pattern, *pattern_end;
  const char *t, *p;           /* what was matched up to here */
  struct tavi_slice *captures; /* of all wildcards; ptr is NULL until one is reached */
  size_t count;                /* of those before p */
};

static const char *end_of(struct tavi_slice s) { return s.ptr + s.len; }

static bool is_wildcard(char c) { return c == '?' || c == '*' || c == '#'; }

/* Go over one wildcard or character of the pattern. False: it cannot be at t. */
static bool step(struct search *s) {
  char c = *s->p;
  if (c == '*' || c == '#') {
    struct tavi_slice *capture = &s->captures[s->count];
    bool was_tried = capture->ptr != NULL && s->t <= end_of(*capture);
    if (was_tried) return false;
    *capture = (struct tavi_slice){s->t, 0};
    s->count++;
    s->p++;
    return true;
  }

  if (s->t == s->text_end) return false;
  size_t len = tavi__utf8_step(s->t, s->text_end);
  if (c == '?') {
    s->captures[s->count++] = (struct tavi_slice){s->t, len};
    s->p++;
  } else {
    if (tavi__utf8_step(s->p, s->pattern_end) != len || memcmp(s->p, s->t, len) != 0) return false;
    s->p += len;
  }
  s->t += len;
  return true;
}

/* Go back to the last wildcard that can take one character more, and let it. */
static bool retry(struct search *s) {
  while (s->p > s->pattern) {
    char c = *--s->p;
    if (!is_wildcard(c)) continue;
    struct tavi_slice *capture = &s->captures[--s->count];
    const char *at = end_of(*capture);
    if (c != '?' && at < s->text_end && (c == '#' || *at != '/')) {
      size_t len = tavi__utf8_step(at, s->text_end);
      capture->len += len;
      s->t = at + len;
      s->p++;
      s->count++;
      return true;
    }
  }
  return false;
}

static size_t count_wildcards(struct tavi_slice pattern) {
  size_t count = 0;
  for (size_t i = 0; i < pattern.len; i++) count += is_wildcard(pattern.ptr[i]);
  return count;
}

int64_t tavi_match(struct tavi_slice text, struct tavi_slice pattern, struct tavi_slice *captures, size_t cap) {
  struct tavi_slice own[TAVI__MATCH_WILDCARDS];
  const char *t = text.ptr != NULL ? text.ptr : "", *p = pattern.ptr != NULL ? pattern.ptr : "";
  struct search s = {t, t + text.len, p, p + pattern.len, t, p, captures != NULL ? captures : own, 0};
  size_t count = count_wildcards(pattern);
  if (count > (captures != NULL ? cap : TAVI__MATCH_WILDCARDS)) return TAVI_E_LIMIT;
  for (size_t i = 0; i < count; i++) s.captures[i] = (struct tavi_slice){NULL, 0};

  while (s.p < s.pattern_end || s.t < s.text_end)
    if ((s.p == s.pattern_end || !step(&s)) && !retry(&s)) return TAVI_E_NOT_FOUND;
  return (int64_t) count;
}
