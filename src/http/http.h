/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 on one connection: the state, and who does what.
 *
 *   message.c  the input side of both roles: heads, bodies collected or streamed, the user's callbacks
 *   server.c   a request's life: refusing, waiting for the answer, the next one; time-outs
 *   client.c   a response's life: interim ones, truncation; what was asked
 *   answer.c   the output side of a server: heads, whole replies, streams
 *   compress.c whether and how such an answer is compressed
 *   follow.c   bytes that the user sends by hand, followed for their framing
 *   sse.c      event streams, and channels that send one event to many
 *   lookup.c   headers of a message
 *   form.c     forms that are in memory
 *   upload.c   forms of any size, received to disk: a sink, which takes a streamed body in place of the user
 *   auth.c     credentials; cookie.c  cookies; origin.c  who has asked, behind proxies
 *   request.h  requests that the library makes itself, and the files that do it
 *
 * The input of a connection is, from its front: the head of the current message (head_len bytes), the part of its body
 * that was decoded, and what has not been looked at. A message that arrives in one read is parsed once, in the loop's
 * buffer, and never copied. One that does not is kept, and its head is parsed once more when the body is complete. */
#ifndef TAVI_HTTP_HTTP_H
#define TAVI_HTTP_HTTP_H

#include <string.h>

#include "codec/codec.h"
#include "net/conn.h"
#include "tavi/http.h"
#include "wire/http1.h"

/* ==== configuration: what the connections of one listener share ==== */

enum {
  TAVI__HTTP_DATE_BYTES = 6 + 29 + 2,
  TAVI__HTTP_LENGTH_BYTES = 16
};

struct tavi__http_conf {
  struct tavi__conf base; /* first */
  const struct tavi_http_handlers *handlers;
  struct tavi__http1_limits limits;
  uint64_t body_bytes_max;
  uint32_t head_timeout_ms, body_timeout_ms, keepalive_timeout_ms;
  struct tavi__trust *forwarders; /* a server's: whose Forwarded is believed; NULL: nobody's */
  uint64_t date_until_ms; /* the Date below is right until then (monotonic) */
  char date[TAVI__HTTP_DATE_BYTES + TAVI__HTTP_LENGTH_BYTES]; /* "Date: ...CRLF", and "Content-Length: " behind it */
  struct tavi_http_header fields[]; /* scratch for one parse: headers, then trailers */
};

struct tavi__http_conf *tavi__http_conf_new(const struct tavi__proto *proto, const struct tavi_http_opts *opts,
                                            const struct tavi_http_handlers *handlers);

/* ==== state ==== */

/* The input side.
 *
 *   HEAD -> BODY ----> (on_message) -> WAIT -> HEAD
 *        -> STREAM --> (on_message) -> WAIT
 *        -> DROP ----------------------> WAIT       answered in on_headers
 */
enum tavi__http_phase {
  TAVI__HTTP_HEAD,   /* between messages, or in a head */
  TAVI__HTTP_BODY,   /* the body is collected */
  TAVI__HTTP_STREAM, /* the body goes to the user piece by piece */
  TAVI__HTTP_DROP,   /* the rest of the body is read and dropped */
  TAVI__HTTP_WAIT    /* a server's: the request is complete, the answer is not */
};

/* The output side of a server. */
enum tavi__http_answer {
  TAVI__ANSWER_IDLE,        /* there is no request */
  TAVI__ANSWER_NONE,        /* there is one, and its answer has not begun */
  TAVI__ANSWER_LENGTH,      /* out_left bytes are still to come */
  TAVI__ANSWER_CHUNKED,
  TAVI__ANSWER_UNTIL_CLOSE,
  TAVI__ANSWER_DONE
};

/* Which callback is running. */
enum tavi__http_inside { TAVI__HTTP_OUTSIDE, TAVI__HTTP_IN_HEADERS, TAVI__HTTP_IN_MESSAGE };

struct tavi__http_more; /* message.c: what only bodies in pieces and hand-written output need */

struct tavi__http {
  uint8_t phase;             /* enum tavi__http_phase */
  uint8_t answer;            /* a server's: enum tavi__http_answer */
  uint8_t question;          /* a server's, a link's: enum tavi__http1_question, the method as far as it matters */
  uint8_t framing;           /* enum tavi_http_framing of the body being received */
  uint8_t inside;            /* enum tavi__http_inside */
  bool is_http10;
  bool keep_alive;
  bool is_body_done;         /* all of the body has arrived */
  bool is_plain;             /* a server's: nothing about the request asks for anything special in the answer's head */
  bool expects_continue;     /* and 100 was not sent */
  bool wants_stream;
  bool becomes_raw : 1;      /* a 2xx to CONNECT: once the callback has returned */
  bool has_asked : 1;        /* a client's: something was sent that waits for a response */
  bool is_followed_raw : 1;  /* the output is not HTTP; no use in following it */
  uint32_t head_len;         /* HEAD: bytes that were looked at in vain; BODY: of the head at the front of the input */
  uint64_t body_left;        /* LENGTH: BODY: of the whole body; STREAM, DROP: still to come behind the input's front */
  union {
    uint64_t out_left;       /* a server's */
    uint64_t questions;      /* a client's: what was asked, two bits each, the next to be answered lowest */
  } u;
  struct tavi__http_more *more; /* NULL for most messages */
};

_Static_assert(sizeof(struct tavi__http) <= TAVI__PROTO_BYTES, "the state fits in the connection");

/* compress.c: what tavi_http_compress() has found for the current request, and what became of it. */
struct tavi__http_coding {
  bool is_asked;                  /* the answer has not begun */
  uint8_t coding;                 /* one of enum tavi_coding; none: the answer depends on that, too */
  uint8_t level;
  size_t bytes_min;
  struct tavi__encoder *encoder;  /* of the stream that is the answer; NULL: there is none, or it is sent as it is */
  size_t encoder_bytes;           /* of its memory, counted for the manager's maximum */
};

/* What a sink says of the bytes it was given. */
enum tavi__sink_state {
  TAVI__SINK_MORE, /* it waits for more of the body */
  TAVI__SINK_BUSY, /* the peer is held until tavi__http_sink_ready() */
  TAVI__SINK_OVER  /* it wants nothing more; end() comes next */
};

/* Takes a streamed body in place of the user's on_read and on_message. Installed inside of on_headers. */
struct tavi__http_sink {
  /* Take what you can of data (perhaps nothing is there). is_last: no more is to come. */
  enum tavi__sink_state (*take)(struct tavi__http_sink *s, struct tavi_slice data, bool is_last, size_t *ret_taken);
  /* Called once; afterwards the connection knows it no more. status 0: because of TAVI__SINK_OVER; -1: the connection
   * goes; otherwise what is wrong with the request. What was not answered by then is on_message's case. */
  void (*end)(struct tavi__http_sink *s, struct tavi_conn *c, int status);
  bool is_refusing; /* it will be over at once: the peer is not asked for the body (100 Continue) */
};

struct tavi__http_more {
  struct tavi__http1_chunks in;  /* decoder of the body */
  size_t decoded;                /* bytes of the body that were decoded behind the head */
  char *head;                    /* STREAM: a copy of the head, for on_message */
  size_t head_len;
  char *trailers;                /* STREAM: the raw trailer section, until on_message */
  size_t trailers_len;
  struct tavi__http_sink *sink;  /* STREAM: who takes it; NULL: the user */
  struct tavi__http1_chunks out; /* follow.c: decoder of chunks written by hand */
  uint64_t head_owed;            /* of the body that the user still sends for a begun answer to a HEAD: to be dropped */
  uint64_t out_body;             /* follow.c: a client's: bytes of its request's body still to come */
  char *out_head;                /* follow.c: a head that is written in parts */
  size_t out_len, out_cap;
  bool out_is_chunked;
  unsigned question_count;       /* a client's */
  struct tavi__http_coding coding; /* a server's */
  struct tavi__sse_sub *subs;    /* sse.c: the channels that this stream is on */
  size_t sse_waiting;            /* bytes that were queued at the beginning of ... */
  uint32_t sse_turn;             /* ... this turn */
};

static inline struct tavi__http *tavi__http_of(const struct tavi_conn *c) {
  return (struct tavi__http *) (uintptr_t) c->state.bytes;
}

/* Of a connection that was opened as HTTP, whatever it speaks now. */
static inline struct tavi__http_conf *tavi__http_conf_of(const struct tavi_conn *c) {
  return TAVI__CONTAINER(c->conf, struct tavi__http_conf, base);
}

extern const struct tavi__proto tavi__http_server, tavi__http_client;

static inline bool tavi__is_http_server(const struct tavi_conn *c) { return c->proto == &tavi__http_server; }

/* h->more, made when it is not there; NULL when memory ran out. */
struct tavi__http_more *tavi__http_more(struct tavi__http *h);
void tavi__http_free_more(struct tavi__http *h);

/* ==== message.c ==== */

void tavi__http_on_input(struct tavi_conn *c);
struct tavi_slice tavi__http_peek(const struct tavi_conn *c);
void tavi__http_consume(struct tavi_conn *c, size_t n);
void tavi__http_on_drained(struct tavi_conn *c);
void tavi__http_on_end(struct tavi_conn *c);

void tavi__http_on_closing(struct tavi_conn *c);

/* A sink that was busy can go on. */
void tavi__http_sink_ready(struct tavi_conn *c);

/* The request cannot be right: is there a sink to be told? Then it has refused. */
bool tavi__http_sink_bad(struct tavi_conn *c, int status);

/* A body that ends with the connection has ended. */
void tavi__http_complete_at_eof(struct tavi_conn *c);

/* The connection speaks HTTP no more; what was received and not used is the user's. */
void tavi__http_become_raw(struct tavi_conn *c);

/* It became raw outside of on_input: on_read tells in the next turn what was already there. */
void tavi__http_tell_held(struct tavi_conn *c);

/* ==== what message.c asks the role ==== */

/* Parse a head. As tavi__http1_request(). */
int tavi__http_server_parse(struct tavi_conn *c, struct tavi__input in, size_t *consumed, struct tavi_http_msg *msg);
int tavi__http_client_parse(struct tavi_conn *c, struct tavi__input in, size_t *consumed, struct tavi_http_msg *msg);

/* The message cannot be right: answer with the status and close, or fail. */
void tavi__http_server_bad(struct tavi_conn *c, int status) TAVI__COLD;
void tavi__http_client_bad(struct tavi_conn *c, int status) TAVI__COLD;

/* A head was parsed, on_headers comes next. */
static inline void tavi__http_server_head(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi__http *h = tavi__http_of(c);
  h->answer = TAVI__ANSWER_NONE;
  h->question = TAVI__HTTP1_OTHER;
  if (msg->method.len == 4 && memcmp(msg->method.ptr, "HEAD", 4) == 0) h->question = TAVI__HTTP1_HEAD;
  if (msg->method.len == 7 && memcmp(msg->method.ptr, "CONNECT", 7) == 0) h->question = TAVI__HTTP1_CONNECT;
  h->is_http10 = msg->minor == 0;
  h->keep_alive = msg->keep_alive;
  h->expects_continue = msg->expects_continue && msg->body.len == 0 && !h->is_body_done;
  h->is_plain = msg->minor == 1 && msg->keep_alive && h->question == TAVI__HTTP1_OTHER && h->is_body_done;
}
void tavi__http_client_head(struct tavi_conn *c, const struct tavi_http_msg *msg);

/* on_message has returned (or was left out): what now? */
void tavi__http_server_complete(struct tavi_conn *c);
void tavi__http_client_complete(struct tavi_conn *c);

/* The rest of a body is not wanted any more or does not come yet. */
void tavi__http_server_want_body(struct tavi_conn *c);

/* ==== answer.c ==== */

void tavi__http_after_answer(struct tavi_conn *c); /* the rest of the following */

/* The last byte of the answer was queued. Inside of the request's own callbacks there is nothing more to do, unless the
 * connection does not go on as before. */
static inline void tavi__http_answered(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  h->answer = TAVI__ANSWER_DONE;
  if (!h->is_plain || h->inside == TAVI__HTTP_OUTSIDE || !h->keep_alive) tavi__http_after_answer(c);
}

/* Begin an answer (the parameters of begin(), which has looked whether it may be) in any way but compressed. */
int tavi__http_begin_as_is(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                           uint64_t length, const char *body);

/* Queue a piece of a stream as a chunk. len: not 0. */
int tavi__http_queue_chunk(struct tavi_conn *c, const char *data, size_t len);

/* True when the rest of the request's body makes it better to close: it may never come, or it is too long to drop. */
bool tavi__http_must_close(const struct tavi_conn *c);

/* The last answer was to a HEAD, it is complete, and the next request has not come: what the user still sends is the
 * body that such an answer does not have, and is dropped. */
static inline bool tavi__http_is_head_done(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  bool is_over = h->answer == TAVI__ANSWER_DONE || h->answer == TAVI__ANSWER_IDLE;
  return is_over && h->question == TAVI__HTTP1_HEAD;
}

/* ==== compress.c ==== */

/* The answer to the current request is not compressed, whatever was asked for. */
static inline void tavi__http_forget_coding(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->more != NULL) h->more->coding.is_asked = false;
}

/* True when tavi_http_compress() has been called for this request and its answer, with this status and these headers,
 * is one that compression has to do with: it is begun by tavi__http_begin_coded(). */
bool tavi__http_wants_coding(const struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                             size_t count);

/* As tavi__http_begin_as_is(), compressed or with a word about why not (Vary). is_stream: whatever `length` says. */
int tavi__http_begin_coded(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                           uint64_t length, bool is_stream, const char *body);

/* The stream that is the current answer is compressed: its bytes go through tavi__http_encode() and no other way. */
bool tavi__http_is_compressed(const struct tavi_conn *c);

/* Encode a piece of it and queue what comes out, as chunks when is_framed. Everything that goes wrong fails the
 * connection. After TAVI__ENCODE_END it is a compressed stream no more. */
int tavi__http_encode(struct tavi_conn *c, struct tavi_slice in, enum tavi__encode what, bool is_framed);

/* Free the encoder, if there is one. */
void tavi__http_drop_encoder(struct tavi_conn *c);

/* ==== sse.c ==== */

/* The stream is over: it leaves all its channels. */
void tavi__sse_leave(struct tavi__http_more *more);

/* ==== server.c ==== */

/* The answer is complete: the next request may come. Called outside of the request's own callbacks. */
void tavi__http_server_next(struct tavi_conn *c);

/* ==== follow.c ==== */

int tavi__http_server_output(struct tavi_conn *c, const char *data, uint64_t len);
int tavi__http_client_output(struct tavi_conn *c, const char *data, uint64_t len);

/* The next response's question is taken from the queue. */
enum tavi__http1_question tavi__http_question(struct tavi_conn *c);
void tavi__http_question_done(struct tavi_conn *c);

#endif
