/* SPDX-License-Identifier: MIT
 *
 * Characters and text as protocols mean them: ASCII in every locale, and no byte above it is anything. The scanners of
 * message heads look at whole words instead (wire/http1_scan.h). */
#ifndef TAVI_BASE_ASCII_H
#define TAVI_BASE_ASCII_H

#include <stdbool.h>

#include "tavi/base.h"

static inline bool tavi__is_digit(char c) { return c >= '0' && c <= '9'; }

static inline bool tavi__is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* White space within a line. */
static inline bool tavi__is_space(char c) { return c == ' ' || c == '\t'; }

static inline char tavi__lower(char c) { return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c; }

/* What a hexadecimal digit stands for; -1: it is none. */
static inline int tavi__hex_value(char c) {
  if (tavi__is_digit(c)) return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%41" or any other character stands for, at *at, which moves behind it; -1: a bad escape. */
static inline int tavi__percent_byte(struct tavi_slice s, size_t *at) {
  const char *p = s.ptr + *at;
  size_t left = s.len - *at;
  if (*p != '%') {
    ++*at;
    return (unsigned char) *p;
  }
  if (left < 3 || tavi__hex_value(p[1]) < 0 || tavi__hex_value(p[2]) < 0) return -1;
  *at += 3;
  return tavi__hex_value(p[1]) * 16 + tavi__hex_value(p[2]);
}

#endif
