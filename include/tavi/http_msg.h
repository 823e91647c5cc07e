/* SPDX-License-Identifier: MIT
 *
 * An HTTP message as data: what the parser found, as slices of the bytes that arrived. No behaviour, no socket.
 * The functions that look things up in a message are in tavi/http.h.
 */
#ifndef TAVI_HTTP_MSG_H
#define TAVI_HTTP_MSG_H

#include <stdbool.h>

#include "tavi/base.h"

/* One header field, as it stood on the wire: original case, value without the white space around it. */
struct tavi_http_header {
  struct tavi_slice name;
  struct tavi_slice value;
};

/* How the end of a message's body is found (RFC 9112 section 6.3). */
enum tavi_http_framing {
  TAVI_HTTP_NO_BODY,     /* nothing follows the head */
  TAVI_HTTP_LENGTH,      /* Content-Length bytes follow */
  TAVI_HTTP_CHUNKED,     /* chunks follow, then perhaps trailers */
  TAVI_HTTP_UNTIL_CLOSE  /* responses only: everything until the peer closes */
};

/* A request or a response.
 *
 * Every slice, and the arrays, are borrowed: valid until the callback that was given the message returns. */
struct tavi_http_msg {
  struct tavi_slice method;        /* request: "GET"; any token, case preserved. Response: empty */
  struct tavi_slice target;        /* request: the whole request target as sent, not decoded. Response: empty */
  struct tavi_slice path;          /* the target up to its first '?', not decoded */
  struct tavi_slice query;         /* what follows that '?', not decoded; empty without one */
  struct tavi_slice reason;        /* response: the reason phrase, perhaps empty. Request: empty */
  struct tavi_slice version;       /* "HTTP/1.1" as it stood there */
  int status;                      /* response: 100..999. Request: 0 */
  int minor;                       /* the y of HTTP/1.y: 0 or 1 */
  const struct tavi_http_header *headers;
  size_t header_count;
  const struct tavi_http_header *trailers; /* after the last chunk; none in on_headers */
  size_t trailer_count;
  struct tavi_slice head;          /* the raw head: start line and headers, with the empty line that ends it */
  struct tavi_slice body;          /* on_headers: what has arrived so far; on_message: all of it (see streaming) */
  enum tavi_http_framing framing;
  uint64_t content_length;         /* with TAVI_HTTP_LENGTH, bytes */
  bool keep_alive;                 /* what the sender wants afterwards: version and Connection, RFC 9112 9.3 */
  bool expects_continue;           /* "Expect: 100-continue" of an HTTP/1.1 request */
  bool upgrades;                   /* an Upgrade header with "upgrade" among the Connection options */
};

#endif
