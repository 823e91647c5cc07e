/* SPDX-License-Identifier: MIT
 *
 * See base64.h. Three bytes are four characters; only the last four may stand for fewer. */
#include "base/base64.h"

#include "tavi/text.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t tavi__base64_encode(struct tavi_slice in, char *out) {
  const unsigned char *p = (const unsigned char *) in.ptr;
  size_t left = in.len, at = 0;
  for (; left > 0; at += 4) {
    unsigned bits = (unsigned) p[0] << 16 | (left > 1 ? (unsigned) p[1] << 8 : 0u) | (left > 2 ? p[2] : 0u);
    out[at] = alphabet[bits >> 18];
    out[at + 1] = alphabet[bits >> 12 & 63];
    out[at + 2] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
    out[at + 3] = left > 2 ? alphabet[bits & 63] : '=';
    size_t used = left > 3 ? 3 : left;
    p += used;
    left -= used;
  }
  return at;
}

/* 0..63, or -1 for what is not of the alphabet. */
static int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int64_t tavi__base64_decode(struct tavi_slice in, char *out) {
  size_t padding = 0, len = 0;
  if (in.len % 4 != 0) return TAVI_E_PROTOCOL;
  while (padding < 2 && padding < in.len && in.ptr[in.len - 1 - padding] == '=') padding++;

  for (size_t at = 0; at < in.len; at += 4) {
    int pads = at + 4 == in.len ? (int) padding : 0;
    int a = value_of(in.ptr[at]), b = value_of(in.ptr[at + 1]);
    int c = pads > 1 ? 0 : value_of(in.ptr[at + 2]), d = pads > 0 ? 0 : value_of(in.ptr[at + 3]);
    if ((a | b | c | d) < 0) return TAVI_E_PROTOCOL;

    unsigned bits = (unsigned) a << 18 | (unsigned) b << 12 | (unsigned) c << 6 | (unsigned) d;
    if ((pads == 1 && (bits & 0xff) != 0) || (pads == 2 && (bits & 0xffff) != 0)) return TAVI_E_PROTOCOL;
    out[len++] = (char) (bits >> 16);
    if (pads < 2) out[len++] = (char) (bits >> 8);
    if (pads < 1) out[len++] = (char) bits;
  }
  return (int64_t) len;
}

int64_t tavi_base64_encode(struct tavi_slice in, char *out, size_t cap) {
  size_t groups = in.len / 3 + (in.len % 3 > 0);
  return groups > cap / 4 ? TAVI_E_LIMIT : (int64_t) tavi__base64_encode(in, out);
}

static size_t decoded_len(struct tavi_slice in) {
  size_t len = in.len / 4 * 3;
  for (size_t i = 0; i < 2 && len > 0 && in.ptr[in.len - 1 - i] == '='; i++) len--;
  return len;
}

int64_t tavi_base64_decode(struct tavi_slice in, char *out, size_t cap) {
  return decoded_len(in) > cap ? TAVI_E_LIMIT : tavi__base64_decode(in, out);
}
