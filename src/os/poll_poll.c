/* SPDX-License-Identifier: MIT
 *
 * The poller over poll(2): portable, and O(n) per wait by nature. The array is dense; a removed entry is replaced by
 * the last one, so each pollable knows its place. Also the choice of the back end, since this one is always there. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "os/errors.h"
#include "os/poller.h"
#include "tavi/manager.h"

struct tavi__poller {
  struct pollfd *fds;
  struct tavi__pollable **what; /* what[i] belongs to fds[i] */
  size_t count, cap;
  size_t begin; /* where the next wait begins to look, so that nobody is left out when more is ready than it can tell */
};

static int open_poll(struct tavi__poller **ret_poller) {
  struct tavi__poller *p = calloc(1, sizeof(*p));
  if (p == NULL) return TAVI_E_NOMEM;
  *ret_poller = p;
  return 0;
}

static void close_poll(struct tavi__poller *p) {
  free(p->fds);
  free(p->what);
  free(p);
}

static int reserve(struct tavi__poller *p) {
  if (p->count < p->cap) return 0;

  size_t cap = p->cap == 0 ? 16 : p->cap * 2;
  struct pollfd *fds = realloc(p->fds, cap * sizeof(*fds));
  if (fds == NULL) return TAVI_E_NOMEM;
  p->fds = fds;

  struct tavi__pollable **what = realloc(p->what, cap * sizeof(struct tavi__pollable *));
  if (what == NULL) return TAVI_E_NOMEM;
  p->what = what;
  p->cap = cap;
  return 0;
}

static int update(struct tavi__poller *p, struct tavi__pollable *what) {
  if (!what->is_registered) {
    int err = reserve(p);
    if (err < 0) return err;
    what->place = (int32_t) p->count++;
    p->what[what->place] = what;
    what->is_registered = true;
  }
  int events = (what->want & TAVI__IN ? POLLIN : 0) | (what->want & TAVI__OUT ? POLLOUT : 0);
  p->fds[what->place] = (struct pollfd){.fd = what->fd, .events = (short) events};
  what->has = what->want;
  return 0;
}

static void remove_poll(struct tavi__poller *p, struct tavi__pollable *what) {
  size_t last = --p->count;
  p->fds[what->place] = p->fds[last];
  p->what[what->place] = p->what[last];
  p->what[what->place]->place = what->place;
  what->place = -1;
  what->is_registered = false;
  what->has = 0;
}

static int wait_poll(struct tavi__poller *p, int timeout_ms, struct tavi__ready *ready, int cap) {
  int left = poll(p->fds, (nfds_t) p->count, timeout_ms), n = 0;
  if (left < 0) return errno == EINTR ? 0 : tavi__error_of(errno);

  size_t i = p->begin < p->count ? p->begin : 0;
  for (; left > 0 && n < cap; i = i + 1 < p->count ? i + 1 : 0) {
    int e = p->fds[i].revents;
    if (e == 0) continue;
    left--;
    ready[n].pollable = p->what[i];
    ready[n++].events = (e & POLLIN ? TAVI__IN : 0u) | (e & POLLOUT ? TAVI__OUT : 0u) |
                        (e & (POLLHUP | POLLERR | POLLNVAL) ? TAVI__HUP : 0u);
  }
  p->begin = left > 0 ? i : 0;
  return n;
}

static int fd(const struct tavi__poller *p) {
  (void) p;
  return -1;
}

const struct tavi__poller_ops tavi__poller_poll = {
    .open = open_poll, .close = close_poll, .update = update, .remove = remove_poll, .wait = wait_poll, .fd = fd};

const struct tavi__poller_ops *tavi__poller_choose(int backend) {
  switch (backend) {
#ifdef __linux__
    case TAVI_BACKEND_AUTO:
    case TAVI_BACKEND_EPOLL: return &tavi__poller_epoll;
#else
    case TAVI_BACKEND_AUTO:
#endif
    case TAVI_BACKEND_POLL: return &tavi__poller_poll;
    default: return NULL;
  }
}
