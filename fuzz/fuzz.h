/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share: the entry point that libFuzzer and standalone_main.c call, and a check that stops the
 * program in every build, with or without NDEBUG. */
#ifndef TAVI_FUZZ_FUZZ_H
#define TAVI_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                              \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      fprintf(stderr, "%s:%d: invariant does not hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                             \
    }                                                                                      \
  } while (0)

/* A copy whose ends the address sanitizer knows. Free it. */
static inline char *fuzz_copy(const void *bytes, size_t len) {
  char *copy = calloc(len > 0 ? len : 1, 1);
  if (copy == NULL) abort();
  if (len > 0) memcpy(copy, bytes, len);
  return copy;
}

/* The checks of outgoing names and values look at whole blocks, so they are asked about a copy with room behind it. */
static inline bool fuzz_padded(bool (*check)(struct tavi_slice), struct tavi_slice s) {
  char *copy = calloc(s.len + TAVI__HTTP1_PAD, 1);
  if (copy == NULL) abort();
  if (s.len > 0) memcpy(copy, s.ptr, s.len);
  bool result = check((struct tavi_slice){copy, s.len});
  free(copy);
  return result;
}

#endif
