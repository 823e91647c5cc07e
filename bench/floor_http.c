/* SPDX-License-Identifier: MIT
 *
 * The practical upper bound for a one-core epoll HTTP server: it looks for
 * "\r\n\r\n" only, and answers with bytes prepared before the first request.
 *
 *   floor_http -p PORT [-c] [-s BODY_BYTES] [-f FILE]
 *     -c  answer "Connection: close" and close after each response; accepts only
 *         once the request is there, and serves it before any epoll_ctl
 *     -s  body of that many bytes from memory, instead of "Hello, World!"
 *     -f  body is FILE, sent with sendfile(2)
 */
#include <sys/sendfile.h>

#include "bench.h"

enum { BATCH = 256, MAXFD = 1 << 17, RBUF = 1 << 16 };

struct conn {
  uint8_t match;     /* how much of \r\n\r\n has been seen */
  bool want_out;     /* EPOLLOUT is armed */
  uint32_t owed;     /* responses asked for and not yet begun */
  size_t left, off;  /* the response being written */
};

static struct conn conns[MAXFD];
static char rbuf[RBUF];
static char *resp;        /* BATCH copies in memory mode, one header otherwise */
static size_t resp_len;   /* bytes of one response in `resp` */
static size_t resp_copies = 1;
static int file_fd = -1;
static size_t file_len;
static bool closing;
static int ep;

/* How many header blocks end in p[0..n) */
static unsigned count_requests(struct conn *c, const char *p, size_t n) {
  unsigned found = 0;
  const char *end = p + n;
  while (p < end) {
    if (c->match == 0) { /* the common way: jump to the next \r */
      p = memchr(p, '\r', (size_t) (end - p));
      if (p == NULL) break;
      p++, c->match = 1;
    } else if (*p == "\r\n\r\n"[c->match]) {
      p++;
      if (++c->match == 4) c->match = 0, found++;
    } else {
      c->match = 0;
    }
  }
  return found;
}

static void arm(int fd, struct conn *c, bool out) {
  if (c->want_out == out) return;
  struct epoll_event e = {.events = out ? EPOLLOUT : EPOLLIN, .data.fd = fd};
  epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
  c->want_out = out;
}

/* 0: all written, 1: socket full, -1: gone */
static int flush_out(int fd, struct conn *c) {
  for (;;) {
    if (c->left == 0) {
      if (c->owed == 0) return 0;
      size_t k = c->owed < resp_copies ? c->owed : resp_copies;
      c->owed -= (uint32_t) k;
      c->left = file_fd >= 0 ? resp_len + file_len : resp_len * k;
      c->off = 0;
    }
    ssize_t w;
    if (file_fd < 0) {
      w = send(fd, resp + c->off, c->left, MSG_NOSIGNAL);
    } else if (c->off < resp_len) {
      w = send(fd, resp + c->off, resp_len - c->off, MSG_NOSIGNAL | MSG_MORE);
    } else {
      off_t at = (off_t) (c->off - resp_len);
      w = sendfile(fd, file_fd, &at, c->left);
    }
    if (w < 0) return errno == EAGAIN ? 1 : -1;
    c->off += (size_t) w;
    c->left -= (size_t) w;
  }
}

/* Returns false once the connection is closed */
static bool serve(int fd) {
  struct conn *c = &conns[fd];
  if (!c->want_out) {
    ssize_t n = recv(fd, rbuf, sizeof(rbuf), 0);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) goto gone;
    c->owed += count_requests(c, rbuf, (size_t) n);
    if (c->owed == 0) return true;
  }
  int r = flush_out(fd, c);
  if (r < 0 || (r == 0 && closing)) goto gone;
  arm(fd, c, r == 1);
  return true;
gone:
  close(fd);
  return false;
}

/* Prepare `resp`: the head, and the body unless it is a file */
static void make_response(size_t body, const char *file) {
  const char *hello = "Hello, World!";
  size_t n = body ? body : strlen(hello);
  if (file) {
    struct stat st;
    file_fd = open(file, O_RDONLY);
    if (file_fd < 0 || fstat(file_fd, &st) != 0) die(file);
    n = file_len = (size_t) st.st_size;
  }
  char head[256];
  size_t hl = (size_t) snprintf(head, sizeof(head),
                                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                "%sContent-Length: %zu\r\n\r\n",
                                closing ? "Connection: close\r\n" : "", n);
  resp_len = hl + (file ? 0 : n);
  if (!file && !closing && resp_len < 4096) resp_copies = BATCH;
  resp = xalloc(resp_len * resp_copies);
  for (size_t i = 0; i < resp_copies; i++) {
    char *at = resp + i * resp_len;
    memcpy(at, head, hl);
    if (file) continue;
    if (body) memset(at + hl, 'x', n);
    else memcpy(at + hl, hello, n);
  }
}

static void accept_all(int ls) {
  int fd;
  while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    if (fd >= MAXFD) {
      close(fd);
      continue;
    }
    memset(&conns[fd], 0, sizeof(conns[fd]));
    if (closing && !serve(fd)) continue;
    if (!closing) set_nodelay(fd);
    struct epoll_event e = {.events = conns[fd].want_out ? EPOLLOUT : EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
}

int main(int argc, char **argv) {
  int port = 8000, o;
  size_t body = 0;
  const char *file = NULL;
  while ((o = getopt(argc, argv, "p:cs:f:")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 'c') closing = true;
    else if (o == 's') body = strtoull(optarg, NULL, 10);
    else if (o == 'f') file = optarg;
    else return 2;
  }
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  make_response(body, file);

  int ls = listen_on("127.0.0.1", port), defer = 1;
  if (closing) setsockopt(ls, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof(defer));
  ep = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = ls}, evs[512];
  epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    int k = epoll_wait(ep, evs, 512, -1);
    for (int i = 0; i < k; i++) {
      if (evs[i].data.fd == ls) accept_all(ls);
      else serve(evs[i].data.fd);
    }
  }
}
