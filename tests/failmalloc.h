/* SPDX-License-Identifier: MIT
 *
 * Let the n-th allocation fail. The program is linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc (the build does
 * it for every test that includes this header), so that all allocations of the static library come through here.
 *
 *     for (unsigned n = 1; fail_begin(n); n++) {
 *       int err = the_call(&made);
 *       if (!fail_end()) { CHECK_INT(err, 0); destroy(made); break; }   // fewer than n allocations: the loop is over
 *       CHECK_INT(err, TAVI_E_NOMEM);
 *     }
 *
 * A leak on the way is for the sanitizer (or valgrind) to find, at the end of the program. */
#ifndef TAVI_TESTS_UNIT_FAILMALLOC_H
#define TAVI_TESTS_UNIT_FAILMALLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* Atomic: the library's own threads allocate, too. */
static atomic_uint fail_at;    /* 0: none fails */
static atomic_uint fail_count; /* allocations since fail_begin() */
static atomic_bool fail_happened;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool fail_now(void) {
  unsigned n = fail_at;
  if (n == 0 || ++fail_count != n) return false;
  fail_happened = true;
  return true;
}

void *__wrap_malloc(size_t size) { return fail_now() ? NULL : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size) { return fail_now() ? NULL : __real_calloc(count, size); }

void *__wrap_realloc(void *old, size_t size) { return fail_now() ? NULL : __real_realloc(old, size); }

/* From here on the n-th allocation (1: the next one) fails, once. True, for the loop. */
__attribute__((unused)) static bool fail_begin(unsigned n) {
  fail_at = n;
  fail_count = 0;
  fail_happened = false;
  return true;
}

/* Allocations succeed again. True when one has failed since fail_begin(). */
__attribute__((unused)) static bool fail_end(void) {
  fail_at = 0;
  return fail_happened;
}

#endif
