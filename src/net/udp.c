/* SPDX-License-Identifier: MIT
 *
 * Datagrams. One connection is one socket: bound, and serving all peers, or connected to one. Each datagram is an
 * on_read of its own; it lies in the loop's buffer during that, and the newest one is kept until the next if it was not
 * consumed. What is sent goes to the system at once: there is nothing to coalesce.
 *
 * Errors that the network reports about earlier datagrams (ICMP "port unreachable") are not errors of the connection:
 * the peer may simply not be there yet. */
#include "loop/log.h"
#include "net/conn.h"
#include "net/endpoint.h"

static void touch(struct tavi_conn *c) {
  uint32_t idle_ms = c->conf->opts.idle_timeout_ms;
  if (idle_ms != 0) tavi__conn_read_deadline(c, tavi__manager_now(c->src.manager) + idle_ms);
}

int tavi__udp_send(struct tavi_conn *c, const void *data, size_t len) {
  struct tavi__sockaddr to;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (c->src.io.fd < 0) return TAVI_E_STATE; /* the name is still being resolved */

  if (!c->is_client) {
    if (c->peer.family == 0) return TAVI_E_ADDRESS; /* nobody has sent anything yet */
    tavi__peer_to_sockaddr(&c->peer, c->is_v6, &to);
  }
  ssize_t n = tavi__sock_send_to(c->src.io.fd, data, len, c->is_client ? NULL : &to);
  if (n == TAVI_E_REFUSED) /* an earlier one was */
    n = tavi__sock_send_to(c->src.io.fd, data, len, c->is_client ? NULL : &to);
  if (n == TAVI__AGAIN) return TAVI_E_LIMIT;
  if (n < 0) return (int) n;

  touch(c);
  if (c->handlers->on_write != NULL) c->handlers->on_write(c, len, c->user);
  return 0;
}

static void deliver(struct tavi_conn *c, size_t len) {
  struct tavi_manager *m = c->src.manager;
  tavi__recvbuf_free(&c->in, m);
  m->rx_owner = &c->src;
  m->rx_ptr = m->rx;
  m->rx_len = len;
  m->callbacks++;
  if (c->handlers->on_read != NULL) c->handlers->on_read(c, c->user);
  m->rx_owner = NULL;
  if (m->rx_len > 0 && !c->src.is_closing)
    tavi__recvbuf_append(&c->in, m, m->rx_ptr, m->rx_len); /* without memory it is lost, as datagrams may be */
}

static void on_ready(struct tavi__source *s, unsigned events) {
  struct tavi_conn *c = tavi__conn_of(s);
  struct tavi_manager *m = s->manager;
  if (c->is_connecting) {
    tavi__connect_ready(c);
    return;
  }
  c->ready_turn = m->turn;
  c->ready_events = (uint8_t) events;
  if (events & TAVI__HUP && !(s->io.want & TAVI__IN)) tavi__sock_error(s->io.fd); /* taken, or it is told for ever */
  for (int i = 0; i < TAVI__DATAGRAMS_PER_TURN && s->io.want & TAVI__IN && !s->is_closing && !m->is_broken; i++) {
    struct tavi__sockaddr from;
    ssize_t n = tavi__sock_recv_from(s->io.fd, m->rx, TAVI__RX_BYTES, &from);
    if (n == TAVI__AGAIN) return;
    if (n < 0) {
      tavi__log(m, TAVI_LOG_DEBUG, "connection %llu: datagram: %s", (unsigned long long) s->id, tavi_err_text((int) n));
      continue;
    }
    tavi__sockaddr_to_peer(&from, &c->peer);
    touch(c);
    deliver(c, (size_t) n);
  }
}

/* Nothing is ever queued, so draining is closing. */
static bool on_flush(struct tavi__source *s) {
  if (tavi__conn_of(s)->is_draining) tavi__source_close(s);
  return false;
}

const struct tavi__source_ops tavi__udp_ops = {
    .kind = TAVI__KIND_CONN,
    .on_ready = on_ready,
    .on_flush = on_flush,
    .on_deadline = tavi__conn_on_deadline,
    .on_wakeup = tavi__conn_on_wakeup,
    .on_failed = tavi__conn_on_failed,
    .on_closed = tavi__conn_on_closed,
    .destroy = tavi__conn_destroy,
};

/* The bound datagram socket for a URL, or an error. */
static int open_socket(const struct tavi__endpoint *ep) {
  struct tavi__sockaddr a;
  bool is_udp = false;
  if (ep->kind == TAVI__EP_FD || ep->kind == TAVI__EP_SYSTEMD) {
    int fd = ep->kind == TAVI__EP_FD ? ep->fd : tavi__sock_from_systemd(ep->host[0] == 0 ? NULL : ep->host);
    if (fd >= 0) fd = tavi__sock_adopt(fd, &is_udp);
    return fd >= 0 && !is_udp ? TAVI_E_ADDRESS : fd;
  }
  if (ep->kind != TAVI__EP_HOST || !tavi__endpoint_bind_address(ep, &a)) return TAVI_E_ADDRESS;
  return tavi__sock_bind_udp(&a, 0);
}

int tavi_udp_listen(struct tavi_manager *m, const char *url, const struct tavi_conn_opts *opts,
                    const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  struct tavi__endpoint ep;
  struct tavi_conn *c;
  if (url == NULL || handlers == NULL) return TAVI_E_ARG;
  int err = tavi__endpoint_parse(url, "0", &ep);
  if (err < 0) return err;
  int fd = open_socket(&ep);
  if (fd < 0) return fd;

  struct tavi__conf *conf = tavi__conf_new(sizeof(*conf), &tavi__proto_raw, opts);
  err = conf == NULL ? TAVI_E_NOMEM : tavi__conn_new(m, conf, &tavi__udp_ops, fd, handlers, user, &c);
  tavi__conf_unref(conf);
  if (err < 0) {
    tavi__fd_close(fd);
    return err;
  }
  c->is_udp = true;
  c->is_v6 = tavi__sock_is_v6(fd);
  touch(c);
  tavi__conn_watch(c);
  if (ret_conn != NULL) *ret_conn = c;
  if (c->handlers->on_open != NULL) c->handlers->on_open(c, user);
  return 0;
}
