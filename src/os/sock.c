/* SPDX-License-Identifier: MIT
 *
 * See sock.h: each function is one step of the system, or a few that belong together. */
#include "os/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : tavi__error_of(errno);
}

static int failed(int fd) {
  int err = tavi__error_of(errno);
  close(fd);
  return err;
}

/* ==== opening ==== */

static int open_socket(const struct tavi__sockaddr *a, int type) {
  int fd = socket(a->u.sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : tavi__error_of(errno);
}

/* True when a Unix path exists and nobody accepts on it. */
static bool is_stale(const struct tavi__sockaddr *a) {
  struct sockaddr_un un;
  struct stat st;
  memcpy(&un, a->u.bytes, sizeof(un));
  if (un.sun_path[0] == 0 || lstat(un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) return false;

  int fd = open_socket(a, SOCK_STREAM);
  if (fd < 0) return false;
  bool refused = connect(fd, &a->u.sa, a->len) != 0 && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

static int bind_to(int fd, const struct tavi__sockaddr *a) {
  if (bind(fd, &a->u.sa, a->len) == 0) return 0;

  if (errno == EADDRINUSE && tavi__sockaddr_is_unix(a) && is_stale(a)) {
    tavi__sock_unlink(a);
    if (bind(fd, &a->u.sa, a->len) == 0) return 0;
  }
  return tavi__error_of(errno);
}

static int set_common(int fd, const struct tavi__sockaddr *a, unsigned flags) {
  int err = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  /* Dual-stack by default: [::] takes IPv4 peers too, whatever the system's default is. */
  if (err == 0 && a->u.sa.sa_family == AF_INET6) err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (err == 0 && flags & TAVI__SOCK_REUSE_PORT) err = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  return err;
}

int tavi__sock_listen(const struct tavi__sockaddr *a, int backlog, unsigned flags) {
  int fd = open_socket(a, SOCK_STREAM);
  if (fd < 0) return fd;

  int err = 0;
  if (!tavi__sockaddr_is_unix(a)) {
    err = set_common(fd, a, flags);
    /* Accepted sockets inherit it. We send whole replies at once, so there is nothing to wait for. */
    if (err == 0) err = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (err == 0 && flags & TAVI__SOCK_DEFER) err = set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
  }
  if (err == 0) err = bind_to(fd, a);
  if (err == 0 && listen(fd, backlog) != 0) err = tavi__error_of(errno);
  if (err == 0) return fd;

  close(fd);
  return err;
}

/* Without it Linux hands a socket what is sent to groups that others on this host have joined. An old kernel may not
 * know it. */
static void only_own_groups(int fd, bool is_v6) {
  set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  if (is_v6) set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
}

int tavi__sock_bind_udp(const struct tavi__sockaddr *a, unsigned flags) {
  int fd = open_socket(a, SOCK_DGRAM);
  if (fd < 0) return fd;

  int err = 0;
  if (a->u.sa.sa_family == AF_INET6) err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  /* Both: programs of other users, which share the ports of multicast protocols, mostly have the older one set. */
  if (err == 0 && flags & TAVI__SOCK_REUSE_PORT) err = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (err == 0 && flags & TAVI__SOCK_REUSE_PORT) err = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  only_own_groups(fd, a->u.sa.sa_family == AF_INET6);
  if (err == 0) err = bind_to(fd, a);
  if (err == 0) return fd;

  close(fd);
  return err;
}

int tavi__sock_connect(const struct tavi__sockaddr *a, bool is_udp, int *ret_state) {
  int fd = open_socket(a, is_udp ? SOCK_DGRAM : SOCK_STREAM);
  if (fd < 0) return fd;

  if (!is_udp && !tavi__sockaddr_is_unix(a)) set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (connect(fd, &a->u.sa, a->len) == 0) {
    *ret_state = 0;
    return fd;
  }
  if (errno == EAGAIN) errno = ECONNREFUSED; /* a Unix backlog is full; no poller can wait for room in it */
  if (errno != EINPROGRESS) return failed(fd);
  *ret_state = TAVI__AGAIN;
  return fd;
}

int tavi__sock_adopt(int fd, bool *ret_is_udp) {
  int type = 0, listening = 0;
  socklen_t len = sizeof(type);
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) return TAVI_E_ADDRESS;
  if (type == SOCK_STREAM) {
    len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening) return TAVI_E_ADDRESS;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* fails for Unix sockets, which do not need it */
  } else if (type != SOCK_DGRAM) {
    return TAVI_E_ADDRESS;
  }

  int status = fcntl(fd, F_GETFL), on_exec = fcntl(fd, F_GETFD);
  if (status < 0 || fcntl(fd, F_SETFL, status | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, on_exec | FD_CLOEXEC) != 0)
    return tavi__error_of(errno);
  *ret_is_udp = type == SOCK_DGRAM;
  return fd;
}

int tavi__sock_from_systemd(const char *name) {
  const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
  if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long) getpid()) return TAVI_E_NOT_FOUND;
  long count = strtol(fds, NULL, 10);
  const int first = 3; /* SD_LISTEN_FDS_START */
  if (count <= 0) return TAVI_E_NOT_FOUND;
  if (name == NULL) return first;

  for (int i = 0; i < count && names != NULL; i++) {
    size_t len = strcspn(names, ":");
    if (len == strlen(name) && memcmp(names, name, len) == 0) return first + i;
    names = names[len] == ':' ? names + len + 1 : NULL;
  }
  return TAVI_E_NOT_FOUND;
}

/* ==== using ==== */

int tavi__sock_accept(int fd, struct tavi__sockaddr *ret_peer) {
  ret_peer->len = sizeof(ret_peer->u);
  int peer = accept4(fd, &ret_peer->u.sa, &ret_peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return peer >= 0 ? peer : tavi__error_of(errno);
}

/* A call that cannot sleep is not interrupted either. Were it, AGAIN is right: the poller tells again. */
ssize_t tavi__sock_recv(int fd, void *buf, size_t cap) {
  ssize_t n = recv(fd, buf, cap, 0);
  return n >= 0 ? n : tavi__error_of(errno);
}

ssize_t tavi__sock_peek(int fd, void *buf, size_t cap) {
  ssize_t n = recv(fd, buf, cap, MSG_PEEK);
  return n >= 0 ? n : tavi__error_of(errno);
}

ssize_t tavi__sock_send(int fd, const void *data, size_t len, bool more_follows) {
  ssize_t n = send(fd, data, len, MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));
  return n >= 0 ? n : tavi__error_of(errno);
}

ssize_t tavi__sock_sendv(int fd, const struct iovec *iov, int count, bool more_follows) {
  struct msghdr msg = {.msg_iov = (struct iovec *) (uintptr_t) iov, .msg_iovlen = (size_t) count};
  ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));
  return n >= 0 ? n : tavi__error_of(errno);
}

/* sendfile(2) raises SIGPIPE when the peer has gone, and there is no flag against it: so, unless the program ignores it
 * anyway, the signal is blocked in this thread meanwhile, and taken back. (One that the program has blocked itself may
 * have been waiting before.) */
struct no_pipe {
  sigset_t pipe, old;
  bool was_raised;
};

static void pipe_block(struct no_pipe *p) {
  sigset_t pending;
  sigemptyset(&p->pipe);
  sigaddset(&p->pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &p->pipe, &p->old);
  bool was_blocked = sigismember(&p->old, SIGPIPE) == 1;
  p->was_raised = was_blocked && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

static void pipe_unblock(const struct no_pipe *p, bool may_be_raised) {
  static const struct timespec at_once = {0, 0};
  if (may_be_raised && !p->was_raised) sigtimedwait(&p->pipe, NULL, &at_once);
  pthread_sigmask(SIG_SETMASK, &p->old, NULL);
}

static bool is_pipe_ignored(void) {
  struct sigaction now;
  return sigaction(SIGPIPE, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN;
}

ssize_t tavi__sock_send_file(int fd, int file_fd, uint64_t offset, size_t len) {
  struct no_pipe pipe;
  off_t at = (off_t) offset;
  ssize_t n;
  bool is_ignored = is_pipe_ignored();
  if (!is_ignored) pipe_block(&pipe);
  do n = sendfile(fd, file_fd, &at, len);
  while (n < 0 && errno == EINTR);
  int error = errno;
  if (!is_ignored) pipe_unblock(&pipe, n < (ssize_t) len); /* also when a part went before */
  return n >= 0 ? n : tavi__error_of(error);
}

ssize_t tavi__sock_recv_from(int fd, void *buf, size_t cap, struct tavi__sockaddr *ret_from) {
  ssize_t n;
  do {
    ret_from->len = sizeof(ret_from->u);
    n = recvfrom(fd, buf, cap, 0, &ret_from->u.sa, &ret_from->len);
  } while (n < 0 && errno == EINTR);
  return n >= 0 ? n : tavi__error_of(errno);
}

ssize_t tavi__sock_send_to(int fd, const void *data, size_t len, const struct tavi__sockaddr *to) {
  ssize_t n;
  do n = sendto(fd, data, len, MSG_NOSIGNAL, to == NULL ? NULL : &to->u.sa, to == NULL ? 0 : to->len);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : tavi__error_of(errno);
}

int tavi__sock_error(int fd) {
  int err = 0;
  socklen_t len = sizeof(err);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) err = errno;
  return err == 0 ? 0 : tavi__error_of(err);
}

void tavi__sock_shutdown(int fd) { shutdown(fd, SHUT_WR); }

bool tavi__sock_is_v6(int fd) {
  int domain = 0;
  socklen_t len = sizeof(domain);
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_INET6;
}

int tavi__sock_local(int fd, struct tavi__sockaddr *ret_addr) {
  ret_addr->len = sizeof(ret_addr->u);
  return getsockname(fd, &ret_addr->u.sa, &ret_addr->len) == 0 ? 0 : tavi__error_of(errno);
}

int tavi__sock_peer(int fd, struct tavi__sockaddr *ret_addr) {
  ret_addr->len = sizeof(ret_addr->u);
  return getpeername(fd, &ret_addr->u.sa, &ret_addr->len) == 0 ? 0 : tavi__error_of(errno);
}

void tavi__sock_unlink(const struct tavi__sockaddr *a) {
  struct sockaddr_un un;
  if (!tavi__sockaddr_is_unix(a)) return;
  memcpy(&un, a->u.bytes, sizeof(un));
  if (a->len > offsetof(struct sockaddr_un, sun_path) && un.sun_path[0] != 0) unlink(un.sun_path);
}

/* ==== datagrams to groups and to everybody ==== */

/* RFC 3678 section 5.1. An IPv6 socket can be in IPv4 groups. */
static int set_member(int fd, int option, const struct tavi__sockaddr *group, unsigned interface) {
  struct group_req req = {.gr_interface = interface};
  memcpy(&req.gr_group, group->u.bytes, group->len);
  int level = group->u.sa.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  if (setsockopt(fd, level, option, &req, sizeof(req)) == 0) return 0;
  return errno == ENOBUFS ? TAVI_E_LIMIT : tavi__error_of(errno); /* net.ipv4.igmp_max_memberships */
}

int tavi__sock_join(int fd, const struct tavi__sockaddr *group, unsigned interface) {
  return set_member(fd, MCAST_JOIN_GROUP, group, interface);
}

int tavi__sock_leave(int fd, const struct tavi__sockaddr *group, unsigned interface) {
  return set_member(fd, MCAST_LEAVE_GROUP, group, interface);
}

int tavi__sock_set_multicast(int fd, bool is_v6, unsigned interface, unsigned hops, bool loop) {
  struct ip_mreqn from = {.imr_ifindex = (int) interface};
  int err = setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof(from)) == 0 ? 0 : tavi__error_of(errno);
  if (err == 0) err = set(fd, IPPROTO_IP, IP_MULTICAST_TTL, (int) hops);
  if (err == 0) err = set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, loop);
  if (!is_v6) return err;
  if (err == 0) err = set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int) interface);
  if (err == 0) err = set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, (int) hops);
  if (err == 0) err = set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, loop);
  return err;
}

int tavi__sock_set_broadcast(int fd, bool is_on) { return set(fd, SOL_SOCKET, SO_BROADCAST, is_on); }

/* ==== descriptors ==== */

void tavi__fd_close(int fd) {
  if (fd >= 0) close(fd);
}

int tavi__process_id(void) { return (int) getpid(); }

int tavi__fd_reserve(void) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return fd >= 0 ? fd : tavi__error_of(errno);
}
