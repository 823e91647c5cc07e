/* SPDX-License-Identifier: MIT
 *
 * The server's side of a connection: what is asked of a request, the order of requests and answers, time-outs, and
 * the way to refuse. */
#include <string.h>

#include "http/http.h"
#include "net/trust.h"

/* ==== configuration ==== */

void tavi_http_opts_init(struct tavi_http_opts *opts) {
  *opts = (struct tavi_http_opts){
      .head_bytes_max = (size_t) 64 << 10,
      .target_bytes_max = (size_t) 16 << 10,
      .header_count_max = 128,
      .body_bytes_max = (size_t) 16 << 20,
      .head_timeout_ms = 30000,
      .body_timeout_ms = 30000,
      .keepalive_timeout_ms = 75000,
  };
  tavi_listen_opts_init(&opts->listen);
}

/* The smaller of two times, of which 0 is none. */
static uint32_t within(uint32_t a_ms, uint32_t b_ms) {
  if (a_ms == 0 || b_ms == 0) return a_ms + b_ms;
  return a_ms < b_ms ? a_ms : b_ms;
}

struct tavi__http_conf *tavi__http_conf_new(const struct tavi__proto *proto, const struct tavi_http_opts *opts,
                                            const struct tavi_http_handlers *handlers) {
  size_t fields = opts->header_count_max + TAVI__HTTP_TRAILERS;
  size_t size = sizeof(struct tavi__http_conf) + fields * sizeof(struct tavi_http_header);
  struct tavi__conf *base = tavi__conf_new(size, proto, &opts->listen.conn);
  if (base == NULL) return NULL;

  struct tavi__http_conf *conf = TAVI__CONTAINER(base, struct tavi__http_conf, base);
  conf->handlers = handlers;
  conf->limits = (struct tavi__http1_limits){opts->head_bytes_max, opts->target_bytes_max, opts->header_count_max};
  conf->body_bytes_max = opts->body_bytes_max;
  conf->head_timeout_ms = within(opts->head_timeout_ms, opts->listen.conn.idle_timeout_ms);
  conf->body_timeout_ms = within(opts->body_timeout_ms, opts->listen.conn.idle_timeout_ms);
  conf->keepalive_timeout_ms = within(opts->keepalive_timeout_ms, opts->listen.conn.idle_timeout_ms);
  return conf;
}

static void free_own(struct tavi__conf *conf) {
  tavi__trust_free(TAVI__CONTAINER(conf, struct tavi__http_conf, base)->forwarders);
}

int tavi_http_listen(struct tavi_manager *m, const char *url, const struct tavi_http_opts *opts,
                     const struct tavi_http_handlers *handlers, void *user, struct tavi_listener **ret_listener) {
  struct tavi_http_opts defaults;
  tavi_http_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if (url == NULL || handlers == NULL || opts->listen.backlog < 1 || opts->header_count_max == 0 ||
      opts->header_count_max > TAVI_HTTP_HEADERS_MAX || opts->head_bytes_max > UINT32_MAX / 2)
    return TAVI_E_ARG;

  struct tavi__http_conf *conf = tavi__http_conf_new(&tavi__http_server, opts, handlers);
  if (conf == NULL) return TAVI_E_NOMEM;
  conf->base.on_free = free_own;
  int err = tavi__trust_new(opts->forwarded_from, &conf->forwarders);
  if (err < 0) {
    tavi__conf_unref(&conf->base);
    return err;
  }
  return tavi__listen(m, url, "80", &conf->base, &opts->listen, &handlers->conn, user, ret_listener);
}

/* ==== requests ==== */

int tavi__http_server_parse(struct tavi_conn *c, struct tavi__input in, size_t *consumed, struct tavi_http_msg *msg) {
  struct tavi__http_conf *conf = tavi__http_conf_of(c);
  return tavi__http1_request(in.ptr, in.len, &conf->limits, conf->fields, consumed, msg);
}

void tavi__http_server_want_body(struct tavi_conn *c) {
  static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
  struct tavi__http *h = tavi__http_of(c);
  if (!h->expects_continue) return;

  h->expects_continue = false;
  tavi__conn_queue(c, interim, sizeof(interim) - 1);
}

/* Ready for the next request. */
static void next(struct tavi__http *h) {
  h->phase = TAVI__HTTP_HEAD;
  h->answer = TAVI__ANSWER_IDLE;
  if (h->more == NULL) return;
  h->more->coding.is_asked = false; /* nobody used it: the answer was written by hand */
  if (h->more->head_owed == 0) tavi__http_free_more(h);
}

void tavi__http_server_complete(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->becomes_raw)
    tavi__http_become_raw(c);
  else if (h->answer == TAVI__ANSWER_DONE)
    next(h);
}

void tavi__http_server_next(struct tavi_conn *c) {
  const struct tavi__http_conf *conf = tavi__http_conf_of(c);
  struct tavi_manager *m = c->src.manager;
  next(tavi__http_of(c));
  if (c->is_held) {
    c->is_held = false;
    tavi__conn_watch(c);
  }
  if (tavi__conn_input(c).len > 0)
    tavi__source_again(&c->src);
  else if (conf->keepalive_timeout_ms != 0)
    tavi__conn_read_deadline(c, tavi__manager_now(m) + conf->keepalive_timeout_ms);
}

/* ==== refusing ==== */

void tavi__http_server_bad(struct tavi_conn *c, int status) {
  struct tavi__http *h = tavi__http_of(c);
  if (tavi__http_sink_bad(c, status)) return;
  if (h->answer > TAVI__ANSWER_NONE) { /* an answer is on its way: nothing can be said in its middle */
    tavi__conn_drain(c, true);
    return;
  }
  if (h->answer == TAVI__ANSWER_IDLE) { /* of its request we know nothing */
    h->answer = TAVI__ANSWER_NONE;
    h->question = TAVI__HTTP1_OTHER;
  }
  tavi_http_refuse(c, status);
}

/* True when it is not the peer's turn: the user does not read, we hold back what has come, or our own bytes are still
 * on their way to the peer (for which there is write_timeout_ms). */
static bool is_our_turn(const struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  if (c->is_paused || c->is_full || c->is_held) return true;
  switch ((enum tavi__http_phase) h->phase) {
    case TAVI__HTTP_HEAD: return c->out.bytes > 0;
    case TAVI__HTTP_BODY: return false;
    case TAVI__HTTP_STREAM: return h->answer != TAVI__ANSWER_DONE && tavi__http_peek(c).len > 0;
    case TAVI__HTTP_DROP: return h->answer != TAVI__ANSWER_DONE; /* nobody waits for the rest of that body */
    case TAVI__HTTP_WAIT: break;
  }
  return true;
}

static bool on_timeout(struct tavi_conn *c) {
  const struct tavi__http *h = tavi__http_of(c);
  const struct tavi__http_conf *conf = tavi__http_conf_of(c);
  bool is_between = h->phase == TAVI__HTTP_HEAD && tavi__conn_input(c).len == 0;
  if (c->is_draining || h->phase == TAVI__HTTP_WAIT) return true;

  if (is_our_turn(c)) {
    uint32_t limit_ms = is_between                       ? conf->keepalive_timeout_ms
                        : h->phase == TAVI__HTTP_HEAD ? conf->head_timeout_ms
                                                         : conf->body_timeout_ms;
    if (limit_ms != 0) tavi__conn_read_deadline(c, c->src.manager->now_ms + limit_ms);
  } else if (is_between) {
    tavi_conn_close(c); /* nobody is waiting for anything */
  } else {
    tavi__http_server_bad(c, 408);
  }
  return true;
}

static void on_start(struct tavi_conn *c) {
  const struct tavi__http_conf *conf = tavi__http_conf_of(c);
  if (conf->head_timeout_ms != 0) tavi__conn_read_deadline(c, c->src.manager->now_ms + conf->head_timeout_ms);
}

const struct tavi__proto tavi__http_server = {
    .is_http = true,
    .on_start = on_start,
    .on_input = tavi__http_on_input,
    .on_timeout = on_timeout,
    .on_output = tavi__http_server_output,
    .on_drained = tavi__http_on_drained,
    .peek = tavi__http_peek,
    .consume = tavi__http_consume,
    .on_closing = tavi__http_on_closing,
    .on_end = tavi__http_on_end,
};
