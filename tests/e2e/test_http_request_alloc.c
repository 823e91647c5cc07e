/* SPDX-License-Identifier: MIT
 *
 * Requests made by the library when the n-th allocation fails, for every n: the call is refused, told once that it has
 * failed, or succeeds; what it took is released once; and the next one is served. And memory after very many requests. */
#include "failmalloc.h"

#include <limits.h>
#include <sys/mman.h>

#include "e2e/http_rig.h"

static int listening = -1;
static uint16_t port;

/* A server without an allocation of its own: any number of connections, each request by its target. */
enum { PEERS = 4 };
static struct {
  int fd;
  char in[70000];
  size_t len;
} peers[PEERS];

static const unsigned char gzip_hello[] = {0x1f, 0x8b, 8, 0,    0, 0,    0,    0,    0,    3, 0xcb, 0x48, 0xcd,
                                           0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0,    0,    0};

static void reply(int fd, const char *text, size_t len) {
  if (send(fd, text, len, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET) abort();
}

#define REPLY(fd, text) reply(fd, text, sizeof(text) - 1)

static void serve_one(int fd, const char *target) {
  if (strncmp(target, "/chunks ", 8) == 0) {
    REPLY(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: x\r\n\r\n");
  } else if (strncmp(target, "/gzip ", 6) == 0) {
    REPLY(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n\r\n");
    reply(fd, (const char *) gzip_hello, sizeof(gzip_hello));
  } else if (strncmp(target, "/away ", 6) == 0) {
    REPLY(fd, "HTTP/1.1 307 Away\r\nLocation: /parts\r\nContent-Length: 3\r\n\r\nbye");
  } else if (strncmp(target, "/parts ", 7) == 0) {
    REPLY(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    REPLY(fd, "llo");
  } else {
    REPLY(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  }
}

/* The length of the first request in there, 0 when it is not complete. */
static size_t request_len(const char *in, size_t len) {
  const char *end = memmem(in, len, "\r\n\r\n", 4), *field = memmem(in, len, "Content-Length: ", 16);
  if (end == NULL) return 0;
  size_t head = (size_t) (end + 4 - in), body = field != NULL && field < end ? strtoul(field + 16, NULL, 10) : 0;
  if (memmem(in, head, "chunked", 7) != NULL) {
    end = memmem(in + head, len - head, "0\r\n\r\n", 5);
    return end == NULL ? 0 : (size_t) (end + 5 - in);
  }
  return len >= head + body ? head + body : 0;
}

static void serve(void) {
  for (int i = 0; i < PEERS; i++) {
    if (peers[i].fd < 0) {
      peers[i].fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      peers[i].len = 0;
      int one = 1;
      if (peers[i].fd >= 0) setsockopt(peers[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    if (peers[i].fd < 0) continue;
    ssize_t n = recv(peers[i].fd, peers[i].in + peers[i].len, sizeof(peers[i].in) - peers[i].len, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      close(peers[i].fd);
      peers[i].fd = -1;
      continue;
    }
    if (n > 0) peers[i].len += (size_t) n;
    size_t used = request_len(peers[i].in, peers[i].len);
    if (used == 0) continue;
    serve_one(peers[i].fd, strchr(peers[i].in, ' ') + 1);
    peers[i].len -= used;
    memmove(peers[i].in, peers[i].in + used, peers[i].len);
  }
}

static void start(void) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof(a);
  rig_start();
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listening, (struct sockaddr *) &a, sizeof(a)) != 0 || listen(listening, 100) != 0) abort();
  getsockname(listening, (struct sockaddr *) &a, &len);
  port = ntohs(a.sin_port);
  nonblocking(listening);
  for (int i = 0; i < PEERS; i++) peers[i].fd = -1;
}

static void stop(void) {
  tavi_manager_free(rig.m);
  for (int i = 0; i < PEERS; i++)
    if (peers[i].fd >= 0) close(peers[i].fd);
  close(listening);
}

static unsigned done, released;
static int last_err;
static char body[64];
static size_t body_len;

static void take(const char *from, size_t len) {
  if (body_len + len > sizeof(body)) abort();
  if (len > 0) memcpy(body + body_len, from, len);
  body_len += len;
}

static void on_data(struct tavi_http_call *call, struct tavi_slice data, void *user) {
  (void) call, (void) user;
  take(data.ptr, data.len);
}

static void on_more(struct tavi_http_call *call, void *user) {
  (void) user;
  if (tavi_http_call_send(call, "some", 4) == 0) tavi_http_call_end(call);
}

static void on_done(struct tavi_http_call *call, const struct tavi_http_result *r, void *user) {
  (void) call, (void) user;
  done++;
  last_err = r->err;
  CHECK(r->text != NULL);
  if (r->msg != NULL) take(r->msg->body.ptr, r->msg->body.len);
}

static const struct tavi_http_call_handlers whole = {.on_more = on_more, .on_done = on_done};
static const struct tavi_http_call_handlers pieces = {.on_data = on_data, .on_more = on_more, .on_done = on_done};

static void release(void *arg) {
  (void) arg;
  released++;
}

enum kind { PLAIN, TAKEN, LARGE, STREAMED, FILED, PROXIED, KINDS };

static char large[50000];

/* Returns 0 when on_done has come, or the error of the call. */
static int exchange(const char *target, enum kind kind, bool in_pieces) {
  static const struct tavi_http_header header = {{"X-Own", 5}, {"value", 5}};
  struct tavi_http_request req;
  char url[100], proxy[64];
  snprintf(url, sizeof(url), "http://u:p@127.0.0.1:%u%s", port, target);
  snprintf(proxy, sizeof(proxy), "http://u:p@127.0.0.1:%u", port);
  tavi_http_request_init(&req, kind == PLAIN || kind == PROXIED ? "GET" : "PUT", kind == PROXIED ? "http://far.example/" : url);
  req.headers = &header;
  req.header_count = 1;
  req.decodes = true;
  req.total_timeout_ms = 20000;
  if (kind == TAKEN || kind == LARGE) req.body = (struct tavi_slice){large, kind == TAKEN ? 10 : sizeof(large)};
  if (kind == TAKEN) req.release = release;
  if (kind == STREAMED) req.streams_body = true;
  if (kind == PROXIED) req.proxy = proxy;
  if (kind == FILED) {
    req.body_fd = memfd_create("body", MFD_CLOEXEC);
    if (write(req.body_fd, "content", 7) != 7) abort();
    req.body_length = 7;
  }
  done = released = 0;
  body_len = 0;
  int err = tavi_http_request(rig.m, &req, in_pieces ? &pieces : &whole, NULL, NULL);
  if (err < 0) return err;
  uint64_t deadline = rig_now_ms() + RIG_DEADLINE_MS;
  while (done == 0 && rig_now_ms() < deadline) {
    tavi_manager_poll(rig.m, 0);
    serve();
  }
  return 0;
}

static void check_good(void) {
  CHECK_INT(last_err, 0);
  CHECK_BYTES(body, body_len, "hello", 5);
}

/* first: on a new manager, or on one with a kept connection. */
static void fail_each(const char *target, enum kind kind, bool in_pieces, bool first) {
  for (unsigned n = 1; n < 500; n++) {
    test_note("%s, kind %d, pieces %d, first %d, allocation %u", target, (int) kind, in_pieces, first, n);
    start();
    if (!first) CHECK_INT(exchange("/", PLAIN, false), 0);
    fail_begin(n);
    int err = exchange(target, kind, in_pieces);
    bool has_failed = fail_end();
    if (err < 0)
      CHECK_INT(err, TAVI_E_NOMEM);
    else if (CHECK_INT(done, 1) && last_err == 0)
      check_good();
    else
      CHECK_INT(last_err, TAVI_E_NOMEM);
    if (!has_failed) CHECK(err == 0 && last_err == 0);
    CHECK_INT(exchange("/parts", PLAIN, true), 0);
    CHECK_INT(done, 1);
    check_good();
    stop();
    if (!has_failed) return;
  }
  CHECK(!"an end");
}

TEST(every_allocation__of_every_kind_of_request) {
  for (int kind = 0; kind < KINDS; kind++) fail_each("/", (enum kind) kind, false, true);
}

TEST(every_allocation__of_every_kind_of_response) {
  static const char *const targets[] = {"/", "/chunks", "/gzip", "/away", "/parts"};
  for (int i = 0; i < 5; i++) {
    fail_each(targets[i], PLAIN, false, true);
    fail_each(targets[i], PLAIN, true, false);
    fail_each(targets[i], TAKEN, true, true);
  }
}

TEST(taken__is_released_once__also_by_a_call_that_is_refused) {
  for (unsigned n = 1; n < 30; n++) {
    start();
    fail_begin(n);
    exchange("/", TAKEN, false);
    fail_end();
    tavi_manager_poll(rig.m, 0);
    CHECK_INT(released, 1);
    stop();
  }
}

/* What is held after 100 requests is held after 5,000. */
TEST(memory__is_flat) {
  start();
  for (int i = 0; i < 100; i++) exchange("/chunks", LARGE, true);
  size_t before = tavi_manager_buffered(rig.m);
  fail_begin(UINT_MAX);
  for (int i = 0; i < 1000; i++) exchange("/", PLAIN, false);
  unsigned allocations = fail_count;
  fail_end();
  for (int i = 0; i < 4000; i++) exchange("/gzip", PLAIN, i & 1);
  CHECK_INT(tavi_manager_buffered(rig.m), before);
  CHECK(allocations <= 3 * 1000); /* the call, its URL, its credentials */
  struct tavi_http_client_stats stats;
  tavi_http_client_stats(rig.m, &stats);
  CHECK_INT(stats.conns_opened, 1);
  CHECK_INT(stats.calls, 0);
  stop();
}
