/* SPDX-License-Identifier: MIT
 *
 * Threads for work that may block. */
#ifndef TAVI_OS_THREAD_H
#define TAVI_OS_THREAD_H

#include <pthread.h>

/* Start a thread with every signal blocked: signals are for the program's own threads. Returns 0, TAVI_E_NOMEM, or
 * TAVI_E_SYSTEM. */
int tavi__thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

void tavi__thread_join(pthread_t thread);

#endif
