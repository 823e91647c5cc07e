/* SPDX-License-Identifier: MIT
 *
 * Percent-encoding (RFC 3986 section 2.1): see tavi/url.h. */
#include "base/hex.h"
#include "tavi/url.h"

/* The unreserved characters of section 2.3, which mean the same encoded or not. */
static bool is_unreserved(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c == '-' || c == '.' || c == '_' || c == '~';
}

int64_t tavi_percent_encode(struct tavi_slice in, char *out, size_t cap) {
  size_t n = 0;
  for (size_t i = 0; i < in.len; i++) {
    unsigned char c = (unsigned char) in.ptr[i];
    bool stays = is_unreserved(in.ptr[i]);
    if (cap - n < (stays ? 1u : 3u)) return TAVI_E_LIMIT;
    if (stays) {
      out[n++] = in.ptr[i];
      continue;
    }
    out[n++] = '%';
    out[n++] = "0123456789ABCDEF"[c >> 4];
    out[n++] = "0123456789ABCDEF"[c & 15];
  }
  return (int64_t) n;
}

int64_t tavi_percent_decode(struct tavi_slice in, bool plus_is_space, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < in.len; i++) {
    char c = in.ptr[i];
    if (c == '%') {
      int byte = in.len - i > 2 ? tavi__hex_byte(in.ptr + i + 1) : -1;
      if (byte < 0) return TAVI_E_ARG;
      c = (char) byte;
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    out[n++] = c;
  }
  return (int64_t) n;
}
