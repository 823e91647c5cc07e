/* SPDX-License-Identifier: MIT
 *
 * The way to a peer: from a URL to addresses, from addresses to an established socket, the next address when one fails.
 *
 * Literals, Unix paths and localhost are known without asking. Other names are for the manager's resolver, which calls
 * tavi__connect_resolved() or tavi__connect_unresolved() later; it is installed from outside, so this file knows no
 * DNS.
 *
 * Every failure but an empty URL is told by on_error in a later turn: a program has one place for them. */
#include "net/connect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/endpoint.h"

struct tavi__dial {
  int count, next;                            /* of the addresses; the next one to try */
  int err;                                    /* why the last attempt failed, 0: none has */
  bool is_told;                               /* on_resolve was called */
  struct tavi__sockaddr addrs[TAVI__DIAL_MAX];
  char target[];                              /* the URL, for error texts */
};

void tavi__dial_free(struct tavi__dial *dial) { free(dial); }

/* ==== the outcome ==== */

static void fail(struct tavi_conn *c, int err, const char *why) {
  char what[320];
  const struct tavi__dial *d = c->conf->dial;
  snprintf(what, sizeof(what), "cannot connect to %.200s: %.80s", d->target, why);
  tavi__conn_fail(c, err, what);
}

void tavi__connect_timeout(struct tavi_conn *c) {
  fail(c, TAVI_E_TIMEOUT, c->is_resolving ? "the name could not be resolved in time" : "connect time-out");
}

static void established(struct tavi_conn *c) {
  c->is_connecting = false;
  c->read_deadline_ms = 0;
  if (c->handlers->on_connect != NULL) c->handlers->on_connect(c, c->user);
  if (c->src.is_closing) return;
  if (c->out.last != NULL || c->is_draining) tavi__source_flush(&c->src);
  if (!c->is_udp) {
    tavi__stream_start(c);
    return;
  }
  uint32_t idle_ms = c->conf->opts.idle_timeout_ms;
  if (idle_ms != 0) tavi__conn_read_deadline(c, tavi__manager_now(c->src.manager) + idle_ms);
  tavi__conn_watch(c);
}

/* ==== attempts ==== */

/* Begin with the next address that takes an attempt at all. False: there is none left. */
static bool try_next(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  while (d->next < d->count) {
    const struct tavi__sockaddr *a = &d->addrs[d->next++];
    int state = 0, fd = tavi__sock_connect(a, c->is_udp, &state);
    if (fd < 0) {
      d->err = fd;
      continue;
    }
    tavi__pollable_init(&c->src.io, fd);
    tavi__sockaddr_to_peer(a, &c->peer);
    c->is_v6 = c->is_udp && tavi__sock_is_v6(fd);
    c->is_connecting = true;
    tavi__conn_watch(c);
    tavi__source_queue(&c->src); /* to be registered */
    return true;
  }
  return false;
}

static void give_up_socket(struct tavi_conn *c) {
  struct tavi_manager *m = c->src.manager;
  if (c->src.io.is_registered) m->poller_ops->remove(m->poller, &c->src.io);
  tavi__fd_close(c->src.io.fd);
  tavi__pollable_init(&c->src.io, -1);
}

/* The socket has become writable, which is success or failure; or the call had found no address to try. */
void tavi__connect_ready(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  if (c->src.io.fd >= 0) {
    d->err = tavi__sock_error(c->src.io.fd);
    if (d->err == 0) {
      established(c);
      return;
    }
    give_up_socket(c);
  }
  if (!try_next(c)) fail(c, d->err, tavi_err_text(d->err));
}

static void begin(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  c->is_resolving = false;
  if (d->count > 0 && !d->is_told) {
    d->is_told = true;
    if (c->handlers->on_resolve != NULL) c->handlers->on_resolve(c, c->user);
    if (c->src.is_closing) return;
  }
  c->is_connecting = true;
  if (d->count == 0 || !try_next(c)) {
    tavi__source_again(&c->src); /* told in the next turn */
    return;
  }
  if (c->is_udp) established(c);
}

/* ==== resolving ==== */

void tavi__connect_resolved(struct tavi_conn *c, const struct tavi__sockaddr *addrs, int count) {
  struct tavi__dial *d = c->conf->dial;
  for (d->count = 0; d->count < count && d->count < TAVI__DIAL_MAX; d->count++) d->addrs[d->count] = addrs[d->count];
  begin(c);
}

void tavi__connect_unresolved(struct tavi_conn *c, const char *why) {
  c->is_resolving = false;
  fail(c, TAVI_E_RESOLVE, why);
}

/* ==== the calls ==== */

static struct tavi__dial *new_dial(const char *url) {
  size_t len = strlen(url);
  struct tavi__dial *d = calloc(1, sizeof(*d) + len + 1);
  if (d != NULL) memcpy(d->target, url, len + 1);
  return d;
}

int tavi__connect(struct tavi_manager *m, const char *url, const char *default_port, struct tavi__conf *conf,
                  const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  struct tavi__endpoint ep = {0};
  struct tavi_conn *c = NULL;
  int bad_url = tavi__endpoint_parse(url, default_port, &ep), err = TAVI_E_NOMEM;
  conf->dial = new_dial(url);
  if (conf->dial != NULL)
    err = tavi__conn_new(m, conf, ep.is_udp ? &tavi__udp_ops : &tavi__stream_ops, -1, handlers, user, &c);
  if (err == 0) c->is_client = true, c->is_udp = ep.is_udp;
  struct tavi__dial *d = conf->dial;
  tavi__conf_unref(conf);
  if (err < 0) return err;

  if (ret_conn != NULL) *ret_conn = c;
  if (handlers->on_open != NULL) handlers->on_open(c, user);
  if (c->src.is_closing) return 0;
  uint32_t limit_ms = c->conf->opts.connect_timeout_ms;
  if (limit_ms != 0) tavi__conn_read_deadline(c, tavi__manager_now(m) + limit_ms);

  d->count = bad_url < 0 ? bad_url : tavi__endpoint_peers(&ep, d->addrs);
  if (d->count == 0 && m->resolver != NULL) {
    c->is_resolving = true;
    m->resolver->start(m->resolver, c, ep.host, ep.port);
    return 0;
  }
  if (d->count <= 0) {
    d->err = d->count < 0 ? TAVI_E_ADDRESS : TAVI_E_RESOLVE;
    d->count = 0;
  }
  begin(c);
  return 0;
}

int tavi_connect(struct tavi_manager *m, const char *url, const struct tavi_conn_opts *opts,
                 const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  if (url == NULL || handlers == NULL) return TAVI_E_ARG;
  if (url[0] == 0) return TAVI_E_ADDRESS;

  struct tavi__conf *conf = tavi__conf_new(sizeof(*conf), &tavi__proto_raw, opts);
  if (conf == NULL) return TAVI_E_NOMEM;
  return tavi__connect(m, url, "", conf, handlers, user, ret_conn);
}
