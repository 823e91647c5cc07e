/* SPDX-License-Identifier: MIT
 *
 * IPv4 and IPv6 literals, read from left to right: the first byte that cannot be part of a right one is an error, and
 * what may still become one is told apart from that. */
#ifndef TAVI_WIRE_IP_H
#define TAVI_WIRE_IP_H

#include <stdbool.h>
#include <stdint.h>

#include "tavi/base.h"
#include "wire/wire.h"

enum { TAVI__IP_TEXT_BYTES = 45 }; /* of the longest: eight groups, the last two as IPv4 */

/* Read "192.0.2.1" (four decimal numbers up to 255, without leading zeros) at *p, up to the first byte behind it that
 * cannot continue it; *p moves there.
 * Returns: TAVI_WIRE_EVENT; TAVI_WIRE_MORE: `end` came where it may go on; TAVI_E_PROTOCOL. */
int tavi__ip4_read(const char **p, const char *end, uint8_t ret_ip[4]);

/* The same for "2001:db8::1" and "::ffff:192.0.2.1" (RFC 4291 section 2.2), without a zone. */
int tavi__ip6_read(const char **p, const char *end, uint8_t ret_ip[16]);

/* The same for a decimal number up to max, without leading zeros. */
int tavi__decimal_read(const char **p, const char *end, unsigned max, unsigned *ret_number);

/* All of s as a literal. Returns: 4 (the first four bytes of ret_ip are written), 6, or 0 when it is neither. */
int tavi__ip_parse(struct tavi_slice s, uint8_t ret_ip[16]);

#endif
