/* SPDX-License-Identifier: MIT
 *
 * Patterns with wildcards: a table, every short pattern against a search that tries everything, and patterns that were
 * made to take forever. */
#include "tavi/text.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "guard.h"
#include "random.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tavi_slice slice(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

struct row {
  const char *text, *pattern;
  const char *captures; /* with '|' between them; NULL: no match */
};

static const struct row rows[] = {
    {"", "", ""}, {"a", "", NULL}, {"", "a", NULL}, {"abc", "abc", ""}, {"abc", "abd", NULL}, {"abc", "ab", NULL}, {"ab", "abc", NULL},
    {"Abc", "abc", NULL}, {"", "*", ""}, {"", "#", ""}, {"", "?", NULL}, {"foo/bar", "*", NULL}, {"foo/bar", "*/bar", "foo"},
    {"/api/", "/api/*", ""}, {"abab", "*b", "aba"}, {"/a/b/c.txt", "#.txt", "/a/b/c"}, {"/api/users/42", "/api/*/??", "users|4|2"},
    {"a/b", "*/*", "a|b"}, {"a/b/c/d", "#/#", "a|b/c/d"}, {"/api", "/api/#", NULL}, {"abc", "a*", "bc"},
    /* '*' never takes a '/', adjacent wildcards each have a capture */
    {"a/b/c", "*/c", NULL}, {"a/b/c", "#/c", "a/b"}, {"abc", "**", "|abc"}, {"ab", "*?", "a|b"}, {"ab", "?*", "a|b"}, {"ab", "*a*b*", "||"},
    {"a/b", "##", "|a/b"}, {"a/b", "*#", "|a/b"}, {"a/b", "#*", "a/|b"}, {"a/b", "*?*", "a|/|b"}, {"a/b", "???", "a|/|b"}, {"/", "?", "/"},
    /* a '?' lets a later '*' begin in another segment */
    {"x/ab", "*?*b", "x|/|a"}, {"aa/aa/b", "*?*?b", "aa|/|aa|/"}, {"a/b/c", "*?*?*", "a|/|b|/|c"}, {"a/b/c", "*?*", NULL},
    {"xa/yab", "*a*b", NULL}, {"xa/yab", "#a*b", "xa/y|"}, {"aXbXc", "*X*", "a|bXc"}, {"aXbXc", "*X#c", "a|bX"},
    /* wildcards in the text are characters, and nothing else is special in a pattern */
    {"*", "*", "*"}, {"a*b", "a?b", "*"}, {"a.c", "a.c", ""}, {"abc", "a.c", NULL}, {"a\\*", "a\\*", "*"},
    {"[ab]", "[ab]", ""}, {"a", "[ab]", NULL},
    /* characters */
    {"\xc3\xa9", "?", "\xc3\xa9"}, {"\xc3\xa9", "??", NULL}, {"a\xf0\x9f\x98\x80z", "a?z", "\xf0\x9f\x98\x80"},
    {"\xc3\xa9z", "*?", "\xc3\xa9|z"}, {"\xe2\x82\xac\xc3\xa9", "*?", "\xe2\x82\xac|\xc3\xa9"},
    {"\xc3", "?", "\xc3"}, {"\xc3z", "??", "\xc3|z"},
    {"\xc3\xa9", "\xc3*", NULL}, {"\xff\xfe", "??", "\xff|\xfe"}, {"\xed\xa0\x80", "???", "\xed|\xa0|\x80"},
};

TEST(match__table) {
  for (size_t i = 0; i < COUNT(rows); i++) {
    const struct row *r = &rows[i];
    struct tavi_slice captures[16];
    char joined[128];
    size_t at = 0;
    test_note("'%s' in '%s'", r->pattern, r->text);
    const struct tavi_slice text = {guard_at_end(r->text, strlen(r->text)), strlen(r->text)};
    const int64_t count = tavi_match(text, slice(r->pattern), captures, COUNT(captures));
    CHECK_INT(tavi_match(text, slice(r->pattern), NULL, 0), count);
    if (r->captures == NULL) {
      CHECK_INT(count, TAVI_E_NOT_FOUND);
      continue;
    }
    if (!CHECK(count >= 0)) continue;
    for (int64_t k = 0; k < count; k++) {
      if (k > 0) joined[at++] = '|';
      CHECK(captures[k].ptr >= text.ptr && captures[k].ptr + captures[k].len <= text.ptr + text.len);
      memcpy(joined + at, captures[k].ptr, captures[k].len);
      at += captures[k].len;
    }
    CHECK_BYTES(joined, at, r->captures, strlen(r->captures));
  }
  struct tavi_slice none = {NULL, 0}, one;
  CHECK_INT(tavi_match(none, none, NULL, 0), 0);
  CHECK_INT(tavi_match(none, slice("*"), &one, 1), 1);
  CHECK_INT(one.len, 0);
}

TEST(match__wildcards__have_no_bound_but_the_room) {
  enum { MANY = 5000 };
  static char pattern[MANY], text[MANY];
  static struct tavi_slice captures[MANY];
  memset(text, 'x', MANY);
  for (int kind = 0; kind < 3; kind++) {
    memset(pattern, "?*#"[kind], MANY);
    test_note("kind %c", "?*#"[kind]);
    CHECK_INT(tavi_match((struct tavi_slice){text, MANY}, (struct tavi_slice){pattern, MANY}, captures, MANY), MANY);
    CHECK_INT(captures[MANY - 1].len, kind == 0 ? 1 : MANY);
    CHECK_INT(tavi_match((struct tavi_slice){text, MANY}, (struct tavi_slice){pattern, MANY}, captures, MANY - 1), TAVI_E_LIMIT);
    CHECK_INT(tavi_match((struct tavi_slice){text, MANY}, (struct tavi_slice){pattern, MANY}, NULL, 0), TAVI_E_LIMIT);
    CHECK_INT(tavi_match((struct tavi_slice){text, TAVI__MATCH_WILDCARDS}, (struct tavi_slice){pattern, TAVI__MATCH_WILDCARDS}, NULL, 0),
              TAVI__MATCH_WILDCARDS);
    CHECK_INT(tavi_match((struct tavi_slice){text, 1}, (struct tavi_slice){pattern, TAVI__MATCH_WILDCARDS + 1}, NULL, 0), TAVI_E_LIMIT);
  }
}

/* ==== against a search that tries everything, shortest first ==== */

static bool try_all(const char *t, const char *t_end, const char *p, const char *p_end, struct tavi_slice *captures) {
  if (p == p_end) return t == t_end;
  if (*p == '*' || *p == '#') {
    for (const char *to = t;; to += tavi__utf8_step(to, t_end)) {
      *captures = (struct tavi_slice){t, (size_t)(to - t)};
      if (try_all(to, t_end, p + 1, p_end, captures + 1)) return true;
      if (to == t_end || (*p == '*' && *to == '/')) return false;
    }
  }
  if (t == t_end) return false;
  const size_t len = tavi__utf8_step(t, t_end);
  if (*p == '?') {
    *captures = (struct tavi_slice){t, len};
    return try_all(t + len, t_end, p + 1, p_end, captures + 1);
  }
  return tavi__utf8_step(p, p_end) == len && memcmp(p, t, len) == 0 && try_all(t + len, t_end, p + len, p_end, captures);
}

static unsigned compare(struct tavi_slice text, struct tavi_slice pattern) {
  struct tavi_slice got[16], wanted[16];
  const bool matches = try_all(text.ptr, text.ptr + text.len, pattern.ptr, pattern.ptr + pattern.len, wanted);
  const int64_t count = tavi_match(text, pattern, got, COUNT(got));
  test_note("'%.*s' in '%.*s'", (int)pattern.len, pattern.ptr, (int)text.len, text.ptr);
  CHECK(matches == (count >= 0));
  for (int64_t i = 0; i < count && matches; i++) CHECK(got[i].ptr == wanted[i].ptr && got[i].len == wanted[i].len);
  return matches;
}

/* The n-th word over an alphabet, in the order of their lengths. */
static struct tavi_slice word(unsigned n, const char *alphabet, char *to) {
  const unsigned size = (unsigned)strlen(alphabet);
  size_t len = 0;
  for (; n > 0; n = (n - 1) / size) to[len++] = alphabet[(n - 1) % size];
  return (struct tavi_slice){to, len};
}

TEST(match__every_short_pattern_and_text__as_a_search_that_tries_everything) {
  unsigned matches = 0;
  for (unsigned p = 0; p < 1 + 5 + 25 + 125 + 625; p++)
    for (unsigned t = 0; t < 1 + 2 + 4 + 8 + 16 + 32; t++) {
      char pattern[8], text[8];
      matches += compare(word(t, "a/", text), word(p, "a/?*#", pattern));
    }
  CHECK(matches > 3000);
}

TEST(match__random_long_ones__as_a_search_that_tries_everything) {
  static const char *const pieces[] = {"a", "b", "/", "\xc3\xa9", "\xc3", "?", "*", "#", "*", "?"};
  unsigned matches = 0;
  random_seed(3);
  for (int i = 0; i < 60000; i++) {
    char text[64], pattern[32];
    size_t text_len = 0, pattern_len = 0;
    for (uint64_t n = random_below(14); n > 0; n--) {
      const char *piece = pieces[random_below(5)];
      memcpy(text + text_len, piece, strlen(piece)), text_len += strlen(piece);
    }
    for (uint64_t n = random_below(10); n > 0; n--) {
      const char *piece = pieces[random_below(10)];
      memcpy(pattern + pattern_len, piece, strlen(piece)), pattern_len += strlen(piece);
    }
    matches += compare((struct tavi_slice){text, text_len}, (struct tavi_slice){pattern, pattern_len});
  }
  CHECK(matches > 1000);
}

/* ==== patterns that were made to take forever ==== */

/* A search without memory takes at least 2^100 steps for each of these; 60 seconds are the test's. */
TEST(match__hostile_patterns__end) {
  enum { TEXT = 5000, REPEAT = 200 };
  static const char *const units[] = {"*a", "#a", "*?", "*a*?", "#?*", "*#a", "?*a", "#a*?*"};
  static char text[TEXT + 1], pattern[REPEAT * 8 + 2];
  static struct tavi_slice captures[REPEAT * 8];
  for (int slashes = 0; slashes < 3; slashes++)
    for (size_t i = 0; i < COUNT(units); i++) {
      const size_t unit = strlen(units[i]);
      memset(text, 'a', TEXT);
      for (size_t at = 0; slashes > 0 && at < TEXT; at += slashes == 1 ? 50 : 2) text[at] = '/';
      for (size_t k = 0; k < REPEAT; k++) memcpy(pattern + k * unit, units[i], unit);
      pattern[REPEAT * unit] = 'b';
      test_note("%s, slashes %d", units[i], slashes);
      const struct tavi_slice all = {pattern, REPEAT * unit + 1};
      CHECK_INT(tavi_match((struct tavi_slice){text, TEXT}, all, captures, COUNT(captures)), TAVI_E_NOT_FOUND);
      text[TEXT] = 'b';
      if (slashes == 0) CHECK(tavi_match((struct tavi_slice){text, TEXT + 1}, all, captures, COUNT(captures)) > 0);
    }
}
