/* SPDX-License-Identifier: MIT
 *
 * Percent-encoding (RFC 3986 section 2.1): see tavi/url.h. */
#include "base/ascii.h"
#include "tavi/url.h"

/* The unreserved characters of section 2.3, which mean the same encoded or not. */
static bool is_unreserved(char c) {
  return tavi__is_letter(c) || tavi__is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
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
  for (size_t at = 0; at < in.len; n++) {
    bool is_space = plus_is_space && in.ptr[at] == '+';
    int byte = tavi__percent_byte(in, &at);
    if (byte < 0) return TAVI_E_ARG;
    out[n] = is_space ? ' ' : (char) byte;
  }
  return (int64_t) n;
}
