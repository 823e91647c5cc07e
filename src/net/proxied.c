/* SPDX-License-Identifier: MIT
 *
 * See proxied.h.
 *
 * Until the header is there the connection has another table of source operations, so nothing of what connections do
 * can happen to it: it is in no list of ids, has no callbacks, and its protocol has not begun. The header is looked at
 * while it still is in the socket and then taken from there to the byte; whoever reads next (today the stream, one day
 * TLS) finds the connection as if there had been no header. A header that comes in pieces is kept in c->in, where it is
 * bounded by its own length (wire/proxy.h) and by time.
 *
 * The price is a second system call per header. Reading too much and handing the rest on would save it, and every
 * reader would have to know that input may lie there before its first read. */
#include "net/proxied.h"

#include "loop/log.h"
#include "net/conn.h"
#include "net/trust.h"
#include "wire/proxy.h"

static void refuse(struct tavi_conn *c, enum tavi_log_level level, const char *why) {
  struct tavi_addr proxy;
  tavi__peer_text(&c->peer, &proxy);
  tavi__log(c->src.manager, level, "connection %llu from the proxy %s closes: %s", (unsigned long long) c->src.id,
            proxy.is_unix ? "on a Unix socket" : proxy.host, why);
  tavi__source_close(&c->src);
}

/* The header is complete and gone from the socket. */
static void begin(struct tavi_conn *c, const struct tavi__proxy_client *client) {
  tavi__recvbuf_free(&c->in, c->src.manager);
  if (tavi_manager_listener(c->src.manager, c->conf->listener_id) == NULL) { /* who would be told may be gone as well */
    tavi__source_close(&c->src);
    return;
  }
  if (client->family != 0) tavi__peer_of_ip(client->family, client->ip, client->port, &c->peer);
  c->src.ops = &tavi__stream_ops;
  tavi__conn_accepted(c);
}

/* Take n bytes off the socket that were seen there. False when they are not. */
static bool take(struct tavi_conn *c, char *to, size_t n) {
  return tavi__sock_recv(c->src.io.fd, to, n) == (ssize_t) n;
}

/* `seen` bytes lie behind what c->in holds, and still in the socket. */
static void look(struct tavi_conn *c, char *behind, size_t seen) {
  struct tavi__proxy_client client;
  size_t kept = c->in->len, used = kept;
  int status = tavi__proxy_read(behind - kept, kept + seen, &used, &client);
  if (status < 0)
    refuse(c, TAVI_LOG_INFO, "no good PROXY header");
  else if (!take(c, behind, status == TAVI_WIRE_EVENT ? used - kept : seen))
    refuse(c, TAVI_LOG_INFO, "its PROXY header was read by somebody else");
  else if (status == TAVI_WIRE_EVENT)
    begin(c, &client);
  else
    c->in->len += seen;
}

static void read_header(struct tavi_conn *c) {
  int err = tavi__recvbuf_reserve(&c->in, c->src.manager, TAVI__RECV_STEP);
  if (err < 0) {
    refuse(c, TAVI_LOG_ERROR, tavi_err_text(err));
    return;
  }
  char *behind = c->in->bytes + c->in->start + c->in->len;
  ssize_t n = tavi__sock_peek(c->src.io.fd, behind, c->in->cap - c->in->start - c->in->len);
  if (n > 0)
    look(c, behind, (size_t) n);
  else if (n != TAVI__AGAIN) /* health checks come and go like this */
    refuse(c, c->in->len > 0 ? TAVI_LOG_INFO : TAVI_LOG_DEBUG, "it ended before its PROXY header");
}

/* ==== the source ==== */

static void on_ready(struct tavi__source *s, unsigned events) {
  (void) events;
  read_header(tavi__conn_of(s));
}

static bool on_flush(struct tavi__source *s) {
  (void) s;
  return false;
}

static void on_deadline(struct tavi__source *s) { refuse(tavi__conn_of(s), TAVI_LOG_INFO, "no PROXY header in time"); }

static void on_wakeup(struct tavi__source *s, struct tavi_slice data) { (void) s, (void) data; }

static void on_failed(struct tavi__source *s, int err) {
  (void) s;
  (void) err; /* logged by the loop, which closes */
}

static void on_closed(struct tavi__source *s) {
  struct tavi_conn *c = tavi__conn_of(s);
  tavi__fd_close(s->io.fd);
  s->io.fd = -1;
  tavi__recvbuf_free(&c->in, s->manager);
}

static const struct tavi__source_ops proxied_ops = {
    .kind = TAVI__KIND_UNTOLD,
    .on_ready = on_ready,
    .on_flush = on_flush,
    .on_deadline = on_deadline,
    .on_wakeup = on_wakeup,
    .on_failed = on_failed,
    .on_closed = on_closed,
    .destroy = tavi__conn_destroy,
};

void tavi__proxied_start(struct tavi_conn *c) {
  c->src.ops = &proxied_ops;
  tavi__source_want(&c->src, TAVI__IN);
  tavi__source_deadline(&c->src, c->src.manager->now_ms + TAVI__PROXY_MS);
  read_header(c); /* it is mostly there */
}
