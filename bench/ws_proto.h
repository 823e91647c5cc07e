/* SPDX-License-Identifier: MIT
 *
 * The little of RFC 6455 that the bench programs need: the accept key (section 4.2.2, with a SHA-1 for short
 * messages), frame heads and masking (section 5.2). It trusts its peer; the library's own code is elsewhere.
 */
#ifndef WS_PROTO_H
#define WS_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static inline uint32_t rol32(uint32_t v, int n) { return v << n | v >> (32 - n); }

/* SHA-1 of a message of at most 119 bytes (two blocks) */
static inline void sha1_short(const void *msg, size_t n, uint8_t out[20]) {
  uint8_t block[128] = {0};
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  size_t blocks = n < 56 ? 1 : 2;
  memcpy(block, msg, n);
  block[n] = 0x80;
  for (size_t i = 0; i < 8; i++)
    block[blocks * 64 - 1 - i] = (uint8_t) ((uint64_t) n * 8 >> (8 * i));
  for (size_t b = 0; b < blocks; b++) {
    uint32_t w[80], a = h[0], x = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++) {
      const uint8_t *p = block + b * 64 + i * 4;
      w[i] = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
    }
    for (int i = 16; i < 80; i++)
      w[i] = rol32(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
      uint32_t f, k;
      if (i < 20) f = (x & c) | (~x & d), k = 0x5a827999;
      else if (i < 40) f = x ^ c ^ d, k = 0x6ed9eba1;
      else if (i < 60) f = (x & c) | (x & d) | (c & d), k = 0x8f1bbcdc;
      else f = x ^ c ^ d, k = 0xca62c1d6;
      uint32_t t = rol32(a, 5) + f + e + k + w[i];
      e = d, d = c, c = rol32(x, 30), x = a, a = t;
    }
    h[0] += a, h[1] += x, h[2] += c, h[3] += d, h[4] += e;
  }
  for (int i = 0; i < 20; i++) out[i] = (uint8_t) (h[i / 4] >> (24 - 8 * (i % 4)));
}

/* Sec-WebSocket-Accept for a 24-byte key; writes 28 characters and a NUL */
static inline void ws_accept(const char key[24], char out[29]) {
  static const char set[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char text[64];
  uint8_t d[21] = {0};
  memcpy(text, key, 24);
  memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
  sha1_short(text, 60, d);
  for (int i = 0, o = 0; i < 21; i += 3) {
    uint32_t v = (uint32_t) d[i] << 16 | (uint32_t) d[i + 1] << 8 | d[i + 2];
    for (int k = 18; k >= 0; k -= 6) out[o++] = set[v >> k & 63];
  }
  out[27] = '=';
  out[28] = 0;
}

struct ws_frame {
  uint8_t op;
  bool fin, masked;
  uint8_t mask[4];
  size_t head, len;
};

/* false: the header is not complete yet */
static inline bool ws_parse_head(const uint8_t *p, size_t n, struct ws_frame *f) {
  if (n < 2) return false;
  f->fin = p[0] & 0x80, f->op = p[0] & 15, f->masked = p[1] & 0x80;
  f->len = p[1] & 127, f->head = 2;
  if (f->len == 126) {
    if (n < 4) return false;
    f->len = (size_t) p[2] << 8 | p[3], f->head = 4;
  } else if (f->len == 127) {
    if (n < 10) return false;
    f->len = 0, f->head = 10;
    for (int i = 2; i < 10; i++) f->len = f->len << 8 | p[i];
  }
  if (f->masked) {
    if (n < f->head + 4) return false;
    memcpy(f->mask, p + f->head, 4);
    f->head += 4;
  }
  return true;
}

/* Writes a header for a final frame, returns its length (2..14) */
static inline size_t ws_put_head(uint8_t *out, uint8_t op, size_t len, const uint8_t *mask) {
  size_t n = 2;
  out[0] = 0x80 | op;
  if (len < 126) {
    out[1] = (uint8_t) len;
  } else if (len < 65536) {
    out[1] = 126, out[2] = (uint8_t) (len >> 8), out[3] = (uint8_t) len, n = 4;
  } else {
    out[1] = 127, n = 10;
    for (int i = 0; i < 8; i++) out[9 - i] = (uint8_t) ((uint64_t) len >> (8 * i));
  }
  if (mask) {
    out[1] |= 0x80;
    memcpy(out + n, mask, 4);
    n += 4;
  }
  return n;
}

static inline void ws_xor(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t mask[4]) {
  uint64_t m, v;
  uint32_t m32;
  size_t i = 0;
  memcpy(&m32, mask, 4);
  m = (uint64_t) m32 << 32 | m32;
  for (; i + 8 <= n; i += 8) {
    memcpy(&v, src + i, 8);
    v ^= m;
    memcpy(dst + i, &v, 8);
  }
  for (; i < n; i++) dst[i] = src[i] ^ mask[i & 3];
}

#endif
