/* SPDX-License-Identifier: MIT
 *
 * What floor_loop.c and loop.c (and, in Python, loop.py) do alike, so that their figures can be put side by side:
 * how a figure is printed, how an empty poll is timed, and how payloads are made, sent from other threads, and
 * checked when they arrive.
 *
 * Output is one figure per line, "name value unit". An empty poll is timed in batches of 1,000 by the thread's own
 * CPU time, and the median batch counts: work that comes up now and then (a sweep, an interrupt) does not hide the
 * cost of all the other turns.
 *
 * A payload is a head (thread, length, number within the thread) and bytes of a fixed pseudo-random pattern, from
 * an offset that depends on the number. So the receiver can tell what is missing, out of order, or damaged, and checks
 * every byte at the price of a memcmp.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "bench.h"

enum {
  THREADS_MAX = 4,
  SMALL = 32,          /* bytes of a small payload */
  LARGE = 1 << 20,     /* bytes of the largest one */
  LARGE_EVERY = 2048,  /* of so many payloads, one is large when sizes are mixed */
  POLL_BATCH = 1000,
  POLL_BATCHES = 101
};

/* ==== figures ==== */

static inline void figure(const char *name, double value, const char *unit) {
  printf("%-28s %.*f %s\n", name, value < 10 ? 3 : value < 1000 ? 1 : 0, value, unit);
  fflush(stdout);
}

static inline void figure_n(const char *name, size_t n, double value, const char *unit) {
  char text[64];
  snprintf(text, sizeof(text), "%s_%zu", name, n);
  figure(text, value, unit);
}

static inline int by_value(const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

static inline double median(double *v, size_t n) {
  qsort(v, n, sizeof(*v), by_value);
  return v[n / 2];
}

/* CPU time of one call of an idle loop's turn, in microseconds */
static inline double poll_cost_us(void (*turn)(void)) {
  double cost[POLL_BATCHES];
  for (size_t i = 0; i < POLL_BATCHES; i++) {
    uint64_t t0 = thread_ns();
    for (int k = 0; k < POLL_BATCH; k++) turn();
    cost[i] = (double) (thread_ns() - t0) / (POLL_BATCH * 1e3);
  }
  return median(cost, POLL_BATCHES);
}

/* xorshift64*; its upper bits, because the lower ones of neighbours depend on each other */
static inline uint64_t rng(uint64_t *state) {
  uint64_t x = *state;
  x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
  *state = x;
  return x * 0x2545f4914f6cdd1du >> 20;
}

/* ==== payloads ==== */

struct payload_head {
  uint32_t thread;
  uint32_t len; /* of the whole payload */
  uint64_t seq; /* 0, 1, 2, ... within the thread */
};

/* What has arrived */
static struct {
  uint64_t next[THREADS_MAX]; /* the number that is expected from each thread */
  uint64_t got, bytes, damaged, disordered;
} tally;

static uint8_t pattern[4096 + LARGE];

static inline void pattern_make(void) {
  uint64_t state = 88172645463325252u;
  for (size_t i = 0; i < sizeof(pattern); i++) pattern[i] = (uint8_t) rng(&state);
}

static inline void payload_make(uint8_t *to, uint32_t thread, uint64_t seq, uint32_t len) {
  struct payload_head h = {thread, len, seq};
  memcpy(to, &h, sizeof(h));
  memcpy(to + sizeof(h), pattern + seq % 4096, len - sizeof(h));
}

static inline void payload_arrived(const void *data, size_t len) {
  struct payload_head h;
  tally.got++, tally.bytes += len;
  if (len < sizeof(h)) {
    tally.damaged++;
    return;
  }
  memcpy(&h, data, sizeof(h));
  if (h.len != len || h.thread >= THREADS_MAX || len > LARGE ||
      memcmp((const uint8_t *) data + sizeof(h), pattern + h.seq % 4096, len - sizeof(h)) != 0) {
    tally.damaged++;
    return;
  }
  if (h.seq != tally.next[h.thread]) tally.disordered++;
  tally.next[h.thread] = h.seq + 1;
}

/* ==== other threads ==== */

/* What is measured: post() is called by other threads and says false while the queue is full; turn() is one turn of
 * the loop that waits for 100 ms at most and calls payload_arrived() for what was posted. */
struct wake_ops {
  bool (*post)(const void *data, size_t len);
  void (*turn)(void);
};

struct producer {
  pthread_t id;
  const struct wake_ops *ops;
  uint32_t thread;
  uint64_t count;   /* payloads to send */
  uint64_t refused; /* how often the queue was full */
  bool mixed;
};

static bool wake_stop; /* atomic: the producers give up */

static inline void *produce(void *arg) {
  struct producer *p = arg;
  uint8_t *buf = xalloc(LARGE);
  uint64_t state = 0x9e3779b97f4a7c15u + p->thread;
  for (uint64_t seq = 0; seq < p->count; seq++) {
    uint32_t len = SMALL;
    if (p->mixed && rng(&state) % LARGE_EVERY == 0) { /* each power of two is as likely as the others */
      len = (uint32_t) SMALL << (rng(&state) % 16);
      if (len > SMALL) len -= (uint32_t) (rng(&state) % (len / 2));
    }
    payload_make(buf, p->thread, seq, len);
    while (!p->ops->post(buf, len)) {
      if (__atomic_load_n(&wake_stop, __ATOMIC_RELAXED)) goto done;
      p->refused++;
      sched_yield();
    }
  }
done:
  free(buf);
  return NULL;
}

/* Payloads per second from `threads` threads, `each` from every one. Returns false when anything was lost, out of
 * order or damaged. */
static inline bool wake_flood(const char *name, const struct wake_ops *ops, uint32_t threads, uint64_t each,
                              bool mixed) {
  struct producer p[THREADS_MAX];
  uint64_t want = threads * each, refused = 0;
  memset(&tally, 0, sizeof(tally));
  __atomic_store_n(&wake_stop, false, __ATOMIC_RELAXED);
  uint64_t t0 = now_ns(), last = t0, seen = 0;
  for (uint32_t i = 0; i < threads; i++) {
    p[i] = (struct producer){.ops = ops, .thread = i, .count = each, .mixed = mixed};
    if (pthread_create(&p[i].id, NULL, produce, &p[i]) != 0) die("pthread_create");
  }
  while (tally.got < want && now_ns() - last < 2000000000u) {
    ops->turn();
    if (tally.got != seen) seen = tally.got, last = now_ns();
  }
  double took = (double) (last - t0) / 1e9;
  __atomic_store_n(&wake_stop, true, __ATOMIC_RELAXED);
  for (uint32_t i = 0; i < threads; i++) {
    pthread_join(p[i].id, NULL);
    refused += p[i].refused;
  }
  figure(name, (double) tally.got / took, "/s");
  if (mixed) printf("%-28s %.0f MB/s\n", "  bytes of these", (double) tally.bytes / took / 1e6);
  printf("  lost %llu of %llu, out of order %llu, damaged %llu, queue full %llu times\n",
         (unsigned long long) (want - tally.got), (unsigned long long) want, (unsigned long long) tally.disordered,
         (unsigned long long) tally.damaged, (unsigned long long) refused);
  return tally.got == want && tally.disordered == 0 && tally.damaged == 0;
}

static int wake_back_fd; /* eventfd: the loop has seen the payload */
static bool wake_answer; /* the loop writes to it */

static inline void wake_seen(void) {
  uint64_t one = 1;
  if (wake_answer && write(wake_back_fd, &one, sizeof(one)) != sizeof(one)) die("write");
}

static inline void *ask(void *arg) {
  const struct wake_ops *ops = arg;
  uint8_t buf[SMALL];
  uint64_t v, seq = 0;
  while (!__atomic_load_n(&wake_stop, __ATOMIC_RELAXED)) {
    payload_make(buf, 0, seq++, SMALL);
    if (!ops->post(buf, SMALL) || read(wake_back_fd, &v, sizeof(v)) != sizeof(v)) die("round trip");
  }
  return NULL;
}

/* Round trips per second: one thread posts a payload, waits until the loop has answered, posts the next */
static inline void wake_round_trips(const struct wake_ops *ops) {
  pthread_t id;
  memset(&tally, 0, sizeof(tally));
  wake_back_fd = eventfd(0, EFD_CLOEXEC);
  wake_answer = true;
  __atomic_store_n(&wake_stop, false, __ATOMIC_RELAXED);
  uint64_t t0 = now_ns();
  if (pthread_create(&id, NULL, ask, (void *) (uintptr_t) ops) != 0) die("pthread_create");
  while (now_ns() - t0 < 1000000000u) ops->turn();
  double took = (double) (now_ns() - t0) / 1e9, trips = (double) tally.got;
  __atomic_store_n(&wake_stop, true, __ATOMIC_RELAXED);
  uint64_t one = 1; /* one more than it waits for, in case its payload comes after our last turn */
  if (write(wake_back_fd, &one, sizeof(one)) != sizeof(one)) die("write");
  pthread_join(id, NULL);
  wake_answer = false;
  ops->turn(); /* takes what that thread may have left */
  close(wake_back_fd);
  figure("wakeup_round_trips", trips / took, "/s");
}

/* All of the above. Returns false when anything went wrong. */
static inline bool wake_all(const struct wake_ops *ops, uint64_t payloads) {
  pattern_make();
  wake_round_trips(ops);
  bool ok = wake_flood("wakeup_1_small", ops, 1, payloads, false);
  ok = wake_flood("wakeup_4_small", ops, 4, payloads / 4, false) && ok;
  return wake_flood("wakeup_4_mixed", ops, 4, payloads / 4, true) && ok;
}

#endif
