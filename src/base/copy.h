/* SPDX-License-Identifier: MIT
 *
 * memcpy for lengths that are not known before and mostly small: names, values, short bodies. A call of the real one,
 * and the registers that are saved around it, cost more than such bytes themselves. */
#ifndef TAVI_BASE_COPY_H
#define TAVI_BASE_COPY_H

#include <stddef.h>
#include <string.h>

enum { TAVI__COPY_INLINE = 32 }; /* up to here nothing is called */

/* Returns the end of the copy. from may be NULL when len is 0. The two do not overlap. */
static inline char *tavi__copy(char *to, const char *from, size_t len) {
  if (len >= 8 && len <= 16) { /* two blocks that may overlap: from the beginning, and up to the end */
    memcpy(to, from, 8);
    memcpy(to + len - 8, from + len - 8, 8);
  } else if (len > TAVI__COPY_INLINE) {
    memcpy(to, from, len);
  } else if (len > 16) {
    memcpy(to, from, 16);
    memcpy(to + len - 16, from + len - 16, 16);
  } else if (len >= 4) {
    memcpy(to, from, 4);
    memcpy(to + len - 4, from + len - 4, 4);
  } else if (len > 0) {
    to[0] = from[0];
    to[len / 2] = from[len / 2];
    to[len - 1] = from[len - 1];
  }
  return to + len;
}

#endif
