/* SPDX-License-Identifier: MIT
 *
 * The hook for a resolver of host names. dns/ installs one in the manager; without it only addresses and localhost can
 * be connected to. */
#ifndef TAVI_NET_CONNECT_H
#define TAVI_NET_CONNECT_H

#include "net/conn.h"

enum { TAVI__DIAL_MAX = 8 }; /* addresses of one name that are tried */

struct tavi__resolver {
  /* Begin; one of the two functions below is called for c later, unless c closes before. */
  void (*start)(const struct tavi__resolver *r, struct tavi_conn *c, const char *host, uint16_t port);
};

void tavi__connect_resolved(struct tavi_conn *c, const struct tavi__sockaddr *addrs, int count);
void tavi__connect_unresolved(struct tavi_conn *c, const char *why);

#endif
