/* SPDX-License-Identifier: MIT
 *
 * WebSocket load generator.
 *   load_ws -p PORT [-u PATH] [-n CONNS] [-s SIZE] [-d DEPTH] [-t SECONDS]
 *           [-m echo|fanout] [-b] [-N OPS] [-P SERVER_PID[,PID...]]
 *   echo    every connection keeps DEPTH messages in flight; each echo must
 *           have the opcode, length and payload that were sent
 *   fanout  connection 0 publishes, all CONNS connections (the publisher too)
 *           must get each message; DEPTH messages in flight
 *   -b      binary messages instead of text
 *   -N      stop after that many messages received, if the time is not over
 * The last line of output is a JSON object.
 */
#include "bench.h"
#include "ws_proto.h"

enum { RBUF = 1 << 18, MAXDEPTH = 1024 };

struct conn {
  int fd;
  uint8_t head[10]; /* a frame header in the making */
  uint8_t head_len;
  bool more, fin;   /* inside a fragmented message; last fragment */
  size_t left, at;  /* payload of the frame still to come, offset in the message */
  uint64_t got;     /* messages received */
  uint64_t *sent_at;
};

static struct conn *conns;
static long n_conns = 1, depth = 1;
static size_t size = 20;
static uint8_t *payload, *frames; /* frames: `depth` copies of one masked frame */
static size_t frame_len;
static uint8_t opcode = 1;
static uint64_t errors, limit = UINT64_MAX;
static struct hist lat;

/* fanout: when the message in each slot was published and how many have got it */
static bool fan;
static uint64_t pub_at[MAXDEPTH], arrived[MAXDEPTH], published, complete;

static bool upgrade(int fd, const char *path, int port) {
  char t[1024];
  int k = snprintf(t, sizeof(t),
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, port);
  struct timeval tv = {10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
  if (!send_all(fd, t, (size_t) k)) return false;
  size_t got = 0;
  while (got < sizeof(t) - 1) { /* byte by byte: frames may follow the header */
    ssize_t r = recv(fd, t + got, 1, 0);
    if (r <= 0) return false;
    t[++got] = 0;
    if (got >= 4 && memcmp(t + got - 4, "\r\n\r\n", 4) == 0) break;
  }
  return strncmp(t, "HTTP/1.1 101", 12) == 0 &&
         strstr(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL;
}

/* Returns how many whole messages p[0..n) completed */
static unsigned consume(struct conn *c, const uint8_t *p, size_t n) {
  unsigned done = 0;
  const uint8_t *end = p + n;
  while (p < end) {
    if (c->left == 0) {
      struct ws_frame f;
      c->head[c->head_len++] = *p++;
      if (!ws_parse_head(c->head, c->head_len, &f)) continue;
      c->head_len = 0;
      if (!c->more) c->at = 0;
      if (f.op != (c->more ? 0 : opcode) || f.masked || c->at + f.len > size) errors++;
      c->left = f.len, c->fin = f.fin, c->more = !f.fin;
      if (f.len > 0) continue;
    }
    size_t k = (size_t) (end - p) < c->left ? (size_t) (end - p) : c->left;
    if (c->at + k <= size && memcmp(p, payload + c->at, k) != 0) errors++;
    p += k, c->at += k, c->left -= k;
    if (c->left == 0 && c->fin) {
      if (c->at != size) errors++;
      done++;
    }
  }
  return done;
}

static void make_frames(void) {
  const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  payload = xalloc(size + 1);
  for (size_t i = 0; i < size; i++) payload[i] = (uint8_t) ('a' + i % 26);
  frames = xalloc((size + 14) * (size_t) depth);
  frame_len = ws_put_head(frames, opcode, size, mask);
  ws_xor(frames + frame_len, payload, size, mask);
  frame_len += size;
  for (long i = 1; i < depth; i++) memcpy(frames + (size_t) i * frame_len, frames, frame_len);
}

static void open_all(int ep, int port, const char *path) {
  conns = xalloc((size_t) n_conns * sizeof(*conns));
  for (long i = 0; i < n_conns; i++) {
    struct conn *c = &conns[i];
    c->fd = connect_loopback(port, i);
    if (c->fd < 0) die("connect");
    if (!upgrade(c->fd, path, port)) {
      fprintf(stderr, "handshake %ld failed\n", i);
      exit(1);
    }
    set_nonblock(c->fd);
    if (!fan) c->sent_at = xalloc((size_t) depth * sizeof(uint64_t));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
  }
}

static void send_first(void) {
  uint64_t t = now_ns();
  for (long i = 0; i < (fan ? 1 : n_conns); i++) {
    for (long k = 0; k < depth; k++)
      if (fan) pub_at[k] = t;
      else conns[i].sent_at[k] = t;
    if (!send_all(conns[i].fd, frames, frame_len * (size_t) depth)) die("send");
  }
  if (fan) published = (uint64_t) depth;
}

static void on_echoes(struct conn *c, unsigned done, uint64_t t) {
  if (done > (unsigned long) depth) errors++, done = (unsigned) depth;
  for (unsigned j = 0; j < done; j++) {
    uint64_t *at = &c->sent_at[c->got++ % (uint64_t) depth];
    hist_add(&lat, t - *at);
    *at = t;
  }
  if (!send_all(c->fd, frames, frame_len * done)) die("send");
}

static void on_deliveries(struct conn *c, unsigned done, uint64_t t) {
  unsigned again = 0;
  for (unsigned j = 0; j < done; j++) {
    uint64_t s = c->got++ % (uint64_t) depth;
    hist_add(&lat, t - pub_at[s]);
    if (++arrived[s] == (uint64_t) n_conns) arrived[s] = 0, complete++, again++, pub_at[s] = t;
  }
  if (again == 0) return;
  published += again;
  if (!send_all(conns[0].fd, frames, frame_len * again)) die("send");
}

static void run(int ep, double secs, const char *pids) {
  static uint8_t rbuf[RBUF];
  struct epoll_event evs[256];
  uint64_t ops = 0, lost = 0, srv0 = proc_cpu_ns_list(pids), own0 = cpu_ns();
  uint64_t t0 = now_ns(), last = t0, t = t0, stop = t0 + (uint64_t) (secs * 1e9);
  send_first();
  while (t < stop && ops < limit) {
    int k = epoll_wait(ep, evs, 256, 100);
    t = now_ns();
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      ssize_t n = recv(c->fd, rbuf, sizeof(rbuf), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0) {
        fprintf(stderr, "server closed a connection\n");
        exit(1);
      }
      unsigned done = consume(c, rbuf, (size_t) n);
      if (done == 0) continue;
      t = last = now_ns();
      ops += done;
      if (fan) on_deliveries(c, done, t);
      else on_echoes(c, done, t);
    }
    if (t - last > 2000000000u) {
      fprintf(stderr, "stalled: nothing came back for 2 s\n");
      lost = fan ? (published - complete) * (uint64_t) n_conns : 1;
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
  const char *path = "/ws", *pids = NULL;
  while ((o = getopt(argc, argv, "p:u:n:s:d:t:m:bN:P:")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 'u') path = optarg;
    else if (o == 'n') n_conns = atol(optarg);
    else if (o == 's') size = strtoull(optarg, NULL, 10);
    else if (o == 'd') depth = atol(optarg);
    else if (o == 't') secs = atof(optarg);
    else if (o == 'm') fan = strcmp(optarg, "fanout") == 0;
    else if (o == 'b') opcode = 2;
    else if (o == 'N') limit = strtoull(optarg, NULL, 10);
    else if (o == 'P') pids = optarg;
    else return 2;
  }
  if (depth < 1 || depth > MAXDEPTH) return 2;
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  make_frames();
  int ep = epoll_create1(EPOLL_CLOEXEC);
  open_all(ep, port, path);
  run(ep, secs, pids);
  return errors != 0;
}
