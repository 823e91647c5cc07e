/* SPDX-License-Identifier: MIT
 *
 * MQTT 3.1.1 load generator, publishers and subscribers in one process.
 *   load_mqtt -p PORT [-b PUBS] [-S SUBS] [-T TOPICS] [-s SIZE] [-q QOS]
 *             [-w WINDOW] [-W] [-t SECONDS] [-N OPS] [-P SERVER_PID[,PID...]]
 *   -N stops after that many deliveries, if the time is not over.
 *   Publisher i sends to topic "bench/t<i % TOPICS>", subscriber j listens to
 *   "bench/t<j % TOPICS>", or with -W to "bench/+" (even j) and "bench/#" (odd
 *   j). A publisher stops while WINDOW of its messages are not acknowledged
 *   (QoS > 0) or not delivered to all subscribers of its topic. Deliveries that
 *   do not come within a second, nor before the end, are counted as lost.
 * The last line of output is a JSON object.
 */
#include "bench.h"

enum { RBUF = 1 << 18, MAXTOPICS = 4096 };

struct cl {
  int fd, topic;
  bool pub;
  uint16_t id;
  long inflight;
  struct buf in, out;
};

static long n_pub = 1, n_sub = 1, n_topics = 1, size = 64, window = 100;
static int qos;
static uint64_t sent[MAXTOPICS], got[MAXTOPICS], subs_on[MAXTOPICS], pubs_on[MAXTOPICS];
static uint64_t ops, acks, published, errors, lost, unexpected, limit = UINT64_MAX;
static struct hist lat;

static void put_len(struct buf *b, size_t n) {
  do {
    uint8_t c = (uint8_t) (n & 127);
    n >>= 7;
    if (n) c |= 128;
    buf_add(b, &c, 1);
  } while (n);
}

static void put_u16(struct buf *b, size_t v) {
  uint8_t t[2] = {(uint8_t) (v >> 8), (uint8_t) v};
  buf_add(b, t, 2);
}

static void put_str(struct buf *b, const char *s) {
  put_u16(b, strlen(s));
  buf_add(b, s, strlen(s));
}

static void put_ack(struct buf *b, uint8_t type, const uint8_t *id) {
  uint8_t t[4] = {type, 2, id[0], id[1]};
  buf_add(b, t, 4);
}

static void flush_out(struct cl *c) {
  if (c->out.len == 0) return;
  if (!send_all(c->fd, c->out.p, c->out.len)) die("send");
  c->out.len = 0;
}

static void read_n(int fd, uint8_t *p, size_t n) {
  while (n > 0) {
    ssize_t k = recv(fd, p, n, 0);
    if (k <= 0) die("no answer to CONNECT or SUBSCRIBE");
    p += k, n -= (size_t) k;
  }
}

static void open_client(struct cl *c, int port, long index, const char *filter) {
  char id[32];
  uint8_t ack[5], h = 0x10;
  struct timeval tv = {10, 0};
  c->fd = connect_loopback(port, index);
  if (c->fd < 0) die("connect");
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
  snprintf(id, sizeof(id), "bench%ld", index);
  buf_add(&c->out, &h, 1);
  put_len(&c->out, 12 + strlen(id));
  put_str(&c->out, "MQTT");
  buf_add(&c->out, "\x04\x02\x00\x00", 4); /* level 4, clean, no keep-alive */
  put_str(&c->out, id);
  flush_out(c);
  read_n(c->fd, ack, 4);
  if (ack[0] != 0x20 || ack[3] != 0) {
    fprintf(stderr, "CONNECT refused\n");
    exit(1);
  }
  if (filter) {
    uint8_t q = (uint8_t) qos;
    h = 0x82;
    buf_add(&c->out, &h, 1);
    put_len(&c->out, 2 + 2 + strlen(filter) + 1);
    put_u16(&c->out, 1);
    put_str(&c->out, filter);
    buf_add(&c->out, &q, 1);
    flush_out(c);
    read_n(c->fd, ack, 5);
    if (ack[0] != 0x90 || ack[4] != qos) {
      fprintf(stderr, "SUBSCRIBE: granted %d\n", ack[4]);
      exit(1);
    }
  }
  set_nonblock(c->fd);
}

static void put_publish(struct cl *c) {
  char topic[32];
  snprintf(topic, sizeof(topic), "bench/t%d", c->topic);
  uint8_t h = (uint8_t) (0x30 | qos << 1);
  uint64_t stamp = now_ns();
  buf_add(&c->out, &h, 1);
  put_len(&c->out, 2 + strlen(topic) + (qos ? 2 : 0) + (size_t) size);
  put_str(&c->out, topic);
  if (qos) {
    if (++c->id == 0) c->id = 1;
    put_u16(&c->out, c->id);
    c->inflight++;
  }
  buf_need(&c->out, (size_t) size);
  memset(c->out.p + c->out.len, 'x', (size_t) size);
  memcpy(c->out.p + c->out.len, &stamp, 8);
  memcpy(c->out.p + c->out.len + 8, &c->topic, 4);
  c->out.len += (size_t) size;
  sent[c->topic]++;
  published++;
}

/* More messages allowed for this publisher? */
static bool may_send(const struct cl *c) {
  int t = c->topic;
  uint64_t owed = sent[t] * subs_on[t];
  if (qos && c->inflight >= window) return false;
  return subs_on[t] == 0 ? c->out.len < 65536
                         : owed < got[t] + (uint64_t) window * subs_on[t] * pubs_on[t];
}

static void on_publish(struct cl *c, uint8_t h, const uint8_t *p, size_t n, uint64_t t) {
  int q = h >> 1 & 3;
  size_t tl = (size_t) p[0] << 8 | p[1], at = 2 + tl + (q ? 2u : 0u);
  uint64_t stamp;
  int32_t topic;
  if (at + (size_t) size != n || q != qos || size < 16) {
    errors++;
    return;
  }
  if (q) put_ack(&c->out, q == 1 ? 0x40 : 0x50, p + 2 + tl);
  memcpy(&stamp, p + at, 8);
  memcpy(&topic, p + at + 8, 4);
  if (topic < 0 || topic >= n_topics) {
    errors++;
    return;
  }
  got[topic]++;
  ops++;
  hist_add(&lat, t - stamp);
}

static size_t packets(struct cl *c, const uint8_t *p, size_t n, uint64_t t) {
  size_t used = 0;
  for (;;) {
    const uint8_t *b = p + used;
    size_t have = n - used, len = 0, i = 1;
    int shift = 0;
    do {
      if (i >= have) return used;
      len |= (size_t) (b[i] & 127) << shift, shift += 7;
    } while (b[i++] & 128);
    if (have < i + len) return used;
    switch (b[0] >> 4) {
      case 3: on_publish(c, b[0], b + i, len, t); break;
      case 4: acks++, c->inflight--; break;              /* PUBACK */
      case 5: put_ack(&c->out, 0x62, b + i); break;      /* PUBREC -> PUBREL */
      case 6: put_ack(&c->out, 0x70, b + i); break;      /* PUBREL -> PUBCOMP */
      case 7: acks++, c->inflight--; break;              /* PUBCOMP */
      default: unexpected++;
    }
    used += i + len;
  }
}

static uint64_t outstanding(void) {
  uint64_t sum = 0;
  for (long t = 0; t < n_topics; t++)
    if (sent[t] * subs_on[t] > got[t]) sum += sent[t] * subs_on[t] - got[t];
  return sum;
}

static struct cl *cls; /* subscribers first, then publishers */

static void open_all(int ep, int port, bool wild) {
  cls = xalloc((size_t) (n_pub + n_sub) * sizeof(*cls));
  for (long i = 0; i < n_sub + n_pub; i++) {
    struct cl *c = &cls[i];
    char filter[32];
    c->pub = i >= n_sub;
    c->topic = (int) ((c->pub ? i - n_sub : i) % n_topics);
    snprintf(filter, sizeof(filter), "bench/t%d", c->topic);
    if (wild) snprintf(filter, sizeof(filter), "bench/%s", i & 1 ? "#" : "+");
    open_client(c, port, i, c->pub ? NULL : filter);
    if (c->pub) pubs_on[c->topic]++;
    else if (!wild) subs_on[c->topic]++;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
  }
  if (wild)
    for (long t = 0; t < n_topics; t++) subs_on[t] = (uint64_t) n_sub;
}

static void publish_all(void) {
  for (long i = n_sub; i < n_sub + n_pub; i++) {
    struct cl *c = &cls[i];
    while (c->out.len < 65536 && may_send(c)) put_publish(c);
    flush_out(c);
  }
}

/* Returns the time at which the bytes were there, 0 when there were none */
static uint64_t receive(struct cl *c) {
  static uint8_t rbuf[RBUF];
  ssize_t n = recv(c->fd, rbuf, sizeof(rbuf), 0);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) {
    fprintf(stderr, "broker closed a connection\n");
    exit(1);
  }
  uint64_t t = now_ns();
  if (c->in.len > 0) {
    buf_add(&c->in, rbuf, (size_t) n);
    buf_drop(&c->in, packets(c, c->in.p, c->in.len, t));
  } else {
    size_t used = packets(c, rbuf, (size_t) n, t);
    if (used < (size_t) n) buf_add(&c->in, rbuf + used, (size_t) n - used);
  }
  flush_out(c);
  return t;
}

static void give_up_missing(void) {
  lost += outstanding();
  for (long t = 0; t < n_topics; t++)
    if (sent[t] * subs_on[t] > got[t]) got[t] = sent[t] * subs_on[t];
  for (long i = n_sub; i < n_sub + n_pub; i++) cls[i].inflight = 0;
}

/* Publishes for `secs`, then waits up to two seconds for what is under way; prints the result */
static void run(int ep, double secs, const char *pids) {
  struct epoll_event evs[256];
  uint64_t srv0 = proc_cpu_ns_list(pids), own0 = cpu_ns(), t0 = now_ns();
  uint64_t t = t0, last = t0, stop = t0 + (uint64_t) (secs * 1e9), srv1 = 0, in_time = 0;
  double took = 0;
  bool draining = false;
  for (;;) {
    if (!draining && (t >= stop || ops >= limit)) {
      draining = true, stop = t;
      took = (double) (t - t0) / 1e9, in_time = ops;
      srv1 = proc_cpu_ns_list(pids);
    }
    if (draining && (outstanding() == 0 || t > stop + 2000000000u)) break;
    if (!draining) publish_all();
    int k = epoll_wait(ep, evs, 256, 100);
    t = now_ns();
    for (int i = 0; i < k; i++) {
      uint64_t at = receive(evs[i].data.ptr);
      if (at > 0) t = last = at;
    }
    if (!draining && t - last > 1000000000u) {
      give_up_missing();
      last = t;
    }
  }
  lost += outstanding();
  uint64_t own = cpu_ns() - own0;
  printf("{\"ops\":%llu,\"rate\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"published\":%llu,"
         "\"acked\":%llu,\"lost\":%llu,\"errors\":%llu,\"unexpected\":%llu,\"seconds\":%.3f,"
         "\"server_cpu_ns\":%llu,\"client_cpu_ns\":%llu}\n",
         (unsigned long long) in_time, (double) in_time / took, hist_us(&lat, 0.5),
         hist_us(&lat, 0.99), (unsigned long long) published, (unsigned long long) acks,
         (unsigned long long) lost, (unsigned long long) errors, (unsigned long long) unexpected,
         took, (unsigned long long) (srv1 - srv0), (unsigned long long) own);
}

int main(int argc, char **argv) {
  int port = 1883, o;
  bool wild = false;
  double secs = 3;
  const char *pids = NULL;
  while ((o = getopt(argc, argv, "p:b:S:T:s:q:w:Wt:N:P:")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 'b') n_pub = atol(optarg);
    else if (o == 'S') n_sub = atol(optarg);
    else if (o == 'T') n_topics = atol(optarg);
    else if (o == 's') size = atol(optarg);
    else if (o == 'q') qos = atoi(optarg);
    else if (o == 'w') window = atol(optarg);
    else if (o == 'W') wild = true;
    else if (o == 'N') limit = strtoull(optarg, NULL, 10);
    else if (o == 't') secs = atof(optarg);
    else if (o == 'P') pids = optarg;
    else return 2;
  }
  if (n_topics < 1 || n_topics > MAXTOPICS || size < 16 || window < 1 || window > 60000) return 2;
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  int ep = epoll_create1(EPOLL_CLOEXEC);
  open_all(ep, port, wild);
  run(ep, secs, pids);
  return errors != 0;
}
