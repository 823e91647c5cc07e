/* SPDX-License-Identifier: MIT
 *
 * Patterns with wildcards: the first line of the input is the pattern, the rest is the text. The captures put into the
 * pattern's place give the text again, and a '*' has taken no '/'. */
#include "tavi/text.h"

#include "fuzz.h"

enum { PATTERN_MAX = 512, TEXT_MAX = 1024 }; /* their product is the time that one input may take */

static size_t put(char *to, size_t at, const char *from, size_t len) {
  if (len > 0) memcpy(to + at, from, len);
  return at + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct tavi_slice captures[PATTERN_MAX];
  static char joined[TEXT_MAX + PATTERN_MAX];
  const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
  const size_t pattern_len = line == NULL ? size : (size_t)(line - data), skip = line == NULL ? size : pattern_len + 1;
  if (pattern_len > PATTERN_MAX || size - skip > TEXT_MAX) return 0;

  char *p = fuzz_copy(data, pattern_len), *t = fuzz_copy(data + skip, size - skip);
  const struct tavi_slice pattern = {p, pattern_len}, text = {t, size - skip};
  const int64_t count = tavi_match(text, pattern, captures, PATTERN_MAX), plain = tavi_match(text, pattern, NULL, 0);
  FUZZ_CHECK(plain == count || plain == TAVI_E_LIMIT);
  FUZZ_CHECK(count >= 0 || count == TAVI_E_NOT_FOUND);
  size_t at = 0, seen = 0;
  for (size_t i = 0; i < pattern.len && count >= 0; i++) {
    const char c = p[i];
    if (c != '?' && c != '*' && c != '#') {
      joined[at++] = c;
      continue;
    }
    const struct tavi_slice capture = captures[seen++];
    FUZZ_CHECK(capture.ptr >= t && capture.ptr + capture.len <= t + text.len && (size_t)(capture.ptr - t) == at);
    FUZZ_CHECK(c == '?' ? capture.len >= 1 && capture.len <= 4 : c == '#' || memchr(capture.ptr, '/', capture.len) == NULL);
    at = put(joined, at, capture.ptr, capture.len);
  }
  FUZZ_CHECK(count < 0 || (seen == (size_t)count && at == text.len && memcmp(joined, t, at) == 0));
  free(p), free(t);
  return 0;
}
