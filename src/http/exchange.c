/* SPDX-License-Identifier: MIT
 *
 * One request and its response on one link.
 *
 * The request is queued at once, also while the connection is being established; a streamed body is asked for when the
 * queue has room. The response comes by the machine of message.c: a small one whole, in on_message, and told from where
 * it lies; any other through a sink, which decodes, collects or tells, and holds the server back while the call is
 * paused.
 *
 * A response may be complete before its request is (a refusal): then the rest is not sent, and the link ends. So does
 * one whose server speaks unasked, or has anything behind a response. A kept link that ends before the first byte of a
 * response was probably closed while it was idle: the request is sent once more, on a new one, unless the server may
 * have begun with something that must not be done twice (RFC 9112 section 9.3.1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/request.h"
#include "net/file.h"

static struct tavi__http_link *link_of(const struct tavi_conn *c) { return c->user; }

/* ==== times ==== */

/* Without a call the pool has set it; while connecting, the dial. */
static void set_deadline(struct tavi__http_link *link) {
  const struct tavi_http_call *call = link->call;
  if (call == NULL || !link->is_established) return;
  uint64_t limit_ms = 0;
  if (call->awaits_continue)
    limit_ms = TAVI__HTTP_CONTINUE_MS;
  else if (call->is_paused)
    limit_ms = 0;
  else if (link->has_input)
    limit_ms = call->req.idle_timeout_ms;
  else if (call->is_sent && link->c->out.bytes == 0)
    limit_ms = call->req.first_byte_timeout_ms;
  tavi__conn_read_deadline(link->c, limit_ms != 0 ? tavi__manager_now(link->c->src.manager) + limit_ms : 0);
}

/* ==== sending ==== */

static enum tavi__http1_question question_of(const struct tavi_http_call *call) {
  bool is_head = call->method.len == 4 && memcmp(call->method.ptr, "HEAD", 4) == 0;
  return is_head ? TAVI__HTTP1_HEAD : TAVI__HTTP1_OTHER;
}

static void release_body(void *body) { tavi__http_body_unref(body); }

static void queue_body(struct tavi_http_call *call) {
  enum { COPIED = 4096 }; /* smaller ones leave with the head, as one piece of memory */
  struct tavi_conn *c = call->link->c;
  struct tavi__http_body *body = call->body;
  if (body->file != NULL) {
    struct tavi__file *file = tavi__file_ref(body->file);
    int err = call->req.body_length == 0 ? 0
              : tavi__sendq_file(&c->out, c->src.manager, file, call->req.body_offset, call->req.body_length);
    if (call->req.body_length == 0) tavi__file_unref(file);
    if (err < 0)
      tavi__conn_fail_with(c, err, "cannot send a body");
    else
      tavi__conn_queued(c);
  } else if (body->bytes.len <= COPIED) {
    tavi__conn_queue(c, body->bytes.ptr, body->bytes.len);
  } else {
    body->refs++;
    tavi__conn_queue_foreign(c, body->bytes.ptr, body->bytes.len, release_body, body);
  }
}

static bool has_body(const struct tavi_http_call *call) { return call->body != NULL || call->req.streams_body; }

/* The rest of the request, or what there is of it. */
static void begin_body(struct tavi_http_call *call) {
  call->awaits_continue = false;
  call->is_sent = !call->req.streams_body;
  if (call->body != NULL) queue_body(call);
}

void tavi__http_exchange(struct tavi__http_link *link, struct tavi_http_call *call) {
  struct tavi_conn *c = link->c;
  struct tavi__http *h = tavi__http_of(c);
  uint32_t limit_ms = call->req.idle_timeout_ms;
  link->call = call;
  call->link = link;
  link->sent = 0;
  link->has_input = false;
  link->was_kept = link->is_established;
  call->has_response = call->is_sent = call->has_asked_more = false;
  call->interims = 0;
  call->body_sent = 0;
  call->awaits_continue = call->req.expects_continue && has_body(call);
  c->conf->opts.write_timeout_ms = limit_ms;
  if (link->is_established) tavi__conn_read_deadline(c, 0);
  h->question = (uint8_t) question_of(call);
  h->has_asked = true;
  if (tavi__http_queue_head(call) < 0) return; /* the connection has failed, and told the call */
  if (!call->awaits_continue) begin_body(call);
}

/* ==== a streamed body ==== */

/* Ask for more of it as long as something comes and there is room. */
static void ask_more(struct tavi__http_link *link) {
  struct tavi_http_call *call = link->call;
  while (call != NULL && call->req.streams_body && !call->is_sent && !call->awaits_continue && !call->has_asked_more &&
         !link->is_cut && link->c->out.bytes < TAVI__HTTP_UPLOAD_BYTES) {
    call->has_asked_more = call->is_question = true;
    call->inside++;
    call->handlers->on_more(call, call->user);
    if (tavi__http_call_left(call)) return;
    call = link->call; /* it may have failed */
  }
}

/* May it send? 0 or the error. */
static int may_send(const struct tavi_http_call *call) {
  if (call->is_over || call->is_failed || call->link == NULL) return call->is_question ? TAVI_E_CLOSED : TAVI_E_STATE;
  if (!call->req.streams_body || !call->is_question || call->awaits_continue || call->is_sent) return TAVI_E_STATE;
  return call->link->is_cut ? TAVI_E_CLOSED : 0;
}

int tavi_http_call_send(struct tavi_http_call *call, const void *data, size_t len) {
  int err = may_send(call);
  if (err < 0 || len == 0) return err;
  bool is_chunked = call->req.body_length == TAVI_HTTP_CHUNKS;
  if (!is_chunked && len > call->req.body_length - call->body_sent) return TAVI_E_STATE;
  call->body_sent += len;
  call->has_asked_more = false;
  struct tavi_conn *c = call->link->c;
  return is_chunked ? tavi__http_queue_chunk(c, data, len) : tavi__conn_queue(c, data, len);
}

int tavi_http_call_end(struct tavi_http_call *call) {
  int err = may_send(call);
  if (err < 0) return err;
  bool is_chunked = call->req.body_length == TAVI_HTTP_CHUNKS;
  if (!is_chunked && call->body_sent < call->req.body_length) return TAVI_E_STATE;
  call->is_sent = true;
  if (is_chunked) return tavi__conn_queue(call->link->c, "0\r\n\r\n", 5);
  set_deadline(call->link);
  return 0;
}

/* ==== the end of a link ==== */

void tavi__http_link_drop(struct tavi__http_link *link) { tavi_conn_close(link->c); }

static bool is_idempotent(struct tavi_slice m) {
  static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
  for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
    if (m.len == strlen(methods[i]) && memcmp(m.ptr, methods[i], m.len) == 0) return true;
  return false;
}

static bool may_retry(const struct tavi__http_link *link, const struct tavi_http_call *call) {
  if (!link->was_kept || link->has_input || call->was_retried || call->is_question) return false;
  return link->sent == 0 || is_idempotent(call->method);
}

/* The server has gone, in whatever way, or has not kept to the protocol. */
static void lose(struct tavi__http_link *link, int err, const char *text, bool is_gone) {
  struct tavi_http_call *call = link->call;
  if (call == NULL) return;
  bool is_retried = is_gone && may_retry(link, call);
  bool is_verbatim = !link->is_established && err != TAVI_E_CLOSED; /* the dial's text names the target */
  link->call = NULL;
  call->link = NULL;
  tavi__http_link_retire(link);
  if (is_retried) {
    call->was_retried = true;
    err = tavi__http_enqueue(call, true);
    if (err == 0) return;
    text = tavi_err_text(err);
  }
  if (is_verbatim)
    tavi__http_call_fail_verbatim(call, err, text);
  else
    tavi__http_call_fail(call, err, text);
}

static void on_error(struct tavi_conn *c, int err, const char *text, void *user) {
  (void) c;
  lose(user, err, text, false);
}

static void on_close(struct tavi_conn *c, void *user) {
  struct tavi__http_link *link = user;
  struct tavi__http *h = tavi__http_of(c);
  if (h->more != NULL) h->more->sink = NULL;
  lose(link, TAVI_E_CLOSED, c->src.manager->is_closing_all ? "the manager has closed everything" : "closed", false);
  tavi__http_link_gone(link);
}

/* ==== the end of a response ==== */

/* It is told by the caller next; what was said of the link before is over. */
static void let_go(struct tavi__http_link *link, bool can_be_kept) {
  struct tavi_conn *c = link->c;
  struct tavi__http *h = tavi__http_of(c);
  link->call->link = NULL;
  link->call = NULL;
  h->has_asked = false;
  h->question = TAVI__HTTP1_OTHER;
  if (!can_be_kept || c->at_eof || c->is_draining || link->is_cut) {
    tavi__http_link_retire(link);
    return;
  }
  link->is_finishing = true;
  link->host->finishing++;
}

void tavi__http_link_idle(struct tavi_conn *c) {
  struct tavi__http_link *link = link_of(c);
  struct tavi__http_host *host = link->host;
  if (!link->is_finishing) return;
  link->is_finishing = false;
  host->finishing--;
  if (tavi__conn_input(c).len > 0 || c->at_eof)
    tavi__http_link_retire(link); /* what lies behind the response was not asked for */
  else
    tavi__http_link_keep(link);
  tavi__http_dispatch(host);
}

/* All of the request has left. */
static bool is_asked(const struct tavi__http_link *link) { return link->call->is_sent && link->c->out.bytes == 0; }

/* All of the response is there. */
static void finish(struct tavi__http_link *link, const struct tavi_http_msg *msg) {
  struct tavi_http_call *call = link->call;
  bool can_be_kept = tavi__http_of(link->c)->keep_alive && is_asked(link) && (call->given & TAVI__GIVEN_CLOSE) == 0;
  let_go(link, can_be_kept);
  if (call->is_redirecting)
    tavi__http_redirect_follow(call);
  else
    tavi__http_call_done(call, msg, link->was_kept);
}

/* ==== the body ==== */

/* Take a piece of it, decoded. False: the call has ended in between. */
static bool take_body(struct tavi_http_call *call, struct tavi_slice data) {
  call->body_bytes += data.len;
  if (call->body_bytes > call->req.body_bytes_max) {
    tavi__http_call_fail(call, TAVI_E_LIMIT, "the response is longer than body_bytes_max");
    return false;
  }
  if (data.len == 0) return true;
  if (call->handlers->on_data == NULL) {
    int err = tavi__recvbuf_append(&call->kept, call->pool->m, data.ptr, data.len);
    if (err < 0) tavi__http_call_fail(call, err, "cannot collect the response");
    return err == 0;
  }
  struct tavi__http_link *link = call->link;
  call->inside++;
  call->handlers->on_data(call, data, call->user);
  return !tavi__http_call_left(call) && link->call == call;
}

/* Decode and take what came, up to the bound of a turn or until the call is paused. */
static bool take_coded(struct tavi_http_call *call, struct tavi_slice *in) {
  char *piece = call->pool->scratch;
  size_t bytes = 0;
  call->has_more_decoded |= in->len > 0;
  while (call->has_more_decoded && !call->is_paused && bytes < TAVI__DECODE_TURN_BYTES) {
    bool has_more;
    int64_t n = tavi__decoder_put(call->decoder, in, piece, TAVI__DECODE_PIECE_BYTES, &has_more);
    if (n < 0) {
      tavi__http_call_fail(call, (int) n, n == TAVI_E_NOMEM ? "cannot decode the response"
                                                            : "the response is not what its Content-Encoding says");
      return false;
    }
    call->has_more_decoded = has_more;
    bytes += (size_t) n;
    if (!take_body(call, (struct tavi_slice){piece, (size_t) n})) return false;
  }
  return true;
}

/* The body of a redirect: read to the end if that is not far. */
static bool drop_body(struct tavi_http_call *call, size_t len) {
  struct tavi__http_link *link = call->link;
  call->body_bytes += len;
  if (call->body_bytes <= TAVI__HTTP_REDIRECT_BYTES) return true;
  let_go(link, false);
  tavi__http_redirect_follow(call);
  return false;
}

static void unhold(struct tavi_conn *c) {
  if (!c->is_held) return;
  c->is_held = false;
  tavi__conn_watch(c);
}

static enum tavi__sink_state take(struct tavi__http_sink *s, struct tavi_slice data, bool is_last, size_t *ret_taken) {
  struct tavi__http_link *link = TAVI__CONTAINER(s, struct tavi__http_link, sink);
  struct tavi_http_call *call = link->call;
  struct tavi_slice in = data;
  *ret_taken = 0;
  if (call == NULL) return TAVI__SINK_MORE; /* it ends */
  if (call->is_paused) return TAVI__SINK_BUSY;

  bool is_still = true;
  if (call->is_redirecting) {
    is_still = drop_body(call, data.len);
    in.len = 0;
  } else if (call->decoder != NULL) {
    is_still = take_coded(call, &in);
  } else {
    is_still = take_body(call, data);
    in.len = 0;
  }
  if (!is_still) return TAVI__SINK_MORE;
  *ret_taken = data.len - in.len;
  if (in.len > 0 || call->has_more_decoded) {
    if (!call->is_paused) tavi__source_again(&link->c->src); /* enough for one turn */
    return TAVI__SINK_BUSY;
  }
  unhold(link->c);
  if (!is_last) return TAVI__SINK_MORE;
  if (call->decoder == NULL || tavi__decoder_is_done(call->decoder)) return TAVI__SINK_OVER;
  tavi__http_call_fail(call, TAVI_E_PROTOCOL, "the compressed response ends too early");
  return TAVI__SINK_MORE;
}

/* The response once more from what was kept of it. */
static int kept_msg(struct tavi_http_call *call, struct tavi__http_conf *conf, struct tavi_http_msg *ret_msg) {
  struct tavi__recvbuf *b = call->kept;
  size_t used;
  int r = tavi__http1_response(b->bytes + b->start, call->head_len, question_of(call), &conf->limits, conf->fields,
                               &used, ret_msg);
  if (r != TAVI_WIRE_EVENT) return TAVI_E_PROTOCOL;
  ret_msg->body = (struct tavi_slice){b->bytes + b->start + call->head_len, b->len - call->head_len};
  return 0;
}

/* Through the sink: its trailers were checked before. */
static void end(struct tavi__http_sink *s, struct tavi_conn *c, int status) {
  struct tavi__http_link *link = TAVI__CONTAINER(s, struct tavi__http_link, sink);
  struct tavi__http_conf *conf = tavi__http_conf_of(c);
  const struct tavi__http_more *more = tavi__http_of(c)->more;
  struct tavi_http_msg msg = {0};
  if (status != 0 || link->call == NULL) return;

  if (!link->call->is_redirecting && kept_msg(link->call, conf, &msg) < 0) {
    tavi__http_call_fail(link->call, TAVI_E_PROTOCOL, "the response is not HTTP/1.1");
    return;
  }
  if (more->trailers != NULL) {
    struct tavi_http_header *fields = conf->fields + conf->limits.header_count_max;
    struct tavi_slice raw = {more->trailers, more->trailers_len};
    int count = tavi__http1_trailers(raw, fields, TAVI__HTTP_TRAILERS);
    msg.trailers = fields;
    msg.trailer_count = count > 0 ? (size_t) count : 0;
  }
  finish(link, &msg);
}

/* ==== the head ==== */

static void tell_interim(struct tavi__http_link *link, const struct tavi_http_msg *msg) {
  struct tavi_http_call *call = link->call;
  if (msg->status == 101) {
    tavi__http_call_fail(call, TAVI_E_UNSUPPORTED, "the server changes the protocol, which was not asked for");
    return;
  }
  if (++call->interims > TAVI__HTTP_INTERIM_MAX) {
    tavi__http_call_fail(call, TAVI_E_LIMIT, "interim responses without end");
    return;
  }
  if (call->handlers->on_interim != NULL) {
    call->inside++;
    call->handlers->on_interim(call, msg, call->user);
    if (tavi__http_call_left(call) || link->call != call) return;
  }
  if (msg->status == 100 && call->awaits_continue) {
    begin_body(call);
    ask_more(link);
  }
}

/* Is the body coded, and can we decode it? Returns 0 or the error, which has ended the call. */
static int find_coding(struct tavi_http_call *call, const struct tavi_http_msg *msg) {
  const struct tavi_slice *field = tavi_http_header(msg, "content-encoding");
  if (!call->req.decodes || field == NULL || msg->framing == TAVI_HTTP_NO_BODY) return 0;
  int coding = tavi__coding_of(*field);
  if (coding == TAVI_CODING_IDENTITY) return 0;
  if (coding > 0) call->decoder = tavi__decoder_new((unsigned) coding);
  if (call->decoder != NULL) return 0;
  int err = coding < 0 ? TAVI_E_UNSUPPORTED : TAVI_E_NOMEM;
  char text[160];
  snprintf(text, sizeof(text), "cannot decode the response's Content-Encoding: %.*s",
           (int) (field->len < 80 ? field->len : 80), field->ptr);
  tavi__http_call_fail(call, err, text);
  return err;
}

/* What comes in pieces goes through the sink, for which the head is kept. */
static int install_sink(struct tavi__http_link *link, const struct tavi_http_msg *msg) {
  struct tavi_http_call *call = link->call;
  struct tavi__http *h = tavi__http_of(link->c);
  struct tavi__http_more *more = tavi__http_more(h);
  int err = more == NULL ? TAVI_E_NOMEM : 0;
  if (err == 0 && !call->is_redirecting)
    err = tavi__recvbuf_append(&call->kept, call->pool->m, msg->head.ptr, msg->head.len);
  if (err < 0) {
    tavi__http_call_fail(call, err, "cannot receive a response");
    return err;
  }
  call->head_len = msg->head.len;
  link->sink = (struct tavi__http_sink){.take = take, .end = end};
  more->sink = &link->sink;
  h->wants_stream = true;
  return 0;
}

static void on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  struct tavi__http_link *link = user;
  struct tavi_http_call *call = link->call;
  if (call == NULL) return; /* it ends */
  if (msg->status < 200) {
    tell_interim(link, msg);
    return;
  }
  call->has_response = true;
  call->awaits_continue = false; /* and is_sent is not true: the body was not wanted */
  int redirected = tavi__http_redirect_begin(call, msg);
  if (redirected < 0) return;
  if (redirected > 0 && !is_asked(link)) { /* no use in sending the rest */
    let_go(link, false);
    tavi__http_redirect_follow(call);
    return;
  }
  if (redirected == 0) {
    if (find_coding(call, msg) < 0) return;
    if (msg->framing == TAVI_HTTP_LENGTH && call->decoder == NULL && msg->content_length > call->req.body_bytes_max) {
      tavi__http_call_fail(call, TAVI_E_LIMIT, "the response is longer than body_bytes_max");
      return;
    }
    if (call->handlers->on_headers != NULL) {
      call->inside++;
      call->handlers->on_headers(call, msg, call->user);
      if (tavi__http_call_left(call) || link->call != call) return;
    }
  }
  bool is_told = call->handlers->on_data != NULL && redirected == 0;
  bool is_whole = tavi__http_of(c)->is_body_done && call->decoder == NULL && !is_told;
  if (msg->framing != TAVI_HTTP_NO_BODY && !is_whole) install_sink(link, msg);
}

/* All of it in one piece, where it was received. */
static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  struct tavi__http_link *link = user;
  (void) c;
  if (link->call == NULL) return;
  if (msg->body.len > link->call->req.body_bytes_max && !link->call->is_redirecting)
    tavi__http_call_fail(link->call, TAVI_E_LIMIT, "the response is longer than body_bytes_max");
  else
    finish(link, msg);
}

/* ==== the connection ==== */

static void on_connect(struct tavi_conn *c, void *user) {
  struct tavi__http_link *link = user;
  (void) c;
  link->is_established = true;
}

static void on_write(struct tavi_conn *c, size_t sent, void *user) {
  struct tavi__http_link *link = user;
  (void) c;
  link->sent += sent;
  ask_more(link);
  set_deadline(link);
}

const struct tavi_http_handlers tavi__http_link_handlers = {
    .conn = {.on_connect = on_connect, .on_write = on_write, .on_error = on_error, .on_close = on_close},
    .on_headers = on_headers,
    .on_message = on_message,
};

static void on_input(struct tavi_conn *c) {
  struct tavi__http_link *link = link_of(c);
  if (link->call == NULL) {
    tavi__http_link_retire(link);
    return;
  }
  if (link->sent == 0 && tavi__conn_input(c).len > 0) {
    lose(link, TAVI_E_PROTOCOL, "the server answered before it was asked", true); /* a kept one says 408, and closes */
    return;
  }
  link->has_input |= tavi__conn_input(c).len > 0;
  tavi__http_on_input(c);
  if (!c->src.is_closing) set_deadline(link);
}

/* The server has closed its side, and nothing can be missing. */
static bool is_whole_at_eof(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  bool is_body = h->phase == TAVI__HTTP_BODY || h->phase == TAVI__HTTP_STREAM;
  return is_body && (h->framing == TAVI_HTTP_UNTIL_CLOSE || h->is_body_done);
}

static bool on_eof(struct tavi_conn *c) {
  struct tavi__http_link *link = link_of(c);
  const struct tavi__http *h = tavi__http_of(c);
  if (link->call == NULL) {
    tavi__http_link_retire(link);
  } else if (is_whole_at_eof(c)) {
    if (!h->is_body_done) tavi__http_complete_at_eof(c);
  } else if (!link->has_input) {
    lose(link, TAVI_E_RESET, "the server closed the connection without a response", true);
  } else {
    lose(link, TAVI_E_PROTOCOL, "the response ended too early: the server closed the connection", false);
  }
  return true;
}

static void on_reset(struct tavi_conn *c) {
  struct tavi__http_link *link = link_of(c);
  const char *what = link->has_input ? "the server reset the connection in the middle of the response"
                                     : "the server reset the connection before it answered";
  lose(link, TAVI_E_RESET, what, true);
}

/* The server takes no more: perhaps it has said why. */
static bool on_cut(struct tavi_conn *c) {
  struct tavi__http_link *link = link_of(c);
  if (link->call == NULL) return false;
  link->is_cut = true;
  return true;
}

static bool on_timeout(struct tavi_conn *c) {
  struct tavi__http_link *link = link_of(c);
  struct tavi_http_call *call = link->call;
  char text[80];
  if (call == NULL) {
    tavi__http_link_retire(link);
    return true;
  }
  if (call->awaits_continue) { /* many servers never say it */
    begin_body(call);
    ask_more(link);
    return true;
  }
  if (link->has_input)
    snprintf(text, sizeof(text), "nothing of the response came for %u ms", (unsigned) call->req.idle_timeout_ms);
  else
    snprintf(text, sizeof(text), "no response came within %u ms", (unsigned) call->req.first_byte_timeout_ms);
  lose(link, TAVI_E_TIMEOUT, text, false);
  return true;
}

/* Nobody but the library writes here. */
static int on_output(struct tavi_conn *c, const char *data, uint64_t len) {
  (void) c, (void) data, (void) len;
  return TAVI_E_STATE;
}

const struct tavi__proto tavi__http_link = {
    .is_http = true,
    .on_input = on_input,
    .on_eof = on_eof,
    .on_reset = on_reset,
    .on_cut = on_cut,
    .on_timeout = on_timeout,
    .on_output = on_output,
    .on_drained = tavi__http_on_drained,
    .peek = tavi__http_peek,
    .consume = tavi__http_consume,
    .on_end = tavi__http_on_end,
};

/* ==== pausing ==== */

void tavi_http_call_pause(struct tavi_http_call *call) {
  call->is_paused = true;
  if (call->link != NULL) set_deadline(call->link);
}

void tavi_http_call_resume(struct tavi_http_call *call) {
  if (!call->is_paused) return;
  call->is_paused = false;
  if (call->link == NULL) return;
  set_deadline(call->link);
  tavi__source_again(&call->link->c->src);
}
