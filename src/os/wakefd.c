/* SPDX-License-Identifier: MIT
 *
 * See wakefd.h. Linux: eventfd(2) and timerfd_create(2). (Where kqueue is, EVFILT_USER and EVFILT_TIMER do this; that
 * belongs to the kqueue back end.) */
#include "os/wakefd.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "os/errors.h"

int tavi__wakefd_open(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd >= 0 ? fd : tavi__error_of(errno);
}

void tavi__wakefd_raise(int fd) {
  uint64_t one = 1;
  /* EAGAIN means that the counter is full, so it is raised already. */
  while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR) continue;
}

void tavi__wakefd_clear(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR) continue;
}

int tavi__alarm_open(void) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  return fd >= 0 ? fd : tavi__error_of(errno);
}

void tavi__alarm_set(int fd, uint64_t at_ms) {
  struct itimerspec t = {0};
  t.it_value.tv_sec = (time_t) (at_ms / 1000);
  t.it_value.tv_nsec = (long) (at_ms % 1000) * 1000000;
  timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL);
}
