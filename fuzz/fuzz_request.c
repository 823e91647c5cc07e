/* SPDX-License-Identifier: MIT
 *
 * The library's requests against servers that send the input: a real manager, a listening socket, up to a few connections
 * that each get the same bytes, cut where the script says, and are closed or left open; callbacks that pause, resume,
 * cancel, and ask again.
 *
 * The input is a script of up to SCRIPT_MAX bytes, ended by 0xff, and then what the server sends.
 *
 * What must hold: no crash; each call is told its end exactly once, or was cancelled; the body is not longer than it may
 * be; nothing of a call or a connection is held at the end. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "tavi.h"

enum { SCRIPT_MAX = 32, TURNS_MAX = 60, CALLS_MAX = 4, CONNS_MAX = 6, BODY_MAX = 5000 };

static struct tavi_manager *m;
static int listening = -1;
static char url[64];

static const uint8_t *script;
static size_t script_len, script_at;

static unsigned decide(unsigned choices) {
  if (script_len == 0) return 0;
  return script[script_at++ % script_len] % choices;
}

struct ask {
  struct tavi_http_call *call;
  unsigned ended; /* told or cancelled */
  size_t bytes;
  bool is_paused;
};

static struct ask asks[CALLS_MAX];
static unsigned ask_count, released;

static void ask(void);

static void act(struct ask *a) {
  switch (decide(12)) {
    case 0:
      tavi_http_call_cancel(a->call);
      a->call = NULL;
      a->ended++;
      break;
    case 1:
      tavi_http_call_pause(a->call);
      a->is_paused = true;
      break;
    case 2: tavi_http_call_resume(a->call); break;
    case 3: ask(); break;
    default: break;
  }
}

static void on_head(struct tavi_http_call *call, const struct tavi_http_msg *msg, void *user) {
  struct ask *a = user;
  FUZZ_CHECK(a->call == call && a->ended == 0 && msg->status >= 100);
  act(a);
}

static void on_data(struct tavi_http_call *call, struct tavi_slice data, void *user) {
  struct ask *a = user;
  FUZZ_CHECK(a->call == call && a->ended == 0 && data.len > 0);
  a->bytes += data.len;
  FUZZ_CHECK(a->bytes <= BODY_MAX);
  act(a);
}

static void on_more(struct tavi_http_call *call, void *user) {
  struct ask *a = user;
  FUZZ_CHECK(a->call == call && a->ended == 0);
  if (decide(2)) tavi_http_call_send(call, "piece", 5);
  if (decide(3) == 0) tavi_http_call_end(call);
  act(a);
}

static void on_done(struct tavi_http_call *call, const struct tavi_http_result *r, void *user) {
  struct ask *a = user;
  FUZZ_CHECK(a->call == call && a->ended == 0);
  FUZZ_CHECK((r->err == 0) == (r->msg != NULL) && r->text != NULL && r->url != NULL);
  if (r->msg != NULL) FUZZ_CHECK(r->msg->body.len <= BODY_MAX);
  a->ended++;
  a->call = NULL;
  if (decide(3) == 0) ask();
}

static void release(void *arg) {
  (void) arg;
  released++;
}

static void ask(void) {
  static const char *const methods[] = {"GET", "HEAD", "POST", "PUT"};
  static const struct tavi_http_call_handlers whole = {
      .on_interim = on_head, .on_headers = on_head, .on_more = on_more, .on_done = on_done};
  static const struct tavi_http_call_handlers pieces = {
      .on_interim = on_head, .on_headers = on_head, .on_data = on_data, .on_more = on_more, .on_done = on_done};
  struct tavi_http_request req;
  if (ask_count == CALLS_MAX) return;
  struct ask *a = &asks[ask_count++];
  tavi_http_request_init(&req, methods[decide(4)], url);
  req.body_bytes_max = BODY_MAX;
  req.redirects_max = decide(4);
  req.decodes = decide(2) != 0;
  req.proxy = decide(8) == 7 ? url : NULL;
  req.expects_continue = decide(4) == 3;
  req.total_timeout_ms = 1000;
  unsigned body = decide(4);
  req.streams_body = body == 1;
  if (body == 2) req.body = (struct tavi_slice){"copied", 6};
  if (body == 3) {
    req.body = (struct tavi_slice){"taken", 5};
    req.release = release;
    released--;
  }
  if (tavi_http_request(m, &req, decide(2) ? &whole : &pieces, a, &a->call) != 0) a->ended++;
}

static void set_up(void) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof(a);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (bind(listening, (struct sockaddr *) &a, sizeof(a)) != 0 || listen(listening, 64) != 0) abort();
  getsockname(listening, (struct sockaddr *) &a, &len);
  snprintf(url, sizeof(url), "http://u:p@127.0.0.1:%u/", ntohs(a.sin_port));
  if (tavi_manager_new(NULL, &m) != 0) abort();
}

static bool all_ended(void) {
  for (unsigned i = 0; i < ask_count; i++)
    if (asks[i].ended == 0) return false;
  return true;
}

struct served {
  int fd;
  size_t sent;
};

static void serve(struct served *conns, unsigned *count, const char *bytes, size_t len) {
  int fd = *count < CONNS_MAX ? accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
  if (fd >= 0) conns[(*count)++] = (struct served){fd, 0};
  for (unsigned i = 0; i < *count; i++) {
    char drop[4096];
    if (conns[i].fd < 0 || recv(conns[i].fd, drop, sizeof(drop), 0) == 0) continue;
    size_t left = len - conns[i].sent, n = left == 0 ? 0 : decide(3) ? left : 1 + decide(255) % left;
    if (n > 0 && send(conns[i].fd, bytes + conns[i].sent, n, MSG_NOSIGNAL) < 0) continue;
    conns[i].sent += n;
    if (conns[i].sent == len && decide(2)) {
      struct linger now = {1, 0};
      if (decide(4) == 0) setsockopt(conns[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      close(conns[i].fd);
      conns[i].fd = -1;
    }
  }
}

static void forget_backlog(void) {
  int fd;
  while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0) close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct served conns[CONNS_MAX];
  struct tavi_http_client_stats stats;
  unsigned count = 0;
  if (m == NULL) set_up();
  if (size > 70000) return 0;
  script = data;
  script_at = script_len = 0;
  while (script_len < size && script_len < SCRIPT_MAX && data[script_len] != 0xff) script_len++;
  size_t skip = script_len < size ? script_len + 1 : script_len;
  char *bytes = fuzz_copy(data + skip, size - skip);
  memset(asks, 0, sizeof(asks));
  ask_count = released = 0;
  ask();
  for (int turn = 0; turn < TURNS_MAX && !all_ended(); turn++) {
    tavi_manager_poll(m, 0);
    serve(conns, &count, bytes, size - skip);
    for (unsigned i = 0; i < ask_count; i++)
      if (asks[i].ended == 0 && asks[i].is_paused && decide(3) == 0) tavi_http_call_resume(asks[i].call);
  }
  tavi_manager_close_all(m);
  FUZZ_CHECK(all_ended());
  for (unsigned i = 0; i < ask_count; i++) FUZZ_CHECK(asks[i].ended == 1);
  FUZZ_CHECK(released == 0);
  FUZZ_CHECK(tavi_manager_buffered(m) == 0);
  tavi_http_client_stats(m, &stats);
  FUZZ_CHECK(stats.calls == 0 && stats.conns == 0 && stats.idle == 0 && stats.waiting == 0);
  for (unsigned i = 0; i < count; i++)
    if (conns[i].fd >= 0) close(conns[i].fd);
  forget_backlog();
  free(bytes);
  return 0;
}
