/* SPDX-License-Identifier: MIT
 *
 * The practical upper bound for a one-core MQTT 3.1.1 broker: exact topics and
 * filters with one trailing "+" or "#", QoS 0-2 handshakes, no sessions, no
 * retained messages, no checks. Each topic keeps a ready list of its receivers,
 * and the packets for one receiver are gathered until the end of a poll round.
 *   floor_mqtt -p PORT
 */
#include "bench.h"

enum { MAXFD = 1 << 17, RBUF = 1 << 18, SLOTS = 1 << 16, MAXSUBS = 1 << 17 };

struct conn {
  struct buf in, out;
  bool open, want_out, dirty;
  uint16_t id;
};

struct sub {
  int fd;
  uint8_t qos;
  uint16_t len;
  char filter[64];
};

struct topic {
  uint16_t len;
  uint64_t made; /* the subscription count that `to` was made for */
  size_t n;
  char name[64];
  struct {
    int fd;
    uint8_t qos;
  } *to;
};

static struct conn conns[MAXFD];
static struct sub subs[MAXSUBS];
static size_t n_subs;
static uint64_t generation = 1;
static struct topic topics[SLOTS];
static int dirty[MAXFD], n_dirty;
static uint8_t rbuf[RBUF];
static int ep;

static bool matches(const struct sub *s, const char *t, size_t n) {
  if (s->fd < 0) return false;
  char tail = s->filter[s->len - 1];
  if (tail != '#' && tail != '+') return s->len == n && memcmp(s->filter, t, n) == 0;
  size_t stem = s->len - 1u;
  if (n < stem || memcmp(s->filter, t, stem) != 0) return false;
  return tail == '#' || memchr(t + stem, '/', n - stem) == NULL;
}

static struct topic *find(const char *name, size_t n) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t) name[i]) * 16777619u;
  struct topic *t = &topics[h & (SLOTS - 1)];
  while (t->len != 0 && (t->len != n || memcmp(t->name, name, n) != 0))
    t = t == &topics[SLOTS - 1] ? topics : t + 1;
  if (t->len == 0) t->len = (uint16_t) n, memcpy(t->name, name, n);
  if (t->made != generation) {
    t->made = generation, t->n = 0;
    for (size_t i = 0; i < n_subs; i++) {
      if (!matches(&subs[i], name, n)) continue;
      t->to = realloc(t->to, (t->n + 1) * sizeof(*t->to));
      t->to[t->n].fd = subs[i].fd, t->to[t->n++].qos = subs[i].qos;
    }
  }
  return t;
}

static void put(int fd, const void *p, size_t n) {
  struct conn *c = &conns[fd];
  buf_add(&c->out, p, n);
  if (!c->dirty) c->dirty = true, dirty[n_dirty++] = fd;
}

static void flush_out(int fd) {
  struct conn *c = &conns[fd];
  ssize_t w = c->out.len ? send(fd, c->out.p, c->out.len, MSG_NOSIGNAL) : 0;
  if (w > 0) buf_drop(&c->out, (size_t) w);
  bool want = c->out.len > 0;
  if (want != c->want_out) {
    struct epoll_event e = {.events = EPOLLIN | (want ? EPOLLOUT : 0u), .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
    c->want_out = want;
  }
}

static void drop(int fd) {
  struct conn *c = &conns[fd];
  for (size_t i = 0; i < n_subs; i++)
    if (subs[i].fd == fd) subs[i].fd = -1, generation++;
  free(c->in.p);
  free(c->out.p);
  memset(c, 0, sizeof(*c));
  close(fd);
}

static void publish(int fd, uint8_t h, const uint8_t *p, size_t n) {
  uint8_t q = h >> 1 & 3;
  size_t tl = (size_t) p[0] << 8 | p[1], at = 2 + tl + (q ? 2u : 0u);
  if (tl == 0 || tl > 64 || at > n) return;
  if (q) put(fd, (uint8_t[]){q == 1 ? 0x40 : 0x50, 2, p[2 + tl], p[3 + tl]}, 4);
  struct topic *t = find((const char *) p + 2, tl);
  for (size_t i = 0; i < t->n; i++) {
    uint8_t oq = q < t->to[i].qos ? q : t->to[i].qos, head[6];
    size_t len = n - (q ? 2u : 0u) + (oq ? 2u : 0u), k = 1;
    struct conn *c = &conns[t->to[i].fd];
    head[0] = (uint8_t) (0x30 | oq << 1);
    for (size_t v = len; k == 1 || v; v >>= 7) head[k++] = (uint8_t) ((v & 127) | (v > 127 ? 128 : 0));
    buf_need(&c->out, k + len);
    put(t->to[i].fd, head, k);
    buf_add(&c->out, p, 2 + tl);
    if (oq) {
      if (++c->id == 0) c->id = 1;
      buf_add(&c->out, (uint8_t[]){(uint8_t) (c->id >> 8), (uint8_t) c->id}, 2);
    }
    buf_add(&c->out, p + at, n - at);
  }
}

static void subscribe(int fd, const uint8_t *p, size_t n) {
  uint8_t ack[64] = {0x90, 2, p[0], p[1]};
  for (size_t at = 2; at + 3 <= n && ack[1] < 60;) {
    size_t l = (size_t) p[at] << 8 | p[at + 1];
    if (l == 0 || l > 64 || n_subs == MAXSUBS) return;
    struct sub *s = &subs[n_subs++];
    s->fd = fd, s->len = (uint16_t) l, s->qos = p[at + 2 + l];
    memcpy(s->filter, p + at + 2, l);
    ack[2 + ack[1]] = s->qos, ack[1]++;
    at += 3 + l;
  }
  generation++;
  put(fd, ack, 2u + ack[1]);
}

static size_t packets(int fd, const uint8_t *p, size_t n) {
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
      case 1: put(fd, "\x20\x02\x00\x00", 4); break;
      case 3: publish(fd, b[0], b + i, len); break;
      case 5: put(fd, (uint8_t[]){0x62, 2, b[i], b[i + 1]}, 4); break;
      case 6: put(fd, (uint8_t[]){0x70, 2, b[i], b[i + 1]}, 4); break;
      case 8: subscribe(fd, b + i, len); break;
      case 12: put(fd, "\xd0\x00", 2); break;
      default: break;
    }
    used += i + len;
  }
}

int main(int argc, char **argv) {
  int port = 1883, o;
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
      int fd = evs[i].data.fd;
      if (fd == ls) {
        while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          set_nodelay(fd);
          conns[fd].open = true;
          struct epoll_event ce = {.events = EPOLLIN, .data.fd = fd};
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ce);
        }
        continue;
      }
      struct conn *c = &conns[fd];
      if (!c->open) continue;
      if (evs[i].events & EPOLLOUT) flush_out(fd);
      if (!(evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
      ssize_t n = recv(fd, rbuf, sizeof(rbuf), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0) {
        drop(fd);
      } else if (c->in.len > 0) {
        buf_add(&c->in, rbuf, (size_t) n);
        buf_drop(&c->in, packets(fd, c->in.p, c->in.len));
      } else {
        size_t used = packets(fd, rbuf, (size_t) n);
        if (used < (size_t) n) buf_add(&c->in, rbuf + used, (size_t) n - used);
      }
    }
    for (int i = 0; i < n_dirty; i++) {
      conns[dirty[i]].dirty = false;
      if (conns[dirty[i]].open) flush_out(dirty[i]);
    }
    n_dirty = 0;
  }
}
