/* SPDX-License-Identifier: MIT
 *
 * What the end-to-end programs share: a manager with the back end that TAVI_BACKEND names, waiting for a condition with a
 * deadline, plain sockets as the other side, and a record of what happened to each connection.
 *
 * Connections are made with the table `e2e_handlers` and a `struct side` as user. Each connection of a side gets a
 * `struct peer` that counts its events; the side's hook, if any, is called with each of them. The rules that hold
 * for every connection are checked here, for all tests: on_open first, on_close last and once, nothing after a close,
 * nothing but on_close after an error. */
#ifndef TAVI_TESTS_E2E_E2E_H
#define TAVI_TESTS_E2E_E2E_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "tavi.h"
#include "test.h"

enum { DEADLINE_MS = 30000 }; /* for everything: reached only by what hangs */

/* ==== the manager ==== */

static struct tavi_manager *manager;
static struct tavi_manager_opts manager_opts; /* what set_up() uses; set up again by each use */

__attribute__((unused)) static struct tavi_manager_opts *opts_init(void) {
  const char *name = getenv("TAVI_BACKEND");
  tavi_manager_opts_init(&manager_opts);
  if (name != NULL) manager_opts.backend = strcmp(name, "poll") == 0 ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
  return &manager_opts;
}

__attribute__((unused)) static bool is_epoll(void) { return tavi_manager_backend(manager) == TAVI_BACKEND_EPOLL; }

/* A manager with the options of the last opts_init(). */
__attribute__((unused)) static void set_up_with_opts(void) {
  if (!CHECK_INT(tavi_manager_new(&manager_opts, &manager), 0)) exit(1);
}

__attribute__((unused)) static void set_up(void) {
  opts_init();
  set_up_with_opts();
}

__attribute__((unused)) static void tear_down(void) {
  tavi_manager_free(manager);
  manager = NULL;
}

/* Run the loop until the condition holds; a failed check when it does not in time. An expression, true when it held. */
#define RUN_UNTIL(condition)                                                                             \
  __extension__({                                                                                        \
    uint64_t run_until__end = tavi_millis() + DEADLINE_MS;                                               \
    bool run_until__held;                                                                                \
    while (!(run_until__held = (condition)) && tavi_millis() < run_until__end)                           \
      CHECK(tavi_manager_poll(manager, 5) >= 0);                                                         \
    test_check(__FILE__, __LINE__, "in time: " #condition, run_until__held);                             \
  })

/* Let everything happen that is about to happen: turns without waiting, until some in a row were quiet.
 * A loop that spins is a failed check. */
__attribute__((unused)) static void settle(void) {
  for (int turns = 0, quiet = 0; quiet < 5; turns++) {
    quiet = tavi_manager_poll(manager, 1) > 0 ? 0 : quiet + 1;
    if (!CHECK(turns < 5000)) return;
  }
}

/* ==== connections under observation ==== */

enum event { OPEN, RESOLVE, CONNECT, ACCEPT, READ, WRITE, LOW_WATER, WAKEUP, ERROR, CLOSE, EVENTS };

struct side;

struct peer {
  struct side *side;
  struct tavi_conn *c;  /* NULL after on_close has returned */
  uint64_t id;
  unsigned count[EVENTS];
  int err;              /* of on_error */
  char text[400];
  struct tavi_slice data; /* in WAKEUP */
  size_t sent;          /* sum of on_write */
  size_t received;      /* for the hook's own use */
  int number;           /* likewise */
  bool was_closed;      /* a hook has closed it: only on_close may follow */
};

struct side {
  void (*hook)(struct peer *p, enum event event);
  struct peer *peers[5000]; /* in the order of on_open */
  unsigned peer_count;
  unsigned count[EVENTS];
};

static void on_event(struct peer *p, enum event event) {
  CHECK(p->count[CLOSE] == 0);                             /* nothing after on_close */
  CHECK(event == OPEN || p->count[OPEN] == 1);             /* nothing before on_open */
  CHECK(event == CLOSE || p->count[ERROR] == 0);           /* after an error only the close */
  CHECK(event == CLOSE || !p->was_closed);                 /* after tavi_conn_close(), too */
  CHECK(event != ACCEPT || p->count[ACCEPT] == 0);
  CHECK(event != CONNECT || p->count[CONNECT] == 0);
  p->count[event]++;
  p->side->count[event]++;
  if (p->side->hook != NULL) p->side->hook(p, event);
}

static void e2e__on_open(struct tavi_conn *c, void *user) {
  struct side *side = user;
  struct peer *p = calloc(1, sizeof *p);
  if (p == NULL || side->peer_count == 5000) abort();
  p->side = side;
  p->c = c;
  p->id = tavi_conn_id(c);
  p->number = (int)side->peer_count;
  side->peers[side->peer_count++] = p;
  tavi_conn_set_user(c, p);
  on_event(p, OPEN);
}

static void e2e__on_resolve(struct tavi_conn *c, void *user) { (void)c, on_event(user, RESOLVE); }
static void e2e__on_connect(struct tavi_conn *c, void *user) { (void)c, on_event(user, CONNECT); }
static void e2e__on_accept(struct tavi_conn *c, void *user) { (void)c, on_event(user, ACCEPT); }
static void e2e__on_read(struct tavi_conn *c, void *user) { (void)c, on_event(user, READ); }
static void e2e__on_low_water(struct tavi_conn *c, void *user) { (void)c, on_event(user, LOW_WATER); }

static void e2e__on_write(struct tavi_conn *c, size_t sent, void *user) {
  struct peer *p = user;
  CHECK(sent > 0 || tavi_conn_flags(c) & TAVI_CONN_UDP); /* an empty datagram is one */
  p->sent += sent;
  on_event(p, WRITE);
}

static void e2e__on_wakeup(struct tavi_conn *c, struct tavi_slice data, void *user) {
  struct peer *p = user;
  (void)c;
  p->data = data;
  on_event(p, WAKEUP);
}

static void e2e__on_error(struct tavi_conn *c, int err, const char *text, void *user) {
  struct peer *p = user;
  (void)c;
  p->err = err;
  snprintf(p->text, sizeof p->text, "%s", text);
  on_event(p, ERROR);
}

static void e2e__on_close(struct tavi_conn *c, void *user) {
  struct peer *p = user;
  CHECK(p->c == c);
  on_event(p, CLOSE);
  p->c = NULL;
}

__attribute__((unused)) static const struct tavi_conn_handlers e2e_handlers = {
    .on_open = e2e__on_open,
    .on_resolve = e2e__on_resolve,
    .on_connect = e2e__on_connect,
    .on_accept = e2e__on_accept,
    .on_read = e2e__on_read,
    .on_write = e2e__on_write,
    .on_low_water = e2e__on_low_water,
    .on_wakeup = e2e__on_wakeup,
    .on_error = e2e__on_error,
    .on_close = e2e__on_close,
};

/* Close from within a hook, so that on_event() sees that nothing but on_close follows. */
__attribute__((unused)) static void close_peer(struct peer *p) {
  p->was_closed = true;
  tavi_conn_close(p->c);
}

/* Forget all. Each connection has been closed exactly once. */
__attribute__((unused)) static void side_free(struct side *side) {
  for (unsigned i = 0; i < side->peer_count; i++) {
    CHECK_INT(side->peers[i]->count[CLOSE], 1);
    free(side->peers[i]);
  }
  memset(side, 0, sizeof *side);
}

/* ==== opening ==== */

__attribute__((unused)) static uint16_t port_of(const struct tavi_listener *l) {
  struct tavi_addr a;
  CHECK_INT(tavi_listener_local_addr(l, &a), 0);
  return a.port;
}

static char e2e_url[128];

__attribute__((unused)) static const char *url_of(const char *scheme, uint16_t port) {
  snprintf(e2e_url, sizeof e2e_url, "%s://127.0.0.1:%u", scheme, port);
  return e2e_url;
}

/* Listen on a free port of 127.0.0.1. opts may be NULL. */
__attribute__((unused)) static struct tavi_listener *listen_on_any(const struct tavi_listen_opts *opts, struct side *side) {
  struct tavi_listener *l = NULL;
  CHECK_INT(tavi_listen(manager, "tcp://127.0.0.1:0", opts, &e2e_handlers, side, &l), 0);
  if (l == NULL) exit(1);
  return l;
}

__attribute__((unused)) static struct peer *connect_to(const char *url, const struct tavi_conn_opts *opts, struct side *side) {
  struct tavi_conn *c = NULL;
  CHECK_INT(tavi_connect(manager, url, opts, &e2e_handlers, side, &c), 0);
  if (c == NULL) exit(1);
  return tavi_conn_user(c);
}

/* ==== plain sockets as the other side (never blocking: the loop runs on the same thread) ==== */

__attribute__((unused)) static int raw_connect(uint16_t port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), bytes = 256 * 1024;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* or the system makes room for all that a test sends */
  CHECK_INT(connect(fd, (struct sockaddr *)(void *)&a, sizeof a), 0); /* the backlog takes it */
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

/* A plain listening socket; *ret_port is where. */
__attribute__((unused)) static int raw_listen(int backlog, uint16_t *ret_port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK_INT(bind(fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
  CHECK_INT(listen(fd, backlog), 0);
  CHECK_INT(getsockname(fd, (struct sockaddr *)(void *)&a, &len), 0);
  *ret_port = ntohs(a.sin_port);
  return fd;
}

__attribute__((unused)) static int raw_accept(int listening) {
  int fd = -1;
  RUN_UNTIL((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
  return fd;
}

/* A port on which nobody listens. */
__attribute__((unused)) static uint16_t dead_port(void) {
  uint16_t port;
  close(raw_listen(1, &port));
  return port;
}

__attribute__((unused)) static void raw_send(int fd, const char *data, size_t len) {
  size_t done = 0;
  uint64_t end_ms = tavi_millis() + DEADLINE_MS;
  while (done < len && tavi_millis() < end_ms) {
    ssize_t n = send(fd, data + done, len - done, MSG_NOSIGNAL);
    if (n > 0) done += (size_t)n;
    else if (n < 0 && errno != EAGAIN) break;
    else tavi_manager_poll(manager, 1);
  }
  CHECK_INT(done, len);
}

/* Receive until there are `len` bytes. Returns how many there were before the end, an error, or the deadline. */
__attribute__((unused)) static size_t raw_recv(int fd, char *buf, size_t len) {
  size_t done = 0;
  uint64_t end_ms = tavi_millis() + DEADLINE_MS;
  while (done < len && tavi_millis() < end_ms) {
    ssize_t n = recv(fd, buf + done, len - done, 0);
    if (n > 0) done += (size_t)n;
    else if (n == 0 || errno != EAGAIN) break;
    else tavi_manager_poll(manager, 1);
  }
  return done;
}

/* Receive and drop until the end. Returns 0 for an orderly end, otherwise errno (ETIME: none came). */
__attribute__((unused)) static int raw_recv_end(int fd, size_t *ret_bytes) {
  static char buf[65536];
  size_t bytes = 0;
  uint64_t end_ms = tavi_millis() + DEADLINE_MS;
  int result = ETIME;
  while (tavi_millis() < end_ms) {
    ssize_t n = recv(fd, buf, sizeof buf, 0);
    if (n > 0) {
      bytes += (size_t)n;
    } else if (n == 0 || errno != EAGAIN) {
      result = n == 0 ? 0 : errno;
      break;
    } else {
      tavi_manager_poll(manager, 1);
    }
  }
  if (ret_bytes != NULL) *ret_bytes = bytes;
  return result;
}

/* Close with a reset instead of an end. */
__attribute__((unused)) static void raw_reset(int fd) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

/* ==== the process ==== */

__attribute__((unused)) static unsigned open_descriptors(void) {
  unsigned count = 0;
  DIR *dir = opendir("/proc/self/fd");
  if (dir == NULL) return 0;
  for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) count += e->d_name[0] != '.';
  closedir(dir);
  return count - 1; /* the directory itself */
}

#endif
