/* SPDX-License-Identifier: MIT
 *
 * The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's first byte.
 * Source: "The PROXY protocol", HAProxy Technologies, sections 2.1 and 2.2. */
#ifndef TAVI_WIRE_PROXY_H
#define TAVI_WIRE_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire.h"

struct tavi__proxy_client {
  uint8_t family;   /* 4 or 6; 0: not told (UNKNOWN, LOCAL, Unix): the connection's own peer is the client */
  uint8_t ip[16];   /* IPv4: the first four */
  uint16_t port;
};

/* Read a header that begins at p[0].
 *
 * Returns: TAVI_WIRE_EVENT and its length in *consumed; TAVI_WIRE_MORE when p[0..len) is a good beginning;
 *          TAVI_E_PROTOCOL: no header, or a wrong one (told with the first byte that cannot be right; of the extensions
 *          of version 2, when they are all there). A CRC32c that stands behind addresses must be right.
 * Limits:  version 1 lines take at most 107 bytes; version 2 up to 16 + 65535. */
int tavi__proxy_read(const char *p, size_t len, size_t *consumed, struct tavi__proxy_client *ret_client);

#endif
