/* SPDX-License-Identifier: MIT
 *
 * Where a character of UTF-8 ends (RFC 3629), and how one is written. */
#ifndef TAVI_BASE_UTF8_H
#define TAVI_BASE_UTF8_H

#include <stddef.h>

/* The length of the character at p, 1 to 4; 0 when no well-formed one is there: a stray or missing continuation, an
 * overlong form, a surrogate, beyond U+10FFFF. */
static inline size_t tavi__utf8_len(const char *p, const char *end) {
  const unsigned char *u = (const unsigned char *) p;
  size_t left = (size_t) (end - p), len;
  if (left == 0) return 0;
  if (u[0] < 0x80) return 1;
  if (u[0] < 0xc2 || u[0] > 0xf4) return 0;
  len = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
  if (left < len) return 0;
  unsigned char low = u[0] == 0xe0 ? 0xa0 : u[0] == 0xf0 ? 0x90 : 0x80;
  unsigned char high = u[0] == 0xed ? 0x9f : u[0] == 0xf4 ? 0x8f : 0xbf;
  if (u[1] < low || u[1] > high) return 0;
  for (size_t i = 2; i < len; i++)
    if ((u[i] & 0xc0) != 0x80) return 0;
  return len;
}

/* The step to the next character, where each byte that belongs to none is one of its own. p < end. */
static inline size_t tavi__utf8_step(const char *p, const char *end) {
  size_t len = tavi__utf8_len(p, end);
  return len > 0 ? len : 1;
}

/* Write a code point that is no surrogate. Returns its length, 1 to 4. */
static inline size_t tavi__utf8_put(unsigned code, char out[4]) {
  size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  if (len == 1) {
    out[0] = (char) code;
    return 1;
  }
  for (size_t i = len - 1; i > 0; i--, code >>= 6) out[i] = (char) (0x80 | (code & 0x3f));
  out[0] = (char) (code | (0xf00u >> len & 0xf0));
  return len;
}

#endif
