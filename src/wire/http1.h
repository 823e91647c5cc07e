/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 on the wire (RFC 9110, RFC 9112), both directions, as one codec without input or output.
 *
 * A head is small and bounded, so it is parsed again from its start when more has come (the caller does so only when
 * a line has been completed, which bounds the work by the number of lines). A body by chunks is unbounded, so its
 * decoder is resumable and works in place. Heads are refused with the HTTP status that a server answers.
 *
 * Strict: everything on which two parsers could disagree about where a message ends is refused. */
#ifndef TAVI_WIRE_HTTP1_H
#define TAVI_WIRE_HTTP1_H

#include "tavi/http_msg.h"
#include "wire/wire.h"

/* ==== heads ==== */

struct tavi__http1_limits {
  size_t head_bytes_max;   /* start line, headers and the empty line together */
  size_t target_bytes_max; /* of the request line's target alone; beyond it 414 */
  size_t header_count_max; /* also the capacity of the array given to the parser */
};

/* Parse one request head that begins at p[0].
 *
 * headers: room for limits->header_count_max fields; filled, and pointed to by ret_msg->headers.
 * Returns: TAVI_WIRE_EVENT and the head's length in *consumed (ret_msg->head is that slice, body is empty);
 *          TAVI_WIRE_MORE when p[0..len) is a good beginning;
 *          otherwise the negated HTTP status to answer: -400, -414, -417, -431, -501 or -505.
 *          An error in the part that has arrived is told at once, without waiting for the head's end.
 * A request line may be preceded by at most one empty CRLF line (RFC 9112 2.2); it is consumed with the head but is
 * not part of ret_msg->head.
 * Bytes are judged in their order: the answer for a prefix is MORE, or the answer for the whole.
 * Owns:    every slice of ret_msg is borrowed from p (the path of "http://host" without one is a static "/"); the bytes
 *          are not changed. headers and *ret_msg are scratch until TAVI_WIRE_EVENT: they are filled while parsing. */
int tavi__http1_request(const char *p, size_t len, const struct tavi__http1_limits *limits,
                        struct tavi_http_header *headers, size_t *consumed, struct tavi_http_msg *ret_msg);

/* What was asked, as far as it decides how a response is framed. */
enum tavi__http1_question { TAVI__HTTP1_OTHER, TAVI__HTTP1_HEAD, TAVI__HTTP1_CONNECT };

/* Parse one response head. As above; -431 when it is longer than the limits allow, any other error is -502 (a client
 * has no status to answer).
 * `question` decides about the body: none after HEAD, 1xx, 204, 304 and a 2xx to CONNECT (RFC 9112 section 6.3);
 * content_length then still tells what the field said. limits->target_bytes_max is not used. */
int tavi__http1_response(const char *p, size_t len, enum tavi__http1_question question,
                         const struct tavi__http1_limits *limits, struct tavi_http_header *headers, size_t *consumed,
                         struct tavi_http_msg *ret_msg);

/* ==== chunked bodies (RFC 9112 section 7.1) ==== */

/* All of the decoder's state; zeroed is a fresh one. It fits a few words because it keeps no bytes. */
struct tavi__http1_chunks {
  uint64_t left;       /* bytes of the current chunk still to come */
  uint32_t line_bytes; /* of the current size line or trailer section, for the limits */
  uint8_t state;       /* internal */
  uint8_t digits;      /* internal: of the size so far */
};

enum tavi__http1_chunk_event {
  TAVI__HTTP1_DATA,     /* ret_data is a run of the body, borrowed from the input */
  TAVI__HTTP1_TRAILERS, /* the last chunk has been seen; ret_data is the raw trailer section with the empty line that
                         * ends it (just CRLF when there are none). The message is complete. */
};

/* Decode the next event from p[0..len).
 *
 * Returns: TAVI_WIRE_EVENT: *consumed bytes were used (framing included), *ret_event and *ret_data tell what;
 *          TAVI_WIRE_MORE: *consumed bytes of framing were used, give the rest again with more behind it; a
 *          trailer section is consumed only whole, so at most trailer_bytes_max are held back by the caller;
 *          -400: not chunked coding (extensions are skipped up to a limit, and obey their grammar: RFC 9112 7.1.1);
 *          -431: the trailer section is longer than trailer_bytes_max. After an error every call repeats it,
 *          and after the TRAILERS event every call is -400.
 * Bare LF, white space before the size, empty sizes and sizes beyond 2^63-1 are -400. */
int tavi__http1_chunk(struct tavi__http1_chunks *c, const char *p, size_t len, size_t trailer_bytes_max,
                      size_t *consumed, enum tavi__http1_chunk_event *ret_event, struct tavi_slice *ret_data);

/* Parse a raw trailer section (as TAVI__HTTP1_TRAILERS gives it) into fields.
 *
 * Returns: the number of fields, or -400 / -431. Fields that must not be trailers (RFC 9110 6.5.1: framing, routing,
 * authentication, Host, Content-*...) are refused with -400; Content-Digest and Content-MD5 may be (RFC 9530). */
int tavi__http1_trailers(struct tavi_slice raw, struct tavi_http_header *headers, size_t header_count_max);

/* ==== output ==== */

/* "200 OK": status line text after "HTTP/1.1 ", code and standard reason phrase, or "599 " with an empty phrase for
 * codes without one. Writes at most 48 bytes to out, returns their number. */
size_t tavi__http1_status_text(int status, char *out);

/* The reason phrase alone ("OK"), "" for codes without one. Static. As in RFC 9110 section 15 and the registry. */
const char *tavi__http1_reason(int status);

/* A date as in RFC 9110 5.6.7, "Sun, 06 Nov 1994 08:49:37 GMT", exactly 29 bytes without a NUL.
 * Units: seconds since 1970-01-01 UTC. No locale, no allocation. */
void tavi__http1_date(int64_t unix_s, char out[29]);

/* Readable bytes that the two checks below need behind what they are given, whatever they hold: they look at whole
 * blocks. (The caller has copied the bytes to an output buffer anyway, where there is room.) */
#define TAVI__HTTP1_PAD 16

/* True when every byte may stand in a header name (a token), and there is at least one. */
bool tavi__http1_is_token(struct tavi_slice padded);

/* True when the bytes may be sent as a header value: no CR, LF or NUL. */
bool tavi__http1_is_value(struct tavi_slice padded);

/* Write "name: value CRLF" to `to`, where there is room for TAVI__HTTP1_PAD bytes more. Returns the end, or NULL when
 * the two checks above fail (something was written all the same). */
char *tavi__http1_put_field(char *to, const struct tavi_http_header *field);

/* ==== helpers over slices ==== */

/* ASCII case-insensitive equality. */
bool tavi__slice_is(struct tavi_slice a, const char *text, size_t len);

static inline bool tavi__slice_begins(struct tavi_slice a, const char *text, size_t len) {
  return a.len >= len && tavi__slice_is((struct tavi_slice){a.ptr, len}, text, len);
}

/* What is between p and end without the white space at both ends of it. */
struct tavi_slice tavi__trim(const char *p, const char *end);

/* The first header of that name (case-insensitive), or NULL. */
const struct tavi_http_header *tavi__http1_find(const struct tavi_http_header *headers, size_t count,
                                                struct tavi_slice name);

/* True when the comma-separated list `value` holds the token (case-insensitive), such as "close" in Connection. */
bool tavi__http1_list_has(struct tavi_slice value, const char *lower_case_token, size_t len);

#endif
