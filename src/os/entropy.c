/* SPDX-License-Identifier: MIT
 *
 * See entropy.h. */
#include "os/entropy.h"

#include <errno.h>
#include <sys/random.h>

#include "os/errors.h"

int tavi__entropy(void *to, size_t len) {
  size_t done = 0;
  while (done < len) {
    ssize_t n = getrandom((char *) to + done, len - done, 0);
    if (n < 0 && errno != EINTR) return TAVI_E_SYSTEM;
    if (n > 0) done += (size_t) n;
  }
  return 0;
}
