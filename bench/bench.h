/* SPDX-License-Identifier: MIT
 *
 * Shared helpers of the bench programs: clocks, sockets, a growing buffer, a histogram, and what /proc tells about the
 * process that is measured. Everything is static inline, so that each program is one file and this one. The programs
 * end with a message at the first thing that goes wrong: a measurement that limps on is worth nothing.
 */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

static inline void *xalloc(size_t n) {
  void *p = calloc(1, n);
  if (p == NULL) die("calloc");
  return p;
}

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* CPU time of this process, in nanoseconds */
static inline uint64_t cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* CPU time of the calling thread, in nanoseconds */
static inline uint64_t thread_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static inline void raise_fd_limit(void) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
  }
}

static inline void set_nodelay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static inline void set_nonblock(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static inline int listen_on(const char *host, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t) port)};
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) die("inet_pton");
  if (bind(fd, (struct sockaddr *) &a, sizeof(a)) != 0) die("bind");
  if (listen(fd, 4096) != 0) die("listen");
  return fd;
}

/* Blocking connect to 127.0.0.1:port. Connection `index` picks the source
 * address 127.0.0.(2 + index / 15000), so that one destination port can be
 * reached by more connections than there are ephemeral ports. */
static inline int connect_loopback(int port, long index) {
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t) port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in from = {.sin_family = AF_INET};
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if (index >= 0) {
    from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t) (index / 15000));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *) &from, sizeof(from)) != 0) die("bind");
  }
  if (connect(fd, (struct sockaddr *) &to, sizeof(to)) != 0) {
    close(fd);
    return -1;
  }
  set_nodelay(fd);
  return fd;
}

/* Write all of a small buffer to a possibly non-blocking socket. */
static inline bool send_all(int fd, const void *buf, size_t n) {
  const char *p = buf;
  while (n > 0) {
    ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
    if (k > 0) {
      p += k, n -= (size_t) k;
    } else if (k < 0 && (errno == EAGAIN || errno == EINTR)) {
      struct pollfd pf = {.fd = fd, .events = POLLOUT};
      poll(&pf, 1, 1000);
    } else {
      return false;
    }
  }
  return true;
}

/* Growable byte buffer */
struct buf {
  uint8_t *p;
  size_t len, cap;
};

static inline void buf_need(struct buf *b, size_t extra) {
  if (b->len + extra > b->cap) {
    size_t cap = b->cap ? b->cap : 4096;
    while (cap < b->len + extra) cap *= 2;
    b->p = realloc(b->p, cap);
    if (b->p == NULL) die("realloc");
    b->cap = cap;
  }
}

static inline void buf_add(struct buf *b, const void *p, size_t n) {
  buf_need(b, n);
  memcpy(b->p + b->len, p, n);
  b->len += n;
}

static inline void buf_drop(struct buf *b, size_t n) {
  if (n > 0) memmove(b->p, b->p + n, b->len - n), b->len -= n;
}

/* Log-linear histogram of nanoseconds: 64 sub-buckets per power of two */
struct hist {
  uint64_t n, max, cell[64 * 64];
};

static inline void hist_add(struct hist *h, uint64_t v) {
  unsigned e = v < 64 ? 0 : (unsigned) (58 - __builtin_clzll(v));
  h->cell[(e << 6) + (unsigned) ((v >> e) & 127u)]++;
  h->n++;
  if (v > h->max) h->max = v;
}

/* Quantile q in 0..1, in microseconds */
static inline double hist_us(const struct hist *h, double q) {
  uint64_t want = (uint64_t) (q * (double) h->n), seen = 0;
  for (unsigned i = 0; i < 64 * 64; i++) {
    seen += h->cell[i];
    if (seen > want) {
      /* cells 0..127 are exact; above, cell (e,m) with m in 64..127 */
      unsigned e = i < 128 ? 0 : (i - 64) >> 6, m = i - (e << 6);
      return (double) ((uint64_t) m << e) / 1000.0;
    }
  }
  return (double) h->max / 1000.0;
}

/* VmRSS of a process in KiB, -1 when it cannot be read */
static inline long rss_kib(long pid) {
  char path[64], line[256];
  long kib = -1;
  snprintf(path, sizeof(path), "/proc/%ld/status", pid);
  FILE *f = fopen(path, "r");
  if (f == NULL) return -1;
  while (fgets(line, sizeof(line), f))
    if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
  fclose(f);
  return kib;
}

/* Sum over a comma separated list of pids */
static inline long rss_kib_list(const char *pids) {
  long sum = 0;
  for (const char *s = pids; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
    sum += rss_kib(strtol(s, NULL, 10));
  return sum;
}

/* CPU time (ns) that the live threads of a process have used. It is the exact
 * run time the scheduler keeps, with the soft interrupts served on top of it. */
static inline uint64_t proc_cpu_ns(long pid) {
  char path[300];
  uint64_t sum = 0;
  snprintf(path, sizeof(path), "/proc/%ld/task", pid);
  DIR *d = opendir(path);
  if (d == NULL) return 0;
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    unsigned long long ns = 0;
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof(path), "/proc/%ld/task/%.40s/schedstat", pid, e->d_name);
    FILE *f = fopen(path, "r");
    if (f == NULL) continue;
    if (fscanf(f, "%llu", &ns) == 1) sum += ns;
    fclose(f);
  }
  closedir(d);
  return sum;
}

static inline uint64_t proc_cpu_ns_list(const char *pids) {
  uint64_t sum = 0;
  for (const char *s = pids; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
    sum += proc_cpu_ns(strtol(s, NULL, 10));
  return sum;
}

/* Blocks until stdin is closed (the driver holds the other end) */
static inline void wait_stdin(void) {
  char tmp[64];
  while (read(0, tmp, sizeof(tmp)) > 0) (void) 0;
}

#endif
