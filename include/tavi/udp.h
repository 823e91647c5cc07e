/* SPDX-License-Identifier: MIT
 *
 * Datagrams beyond those of tavi/conn.h: to any address, to groups (multicast) and to everybody (broadcast).
 *
 * A datagram holds up to TAVI_UDP_BYTES_MAX bytes, and may hold none. Those of more than about 1,400 travel in pieces,
 * and are lost when one of the pieces is. */
#ifndef TAVI_UDP_H
#define TAVI_UDP_H

#include "tavi/conn.h"

TAVI_BEGIN_DECLS

#define TAVI_UDP_BYTES_MAX 65507 /* over IPv4: 65,535 less the headers. Over IPv6 20 more */

/* Send one datagram from a bound socket (tavi_udp_listen()) to any address, at once. Who is answered by
 * tavi_conn_send() stays as it is.
 *
 * to:      as tavi_conn_remote_addr() or tavi_addr_parse() has given it. A socket of both families takes either.
 * Returns: 0; TAVI_E_ARG (this is no bound UDP socket), TAVI_E_ADDRESS (no address, port 0, the other family),
 *          TAVI_E_CLOSED, TAVI_E_TOO_BIG, TAVI_E_LIMIT (the system's buffer is full), TAVI_E_UNREACHABLE, TAVI_E_ACCESS
 *          (broadcast is off), TAVI_E_SYSTEM. The socket lives on. */
TAVI_API int tavi_udp_send_to(struct tavi_conn *c, const struct tavi_addr *to, const void *data, size_t len);

/* Become or stop being a member of a group, such as "239.1.2.3" or "ff02::fb": what is sent there, to the port that the
 * socket is bound to, is received like any other datagram. Only what goes to this socket's own groups is, so bind it to
 * udp://:PORT or udp://[::]:PORT (a member of groups of both families). reuse_port lets others on this host have the
 * same port and the same groups. Closing leaves all groups.
 *
 * interface: a name, "eth0", or a number, "2"; NULL: the zone of the group if it has one ("ff02::fb%eth0"), otherwise
 *          the system's choice. A group is joined anew for each interface.
 * Returns: 0; TAVI_E_ARG (this is not UDP), TAVI_E_ADDRESS (no group, the other family; leave: not a member),
 *          TAVI_E_NOT_FOUND (no such interface), TAVI_E_IN_USE (a member already), TAVI_E_LIMIT (the system's number of
 *          groups per socket), TAVI_E_STATE (the name is still being looked up), TAVI_E_CLOSED, TAVI_E_SYSTEM. */
TAVI_API int tavi_udp_join(struct tavi_conn *c, const char *group, const char *interface);
TAVI_API int tavi_udp_leave(struct tavi_conn *c, const char *group, const char *interface);

/* How datagrams to groups leave from now on. Before the first call: the system's interface, 1 hop, loop.
 *
 * interface: as above; NULL is the system's choice. hops: how many networks they may cross (TTL), 0 to 255; 1 is this
 * network, 0 this host. loop: whether members on this host get them too.
 * Returns: as tavi_udp_join(). */
TAVI_API int tavi_udp_set_multicast(struct tavi_conn *c, const char *interface, unsigned hops, bool loop);

/* Allow datagrams to broadcast addresses, such as 255.255.255.255; without it they fail with TAVI_E_ACCESS. */
TAVI_API int tavi_udp_set_broadcast(struct tavi_conn *c, bool is_on);

TAVI_END_DECLS

#endif
