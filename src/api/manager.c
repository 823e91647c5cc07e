/* SPDX-License-Identifier: MIT
 *
 * Making a manager: the loop's, with what layers above it install. (The loop cannot know them.) */
#include "dns/dns.h"
#include "loop/manager.h"

int tavi_manager_new(const struct tavi_manager_opts *opts, struct tavi_manager **ret_manager) {
  struct tavi_manager *m;
  int err = tavi__manager_new(opts, &m);
  if (err < 0) return err;

  err = tavi__dns_install(m);
  if (err < 0) {
    tavi_manager_free(m);
    return err;
  }
  *ret_manager = m;
  return 0;
}
