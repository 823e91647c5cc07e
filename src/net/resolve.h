/* SPDX-License-Identifier: MIT
 *
 * Between those who need the addresses of a host and who finds them out: dns/ installs a resolver in the manager, and
 * nobody else knows how names are resolved. Without one only addresses and localhost are known. */
#ifndef TAVI_NET_RESOLVE_H
#define TAVI_NET_RESOLVE_H

#include "base/list.h"
#include "os/sock.h"

enum { TAVI__ADDRS_MAX = 8 }; /* addresses of one name that are used, both families together */

struct tavi_manager;
struct tavi__lookup;

/* One who waits for a name; part of a struct of its owner's. */
struct tavi__lookup {
  struct tavi__node node; /* the resolver's; unlinked: nothing is on its way */
  void *asked;            /* the resolver's */
  /* Addresses (their port is 0): one family when it is there and the other is slow (RFC 8305 section 3), later the
   * other, or both at once, IPv6 first and then in turns. At most TAVI__ADDRS_MAX in a call. is_last: nothing follows,
   * and count may be 0 if something came before. */
  void (*on_found)(struct tavi__lookup *l, const struct tavi__peer *addrs, int count, bool is_last);
  /* There is no address. why: static. TAVI_E_RESOLVE, TAVI_E_TIMEOUT, TAVI_E_NOMEM; TAVI_E_CLOSED when the manager
   * closes everything. */
  void (*on_failed)(struct tavi__lookup *l, int err, const char *why);
};

struct tavi__resolver {
  /* Ask for a host that is no address. on_found may be called before this returns (what is in a cache); on_failed is
   * not: then the error is returned, and why in *ret_why. */
  int (*start)(struct tavi_manager *m, struct tavi__lookup *l, const char *host, const char **ret_why);
  /* Nothing is called any more. Also after the end. */
  void (*cancel)(struct tavi_manager *m, struct tavi__lookup *l);
};

/* Both for a manager with a resolver or without. */
int tavi__lookup_start(struct tavi_manager *m, struct tavi__lookup *l, const char *host, const char **ret_why);
void tavi__lookup_cancel(struct tavi_manager *m, struct tavi__lookup *l);

#endif
