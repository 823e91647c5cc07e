/* SPDX-License-Identifier: MIT
 *
 * Whole HTTP connections: a real manager, a listener on a Unix socket, a peer that sends the input in pieces, and
 * handlers that do what the input's first bytes tell them: reply in each way, stream, write by hand, take bodies as a
 * stream, pause, close, drain, refuse, defer, break the turn.
 *
 * The input is a script of up to SCRIPT_MAX bytes, ended by 0xff, and then what the peer sends. Each decision takes the
 * script's next byte, and begins again at its end.
 *
 * What must hold: no crash; each connection that opened is closed exactly once and nothing is told about it afterwards;
 * messages follow their heads one by one; the answers arrive in the order of the requests; no memory is held at the
 * end.  */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "tavi.h"

enum { SCRIPT_MAX = 64, TURNS_MAX = 100, ANSWER_BYTES_MAX = 1 << 20 };

static struct tavi_manager *m;
static struct sockaddr_un address;
static socklen_t address_len;

/* ==== the script ==== */

static const uint8_t *script;
static size_t script_len, script_at;

static unsigned decide(unsigned choices) {
  if (script_len == 0) return 0;
  unsigned byte = script[script_at++ % script_len];
  return byte % choices;
}

/* ==== what is known of the connection ==== */

static struct tavi_conn *conn;
static unsigned opened, closed, heads, messages;
static unsigned numbered; /* answers that carry a number: sent so far */
static bool is_scripted;  /* the handlers do something that makes the answers unreadable for us */
static bool is_paused;

static void check_alive(const struct tavi_conn *c) { FUZZ_CHECK(c == conn && opened == closed + 1); }

static char big[70000];

static size_t number(char *text, size_t cap) { return (size_t)snprintf(text, cap, "<%u>", numbered++); }

static void write_by_hand(struct tavi_conn *c) {
  static const char *const heads_by_hand[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\n",
      "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 101 x\r\n\r\n",
      "junk\r\n",
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
  };
  static const char *const more[] = {"hello", "5\r\nhello\r\n0\r\n\r\n", "0\r\nX: ", "y\r\n\r\n", "h", "\r\n", "",
                                     "0\r\n\r"};
  const char *head = heads_by_hand[decide(8)];
  size_t len = strlen(head), cut = decide(2) ? decide((unsigned)len) : len;
  is_scripted = true;
  tavi_conn_send(c, head, cut);
  if (cut < len) tavi_conn_send(c, head + cut, len - cut);
  for (unsigned i = decide(4); i > 0; i--) {
    const char *text = more[decide(8)];
    tavi_conn_send(c, text, strlen(text));
  }
}

static unsigned given, released;

static void release(void *arg) {
  released++;
  free(arg);
}

/* One of the ways to answer; whatever it returns is right as long as nothing breaks. */
static void answer(struct tavi_conn *c) {
  static const struct tavi_http_header close_it = {{"Connection", 10}, {"close", 5}};
  static const struct tavi_http_header chunked = {{"Transfer-Encoding", 17}, {"chunked", 7}};
  static const struct tavi_http_header bad = {{"a b", 3}, {"v\r\n", 3}};
  char text[32];
  bool was_waiting = tavi_http_is_waiting(c);
  unsigned way = decide(16);
  size_t len = way < 4 && was_waiting ? number(text, sizeof text) : 0;
  int err;
  switch (way) {
    case 0:
    case 1:
      err = tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){text, len});
      FUZZ_CHECK((err == 0) == was_waiting || !(tavi_conn_flags(c) & TAVI_CONN_HTTP)); /* a tunnel takes anything */
      break;
    case 2:
      err = tavi_http_begin(c, 200, NULL, 0, TAVI_HTTP_STREAM);
      FUZZ_CHECK((err == 0) == was_waiting);
      if (err < 0 || len == 0) break;
      err = tavi_http_chunk(c, text, len);
      FUZZ_CHECK((err == 0 && tavi_http_end(c, NULL, 0) == 0) || is_scripted); /* a 2xx to CONNECT has no body */
      break;
    case 3:
      err = tavi_http_begin(c, 200, NULL, 0, len);
      FUZZ_CHECK((err == 0) == was_waiting);
      if (err < 0 || len == 0) break;
      FUZZ_CHECK(tavi_conn_send(c, text, 1) == 0 || is_scripted);
      given++;
      char *copy = fuzz_copy(text + 1, len - 1);
      err = tavi_conn_send_foreign(c, copy, len - 1, release, copy);
      FUZZ_CHECK(err == 0 || is_scripted);
      break;
    case 4: tavi_http_reply(c, 200, &close_it, 1, (struct tavi_slice){big, 10}); break;
    case 5: tavi_http_reply(c, (int)decide(256) * 4, &chunked, 1, (struct tavi_slice){big, decide(40)}); break;
    case 6: tavi_http_reply(c, 200, NULL, 0, (struct tavi_slice){big, sizeof big}); break;
    case 7: tavi_http_begin(c, 200, &chunked, decide(2), decide(2) ? decide(20) : TAVI_HTTP_STREAM); break;
    case 8: tavi_http_chunk(c, big, decide(2) ? decide(50) : sizeof big); break;
    case 9: tavi_http_end(c, &close_it, decide(2)); break;
    case 10: write_by_hand(c); break;
    case 11: tavi_http_refuse(c, 400 + (int)decide(200)); break;
    case 12:
      err = tavi_http_reply(c, 200, &bad, 1, (struct tavi_slice){NULL, 0});
      FUZZ_CHECK(err < 0 || !(tavi_conn_flags(c) & TAVI_CONN_HTTP));
      break;
    case 13: tavi_http_reply(c, 103, NULL, 0, (struct tavi_slice){NULL, 0}); break;
    case 14: tavi_conn_send(c, big, decide(100)); break;
    default: break; /* later */
  }
  if (way >= 4 && way < 15) is_scripted = true;
}

/* Something that is allowed in any callback. */
static void act(struct tavi_conn *c) {
  switch (decide(12)) {
    case 0:
    case 1:
    case 2:
    case 3: answer(c); break;
    case 4:
      answer(c);
      answer(c);
      break;
    case 5: tavi_conn_close(c); break;
    case 6:
      tavi_conn_drain(c);
      is_scripted = true;
      break;
    case 7:
      tavi_conn_pause(c);
      is_paused = true;
      break;
    case 8: tavi_manager_break(m); break;
    case 9: tavi_conn_consume(c, decide(2) ? decide(16) : SIZE_MAX); break;
    case 10: tavi_http_stream_body(c); break;
    default: break;
  }
}

/* ==== handlers ==== */

static void on_open(struct tavi_conn *c, void *user) {
  (void)user;
  opened++;
  conn = c;
}

static void on_headers(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void)user;
  check_alive(c);
  FUZZ_CHECK(msg->method.len > 0 && msg->head.len > 0 && msg->trailer_count == 0);
  heads++;
  bool is_get_like = memcmp(msg->method.ptr, "HEAD", msg->method.len < 4 ? msg->method.len : 4) != 0;
  if (!is_get_like || msg->method.len == 7) is_scripted = true; /* HEAD and CONNECT: numbers are not seen */
  act(c);
}

static void on_message(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user) {
  (void)user;
  check_alive(c);
  messages++;
  FUZZ_CHECK(messages <= heads);
  uint8_t sum = 0; /* all of it can be read */
  for (size_t i = 0; i < msg->body.len; i++) sum = (uint8_t)(sum + (uint8_t)msg->body.ptr[i]);
  for (size_t i = 0; i < msg->trailer_count; i++) sum = (uint8_t)(sum + msg->trailers[i].name.len);
  big[0] = (char)(sum | 1);
  act(c);
}

static void on_read(struct tavi_conn *c, void *user) {
  (void)user;
  check_alive(c);
  if (decide(2)) act(c);
  if (!(tavi_conn_flags(c) & TAVI_CONN_CLOSING) && decide(4)) tavi_conn_consume(c, SIZE_MAX);
}

static void on_any(struct tavi_conn *c, void *user) {
  (void)user;
  check_alive(c);
}

static void on_error(struct tavi_conn *c, int err, const char *text, void *user) {
  (void)user;
  check_alive(c);
  FUZZ_CHECK(err < 0 && text != NULL);
}

static void on_close(struct tavi_conn *c, void *user) {
  (void)user;
  check_alive(c);
  closed++;
  conn = NULL;
}

static const struct tavi_http_handlers handlers = {
    .conn = {.on_open = on_open,
             .on_accept = on_any,
             .on_read = on_read,
             .on_low_water = on_any,
             .on_error = on_error,
             .on_close = on_close},
    .on_headers = on_headers,
    .on_message = on_message,
};

/* ==== the peer ==== */

static char received[ANSWER_BYTES_MAX];
static size_t received_len;

/* Returns false at the end. */
static bool receive(int fd) {
  for (;;) {
    static char rest[65536];
    bool fits = received_len < sizeof received;
    ssize_t n = fits ? recv(fd, received + received_len, sizeof received - received_len, MSG_DONTWAIT)
                     : recv(fd, rest, sizeof rest, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    if (fits) received_len += (size_t)n;
  }
}

/* The numbers are there once each and in their order; the last ones may have been lost with the connection. */
static void check_order(void) {
  unsigned next = 0;
  if (is_scripted) return;
  for (size_t i = 0; i + 2 < received_len; i++) {
    if (received[i] != '<' || received[i + 1] < '0' || received[i + 1] > '9') continue;
    FUZZ_CHECK((unsigned)strtoul(received + i + 1, NULL, 10) == next);
    next++;
  }
  FUZZ_CHECK(next <= numbered);
}

static void listen_once(void) {
  struct tavi_http_opts opts;
  char url[64];
  if (m != NULL) return;

  FUZZ_CHECK(tavi_manager_new(NULL, &m) == 0);
  tavi_http_opts_init(&opts);
  opts.head_bytes_max = 2000;
  opts.target_bytes_max = 500;
  opts.header_count_max = 20;
  opts.body_bytes_max = 3000;
  opts.listen.conn.recv_bytes_max = 300;
  opts.listen.conn.send_high_water = 20000;
  opts.listen.conn.send_low_water = 5000;
  snprintf(url, sizeof url, "unix:@tavi-fuzz-http-%ld", (long)getpid());
  FUZZ_CHECK(tavi_http_listen(m, url, &opts, &handlers, NULL, NULL) == 0);
  address.sun_family = AF_UNIX;
  int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "tavi-fuzz-http-%ld", (long)getpid());
  address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
  memset(big, 'b', sizeof big);
}

static void turn(void) {
  tavi_manager_poll(m, 0);
  if (conn == NULL) return;

  if (is_paused) {
    is_paused = false;
    tavi_conn_resume(conn);
  }
  if (decide(3) == 0) act(conn); /* a timer's callback could */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  listen_once();
  const uint8_t *end = memchr(data, 0xff, size < SCRIPT_MAX ? size : SCRIPT_MAX);
  script = data;
  script_len = end == NULL ? 0 : (size_t)(end - data);
  script_at = 0;
  if (end != NULL) {
    data = end + 1;
    size -= script_len + 1;
  }
  conn = NULL;
  opened = closed = heads = messages = numbered = given = released = 0;
  is_scripted = is_paused = false;
  received_len = 0;

  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FUZZ_CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, address_len) == 0);
  bool is_open = true;
  for (size_t at = 0; at < size && is_open;) {
    size_t step = decide(3) == 0 ? 1 + decide(30) : size - at;
    if (step > size - at) step = size - at;
    ssize_t n = send(fd, data + at, step, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) at += (size_t)n;
    if (n < 0 && errno != EAGAIN) break;
    turn();
    if (decide(2)) is_open = receive(fd);
  }
  for (int i = 0; i < 6 && is_open; i++) {
    turn();
    is_open = receive(fd);
  }
  bool half = decide(2) == 0;
  if (half) shutdown(fd, SHUT_WR);
  for (int i = 0; i < 6 && is_open; i++) {
    turn();
    is_open = receive(fd);
  }
  close(fd);
  int turns = 0;
  while ((opened == 0 || conn != NULL) && ++turns < TURNS_MAX) {
    script_len = 0; /* from here on nobody pauses or waits */
    tavi_manager_poll(m, 1);
    if (conn == NULL) continue;
    tavi_conn_resume(conn);
    if (turns > 20) tavi_conn_close(conn); /* nobody answers it any more, or it lingers */
  }
  FUZZ_CHECK(opened == 1 && closed == 1);
  FUZZ_CHECK(given == released);
  FUZZ_CHECK(tavi_manager_buffered(m) == 0);
  FUZZ_CHECK(tavi_manager_ids(m, NULL, 0) == 1);
  check_order();
  return 0;
}
