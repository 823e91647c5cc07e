/* SPDX-License-Identifier: MIT
 *
 * Sockets and descriptors of the system, non-blocking and closed on exec, with our errors instead of errno.
 * TAVI__AGAIN (os/errors.h) is what would have blocked. */
#ifndef TAVI_OS_SOCK_H
#define TAVI_OS_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "os/errors.h"
#include "tavi/conn.h"

/* ==== addresses ==== */

/* An address as the system takes it. Large (a Unix path has 108 bytes), so it lives on the stack only. */
struct tavi__sockaddr {
  socklen_t len; /* 0: none */
  union {
    struct sockaddr sa;
    char bytes[112];
    uint64_t align;
  } u;
};

/* A peer's IP address, small enough to be kept with every connection. */
struct tavi__peer {
  uint8_t ip[16]; /* IPv4: the first four */
  uint16_t port;
  uint8_t family; /* 0: unknown, 4, 6, 1: Unix */
  uint32_t scope; /* IPv6, link-local: the interface behind which the peer is; 0: none */
};

/* host: an IPv4 or IPv6 literal (no brackets). A link-local one may have a zone, "fe80::1%eth0" or "fe80::1%2" (RFC
 * 4007 section 11). False when it is neither, or when there is no such interface. */
bool tavi__sockaddr_ip(const char *host, uint16_t port, struct tavi__sockaddr *ret_addr);

/* A path, or "@name" for Linux's abstract namespace. False when it is empty or too long. */
bool tavi__sockaddr_unix(const char *path, struct tavi__sockaddr *ret_addr);

bool tavi__sockaddr_is_unix(const struct tavi__sockaddr *a);
void tavi__sockaddr_text(const struct tavi__sockaddr *a, struct tavi_addr *ret_addr);
void tavi__sockaddr_to_peer(const struct tavi__sockaddr *a, struct tavi__peer *ret_peer);
void tavi__peer_to_sockaddr(const struct tavi__peer *p, bool is_v6_socket, struct tavi__sockaddr *ret_addr);
void tavi__peer_text(const struct tavi__peer *p, struct tavi_addr *ret_addr);

/* ==== opening: a descriptor, or a negative error ==== */

enum {
  TAVI__SOCK_REUSE_PORT = 1,
  TAVI__SOCK_DEFER = 2,
};

/* Bound and listening. A Unix path left behind by a dead process is replaced (nobody accepts on it any more). */
int tavi__sock_listen(const struct tavi__sockaddr *a, int backlog, unsigned flags);

/* A datagram socket, bound. */
int tavi__sock_bind_udp(const struct tavi__sockaddr *a, unsigned flags);

/* A stream or datagram socket on its way to a peer. *ret_state: TAVI__AGAIN, not yet established; 0, it is. */
int tavi__sock_connect(const struct tavi__sockaddr *a, bool is_udp, int *ret_state);

/* Take an inherited socket: made non-blocking, closed on exec. *ret_is_udp tells its type.
 * TAVI_E_ADDRESS when it is no socket, or a stream socket that does not listen. */
int tavi__sock_adopt(int fd, bool *ret_is_udp);

/* The descriptor that systemd has handed over (sd_listen_fds(3)): the first, or the one called `name`. */
int tavi__sock_from_systemd(const char *name);

/* ==== using ==== */

int tavi__sock_accept(int fd, struct tavi__sockaddr *ret_peer);
ssize_t tavi__sock_recv(int fd, void *buf, size_t cap); /* 0: the peer has closed its side */
ssize_t tavi__sock_peek(int fd, void *buf, size_t cap); /* the same bytes will be received again */
ssize_t tavi__sock_send(int fd, const void *data, size_t len, bool more_follows);
ssize_t tavi__sock_sendv(int fd, const struct iovec *iov, int count, bool more_follows);
ssize_t tavi__sock_send_file(int fd, int file_fd, uint64_t offset, size_t len); /* 0: the file ends here */
ssize_t tavi__sock_recv_from(int fd, void *buf, size_t cap, struct tavi__sockaddr *ret_from);
ssize_t tavi__sock_send_to(int fd, const void *data, size_t len, const struct tavi__sockaddr *to); /* NULL: connected */
int tavi__sock_error(int fd); /* the pending error (negative), 0 when there is none */
void tavi__sock_shutdown(int fd); /* our side: the peer sees the end */
bool tavi__sock_is_v6(int fd);
int tavi__sock_local(int fd, struct tavi__sockaddr *ret_addr);
int tavi__sock_peer(int fd, struct tavi__sockaddr *ret_addr);
void tavi__sock_unlink(const struct tavi__sockaddr *a); /* remove a Unix path; nothing for others */

/* ==== datagrams to groups and to everybody; see tavi/udp.h. interface 0: the system's choice ==== */

/* The number of a network interface, from its name or from that number as text; 0: there is none. */
unsigned tavi__interface(const char *name);

bool tavi__sockaddr_is_group(const struct tavi__sockaddr *a);
int tavi__sock_join(int fd, const struct tavi__sockaddr *group, unsigned interface);
int tavi__sock_leave(int fd, const struct tavi__sockaddr *group, unsigned interface);
int tavi__sock_set_multicast(int fd, bool is_v6, unsigned interface, unsigned hops, bool loop);
int tavi__sock_set_broadcast(int fd, bool is_on);

/* ==== descriptors ==== */

void tavi__fd_close(int fd); /* negative: nothing */

/* The number of this process: a forked child that holds copies of our descriptors must not undo what belongs to all. */
int tavi__process_id(void);

/* A descriptor that is good for nothing but being given up when there are no others. */
int tavi__fd_reserve(void);

#endif
