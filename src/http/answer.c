/* SPDX-License-Identifier: MIT
 *
 * Answers: the head of a response with everything that the protocol adds (Date, lengths, Connection), and the three
 * ways to send a body. A small reply is written straight into a block of the send queue, head and body in one piece. */
#include <stdlib.h>
#include <string.h>

#include "base/copy.h"
#include "http/http.h"

/* What the caller's own headers mean for the ones that are added; a sum of: */
enum asked { ASKED_CLOSE = 1, ASKED_CHUNKED = 2, HAS_DATE = 4, HAS_CONNECTION = 8, HAS_FRAMING = 16 };

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
  char *p = to + len;
  for (; n >= 10; n /= 10) *--p = (char) ('0' + n % 10);
  *--p = (char) ('0' + n);
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

/* One that is not sent, because the true one is added. */
static bool is_framing(const struct tavi_http_header *f) {
  return name_is(f, "content-length", 14) || name_is(f, "transfer-encoding", 17);
}

/* A header that may mean something to us, by the length of its name. Returns what it asks for, or TAVI_E_ARG. */
static TAVI__APART int note(const struct tavi_http_header *f) {
  if (name_is(f, "date", 4)) return HAS_DATE;
  if (name_is(f, "connection", 10))
    return tavi__http1_list_has(f->value, "close", 5) ? HAS_CONNECTION | ASKED_CLOSE : HAS_CONNECTION;
  if (name_is(f, "content-length", 14)) return HAS_FRAMING;
  if (!name_is(f, "transfer-encoding", 17)) return 0;
  /* We could not frame any other. */
  return tavi__slice_is(f->value, "chunked", 7) ? HAS_FRAMING | ASKED_CHUNKED : TAVI_E_ARG;
}

/* Is there a name of that length that note() knows? */
static inline bool may_matter(size_t name_len) {
  const unsigned lengths = 1u << 4 | 1u << 10 | 1u << 14 | 1u << 17;
  return name_len < 32 && (lengths >> name_len & 1) != 0;
}

/* More than a head without the caller's headers ever takes, with the pad. */
enum { FIXED_HEAD_BYTES = 256 };

/* What the headers ask for (negative: they must not be sent), and how many bytes a head with them takes at most. */
TAVI__HOT size_t survey(const struct tavi_http_header *headers, size_t count, int *ret_asked) {
  size_t sum = FIXED_HEAD_BYTES;
  int asked = 0;
  for (const struct tavi_http_header *f = headers, *end = headers + count; f < end; f++) {
    sum += f->name.len + f->value.len + 4;
    if (may_matter(f->name.len)) asked |= note(f);
  }
  *ret_asked = asked;
  return sum;
}

/* Write headers of the caller, TAVI__HTTP1_PAD bytes before the end of the room. Returns the end, or NULL when one must
 * not be sent. */
TAVI__HOT char *put_headers(char *to, const struct tavi_http_header *headers, size_t count, int asked) {
  if (asked < 0) return NULL;
  for (const struct tavi_http_header *f = headers, *end = headers + count; f < end; f++) {
    char *line_end = tavi__http1_put_field(to, f);
    if (line_end == NULL) return NULL;
    if (!(asked & HAS_FRAMING) || !is_framing(f)) to = line_end;
  }
  return to;
}

static TAVI__APART char *put_other_start(char *to, int status) {
  to = PUT(to, "HTTP/1.1 ");
  to += tavi__http1_status_text(status, to);
  return PUT(to, "\r\n");
}

static inline char *put_start(char *to, int status) {
  return status == 200 ? PUT(to, "HTTP/1.1 200 OK\r\n") : put_other_start(to, status);
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

static TAVI__COLD int no_memory(struct tavi_conn *c) {
  tavi__conn_fail_with(c, TAVI_E_NOMEM, "cannot queue an answer");
  return TAVI_E_NOMEM;
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

int tavi__http_queue_chunk(struct tavi_conn *c, const char *data, size_t len) {
  enum { EXTRA = 16 + 2 + 2 };
  int err = tavi__conn_may_queue(c, (uint64_t) len + EXTRA);
  if (err < 0) return err;

  bool in_one = len <= TAVI__SENDQ_ROOM_MAX - EXTRA;
  char *start = tavi__sendq_room(&c->out, c->src.manager, in_one ? len + EXTRA : EXTRA);
  if (start == NULL) return no_memory(c);
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

void tavi__http_after_answer(struct tavi_conn *c) {
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

/* True when the rest of the request's body makes it better to close: it may never come, or it is too long to drop. */
bool tavi__http_must_close(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->is_body_done) return false;
  if (h->expects_continue) return true; /* we have not asked for it, so nobody knows whether it comes */
  if (h->wants_stream || h->phase == TAVI__HTTP_STREAM) return false;
  size_t arrived = h->inside == TAVI__HTTP_IN_HEADERS ? 0 : tavi__conn_input(c).len;
  return h->framing == TAVI_HTTP_CHUNKED || h->body_left > arrived + TAVI__HTTP_DROP_BYTES;
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

/* The head of an answer at `to`; its end, or NULL when a header must not be sent. */
static char *put_head(char *to, struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                      int asked, uint64_t length) {
  to = put_headers(put_start(to, status), headers, count, asked);
  if (to == NULL) return NULL;
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

/* An answer that does not fit into a block: its head is in memory of its own, which is taken; end NULL: it is bad. */
static int queue_big(struct tavi_conn *c, char *head, const char *end, const char *body, size_t body_len) {
  struct tavi__http *h = tavi__http_of(c);
  int err = end == NULL ? TAVI_E_ARG : tavi__conn_queue(c, head, (size_t) (end - head));
  free(head);
  if (err < 0) return err;
  if (body_len > 0) {
    if (is_stream(h)) return tavi_http_chunk(c, body, body_len);
    if (h->answer == TAVI__ANSWER_LENGTH && h->u.out_left > 0) {
      h->u.out_left = 0;
      err = queue_rest(c, body, body_len);
    }
  }
  if (err == 0) after_begin(c);
  return err;
}

int tavi__http_begin_as_is(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                           uint64_t length, const char *body) {
  struct tavi__http *h = tavi__http_of(c);
  int asked;
  size_t body_len = body == NULL ? 0 : (size_t) length, head_max = survey(headers, count, &asked);
  if (status < 200 && status != 101 && h->is_http10) return 0; /* would not be understood (RFC 9110 section 15.2) */

  bool is_owed = h->question == TAVI__HTTP1_HEAD && body == NULL && length != TAVI_HTTP_STREAM && status >= 200;
  if (h->more != NULL) h->more->head_owed = 0; /* of an earlier one: nobody waits for that any more */
  if (is_owed && length > 0) {
    if (tavi__http_more(h) == NULL) return no_memory(c);
    h->more->head_owed = length;
  }
  bool is_big = head_max + body_len > TAVI__SENDQ_ROOM_MAX;
  char *start = is_big ? malloc(head_max) : tavi__sendq_room(&c->out, c->src.manager, head_max + body_len);
  if (start == NULL) return no_memory(c);
  char *end = put_head(start, c, status, headers, count, asked, length);
  if (is_big) return queue_big(c, start, end, body, body_len);
  if (end == NULL) {
    commit(c, 0); /* the flush gives the room back */
    return TAVI_E_ARG;
  }
  if (body_len > 0 && h->answer == TAVI__ANSWER_LENGTH && h->u.out_left > 0) {
    end = put(end, body, body_len);
    h->u.out_left = 0;
  }
  commit(c, (size_t) (end - start));
  if (body_len > 0 && is_stream(h)) return tavi_http_chunk(c, body, body_len);
  after_begin(c);
  return 0;
}

/* Any answer that is not ordinary. Its parameters are those of begin(), which has looked whether it may be. */
static TAVI__APART int begin_special(struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                                     size_t count, int asked, uint64_t length, const char *body) {
  bool is_stream = length == TAVI_HTTP_STREAM || (asked & ASKED_CHUNKED) != 0;
  if (asked >= 0 && tavi__http_wants_coding(c, status, headers, count))
    return tavi__http_begin_coded(c, status, headers, count, length, is_stream, body);
  return tavi__http_begin_as_is(c, status, headers, count, length, body);
}

/* What most answers are: a status with a body of known length to a request that wants nothing special. */
static inline bool is_ordinary(const struct tavi__http *h, int status, int asked, uint64_t length) {
  if (!h->is_plain || (asked & ~HAS_FRAMING) != 0 || length == TAVI_HTTP_STREAM) return false;
  return status == 200 || (status > 200 && status != 204 && status != 304);
}

/* The head of an answer to the current request, and, unless it is NULL, its whole body. length: of the body in bytes,
 * or TAVI_HTTP_STREAM; a caller's "Transfer-Encoding: chunked" makes it that, too. */
static int begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                 uint64_t length, const char *body) {
  struct tavi__http *h = tavi__http_of(c);
  int asked;
  size_t body_len = body == NULL ? 0 : (size_t) length, room = survey(headers, count, &asked) + body_len;
  int err = may_begin(c, status);
  if (err == 0) err = tavi__conn_may_queue(c, room);
  if (err < 0) return err;
  if (!is_ordinary(h, status, asked, length) || room > TAVI__SENDQ_ROOM_MAX)
    return begin_special(c, status, headers, count, asked, length, body);

  char *start = tavi__sendq_room(&c->out, c->src.manager, room);
  if (start == NULL) return no_memory(c);
  char *to = put_headers(put_start(start, status), headers, count, asked);
  if (to == NULL) {
    commit(c, 0);
    return TAVI_E_ARG;
  }
  to = put(to, date(c), TAVI__HTTP_DATE_BYTES + TAVI__HTTP_LENGTH_BYTES);
  to = PUT(put_decimal(to, length), "\r\n\r\n");
  to = tavi__copy(to, body, body_len);
  h->answer = TAVI__ANSWER_LENGTH;
  h->u.out_left = length - body_len;
  commit(c, (size_t) (to - start));
  if (h->u.out_left == 0) tavi__http_answered(c);
  return 0;
}

/* A response on a connection that is no HTTP server's: written as it is. */
static int write_plain(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t count,
                       struct tavi_slice body) {
  struct framing f = {.has_length = true, .length = body.len};
  if (status < 100 || status > 999) return TAVI_E_ARG;
  int asked;
  char *head = malloc(survey(headers, count, &asked));
  if (head == NULL) return TAVI_E_NOMEM;

  int err = TAVI_E_ARG;
  char *end = put_headers(put_start(head, status), headers, count, asked);
  if (end != NULL) err = tavi_conn_send(c, head, (size_t) (put_framing(end, &f) - head));
  free(head);
  return err < 0 || body.len == 0 ? err : tavi_conn_send(c, body.ptr, body.len);
}

int tavi_http_reply(struct tavi_conn *c, int status, const struct tavi_http_header *headers, size_t header_count,
                    struct tavi_slice body) {
  if (!tavi__is_http_server(c)) return write_plain(c, status, headers, header_count, body);
  return begin(c, status, headers, header_count, body.len, body.ptr);
}

int tavi_http_reply_foreign(struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                            size_t header_count, struct tavi_slice body, void (*release)(void *arg), void *arg) {
  struct tavi__http *h = tavi__http_of(c);
  int err;
  if (!tavi__is_http_server(c) || body.len <= TAVI__SENDQ_ROOM_MAX ||
      tavi__http_wants_coding(c, status, headers, header_count)) {
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
  if (tavi__http_is_compressed(c))
    return tavi__http_encode(c, (struct tavi_slice){data, len}, TAVI__ENCODE_FLUSH, is_framed);
  if (!is_framed) return tavi_conn_send(c, data, len);
  return tavi__http_of(c)->question == TAVI__HTTP1_HEAD ? 0 : tavi__http_queue_chunk(c, data, len);
}

/* The end of a client's upload, as if written by hand. */
static int send_last_chunk(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count) {
  int asked, err = TAVI_E_ARG;
  char *start = malloc(survey(trailers, trailer_count, &asked));
  if (start == NULL) return TAVI_E_NOMEM;

  char *end = put_headers(PUT(start, "0\r\n"), trailers, trailer_count, asked);
  if (end != NULL) err = tavi_conn_send(c, start, (size_t) (PUT(end, "\r\n") - start));
  free(start);
  return err;
}

/* The last chunk of a server's stream; not committed, so that it is only looked at, when is_trial. */
static int queue_last_chunk(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count,
                            bool is_trial) {
  int asked;
  size_t need = survey(trailers, trailer_count, &asked);
  if (need > TAVI__SENDQ_ROOM_MAX) return TAVI_E_LIMIT;
  int err = tavi__conn_may_queue(c, need);
  if (err < 0) return err;
  char *start = tavi__sendq_room(&c->out, c->src.manager, need);
  if (start == NULL) return no_memory(c);
  char *end = put_headers(PUT(start, "0\r\n"), trailers, trailer_count, asked);
  commit(c, end == NULL || is_trial ? 0 : (size_t) (PUT(end, "\r\n") - start));
  return end == NULL ? TAVI_E_ARG : 0;
}

/* What ends the coding comes before the last chunk, and must not come when that is refused. */
static int end_coding(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count,
                      bool is_framed) {
  int err = is_framed ? queue_last_chunk(c, trailers, trailer_count, true) : 0;
  return err < 0 ? err : tavi__http_encode(c, (struct tavi_slice){NULL, 0}, TAVI__ENCODE_END, is_framed);
}

int tavi_http_end(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count) {
  bool is_framed;
  int err = may_stream(c, &is_framed);
  if (err != 0) return err < 0 ? err : 0;
  if (!tavi__is_http_server(c)) return send_last_chunk(c, trailers, trailer_count);

  struct tavi__http *h = tavi__http_of(c);
  if (h->answer == TAVI__ANSWER_LENGTH) return TAVI_E_STATE; /* fewer bytes than were announced */
  if (tavi__http_is_compressed(c)) err = end_coding(c, trailers, trailer_count, is_framed);
  if (!is_framed)
    h->keep_alive = false;
  else if (err == 0 && h->question != TAVI__HTTP1_HEAD)
    err = queue_last_chunk(c, trailers, trailer_count, false);
  if (err < 0) return err;
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
  tavi__http_forget_coding(c);
  return begin(c, status, &plain, 1, len, text);
}

bool tavi_http_is_waiting(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  return tavi__is_http_server(c) && h->answer == TAVI__ANSWER_NONE && !c->is_draining && !c->src.is_closing;
}
