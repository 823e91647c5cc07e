/* SPDX-License-Identifier: MIT
 *
 * The poller over Linux's epoll(7): the kernel keeps the set, a wait costs what is ready. */
#include "os/poller.h"

#ifdef __linux__

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/limits.h"
#include "os/errors.h"

struct tavi__poller {
  int epoll_fd;
  struct epoll_event events[TAVI__READY_MAX];
};

static int open_epoll(struct tavi__poller **ret_poller) {
  struct tavi__poller *p = malloc(sizeof(*p));
  if (p == NULL) return TAVI_E_NOMEM;

  p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (p->epoll_fd < 0) {
    int err = tavi__error_of(errno);
    free(p);
    return err;
  }
  *ret_poller = p;
  return 0;
}

static void close_epoll(struct tavi__poller *p) {
  close(p->epoll_fd);
  free(p);
}

static int update(struct tavi__poller *p, struct tavi__pollable *what) {
  struct epoll_event e = {.data.ptr = what};
  if (what->want & TAVI__IN) e.events |= EPOLLIN;
  if (what->want & TAVI__OUT) e.events |= EPOLLOUT;
  if (epoll_ctl(p->epoll_fd, what->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, what->fd, &e) != 0)
    return tavi__error_of(errno);

  what->has = what->want;
  what->is_registered = true;
  return 0;
}

/* Closing the descriptor alone would not do: a forked child may hold a copy, and then the kernel would go on to tell
 * events with a pointer to freed memory. */
static void remove_epoll(struct tavi__poller *p, struct tavi__pollable *what) {
  struct epoll_event unused = {0};
  epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, what->fd, &unused);
  what->is_registered = false;
  what->has = 0;
}

static int wait_epoll(struct tavi__poller *p, int timeout_ms, struct tavi__ready *ready, int cap) {
  if (cap > TAVI__READY_MAX) cap = TAVI__READY_MAX;
  int n = epoll_wait(p->epoll_fd, p->events, cap, timeout_ms);
  if (n < 0) return errno == EINTR ? 0 : tavi__error_of(errno);

  for (int i = 0; i < n; i++) {
    uint32_t e = p->events[i].events;
    ready[i].pollable = p->events[i].data.ptr;
    ready[i].events = (e & EPOLLIN ? TAVI__IN : 0u) | (e & EPOLLOUT ? TAVI__OUT : 0u) |
                      (e & EPOLLHUP ? TAVI__HUP : 0u) | (e & EPOLLERR ? TAVI__HUP : 0u);
  }
  return n;
}

static int fd(const struct tavi__poller *p) { return p->epoll_fd; }

const struct tavi__poller_ops tavi__poller_epoll = {
    .open = open_epoll, .close = close_epoll, .update = update, .remove = remove_epoll, .wait = wait_epoll, .fd = fd};

#endif
