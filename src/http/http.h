/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 on one connection: the state, and who does what.
 *
 *   message.c  the input side of both roles: heads, bodies collected or streamed, the user's callbacks
 *   server.c   a request's life: refusing, waiting for the answer, the next one; time-outs
 *   client.c   a response's life: interim ones, truncation; what was asked
 *   answer.c   the output side of a server: heads, whole replies, streams
 *   follow.c   bytes that the user sends by hand, followed for their framing
 *   lookup.c   headers and form values of a message
 *
 * The input of a connection is, from its front: the head of the current message (head_len bytes), the part of its body
 * that was decoded, and what has not been looked at. A message that arrives in one read is parsed once, in the loop's
 * buffer, and never copied. One that does not is kept, and its head is parsed once more when the body is complete. */
#ifndef TAVI_HTTP_HTTP_H
#define TAVI_HTTP_HTTP_H

#include <string.h>

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
  uint8_t question;          /* a server's: enum tavi__http1_question, the request's method as far as it matters */
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

struct tavi__http_more {
  struct tavi__http1_chunks in;  /* decoder of the body */
  size_t decoded;                /* bytes of the body that were decoded behind the head */
  char *head;                    /* STREAM: a copy of the head, for on_message */
  size_t head_len;
  char *trailers;                /* STREAM: the raw trailer section, until on_message */
  size_t trailers_len;
  struct tavi__http1_chunks out; /* follow.c: decoder of chunks written by hand */
  uint64_t head_owed;            /* of the body that the user still sends for a begun answer to a HEAD: to be dropped */
  uint64_t out_body;             /* follow.c: a client's: bytes of its request's body still to come */
  char *out_head;                /* follow.c: a head that is written in parts */
  size_t out_len, out_cap;
  bool out_is_chunked;
  unsigned question_count;       /* a client's */
};

static inline struct tavi__http *tavi__http_of(const struct tavi_conn *c) {
  return (struct tavi__http *) (uintptr_t) c->state.bytes;
}

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

/* True when the rest of the request's body makes it better to close: it may never come, or it is too long to drop. */
bool tavi__http_must_close(const struct tavi_conn *c);

/* The last answer was to a HEAD, it is complete, and the next request has not come: what the user still sends is the
 * body that such an answer does not have, and is dropped. */
static inline bool tavi__http_is_head_done(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  bool is_over = h->answer == TAVI__ANSWER_DONE || h->answer == TAVI__ANSWER_IDLE;
  return is_over && h->question == TAVI__HTTP1_HEAD;
}

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
