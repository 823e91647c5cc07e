/* SPDX-License-Identifier: MIT
 *
 * Datagrams. One connection is one socket: bound, and serving all peers, or connected to one. Each datagram is an
 * on_read of its own; it lies in the loop's buffer during that, and the newest one is kept until the next if it was not
 * consumed. What is sent goes to the system at once: there is nothing to coalesce. Each datagram is a system call of
 * its
 * own: 64 at a time (recvmmsg, sendmmsg) were measured to cost the same, 415 ns each to receive and 2.4 us to send,
 * since entering the kernel is little of it.
 *
 * Errors that the network reports about earlier datagrams (ICMP "port unreachable") are not errors of the connection:
 * the peer may simply not be there yet. */
#include "tavi/udp.h"

#include "loop/log.h"
#include "net/conn.h"
#include "net/connect.h"
#include "net/endpoint.h"

static void touch(struct tavi_conn *c) {
  uint32_t idle_ms = c->conf->opts.idle_timeout_ms;
  if (idle_ms != 0) tavi__conn_read_deadline(c, tavi__manager_now(c->src.manager) + idle_ms);
}

/* to NULL: whom the socket is connected to. */
static int transmit(struct tavi_conn *c, const void *data, size_t len, const struct tavi__sockaddr *to) {
  ssize_t n = tavi__sock_send_to(c->src.io.fd, data, len, to);
  if (n == TAVI_E_REFUSED) n = tavi__sock_send_to(c->src.io.fd, data, len, to); /* an earlier one was */
  if (n == TAVI__AGAIN) return TAVI_E_LIMIT;
  if (n < 0) return (int) n;

  touch(c);
  if (c->handlers->on_write != NULL) c->handlers->on_write(c, len, c->user);
  return 0;
}

/* 0: it is UDP and has its socket. */
static int is_usable(const struct tavi_conn *c) {
  if (!c->is_udp) return TAVI_E_ARG;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  return c->src.io.fd < 0 ? TAVI_E_STATE : 0; /* the name is still being resolved */
}

int tavi__udp_send(struct tavi_conn *c, const void *data, size_t len) {
  struct tavi__sockaddr to;
  int err = is_usable(c);
  if (err < 0) return err;
  if (c->is_client) return transmit(c, data, len, NULL);
  if (c->peer.family == 0) return TAVI_E_ADDRESS; /* nobody has sent anything yet */

  tavi__peer_to_sockaddr(&c->peer, c->is_v6, &to);
  return transmit(c, data, len, &to);
}

int tavi_udp_send_to(struct tavi_conn *c, const struct tavi_addr *to, const void *data, size_t len) {
  struct tavi__sockaddr a;
  struct tavi__peer peer;
  int err = is_usable(c);
  if (c->is_client || to == NULL) return TAVI_E_ARG;
  if (err < 0) return err;
  if (to->is_unix || to->port == 0 || !tavi__sockaddr_ip(to->host, to->port, &a)) return TAVI_E_ADDRESS;

  tavi__sockaddr_to_peer(&a, &peer);
  if (peer.family == 6 && !c->is_v6) return TAVI_E_ADDRESS;
  tavi__peer_to_sockaddr(&peer, c->is_v6, &a); /* in the socket's own family */
  return transmit(c, data, len, &a);
}

/* ==== groups and everybody ==== */

/* NULL: 0, the system's choice. */
static int find_interface(const char *name, unsigned *ret_interface) {
  unsigned interface = name == NULL ? 0 : tavi__interface(name);
  if (name != NULL && interface == 0) return TAVI_E_NOT_FOUND;
  *ret_interface = interface;
  return 0;
}

static int change_membership(struct tavi_conn *c, const char *group, const char *interface_name, bool is_join) {
  struct tavi__sockaddr a;
  struct tavi__peer peer;
  unsigned interface = 0;
  int err = is_usable(c);
  if (err == 0) err = find_interface(interface_name, &interface);
  if (err < 0) return err;
  if (group == NULL || !tavi__sockaddr_ip(group, 0, &a) || !tavi__sockaddr_is_group(&a)) return TAVI_E_ADDRESS;

  tavi__sockaddr_to_peer(&a, &peer);
  if (peer.family == 6 && !c->is_v6) return TAVI_E_ADDRESS;
  tavi__peer_to_sockaddr(&peer, false, &a); /* a mapped one is an IPv4 group */
  if (interface_name == NULL) interface = peer.scope;
  return is_join ? tavi__sock_join(c->src.io.fd, &a, interface) : tavi__sock_leave(c->src.io.fd, &a, interface);
}

int tavi_udp_join(struct tavi_conn *c, const char *group, const char *interface) {
  return change_membership(c, group, interface, true);
}

int tavi_udp_leave(struct tavi_conn *c, const char *group, const char *interface) {
  return change_membership(c, group, interface, false);
}

int tavi_udp_set_multicast(struct tavi_conn *c, const char *interface_name, unsigned hops, bool loop) {
  unsigned interface = 0;
  int err = is_usable(c);
  if (err == 0 && hops > 255) err = TAVI_E_ARG;
  if (err == 0) err = find_interface(interface_name, &interface);
  return err < 0 ? err : tavi__sock_set_multicast(c->src.io.fd, c->is_v6, interface, hops, loop);
}

int tavi_udp_set_broadcast(struct tavi_conn *c, bool is_on) {
  int err = is_usable(c);
  return err < 0 ? err : tavi__sock_set_broadcast(c->src.io.fd, is_on);
}

/* ==== receiving ==== */

static void deliver(struct tavi_conn *c, size_t len) {
  struct tavi_manager *m = c->src.manager;
  tavi__recvbuf_free(&c->in, m);
  m->rx_owner = &c->src;
  m->rx_ptr = m->rx;
  m->rx_len = len;
  m->callbacks++;
  /* What the protocol has dropped is not told. (Without one, a datagram may be empty.) */
  if (c->proto->on_input != NULL) c->proto->on_input(c);
  bool is_told = c->proto->on_input == NULL || (m->rx_len > 0 && !c->src.is_closing);
  if (is_told && c->handlers->on_read != NULL) c->handlers->on_read(c, c->user);
  m->rx_owner = NULL;
  if (m->rx_len > 0 && !c->src.is_closing)
    tavi__recvbuf_append(&c->in, m, m->rx_ptr, m->rx_len); /* without memory it is lost, as datagrams may be */
}

static void on_ready(struct tavi__source *s, unsigned events) {
  struct tavi_conn *c = tavi__conn_of(s);
  struct tavi_manager *m = s->manager;
  if (c->is_connecting) {
    tavi__connect_ready(c, events);
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
static int open_socket(const struct tavi__endpoint *ep, bool reuse_port) {
  struct tavi__sockaddr a;
  bool is_udp = false;
  if (ep->kind == TAVI__EP_FD || ep->kind == TAVI__EP_SYSTEMD) {
    int fd = ep->kind == TAVI__EP_FD ? ep->fd : tavi__sock_from_systemd(ep->host[0] == 0 ? NULL : ep->host);
    if (fd >= 0) fd = tavi__sock_adopt(fd, &is_udp);
    return fd >= 0 && !is_udp ? TAVI_E_ADDRESS : fd;
  }
  if (ep->kind != TAVI__EP_HOST || !tavi__endpoint_bind_address(ep, &a)) return TAVI_E_ADDRESS;
  return tavi__sock_bind_udp(&a, reuse_port ? TAVI__SOCK_REUSE_PORT : 0);
}

int tavi_udp_listen(struct tavi_manager *m, const char *url, const struct tavi_listen_opts *opts,
                    const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  struct tavi__endpoint ep;
  struct tavi_conn *c;
  if (url == NULL || handlers == NULL) return TAVI_E_ARG;
  int err = tavi__endpoint_parse(url, "0", &ep);
  if (err < 0) return err;
  int fd = open_socket(&ep, opts != NULL && opts->reuse_port);
  if (fd < 0) return fd;

  struct tavi__conf *conf = tavi__conf_new(sizeof(*conf), &tavi__proto_raw, opts == NULL ? NULL : &opts->conn);
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
