/* SPDX-License-Identifier: MIT
 *
 * Raw TCP echo load generator: CONNS connections, DEPTH messages of SIZE bytes
 * in flight on each.
 *   load_tcp -p PORT [-n CONNS] [-s SIZE] [-d DEPTH] [-t SECONDS] [-P PIDS]
 * The last line of output is a JSON object.
 */
#include "bench.h"

struct conn {
  int fd;
  size_t part; /* bytes of the message being received */
  uint64_t at;
};

int main(int argc, char **argv) {
  static uint8_t rbuf[1 << 18];
  static struct hist lat;
  int port = 8000, o;
  long n_conns = 64, depth = 1;
  size_t size = 64;
  double secs = 3;
  const char *pids = NULL;
  while ((o = getopt(argc, argv, "p:n:s:d:t:P:")) != -1) {
    if (o == 'p') port = atoi(optarg);
    else if (o == 'n') n_conns = atol(optarg);
    else if (o == 's') size = strtoull(optarg, NULL, 10);
    else if (o == 'd') depth = atol(optarg);
    else if (o == 't') secs = atof(optarg);
    else if (o == 'P') pids = optarg;
    else return 2;
  }
  if (size < 1 || depth < 1) return 2;
  raise_fd_limit();
  signal(SIGPIPE, SIG_IGN);
  uint8_t *msg = xalloc(size * (size_t) depth);
  struct conn *conns = xalloc((size_t) n_conns * sizeof(*conns));
  int ep = epoll_create1(EPOLL_CLOEXEC);
  for (long i = 0; i < n_conns; i++) {
    conns[i].fd = connect_loopback(port, i);
    if (conns[i].fd < 0) die("connect");
    set_nonblock(conns[i].fd);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &conns[i]};
    epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &e);
  }
  uint64_t ops = 0, srv0 = proc_cpu_ns_list(pids), own0 = cpu_ns(), t0 = now_ns(), t = t0;
  uint64_t stop = t0 + (uint64_t) (secs * 1e9);
  for (long i = 0; i < n_conns; i++) {
    conns[i].at = now_ns();
    if (!send_all(conns[i].fd, msg, size * (size_t) depth)) die("send");
  }
  struct epoll_event evs[256];
  while (t < stop) {
    int k = epoll_wait(ep, evs, 256, 100);
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      ssize_t n = recv(c->fd, rbuf, sizeof(rbuf), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0) {
        fprintf(stderr, "server closed a connection\n");
        return 1;
      }
      c->part += (size_t) n;
      size_t whole = c->part / size;
      c->part %= size;
      if (whole == 0) continue;
      t = now_ns();
      hist_add(&lat, t - c->at); /* one sample for each batch */
      c->at = t;
      ops += whole;
      if (!send_all(c->fd, msg, size * whole)) die("send");
    }
    t = now_ns();
  }
  double took = (double) (t - t0) / 1e9;
  uint64_t srv = proc_cpu_ns_list(pids) - srv0;
  printf("{\"ops\":%llu,\"rate\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"errors\":0,"
         "\"seconds\":%.3f,\"server_cpu_ns\":%llu,\"client_cpu_ns\":%llu}\n",
         (unsigned long long) ops, (double) ops / took, hist_us(&lat, 0.5), hist_us(&lat, 0.99),
         took, (unsigned long long) srv, (unsigned long long) (cpu_ns() - own0));
  return 0;
}
