/* SPDX-License-Identifier: MIT
 *
 * Answers: the head of a response with everything that the protocol adds (Date, lengths, Connection), and the three
 * ways to send a body. A small reply is written straight into a block of the send queue, head and body in one piece. */
#include <stdlib.h>
#include <string.h>

#include "base/copy.h"
#include "http/http.h"

/* What the caller's own headers mean for the ones that are added; a sum of: */
enum asked { ASKED_CLOSE = 1, ASKED_CHUNKED = 2, HAS_DATE = 4, HAS_CONNECTION = 8 };

/* What is added behind them. */
struct framing {
  bool has_length, is_chunked;
  uint64_t length;
  const char *date;       /* the whole line, TAVI__HTTP_DATE_BYTES, or NULL */
  const char *connection; /* "close", "keep-alive" or NULL */
};

/* ==== writing a head ==== */

static char *put(char *to, const char *bytes, size_t len) {
  memcpy(to, bytes, len);
  return to + len;
}

#define PUT(to, literal) put((to), (literal), sizeof(literal) - 1)

static char *put_decimal(char *to, uint64_t n) {
  size_t len = 1;
  for (uint64_t rest = n; rest >= 10; rest /= 10) len++;
  for (char *p = to + len; p > to; n /= 10) *--p = (char) ('0' + n % 10);
  return to + len;
}

static char *put_hex(char *to, uint64_t n) {
  int shift = n == 0 ? 0 : (63 - __builtin_clzll(n)) & ~3;
  for (; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[n >> shift & 15];
  return to;
}

static bool name_is(const struct tavi_http_header *f, const char *lower_case, size_t len) {
  return f->name.len == len && tavi__slice_is(f->name, lower_case, len);
}

/* A header that may mean something to us, by the length of its name. Returns what it asks for, or TAVI_E_ARG.
 * *ret_skip: it is not sent, because the true one is added. */
static int note(const struct tavi_http_header *f, bool *ret_skip) {
  if (name_is(f, "date", 4)) return HAS_DATE;
  if (name_is(f, "connection", 10))
    return tavi__http1_list_has(f->value, "close", 5) ? HAS_CONNECTION | ASKED_CLOSE : HAS_CONNECTION;
  *ret_skip = name_is(f, "content-length", 14);
  if (!name_is(f, "transfer-encoding", 17)) return 0;
  *ret_skip = true;
  return tavi__slice_is(f->value, "chunked", 7) ? ASKED_CHUNKED : TAVI_E_ARG; /* we could not frame any other */
}

/* Is there a name of that length that note() knows? */
static inline bool may_matter(size_t name_len) {
  const unsigned lengths = 1u << 4 | 1u << 10 | 1u << 14 | 1u << 17;
  return name_len < 32 && (lengths >> name_len & 1) != 0;
}

/* Write headers of the caller; they are checked where they were copied to, TAVI__HTTP1_PAD bytes before the end of the
 * room. Returns the end, or NULL for one that must not be sent. */
static char *put_headers(char *to, const struct tavi_http_header *headers, size_t count, int *ret_asked) {
  int asked = 0;
  for (const struct tavi_http_header *f = headers, *end = headers + count; f < end; f++) {
    bool skip = false;
    if (may_matter(f->name.len)) asked |= note(f, &skip);
    if (asked < 0) return NULL;
    char *value = PUT(tavi__copy(to, f->name.ptr, f->name.len), ": ");
    char *line_end = PUT(tavi__copy(value, f->value.ptr, f->value.len), "\r\n");
    if (!tavi__http1_is_token((struct tavi_slice){to, f->name.len})) return NULL;
    if (!tavi__http1_is_value((struct tavi_slice){value, f->value.len})) return NULL;
    if (!skip) to = line_end;
  }
  *ret_asked = asked;
  return to;
}

static char *put_start(char *to, int status) {
  if (status == 200) return PUT(to, "HTTP/1.1 200 OK\r\n");
  to = PUT(to, "HTTP/1.1 ");
  to += tavi__http1_status_text(status, to);
  return PUT(to, "\r\n");
}

static char *put_framing(char *to, const struct framing *f) {
  if (f->date != NULL) to = put(to, f->date, TAVI__HTTP_DATE_BYTES);
  if (f->connection != NULL) {
    to = PUT(to, "Connection: ");
    to = put(to, f->connection, strlen(f->connection));
    to = PUT(to, "\r\n");
  }
  if (f->is_chunked) to = PUT(to, "Transfer-Encoding: chunked\r\n");
  if (f->has_length) {
    to = PUT(to, "Content-Length: ");
    to = put_decimal(to, f->length);
    to = PUT(to, "\r\n");
  }
  return PUT(to, "\r\n");
}

/* More than a head without the caller's headers ever takes, with the pad. */
enum { FIXED_HEAD_BYTES = 256 };

static size_t head_room(const struct tavi_http_header *headers, size_t count) {
  size_t sum = FIXED_HEAD_BYTES;
  for (size_t i = 0; i < count; i++) sum += headers[i].name.len + headers[i].value.len + 4;
  return sum;
}

static const char *new_date(struct tavi__http_conf *conf, uint64_t now_ms) {
  int64_t unix_ms = tavi__manager_unix_ms();
  memcpy(conf->date, "Date: Www, 00 Mmm 0000 00:00:00 GMT\r\nContent-Length: ", sizeof(conf->date));
  tavi__http1_date(unix_ms / 1000, conf->date + 6);
  conf->date_until_ms = now_ms + (uint64_t) (1000 - unix_ms % 1000);
  return conf->date;
}

static inline const char *date(struct tavi_conn *c) {
  struct tavi__http_conf *conf = tavi__http_conf_of(c);
  uint64_t now_ms = tavi__manager_now(c->src.manager);
  return now_ms < conf->date_until_ms ? conf->date : new_date(conf, now_ms);
}

/* ==== queueing ==== */

/* Room at the end of the queue; fails the connection when there is no memory. */
static char *room(struct tavi_conn *c, size_t len) {
  char *p = tavi__sendq_room(&c->out, c->src.manager, len);
  if (p == NULL) tavi__conn_fail_with(c, TAVI_E_NOMEM, "cannot queue an answer");
  return p;
}

static void commit(struct tavi_conn *c, size_t len) {
  tavi__sendq_commit(&c->out, len);
  tavi__conn_queued(c);
}

/* The rest of a piece that may be queued: its beginning is in the queue, so it is not asked again whether there is
 * room. */
static int queue_rest(struct tavi_conn *c, const char *data, size_t len) {
  int err = tavi__sendq_copy(&c->out, c->src.manager, data, len);
  if (err < 0)
    tavi__conn_fail_with(c, err, "cannot queue an answer");
  else
    tavi__conn_queued(c);
  return err;
}

static int queue_chunk(struct tavi_conn *c, const char *data, size_t len) {
  enum { EXTRA = 16 + 2 + 2 };
  int err = tavi__conn_may_queue(c, (uint64_t) len + EXTRA);
  if (err < 0) return err;

  bool in_one = len <= TAVI__SENDQ_ROOM_MAX - EXTRA;
  char *start = room(c, in_one ? len + EXTRA : EXTRA);
  if (start == NULL) return TAVI_E_NOMEM;
  char *end = put_hex(start, len);
  end = PUT(end, "\r\n");
  if (in_one) {
    if (len > 0) end = put(end, data, len);
    end = PUT(end, "\r\n");
  }
  commit(c, (size_t) (end - start));
  if (in_one) return 0;
  err = queue_rest(c, data, len);
  return err < 0 ? err : queue_rest(c, "\r\n", 2);
}

/* ==== answers ==== */

static void after_answer(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->becomes_raw) {
    if (h->inside == TAVI__HTTP_OUTSIDE && h->phase == TAVI__HTTP_WAIT) {
      tavi__http_become_raw(c);
      tavi__http_tell_held(c);
    }
  } else if (!h->keep_alive) {
    tavi__conn_drain(c, !h->is_body_done);
  } else if (h->inside == TAVI__HTTP_OUTSIDE && h->phase == TAVI__HTTP_WAIT) {
    tavi__http_server_next(c);
  }
}

void tavi__http_answered(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  h->answer = TAVI__ANSWER_DONE;
  if (!h->is_plain || h->inside == TAVI__HTTP_OUTSIDE || !h->keep_alive) after_answer(c);
}

/* True when the rest of the request's body makes it better to close: it may never come, or it is too long to drop. */
bool tavi__http_must_close(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->is_body_done || h->wants_stream) return false;
  size_t arrived = h->inside == TAVI__HTTP_IN_HEADERS ? 0 : tavi__conn_input(c).len;
  return h->expects_continue || h->framing == TAVI_HTTP_CHUNKED || h->body_left > arrived + TAVI__HTTP_DROP_BYTES;
}

/* How the answer to the current request is framed; sets what the connection does afterwards. */
static struct framing frame(struct tavi_conn *c, int status, int asked, uint64_t length) {
  struct tavi__http *h = tavi__http_of(c);
  struct framing f = {.length = length};
  bool is_switch = status == 101 || (h->question == TAVI__HTTP1_CONNECT && status / 100 == 2);
  bool is_bodiless = status < 200 || status == 204 || status == 304 || is_switch;
  bool is_stream = length == TAVI_HTTP_STREAM && !is_bodiless;
  if (status == 100) h->expects_continue = false; /* told */
  if (status >= 200 || status == 101) {
    if (asked & ASKED_CLOSE || tavi__http_must_close(c) || (is_stream && h->is_http10)) h->keep_alive = false;
    if (!h->keep_alive && !(asked & ASKED_CLOSE) && !is_switch)
      f.connection = "close"; /* it is so, whatever else the caller's own Connection says */
    else if (h->keep_alive && h->is_http10 && !(asked & HAS_CONNECTION))
      f.connection = "keep-alive";
    if (!(asked & HAS_DATE)) f.date = date(c);
    h->becomes_raw = is_switch;
    h->u.out_left = is_bodiless || h->question == TAVI__HTTP1_HEAD ? 0 : length;
    h->answer = !is_stream ? TAVI__ANSWER_LENGTH : h->is_http10 ? TAVI__ANSWER_UNTIL_CLOSE : TAVI__ANSWER_CHUNKED;
  }
  f.is_chunked = is_stream && !h->is_http10;
  f.has_length = !is_bodiless && !is_stream;
  return f;
}

/* What most answers are: a status with a body of known length to a request that wants nothing special. */
static inline char *put_plain_framing(char *to, struct tavi_conn *c, uint64_t length) {
  struct tavi__http *h = tavi__http_of(c);
  h->answer = TAVI__ANSWER_LENGTH;
  h->u.out_left = length;
  to = put(to, date(c), TAVI__HTTP_DATE_BYTES + TAVI__HTTP_LENGTH_BYTES);
  return PUT(put_decimal(to, length), "\r\n\r\n");
}

/* The head of an answer at `to`; its end, or NULL when a header must not be sent. */
static inline char *put_head(char *to, struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                             size_t count, uint64_t length) {
  int asked;
  to = put_headers(put_start(to, status), headers, count, &asked);
  if (to == NULL) return NULL;
  bool may_have_body = status >= 200 && status != 204 && status != 304;
  if (may_have_body && tavi__http_of(c)->is_plain && asked == 0 && length != TAVI_HTTP_STREAM)
    return put_plain_framing(to, c, length);

  struct framing f = frame(c, status, asked, asked & ASKED_CHUNKED ? TAVI_HTTP_STREAM : length);
  return put_framing(to, &f);
}

static int may_begin(const struct tavi_conn *c, int status) {
  if (status < 100 || status > 999) return TAVI_E_ARG;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  return tavi__http_of(c)->answer == TAVI__ANSWER_NONE ? 0 : TAVI_E_STATE;
}

static bool is_stream(const struct tavi__http *h) {
  return h->answer == TAVI__ANSWER_CHUNKED || h->answer == TAVI__ANSWER_UNTIL_CLOSE;
}

/* Everything that the queue is going to get is there: is that all? */
static inline void after_begin(struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->answer == TAVI__ANSWER_LENGTH && h->u.out_left == 0) tavi__http_answered(c);
}

/* An answer that does not fit into a block. */
static int begin_big(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                     uint64_t length, const struct tavi_slice *body) {
  struct tavi__http *h = tavi__http_of(c);
  char *head = malloc(head_room(headers, count));
  if (head == NULL) {
    tavi__conn_fail_with(c, TAVI_E_NOMEM, "cannot queue an answer");
    return TAVI_E_NOMEM;
  }

  char *end = put_head(head, c, status, headers, count, length);
  int err = end == NULL ? TAVI_E_ARG : tavi__conn_queue(c, head, (size_t) (end - head));
  free(head);
  if (err < 0) return err;
  if (body != NULL && body->len > 0) {
    if (is_stream(h)) return tavi_http_chunk(c, body->ptr, body->len);
    if (h->answer == TAVI__ANSWER_LENGTH && h->u.out_left > 0) {
      h->u.out_left = 0;
      err = queue_rest(c, body->ptr, body->len);
    }
  }
  if (err == 0) after_begin(c);
  return err;
}

/* The head of an answer to the current request, and, when there is one, its whole body. length: of the body in bytes,
 * or TAVI_HTTP_STREAM; a caller's "Transfer-Encoding: chunked" makes it that, too. */
static int begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                 uint64_t length, const struct tavi_slice *body) {
  struct tavi__http *h = tavi__http_of(c);
  size_t need = head_room(headers, count), body_len = body == NULL ? 0 : body->len;
  int err = may_begin(c, status);
  if (err == 0) err = tavi__conn_may_queue(c, need + body_len);
  if (err < 0) return err;
  if (status < 200 && status != 101 && h->is_http10) return 0; /* would not be understood (RFC 9110 section 15.2) */
  if (need + body_len > TAVI__SENDQ_ROOM_MAX) return begin_big(c, status, headers, count, length, body);

  char *start = room(c, need + body_len);
  if (start == NULL) return TAVI_E_NOMEM;
  char *end = put_head(start, c, status, headers, count, length);
  if (end == NULL) {
    commit(c, 0); /* the flush gives the room back */
    return TAVI_E_ARG;
  }
  if (body_len > 0 && h->u.out_left > 0 && h->answer == TAVI__ANSWER_LENGTH) {
    end = put(end, body->ptr, body_len);
    h->u.out_left = 0;
  }
  commit(c, (size_t) (end - start));
  if (body_len > 0 && is_stream(h)) return tavi_http_chunk(c, body->ptr, body_len);
  after_begin(c);
  return 0;
}

/* A response on a connection that is no HTTP server's: written as it is. */
static int write_plain(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                       struct tavi_slice body) {
  struct framing f = {.has_length = true, .length = body.len};
  int unused;
  if (status < 100 || status > 999) return TAVI_E_ARG;
  char *head = malloc(head_room(headers, count));
  if (head == NULL) return TAVI_E_NOMEM;

  int err = TAVI_E_ARG;
  char *end = put_headers(put_start(head, status), headers, count, &unused);
  if (end != NULL) err = tavi_conn_send(c, head, (size_t) (put_framing(end, &f) - head));
  free(head);
  return err < 0 || body.len == 0 ? err : tavi_conn_send(c, body.ptr, body.len);
}

int tavi_http_reply(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t header_count,
                    struct tavi_slice body) {
  if (!tavi__is_http_server(c)) return write_plain(c, status, headers, header_count, body);
  return begin(c, status, headers, header_count, body.len, &body);
}

int tavi_http_reply_foreign(struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                            size_t header_count, struct tavi_slice body, void (*release)(void *arg), void *arg) {
  struct tavi__http *h = tavi__http_of(c);
  int err;
  if (!tavi__is_http_server(c) || body.len <= TAVI__SENDQ_ROOM_MAX) {
    err = tavi_http_reply(c, status, headers, header_count, body);
    release(arg);
    return err;
  }

  err = begin(c, status, headers, header_count, body.len, NULL);
  if (err == 0 && h->answer == TAVI__ANSWER_LENGTH && h->u.out_left > 0) {
    h->u.out_left = 0;
    err = tavi__conn_queue_foreign(c, body.ptr, body.len, release, arg);
    if (err == 0) after_begin(c);
    return err;
  }
  if (err == 0 && is_stream(h)) err = tavi_http_chunk(c, body.ptr, body.len);
  release(arg);
  return err;
}

int tavi_http_begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t header_count,
                    uint64_t length) {
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;
  return begin(c, status, headers, header_count, length, NULL);
}

/* The framing of a stream for one piece. *ret_is_framed: it is to be sent as a chunk; otherwise as it is. 1: it is
 * dropped. */
static int may_stream(struct tavi_conn *c, bool *ret_is_framed) {
  *ret_is_framed = true;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!tavi__is_http_server(c)) return 0; /* a client's upload, or raw */

  switch ((enum tavi__http_answer) tavi__http_of(c)->answer) {
    case TAVI__ANSWER_CHUNKED: return 0;
    case TAVI__ANSWER_LENGTH:
    case TAVI__ANSWER_UNTIL_CLOSE: *ret_is_framed = false; return 0;
    case TAVI__ANSWER_IDLE:
    case TAVI__ANSWER_DONE: return tavi__http_is_head_done(c) ? 1 : TAVI_E_STATE;
    case TAVI__ANSWER_NONE: break;
  }
  return TAVI_E_STATE;
}

int tavi_http_chunk(struct tavi_conn *c, const void *data, size_t len) {
  bool is_framed;
  int err = may_stream(c, &is_framed);
  if (err != 0) return err < 0 ? err : 0;
  if (len == 0) return tavi_http_end(c, NULL, 0);
  if (!tavi__is_http_server(c)) {
    char size[20];
    err = tavi_conn_send(c, size, (size_t) (PUT(put_hex(size, len), "\r\n") - size));
    if (err == 0) err = tavi_conn_send(c, data, len);
    return err < 0 ? err : tavi_conn_send(c, "\r\n", 2);
  }
  if (!is_framed) return tavi_conn_send(c, data, len);
  return tavi__http_of(c)->question == TAVI__HTTP1_HEAD ? 0 : queue_chunk(c, data, len);
}

/* The end of a client's upload, as if written by hand. */
static int send_last_chunk(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count) {
  int unused, err = TAVI_E_ARG;
  char *start = malloc(head_room(trailers, trailer_count));
  if (start == NULL) return TAVI_E_NOMEM;

  char *end = put_headers(PUT(start, "0\r\n"), trailers, trailer_count, &unused);
  if (end != NULL) err = tavi_conn_send(c, start, (size_t) (PUT(end, "\r\n") - start));
  free(start);
  return err;
}

int tavi_http_end(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count) {
  bool is_framed;
  int err = may_stream(c, &is_framed);
  if (err != 0) return err < 0 ? err : 0;
  if (!tavi__is_http_server(c)) return send_last_chunk(c, trailers, trailer_count);

  struct tavi__http *h = tavi__http_of(c);
  if (!is_framed) {
    if (h->answer == TAVI__ANSWER_LENGTH) return TAVI_E_STATE; /* fewer bytes than were announced */
    h->keep_alive = false;
  } else if (h->question != TAVI__HTTP1_HEAD) {
    int unused;
    size_t need = head_room(trailers, trailer_count);
    if (need > TAVI__SENDQ_ROOM_MAX) return TAVI_E_LIMIT;
    err = tavi__conn_may_queue(c, need);
    if (err < 0) return err;
    char *start = room(c, need);
    if (start == NULL) return TAVI_E_NOMEM;
    char *end = put_headers(PUT(start, "0\r\n"), trailers, trailer_count, &unused);
    commit(c, end == NULL ? 0 : (size_t) (PUT(end, "\r\n") - start));
    if (end == NULL) return TAVI_E_ARG;
  }
  tavi__http_answered(c);
  return 0;
}

int tavi_http_refuse(struct tavi_conn *c, int status) {
  static const struct tavi_http_header plain = {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}};
  if (status < 400 || status > 599) return TAVI_E_ARG;
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;

  char text[64];
  size_t len = tavi__http1_status_text(status, text);
  text[len++] = '\n';
  struct tavi__http *h = tavi__http_of(c);
  int err = may_begin(c, status);
  if (err < 0) return err;
  h->is_body_done = h->keep_alive = h->is_plain = false; /* whatever follows on this connection is not looked at */
  return begin(c, status, &plain, 1, len, &(struct tavi_slice){text, len});
}

bool tavi_http_is_waiting(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  return tavi__is_http_server(c) && h->answer == TAVI__ANSWER_NONE && !c->is_draining && !c->src.is_closing;
}
