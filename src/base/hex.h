/* SPDX-License-Identifier: MIT
 *
 * Hexadecimal digits. */
#ifndef TAVI_BASE_HEX_H
#define TAVI_BASE_HEX_H

/* 0..15, or -1 for what is no digit, in either case of letters. */
static inline int tavi__hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of two digits, or -1. */
static inline int tavi__hex_byte(const char *p) {
  int high = tavi__hex(p[0]), low = tavi__hex(p[1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

#endif
