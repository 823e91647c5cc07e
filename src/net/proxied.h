/* SPDX-License-Identifier: MIT
 *
 * Connections that a trusted proxy has opened for somebody else. */
#ifndef TAVI_NET_PROXIED_H
#define TAVI_NET_PROXIED_H

struct tavi_conn;

/* c was accepted from a trusted proxy, and its user knows nothing of it: read the header of the PROXY protocol, make
 * the client it names the peer, and then begin as every accepted connection does (tavi__conn_accepted()). Without such
 * a header it ends without a callback. */
void tavi__proxied_start(struct tavi_conn *c);

#endif
