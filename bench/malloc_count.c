/* SPDX-License-Identifier: MIT
 *
 * Counts the allocations of a program that is linked with glibc dynamically:
 *   LD_PRELOAD=libmalloc_count.so PROGRAM
 * writes "malloc_count N" to stderr at each SIGUSR1 and at exit; N is the number of calls of malloc, calloc, realloc
 * and their aligned relatives so far, in all threads. malloc_count.py drives it.
 *
 * The real functions are reached by the names that glibc gives them beside the usual ones (__libc_malloc and so on):
 * looking them up with dlsym() would itself allocate.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static uint64_t calls; /* atomic */

static void count(void) {
  __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t size) {
  count();
  return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
  count();
  return __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size) {
  count();
  return __libc_realloc(ptr, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **ret_ptr, size_t alignment, size_t size) {
  count();
  void *p = __libc_memalign(alignment, size);
  if (p == NULL) return ENOMEM;
  *ret_ptr = p;
  return 0;
}

/* Also a signal handler, so it formats by hand and writes at once */
static void report(int sig) {
  char text[64] = "malloc_count ";
  char digits[24];
  size_t n = strlen(text), k = 0;
  uint64_t v = __atomic_load_n(&calls, __ATOMIC_RELAXED);
  int err = errno;
  (void) sig;
  do digits[k++] = (char) ('0' + v % 10), v /= 10;
  while (v > 0);
  while (k > 0) text[n++] = digits[--k];
  text[n++] = '\n';
  if (write(STDERR_FILENO, text, n) < 0) (void) 0;
  errno = err;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction on_usr1 = {.sa_handler = report, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &on_usr1, NULL);
}

__attribute__((destructor)) static void end(void) {
  report(0);
}
