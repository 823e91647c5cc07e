/* SPDX-License-Identifier: MIT
 *
 * Messages in: the same machine for requests and responses. It takes heads from the front of the input, collects or
 * streams or drops the body, and calls the user; what differs between the roles is asked of server.c and client.c.
 *
 * Each step looks at the input once and returns 1 when it got somewhere, 0 when it needs more input, or the negated
 * status of a message that cannot be right. tavi__http_on_input() steps until the input is used up. */
#include <stdlib.h>
#include <string.h>

#include "base/hint.h"
#include "http/http.h"

/* ==== what a message in pieces needs ==== */

struct tavi__http_more *tavi__http_more(struct tavi__http *h) {
  if (h->more == NULL) h->more = calloc(1, sizeof(*h->more));
  return h->more;
}

static void forget_body(struct tavi__http_more *more) {
  free(more->head);
  free(more->trailers);
  more->head = more->trailers = NULL;
  more->head_len = more->trailers_len = more->decoded = 0;
  more->in = (struct tavi__http1_chunks){0};
}

void tavi__http_free_more(struct tavi__http *h) {
  if (h->more == NULL) return;
  tavi__sse_leave(h->more);
  forget_body(h->more);
  free(h->more->out_head);
  free(h->more);
  h->more = NULL;
}

void tavi__http_on_end(struct tavi_conn *c) {
  tavi__http_on_closing(c);
  tavi__http_drop_encoder(c);
  tavi__http_free_more(tavi__http_of(c));
}

void tavi__http_become_raw(struct tavi_conn *c) {
  tavi__http_on_end(c);
  memset(&c->state, 0, sizeof(c->state));
  c->proto = &tavi__proto_raw;
  c->is_held = false;
  uint32_t idle_ms = c->conf->opts.idle_timeout_ms;
  tavi__conn_read_deadline(c, idle_ms != 0 ? tavi__manager_now(c->src.manager) + idle_ms : 0);
  tavi__conn_watch(c);
}

void tavi__http_tell_held(struct tavi_conn *c) {
  if (tavi__conn_input(c).len == 0) return;
  c->is_held = true; /* until it was told */
  tavi__conn_watch(c);
  tavi__source_again(&c->src);
}

/* ==== chunks ==== */

/* Decode in place, behind `front` bytes of head: the body's bytes are moved together.
 *
 * Returns: 1 when the last chunk was seen: the message ends at *ret_end, *ret_trailers is its trailer section;
 *          0: more is needed, everything behind the decoded bytes is still to be decoded; or a negated status. */
static int decode(struct tavi_conn *c, size_t front, size_t *ret_end, struct tavi_slice *ret_trailers) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__http_more *more = h->more;
  struct tavi__input in = tavi__conn_input(c);
  size_t to = front + more->decoded, at = to;
  for (;;) {
    enum tavi__http1_chunk_event event;
    struct tavi_slice data;
    size_t used = 0;
    int r = tavi__http1_chunk(&more->in, in.ptr + at, in.len - at, TAVI__HTTP_TRAILER_BYTES, &used, &event, &data);
    if (r < 0) return r;
    at += used;
    if (r == TAVI_WIRE_MORE) {
      tavi__conn_input_cut(c, to, at - to);
      return 0;
    }
    if (event == TAVI__HTTP1_TRAILERS) {
      *ret_end = at;
      *ret_trailers = data;
      return 1;
    }
    memmove(in.ptr + to, data.ptr, data.len);
    to += data.len;
    more->decoded += data.len;
    if (h->phase == TAVI__HTTP_BODY && more->decoded > tavi__http_conf_of(c)->body_bytes_max) return -413;
  }
}

static int add_trailers(struct tavi_conn *c, struct tavi_slice raw, struct tavi_http_msg *msg) {
  struct tavi__http_conf *conf = tavi__http_conf_of(c);
  struct tavi_http_header *fields = conf->fields + conf->limits.header_count_max;
  int count = tavi__http1_trailers(raw, fields, TAVI__HTTP_TRAILERS);
  if (count < 0) return count;
  msg->trailers = fields;
  msg->trailer_count = (size_t) count;
  return 0;
}

/* ==== telling the user ==== */

static inline int parse(struct tavi_conn *c, struct tavi__input in, size_t *consumed, struct tavi_http_msg *msg) {
  return c->is_client ? tavi__http_client_parse(c, in, consumed, msg) : tavi__http_server_parse(c, in, consumed, msg);
}

static void tell_headers(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi__http *h = tavi__http_of(c);
  const struct tavi_http_handlers *handlers = tavi__http_conf_of(c)->handlers;
  if (handlers->on_headers == NULL) return;
  h->inside = TAVI__HTTP_IN_HEADERS;
  handlers->on_headers(c, msg, c->user);
  h->inside = TAVI__HTTP_OUTSIDE;
}

TAVI__HOT void tell_message(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi__http *h = tavi__http_of(c);
  const struct tavi_http_handlers *handlers = tavi__http_conf_of(c)->handlers;
  if (handlers->on_message == NULL) return;
  h->inside = TAVI__HTTP_IN_MESSAGE;
  handlers->on_message(c, msg, c->user);
  h->inside = TAVI__HTTP_OUTSIDE;
}

/* The message is over, and so are its `total` bytes at the front of the input. */
TAVI__HOT int complete_here(struct tavi_conn *c, size_t total) {
  struct tavi__http *h = tavi__http_of(c);
  if (c->src.is_closing) return 1;

  tavi__conn_input_drop(c, total);
  if (h->more != NULL) forget_body(h->more);
  h->phase = TAVI__HTTP_WAIT;
  h->head_len = 0;
  h->wants_stream = false;
  if (c->is_rx_full) { /* by a body that is gone */
    c->is_rx_full = false;
    tavi__conn_watch(c);
  }
  if (c->is_client)
    tavi__http_client_complete(c);
  else
    tavi__http_server_complete(c);
  return 1;
}

static TAVI__APART int complete(struct tavi_conn *c, size_t total) { return complete_here(c, total); }

static int deliver(struct tavi_conn *c, const struct tavi_http_msg *msg, size_t total) {
  tell_message(c, msg);
  return complete(c, total);
}

/* A message whose body has come in pieces is complete: parse its head again, where it lies now. */
static int deliver_kept(struct tavi_conn *c, size_t body_len, size_t total, const struct tavi_slice *trailers) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__input in = tavi__conn_input(c);
  struct tavi_http_msg msg;
  size_t used;
  int r = parse(c, (struct tavi__input){in.ptr, h->head_len}, &used, &msg);
  if (r < 0) return r;

  msg.body = (struct tavi_slice){in.ptr + h->head_len, body_len};
  if (trailers != NULL) {
    r = add_trailers(c, *trailers, &msg);
    if (r < 0) return r;
  }
  return deliver(c, &msg, total);
}

/* ==== bodies that are streamed ... ==== */

/* Bytes of the body at the front of the input. */
static size_t stream_ready(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  size_t len = tavi__conn_input(c).len;
  if (h->framing == TAVI_HTTP_NO_BODY) return 0;
  if (h->framing == TAVI_HTTP_CHUNKED) return h->more->decoded;
  if (h->framing == TAVI_HTTP_UNTIL_CLOSE) return len;
  return len < h->body_left ? len : (size_t) h->body_left;
}

static char *copy(struct tavi_slice s) {
  char *p = malloc(s.len);
  if (p != NULL) memcpy(p, s.ptr, s.len);
  return p;
}

static int keep_trailers(struct tavi__http_more *more, struct tavi_slice raw) {
  more->trailers = copy(raw);
  if (more->trailers == NULL) return -500;
  more->trailers_len = raw.len;
  return 0;
}

/* From now on the input begins with the body. raw: what is known of it, its end and trailers when it is complete. */
static int begin_stream(struct tavi_conn *c, size_t head_len, size_t end, const struct tavi_slice *trailers) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__http_more *more = tavi__http_more(h);
  if (more == NULL) return -500;
  if (more->sink == NULL) { /* on_message will want it */
    more->head = copy((struct tavi_slice){tavi__conn_input(c).ptr, head_len});
    if (more->head == NULL) return -500;
    more->head_len = head_len;
  }

  if (h->framing == TAVI_HTTP_CHUNKED && h->is_body_done) {
    int r = keep_trailers(more, *trailers);
    if (r < 0) return r;
    tavi__conn_input_cut(c, head_len + more->decoded, end - head_len - more->decoded);
  }
  tavi__conn_input_drop(c, head_len);
  h->phase = TAVI__HTTP_STREAM;
  return 1;
}

static int end_stream(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__http_more *more = h->more;
  struct tavi_http_msg msg;
  size_t used;
  int r = parse(c, (struct tavi__input){more->head, more->head_len}, &used, &msg);
  if (r < 0) return r;
  if (more->trailers != NULL) {
    r = add_trailers(c, (struct tavi_slice){more->trailers, more->trailers_len}, &msg);
    if (r < 0) return r;
  }
  return deliver(c, &msg, 0);
}

/* Drop n bytes of the body from the front of the input. */
static void drop_stream(struct tavi_conn *c, size_t n) {
  struct tavi__http *h = tavi__http_of(c);
  tavi__conn_input_drop(c, n);
  if (h->framing == TAVI_HTTP_CHUNKED)
    h->more->decoded -= n;
  else if (h->framing != TAVI_HTTP_UNTIL_CLOSE)
    h->body_left -= n;
}

/* ==== ... to a sink ==== */

static void end_sink(struct tavi_conn *c, int status) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__http_sink *sink = h->more->sink;
  h->more->sink = NULL;
  h->inside = TAVI__HTTP_IN_MESSAGE;
  sink->end(sink, c, status);
  h->inside = TAVI__HTTP_OUTSIDE;
}

/* In the middle of the body: its rest is not wanted, and the connection ends with the answer. */
static void give_up(struct tavi_conn *c, int status) {
  struct tavi__http *h = tavi__http_of(c);
  bool was_answered = h->answer != TAVI__ANSWER_NONE;
  h->phase = TAVI__HTTP_DROP;
  h->wants_stream = h->keep_alive = h->is_plain = false;
  end_sink(c, status);
  if (was_answered) tavi__conn_drain(c, true); /* by somebody who did not wait for the body */
}

static int feed_sink(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__http_sink *sink = h->more->sink;
  struct tavi_slice ready = {tavi__conn_input(c).ptr, stream_ready(c)};
  size_t taken = 0;
  enum tavi__sink_state state = sink->take(sink, ready, h->is_body_done, &taken);
  drop_stream(c, taken);
  if (state == TAVI__SINK_BUSY && !c->is_held) {
    c->is_held = true;
    tavi__conn_watch(c);
  }
  if (state != TAVI__SINK_OVER) return 0;
  if (!h->is_body_done || taken < ready.len) {
    give_up(c, 0);
    return 1;
  }
  if (h->more->trailers != NULL) {
    struct tavi_http_msg unused;
    int r = add_trailers(c, (struct tavi_slice){h->more->trailers, h->more->trailers_len}, &unused);
    if (r < 0) return r;
  }
  end_sink(c, 0);
  return complete(c, 0);
}

void tavi__http_sink_ready(struct tavi_conn *c) {
  if (c->src.is_closing || c->is_draining) return;
  if (c->is_held) {
    c->is_held = false;
    tavi__conn_watch(c);
  }
  tavi__source_again(&c->src);
}

bool tavi__http_sink_bad(struct tavi_conn *c, int status) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->more == NULL || h->more->sink == NULL) return false;
  give_up(c, status);
  return true;
}

void tavi__http_on_closing(struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (h->more != NULL && h->more->sink != NULL) end_sink(c, -1);
}

/* ==== ... to whom it is for ==== */

static TAVI__APART int step_stream(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->framing == TAVI_HTTP_CHUNKED && !h->is_body_done) {
    struct tavi_slice trailers;
    size_t end;
    int r = decode(c, 0, &end, &trailers);
    if (r < 0) return r;
    if (r == 1) {
      h->is_body_done = true;
      r = keep_trailers(h->more, trailers);
      if (r < 0) return r;
      tavi__conn_input_cut(c, h->more->decoded, end - h->more->decoded);
    }
  } else if (h->framing == TAVI_HTTP_LENGTH) {
    h->is_body_done = tavi__conn_input(c).len >= h->body_left;
  }

  if (h->more->sink != NULL) return feed_sink(c);
  size_t ready = stream_ready(c);
  if (h->is_body_done && ready == 0) return end_stream(c);
  size_t len = tavi__conn_input(c).len; /* with what is behind the body */
  if (ready > 0 && len >= c->conf->opts.recv_bytes_max && !c->is_rx_full) {
    c->is_rx_full = true;
    tavi__conn_watch(c);
  }
  return 0;
}

struct tavi_slice tavi__http_peek(const struct tavi_conn *c) {
  struct tavi__input in = tavi__conn_input(c);
  const struct tavi__http *h = tavi__http_of(c);
  if (h->more != NULL && h->more->sink != NULL) return (struct tavi_slice){in.ptr, 0};
  return (struct tavi_slice){in.ptr, h->phase == TAVI__HTTP_STREAM ? stream_ready(c) : in.len};
}

void tavi__http_consume(struct tavi_conn *c, size_t n) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->phase != TAVI__HTTP_STREAM) return;

  drop_stream(c, n);
  if (h->is_body_done && stream_ready(c) == 0) tavi__source_again(&c->src); /* on_message comes next */
}

int tavi_http_stream_body(struct tavi_conn *c) {
  if (!c->proto->is_http || tavi__http_of(c)->inside != TAVI__HTTP_IN_HEADERS) return TAVI_E_STATE;
  tavi__http_of(c)->wants_stream = true;
  return 0;
}

/* ==== bodies that are not wanted ==== */

static TAVI__APART int step_drop(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  size_t len = tavi__conn_input(c).len;
  if (h->framing == TAVI_HTTP_CHUNKED) { /* where it ends does not matter: the connection closes after the answer */
    tavi__conn_input_drop(c, len);
    return 0;
  }
  if (len > h->body_left) len = (size_t) h->body_left;
  tavi__conn_input_drop(c, len);
  h->body_left -= len;
  if (h->body_left > 0) return 0;
  h->is_body_done = true;
  return complete(c, 0);
}

/* ==== the beginning of a message ==== */

/* What on_headers has made of a message: `end` bytes of it are there. 0: it is wanted whole, and it is complete. */
static int after_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, size_t head_len, size_t end,
                         const struct tavi_slice *trailers) {
  struct tavi__http *h = tavi__http_of(c);
  if (c->src.is_closing) return 1;
  if (c->is_client && msg->status < 200 && msg->status != 101) { /* interim: the real one follows */
    tavi__conn_input_drop(c, head_len);
    return 1;
  }

  bool is_answered = !c->is_client && h->answer != TAVI__ANSWER_NONE;
  if (h->wants_stream) {
    bool is_refusing = h->more != NULL && h->more->sink != NULL && h->more->sink->is_refusing;
    if (!is_answered && !is_refusing && !h->is_body_done && !c->is_client) tavi__http_server_want_body(c);
    return begin_stream(c, head_len, end, trailers);
  }
  if (!is_answered) return 0;
  if (h->is_body_done) return complete(c, end);
  tavi__conn_input_drop(c, head_len);
  h->phase = TAVI__HTTP_DROP;
  return 1;
}

TAVI__HOT void note_head(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  tavi__http_of(c)->wants_stream = false;
  if (c->is_client)
    tavi__http_client_head(c, msg);
  else
    tavi__http_server_head(c, msg);
}

/* A head with a body behind it: see how much of that is there, tell the head, and what is to become of the rest. */
static TAVI__APART int begin_with_body(struct tavi_conn *c, struct tavi_http_msg *msg, size_t head_len) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__input in = tavi__conn_input(c);
  size_t rest = in.len - head_len, end = in.len;
  struct tavi_slice trailers = {NULL, 0};
  int r = 0;
  msg->body = (struct tavi_slice){in.ptr + head_len, rest};
  h->is_body_done = false;
  h->body_left = 0;
  if (msg->framing == TAVI_HTTP_LENGTH) {
    h->body_left = msg->content_length;
    h->is_body_done = rest >= msg->content_length;
    if (h->is_body_done) msg->body.len = (size_t) msg->content_length;
    end = head_len + msg->body.len;
  } else if (msg->framing == TAVI_HTTP_CHUNKED) {
    if (tavi__http_more(h) == NULL) return -500;
    r = decode(c, head_len, &end, &trailers);
    if (r < 0) return r;
    h->is_body_done = r == 1;
    msg->body.len = h->more->decoded;
  }

  note_head(c, msg);
  if (!c->src.is_closing) tell_headers(c, msg);
  r = after_headers(c, msg, head_len, end, &trailers);
  if (r != 0) return r;
  if (h->body_left > tavi__http_conf_of(c)->body_bytes_max) return -413;
  if (msg->body.len > tavi__http_conf_of(c)->body_bytes_max) return -413;
  if (!h->is_body_done) {
    h->phase = TAVI__HTTP_BODY;
    h->head_len = (uint32_t) head_len;
    if (!c->is_client) tavi__http_server_want_body(c);
    return 0;
  }
  if (msg->framing == TAVI_HTTP_CHUNKED) {
    r = add_trailers(c, trailers, msg);
    if (r < 0) return r;
  }
  return deliver(c, msg, end);
}

/* A head was found: `head_len` bytes of input. */
static inline int begin(struct tavi_conn *c, struct tavi_http_msg *msg, size_t head_len) {
  struct tavi__http *h = tavi__http_of(c);
  h->framing = (uint8_t) msg->framing;
  if (msg->framing != TAVI_HTTP_NO_BODY) return begin_with_body(c, msg, head_len);

  h->is_body_done = true;
  h->body_left = 0;
  note_head(c, msg);
  if (c->src.is_closing) return 1;
  if (c->is_client || tavi__http_conf_of(c)->handlers->on_headers != NULL) {
    tell_headers(c, msg);
    int r = after_headers(c, msg, head_len, head_len, NULL);
    if (r != 0) return r;
  }
  tell_message(c, msg);
  return complete_here(c, head_len);
}

static int step_head(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  struct tavi__input in = tavi__conn_input(c);
  struct tavi_http_msg msg;
  size_t used = 0;
  if (in.len == 0) return 0;
  /* Parsed again only when another line is there, so that a head sent byte by byte costs no more than its lines. */
  if (h->head_len > 0 && in.len <= tavi__http_conf_of(c)->limits.head_bytes_max &&
      memchr(in.ptr + h->head_len, '\n', in.len - h->head_len) == NULL) {
    h->head_len = (uint32_t) in.len;
    return 0;
  }

  int r = parse(c, in, &used, &msg);
  if (r < 0) return r;
  if (r == TAVI_WIRE_MORE) {
    uint32_t limit_ms = tavi__http_conf_of(c)->head_timeout_ms;
    if (h->head_len == 0 && !c->is_client)
      tavi__conn_read_deadline(c, limit_ms != 0 ? c->src.manager->now_ms + limit_ms : 0);
    h->head_len = (uint32_t) in.len;
    return 0;
  }
  h->head_len = 0;
  return begin(c, &msg, used);
}

static TAVI__APART int step_body(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  size_t len = tavi__conn_input(c).len, body_max = (size_t) tavi__http_conf_of(c)->body_bytes_max;
  if (h->answer > TAVI__ANSWER_NONE && !c->is_client) { /* by somebody who did not wait for it */
    tavi__conn_input_drop(c, h->head_len);
    h->phase = TAVI__HTTP_DROP;
    return 1;
  }
  if (h->framing == TAVI_HTTP_CHUNKED) {
    struct tavi_slice trailers;
    size_t end;
    int r = decode(c, h->head_len, &end, &trailers);
    if (r <= 0) return r;
    h->is_body_done = true;
    return deliver_kept(c, h->more->decoded, end, &trailers);
  }
  if (h->framing == TAVI_HTTP_UNTIL_CLOSE) return len - h->head_len > body_max ? -413 : 0;
  if (len - h->head_len < h->body_left) return 0;
  h->is_body_done = true;
  return deliver_kept(c, (size_t) h->body_left, h->head_len + (size_t) h->body_left, NULL);
}

void tavi__http_complete_at_eof(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  h->is_body_done = true;
  if (h->phase == TAVI__HTTP_STREAM) {
    h->framing = TAVI_HTTP_LENGTH; /* what is there is what is left */
    h->body_left = tavi__conn_input(c).len;
    tavi__source_again(&c->src);
    return;
  }
  size_t len = tavi__conn_input(c).len;
  int r = deliver_kept(c, len - h->head_len, len, NULL);
  if (r < 0) tavi__http_client_bad(c, -r);
}

/* ==== the machine ==== */

static int step(struct tavi_conn *c) {
  switch ((enum tavi__http_phase) tavi__http_of(c)->phase) {
    case TAVI__HTTP_HEAD: return step_head(c);
    case TAVI__HTTP_BODY: return step_body(c);
    case TAVI__HTTP_STREAM: return step_stream(c);
    case TAVI__HTTP_DROP: return step_drop(c);
    case TAVI__HTTP_WAIT: break;
  }
  return 0;
}

/* A streamed body was consumed to its end, and on_message has not told so: no input is needed for that. */
static bool is_end_due(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  return h->phase == TAVI__HTTP_STREAM && h->is_body_done && stream_ready(c) == 0;
}

static inline bool may_go_on(const struct tavi_conn *c) {
  if (c->src.is_closing || c->is_draining || c->src.manager->is_broken) return false;
  return !(c->is_paused || (c->is_full && !c->is_client)) || is_end_due(c);
}

/* Between requests: the next one has some time to come. */
static inline void idle(struct tavi_conn *c) {
  uint32_t limit_ms = tavi__http_conf_of(c)->keepalive_timeout_ms;
  if (!c->is_client) tavi__conn_read_deadline(c, limit_ms != 0 ? c->src.manager->now_ms + limit_ms : 0);
}

/* In the middle of something, and nothing more can be done with this input: see what to wait for. */
static TAVI__APART void rest(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  uint32_t limit_ms = tavi__http_conf_of(c)->body_timeout_ms;
  bool has_input = tavi__conn_input(c).len > 0;
  bool is_waiting = h->phase == TAVI__HTTP_WAIT && !c->is_client;
  if (c->src.manager->is_broken && (has_input || is_end_due(c))) tavi__source_again(&c->src);
  if (has_input && !c->is_held && (is_waiting || c->is_draining)) { /* the rest must wait, and its sender with it */
    c->is_held = true;
    tavi__conn_watch(c);
  }
  if (c->is_client || h->phase == TAVI__HTTP_HEAD) return;
  tavi__conn_read_deadline(c, limit_ms != 0 && !is_waiting ? c->src.manager->now_ms + limit_ms : 0);
}

void tavi__http_on_input(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  int r = 1;
  while (r > 0 && may_go_on(c)) {
    r = step(c);
    if (c->src.is_closing || !c->proto->is_http) return;
    if (h->phase == TAVI__HTTP_HEAD && tavi__conn_input(c).len == 0) {
      idle(c);
      return;
    }
  }
  if (r < 0 && c->is_client)
    tavi__http_client_bad(c, -r);
  else if (r < 0)
    tavi__http_server_bad(c, -r);
  else
    rest(c);
}

void tavi__http_on_drained(struct tavi_conn *c) {
  if (tavi__conn_input(c).len > 0) tavi__source_again(&c->src);
}
