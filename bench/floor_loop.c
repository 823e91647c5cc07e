/* SPDX-License-Identifier: MIT
 *
 * What an event loop costs at least, without any network traffic: an empty poll, timers in a binary heap of bare
 * times, and payloads handed over from other threads through one locked buffer with one eventfd. The counterpart of
 * loop.c, and the bound for it; the heap cannot cancel.
 *   floor_loop
 */
#include "loop.h"

enum { QUEUE_BYTES = 64 << 20 };

static int ep;

static void empty_poll(void) {
  struct epoll_event ev;
  epoll_wait(ep, &ev, 1, 0);
}

/* ==== timers: a heap of expiry times, the loop looks at the top only ==== */

static uint64_t *heap, due;
static size_t heap_n;

static void heap_add(uint64_t at) {
  size_t i = heap_n++;
  while (i > 0 && heap[(i - 1) / 2] > at) heap[i] = heap[(i - 1) / 2], i = (i - 1) / 2;
  heap[i] = at;
}

static uint64_t heap_pop(void) {
  uint64_t top = heap[0], last = heap[--heap_n];
  size_t i = 0, c;
  while ((c = 2 * i + 1) < heap_n) {
    if (c + 1 < heap_n && heap[c + 1] < heap[c]) c++;
    if (heap[c] >= last) break;
    heap[i] = heap[c], i = c;
  }
  heap[i] = last;
  return top;
}

static void poll_and_look(void) {
  empty_poll();
  uint64_t now = now_ns();
  if (heap_n > 0 && heap[0] <= now) due++;
}

static void timers(size_t n) {
  uint64_t state = 1;
  heap = xalloc((n + 1) * sizeof(*heap));
  heap_n = 0;
  uint64_t t0 = thread_ns();
  for (size_t i = 0; i < n; i++) heap_add(now_ns() + 3600000000000u + rng(&state) % 1000000000u);
  uint64_t t1 = thread_ns();
  if (n <= 100000) figure_n("poll_timers", n, poll_cost_us(poll_and_look), "us");
  uint64_t t2 = thread_ns();
  for (size_t i = 0; i < n; i++) heap_add(heap_pop() + 7200000000000u); /* fire and re-arm */
  uint64_t t3 = thread_ns();
  if (n > 0) {
    figure_n("timer_add", n, (double) (t1 - t0) / (double) n, "ns");
    figure_n("timer_fire", n, (double) (t3 - t2) / (double) n, "ns");
  }
  free(heap);
}

/* ==== payloads from other threads ==== */

static struct buf queue, taken; /* each payload: its length in 4 bytes, then its bytes */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int wake_fd;

static bool post(const void *p, size_t n) {
  uint64_t one = 1;
  uint32_t len = (uint32_t) n;
  pthread_mutex_lock(&lock);
  bool first = queue.len == 0, room = first || queue.len + n <= QUEUE_BYTES;
  if (room) {
    buf_need(&queue, sizeof(len) + n);
    buf_add(&queue, &len, sizeof(len));
    buf_add(&queue, p, n);
  }
  pthread_mutex_unlock(&lock);
  return room && (!first || write(wake_fd, &one, sizeof(one)) == sizeof(one));
}

static void turn(void) {
  struct epoll_event ev;
  uint64_t v;
  if (epoll_wait(ep, &ev, 1, 100) != 1) return;
  if (read(wake_fd, &v, sizeof(v)) != sizeof(v)) return;
  pthread_mutex_lock(&lock);
  struct buf swap = queue;
  queue = taken, taken = swap;
  pthread_mutex_unlock(&lock);
  for (size_t at = 0; at < taken.len;) {
    uint32_t len;
    memcpy(&len, taken.p + at, sizeof(len));
    payload_arrived(taken.p + at + sizeof(len), len);
    wake_seen();
    at += sizeof(len) + len;
  }
  taken.len = 0;
}

int main(void) {
  static const size_t counts[] = {0, 1000, 10000, 100000, 1000000};
  static const struct wake_ops ops = {post, turn};
  ep = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) timers(counts[i]);
  wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN};
  epoll_ctl(ep, EPOLL_CTL_ADD, wake_fd, &e);
  return wake_all(&ops, 3000000) ? 0 : 1;
}
