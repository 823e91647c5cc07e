/* SPDX-License-Identifier: MIT
 *
 * Waiting for many descriptors at once: one small table of functions per mechanism of the system, chosen at run time.
 *
 * Level-triggered everywhere: what was not served is told again, so a turn may stop anywhere without losing anything.
 * Registration happens by update() only, which the loop calls between turns; what a handler wants is
 * noted in `want`. (It must not change the set during a wait: with poll(2) the kernel is reading the array.) */
#ifndef TAVI_OS_POLLER_H
#define TAVI_OS_POLLER_H

#include <stdbool.h>
#include <stdint.h>

enum { /* numbered as in poll(2) and epoll(7), where these are the same: translating them costs nothing */
  TAVI__IN = 1,
  TAVI__OUT = 4,
  TAVI__HUP = 16, /* hung up or failed; told without being asked for */
  TAVI__UNWATCHED = 32 /* in `want`: not registered at all, because it has hung up and is not to be told of it again */
};

/* One registered descriptor; embedded in whatever owns it. */
struct tavi__pollable {
  int fd;
  int32_t place; /* of poll(2)'s array; -1 when not registered */
  uint8_t want;  /* TAVI__IN | TAVI__OUT, or TAVI__UNWATCHED: what should be registered */
  uint8_t has;   /* what is registered */
  bool is_registered;
};

static inline void tavi__pollable_init(struct tavi__pollable *p, int fd) {
  *p = (struct tavi__pollable){.fd = fd, .place = -1};
}

struct tavi__ready {
  struct tavi__pollable *pollable;
  unsigned events;
};

struct tavi__poller;

struct tavi__poller_ops {
  int (*open)(struct tavi__poller **ret_poller); /* 0, TAVI_E_NOMEM or TAVI_E_DESCRIPTORS */
  void (*close)(struct tavi__poller *p);
  /* Make the registration what p->want says, 0 included: a descriptor that is not watched for anything is still
   * watched for hanging up. Returns 0 or a negative enum tavi_err. */
  int (*update)(struct tavi__poller *p, struct tavi__pollable *what);
  void (*remove)(struct tavi__poller *p, struct tavi__pollable *what);
  /* At most cap events. timeout_ms: negative waits without limit. Returns their number; 0 also after a signal. */
  int (*wait)(struct tavi__poller *p, int timeout_ms, struct tavi__ready *ready, int cap);
  int (*fd)(const struct tavi__poller *p); /* readable when something is ready; -1: there is none */
};

extern const struct tavi__poller_ops tavi__poller_poll;
#ifdef __linux__
extern const struct tavi__poller_ops tavi__poller_epoll;
#endif

/* The table for an enum tavi_backend, AUTO included; NULL when this system has none. */
const struct tavi__poller_ops *tavi__poller_choose(int backend);

#endif
