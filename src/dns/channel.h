/* SPDX-License-Identifier: MIT
 *
 * c-ares on our loop: its sockets are watches, its time-outs a number of milliseconds, its results structs of ours.
 * What it does for us is the wire: queries, retries, other servers, TCP after a truncated answer, and reading all of it
 * back from peers that cannot be trusted. The search list is walked here and the hosts file asked on its own, because
 * the two families are asked for separately (RFC 8305 section 3), and both have to be of the same name.
 *
 * c-ares must not be called from its own callbacks. Therefore a result is only noted by whoever gets it, and acted on
 * when c-ares has returned; and everything here is called inside turns only, as watches demand. */
#ifndef TAVI_DNS_CHANNEL_H
#define TAVI_DNS_CHANNEL_H

#include "net/resolve.h"

struct tavi__dns_channel;

/* What became of one query. The order of the outcomes is that of their weight: of several, the last one is told. */
enum tavi__dns_outcome {
  TAVI__DNS_FOUND,
  TAVI__DNS_NO_NAME,
  TAVI__DNS_NO_ADDRESS,
  TAVI__DNS_REFUSED, /* by the server, or it failed; up to here another name of the search list may do better */
  TAVI__DNS_FAILED
};

struct tavi__dns_result {
  enum tavi__dns_outcome outcome;
  int err;
  const char *why; /* static */
  uint32_t ttl_ms; /* how long it holds */
  int count;
  struct tavi__peer addrs[TAVI__ADDRS_MAX];
};

typedef void (*tavi__dns_result_fn)(void *arg, const struct tavi__dns_result *r);

/* Read the configuration. on_progress(owner): c-ares was at work, and results may have been noted.
 * Returns 0, TAVI_E_NOMEM, or TAVI_E_RESOLVE when the configuration cannot be used. */
int tavi__dns_channel_open(struct tavi_manager *m, void (*on_progress)(void *owner), void *owner,
                           struct tavi__dns_channel **ret_channel);

/* What is under way ends first: its results are told, as TAVI__DNS_FAILED. NULL is accepted. */
void tavi__dns_channel_close(struct tavi__dns_channel *ch);
void tavi__dns_channel_cancel(struct tavi__dns_channel *ch);

/* Look into the hosts file, both families. False: the name is not there. */
bool tavi__dns_channel_hosts(struct tavi__dns_channel *ch, const char *host, struct tavi__dns_result *ret_result);

/* The n-th name (from 0) that the search list makes of host. False: there are not so many. */
enum { TAVI__DNS_NAME_BYTES = 256 };
bool tavi__dns_channel_candidate(const struct tavi__dns_channel *ch, const char *host, int n,
                                 char ret_name[TAVI__DNS_NAME_BYTES]);

/* Ask for the addresses of exactly this name. family: 4 or 6. fn is called once, perhaps before this returns. */
void tavi__dns_channel_ask(struct tavi__dns_channel *ch, const char *name, int family, tavi__dns_result_fn fn,
                           void *arg);

/* Serve c-ares's time-outs, and when to do so next; 0: none is running. */
void tavi__dns_channel_process(struct tavi__dns_channel *ch);
uint64_t tavi__dns_channel_due_ms(struct tavi__dns_channel *ch, uint64_t now_ms);

/* "10.0.0.1, [::1]:5353": how many there are, or TAVI_E_ARG. ret_servers may be NULL. */
enum { TAVI__DNS_SERVERS_MAX = 8 };
int tavi__dns_servers(const char *text, struct tavi__peer ret_servers[TAVI__DNS_SERVERS_MAX]);

#endif
