/* SPDX-License-Identifier: MIT
 *
 * Content negotiation as far as a server needs it: Accept-Encoding (RFC 9110 section 12.5.3). */
#ifndef TAVI_WIRE_HTTP_ACCEPT_H
#define TAVI_WIRE_HTTP_ACCEPT_H

#include "tavi/http.h"

/* Weights in thousandths, 0 (not acceptable) to 1000; as the request's Accept-Encoding fields say for each coding. */
struct tavi__accept {
  uint16_t identity, gzip, brotli, zstd;
};

/* Read all Accept-Encoding fields of msg. Without one, or with malformed ones only, identity alone is acceptable (the
 * RFC would allow anything: a client that wants a coding says so). "x-gzip" is gzip; "*" is whatever is not named;
 * identity is acceptable unless it is named, or "*", with 0; when neither is named it weighs 1, the least, so that what
 * the client names goes before it. Of two weights for one coding the greater counts. A malformed element is skipped. */
struct tavi__accept tavi__http_accept_encoding(const struct tavi_http_msg *msg);

/* The best of `codings` (a sum of enum tavi_coding): the greatest weight that is not below identity's own and not 0;
 * among equals brotli, zstd, gzip. 0 when there is none. */
unsigned tavi__http_accept_choose(const struct tavi__accept *a, unsigned codings);

/* "gzip", "br", "zstd"; "" for others. Static. */
const char *tavi__http_coding_name(unsigned coding);

#endif
