/* SPDX-License-Identifier: MIT
 *
 * The URL of a listen or connect call, taken apart. Schemes and forms: tavi/conn.h. */
#ifndef TAVI_NET_ENDPOINT_H
#define TAVI_NET_ENDPOINT_H

#include "os/sock.h"

enum tavi__endpoint_kind { TAVI__EP_HOST, TAVI__EP_UNIX, TAVI__EP_FD, TAVI__EP_SYSTEMD };

struct tavi__endpoint {
  enum tavi__endpoint_kind kind;
  bool is_udp;
  char host[256]; /* name or literal without brackets; the Unix path; the name for TAVI__EP_SYSTEMD, "" for any */
  uint16_t port;
  int fd;         /* TAVI__EP_FD */
};

/* default_port: used when the URL has none ("" is none: the URL needs one to connect to; 0 to listen on).
 * Returns 0 or TAVI_E_ADDRESS. User names, paths and queries in the URL are skipped. */
int tavi__endpoint_parse(const char *url, const char *default_port, struct tavi__endpoint *ret_ep);

/* The address to bind to: literals, "localhost" (127.0.0.1), and "" (0.0.0.0). False for other names. */
bool tavi__endpoint_bind_address(const struct tavi__endpoint *ep, struct tavi__sockaddr *ret_addr);

/* The addresses to connect to without asking anybody: one for a literal or a Unix path, two for "localhost" (and names
 * below .localhost, RFC 6761). Returns their number; 0: the name has to be resolved; TAVI_E_ADDRESS. */
int tavi__endpoint_peers(const struct tavi__endpoint *ep, struct tavi__sockaddr ret_addrs[2]);

#endif
