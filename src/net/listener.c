/* SPDX-License-Identifier: MIT
 *
 * Listeners: binding, accepting, and what to do when there are no descriptors left.
 *
 * An accepted connection is served at once, before it is registered with the system: its request is usually there, and
 * if it is answered and closed in the same turn it never needs to be registered. */
#include <stdlib.h>
#include <string.h>

#include "loop/log.h"
#include "net/conn.h"
#include "net/endpoint.h"
#include "net/proxied.h"
#include "net/trust.h"

struct tavi_listener {
  struct tavi__source src; /* first: the pointer is the same */
  struct tavi__conf *conf;
  const struct tavi_conn_handlers *handlers;
  void *user;
  const struct tavi_listener_handlers *own;
  void *own_user;
  char *unix_path;         /* to be removed at the end; NULL for others */
};

_Static_assert(offsetof(struct tavi_listener, src) == 0, "tavi_manager_listener() relies on it");

static struct tavi_listener *listener_of(struct tavi__source *s) {
  return TAVI__CONTAINER(s, struct tavi_listener, src);
}

void tavi_listen_opts_init(struct tavi_listen_opts *opts) {
  *opts = (struct tavi_listen_opts){.backlog = 4096};
  tavi_conn_opts_init(&opts->conn);
}

/* ==== accepting ==== */

/* There is no descriptor for the next connection, and it would stay ready for ever: give up the reserve, take it, and
 * let it go. Its peer is told, the loop does not spin, and those who are connected do not notice. */
static bool shed(struct tavi_listener *l) {
  struct tavi_manager *m = l->src.manager;
  struct tavi__sockaddr peer;
  if (!m->is_shedding) {
    m->is_shedding = true;
    tavi__log(m, TAVI_LOG_ERROR, "out of descriptors: new connections are closed until there are some again");
  }
  tavi__fd_close(m->reserve_fd);
  int fd = tavi__sock_accept(l->src.io.fd, &peer);
  tavi__fd_close(fd);
  m->reserve_fd = tavi__fd_reserve();
  if (fd >= 0 && m->reserve_fd >= 0) return true;

  /* Somebody else took it. Rest a little, then look again. */
  tavi__source_want(&l->src, 0);
  tavi__source_deadline(&l->src, m->now_ms + TAVI__SHED_PAUSE_MS);
  return false;
}

static void on_rested(struct tavi__source *s) {
  struct tavi_manager *m = s->manager;
  if (m->reserve_fd < 0) m->reserve_fd = tavi__fd_reserve();
  tavi__source_want(s, TAVI__IN);
}

void tavi__conn_accepted(struct tavi_conn *c) {
  c->src.manager->callbacks++;
  if (c->handlers->on_open != NULL) c->handlers->on_open(c, c->user);
  if (!c->src.is_closing && c->handlers->on_accept != NULL) c->handlers->on_accept(c, c->user);
  if (!c->src.is_closing) tavi__stream_start(c);
}

static void accepted(struct tavi_listener *l, int fd, const struct tavi__sockaddr *peer) {
  struct tavi_manager *m = l->src.manager;
  struct tavi_conn *c;
  int err = tavi__conn_new(m, l->conf, &tavi__stream_ops, fd, l->handlers, l->user, &c);
  if (err < 0) {
    tavi__log(m, TAVI_LOG_ERROR, "cannot accept: %s", tavi_err_text(err));
    tavi__fd_close(fd);
    return;
  }

  tavi__sockaddr_to_peer(peer, &c->peer);
  if (TAVI__UNLIKELY(c->conf->proxies != NULL) && tavi__trust_has(c->conf->proxies, &c->peer))
    tavi__proxied_start(c);
  else
    tavi__conn_accepted(c);
}

static void on_ready(struct tavi__source *s, unsigned events) {
  struct tavi_listener *l = listener_of(s);
  struct tavi_manager *m = s->manager;
  (void) events;
  for (int i = 0; i < TAVI__ACCEPTS_PER_TURN && !s->is_closing && !m->is_broken; i++) {
    struct tavi__sockaddr peer;
    int fd = tavi__sock_accept(s->io.fd, &peer);
    if (fd == TAVI__AGAIN) return;
    if (fd == TAVI_E_DESCRIPTORS || fd == TAVI_E_NOMEM) {
      if (!shed(l)) return;
    } else if (fd >= 0) {
      if (m->is_shedding) {
        m->is_shedding = false;
        tavi__log(m, TAVI_LOG_INFO, "descriptors are back");
      }
      accepted(l, fd, &peer);
    } else if (fd == TAVI_E_ADDRESS) { /* whoever shares the descriptor has shut it down */
      tavi__log(m, TAVI_LOG_ERROR, "cannot accept on listener %llu: %s; it closes", (unsigned long long) s->id,
                tavi_err_text(fd));
      tavi__source_close(s);
    } /* else: that peer has gone again; the next one */
  }
}

/* ==== the source ==== */

static bool on_flush(struct tavi__source *s) {
  (void) s;
  return false;
}

static void on_wakeup(struct tavi__source *s, struct tavi_slice data) {
  struct tavi_listener *l = listener_of(s);
  if (l->own != NULL && l->own->on_wakeup != NULL) l->own->on_wakeup(l, data, l->own_user);
}

static void on_failed(struct tavi__source *s, int err) {
  (void) s;
  (void) err; /* logged by the loop; on_close follows */
}

static void remove_path(const struct tavi_listener *l) {
  struct tavi__sockaddr a;
  if (l->unix_path != NULL && tavi__sockaddr_unix(l->unix_path, &a)) tavi__sock_unlink(&a);
}

static void on_closed(struct tavi__source *s) {
  struct tavi_listener *l = listener_of(s);
  if (!s->manager->is_forked) remove_path(l);
  tavi__fd_close(s->io.fd);
  s->io.fd = -1;
  if (l->own != NULL && l->own->on_close != NULL) l->own->on_close(l, l->own_user);
}

static void destroy(struct tavi__source *s) {
  struct tavi_listener *l = listener_of(s);
  tavi__conf_unref(l->conf);
  free(l->unix_path);
  free(l);
}

static const struct tavi__source_ops listener_ops = {
    .kind = TAVI__KIND_LISTENER,
    .on_ready = on_ready,
    .on_flush = on_flush,
    .on_deadline = on_rested,
    .on_wakeup = on_wakeup,
    .on_failed = on_failed,
    .on_closed = on_closed,
    .destroy = destroy,
};

/* ==== opening ==== */

/* The listening descriptor for a URL, or an error. */
static int open_socket(const struct tavi__endpoint *ep, const struct tavi_listen_opts *opts) {
  struct tavi__sockaddr a;
  bool is_udp = false;
  switch (ep->kind) {
    case TAVI__EP_FD:
    case TAVI__EP_SYSTEMD: {
      int fd = ep->kind == TAVI__EP_FD ? ep->fd : tavi__sock_from_systemd(ep->host[0] == 0 ? NULL : ep->host);
      if (fd >= 0) fd = tavi__sock_adopt(fd, &is_udp);
      return fd >= 0 && is_udp ? TAVI_E_ADDRESS : fd;
    }
    case TAVI__EP_HOST:
    case TAVI__EP_UNIX: break;
  }
  if (ep->is_udp || !tavi__endpoint_bind_address(ep, &a)) return TAVI_E_ADDRESS;
  unsigned flags = (opts->reuse_port ? TAVI__SOCK_REUSE_PORT : 0u) | (opts->defer_accept ? TAVI__SOCK_DEFER : 0u);
  return tavi__sock_listen(&a, opts->backlog, flags);
}

int tavi__listen(struct tavi_manager *m, const char *url, const char *default_port, struct tavi__conf *conf,
                 const struct tavi_listen_opts *opts, const struct tavi_conn_handlers *handlers, void *user,
                 struct tavi_listener **ret_listener) {
  struct tavi_listener *l = NULL;
  struct tavi__endpoint ep;
  int fd = -1, err = tavi__endpoint_parse(url, default_port, &ep);
  if (err < 0) goto fail;

  err = tavi__trust_new(opts->proxy_protocol_from, &conf->proxies);
  if (err < 0) goto fail;

  err = TAVI_E_NOMEM;
  l = calloc(1, sizeof(*l));
  if (l == NULL) goto fail;

  if (ep.kind == TAVI__EP_UNIX && ep.host[0] != '@') {
    l->unix_path = strdup(ep.host);
    if (l->unix_path == NULL) goto fail;
  }
  err = fd = open_socket(&ep, opts);
  if (fd < 0) goto fail;

  err = tavi__source_open(&l->src, m, &listener_ops, fd);
  if (err < 0) goto fail;

  l->conf = conf;
  conf->listener_id = l->src.id;
  l->handlers = handlers;
  l->user = user;
  l->own = opts->handlers;
  l->own_user = opts->listener_user;
  tavi__source_want(&l->src, TAVI__IN);
  tavi__log(m, TAVI_LOG_INFO, "listening on %s", url);
  if (ret_listener != NULL) *ret_listener = l;
  return 0;

fail:
  if (fd >= 0) remove_path(l);
  tavi__fd_close(fd);
  if (l != NULL) free(l->unix_path);
  free(l);
  tavi__conf_unref(conf);
  return err;
}

int tavi_listen(struct tavi_manager *m, const char *url, const struct tavi_listen_opts *opts,
                const struct tavi_conn_handlers *handlers, void *user, struct tavi_listener **ret_listener) {
  struct tavi_listen_opts defaults;
  tavi_listen_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if (url == NULL || handlers == NULL || opts->backlog < 1) return TAVI_E_ARG;

  struct tavi__conf *conf = tavi__conf_new(sizeof(*conf), &tavi__proto_raw, &opts->conn);
  if (conf == NULL) return TAVI_E_NOMEM;
  return tavi__listen(m, url, "0", conf, opts, handlers, user, ret_listener);
}

/* ==== asking ==== */

void tavi_listener_close(struct tavi_listener *l) { tavi__source_close(&l->src); }

uint64_t tavi_listener_id(const struct tavi_listener *l) { return l->src.id; }

struct tavi_manager *tavi_listener_manager(const struct tavi_listener *l) { return l->src.manager; }

int tavi_listener_local_addr(const struct tavi_listener *l, struct tavi_addr *ret_addr) {
  struct tavi__sockaddr a;
  if (l->src.io.fd < 0 || tavi__sock_local(l->src.io.fd, &a) < 0) return TAVI_E_NOT_FOUND;
  tavi__sockaddr_text(&a, ret_addr);
  return 0;
}
