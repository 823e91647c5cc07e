/* SPDX-License-Identifier: MIT
 *
 * See thread.h. */
#include "os/thread.h"

#include <errno.h>
#include <signal.h>

#include "os/errors.h"

int tavi__thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the thread */
  int error = pthread_create(ret_thread, NULL, run, arg);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return 0;
  return error == EAGAIN ? TAVI_E_NOMEM : TAVI_E_SYSTEM;
}

void tavi__thread_join(pthread_t thread) { pthread_join(thread, NULL); }
