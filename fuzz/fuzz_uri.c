/* SPDX-License-Identifier: MIT
 *
 * References resolved against a base: the two lines of the input. What comes out fits, and resolving it again changes
 * nothing more. */
#include "wire/uri.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 4096) return 0;
  char *text = fuzz_copy(data, size);
  const char *line = memchr(text, '\n', size);
  size_t base_len = line == NULL ? 0 : (size_t) (line - text), skip = line == NULL ? 0 : base_len + 1;
  struct tavi_slice base = {text, base_len}, reference = {text + skip, size - skip};
  size_t max = TAVI__URI_RESOLVED_MAX(base.len, reference.len);
  char *once = malloc(max), *twice = malloc(TAVI__URI_RESOLVED_MAX(base.len, max));
  if (once == NULL || twice == NULL) abort();
  size_t len = tavi__uri_resolve(base, reference, once);
  FUZZ_CHECK(len <= max);
  if (base_len > 0 && memchr(once, ':', len) != NULL && once[0] >= 'a' && once[0] <= 'z') {
    size_t again = tavi__uri_resolve(base, (struct tavi_slice){once, len}, twice);
    FUZZ_CHECK(again <= TAVI__URI_RESOLVED_MAX(base.len, len));
  }
  free(once), free(twice), free(text);
  return 0;
}
