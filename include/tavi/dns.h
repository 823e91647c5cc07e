/* SPDX-License-Identifier: MIT
 *
 * Names and their addresses. tavi_connect() asks by itself; this is for programs that want the addresses.
 *
 * A name is looked for in the hosts file, then asked of the name servers of the system's configuration (resolv.conf
 * with its search list, or tavi_manager_opts.dns_servers), for IPv6 and IPv4 at the same time. Answers are kept for as
 * long as they say, failures for a second. Addresses, localhost and names below .localhost are never asked for. Names
 * are ASCII: others are given in their xn-- form. Everything happens on the loop's thread.
 *
 * The environment: LOCALDOMAIN and RES_OPTIONS as in resolv.conf(5); CARES_HOSTS is read in place of /etc/hosts. */
#ifndef TAVI_DNS_H
#define TAVI_DNS_H

#include "tavi/conn.h"

TAVI_BEGIN_DECLS

struct tavi_lookup;

/* err 0: `count` addresses (1 to 8; borrowed), the best first, with the port of the URL. Otherwise TAVI_E_RESOLVE
 * (there is none: no such name, or the name server failed), TAVI_E_TIMEOUT, TAVI_E_NOMEM, or TAVI_E_CLOSED
 * (tavi_manager_free() and tavi_manager_close_all()); count is 0 and text, which is borrowed, names the host and the
 * reason. */
typedef void (*tavi_resolve_fn)(const struct tavi_addr *addrs, size_t count, int err, const char *text, void *user);

/* Find out the addresses of a host: a name, or a URL as for tavi_connect() (the port may be missing).
 *
 * Owns:    the manager. *ret_lookup is valid until it is cancelled or fn is called; it is NULL when fn has been called
 *          already. ret_lookup may be NULL.
 * Returns: 0, and then fn is called exactly once unless it is cancelled; TAVI_E_ARG, TAVI_E_ADDRESS (no host in it, a
 *          Unix path), TAVI_E_NOMEM, TAVI_E_CLOSED (while the manager closes everything), and then it is not called.
 * Calls back: fn, for addresses, localhost and names that are known already. */
TAVI_API int tavi_resolve(struct tavi_manager *m, const char *url, tavi_resolve_fn fn, void *user,
                          struct tavi_lookup **ret_lookup);

/* fn is not called any more. NULL is accepted. */
TAVI_API void tavi_resolve_cancel(struct tavi_lookup *lookup);

TAVI_END_DECLS

#endif
