/* SPDX-License-Identifier: MIT
 *
 * The library as a client: client URL REQUESTS CALLS sends so many GETs, so many at a time, each begun when another has
 * ended, on kept connections. Prints the requests and this process's CPU time per request as JSON; client.py sets that
 * beside wrk's. */
#include <tavi.h>

#include "bench.h"

static struct tavi_manager *manager;
static struct tavi_http_request req;
static unsigned long to_begin, to_end, failures;

static void begin(void);

static void on_done(struct tavi_http_call *call, const struct tavi_http_result *r, void *user) {
  (void) call, (void) user;
  to_end--;
  if (r->err < 0 || r->msg->status != 200) failures++;
  if (to_begin > 0) begin();
}

static void begin(void) {
  static const struct tavi_http_call_handlers handlers = {.on_done = on_done};
  to_begin--;
  if (tavi_http_request(manager, &req, &handlers, NULL, NULL) < 0) die("tavi_http_request");
}

int main(int argc, char **argv) {
  struct tavi_http_client_opts opts;
  struct tavi_http_client_stats stats;
  if (argc != 4) {
    fprintf(stderr, "usage: client URL REQUESTS CALLS\n");
    return 2;
  }
  unsigned long requests = strtoul(argv[2], NULL, 10), calls = strtoul(argv[3], NULL, 10);
  if (tavi_manager_new(NULL, &manager) < 0) die("tavi_manager_new");
  tavi_http_client_opts_init(&opts);
  opts.conns_per_host_max = opts.idle_per_host_max = opts.idle_max = calls;
  if (tavi_http_client_set(manager, &opts) < 0) die("tavi_http_client_set");
  tavi_http_request_init(&req, "GET", argv[1]);
  to_begin = to_end = requests;
  uint64_t cpu = cpu_ns(), start = now_ns();
  for (unsigned long i = 0; i < calls && to_begin > 0; i++) begin();
  while (to_end > 0 && tavi_manager_poll(manager, -1) >= 0) continue;
  cpu = cpu_ns() - cpu;
  double seconds = (double) (now_ns() - start) / 1e9;
  tavi_http_client_stats(manager, &stats);
  printf("{\"requests\": %lu, \"failures\": %lu, \"connections\": %llu, \"rps\": %.0f, \"cpu_us\": %.3f}\n", requests,
         failures, (unsigned long long) stats.conns_opened, (double) requests / seconds,
         (double) cpu / 1e3 / (double) requests);
  tavi_manager_free(manager);
  return failures > 0;
}
