/* SPDX-License-Identifier: MIT
 *
 * What the values of the few fields mean that decide about framing, routing and the life of the connection.
 * Private to the HTTP/1.1 codec. */
#ifndef TAVI_WIRE_HTTP1_FIELD_H
#define TAVI_WIRE_HTTP1_FIELD_H

#include "wire/http1.h"
#include "wire/http1_scan.h"

/* The options of a Connection field that we know, as bits. */
enum tavi__http1_option {
  TAVI__HTTP1_CLOSE = 1,
  TAVI__HTTP1_KEEP_ALIVE = 2,
  TAVI__HTTP1_UPGRADE = 4
};

/* The known options in the value of one Connection field. Spec: RFC 9110 section 7.6.1. */
unsigned tavi__http1_connection_options(struct tavi_slice value);

/* Content-Length: 1*DIGIT, at most 2^63-1. Returns: 0 or -400. */
int tavi__http1_content_length(struct tavi_slice value, uint64_t *ret_length);

/* Transfer-Encoding. Returns: 0 when it is exactly "chunked"; -501 for a well-formed list of codings that we do not
 * know (perhaps with chunked at its end); -400 for anything else. Spec: RFC 9112 sections 6.1 and 7. */
int tavi__http1_transfer_encoding(struct tavi_slice value);

/* host [":" port], as it stands in Host, in absolute-form and after CONNECT. */
struct tavi__http1_authority {
  struct tavi_slice host; /* not empty; an IPv6 address with its brackets */
  struct tavi_slice port; /* digits, perhaps none */
  bool has_port;          /* there was a ':' */
};

/* Take an authority apart. Refuses user information, bad percent-encoding and IPv6 literals, ports beyond 65535,
 * an empty host, and ',' (legal in a name, yet a sign of two Host fields joined by some proxy).
 * Spec: RFC 3986 section 3.2. */
bool tavi__http1_authority(struct tavi_slice s, struct tavi__http1_authority *ret_authority);

/* Do two authorities name the same place under this scheme? Host names compare without case, and a missing port is
 * the scheme's default (RFC 3986 6.2.3). Both must have passed tavi__http1_authority. */
bool tavi__http1_same_authority(struct tavi_slice scheme, struct tavi_slice a, struct tavi_slice b);

/* Compare `len` bytes at p with a word of small letters and '-', letters of either case. The bytes must come out of
 * the line parser: with controls excluded, setting 0x20 maps nothing but letters and '-' themselves onto those.
 * `len` is a constant from 4 to 24, so that this becomes two or three comparisons. */
static inline bool tavi__http1_word_is(const char *p, const char *word, size_t len) {
  if (len < 8) {
    uint32_t a[2];
    uint32_t b[2];
    memcpy(&a[0], p, 4);
    memcpy(&b[0], word, 4);
    memcpy(&a[1], p + len - 4, 4);
    memcpy(&b[1], word + len - 4, 4);
    return (a[0] | UINT32_C(0x20202020)) == b[0] && (a[1] | UINT32_C(0x20202020)) == b[1];
  }
  uint64_t a[3];
  uint64_t b[3];
  const size_t middle = len > 16 ? 8 : 0;
  memcpy(&a[0], p, 8);
  memcpy(&b[0], word, 8);
  memcpy(&a[1], p + middle, 8);
  memcpy(&b[1], word + middle, 8);
  memcpy(&a[2], p + len - 8, 8);
  memcpy(&b[2], word + len - 8, 8);
  return (a[0] | TAVI__HTTP1_EACH(0x20u)) == b[0] && (a[1] | TAVI__HTTP1_EACH(0x20u)) == b[1] &&
         (a[2] | TAVI__HTTP1_EACH(0x20u)) == b[2];
}

#endif
