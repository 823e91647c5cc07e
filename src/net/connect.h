/* SPDX-License-Identifier: MIT
 *
 * What the rest of net/ needs of a connection that is on its way to its peer; see connect.c. */
#ifndef TAVI_NET_CONNECT_H
#define TAVI_NET_CONNECT_H

#include "net/conn.h"

/* Its socket has become ready; events 0: a failure is to be told. */
void tavi__connect_ready(struct tavi_conn *c, unsigned events) TAVI__APART;

/* The connect time-out has passed. */
void tavi__connect_timeout(struct tavi_conn *c);

/* Begin the next attempt if it is due. Returns when one will be; 0: none is planned. */
uint64_t tavi__connect_attempt(struct tavi_conn *c);

/* The connection ends: so does what is on its way. */
void tavi__connect_end(struct tavi_conn *c);

#endif
