/* SPDX-License-Identifier: MIT
 *
 * Server-sent events (WHATWG HTML section 9.2): a response that never ends, and channels that send one event to many.
 *
 * A subscriber asks like any client; answer with tavi_sse_begin(), then tavi_sse_send() to it alone, or
 * tavi_sse_subscribe() it to a channel. What it has missed is told by its Last-Event-ID header.
 */
#ifndef TAVI_HTTP_SSE_H
#define TAVI_HTTP_SSE_H

#include "tavi/http.h"

TAVI_BEGIN_DECLS

struct tavi_sse_event {
  struct tavi_slice event; /* its type; empty for the default, "message". No CR, LF */
  struct tavi_slice data;  /* any text. Its lines, between CR LF, LF or CR, are sent as lines of data, so it arrives as
                            * it was, with LF between them. Without data a browser tells nothing */
  struct tavi_slice id;    /* what the browser sends as Last-Event-ID when it connects again. No CR, LF, NUL */
  bool has_data;           /* empty data, too, is sent, and told */
  bool has_id;             /* an empty id, too, is sent: it makes the browser forget its last one */
  int64_t retry_ms;        /* how long the browser waits before it connects again; negative: not sent */
};

/* Nothing set, retry_ms -1. Sent like this it is an empty line, which browsers pass over: what keeps a proxy from
 * closing a stream on which nothing happens. */
TAVI_API void tavi_sse_event_init(struct tavi_sse_event *ev);

/* Answer the current request with an event stream: 200, "Content-Type: text/event-stream", "Cache-Control: no-store"
 * (each unless it is among the caller's headers), the caller's headers, then a stream as of tavi_http_begin(). It ends
 * with tavi_http_end() or the connection. The answer to a HEAD is complete at once; what is sent on it later is
 * dropped. Returns as tavi_http_begin(), and TAVI_E_STATE for a CONNECT. */
TAVI_API int tavi_sse_begin(struct tavi_conn *c, const struct tavi_http_header *headers, size_t header_count);

/* Send one event as a piece of the stream that was begun, in whatever way: chunked, compressed or until the connection
 * closes. Returns as tavi_http_chunk(); TAVI_E_ARG for a CR, LF or NUL where none may be. */
TAVI_API int tavi_sse_send(struct tavi_conn *c, const struct tavi_sse_event *ev);

/* ==== channels ==== */

struct tavi_sse_channel;

/* What becomes of a subscriber that takes less than it gets: one for which more than pending_bytes_max were left over
 * from earlier turns when an event comes, or more than its connection's send_bytes_max would be queued with it. (A
 * burst within one turn alone makes nobody slow: there was no occasion to send it.) Likewise when memory runs out. */
enum tavi_sse_slow {
  TAVI_SSE_SLOW_CLOSE = 0, /* it is closed, without on_error: its browser comes again and says by Last-Event-ID what it
                            * has */
  TAVI_SSE_SLOW_SKIP = 1   /* it does not get this event. When it takes nothing for write_timeout_ms, its connection
                            * fails as any other */
};

/* Fill with tavi_sse_channel_opts_init(); copied at the call. */
struct tavi_sse_channel_opts {
  enum tavi_sse_slow slow;   /* default TAVI_SSE_SLOW_CLOSE */
  size_t pending_bytes_max;  /* default 256 KiB */
};

TAVI_API void tavi_sse_channel_opts_init(struct tavi_sse_channel_opts *opts);

/* Owns: the caller, until tavi_sse_channel_free(), or the end of the manager, which frees what is left. opts: NULL for
 * defaults. Returns 0, TAVI_E_ARG (no such policy) or TAVI_E_NOMEM. */
TAVI_API int tavi_sse_channel_new(struct tavi_manager *m, const struct tavi_sse_channel_opts *opts,
                                  struct tavi_sse_channel **ret_channel);

/* The subscribers' streams go on; they only get nothing more from here. Inside callbacks, too. NULL is accepted. */
TAVI_API void tavi_sse_channel_free(struct tavi_sse_channel *ch);

/* From now on the connection, whose event stream has begun (by tavi_sse_begin(), tavi_http_begin() or a head written by
 * hand), gets what is published; until it closes, its stream ends, or it is unsubscribed. It may be on several
 * channels; twice on one is once. After a HEAD this does nothing.
 * Returns: 0, TAVI_E_STATE (no stream has begun), TAVI_E_CLOSED, TAVI_E_NOMEM, TAVI_E_ARG (another manager's). */
TAVI_API int tavi_sse_subscribe(struct tavi_sse_channel *ch, struct tavi_conn *c);

/* It gets nothing more from here, and its stream goes on. Of one that is not on the channel: does nothing. */
TAVI_API void tavi_sse_unsubscribe(struct tavi_sse_channel *ch, struct tavi_conn *c);

/* Send an event to every subscriber; encoded once. They get it at the end of the turn.
 *
 * Calls back: nothing, except on_error of a compressed stream that cannot be continued.
 * Returns: how many get it, or TAVI_E_ARG as tavi_sse_send(), TAVI_E_NOMEM (nobody has got it). */
TAVI_API int64_t tavi_sse_publish(struct tavi_sse_channel *ch, const struct tavi_sse_event *ev);

/* Subscribers now (one that closes counts until its on_close has returned); and, since the beginning, how often an
 * event was not sent to somebody who was slow, and how many were closed for that. */
TAVI_API size_t tavi_sse_subscriber_count(const struct tavi_sse_channel *ch);
TAVI_API uint64_t tavi_sse_skipped_count(const struct tavi_sse_channel *ch);
TAVI_API uint64_t tavi_sse_closed_count(const struct tavi_sse_channel *ch);

TAVI_END_DECLS

#endif
