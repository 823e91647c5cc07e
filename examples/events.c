/* SPDX-License-Identifier: MIT
 *
 * The time once a second to any number of browsers, encoded once: events [URL], by default http://127.0.0.1:8000. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <tavi.h>

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>Events</title><h1></h1>"
    "<script>new EventSource('/events').onmessage = e => document.querySelector('h1').textContent = e.data</script>";

static void on_second(struct tavi_timer *t, void *channel) {
  struct tavi_sse_event event;
  char text[32];
  time_t now = time(NULL);
  (void) t;
  tavi_sse_event_init(&event);
  event.data = (struct tavi_slice){text, strftime(text, sizeof(text), "%H:%M:%S", localtime(&now))};
  tavi_sse_publish(channel, &event);
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *channel) {
  static const struct tavi_http_header html = {{"Content-Type", 12}, {"text/html", 9}};
  if (msg->path.len == 7 && memcmp(msg->path.ptr, "/events", 7) == 0) {
    if (tavi_sse_begin(c, NULL, 0) == 0) tavi_sse_subscribe(channel, c);
  } else {
    tavi_http_reply(c, 200, &html, 1, (struct tavi_slice){page, sizeof(page) - 1});
  }
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.on_message = on_message};
  struct tavi_sse_channel *channel;
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  if (tavi_manager_new(NULL, &m) < 0 || tavi_sse_channel_new(m, NULL, &channel) < 0) return 1;
  if (tavi_http_listen(m, argc > 1 ? argv[1] : "http://127.0.0.1:8000", NULL, &handlers, channel, &l) < 0) return 1;
  if (tavi_timer_start(m, 1000, 1000, on_second, channel, NULL) < 0) return 1;
  tavi_listener_local_addr(l, &addr);
  printf("http://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
