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

/* How the body is framed, as decided for one answer. */
struct framing {
  bool has_length, is_chunked;
  uint64_t length;
  bool has_date; /* the caller's own, or none is wanted */
  const char *connection; /* "close", "keep-alive" or NULL */
};

/* ==== headers ==== */

static bool name_is(const struct tavi_http_header *f, const char *lower_case, size_t len) {
  return f->name.len == len && tavi__slice_is(f->name, lower_case, len);
}

static int check(const struct tavi_http_header *headers, size_t count, struct asked *ret_asked) {
  struct asked a = {0};
  for (size_t i = 0; i < count; i++) {
    const struct tavi_http_header *f = &headers[i];
    if (!tavi__http1_is_token(f->name) || !tavi__http1_is_value(f->value)) return TAVI_E_ARG;
    switch (f->name.len) {
      case 4: a.has_date |= name_is(f, "date", 4); break;
      case 10:
        if (!name_is(f, "connection", 10)) break;
        a.has_connection = true;
        a.close |= tavi__http1_list_has(f->value, "close", 5);
        break;
      case 17:
        if (!name_is(f, "transfer-encoding", 17)) break;
        if (!tavi__slice_is(f->value, "chunked", 7)) return TAVI_E_ARG; /* we could not frame any other */
        a.chunked = true;
        break;
      default: break;
    }
  }
  *ret_asked = a;
  return 0;
}

/* Headers of the caller that are not sent as they are, because the true ones are added. */
static bool is_replaced(const struct tavi_http_header *f) {
  return name_is(f, "content-length", 14) || name_is(f, "transfer-encoding", 17);
}

static const char *date(struct tavi__http_conf *conf, uint64_t now_ms) {
  if (now_ms >= conf->date_until_ms) {
    int64_t unix_ms = tavi__clock_unix_ms();
    tavi__http1_date(unix_ms / 1000, conf->date);
    conf->date_until_ms = now_ms + (uint64_t) (1000 - unix_ms % 1000);
  }
  return conf->date;
}

/* ==== writing a head ==== */

static char *put(char *to, const char *bytes, size_t len) {
  memcpy(to, bytes, len);
  return to + len;
}

#define PUT(to, literal) put((to), (literal), sizeof(literal) - 1)

/* Digits in the given base (10 or 16), lower case. */
static char *put_number(char *to, uint64_t n, unsigned base) {
  char digits[20];
  size_t len = 0;
  do digits[len++] = "0123456789abcdef"[n % base];
  while ((n /= base) != 0);
  while (len > 0) *to++ = digits[--len];
  return to;
}

static char *put_header(char *to, const struct tavi_http_header *f) {
  to = put(to, f->name.ptr, f->name.len);
  to = PUT(to, ": ");
  if (f->value.len > 0) to = put(to, f->value.ptr, f->value.len);
  return PUT(to, "\r\n");
}

/* More than a head without the caller's headers ever takes. */
enum { FIXED_HEAD_BYTES = 256 };

static size_t head_room(const struct tavi_http_header *headers, size_t count) {
  size_t sum = FIXED_HEAD_BYTES;
  for (size_t i = 0; i < count; i++) sum += headers[i].name.len + headers[i].value.len + 4;
  return sum;
}

static char *put_head(char *to, int status, const struct tavi_http_header *headers, size_t count,
                      const struct framing *f, const char *date_text) {
  to = PUT(to, "HTTP/1.1 ");
  to += tavi__http1_status_text(status, to);
  to = PUT(to, "\r\n");
  for (size_t i = 0; i < count; i++)
    if (!is_replaced(&headers[i])) to = put_header(to, &headers[i]);
  if (date_text != NULL) {
    to = PUT(to, "Date: ");
    to = put(to, date_text, 29);
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
    to = put_number(to, f->length, 10);
    to = PUT(to, "\r\n");
  }
  return PUT(to, "\r\n");
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

/* A head of any size, and a body that may be empty. */
static int queue_head(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                      const struct framing *f, struct tavi_slice body) {
  const char *date_text = f->has_date ? NULL : date(tavi__http_conf_of(c), tavi__manager_now(c->src.manager));
  size_t need = head_room(headers, count);
  int err = tavi__conn_may_queue(c, need + body.len);
  if (err < 0) return err;

  if (need > TAVI__SENDQ_ROOM_MAX) {
    char *big = malloc(need);
    if (big == NULL) return TAVI_E_NOMEM;
    err = tavi__conn_queue(c, big, (size_t) (put_head(big, status, headers, count, f, date_text) - big));
    free(big);
    return err < 0 || body.len == 0 ? err : tavi__conn_queue(c, body.ptr, body.len);
  }

  bool in_one = body.len <= TAVI__SENDQ_ROOM_MAX - need;
  char *start = room(c, need + (in_one ? body.len : 0));
  if (start == NULL) return TAVI_E_NOMEM;
  char *end = put_head(start, status, headers, count, f, date_text);
  if (in_one && body.len > 0) end = put(end, body.ptr, body.len);
  commit(c, (size_t) (end - start));
  return in_one ? 0 : tavi__conn_queue(c, body.ptr, body.len);
}

static int queue_chunk(struct tavi_conn *c, const char *data, size_t len) {
  enum { EXTRA = 16 + 2 + 2 };
  int err = tavi__conn_may_queue(c, (uint64_t) len + EXTRA);
  if (err < 0) return err;

  bool in_one = len <= TAVI__SENDQ_ROOM_MAX - EXTRA;
  char *start = room(c, in_one ? len + EXTRA : EXTRA);
  if (start == NULL) return TAVI_E_NOMEM;
  char *end = put_number(start, len, 16);
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
    if (!h->in_callback) tavi__http_become_raw(c);
  } else if (!h->keep_alive) {
    tavi__conn_drain(c, !h->is_body_done);
  } else if (!h->in_callback && h->phase == TAVI__HTTP_WAIT) {
    tavi__http_server_next(c);
  }
}

/* True when the rest of the request's body makes it better to close: it may never come, or it is too long to drop. */
static bool must_close(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->is_body_done || h->wants_stream) return false;
  size_t arrived = h->in_headers ? 0 : tavi__conn_input(c).len;
  return h->expects_continue || h->is_chunked || h->body_left > arrived + TAVI__HTTP_DROP_BYTES;
}

/* The head of an answer to the current request, with the first bytes of its body. length: TAVI_HTTP_STREAM or bytes. */
static int begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                 const struct asked *asked, uint64_t length, struct tavi_slice body) {
  struct tavi__http *h = tavi__http_of(c);
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!h->is_open || h->answer != TAVI__ANSWER_NONE) return TAVI_E_STATE;

  struct framing f = {.has_date = asked->has_date};
  bool is_interim = status < 200 && status != 101;
  bool is_switch = status == 101 || (h->is_connect && status / 100 == 2);
  bool is_bodiless = status < 200 || status == 204 || status == 304 || is_switch;
  bool is_stream = length == TAVI_HTTP_STREAM && !is_bodiless;
  if (is_interim) {
    f.has_date = true;
    return queue_head(c, status, headers, count, &f, (struct tavi_slice){NULL, 0});
  }

  if (asked->close || must_close(c) || (is_stream && h->is_http10)) h->keep_alive = false;
  f.is_chunked = is_stream && !h->is_http10;
  f.has_length = !is_bodiless && !is_stream;
  f.length = length;
  if (!asked->has_connection && !is_switch)
    f.connection = !h->keep_alive ? "close" : h->is_http10 ? "keep-alive" : NULL;
  if (h->is_head || is_bodiless || is_stream) body.len = 0;
  int err = queue_head(c, status, headers, count, &f, body);
  if (err < 0) return err;

  h->becomes_raw = is_switch;
  h->u.out_left = is_bodiless || h->is_head ? 0 : length - body.len;
  h->answer = f.is_chunked ? TAVI__ANSWER_CHUNKED : is_stream ? TAVI__ANSWER_UNTIL_CLOSE : TAVI__ANSWER_LENGTH;
  if (h->answer == TAVI__ANSWER_LENGTH && h->u.out_left == 0) tavi__http_answered(c);
  return 0;
}

/* A response on a connection that is no HTTP server's: written as it is. */
static int write_plain(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                       struct tavi_slice body) {
  struct framing f = {.has_length = true, .length = body.len, .has_date = true};
  size_t need = head_room(headers, count);
  char *head = malloc(need);
  if (head == NULL) return TAVI_E_NOMEM;
  int err = tavi_conn_send(c, head, (size_t) (put_head(head, status, headers, count, &f, NULL) - head));
  free(head);
  return err < 0 || body.len == 0 ? err : tavi_conn_send(c, body.ptr, body.len);
}

int tavi_http_reply(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t header_count,
                    struct tavi_slice body) {
  struct asked asked;
  if (status < 100 || status > 999) return TAVI_E_ARG;
  int err = check(headers, header_count, &asked);
  if (err < 0) return err;
  if (!tavi__is_http_server(c)) return write_plain(c, status, headers, header_count, body);
  if (!asked.chunked) return begin(c, status, headers, header_count, &asked, body.len, body);

  err = begin(c, status, headers, header_count, &asked, TAVI_HTTP_STREAM, (struct tavi_slice){NULL, 0});
  return err < 0 || body.len == 0 ? err : tavi_http_chunk(c, body.ptr, body.len);
}

int tavi_http_begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t header_count,
                    uint64_t length) {
  struct asked asked;
  if (status < 100 || status > 999) return TAVI_E_ARG;
  int err = check(headers, header_count, &asked);
  if (err < 0) return err;
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;
  return begin(c, status, headers, header_count, &asked, length, (struct tavi_slice){NULL, 0});
}

/* The framing of a stream for one piece. *ret_frame: it is to be sent as a chunk; otherwise as it is. */
static int may_stream(struct tavi_conn *c, bool *ret_frame) {
  *ret_frame = true;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!tavi__is_http_server(c)) return 0; /* a client's upload, or raw */

  switch ((enum tavi__http_answer) tavi__http_of(c)->answer) {
    case TAVI__ANSWER_CHUNKED: return 0;
    case TAVI__ANSWER_LENGTH:
    case TAVI__ANSWER_UNTIL_CLOSE: *ret_frame = false; return 0;
    case TAVI__ANSWER_NONE:
    case TAVI__ANSWER_DONE: break;
  }
  return TAVI_E_STATE;
}

int tavi_http_chunk(struct tavi_conn *c, const void *data, size_t len) {
  bool frame;
  int err = may_stream(c, &frame);
  if (err < 0) return err;
  if (len == 0) return tavi_http_end(c, NULL, 0);
  if (!tavi__is_http_server(c)) {
    char size[20];
    err = tavi_conn_send(c, size, (size_t) (PUT(put_number(size, len, 16), "\r\n") - size));
    if (err == 0) err = tavi_conn_send(c, data, len);
    return err < 0 ? err : tavi_conn_send(c, "\r\n", 2);
  }
  if (!frame) return tavi_conn_send(c, data, len);
  return tavi__http_of(c)->is_head ? 0 : queue_chunk(c, data, len);
}

int tavi_http_end(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count) {
  bool frame;
  struct asked unused;
  int err = may_stream(c, &frame);
  if (err == 0) err = check(trailers, trailer_count, &unused);
  if (err < 0) return err;
  if (!tavi__is_http_server(c)) return tavi_conn_send(c, "0\r\n\r\n", 5);

  struct tavi__http *h = tavi__http_of(c);
  if (!frame) {
    if (h->answer == TAVI__ANSWER_LENGTH) return TAVI_E_STATE; /* fewer bytes than were announced */
    h->keep_alive = false;
  } else if (!h->is_head) {
    size_t need = 5;
    for (size_t i = 0; i < trailer_count; i++) need += trailers[i].name.len + trailers[i].value.len + 4;
    err = tavi__conn_may_queue(c, need);
    if (err < 0) return err;
    if (need > TAVI__SENDQ_ROOM_MAX) return TAVI_E_LIMIT;
    char *start = room(c, need);
    if (start == NULL) return TAVI_E_NOMEM;
    char *end = PUT(start, "0\r\n");
    for (size_t i = 0; i < trailer_count; i++) end = put_header(end, &trailers[i]);
    end = PUT(end, "\r\n");
    commit(c, (size_t) (end - start));
  }
  tavi__http_answered(c);
  return 0;
}

int tavi_http_refuse(struct tavi_conn *c, int status) {
  static const struct tavi_http_header plain = {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}};
  static const struct asked nothing = {.close = true};
  if (status < 400 || status > 599) return TAVI_E_ARG;
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;

  char text[64];
  size_t len = tavi__http1_status_text(status, text);
  text[len++] = '\n';
  tavi__http_of(c)->is_body_done = false; /* whatever follows on this connection is not looked at */
  return begin(c, status, &plain, 1, &nothing, len, (struct tavi_slice){text, len});
}

bool tavi_http_is_waiting(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  return tavi__is_http_server(c) && h->is_open && h->answer == TAVI__ANSWER_NONE && !c->is_draining;
}
