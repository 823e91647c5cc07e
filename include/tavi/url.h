/* SPDX-License-Identifier: MIT
 *
 * URLs (RFC 3986): their parts, and percent-encoding. Pure functions. */
#ifndef TAVI_URL_H
#define TAVI_URL_H

#include <stdbool.h>

#include "tavi/base.h"

TAVI_BEGIN_DECLS

/* The parts of "scheme://user:pass@host:port/path?query#fragment". Each that is missing is empty; all are borrowed from
 * the text and as they stand there, not decoded. */
struct tavi_url {
  struct tavi_slice scheme; /* empty when there is no "://" behind it: "host:80/x" has none, and "//host/x" */
  struct tavi_slice user;   /* up to the first ':' */
  struct tavi_slice pass;   /* the rest, up to the last '@' of the authority */
  struct tavi_slice host;   /* an IPv6 literal with its brackets */
  struct tavi_slice uri;    /* what follows the authority; empty, or begins with '/', '?' or '#' */
  int32_t port;             /* of the URL, otherwise the scheme's; 0: neither has one; -1: what is there is no port */
  bool is_tls;              /* the scheme is https, wss, mqtts, ssl, tls or tcps, in any case of letters */
};

/* Take a URL apart.
 *
 * Any text has these parts, so this cannot fail; whether they are good ones (a host that can be one) is judged where
 * they are used, by tavi_connect() and the like. Default ports: 80 for http and ws, 443 for https and wss, 1883 for
 * mqtt, 8883 for mqtts. A ':' with nothing behind it is no port. */
TAVI_API void tavi_url_split(struct tavi_slice url, struct tavi_url *ret_url);

/* Write `in` so that it can stand anywhere in a URL, for one: as a value in a query. Letters, digits, '-', '.', '_'
 * and '~' stay, any other byte becomes %XX. Returns the number of bytes, at most 3 * in.len; TAVI_E_LIMIT (cap). */
TAVI_API int64_t tavi_percent_encode(struct tavi_slice in, char *out, size_t cap);

/* Decode %XX and, when plus_is_space, '+' (the WHATWG form decoding). Returns the number of bytes written to out, which
 * needs room for in.len bytes and may be in.ptr itself; TAVI_E_ARG for a bad escape. */
TAVI_API int64_t tavi_percent_decode(struct tavi_slice in, bool plus_is_space, char *out);

TAVI_END_DECLS

#endif
