/* SPDX-License-Identifier: MIT
 *
 * Listeners and connections over TCP, UDP and Unix stream sockets.
 *
 * URLs (scheme://host:port; the scheme may be left out):
 *   tcp://127.0.0.1:8000   tcp://[::1]:8000   tcp://localhost:8000   tcp://:8000 (= 0.0.0.0)
 *   tcp://example.com:80   connecting only: a name, see tavi/dns.h; of its addresses the first that answers is taken
 *   tcp://[::]:8000        all addresses of both families (IPv4 peers appear as IPv4)
 *   udp://...              datagrams
 *   unix:/run/x.sock       Unix stream socket; unix:@name is Linux's abstract namespace
 *   fd://3                 listening only: an inherited socket; taken when the call succeeds, closed with its listener
 *   fd://systemd           listening only: the first socket handed over by systemd (LISTEN_PID, LISTEN_FDS);
 *   fd://systemd:NAME      the one that LISTEN_FDNAMES calls NAME
 * Port 0 lets the system choose; read it back with tavi_listener_local_addr().
 *
 * Lives: a connection exists from the call that made it (or on_open) until its on_close has returned, which is called
 * exactly once, as the last callback, by the end of the turn in which it was closed (the next turn when it was
 * closed between turns). Afterwards the pointer is dead. Other threads and later callbacks keep the id instead, which
 * is never used again.
 */
#ifndef TAVI_CONN_H
#define TAVI_CONN_H

#include <stdbool.h>

#include "tavi/base.h"

TAVI_BEGIN_DECLS

struct tavi_manager;
struct tavi_conn;
struct tavi_listener;

/* ==== handlers ==== */

/* What a connection tells its user. Every entry may be NULL, which means "not interested" and costs nothing.
 * A table is borrowed for the life of the connections that use it: make it static const. */
struct tavi_conn_handlers {
  void (*on_open)(struct tavi_conn *c, void *user);    /* first of all; outgoing ones: inside the connect call */
  void (*on_resolve)(struct tavi_conn *c, void *user); /* outgoing: the target's address is known */
  void (*on_connect)(struct tavi_conn *c, void *user); /* outgoing: established (UDP: inside the connect call) */
  void (*on_accept)(struct tavi_conn *c, void *user);  /* accepted: right after on_open */
  void (*on_read)(struct tavi_conn *c, void *user);    /* bytes arrived; after what the protocol made of them */
  void (*on_write)(struct tavi_conn *c, size_t sent, void *user); /* bytes went to the system */
  void (*on_low_water)(struct tavi_conn *c, void *user); /* the queue was above high water and is below low again */
  void (*on_wakeup)(struct tavi_conn *c, struct tavi_slice data, void *user); /* see tavi_manager_wakeup() */
  void (*on_error)(struct tavi_conn *c, int err, const char *text, void *user); /* why on_close comes next */
  void (*on_close)(struct tavi_conn *c, void *user);   /* last of all, exactly once */
};

/* What a listener tells its user about itself. */
struct tavi_listener_handlers {
  void (*on_wakeup)(struct tavi_listener *l, struct tavi_slice data, void *user);
  void (*on_close)(struct tavi_listener *l, void *user);
};

/* ==== options ==== */

/* Fill with tavi_conn_opts_init(); copied at the call. A time of 0 means no limit. */
struct tavi_conn_opts {
  uint32_t connect_timeout_ms; /* outgoing: until established; default 30,000 */
  uint32_t idle_timeout_ms;    /* nothing received and nothing sent for so long; default 0. Servers of HTTP: caps
                                * the three times of struct tavi_http_opts; an answer may take as long as it takes */
  uint32_t write_timeout_ms;   /* something to send and the peer takes none of it; default 60,000 */
  size_t recv_bytes_max;       /* received and not consumed; default 3 MiB. Beyond it TAVI_E_LIMIT, then close; a user
                                * that consumes is paused and resumed instead */
  size_t send_bytes_max;       /* queued in memory; default 64 MiB. Beyond it TAVI_E_LIMIT, then close; one piece that
                                * is larger is accepted when the queue is empty */
  size_t send_high_water;      /* default 1 MiB: above it, nothing more is read from this peer ... */
  size_t send_low_water;       /* default 256 KiB: ... until the queue has fallen below this */
};

TAVI_API void tavi_conn_opts_init(struct tavi_conn_opts *opts);

/* Fill with tavi_listen_opts_init(); copied at the call. */
struct tavi_listen_opts {
  struct tavi_conn_opts conn; /* for each accepted connection */
  int backlog;                /* default 4096; the system may cap it */
  bool reuse_port;            /* SO_REUSEPORT: several processes or managers share the port; default false */
  bool defer_accept;          /* TCP_DEFER_ACCEPT: accept when bytes are there; hides silent peers; default false */
  const char *proxy_protocol_from; /* proxies that begin each connection with a PROXY protocol header, version 1 or 2:
                               * addresses and networks, "10.0.0.0/8, ::1", and "unix" for peers on Unix sockets. From
                               * these the header is demanded, and on_open comes when it has; the remote address is
                               * then the client's. Without one, or 5 s without all of it, they are closed, and nobody
                               * is told. Others are taken for clients. Copied; default NULL: nobody */
  const struct tavi_listener_handlers *handlers; /* of the listener itself; default NULL */
  void *listener_user;        /* their user */
};

TAVI_API void tavi_listen_opts_init(struct tavi_listen_opts *opts);

/* ==== opening ==== */

/* Listen for stream connections (tcp, unix, fd URLs). opts may be NULL for defaults.
 *
 * handlers, user: of each accepted connection; see tavi_conn_set_user().
 * Owns:    the manager; the handle is valid until its on_close has returned.
 * Returns: 0; TAVI_E_ADDRESS (cannot be parsed, or is a host name), TAVI_E_ARG (proxy_protocol_from is malformed, too),
 *          TAVI_E_IN_USE, TAVI_E_ACCESS, TAVI_E_DESCRIPTORS, TAVI_E_NOMEM, TAVI_E_NOT_FOUND (fd://systemd without such
 *          a socket), TAVI_E_SYSTEM. */
TAVI_API int tavi_listen(struct tavi_manager *m, const char *url, const struct tavi_listen_opts *opts,
                         const struct tavi_conn_handlers *handlers, void *user, struct tavi_listener **ret_listener);

/* Open a connection (tcp, udp, unix URLs). It is established in a later turn; failure comes as on_error, on_close.
 *
 * on_open, on_resolve (when no name has to be looked up) and, for UDP, on_connect are called inside this call.
 * Bytes may be sent at once; they leave when the connection is established.
 * Returns: 0, TAVI_E_ADDRESS (an empty URL), TAVI_E_ARG, TAVI_E_NOMEM. Everything else, an impossible URL included, is
 *          told by on_error. */
TAVI_API int tavi_connect(struct tavi_manager *m, const char *url, const struct tavi_conn_opts *opts,
                          const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn);

/* Bind a UDP socket (udp URLs; fd URLs of datagram sockets). One connection serves all peers: each datagram is one
 * on_read, tavi_conn_peek() is that datagram, tavi_conn_remote_addr() its sender, tavi_conn_send() answers it. Sending
 * to others, groups and broadcast: tavi/udp.h.
 *
 * opts:    conn and reuse_port; the rest is for streams. With reuse_port the senders are spread over the sockets that
 *          share the port, and each gets all that is sent to its groups.
 * Returns: as tavi_listen(). */
TAVI_API int tavi_udp_listen(struct tavi_manager *m, const char *url, const struct tavi_listen_opts *opts,
                             const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn);

/* ==== listeners ==== */

TAVI_API uint64_t tavi_listener_id(const struct tavi_listener *l);
TAVI_API struct tavi_manager *tavi_listener_manager(const struct tavi_listener *l);

/* Stop accepting and close the socket by the end of the turn. Accepted connections live on. */
TAVI_API void tavi_listener_close(struct tavi_listener *l);

/* ==== receiving ==== */

/* The received bytes that were not consumed: for raw connections all of them; for HTTP the raw request inside its
 * callbacks, and pieces of the body while it is streamed (tavi_http_stream_body()).
 *
 * In on_close it still is what the peer has sent and nobody has consumed.
 * Owns:    borrowed; valid until the callback returns or until the next call for this connection. */
TAVI_API struct tavi_slice tavi_conn_peek(const struct tavi_conn *c);

/* Drop the first n of those bytes (n is cut to their number). From the first call on, a full receive buffer pauses
 * reading instead of ending the connection. Does nothing for the parts of an HTTP message that is not streamed. */
TAVI_API void tavi_conn_consume(struct tavi_conn *c, size_t n);

/* Stop and continue reading from the peer. While paused the peer is held back by its own system once the buffers
 * between are full; its closing may be noticed later. Pausing twice is pausing once. */
TAVI_API void tavi_conn_pause(struct tavi_conn *c);
TAVI_API void tavi_conn_resume(struct tavi_conn *c);

/* ==== sending ==== */

/* All of these append to the send queue, which is flushed at the end of the turn (UDP: sent at once). On an HTTP
 * connection the bytes are followed for their framing, so a response written by hand counts as the answer.
 *
 * Return:  0; TAVI_E_CLOSED (closed, closing, or draining); TAVI_E_LIMIT (send_bytes_max: the connection fails,
 *          on_error and on_close follow); TAVI_E_NOMEM (likewise); TAVI_E_STATE (HTTP: more bytes than the response
 *          has); UDP: TAVI_E_TOO_BIG when one datagram cannot hold it, TAVI_E_LIMIT when the system's own buffer is
 *          full, TAVI_E_SYSTEM; a UDP connection lives on. */

/* Copied. */
TAVI_API int tavi_conn_send(struct tavi_conn *c, const void *data, size_t len);

/* Taken: nothing is copied; release(arg) is called exactly once, when the last byte has been handed to the system or
 * the connection is closed; on the loop's thread, possibly before this call returns. */
TAVI_API int tavi_conn_send_foreign(struct tavi_conn *c, const void *data, size_t len, void (*release)(void *arg),
                                    void *arg);

/* Taken: len bytes of the file from offset on (sendfile). fd is closed when they are sent or dropped. A file that
 * turns out to be shorter closes the connection: a wrong length is never made good with other bytes. */
TAVI_API int tavi_conn_send_file(struct tavi_conn *c, int fd, uint64_t offset, uint64_t len);

/* An immutable buffer that many connections can send at the cost of a reference each (one encoding for a broadcast).
 * Threads: counting references is atomic; a buffer may be shared between managers. */
struct tavi_shared;

/* Copied. The caller holds one reference. Returns 0 or TAVI_E_NOMEM. */
TAVI_API int tavi_shared_new(const void *data, size_t len, struct tavi_shared **ret_shared);
TAVI_API void tavi_shared_unref(struct tavi_shared *s);

/* Borrowed: the queue takes a reference of its own. */
TAVI_API int tavi_conn_send_shared(struct tavi_conn *c, struct tavi_shared *s);

/* Bytes queued and not yet handed to the system. */
TAVI_API size_t tavi_conn_send_pending(const struct tavi_conn *c);

/* Copy the first bytes of the send queue to buf, at most cap. Returns their number (file ranges are left out). */
TAVI_API size_t tavi_conn_send_peek(const struct tavi_conn *c, void *buf, size_t cap);

/* Bytes of memory held for the send queue and for received bytes. */
TAVI_API size_t tavi_conn_send_held(const struct tavi_conn *c);
TAVI_API size_t tavi_conn_recv_held(const struct tavi_conn *c);

/* ==== closing ==== */

/* Close now: what is queued is dropped, no callback but on_close is called any more. Closing twice is closing once. */
TAVI_API void tavi_conn_close(struct tavi_conn *c);

/* Close when the send queue is empty. Nothing can be sent afterwards. */
TAVI_API void tavi_conn_drain(struct tavi_conn *c);

/* on_error with TAVI_E_USER and this text (borrowed for the call), inside this call; then close. */
TAVI_API void tavi_conn_fail(struct tavi_conn *c, const char *text);

/* ==== asking ==== */

enum tavi_conn_flag {
  TAVI_CONN_CLIENT = 1 << 0,     /* made by a connect call */
  TAVI_CONN_UDP = 1 << 1,
  TAVI_CONN_UNIX = 1 << 2,
  TAVI_CONN_RESOLVING = 1 << 3,
  TAVI_CONN_CONNECTING = 1 << 4,
  TAVI_CONN_DRAINING = 1 << 5,
  TAVI_CONN_CLOSING = 1 << 6,
  TAVI_CONN_READABLE = 1 << 7,   /* as the last wait found it */
  TAVI_CONN_WRITABLE = 1 << 8,
  TAVI_CONN_FULL = 1 << 9,       /* the send queue is above high water and has not fallen below low water yet */
  TAVI_CONN_PAUSED = 1 << 10,    /* by tavi_conn_pause() */
  TAVI_CONN_HTTP = 1 << 11       /* speaks HTTP (and was not turned raw by a CONNECT) */
};

/* All of the above that are true now. */
TAVI_API unsigned tavi_conn_flags(const struct tavi_conn *c);

TAVI_API uint64_t tavi_conn_id(const struct tavi_conn *c);
TAVI_API struct tavi_manager *tavi_conn_manager(const struct tavi_conn *c);

/* The listener's id for an accepted connection, 0 for others. */
TAVI_API uint64_t tavi_conn_listener_id(const struct tavi_conn *c);

/* The pointer that all handlers of this connection get; accepted ones begin with their listener's. */
TAVI_API void *tavi_conn_user(const struct tavi_conn *c);
TAVI_API void tavi_conn_set_user(struct tavi_conn *c, void *user);

/* An address as text. */
struct tavi_addr {
  char host[110]; /* "127.0.0.1", "::1" (RFC 5952), a link-local one with its interface, "fe80::1%eth0" (RFC 4007), or
                   * a Unix path; ends in NUL; "" when unknown */
  uint16_t port;  /* 0 for Unix sockets */
  bool is_ipv6;   /* false for IPv4 peers of a dual-stack listener too: those are shown as IPv4 */
  bool is_unix;
};

/* The own and the peer's address. The peer's is kept from the start, so a reset connection still has it; UDP: the
 * sender of the newest datagram. Returns 0, or TAVI_E_NOT_FOUND where there is none (yet). */
TAVI_API int tavi_conn_local_addr(const struct tavi_conn *c, struct tavi_addr *ret_addr);
TAVI_API int tavi_conn_remote_addr(const struct tavi_conn *c, struct tavi_addr *ret_addr);
TAVI_API int tavi_listener_local_addr(const struct tavi_listener *l, struct tavi_addr *ret_addr);

/* An address from text: "192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%eth0]:53"; "localhost" is 127.0.0.1. A scheme in
 * front and a path behind are skipped. Nothing is looked up. Returns 0 or TAVI_E_ADDRESS (host names, no port). */
TAVI_API int tavi_addr_parse(const char *text, struct tavi_addr *ret_addr);

TAVI_END_DECLS

#endif
