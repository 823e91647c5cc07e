/* SPDX-License-Identifier: MIT
 *
 * Both tables of pollers with pairs of sockets: they have to behave alike, so each test runs over both. */
#include "os/poller.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "failmalloc.h"
#include "random.h"
#include "tavi/manager.h"
#include "test.h"

struct pair {
  struct tavi__pollable near; /* the watched end */
  int far;
};

static const struct tavi__poller_ops *ops;
static struct tavi__poller *poller;

#define FOR_BOTH(body_name)                                                    \
  static void body_name##__body(void);                                         \
  TEST(body_name) {                                                            \
    const struct tavi__poller_ops *both[] = {&tavi__poller_epoll, &tavi__poller_poll}; \
    for (int i = 0; i < 2; i++) {                                              \
      test_note(i == 0 ? "epoll" : "poll");                                    \
      ops = both[i];                                                           \
      if (!CHECK_INT(ops->open(&poller), 0)) continue;                         \
      body_name##__body();                                                     \
      ops->close(poller);                                                      \
    }                                                                          \
  }                                                                            \
  static void body_name##__body(void)

static void open_pair(struct pair *p) {
  int fds[2];
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  tavi__pollable_init(&p->near, fds[0]);
  p->far = fds[1];
}

static void close_pair(struct pair *p) {
  if (p->near.is_registered) ops->remove(poller, &p->near);
  close(p->near.fd);
  if (p->far >= 0) close(p->far);
}

static int want(struct pair *p, unsigned events) {
  p->near.want = (uint8_t)events;
  return ops->update(poller, &p->near);
}

static void say(int fd) { CHECK_INT(write(fd, "x", 1), 1); }

static void hear(int fd) {
  char byte;
  CHECK_INT(read(fd, &byte, 1), 1);
}

/* The events told of p by a wait that does not block; -1: none. */
static int told(const struct pair *p) {
  struct tavi__ready ready[8];
  int n = ops->wait(poller, 0, ready, 8), events = -1;
  CHECK(n >= 0);
  for (int i = 0; i < n; i++)
    if (ready[i].pollable == &p->near) events = (int)ready[i].events;
  return events;
}

FOR_BOTH(poller__nothing_registered__waits_for_the_time_and_no_longer) {
  struct tavi__ready ready[1];
  uint64_t before = tavi_millis();
  CHECK_INT(ops->wait(poller, 20, ready, 1), 0);
  CHECK(tavi_millis() - before >= 19);
}

FOR_BOTH(poller__readable__is_told_until_it_is_read) {
  struct pair p;
  open_pair(&p);
  CHECK_INT(want(&p, TAVI__IN), 0);
  CHECK(p.near.is_registered && p.near.has == TAVI__IN);
  CHECK_INT(told(&p), -1);
  say(p.far);
  CHECK_INT(told(&p), TAVI__IN);
  CHECK_INT(told(&p), TAVI__IN); /* level-triggered */
  hear(p.near.fd);
  CHECK_INT(told(&p), -1);
  close_pair(&p);
}

FOR_BOTH(poller__writable__is_told_when_wanted) {
  struct pair p;
  open_pair(&p);
  CHECK_INT(want(&p, TAVI__IN), 0);
  CHECK_INT(told(&p), -1);
  CHECK_INT(want(&p, TAVI__IN | TAVI__OUT), 0);
  CHECK_INT(told(&p), TAVI__OUT);
  say(p.far);
  CHECK_INT(told(&p), TAVI__IN | TAVI__OUT);
  CHECK_INT(want(&p, TAVI__OUT), 0);
  CHECK_INT(told(&p), TAVI__OUT);
  CHECK_INT(want(&p, 0), 0);
  CHECK_INT(told(&p), -1);
  CHECK_INT(want(&p, TAVI__IN), 0);
  CHECK_INT(told(&p), TAVI__IN);
  close_pair(&p);
}

FOR_BOTH(poller__hung_up__is_told_also_when_nothing_is_wanted) {
  struct pair p;
  open_pair(&p);
  CHECK_INT(want(&p, 0), 0);
  CHECK_INT(told(&p), -1);
  close(p.far);
  p.far = -1;
  CHECK_INT(told(&p), TAVI__HUP);
  CHECK_INT(want(&p, TAVI__IN), 0);
  CHECK_INT(told(&p), TAVI__IN | TAVI__HUP);
  close_pair(&p);
}

FOR_BOTH(poller__half_closed_by_the_peer__is_readable_and_not_hung_up) {
  struct pair p;
  open_pair(&p);
  CHECK_INT(want(&p, TAVI__IN), 0);
  shutdown(p.far, SHUT_WR);
  CHECK_INT(told(&p), TAVI__IN);
  CHECK_INT(want(&p, 0), 0);
  CHECK_INT(told(&p), -1); /* the end was seen: no more of it */
  close_pair(&p);
}

FOR_BOTH(poller__removed__is_not_told_any_more) {
  struct pair a, b, c;
  open_pair(&a), open_pair(&b), open_pair(&c);
  CHECK_INT(want(&a, TAVI__IN), 0);
  CHECK_INT(want(&b, TAVI__IN), 0);
  CHECK_INT(want(&c, TAVI__IN), 0);
  say(a.far), say(b.far), say(c.far);
  ops->remove(poller, &a.near); /* the last one takes its place in the array of poll(2) */
  CHECK(!a.near.is_registered && a.near.has == 0);
  CHECK_INT(told(&a), -1);
  CHECK_INT(told(&b), TAVI__IN);
  CHECK_INT(told(&c), TAVI__IN);
  ops->remove(poller, &c.near);
  CHECK_INT(told(&c), -1);
  CHECK_INT(told(&b), TAVI__IN);
  CHECK_INT(want(&a, TAVI__IN), 0); /* and back again */
  CHECK_INT(told(&a), TAVI__IN);
  ops->remove(poller, &b.near);
  CHECK_INT(told(&b), -1);
  CHECK_INT(told(&a), TAVI__IN);
  close_pair(&a), close_pair(&b), close_pair(&c);
}

FOR_BOTH(poller__removed_while_a_copy_is_open__is_not_told) {
  struct pair p;
  open_pair(&p);
  CHECK_INT(want(&p, TAVI__IN), 0);
  say(p.far);
  int copy = dup(p.near.fd); /* as a forked child has one */
  ops->remove(poller, &p.near);
  close(p.near.fd);
  CHECK_INT(told(&p), -1);
  p.near.fd = copy;
  close_pair(&p);
}

/* More are ready than one wait can tell, always: nobody may be left out for ever. */
FOR_BOTH(poller__more_ready_than_it_can_tell__gives_each_its_turn) {
  enum { COUNT = 50, AT_ONCE = 7 };
  static struct pair pairs[COUNT];
  bool seen[COUNT] = {false};
  struct tavi__ready ready[AT_ONCE];
  for (int i = 0; i < COUNT; i++) {
    open_pair(&pairs[i]);
    CHECK_INT(want(&pairs[i], TAVI__IN), 0);
    say(pairs[i].far);
  }
  for (int turn = 0; turn < 3 * COUNT / AT_ONCE; turn++) {
    int n = ops->wait(poller, 0, ready, AT_ONCE);
    CHECK_INT(n, AT_ONCE);
    for (int i = 0; i < n; i++) seen[(struct pair *)(void *)ready[i].pollable - pairs] = true; /* near is first */
  }
  for (int i = 0; i < COUNT; i++) CHECK(seen[i]);
  for (int i = 0; i < COUNT; i++) close_pair(&pairs[i]);
}

FOR_BOTH(poller__random_changes__agree_with_a_model) {
  enum { COUNT = 60 };
  static struct pair pairs[COUNT];
  bool has_byte[COUNT] = {false};
  random_seed(6);
  for (int i = 0; i < COUNT; i++) open_pair(&pairs[i]);
  for (int n = 0; n < 3000; n++) {
    int i = (int)random_below(COUNT);
    struct pair *p = &pairs[i];
    switch (random_below(5)) {
      case 0:
        if (p->near.is_registered) ops->remove(poller, &p->near);
        break;
      case 1:
        if (has_byte[i]) hear(p->near.fd);
        else say(p->far);
        has_byte[i] = !has_byte[i];
        break;
      default: CHECK_INT(want(p, (unsigned)random_below(4)), 0);
    }
    struct tavi__ready ready[COUNT];
    int count = ops->wait(poller, 0, ready, COUNT), expected = 0;
    for (int k = 0; k < COUNT; k++) {
      if (!pairs[k].near.is_registered) continue;
      unsigned events = pairs[k].near.want & (TAVI__OUT | (has_byte[k] ? TAVI__IN : 0u));
      unsigned got = 0;
      for (int r = 0; r < count; r++)
        if (ready[r].pollable == &pairs[k].near) got = ready[r].events;
      CHECK_INT(got, events);
      expected += events != 0;
    }
    if (!CHECK_INT(count, expected)) break;
  }
  for (int i = 0; i < COUNT; i++) close_pair(&pairs[i]);
}

static void on_alarm(int signal) { (void)signal; }

FOR_BOTH(poller__signal__ends_the_wait_with_nothing) {
  struct tavi__ready ready[1];
  struct sigaction action = {.sa_handler = on_alarm}, old;
  struct itimerval soon = {.it_value = {.tv_usec = 20000}, .it_interval = {.tv_usec = 20000}}, off = {0};
  sigaction(SIGALRM, &action, &old);
  setitimer(ITIMER_REAL, &soon, NULL);
  CHECK_INT(ops->wait(poller, 10000, ready, 1), 0);
  setitimer(ITIMER_REAL, &off, NULL);
  sigaction(SIGALRM, &old, NULL);
}

FOR_BOTH(poller__descriptor__is_readable_when_something_is_ready_or_there_is_none) {
  struct tavi__poller *other;
  struct tavi__ready ready[1];
  struct pair p;
  CHECK_INT(tavi__poller_epoll.open(&other), 0);
  open_pair(&p);
  CHECK_INT(want(&p, TAVI__IN), 0);
  int fd = ops->fd(poller);
  CHECK((fd >= 0) == (ops == &tavi__poller_epoll));
  if (fd >= 0) {
    struct tavi__pollable outer;
    tavi__pollable_init(&outer, fd);
    outer.want = TAVI__IN;
    CHECK_INT(tavi__poller_epoll.update(other, &outer), 0);
    CHECK_INT(tavi__poller_epoll.wait(other, 0, ready, 1), 0);
    say(p.far);
    CHECK_INT(tavi__poller_epoll.wait(other, 0, ready, 1), 1);
  }
  close_pair(&p);
  tavi__poller_epoll.close(other);
}

FOR_BOTH(poller__no_memory__is_an_error_and_changes_nothing) {
  enum { COUNT = 40 };
  static struct pair pairs[COUNT];
  fail_begin(1);
  struct tavi__poller *none = NULL;
  CHECK_INT(ops->open(&none), TAVI_E_NOMEM);
  CHECK(fail_end());
  CHECK(none == NULL);
  for (int i = 0; i < COUNT; i++) {
    open_pair(&pairs[i]);
    say(pairs[i].far);
    for (unsigned n = 1; fail_begin(n); n++) {
      int err = want(&pairs[i], TAVI__IN);
      if (!fail_end()) {
        CHECK_INT(err, 0);
        break;
      }
      CHECK_INT(err, TAVI_E_NOMEM);
      CHECK(!pairs[i].near.is_registered);
    }
  }
  struct tavi__ready ready[COUNT];
  CHECK_INT(ops->wait(poller, 0, ready, COUNT), COUNT);
  for (int i = 0; i < COUNT; i++) close_pair(&pairs[i]);
}

TEST(poller__choose__knows_each_back_end) {
  CHECK(tavi__poller_choose(TAVI_BACKEND_EPOLL) == &tavi__poller_epoll);
  CHECK(tavi__poller_choose(TAVI_BACKEND_POLL) == &tavi__poller_poll);
  CHECK(tavi__poller_choose(TAVI_BACKEND_AUTO) == &tavi__poller_epoll);
  CHECK(tavi__poller_choose(99) == NULL);
  CHECK(tavi__poller_choose(-1) == NULL);
}
