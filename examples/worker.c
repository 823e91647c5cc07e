/* SPDX-License-Identifier: MIT
 *
 * Slow work on a thread of its own, so that the loop goes on serving: worker [URL], by default http://127.0.0.1:8000.
 * The thread knows the connection by its id only, and hands the result back with the one call that threads may make. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <tavi.h>

struct job {
  struct tavi_manager *manager;
  uint64_t conn_id;
};

static void *work(void *arg) {
  struct job *job = arg;
  char text[64];
  unsigned long long sum = 0;
  for (unsigned long long i = 1; i <= 10000000; i++) sum += i * i % 7;
  int len = snprintf(text, sizeof(text), "the sum is %llu\n", sum);
  tavi_manager_wakeup(job->manager, job->conn_id, text, (size_t) len); /* refused when the client has gone: fine */
  free(job);
  return NULL;
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  static const struct tavi_slice sorry = {"no thread for this\n", 19};
  struct job *job = malloc(sizeof(*job));
  pthread_t thread;
  (void) msg, (void) user;
  if (job != NULL) *job = (struct job){tavi_conn_manager(c), tavi_conn_id(c)};
  if (job == NULL || pthread_create(&thread, NULL, work, job) != 0) {
    free(job);
    tavi_http_reply(c, 503, NULL, 0, sorry);
    return;
  }
  pthread_detach(thread);
}

static void on_wakeup(struct tavi_conn *c, struct tavi_slice result, void *user) {
  (void) user;
  tavi_http_reply(c, 200, NULL, 0, result);
}

int main(int argc, char **argv) {
  static const struct tavi_http_handlers handlers = {.conn = {.on_wakeup = on_wakeup}, .on_message = on_message};
  struct tavi_manager *m;
  struct tavi_listener *l;
  struct tavi_addr addr;
  if (tavi_manager_new(NULL, &m) < 0) return 1;
  if (tavi_http_listen(m, argc > 1 ? argv[1] : "http://127.0.0.1:8000", NULL, &handlers, NULL, &l) < 0) return 1;
  tavi_listener_local_addr(l, &addr);
  printf("http://%s:%d\n", addr.host, addr.port);
  fflush(stdout);
  while (tavi_manager_poll(m, -1) >= 0) continue;
  tavi_manager_free(m);
  return 0;
}
