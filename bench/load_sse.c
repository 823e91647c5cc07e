/* SPDX-License-Identifier: MIT
 *
 * Load generator for server-sent events: subscribers that ask for GET /events and count what arrives, and one more
 * connection that asks for GET /publish, on which the server sends one event to all of them.
 *   load_sse -p PORT [-n SUBSCRIBERS] [-s EVENT_BYTES] [-d DEPTH] [-t SECONDS] [-N OPS] [-P SERVER_PID[,PID...]]
 *     -s  bytes of each event as text, without the chunk's framing: every event must have them
 *     -d  events in flight: the next one is asked for when all have got the oldest
 *     -N  stop after that many deliveries, if the time is not over
 * An operation is a delivery of one event to one subscriber. The last line of output is a JSON object.
 */
#include "bench.h"

enum { RBUF = 1 << 18, MAXDEPTH = 1024 };

/* Where a stream of chunks stands */
enum place { HEAD, SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF };

struct conn {
  int fd;
  enum place place;
  uint8_t match;   /* HEAD: how much of \r\n\r\n has been seen */
  char last;       /* DATA: the byte before, across chunks */
  size_t left;     /* SIZE: so far; DATA: bytes still to come */
  size_t event_at; /* bytes of the event that is arriving */
  uint64_t got;    /* events */
};

static struct conn *conns;
static long n_conns = 1000, depth = 1;
static size_t size = 64;
static int publisher;
static uint64_t errors, limit = UINT64_MAX;
static struct hist lat;
static uint64_t asked_at[MAXDEPTH], arrived[MAXDEPTH], published, complete;

/* An event ends with an empty line; returns how many ended in p[0..n) */
static unsigned consume_text(struct conn *c, const char *p, size_t n) {
  unsigned done = 0;
  for (size_t i = 0; i < n; i++) {
    c->event_at++;
    if (p[i] == '\n' && c->last == '\n') {
      if (c->event_at != size) errors++;
      c->event_at = 0;
      done++;
    }
    c->last = p[i];
  }
  return done;
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns how many events p[0..n) completed */
static unsigned consume(struct conn *c, const char *p, size_t n) {
  unsigned done = 0;
  for (const char *end = p + n; p < end;) {
    size_t k = 1;
    switch (c->place) {
      case HEAD:
        c->match = *p == "\r\n\r\n"[c->match] ? c->match + 1 : *p == '\r';
        if (c->match == 4) c->place = SIZE;
        break;
      case SIZE:
        if (*p == '\r') c->place = SIZE_LF;
        else if (hex(*p) < 0) errors++;
        else c->left = c->left * 16 + (size_t) hex(*p);
        break;
      case SIZE_LF:
        if (*p != '\n' || c->left == 0) errors++;
        c->place = DATA;
        break;
      case DATA:
        k = (size_t) (end - p) < c->left ? (size_t) (end - p) : c->left;
        done += consume_text(c, p, k);
        c->left -= k;
        if (c->left == 0) c->place = DATA_CR;
        break;
      case DATA_CR:
        if (*p != '\r') errors++;
        c->place = DATA_LF;
        break;
      case DATA_LF:
        if (*p != '\n') errors++;
        c->place = SIZE;
        break;
    }
    p += k;
  }
  return done;
}

/* The answer's head, byte by byte: the server may go on at once */
static void await_head(struct conn *c) {
  char byte, start[13] = "";
  size_t got = 0;
  struct timeval tv = {10, 0};
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
  while (c->place == HEAD) {
    if (recv(c->fd, &byte, 1, 0) != 1) die("subscribe");
    if (got < 12) start[got++] = byte;
    consume(c, &byte, 1);
  }
  if (strcmp(start, "HTTP/1.1 200") != 0) {
    fprintf(stderr, "subscribe: %s\n", start);
    exit(1);
  }
}

static void subscribe_all(int ep, int port) {
  static const char ask[] = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
  conns = xalloc((size_t) n_conns * sizeof(*conns));
  for (long i = 0; i < n_conns; i++) {
    struct conn *c = &conns[i];
    c->fd = connect_loopback(port, i);
    if (c->fd < 0 || !send_all(c->fd, ask, sizeof(ask) - 1)) die("connect");
    await_head(c);
    set_nonblock(c->fd);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
  }
  publisher = connect_loopback(port, n_conns);
  if (publisher < 0) die("connect");
  set_nonblock(publisher);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(ep, EPOLL_CTL_ADD, publisher, &e);
}

static void publish(uint64_t t) {
  static const char ask[] = "GET /publish HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  asked_at[published++ % (uint64_t) depth] = t;
  if (!send_all(publisher, ask, sizeof(ask) - 1)) die("send");
}

static void on_deliveries(struct conn *c, unsigned done, uint64_t t) {
  for (unsigned j = 0; j < done; j++) {
    uint64_t s = c->got++ % (uint64_t) depth;
    hist_add(&lat, t - asked_at[s]);
    if (++arrived[s] < (uint64_t) n_conns) continue;
    arrived[s] = 0;
    complete++;
    publish(t);
  }
}

static void run(int ep, double secs, const char *pids) {
  static char rbuf[RBUF];
  struct epoll_event evs[256];
  uint64_t ops = 0, lost = 0, srv0 = proc_cpu_ns_list(pids), own0 = cpu_ns();
  uint64_t t0 = now_ns(), last = t0, t = t0, stop = t0 + (uint64_t) (secs * 1e9);
  for (long i = 0; i < depth; i++) publish(t0);
  while (t < stop && ops < limit) {
    int k = epoll_wait(ep, evs, 256, 100);
    t = now_ns();
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      ssize_t n = recv(c == NULL ? publisher : c->fd, rbuf, sizeof(rbuf), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0) {
        fprintf(stderr, "server closed a connection\n");
        exit(1);
      }
      unsigned done = c == NULL ? 0 : consume(c, rbuf, (size_t) n);
      if (done == 0) continue;
      t = last = now_ns();
      ops += done;
      on_deliveries(c, done, t);
    }
    if (t - last > 2000000000u) {
      fprintf(stderr, "stalled: nothing came for 2 s\n");
      lost = (published - complete) * (uint64_t) n_conns;
      break;
    }
  }
  double took = (double) (t - t0) / 1e9;
  uint64_t srv = proc_cpu_ns_list(pids) - srv0, own = cpu_ns() - own0;
  printf("{\"ops\":%llu,\"rate\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":%llu,"
         "\"lost\":%llu,\"seconds\":%.3f,\"server_cpu_ns\":%llu,\"client_cpu_ns\":%llu}\n",
         (unsigned long long) ops, (double) ops / took, hist_us(&lat, 0.5), hist_us(&lat, 0.99),
         (unsigned long long) errors, (unsigned long long) lost, took,
         (unsigned long long) srv, (unsigned long long) own);
}

int main(int argc, char **argv) {
  int port = 8000, o;
  double secs = 3;
  const char *pids = NULL;
  while ((o = getopt(argc, argv, "p:n:s:d:t:N:P:")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 'n') n_conns = atol(optarg);
    else if (o == 's') size = strtoull(optarg, NULL, 10);
    else if (o == 'd') depth = atol(optarg);
    else if (o == 't') secs = atof(optarg);
    else if (o == 'N') limit = strtoull(optarg, NULL, 10);
    else if (o == 'P') pids = optarg;
    else return 2;
  }
  if (depth < 1 || depth > MAXDEPTH || n_conns < 1) return 2;
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  int ep = epoll_create1(EPOLL_CLOEXEC);
  subscribe_all(ep, port);
  run(ep, secs, pids);
  return errors != 0;
}
