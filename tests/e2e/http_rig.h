/* SPDX-License-Identifier: MIT
 *
 * What the HTTP tests in C share: a real manager with a listener or a client, and peers that are plain sockets and
 * know nothing of the library. Both live on one thread: every wait for a peer runs turns of the manager, so a test
 * reads from top to bottom and nothing sleeps. All waits have a deadline and fail the test when it passes.
 *
 * The one rig holds counters of all callbacks, and pointers to functions that a test may set; without on_message a
 * request is answered with "METHOD target body". */
#ifndef TAVI_TESTS_E2E_HTTP_RIG_H
#define TAVI_TESTS_E2E_HTTP_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tavi.h"
#include "test.h"

#define SLICE(text) ((struct tavi_slice){(text), sizeof(text) - 1})
#define NOTHING ((struct tavi_slice){NULL, 0})
#define HEADER(name, value) ((struct tavi_http_header){SLICE(name), SLICE(value)})
#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define UNUSED __attribute__((unused)) static

enum { RIG_DEADLINE_MS = 20000 };

/* ==== the rig ==== */

struct rig {
  struct tavi_manager *m;
  uint16_t port;
  struct tavi_conn *conn; /* the newest one; NULL after its close */
  unsigned opened, closed, headers, messages, reads, errors, lows;
  int err;                /* of the newest on_error */
  int status;             /* of the newest message, for clients */
  size_t body_len;        /* of the newest message */
  char body[4096];        /* its beginning */
  char targets[16384];    /* of all requests, a space behind each */
  void (*on_headers)(struct tavi_conn *c, const struct tavi_http_msg *msg);
  void (*on_message)(struct tavi_conn *c, const struct tavi_http_msg *msg);
  void (*on_read)(struct tavi_conn *c);
  void (*on_low_water)(struct tavi_conn *c);
  void (*on_wakeup)(struct tavi_conn *c);
  void (*on_error)(struct tavi_conn *c);
  void (*on_close)(struct tavi_conn *c);
};

static struct rig rig;

UNUSED int reply_text(struct tavi_conn *c, int status, const char *text) {
  return tavi_http_reply(c, status, NULL, 0, (struct tavi_slice){text, strlen(text)});
}

/* "METHOD target body" */
UNUSED void reply_echo(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  size_t len = msg->method.len + msg->target.len + msg->body.len + 2;
  char *text = malloc(len);
  if (text == NULL) abort();
  memcpy(text, msg->method.ptr, msg->method.len);
  text[msg->method.len] = ' ';
  memcpy(text + msg->method.len + 1, msg->target.ptr, msg->target.len);
  text[msg->method.len + 1 + msg->target.len] = ' ';
  if (msg->body.len > 0) memcpy(text + len - msg->body.len, msg->body.ptr, msg->body.len);
  tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){text, len});
  free(text);
}

static void rig__on_open(struct tavi_conn *c, void *user) {
  (void) user;
  rig.opened++;
  rig.conn = c;
}

static void rig__on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void) user;
  rig.headers++;
  rig.status = msg->status;
  size_t at = strlen(rig.targets);
  if (at + msg->target.len + 2 < sizeof(rig.targets) && msg->target.len > 0) {
    memcpy(rig.targets + at, msg->target.ptr, msg->target.len);
    memcpy(rig.targets + at + msg->target.len, " ", 2);
  }
  if (rig.on_headers != NULL) rig.on_headers(c, msg);
}

static void rig__on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void) user;
  rig.messages++;
  rig.status = msg->status;
  rig.body_len = msg->body.len;
  size_t kept = msg->body.len < sizeof(rig.body) - 1 ? msg->body.len : sizeof(rig.body) - 1;
  if (kept > 0) memcpy(rig.body, msg->body.ptr, kept);
  rig.body[kept] = '\0';
  if (rig.on_message != NULL)
    rig.on_message(c, msg);
  else if (msg->status == 0)
    reply_echo(c, msg);
}

static void rig__on_read(struct tavi_conn *c, void *user) {
  (void) user;
  rig.reads++;
  if (rig.on_read != NULL) rig.on_read(c);
}

static void rig__on_low_water(struct tavi_conn *c, void *user) {
  (void) user;
  rig.lows++;
  if (rig.on_low_water != NULL) rig.on_low_water(c);
}

static void rig__on_wakeup(struct tavi_conn *c, struct tavi_slice data, void *user) {
  (void) user;
  (void) data;
  if (rig.on_wakeup != NULL) rig.on_wakeup(c);
}

static void rig__on_error(struct tavi_conn *c, int err, const char *text, void *user) {
  (void) user;
  (void) text;
  rig.errors++;
  rig.err = err;
  if (rig.on_error != NULL) rig.on_error(c);
}

static void rig__on_close(struct tavi_conn *c, void *user) {
  (void) user;
  rig.closed++;
  if (rig.on_close != NULL) rig.on_close(c);
  if (rig.conn == c) rig.conn = NULL;
}

static const struct tavi_http_handlers rig__handlers = {
    .conn = {.on_open = rig__on_open,
             .on_read = rig__on_read,
             .on_low_water = rig__on_low_water,
             .on_wakeup = rig__on_wakeup,
             .on_error = rig__on_error,
             .on_close = rig__on_close},
    .on_headers = rig__on_headers,
    .on_message = rig__on_message,
};

/* A manager of the back end that the environment asks for. */
UNUSED void rig_start(void) {
  struct tavi_manager_opts opts;
  const char *backend = getenv("TAVI_BACKEND");
  memset(&rig, 0, sizeof(rig));
  tavi_manager_opts_init(&opts);
  if (backend != NULL) opts.backend = strcmp(backend, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
  if (tavi_manager_new(&opts, &rig.m) != 0) abort();
}

/* ... with a listener; opts may be NULL. */
UNUSED void rig_serve(const struct tavi_http_opts *opts) {
  struct tavi_listener *l = NULL;
  struct tavi_addr addr;
  rig_start();
  if (tavi_http_listen(rig.m, "http://127.0.0.1:0", opts, &rig__handlers, NULL, &l) != 0) abort();
  if (tavi_listener_local_addr(l, &addr) != 0) abort();
  rig.port = addr.port;
}

UNUSED uint64_t rig_now_ms(void) { return tavi_millis(); }

/* Run turns until the condition holds. False, and the test fails, when that takes too long. */
#define UNTIL(condition)                                                                          \
  __extension__({                                                                                 \
    uint64_t until_deadline_ = rig_now_ms() + RIG_DEADLINE_MS;                                    \
    bool until_held_ = false;                                                                     \
    while (!(until_held_ = (condition)) && rig_now_ms() < until_deadline_) tavi_manager_poll(rig.m, 1); \
    test_check(__FILE__, __LINE__, "in time: " #condition, until_held_);                           \
  })

/* Run turns until nothing happens any more: for "and nothing else comes". */
UNUSED void rig_settle(void) {
  for (int quiet = 0; quiet < 5;) quiet = tavi_manager_poll(rig.m, 2) == 0 ? quiet + 1 : 0;
}

/* Each connection that opened has closed, once. */
UNUSED void rig_stop(void) {
  tavi_manager_free(rig.m);
  CHECK_INT(rig.closed, rig.opened);
  rig.m = NULL;
}

/* ==== peers ==== */

struct peer {
  int fd;
  bool at_eof, was_reset;
  char *bytes; /* received */
  size_t len, cap;
  size_t at;   /* behind the last response that was read */
  unsigned receives;
};

struct response {
  int status;
  struct tavi_slice head, body; /* in the peer's memory, until the next one is read */
  char *joined;                 /* the body when it was chunked; freed by the next peer_response() */
  char trailers[256];
};

UNUSED void nonblocking(int fd) {
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) abort();
}

/* rcvbuf: 0 for the system's. */
UNUSED struct peer peer_open_with(int rcvbuf) {
  struct peer p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(rig.port)};
  int one = 1;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (rcvbuf > 0) setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
  setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (connect(p.fd, (struct sockaddr *) &a, sizeof(a)) != 0) abort();
  nonblocking(p.fd);
  return p;
}

UNUSED struct peer peer_open(void) { return peer_open_with(0); }

UNUSED void peer_close(struct peer *p) {
  if (p->fd >= 0) close(p->fd);
  free(p->bytes);
  *p = (struct peer){.fd = -1};
}

/* Close with a reset. */
UNUSED void peer_reset(struct peer *p) {
  struct linger now = {1, 0};
  setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  peer_close(p);
}

/* Take what is there; true when the peer has seen the end. */
UNUSED bool peer_pump(struct peer *p) {
  while (!p->at_eof) {
    if (p->cap - p->len < 65536) {
      p->cap = p->cap * 2 + 65536;
      p->bytes = realloc(p->bytes, p->cap);
      if (p->bytes == NULL) abort();
    }
    ssize_t n = recv(p->fd, p->bytes + p->len, p->cap - p->len - 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    p->was_reset |= n < 0;
    if (n <= 0) {
      p->at_eof = true;
      break;
    }
    p->receives++;
    p->len += (size_t) n;
  }
  if (p->bytes != NULL) p->bytes[p->len] = '\0';
  return p->at_eof;
}

/* What can be sent of it; -1 when the connection is gone. Responses that arrive meanwhile are taken in. */
UNUSED ssize_t peer_try_send(struct peer *p, const char *data, size_t len) {
  ssize_t n = send(p->fd, data, len, MSG_NOSIGNAL);
  if (n < 0) n = errno == EAGAIN ? 0 : -1;
  return n;
}

UNUSED bool peer_send_bytes(struct peer *p, const char *data, size_t len) {
  uint64_t deadline = rig_now_ms() + RIG_DEADLINE_MS;
  while (len > 0 && rig_now_ms() < deadline) {
    ssize_t n = peer_try_send(p, data, len);
    if (n < 0) return false;
    data += n;
    len -= (size_t) n;
    if (len > 0) {
      tavi_manager_poll(rig.m, 1);
      peer_pump(p);
    }
  }
  return len == 0;
}

UNUSED bool peer_send(struct peer *p, const char *text) { return peer_send_bytes(p, text, strlen(text)); }

/* A turn after each byte. */
UNUSED void peer_send_slowly(struct peer *p, const char *data, size_t len) {
  for (size_t i = 0; i < len && peer_send_bytes(p, data + i, 1); i++) {
    tavi_manager_poll(rig.m, 1);
    tavi_manager_poll(rig.m, 0);
  }
}

UNUSED const char *find_header(const struct response *r, const char *name) {
  size_t len = strlen(name);
  const char *end = r->head.ptr + r->head.len;
  for (const char *line = r->head.ptr; line < end; line++) {
    if ((size_t) (end - line) > len + 1 && strncasecmp(line, name, len) == 0 && line[len] == ':') return line + len + 2;
    line = memchr(line, '\n', (size_t) (end - line));
    if (line == NULL) break;
  }
  return NULL;
}

UNUSED bool header_is(const struct response *r, const char *name, const char *value) {
  const char *found = find_header(r, name);
  return found != NULL && strncmp(found, value, strlen(value)) == 0 && found[strlen(value)] == '\r';
}

/* Join chunks. Returns the bytes used, 0 when more is needed, -1 when they are none. */
static ssize_t rig__join(const char *p, size_t len, struct response *r) {
  size_t at = 0, size = 0;
  free(r->joined);
  r->joined = malloc(len + 1);
  if (r->joined == NULL) abort();
  for (;;) {
    const char *nl = memchr(p + at, '\n', len - at);
    char *after;
    if (nl == NULL) return 0;
    unsigned long long n = strtoull(p + at, &after, 16);
    if (after == p + at || *after != '\r') return -1;
    at = (size_t) (nl + 1 - p);
    if (n == 0) break;
    if (len - at < n + 2) return 0;
    memcpy(r->joined + size, p + at, n);
    size += n;
    at += n;
    if (memcmp(p + at, "\r\n", 2) != 0) return -1;
    at += 2;
  }
  r->body = (struct tavi_slice){r->joined, size};
  const char *begin = p + at;
  for (;;) { /* trailers */
    const char *nl = memchr(p + at, '\n', len - at);
    if (nl == NULL) return 0;
    size_t line = (size_t) (nl + 1 - (p + at));
    at += line;
    if (line == 2) break;
  }
  size_t kept = (size_t) (p + at - begin) < sizeof(r->trailers) ? (size_t) (p + at - begin) : 0;
  memcpy(r->trailers, begin, kept);
  r->trailers[kept] = '\0';
  return (ssize_t) at;
}

/* One response from what was received. Returns 1, 0 when it is not complete, -1 when it is none. */
UNUSED int peer_parse(struct peer *p, struct response *r, bool is_head) {
  const char *start = p->bytes + p->at;
  size_t len = p->len - p->at;
  const char *end = len == 0 ? NULL : memmem(start, len, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  if (len < 13 || strncmp(start, "HTTP/1.1 ", 9) != 0) return -1;
  r->status = (int) strtol(start + 9, NULL, 10);
  r->head = (struct tavi_slice){start, (size_t) (end + 4 - start)};
  r->body = (struct tavi_slice){end + 4, 0};
  r->trailers[0] = '\0';
  size_t rest = len - r->head.len;
  const char *length = find_header(r, "Content-Length");
  bool is_chunked = find_header(r, "Transfer-Encoding") != NULL;
  if (is_chunked && length != NULL) return -1;
  if (is_head || r->status / 100 == 1 || r->status == 204 || r->status == 304) {
    p->at += r->head.len;
    return 1;
  }
  if (is_chunked) {
    ssize_t used = rig__join(end + 4, rest, r);
    if (used <= 0) return (int) used;
    p->at += r->head.len + (size_t) used;
    return 1;
  }
  if (length == NULL) { /* until the end */
    r->body.len = rest;
    if (p->at_eof) p->at = p->len;
    return p->at_eof;
  }
  size_t n = (size_t) strtoull(length, NULL, 10);
  if (rest < n) return 0;
  r->body.len = n;
  p->at += r->head.len + n;
  return 1;
}

UNUSED bool peer_response_to(struct peer *p, struct response *r, bool is_head, const char *file, int line) {
  uint64_t deadline = rig_now_ms() + RIG_DEADLINE_MS;
  int found = 0;
  for (bool is_late = false; found == 0 && !is_late;) {
    bool at_end = peer_pump(p);
    found = peer_parse(p, r, is_head);
    is_late = at_end || rig_now_ms() > deadline;
    if (found == 0 && !is_late) tavi_manager_poll(rig.m, 1);
  }
  if (found == 1) return true;
  if (test_fail_at(file, line)) {
    printf("no response; what came is ");
    test_print(p->bytes == NULL ? "" : p->bytes + p->at, p->len - p->at < 300 ? p->len - p->at : 300);
    printf("%s%s", p->at_eof ? ", then the end" : "", p->was_reset ? " (reset)" : "");
    test_fail_end();
  }
  *r = (struct response){.joined = r->joined};
  return false;
}

#define RESPONSE(p, r) peer_response_to((p), (r), false, __FILE__, __LINE__)
#define RESPONSE_TO_HEAD(p, r) peer_response_to((p), (r), true, __FILE__, __LINE__)

UNUSED void response_free(struct response *r) {
  free(r->joined);
  *r = (struct response){0};
}

/* One response with this status and body. */
#define EXPECT(p, wanted_status, wanted_body)         \
  do {                                                \
    struct response expect_r_ = {0};                  \
    if (RESPONSE((p), &expect_r_)) {                  \
      CHECK_INT(expect_r_.status, (wanted_status));   \
      CHECK_STR(expect_r_.body, (wanted_body));       \
    }                                                 \
    response_free(&expect_r_);                        \
  } while (0)

/* Nothing is left, and the connection ends, without a reset. */
#define EXPECT_END(p)                        \
  do {                                       \
    UNTIL(peer_pump(p));                     \
    CHECK(!(p)->was_reset);                  \
    CHECK_BYTES((p)->bytes + (p)->at, (p)->len - (p)->at, "", 0); \
  } while (0)

/* `count` copies of a text. Free it. */
UNUSED char *repeat(const char *text, size_t count, size_t *ret_len) {
  size_t len = strlen(text);
  char *all = malloc(len * count + 1);
  if (all == NULL) abort();
  for (size_t i = 0; i < count; i++) memcpy(all + i * len, text, len);
  all[len * count] = '\0';
  if (ret_len != NULL) *ret_len = len * count;
  return all;
}

#endif
