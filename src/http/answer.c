/* SPDX-License-Identifier: MIT
 *
 * Answers: the head of a response with everything that the protocol adds (Date, lengths, Connection), and the three
 * ways to send a body. A small reply is written straight into a block of the send queue, head and body in one piece. */
#include <stdlib.h>
#include <string.h>

#include "http/http.h"
#include "os/clock.h"

/* What the caller's own headers mean for the ones that are added. */
struct asked {
  bool close, chunked, has_date, has_connection;
};

/* What is added behind them. */
struct framing {
  bool has_length, is_chunked;
  uint64_t length;
  const char *date;       /* 29 bytes, or NULL */
  const char *connection; /* "close", "keep-alive" or NULL */
};

/* ==== writing a head ==== */

static char *put(char *to, const char *bytes, size_t len) {
  memcpy(to, bytes, len);
  return to + len;
}

#define PUT(to, literal) put((to), (literal), sizeof(literal) - 1)

static char *put_decimal(char *to, uint64_t n) {
  char digits[20], *p = digits + sizeof(digits);
  if (n < 10) {
    *to = (char) ('0' + n);
    return to + 1;
  }
  for (; n >= 10; n /= 10) *--p = (char) ('0' + n % 10);
  *--p = (char) ('0' + n);
  return put(to, p, (size_t) (digits + sizeof(digits) - p));
}

static char *put_hex(char *to, uint64_t n) {
  int shift = n == 0 ? 0 : (63 - __builtin_clzll(n)) & ~3;
  for (; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[n >> shift & 15];
  return to;
}

static bool name_is(const struct tavi_http_header *f, const char *lower_case, size_t len) {
  return f->name.len == len && tavi__slice_is(f->name, lower_case, len);
}

/* Is this one of the headers that mean something to us? *ret_skip: it is not sent, because the true one is added. */
static int note(const struct tavi_http_header *f, struct asked *asked, bool *ret_skip) {
  switch (f->name.len) {
    case 4: asked->has_date |= name_is(f, "date", 4); break;
    case 10:
      if (!name_is(f, "connection", 10)) break;
      asked->has_connection = true;
      asked->close |= tavi__http1_list_has(f->value, "close", 5);
      break;
    case 14: *ret_skip = name_is(f, "content-length", 14); break;
    case 17:
      *ret_skip = name_is(f, "transfer-encoding", 17);
      if (!*ret_skip) break;
      if (!tavi__slice_is(f->value, "chunked", 7)) return TAVI_E_ARG; /* we could not frame any other */
      asked->chunked = true;
      break;
    default: break;
  }
  return 0;
}

/* Write headers of the caller; they are checked where they were copied to, TAVI__HTTP1_PAD bytes before the end of the room.
 * Returns the end, or NULL for one that must not be sent. */
static char *put_headers(char *to, const struct tavi_http_header *headers, size_t count, struct asked *asked) {
  for (const struct tavi_http_header *f = headers; f < headers + count; f++) {
    bool skip = false;
    if (f->name.len == 0 || note(f, asked, &skip) < 0) return NULL;
    char *name = to;
    char *value = PUT(put(name, f->name.ptr, f->name.len), ": ");
    if (f->value.len > 0) memcpy(value, f->value.ptr, f->value.len);
    if (!tavi__http1_is_token((struct tavi_slice){name, f->name.len})) return NULL;
    if (!tavi__http1_is_value((struct tavi_slice){value, f->value.len})) return NULL;
    if (!skip) to = PUT(value + f->value.len, "\r\n");
  }
  return to;
}

static char *put_start(char *to, int status) {
  if (status == 200) return PUT(to, "HTTP/1.1 200 OK\r\n");
  to = PUT(to, "HTTP/1.1 ");
  to += tavi__http1_status_text(status, to);
  return PUT(to, "\r\n");
}

static char *put_framing(char *to, const struct framing *f) {
  if (f->date != NULL) {
    to = PUT(to, "Date: ");
    to = put(to, f->date, 29);
    to = PUT(to, "\r\n");
  }
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

static const char *date(struct tavi__http_conf *conf, uint64_t now_ms) {
  if (now_ms >= conf->date_until_ms) {
    int64_t unix_ms = tavi__clock_unix_ms();
    tavi__http1_date(unix_ms / 1000, conf->date);
    conf->date_until_ms = now_ms + (uint64_t) (1000 - unix_ms % 1000);
  }
  return conf->date;
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
  err = tavi__conn_queue(c, data, len);
  return err < 0 ? err : tavi__conn_queue(c, "\r\n", 2);
}

/* ==== answers ==== */

void tavi__http_answered(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  h->answer = TAVI__ANSWER_DONE;
  if (h->becomes_raw) {
    if (h->inside == TAVI__HTTP_OUTSIDE) tavi__http_become_raw(c);
  } else if (!h->keep_alive) {
    tavi__conn_drain(c, !h->is_body_done);
  } else if (h->inside == TAVI__HTTP_OUTSIDE && h->phase == TAVI__HTTP_WAIT) {
    tavi__http_server_next(c);
  }
}

/* True when the rest of the request's body makes it better to close: it may never come, or it is too long to drop. */
static bool must_close(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->is_body_done || h->wants_stream) return false;
  size_t arrived = h->inside == TAVI__HTTP_IN_HEADERS ? 0 : tavi__conn_input(c).len;
  return h->expects_continue || h->framing == TAVI_HTTP_CHUNKED || h->body_left > arrived + TAVI__HTTP_DROP_BYTES;
}

/* How the answer to the current request is framed; sets what the connection does afterwards. */
static struct framing frame(struct tavi_conn *c, int status, const struct asked *asked, uint64_t length) {
  struct tavi__http *h = tavi__http_of(c);
  struct framing f = {.length = length};
  bool is_switch = status == 101 || (h->question == TAVI__HTTP1_CONNECT && status / 100 == 2);
  bool is_bodiless = status < 200 || status == 204 || status == 304 || is_switch;
  bool is_stream = length == TAVI_HTTP_STREAM && !is_bodiless;
  if (status >= 200 || status == 101) {
    if (asked->close || must_close(c) || (is_stream && h->is_http10)) h->keep_alive = false;
    if (!asked->has_connection && !is_switch)
      f.connection = !h->keep_alive ? "close" : h->is_http10 ? "keep-alive" : NULL;
    if (!asked->has_date) f.date = date(tavi__http_conf_of(c), tavi__manager_now(c->src.manager));
    h->becomes_raw = is_switch;
    h->u.out_left = is_bodiless || h->question == TAVI__HTTP1_HEAD ? 0 : length;
    h->answer = !is_stream ? TAVI__ANSWER_LENGTH : h->is_http10 ? TAVI__ANSWER_UNTIL_CLOSE : TAVI__ANSWER_CHUNKED;
  }
  f.is_chunked = is_stream && !h->is_http10;
  f.has_length = !is_bodiless && !is_stream;
  return f;
}

/* The head of an answer at `to`; its end, or NULL when a header must not be sent. *ret_is_chunked: the caller's own
 * "Transfer-Encoding: chunked" made it a stream. */
static char *put_head(char *to, struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                      uint64_t length, bool *ret_is_chunked) {
  struct asked asked = {0};
  to = put_headers(put_start(to, status), headers, count, &asked);
  if (to == NULL) return NULL;
  struct framing f = frame(c, status, &asked, asked.chunked ? TAVI_HTTP_STREAM : length);
  *ret_is_chunked = asked.chunked;
  return put_framing(to, &f);
}

static int may_begin(const struct tavi_conn *c, int status) {
  if (status < 100 || status > 999) return TAVI_E_ARG;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  return tavi__http_of(c)->answer == TAVI__ANSWER_NONE ? 0 : TAVI_E_STATE;
}

/* Everything that the queue is going to get is there: is that all? */
static void after_begin(struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->answer == TAVI__ANSWER_LENGTH && h->u.out_left == 0) tavi__http_answered(c);
}

/* An answer that does not fit into a block. */
static int begin_big(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                     uint64_t length, const struct tavi_slice *body) {
  struct tavi__http *h = tavi__http_of(c);
  bool is_chunked = false;
  char *head = malloc(head_room(headers, count));
  if (head == NULL) return TAVI_E_NOMEM;

  char *end = put_head(head, c, status, headers, count, length, &is_chunked);
  int err = end == NULL ? TAVI_E_ARG : tavi__conn_queue(c, head, (size_t) (end - head));
  free(head);
  if (err < 0) return err;
  if (body == NULL || body->len == 0) {
    after_begin(c);
    return 0;
  }
  if (is_chunked) return tavi_http_chunk(c, body->ptr, body->len);
  if (h->u.out_left > 0) {
    h->u.out_left = 0;
    err = tavi__conn_queue(c, body->ptr, body->len);
  }
  if (err == 0) after_begin(c);
  return err;
}

/* The head of an answer to the current request, and, when there is one, its whole body. length: of the body in bytes, or
 * TAVI_HTTP_STREAM; a caller's "Transfer-Encoding: chunked" makes it that, too. */
static int begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                 uint64_t length, const struct tavi_slice *body) {
  struct tavi__http *h = tavi__http_of(c);
  size_t need = head_room(headers, count), body_len = body == NULL ? 0 : body->len;
  int err = may_begin(c, status);
  if (err == 0) err = tavi__conn_may_queue(c, need + body_len);
  if (err < 0) return err;
  if (need + body_len > TAVI__SENDQ_ROOM_MAX) return begin_big(c, status, headers, count, length, body);

  bool is_chunked = false;
  char *start = room(c, need + body_len);
  if (start == NULL) return TAVI_E_NOMEM;
  char *end = put_head(start, c, status, headers, count, length, &is_chunked);
  if (end == NULL) {
    commit(c, 0); /* the flush gives the room back */
    return TAVI_E_ARG;
  }
  if (body_len > 0 && h->u.out_left > 0 && !is_chunked) {
    end = put(end, body->ptr, body_len);
    h->u.out_left = 0;
  }
  commit(c, (size_t) (end - start));
  if (is_chunked && body_len > 0) return tavi_http_chunk(c, body->ptr, body_len);
  after_begin(c);
  return 0;
}

/* A response on a connection that is no HTTP server's: written as it is. */
static int write_plain(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                       struct tavi_slice body) {
  struct framing f = {.has_length = true, .length = body.len};
  struct asked unused = {0};
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

int tavi_http_begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t header_count,
                    uint64_t length) {
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;
  return begin(c, status, headers, header_count, length, NULL);
}

/* The framing of a stream for one piece. *ret_is_framed: it is to be sent as a chunk; otherwise as it is. */
static int may_stream(struct tavi_conn *c, bool *ret_is_framed) {
  *ret_is_framed = true;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!tavi__is_http_server(c)) return 0; /* a client's upload, or raw */

  switch ((enum tavi__http_answer) tavi__http_of(c)->answer) {
    case TAVI__ANSWER_CHUNKED: return 0;
    case TAVI__ANSWER_LENGTH:
    case TAVI__ANSWER_UNTIL_CLOSE: *ret_is_framed = false; return 0;
    case TAVI__ANSWER_IDLE:
    case TAVI__ANSWER_NONE:
    case TAVI__ANSWER_DONE: break;
  }
  return TAVI_E_STATE;
}

int tavi_http_chunk(struct tavi_conn *c, const void *data, size_t len) {
  bool is_framed;
  int err = may_stream(c, &is_framed);
  if (err < 0) return err;
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

int tavi_http_end(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count) {
  bool is_framed;
  int err = may_stream(c, &is_framed);
  if (err < 0) return err;
  if (!tavi__is_http_server(c)) return tavi_conn_send(c, "0\r\n\r\n", 5);

  struct tavi__http *h = tavi__http_of(c);
  if (!is_framed) {
    if (h->answer == TAVI__ANSWER_LENGTH) return TAVI_E_STATE; /* fewer bytes than were announced */
    h->keep_alive = false;
  } else if (h->question != TAVI__HTTP1_HEAD) {
    struct asked unused = {0};
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
  h->is_body_done = h->keep_alive = false; /* whatever follows on this connection is not looked at */
  return begin(c, status, &plain, 1, len, &(struct tavi_slice){text, len});
}

bool tavi_http_is_waiting(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  return tavi__is_http_server(c) && h->answer == TAVI__ANSWER_NONE && !c->is_draining;
}
