/* SPDX-License-Identifier: MIT
 *
 * The practical upper bound for HTTPS on one core with OpenSSL: one epoll loop,
 * read-ahead, no session tickets, answers prepared before the first request.
 *   floor_https -p PORT -C CERT.pem -K KEY.pem [-c]
 *     -c  answer "Connection: close" and close after each response
 */
#include <openssl/ssl.h>

#include "bench.h"

enum { MAXFD = 1 << 17, BATCH = 64 };

struct conn {
  SSL *ssl;
  uint8_t match;
};

static struct conn conns[MAXFD];
static char *resp; /* BATCH copies of one response */
static size_t resp_len;
static bool closing;

static void drop(int fd) {
  if (conns[fd].ssl) SSL_free(conns[fd].ssl);
  conns[fd].ssl = NULL;
  close(fd);
}

static unsigned count_requests(struct conn *c, const char *p, size_t n) {
  unsigned found = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] == "\r\n\r\n"[c->match]) {
      if (++c->match == 4) c->match = 0, found++;
    } else {
      c->match = p[i] == '\r';
    }
  }
  return found;
}

static void make_response(void) {
  char one[256];
  resp_len = (size_t) snprintf(one, sizeof(one),
                               "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%s"
                               "Content-Length: 13\r\n\r\nHello, World!",
                               closing ? "Connection: close\r\n" : "");
  resp = xalloc(resp_len * BATCH);
  for (size_t i = 0; i < BATCH; i++) memcpy(resp + i * resp_len, one, resp_len);
}

static SSL_CTX *make_context(const char *cert, const char *key) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
      SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
    fprintf(stderr, "certificate or key not usable\n");
    exit(1);
  }
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  return ctx;
}

static void accept_all(int ep, int ls, SSL_CTX *ctx) {
  int fd;
  while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    set_nodelay(fd);
    conns[fd].match = 0;
    conns[fd].ssl = SSL_new(ctx);
    SSL_set_fd(conns[fd].ssl, fd);
    SSL_set_accept_state(conns[fd].ssl);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
}

static void serve(int fd) {
  static char rbuf[1 << 16];
  struct conn *c = &conns[fd];
  do {
    int n = SSL_read(c->ssl, rbuf, sizeof(rbuf));
    if (n <= 0) {
      if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) drop(fd);
      return;
    }
    unsigned found = count_requests(c, rbuf, (size_t) n);
    bool answered = found > 0;
    while (found > 0) { /* small answers: the socket buffer takes them */
      unsigned b = found < BATCH ? found : BATCH;
      if (SSL_write(c->ssl, resp, (int) (resp_len * b)) <= 0) break;
      found -= b;
    }
    if (found > 0 || (closing && answered)) {
      SSL_shutdown(c->ssl);
      drop(fd);
      return;
    }
  } while (SSL_has_pending(c->ssl));
}

int main(int argc, char **argv) {
  int port = 8443, o;
  const char *cert = "cert.pem", *key = "key.pem";
  while ((o = getopt(argc, argv, "p:C:K:c")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 'C') cert = optarg;
    else if (o == 'K') key = optarg;
    else if (o == 'c') closing = true;
    else return 2;
  }
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  make_response();
  SSL_CTX *ctx = make_context(cert, key);
  int ls = listen_on("127.0.0.1", port), ep = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = ls}, evs[512];
  epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    int k = epoll_wait(ep, evs, 512, -1);
    for (int i = 0; i < k; i++) {
      if (evs[i].data.fd == ls) accept_all(ep, ls, ctx);
      else serve(evs[i].data.fd);
    }
  }
}
