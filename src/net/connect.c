/* SPDX-License-Identifier: MIT
 *
 * The way to a peer: from a URL to addresses, from addresses to an established socket.
 *
 * Literals, Unix paths and localhost are known without asking. Other names are looked up (resolve.h); an attempt begins
 * with the first address, also while the name server still looks for those of the other family.
 *
 * Several addresses are tried as RFC 8305 ("Happy Eyeballs") has it: the families in turns, each attempt beginning when
 * the one before has failed or has been under way for 250 ms, and the first that succeeds wins. The first attempt uses
 * the connection's own source, so what needs one attempt, as nearly all do, needs nothing else; those beside it are
 * watches, and the socket of one that wins moves into the connection.
 *
 * The order within a family is the name server's, which is how it spreads load; an address without a route fails at
 * once and costs nothing, which is what sorting by RFC 6724 is mostly good for.
 *
 * Every failure but an empty URL is told by on_error in a later turn: a program has one place for them. */
#include "net/connect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/endpoint.h"
#include "net/resolve.h"
#include "net/watch.h"

/* Where to, and how far we are; gone once the connection is established. */
struct tavi__dial {
  struct tavi__lookup lookup;
  struct tavi_conn *c;
  uint16_t port;
  bool is_told;             /* on_resolve was called */
  bool is_more_coming;      /* addresses of the other family */
  int err;                  /* why nothing could be tried, or the last attempt failed */
  const char *why;          /* what the resolver says of it; NULL: the text of err */
  int count, next;          /* of the addresses; the next one to try */
  int own;                  /* which of them the connection's socket is on its way to */
  uint64_t began_ms;        /* the newest attempt */
  uint64_t next_at_ms;      /* when the next one begins beside those under way; 0: none does */
  int errs[TAVI__ADDRS_MAX];
  struct tavi__sockaddr addrs[TAVI__ADDRS_MAX];
  struct tavi__watch *beside[TAVI__ADDRS_MAX]; /* the other attempts, by address */
  char target[];            /* the URL, for error texts */
};

void tavi__dial_free(struct tavi__dial *dial) { free(dial); }

/* ==== the outcome ==== */

/* Why each of several attempts failed: "192.0.2.1: connection refused; 2001:db8::1: no route". */
static void list_failures(const struct tavi__dial *d, char *text, size_t cap) {
  size_t len = 0;
  text[0] = 0;
  for (int i = 0; i < d->next && len < cap; i++) {
    struct tavi_addr a;
    tavi__sockaddr_text(&d->addrs[i], &a);
    const char *why = d->errs[i] == 0 ? "no answer" : tavi_err_text(d->errs[i]);
    int n = snprintf(text + len, cap - len, "%s%s: %s", i > 0 ? "; " : "", a.host, why);
    if (n > 0) len += (size_t) n;
  }
}

static void fail_for(struct tavi_conn *c, int err, const char *why) {
  char what[768];
  snprintf(what, sizeof(what), "cannot connect to %.200s: %.500s", c->conf->dial->target, why);
  tavi__conn_fail(c, err, what);
}

/* Nothing is left to be tried. */
static void fail(struct tavi_conn *c) {
  char each[512];
  const struct tavi__dial *d = c->conf->dial;
  if (d->next > 1) {
    list_failures(d, each, sizeof(each));
    fail_for(c, d->err, each);
  } else {
    fail_for(c, d->err, d->why != NULL ? d->why : tavi_err_text(d->err));
  }
}

void tavi__connect_timeout(struct tavi_conn *c) {
  char each[512], why[512];
  list_failures(c->conf->dial, each, sizeof(each));
  snprintf(why, sizeof(why), "connect time-out (%.480s)", each);
  if (c->conf->dial->next < 2) why[sizeof("connect time-out") - 1] = 0; /* the URL says it all */
  fail_for(c, TAVI_E_TIMEOUT, c->is_resolving ? "the name could not be resolved in time" : why);
}

static void end_beside(struct tavi__dial *d, int i) {
  tavi__fd_close(tavi__watch_end(d->beside[i]));
  d->beside[i] = NULL;
}

void tavi__connect_end(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  if (d == NULL) return;
  tavi__lookup_cancel(c->src.manager, &d->lookup);
  for (int i = 0; i < d->next; i++) end_beside(d, i);
  c->conf->dial = NULL;
  tavi__dial_free(d);
}

static void established(struct tavi_conn *c) {
  tavi__connect_end(c);
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
  if (c->proto->on_start != NULL) c->proto->on_start(c);
}

/* ==== attempts ==== */

static void use_socket(struct tavi_conn *c, int fd, int i) {
  struct tavi__dial *d = c->conf->dial;
  d->own = i;
  tavi__pollable_init(&c->src.io, fd);
  tavi__sockaddr_to_peer(&d->addrs[i], &c->peer);
  c->is_v6 = c->is_udp && tavi__sock_is_v6(fd);
  tavi__conn_watch(c);
  tavi__source_queue(&c->src); /* to be registered */
}

static void give_up_socket(struct tavi_conn *c) {
  struct tavi_manager *m = c->src.manager;
  if (c->src.io.is_registered) m->poller_ops->remove(m->poller, &c->src.io);
  tavi__fd_close(c->src.io.fd);
  tavi__pollable_init(&c->src.io, -1);
}

static const struct tavi__watch_ops beside_ops;

/* Begin with address i. Returns 0 or the error. */
static int try_one(struct tavi_conn *c, int i) {
  struct tavi__dial *d = c->conf->dial;
  int state = 0, fd = tavi__sock_connect(&d->addrs[i], c->is_udp, &state);
  if (fd < 0) return fd;
  if (c->src.io.fd < 0) {
    use_socket(c, fd, i);
    return 0;
  }
  int err = tavi__watch_new(c->src.manager, fd, &beside_ops, c, &d->beside[i]);
  if (err == 0)
    tavi__source_want(&d->beside[i]->src, TAVI__OUT);
  else
    tavi__fd_close(fd);
  return err;
}

static void plan_next(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  d->next_at_ms = d->next < d->count ? d->began_ms + TAVI__DIAL_STAGGER_MS : 0;
  tavi__source_deadline(&c->src, d->next_at_ms);
}

/* Begin with the next address that takes an attempt at all. */
static void try_next(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  bool is_under_way = false;
  while (d->next < d->count && !is_under_way) {
    int i = d->next++;
    d->errs[i] = try_one(c, i);
    is_under_way = d->errs[i] == 0;
    if (!is_under_way) d->err = d->errs[i];
  }
  d->began_ms = tavi__manager_now(c->src.manager);
  plan_next(c);
}

static bool is_any_under_way(const struct tavi_conn *c) {
  const struct tavi__dial *d = c->conf->dial;
  if (c->src.io.fd >= 0) return true;
  for (int i = 0; i < d->next; i++)
    if (d->beside[i] != NULL) return true;
  return false;
}

static void fail_if_over(struct tavi_conn *c) {
  if (!is_any_under_way(c) && !c->conf->dial->is_more_coming) fail(c);
}

/* The attempt at address i has failed: the next one need not wait for its time. */
static void failed(struct tavi_conn *c, int i, int err) {
  struct tavi__dial *d = c->conf->dial;
  d->err = d->errs[i] = err;
  try_next(c);
  fail_if_over(c);
}

/* The socket has become ready, which is success or failure; or nothing could be tried, and this is the turn to say
 * so. */
void tavi__connect_ready(struct tavi_conn *c, unsigned events) {
  if (c->src.io.fd < 0) fail_if_over(c);
  if (c->src.io.fd < 0 || events == 0) return;
  int err = tavi__sock_error(c->src.io.fd);
  if (err == 0) {
    established(c);
    return;
  }
  give_up_socket(c);
  failed(c, c->conf->dial->own, err);
}

uint64_t tavi__connect_attempt(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  if (d->next_at_ms != 0 && d->next_at_ms <= tavi__manager_now(c->src.manager)) {
    try_next(c);
    fail_if_over(c);
  }
  return d->next_at_ms;
}

/* ==== attempts beside the first ==== */

static int which(const struct tavi__dial *d, const struct tavi__watch *w) {
  int i = 0;
  while (d->beside[i] != w) i++;
  return i;
}

static void on_beside_ready(struct tavi__watch *w, unsigned events) {
  struct tavi_conn *c = w->owner;
  struct tavi__dial *d = c->conf->dial;
  int i = which(d, w), err = tavi__sock_error(w->src.io.fd);
  (void) events;
  if (c->src.is_closing) return; /* its end is near, and ends this one too */
  if (err < 0) {
    end_beside(d, i);
    failed(c, i, err);
    return;
  }
  if (c->src.io.fd >= 0) give_up_socket(c);
  d->beside[i] = NULL;
  use_socket(c, tavi__watch_end(w), i);
  established(c);
}

static void on_beside_lost(struct tavi__watch *w) {
  struct tavi_conn *c = w->owner;
  struct tavi__dial *d = c->conf->dial;
  int i = which(d, w);
  d->beside[i] = NULL;
  tavi__fd_close(w->src.io.fd);
  if (!c->src.is_closing) failed(c, i, TAVI_E_SYSTEM);
}

static const struct tavi__watch_ops beside_ops = {.on_ready = on_beside_ready, .on_lost = on_beside_lost};

/* ==== resolving ==== */

/* Addresses are known, perhaps the first, perhaps more of them. */
static void go_on(struct tavi_conn *c) {
  struct tavi__dial *d = c->conf->dial;
  c->is_resolving = false;
  if (d->count > 0 && !d->is_told) {
    d->is_told = true;
    if (c->handlers->on_resolve != NULL) c->handlers->on_resolve(c, c->user);
    if (c->src.is_closing) return;
  }
  c->is_connecting = true;
  if (!is_any_under_way(c)) try_next(c);
  if (c->is_udp && c->src.io.fd >= 0)
    established(c);
  else if (is_any_under_way(c))
    plan_next(c); /* there may be more than when it began */
  else if (!d->is_more_coming)
    tavi__source_again(&c->src); /* told in the next turn */
}

/* Take the new ones in turns with those that were not tried yet: the new ones are of the other family. */
static void add(struct tavi__dial *d, const struct tavi__peer *addrs, int count) {
  struct tavi__sockaddr rest[TAVI__ADDRS_MAX];
  int rest_count = d->count - d->next, taken = 0, from_rest = 0;
  memcpy(rest, &d->addrs[d->next], (size_t) rest_count * sizeof(rest[0]));
  d->count = d->next;
  while (d->count < TAVI__ADDRS_MAX && (taken < count || from_rest < rest_count)) {
    if (taken < count) {
      struct tavi__peer p = addrs[taken++];
      p.port = d->port;
      tavi__peer_to_sockaddr(&p, false, &d->addrs[d->count++]);
    }
    if (from_rest < rest_count && d->count < TAVI__ADDRS_MAX) d->addrs[d->count++] = rest[from_rest++];
  }
}

static void on_found(struct tavi__lookup *l, const struct tavi__peer *addrs, int count, bool is_last) {
  struct tavi__dial *d = TAVI__CONTAINER(l, struct tavi__dial, lookup);
  struct tavi_conn *c = d->c;
  d->is_more_coming = !is_last;
  add(d, addrs, count);
  if (!c->src.is_closing) go_on(c);
}

static void on_failed(struct tavi__lookup *l, int err, const char *why) {
  struct tavi__dial *d = TAVI__CONTAINER(l, struct tavi__dial, lookup);
  if (d->c->src.is_closing) return;
  d->err = err;
  d->why = why;
  d->c->is_resolving = false;
  fail(d->c);
}

/* ==== the calls ==== */

static struct tavi__dial *new_dial(const char *url) {
  size_t len = strlen(url);
  struct tavi__dial *d = calloc(1, sizeof(*d) + len + 1);
  if (d != NULL) memcpy(d->target, url, len + 1);
  return d;
}

static void look_up(struct tavi_conn *c, const char *host) {
  struct tavi__dial *d = c->conf->dial;
  d->lookup.on_found = on_found;
  d->lookup.on_failed = on_failed;
  c->is_resolving = true;
  d->is_more_coming = true;
  const char *why = NULL;
  int err = tavi__lookup_start(c->src.manager, &d->lookup, host, &why);
  if (err == 0) return;
  d->is_more_coming = false;
  d->err = err;
  d->why = why;
  go_on(c);
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

  d->c = c;
  d->port = ep.port;
  if (ret_conn != NULL) *ret_conn = c;
  if (handlers->on_open != NULL) handlers->on_open(c, user);
  if (c->src.is_closing) return 0;
  uint32_t limit_ms = c->conf->opts.connect_timeout_ms;
  if (limit_ms != 0) tavi__conn_read_deadline(c, tavi__manager_now(m) + limit_ms);

  int count = bad_url < 0 ? bad_url : tavi__endpoint_peers(&ep, d->addrs);
  if (count == 0) {
    look_up(c, ep.host);
    return 0;
  }
  if (count > 0) d->count = count;
  d->err = TAVI_E_ADDRESS;
  go_on(c);
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
