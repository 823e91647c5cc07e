/* SPDX-License-Identifier: MIT
 *
 * The practical upper bound for a one-core server of server-sent events: GET /events begins a stream, any other
 * request sends one event to every stream, with one send for each, from bytes prepared beforehand. It looks for
 * "\r\n\r\n" only.
 *   floor_sse -p PORT [-s EVENT_BYTES]
 *     -s  bytes of an event with its framing as text ("data: ...", two line feeds), without the chunk's
 */
#include "bench.h"

enum { MAXFD = 1 << 17, RBUF = 1 << 16 };

struct conn {
  uint8_t match; /* how much of \r\n\r\n has been seen */
  char path;     /* the first letter of the request's path */
  bool want_out;
  struct buf out; /* what a full socket has left */
};

static struct conn conns[MAXFD];
static int members[MAXFD], n_members;
static char rbuf[RBUF];
static struct buf event; /* as a chunk */
static int ep;

static void make_event(size_t size) {
  char head[32];
  buf_add(&event, head, (size_t) snprintf(head, sizeof(head), "%zx\r\ndata: ", size));
  for (size_t i = 8; i < size; i++) buf_add(&event, "x", 1);
  buf_add(&event, "\n\n\r\n", 4);
}

static void drop(int fd) {
  for (int i = 0; i < n_members; i++)
    if (members[i] == fd) members[i] = members[--n_members];
  free(conns[fd].out.p);
  memset(&conns[fd], 0, sizeof(conns[fd]));
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

static void answer(int fd) {
  static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
  static const char done[] = "HTTP/1.1 204 No Content\r\n\r\n";
  if (conns[fd].path == 'e') {
    members[n_members++] = fd;
    put(fd, stream, sizeof(stream) - 1);
    return;
  }
  for (int i = 0; i < n_members; i++) put(members[i], event.p, event.len);
  put(fd, done, sizeof(done) - 1);
}

static void serve(int fd, uint32_t ev) {
  struct conn *c = &conns[fd];
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
    return;
  }
  if (c->match == 0 && n > 5) c->path = rbuf[5]; /* "GET /e..." */
  for (const char *p = rbuf; p < rbuf + n; p++) {
    c->match = *p == "\r\n\r\n"[c->match] ? c->match + 1 : *p == '\r';
    if (c->match == 4) c->match = 0, answer(fd);
  }
}

int main(int argc, char **argv) {
  int port = 8000, o;
  size_t size = 64;
  while ((o = getopt(argc, argv, "p:s:")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 's') size = strtoull(optarg, NULL, 10);
    else return 2;
  }
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  make_event(size);
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
        if (fd >= MAXFD) {
          close(fd);
          continue;
        }
        set_nodelay(fd);
        struct epoll_event ce = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ce);
      }
    }
  }
}
