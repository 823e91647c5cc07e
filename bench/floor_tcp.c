/* SPDX-License-Identifier: MIT
 *
 * Raw TCP echo on one core: epoll, recv, send. The bound for server_tcp.c.
 *   floor_tcp -p PORT
 * An answer that does not fit into the socket buffer blocks the whole program; load_tcp never makes it so large.
 */
#include "bench.h"

int main(int argc, char **argv) {
  static char rbuf[1 << 18];
  int port = 8000, o;
  while ((o = getopt(argc, argv, "p:")) != -1)
    if (o == 'p') port = atoi(optarg);
  raise_fd_limit();
  int ls = listen_on("127.0.0.1", port), ep = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = ls}, evs[512];
  epoll_ctl(ep, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    int k = epoll_wait(ep, evs, 512, -1);
    for (int i = 0; i < k; i++) {
      int fd = evs[i].data.fd;
      if (fd == ls) {
        while ((fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          set_nodelay(fd);
          struct epoll_event ce = {.events = EPOLLIN, .data.fd = fd};
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ce);
        }
        continue;
      }
      ssize_t n = recv(fd, rbuf, sizeof(rbuf), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0 || !send_all(fd, rbuf, (size_t) n)) close(fd);
    }
  }
}
