/* SPDX-License-Identifier: MIT
 *
 * The text of server-sent events (WHATWG HTML section 9.2.5). */
#ifndef TAVI_WIRE_EVENT_STREAM_H
#define TAVI_WIRE_EVENT_STREAM_H

#include "tavi/http_sse.h"

/* Bytes that the event takes; 0: it must not be sent (CR, LF or NUL where none may be), or is beyond all memory. */
size_t tavi__event_stream_size(const struct tavi_sse_event *ev);

/* Write it to out, where there is room for that many bytes. Returns their end. */
char *tavi__event_stream_put(char *out, const struct tavi_sse_event *ev);

#endif
