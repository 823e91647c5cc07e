/* SPDX-License-Identifier: MIT
 *
 * Forwarded (RFC 7239) and X-Forwarded-For/-Proto/-Host, element by element from the last, which the nearest proxy
 * wrote.
 *
 * Read from the back because only the back is known to be the proxies' own: whatever a client has sent stands before
 * it, and must not be able to change how that is read, not even by opening a quotation.
 */
#ifndef TAVI_WIRE_FORWARDED_H
#define TAVI_WIRE_FORWARDED_H

#include "tavi/http_msg.h"
#include "wire/wire.h"

/* Two ways to say the same. A proxy that writes one hands the other on as it came. */
enum tavi__forwarded_kind { TAVI__FORWARDED, TAVI__X_FORWARDED };

struct tavi__forwarded {
  struct tavi_slice address; /* an IPv4 or IPv6 literal without brackets; empty: "unknown", obfuscated, or not told */
  struct tavi_slice scheme;  /* empty: not told */
  struct tavi_slice host;    /* may stand in a Host header; empty: not told */
  uint16_t port;             /* 0: not told */
};

/* Where the reading is; zeroed is the beginning. */
struct tavi__forwarded_at {
  size_t field;   /* headers that were done, from the end */
  size_t len;     /* of the current field's value that is left */
  bool is_inside; /* of a field */
  size_t element; /* that were read */
};

/* Does the message say anything in this way? */
bool tavi__forwarded_has(const struct tavi_http_msg *msg, enum tavi__forwarded_kind kind);

/* The element before the last one that was read. Of TAVI__X_FORWARDED, which keeps the three apart, it has only address
 * and port.
 * Returns: TAVI_WIRE_EVENT; TAVI_WIRE_MORE (0): there are no more; TAVI_E_PROTOCOL: a malformed one; what is before it
 *          must not be believed. Slices are borrowed from msg. */
int tavi__forwarded_back(const struct tavi_http_msg *msg, enum tavi__forwarded_kind kind, struct tavi__forwarded_at *at,
                         struct tavi__forwarded *ret_element);

/* The X-Forwarded-Proto and -Host that belong to the element of X-Forwarded-For which was read last: their elements at
 * the same place when there are as many, else their last ones. Malformed ones are left out. */
void tavi__x_forwarded_rest(const struct tavi_http_msg *msg, const struct tavi__forwarded_at *at,
                            struct tavi__forwarded *element);

#endif
