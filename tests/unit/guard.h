/* SPDX-License-Identifier: MIT
 *
 * Memory with nothing around it: a few pages between two that may not be touched. A parser that reads one byte before
 * or behind the input it was given, in the way vector code likes to, crashes here instead of passing by luck. */
#ifndef TAVI_TESTS_UNIT_GUARD_H
#define TAVI_TESTS_UNIT_GUARD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_PAGES = 8 };

static char *guard_first; /* the first byte that may be touched */
static size_t guard_size;

/* Make the memory (once). */
static void guard_init(void) {
  if (guard_first != NULL) return;
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  guard_size = GUARD_PAGES * page;
  char *all = mmap(NULL, guard_size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED || mprotect(all + page, guard_size, PROT_READ | PROT_WRITE) != 0) {
    perror("guard pages");
    abort();
  }
  guard_first = all + page;
}

/* Copy bytes so that they end where memory ends. Valid until the next call of either. */
__attribute__((unused)) static char *guard_at_end(const char *bytes, size_t len) {
  guard_init();
  if (len > guard_size) abort();
  char *place = guard_first + guard_size - len;
  if (len > 0) memcpy(place, bytes, len);
  return place;
}

/* Copy bytes so that they begin where memory begins. */
__attribute__((unused)) static char *guard_at_start(const char *bytes, size_t len) {
  guard_init();
  if (len > guard_size) abort();
  if (len > 0) memcpy(guard_first, bytes, len);
  return guard_first;
}

#endif
