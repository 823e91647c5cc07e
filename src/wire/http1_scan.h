/* SPDX-License-Identifier: MIT
 *
 * Byte-class scanners of the HTTP/1.1 codec: find the byte that ends a run.
 *
 * A head is mostly runs: a name up to its colon, a value up to its CR, a target up to its space. Each run has a set of
 * bytes that may stand in it; the first byte outside of the set either ends the run as it should or is the error. So
 * a scanner only says where that byte is, and the caller looks at it once.
 *
 * The scanners test a block of bytes at a time: 16 with SSE2, else 8 in an ordinary register. Both kinds of block
 * answer with a mask of "stop" marks in which the lowest mark belongs to the first byte, so the loop around them is
 * written once. A run that ends within the last block of the input is the interesting case, because nothing behind
 * `end` may be touched: there the input's last whole block is taken, overlapping bytes that were already judged, and
 * their marks are shifted out. That is why each scanner is told where this block is. Only inputs shorter than one
 * block are copied aside.
 *
 * All masks are exact (no carry from one byte into the next), so any byte may be judged, not only the first mark.
 *
 * Not taken: PCMPESTRI of SSE 4.2, which is slower than plain compares on today's machines, and AVX2, which would
 * need dispatch at run time; header lines are too short to gain from it. */
#ifndef TAVI_WIRE_HTTP1_SCAN_H
#define TAVI_WIRE_HTTP1_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hint.h"
#include "tavi/http_msg.h"
#include "wire/wire.h"

/* ==== classes of bytes ==== */

enum tavi__http1_class {
  TAVI__HTTP1_TOKEN = 1,   /* tchar: names, methods (RFC 9110 5.6.2) */
  TAVI__HTTP1_VALUE = 2,   /* field values and reason phrases, with SP and HTAB; 0x80..0xff too (RFC 9110 5.5) */
  TAVI__HTTP1_TARGET = 4,  /* request targets: no space, control, DEL or '#'; 0x80..0xff too */
  TAVI__HTTP1_REGNAME = 8, /* registered names in an authority, with '%'; not ',' (RFC 3986 3.2.2, stricter) */
  TAVI__HTTP1_HEX = 16,    /* hexadecimal digits, both cases */
  TAVI__HTTP1_SCHEME = 32  /* of a URI scheme: letters, digits, '+', '-', '.' */
};

extern const uint8_t tavi__http1_classes[256];

static inline bool tavi__http1_is(char c, enum tavi__http1_class class_) {
  return (tavi__http1_classes[(unsigned char)c] & (unsigned)class_) != 0;
}

/* ==== blocks ==== */

/* Repeat a byte over eight. */
#define TAVI__HTTP1_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

#if defined(__SSE2__) && !defined(TAVI__HTTP1_PORTABLE)

#include <emmintrin.h>

typedef __m128i tavi__http1_block;
enum { TAVI__HTTP1_BLOCK_BYTES = 16, TAVI__HTTP1_MARK_SHIFT = 0 }; /* one bit of mask per byte */

static inline tavi__http1_block tavi__http1_load(const char *p) {
  return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline __m128i tavi__http1_at_most(__m128i x, char limit) {
  return _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(limit)), x);
}

static inline __m128i tavi__http1_equal(__m128i x, char c) { return _mm_cmpeq_epi8(x, _mm_set1_epi8(c)); }

static inline uint64_t tavi__http1_value_stops(tavi__http1_block x) {
  const __m128i control = _mm_andnot_si128(tavi__http1_equal(x, '\t'), tavi__http1_at_most(x, 0x1f));
  return (uint32_t)_mm_movemask_epi8(_mm_or_si128(control, tavi__http1_equal(x, 0x7f)));
}

static inline __m128i tavi__http1_target_stop_bytes(__m128i x) {
  const __m128i others = _mm_or_si128(tavi__http1_equal(x, 0x7f), tavi__http1_equal(x, '#'));
  return _mm_or_si128(tavi__http1_at_most(x, ' '), others);
}

static inline uint64_t tavi__http1_target_stops(tavi__http1_block x) {
  return (uint32_t)_mm_movemask_epi8(tavi__http1_target_stop_bytes(x));
}

static inline uint64_t tavi__http1_path_stops(tavi__http1_block x) {
  return (uint32_t)_mm_movemask_epi8(_mm_or_si128(tavi__http1_target_stop_bytes(x), tavi__http1_equal(x, '?')));
}

static inline __m128i tavi__http1_letters(__m128i x) {
  const __m128i lower = _mm_or_si128(x, _mm_set1_epi8(0x20));
  return tavi__http1_at_most(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
}

static inline uint64_t tavi__http1_word_stops(tavi__http1_block x) {
  const __m128i in = _mm_or_si128(tavi__http1_letters(x), tavi__http1_equal(x, '-'));
  return (uint32_t)_mm_movemask_epi8(in) ^ 0xffffu;
}

static inline uint64_t tavi__http1_label_stops(tavi__http1_block x) {
  const __m128i digit_dot_dash = /* 0x2d..0x39 without '/' */
      _mm_andnot_si128(tavi__http1_equal(x, '/'), tavi__http1_at_most(_mm_sub_epi8(x, _mm_set1_epi8('-')), '9' - '-'));
  return (uint32_t)_mm_movemask_epi8(_mm_or_si128(tavi__http1_letters(x), digit_dot_dash)) ^ 0xffffu;
}

static inline uint64_t tavi__http1_digit_stops(tavi__http1_block x) {
  return (uint32_t)_mm_movemask_epi8(tavi__http1_at_most(_mm_sub_epi8(x, _mm_set1_epi8('0')), 9)) ^ 0xffffu;
}

static inline uint64_t tavi__http1_break_stops(tavi__http1_block x) {
  const __m128i ends = _mm_or_si128(tavi__http1_equal(x, '\r'), tavi__http1_equal(x, '\n'));
  return (uint32_t)_mm_movemask_epi8(_mm_or_si128(ends, tavi__http1_equal(x, '\0')));
}

#else /* eight bytes in a register; a mark is the top bit of its byte */

typedef uint64_t tavi__http1_block;
enum { TAVI__HTTP1_BLOCK_BYTES = 8, TAVI__HTTP1_MARK_SHIFT = 3 }; /* eight bits of mask per byte */

static inline tavi__http1_block tavi__http1_load(const char *p) {
  uint64_t x;
  memcpy(&x, p, sizeof x);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  x = __builtin_bswap64(x);
#endif
  return x;
}

/* Marks on bytes >= c, for c in 1..0x80; bytes above 0x7f count as greater. */
static inline uint64_t tavi__http1_at_least(uint64_t x, unsigned c) {
  return (((x & TAVI__HTTP1_EACH(0x7fu)) + TAVI__HTTP1_EACH(0x80u - c)) | x) & TAVI__HTTP1_EACH(0x80u);
}

static inline uint64_t tavi__http1_equal(uint64_t x, unsigned c) {
  return tavi__http1_at_least(x ^ TAVI__HTTP1_EACH(c), 1) ^ TAVI__HTTP1_EACH(0x80u);
}

static inline uint64_t tavi__http1_between(uint64_t x, unsigned first, unsigned last) {
  return tavi__http1_at_least(x, first) & ~tavi__http1_at_least(x, last + 1);
}

static inline uint64_t tavi__http1_value_stops(tavi__http1_block x) {
  const uint64_t control = ~tavi__http1_at_least(x, 0x20) & TAVI__HTTP1_EACH(0x80u);
  return (control & ~tavi__http1_equal(x, '\t')) | tavi__http1_equal(x, 0x7f);
}

static inline uint64_t tavi__http1_target_stops(tavi__http1_block x) {
  const uint64_t low = ~tavi__http1_at_least(x, 0x21) & TAVI__HTTP1_EACH(0x80u);
  return low | tavi__http1_equal(x, 0x7f) | tavi__http1_equal(x, '#');
}

static inline uint64_t tavi__http1_path_stops(tavi__http1_block x) {
  return tavi__http1_target_stops(x) | tavi__http1_equal(x, '?');
}

static inline uint64_t tavi__http1_letters(uint64_t x) {
  return tavi__http1_between(x | TAVI__HTTP1_EACH(0x20u), 'a', 'z');
}

static inline uint64_t tavi__http1_word_stops(tavi__http1_block x) {
  return (tavi__http1_letters(x) | tavi__http1_equal(x, '-')) ^ TAVI__HTTP1_EACH(0x80u);
}

static inline uint64_t tavi__http1_label_stops(tavi__http1_block x) {
  const uint64_t digit_dot_dash = tavi__http1_between(x, '-', '9') & ~tavi__http1_equal(x, '/');
  return (tavi__http1_letters(x) | digit_dot_dash) ^ TAVI__HTTP1_EACH(0x80u);
}

static inline uint64_t tavi__http1_digit_stops(tavi__http1_block x) {
  return tavi__http1_between(x, '0', '9') ^ TAVI__HTTP1_EACH(0x80u);
}

static inline uint64_t tavi__http1_break_stops(tavi__http1_block x) {
  return tavi__http1_equal(x, '\r') | tavi__http1_equal(x, '\n') | tavi__http1_equal(x, '\0');
}

#endif

/* ==== the loop ==== */

/* The last place from which a whole block may be read, or NULL when begin[0..end) is shorter than one. */
static inline const char *tavi__http1_last_block(const char *begin, const char *end) {
  return end - begin >= TAVI__HTTP1_BLOCK_BYTES ? end - TAVI__HTTP1_BLOCK_BYTES : NULL;
}

static inline unsigned tavi__http1_first_mark(uint64_t marks) {
  return (unsigned)__builtin_ctzll(marks) >> TAVI__HTTP1_MARK_SHIFT;
}

/* As tavi__http1_scan, for fewer bytes than a block. */
const char *tavi__http1_scan_short(const char *p, const char *end, uint64_t (*stops)(tavi__http1_block));

/* The first byte of p[0..end) that `stops` marks, or `end`. `last` is tavi__http1_last_block() of the input. */
TAVI__HOT const char *tavi__http1_scan(const char *p, const char *last, const char *end,
                                       uint64_t (*stops)(tavi__http1_block)) {
  for (; (uintptr_t)p <= (uintptr_t)last; p += TAVI__HTTP1_BLOCK_BYTES) {
    const uint64_t marks = stops(tavi__http1_load(p));
    if (marks != 0) return p + tavi__http1_first_mark(marks);
  }
  if (p == end) return end;
  if (last == NULL) return tavi__http1_scan_short(p, end, stops);
  const uint64_t marks = stops(tavi__http1_load(last)) >> ((p - last) << TAVI__HTTP1_MARK_SHIFT);
  return marks != 0 ? p + tavi__http1_first_mark(marks) : end;
}

/* The first byte that `stops` marks, when it lies in the block that begins at p; otherwise NULL. */
TAVI__HOT const char *tavi__http1_near(const char *p, const char *last, uint64_t (*stops)(tavi__http1_block)) {
  if ((uintptr_t)p > (uintptr_t)last) return NULL;
  const uint64_t marks = stops(tavi__http1_load(p));
  return marks != 0 ? p + tavi__http1_first_mark(marks) : NULL;
}

/* ==== the runs ==== */

/* End of a run of token bytes. Letters and '-' go by blocks; the first other byte is nearly always the end. */
const char *tavi__http1_name_end(const char *p, const char *last, const char *end);

/* End of a run of letters, digits, '.' and '-'. */
const char *tavi__http1_label_end(const char *p, const char *last, const char *end);

/* End of a run of value bytes: the first control other than HTAB, or DEL. */
static inline const char *tavi__http1_value_end(const char *p, const char *last, const char *end) {
  return tavi__http1_scan(p, last, end, tavi__http1_value_stops);
}

/* Is there a CRLF at p? Returns: TAVI_WIRE_EVENT, TAVI_WIRE_MORE when it may become one, or -400. */
static inline int tavi__http1_crlf(const char *p, const char *end) {
  if (end - p >= 2) return memcmp(p, "\r\n", 2) == 0 ? TAVI_WIRE_EVENT : -400;
  return p == end || *p == '\r' ? TAVI_WIRE_MORE : -400;
}

/* ==== field lines ==== */

/* Read "name:OWS value OWS CRLF" at *p, which is not the end of the input and not a CR; *p moves behind it.
 *
 * Returns: TAVI_WIRE_EVENT, TAVI_WIRE_MORE, or -400 for everything that is not exactly this, obs-fold included.
 * Spec:    RFC 9112 section 5. */
TAVI__HOT int tavi__http1_field_line(const char **p, const char *last, const char *end,
                                     struct tavi_http_header *ret_field) {
  const char *name = *p;
  const char *colon = tavi__http1_near(name, last, tavi__http1_word_stops); /* most names are short words */
  if (colon == NULL || *colon != ':') {
    colon = tavi__http1_name_end(name, last, end);
    if (colon == end) return TAVI_WIRE_MORE;
    if (*colon != ':') return -400;
  }
  if (colon == name) return -400;

  const char *value = colon + 1;
  if (end - colon > 2 && colon[1] == ' ' && (unsigned char)colon[2] > ' ') value++; /* as everybody writes it */
  else while (value < end && (*value == ' ' || *value == '\t')) value++;

  const char *cr = tavi__http1_value_end(value, last, end);
  const int status = tavi__http1_crlf(cr, end);
  if (status != TAVI_WIRE_EVENT) return status;

  const char *value_end = cr;
  if ((unsigned char)cr[-1] <= ' ') { /* there is always a byte before: at least the colon */
    while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t')) value_end--;
  }
  ret_field->name = (struct tavi_slice){name, (size_t)(colon - name)};
  ret_field->value = (struct tavi_slice){value, (size_t)(value_end - value)};
  *p = cr + 2;
  return TAVI_WIRE_EVENT;
}

#endif
