/* SPDX-License-Identifier: MIT
 *
 * Validators and conditional requests as values: dates, entity tags, and what a request's conditions come to. */
#ifndef TAVI_WIRE_HTTP_COND_H
#define TAVI_WIRE_HTTP_COND_H

#include "tavi/http_msg.h"

/* What is known of the selected representation. */
struct tavi__validators {
  struct tavi_slice etag; /* with its quotes, "W/" in front when weak; empty: none */
  int64_t modified_s;     /* seconds since 1970-01-01 UTC; negative: not known */
  int64_t now_s;          /* the time of the answer: a date of If-Range is strong only when it is well before it */
};

/* HTTP-date in its three forms (RFC 9110 section 5.6.7); a two-digit year more than 50 years ahead of now_s is in the
 * past. False when it is none: names are case-sensitive, each number has its range (a leap second only at 23:59:60),
 * the weekday is one, though perhaps not that of the date. The years are 0 to 9999. */
bool tavi__http_date_parse(struct tavi_slice s, int64_t now_s, int64_t *ret_unix_s);

/* What If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since come to, in the order of RFC 9110 section
 * 13.2.2, for a representation that exists. Lists may be spread over several fields. Malformed dates, and dates in
 * several fields of one name, are ignored, and so are the date fields where section 13.1 says so; a malformed list of
 * entity tags matches nothing. Not for CONNECT, OPTIONS and TRACE, which have no conditions (13.2.1).
 *
 * is_get: GET or HEAD. Returns: 0: go on; 304; 412. */
int tavi__http_condition(const struct tavi_http_msg *msg, bool is_get, const struct tavi__validators *v);

/* May Range be obeyed, as far as If-Range goes (RFC 9110 section 13.1.5)? Strong comparison; true without If-Range,
 * false when there are several.
 *
 * A date must be that of the representation, which must have been modified at least one second before now_s. While its
 * second is not over, the file may change again and keep its date, so the date is no strong validator (8.8.2.2). What
 * changed between two reads within one second long ago cannot be seen here; a client is told not to send such dates. */
bool tavi__http_if_range(const struct tavi_http_msg *msg, const struct tavi__validators *v);

#endif
