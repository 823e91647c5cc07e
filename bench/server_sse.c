/* SPDX-License-Identifier: MIT
 *
 * The server of server-sent events that is measured: GET /events subscribes to a channel, any other request publishes
 * one event on it. Nothing is kept ready: each event is encoded by tavi_sse_publish(), as a program would.
 *   bench_sse -p PORT [-s EVENT_BYTES]
 *     -s  bytes of an event as text ("data: ...", two line feeds), without the chunk's framing
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tavi.h>
#include <unistd.h>

enum { EVENT_BYTES_MAX = 1 << 20, FRAMING = 8 };

static volatile sig_atomic_t stopping;
static struct tavi_sse_channel *channel;
static char data[EVENT_BYTES_MAX];
static size_t data_len = 64 - FRAMING;

static void on_signal(int sig) {
  (void) sig;
  stopping = 1;
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void) user;
  if (msg->path.len == 7 && memcmp(msg->path.ptr, "/events", 7) == 0) {
    if (tavi_sse_begin(c, NULL, 0) == 0) tavi_sse_subscribe(channel, c);
    return;
  }
  struct tavi_sse_event ev;
  tavi_sse_event_init(&ev);
  ev.data = (struct tavi_slice){data, data_len};
  tavi_sse_publish(channel, &ev);
  tavi_http_reply(c, 204, NULL, 0, (struct tavi_slice){NULL, 0});
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_message = on_message};
  const char *port = "8000";
  for (int o; (o = getopt(argc, argv, "p:s:")) != -1;) {
    if (o == 'p') port = optarg;
    else if (o == 's') data_len = strtoull(optarg, NULL, 10) - FRAMING;
    else return 2;
  }
  if (data_len > sizeof(data)) return 2;
  memset(data, 'x', sizeof(data));
  struct sigaction stop = {.sa_handler = on_signal};
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);

  char url[64];
  snprintf(url, sizeof(url), "http://127.0.0.1:%s", port);
  struct tavi_manager *m = NULL;
  int err = tavi_manager_new(NULL, &m);
  if (err == 0) err = tavi_sse_channel_new(m, NULL, &channel);
  if (err == 0) err = tavi_http_listen(m, url, NULL, &handlers, NULL, NULL);
  if (err != 0) fprintf(stderr, "%s: %s\n", url, tavi_err_text(err));
  while (err >= 0 && !stopping) err = tavi_manager_poll(m, 1000);
  tavi_manager_free(m);
  return err < 0;
}
