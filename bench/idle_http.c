/* SPDX-License-Identifier: MIT
 *
 * Opens N connections to 127.0.0.1:PORT and reports how much the resident
 * memory of the server grew for each.
 *   idle_http -p PORT -n N [-P PID[,PID...]] [-r] [-w PATH] [-m] [-H] [-u PATH]
 *     -r  each connection sends one keep-alive GET and reads the response
 *     -w  each connection upgrades to WebSocket on PATH
 *     -m  each connection sends an MQTT CONNECT and reads the CONNACK
 *     -H  hold the connections until stdin is closed
 */
#include "bench.h"

static bool talk(int fd, const void *req, size_t n, bool http) {
  char tmp[4096];
  size_t got = 0;
  if (!send_all(fd, req, n)) return false;
  for (;;) {
    ssize_t k = recv(fd, tmp + got, sizeof(tmp) - 1 - got, 0);
    if (k <= 0) return false;
    got += (size_t) k, tmp[got] = 0;
    if (!http) return got >= 4 && tmp[0] == 0x20 && tmp[3] == 0;
    if (strstr(tmp, "\r\n\r\n")) return strncmp(tmp, "HTTP/1.1 ", 9) == 0;
  }
}

int main(int argc, char **argv) {
  long n = 1000, port = 8000, failed = 0;
  const char *pids = NULL, *ws = NULL, *path = "/";
  bool req = false, hold = false, mqtt = false;
  int o;
  while ((o = getopt(argc, argv, "p:n:P:rw:mHu:")) != -1) {
    if (o == 'p') port = atol(optarg);
    else if (o == 'n') n = atol(optarg);
    else if (o == 'P') pids = optarg;
    else if (o == 'r') req = true;
    else if (o == 'w') ws = optarg;
    else if (o == 'm') mqtt = true;
    else if (o == 'H') hold = true;
    else if (o == 'u') path = optarg;
    else return 2;
  }
  raise_fd_limit();
  int *fds = xalloc((size_t) n * sizeof(*fds));
  struct timespec nap = {0, 300 * 1000 * 1000};
  long before = pids ? rss_kib_list(pids) : 0;
  char text[512];
  for (long i = 0; i < n; i++) {
    fds[i] = connect_loopback((int) port, i);
    if (fds[i] < 0) {
      failed++;
      continue;
    }
    struct timeval tv = {5, 0};
    setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    bool ok = true;
    if (ws || req) {
      int k = snprintf(text, sizeof(text),
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", ws ? ws : path,
                       ws ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          : "");
      ok = talk(fds[i], text, (size_t) k, true);
    } else if (mqtt) {
      /* fixed header, "MQTT", level 4, clean session, no keep-alive, id */
      int k = snprintf(text + 14, sizeof(text) - 14, "i%ld", i);
      memcpy(text, "\x10\x00\x00\x04MQTT\x04\x02\x00\x00\x00\x00", 14);
      text[1] = (char) (12 + k), text[13] = (char) k;
      ok = talk(fds[i], text, (size_t) (14 + k), false);
    }
    if (!ok) failed++;
  }
  nanosleep(&nap, NULL);
  long after = pids ? rss_kib_list(pids) : 0;
  printf("{\"idle\":%ld,\"failed\":%ld,\"rss_before_kib\":%ld,\"rss_after_kib\":%ld,"
         "\"bytes_per_conn\":%.0f}\n",
         n, failed, before, after, (double) (after - before) * 1024.0 / (double) n);
  fflush(stdout);
  if (hold) wait_stdin();
  return failed != 0;
}
