/* SPDX-License-Identifier: MIT
 *
 * The practical upper bound for a one-core WebSocket server: unmask and echo,
 * all answers to one receive leave in one send. On path /b a message goes to
 * every connection that was opened on /b, the sender included.
 *   floor_ws -p PORT
 */
#include "bench.h"
#include "ws_proto.h"

enum { MAXFD = 1 << 17, RBUF = 1 << 18 };

struct conn {
  struct buf in, out;
  bool open, upgraded, fan, want_out;
};

static struct conn conns[MAXFD];
static int members[MAXFD], n_members;
static uint8_t rbuf[RBUF];
static struct buf scratch;
static int ep;

static void drop(int fd) {
  struct conn *c = &conns[fd];
  if (c->fan)
    for (int i = 0; i < n_members; i++)
      if (members[i] == fd) members[i] = members[--n_members];
  free(c->in.p);
  free(c->out.p);
  memset(c, 0, sizeof(*c));
  close(fd);
}

static void arm(int fd, bool out) {
  struct conn *c = &conns[fd];
  if (c->want_out == out) return;
  struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.fd = fd};
  epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
  c->want_out = out;
}

/* A failed send is seen by the next receive, so it is not reported here */
static void put(int fd, const void *p, size_t n) {
  struct conn *c = &conns[fd];
  if (c->out.len == 0) {
    ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
    if (w < 0) w = 0;
    p = (const char *) p + w, n -= (size_t) w;
    if (n == 0) return;
  }
  buf_add(&c->out, p, n);
  arm(fd, true);
}

static size_t handshake(int fd, uint8_t *p, size_t n) {
  struct conn *c = &conns[fd];
  uint8_t *end = memmem(p, n, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  size_t len = (size_t) (end - p) + 4;
  *end = 0;
  const char *key = strcasestr((char *) p, "sec-websocket-key:");
  if (key == NULL) return 0;
  key += 18;
  while (*key == ' ') key++;
  char acc[29], text[256];
  ws_accept(key, acc);
  int k = snprintf(text, sizeof(text),
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acc);
  c->upgraded = true;
  c->fan = memcmp(p, "GET /b", 6) == 0;
  if (c->fan) members[n_members++] = fd;
  put(fd, text, (size_t) k);
  return len;
}

/* Consumes whole frames of p[0..n), returns how much was consumed */
static size_t frames(int fd, uint8_t *p, size_t n) {
  struct conn *c = &conns[fd];
  size_t used = 0;
  if (!c->upgraded) {
    used = handshake(fd, p, n);
    if (used == 0) return 0;
  }
  struct ws_frame f;
  while (ws_parse_head(p + used, n - used, &f) && n - used >= f.head + f.len) {
    uint8_t *data = p + used + f.head;
    buf_need(&scratch, f.len + 10);
    size_t at = scratch.len;
    scratch.len += ws_put_head(scratch.p + at, f.op, f.len, NULL);
    ws_xor(scratch.p + scratch.len, data, f.len, f.mask);
    scratch.len += f.len;
    used += f.head + f.len;
  }
  if (scratch.len > 0) {
    if (c->fan)
      for (int i = 0; i < n_members; i++) put(members[i], scratch.p, scratch.len);
    else
      put(fd, scratch.p, scratch.len);
    scratch.len = 0;
  }
  return used;
}

static void serve(int fd, uint32_t ev) {
  struct conn *c = &conns[fd];
  if (!c->open) return;
  if ((ev & EPOLLOUT) && c->out.len > 0) {
    ssize_t w = send(fd, c->out.p, c->out.len, MSG_NOSIGNAL);
    if (w > 0) buf_drop(&c->out, (size_t) w);
    if (c->out.len == 0) arm(fd, false);
  }
  if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t n = recv(fd, rbuf, sizeof(rbuf), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    drop(fd);
  } else if (c->in.len > 0) {
    buf_add(&c->in, rbuf, (size_t) n);
    buf_drop(&c->in, frames(fd, c->in.p, c->in.len));
  } else {
    size_t used = frames(fd, rbuf, (size_t) n);
    if (used < (size_t) n) buf_add(&c->in, rbuf + used, (size_t) n - used);
  }
}

int main(int argc, char **argv) {
  int port = 8000, o;
  while ((o = getopt(argc, argv, "p:")) != -1)
    if (o == 'p') port = atoi(optarg);
  raise_fd_limit();
  int ls = listen_on("127.0.0.1", port);
  ep = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = ls}, evs[512];
  epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    int k = epoll_wait(ep, evs, 512, -1);
    for (int i = 0; i < k; i++) {
      if (evs[i].data.fd != ls) {
        serve(evs[i].data.fd, evs[i].events);
        continue;
      }
      int fd;
      while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        set_nodelay(fd);
        conns[fd].open = true;
        struct epoll_event ce = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ce);
      }
    }
  }
}
