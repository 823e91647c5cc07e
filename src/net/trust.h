/* SPDX-License-Identifier: MIT
 *
 * Whom to believe: a list of addresses and networks, such as "10.0.0.0/8, ::1, unix". It is made once from an option
 * and then asked about peers. */
#ifndef TAVI_NET_TRUST_H
#define TAVI_NET_TRUST_H

#include "os/sock.h"

struct tavi__trust;

/* Make the list. Elements are separated by ',', perhaps with spaces around: "unix" (all peers on Unix sockets), an IPv4
 * or IPv6 literal, or one with "/bits" behind it. What is set behind a network's bits would be a mistake, and is one.
 * An IPv4-mapped IPv6 address is that IPv4 address; "::/0" is IPv6 alone.
 *
 * text: NULL, or nothing but spaces, trusts nobody, and *ret_trust is NULL.
 * Returns: 0, TAVI_E_ARG (malformed), TAVI_E_NOMEM. */
int tavi__trust_new(const char *text, struct tavi__trust **ret_trust);
void tavi__trust_free(struct tavi__trust *t);

/* t NULL: nobody is. */
bool tavi__trust_has(const struct tavi__trust *t, const struct tavi__peer *p);

/* An IPv4 or IPv6 literal as a peer would have it. */
bool tavi__peer_of_text(struct tavi_slice literal, uint16_t port, struct tavi__peer *ret_peer);

/* ... and the bytes of one. family: 4 or 6. */
void tavi__peer_of_ip(unsigned family, const uint8_t *ip, uint16_t port, struct tavi__peer *ret_peer);

#endif
