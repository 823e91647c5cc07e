/* SPDX-License-Identifier: MIT
 *
 * The client's side of a connection: requests are written by hand (and followed, follow.c), responses are told. */
#include "http/request.h"

int tavi_http_connect(struct tavi_manager *m, const char *url, const struct tavi_http_opts *opts,
                      const struct tavi_http_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  struct tavi_http_opts defaults;
  tavi_http_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if (url == NULL || handlers == NULL || opts->header_count_max == 0 ||
      opts->header_count_max > TAVI_HTTP_HEADERS_MAX || opts->head_bytes_max > UINT32_MAX / 2)
    return TAVI_E_ARG;
  if (url[0] == 0) return TAVI_E_ADDRESS;

  struct tavi__http_conf *conf = tavi__http_conf_new(&tavi__http_client, opts, handlers);
  if (conf == NULL) return TAVI_E_NOMEM;
  return tavi__connect(m, url, "80", &conf->base, &handlers->conn, user, ret_conn);
}

int tavi__http_client_parse(struct tavi_conn *c, struct tavi__input in, size_t *consumed, struct tavi_http_msg *msg) {
  struct tavi__http_conf *conf = tavi__http_conf_of(c);
  return tavi__http1_response(in.ptr, in.len, tavi__http_question(c), &conf->limits, conf->fields, consumed, msg);
}

void tavi__http_client_head(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi__http *h = tavi__http_of(c);
  if (!h->has_asked) {
    tavi__conn_fail(c, TAVI_E_PROTOCOL, "a response came without a request");
    return;
  }
  h->keep_alive = msg->keep_alive;
  bool opens_tunnel = tavi__http_question(c) == TAVI__HTTP1_CONNECT && msg->status / 100 == 2;
  h->becomes_raw = opens_tunnel || msg->status == 101;
}

void tavi__http_client_bad(struct tavi_conn *c, int status) {
  if (status == 413)
    tavi__conn_fail(c, TAVI_E_LIMIT, "the response is longer than body_bytes_max");
  else if (status == 431)
    tavi__conn_fail(c, TAVI_E_LIMIT, "the response's head is longer than head_bytes_max or header_count_max");
  else if (status == 500)
    tavi__conn_fail(c, TAVI_E_NOMEM, tavi_err_text(TAVI_E_NOMEM));
  else
    tavi__conn_fail(c, TAVI_E_PROTOCOL, "the response is not HTTP/1.1");
}

void tavi__http_client_complete(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  h->phase = TAVI__HTTP_HEAD;
  if (h->becomes_raw) {
    tavi__http_become_raw(c);
    return;
  }
  tavi__http_question_done(c);
  if (c->proto == &tavi__http_link) {
    tavi__http_link_idle(c);
    return;
  }
  if (c->at_eof) tavi__conn_drain(c, false);
}

/* No part of a response has come. */
static bool is_between(const struct tavi_conn *c) {
  return tavi__http_of(c)->phase == TAVI__HTTP_HEAD && tavi__conn_input(c).len == 0;
}

static void on_reset(struct tavi_conn *c) {
  if (!is_between(c)) tavi__conn_fail(c, TAVI_E_RESET, "the peer reset the connection in the middle of a response");
}

static bool on_eof(struct tavi_conn *c) {
  struct tavi__http *h = tavi__http_of(c);
  if (h->framing == TAVI_HTTP_UNTIL_CLOSE && (h->phase == TAVI__HTTP_BODY || h->phase == TAVI__HTTP_STREAM)) {
    tavi__http_complete_at_eof(c);
    return true;
  }
  if (h->phase == TAVI__HTTP_STREAM && h->is_body_done) return true; /* the user is still at it */
  if (is_between(c)) return false;
  tavi__conn_fail(c, TAVI_E_PROTOCOL, "the response ended too early: the peer closed the connection");
  return true;
}

const struct tavi__proto tavi__http_client = {
    .is_http = true,
    .on_input = tavi__http_on_input,
    .on_eof = on_eof,
    .on_reset = on_reset,
    .on_output = tavi__http_client_output,
    .on_drained = tavi__http_on_drained,
    .peek = tavi__http_peek,
    .consume = tavi__http_consume,
    .on_end = tavi__http_on_end,
};
