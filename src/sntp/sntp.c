/* SPDX-License-Identifier: MIT
 *
 * The client of SNTP: a protocol on a UDP connection. What packets say is in wire/sntp.c; here is when to ask, when to
 * ask again, and when to give up.
 *
 * The socket is connected, so the system drops what others than the server send. Each question has a number of its own
 * that nobody can guess, and an answer to an earlier one is dropped: it may be a repetition.
 *
 * The time between question and answer is taken from the clock that nobody sets: somebody may set the other one
 * meanwhile. */
#include "tavi/sntp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "loop/log.h"
#include "net/conn.h"
#include "os/clock.h"
#include "os/entropy.h"
#include "wire/sntp.h"

struct sntp_conf {
  struct tavi__conf base; /* first */
  const struct tavi_sntp_handlers *handlers;
  struct tavi_sntp_opts opts;
};

/* In the connection's state. */
struct sntp {
  uint64_t nonce;       /* of the question that waits for its answer; 0: none does */
  uint64_t asked_ns;    /* when it was sent, on the monotonic clock */
  uint64_t give_up_ms;  /* when there must be an answer */
  uint32_t retry_ms;    /* how long to wait before the question is sent again */
  int err;              /* why it could not be sent; 0: it was */
};

_Static_assert(sizeof(struct sntp) <= TAVI__PROTO_BYTES, "it is kept in the connection");

static const struct tavi__proto sntp_proto;

static struct sntp *sntp_of(struct tavi_conn *c) { return (struct sntp *) (void *) c->state.bytes; }

static const struct sntp_conf *conf_of(const struct tavi_conn *c) {
  return TAVI__CONTAINER(c->conf, struct sntp_conf, base);
}

/* ==== asking ==== */

/* Another try may help: only the system's buffer was full, or nobody was there yet. */
static bool is_passing(int err) { return err == TAVI_E_LIMIT || err == TAVI_E_NOMEM || err == TAVI_E_REFUSED; }

static int send_question(struct tavi_conn *c) {
  struct sntp *s = sntp_of(c);
  char packet[TAVI__SNTP_BYTES];
  s->nonce = 0;
  while (s->nonce == 0)
    if (tavi__entropy(&s->nonce, sizeof(s->nonce)) < 0) return TAVI_E_SYSTEM;

  tavi__sntp_question(s->nonce, packet);
  s->asked_ns = tavi__clock_ns();
  return tavi__udp_send(c, packet, sizeof(packet));
}

/* Send it, and plan what comes if nobody answers. Failures are told by the deadline, in a later turn. */
static void ask(struct tavi_conn *c) {
  struct sntp *s = sntp_of(c);
  uint64_t now_ms = tavi__manager_now(c->src.manager), next_ms = s->give_up_ms;
  s->err = send_question(c);
  if (c->src.is_closing) return; /* by on_write */
  if (s->err < 0 && !is_passing(s->err))
    next_ms = s->give_up_ms = now_ms;
  else if (s->retry_ms != 0 && now_ms + s->retry_ms < s->give_up_ms)
    next_ms = now_ms + s->retry_ms;
  tavi__conn_read_deadline(c, next_ms);
}

static void begin(struct tavi_conn *c) {
  struct sntp *s = sntp_of(c);
  const struct tavi_sntp_opts *opts = &conf_of(c)->opts;
  s->retry_ms = opts->retry_ms;
  s->give_up_ms = tavi__manager_now(c->src.manager) + opts->timeout_ms;
  ask(c);
}

static void on_start(struct tavi_conn *c) {
  if (sntp_of(c)->nonce == 0) begin(c); /* on_connect may have asked */
}

static void give_up(struct tavi_conn *c) {
  struct tavi_addr server = {.port = 0};
  char text[240];
  int err = sntp_of(c)->err;
  tavi_conn_remote_addr(c, &server);
  if (err < 0)
    snprintf(text, sizeof(text), "cannot ask the time server %s: %s", server.host, tavi_err_text(err));
  else
    snprintf(text, sizeof(text), "no answer from the time server %s within %u ms", server.host,
             (unsigned) conf_of(c)->opts.timeout_ms);
  tavi__conn_fail(c, err < 0 ? err : TAVI_E_TIMEOUT, text);
}

static bool on_timeout(struct tavi_conn *c) {
  struct sntp *s = sntp_of(c);
  if (tavi__manager_now(c->src.manager) >= s->give_up_ms) {
    give_up(c);
    return true;
  }
  s->retry_ms = s->retry_ms < UINT32_MAX / 2 ? 2 * s->retry_ms : UINT32_MAX;
  ask(c);
  return true;
}

/* ==== answers ==== */

static void tell(struct tavi_conn *c, const struct tavi__sntp_answer *a) {
  const struct sntp_conf *conf = conf_of(c);
  int64_t offset_ns, delay_ns, now_ns = tavi__clock_unix_ns();
  int64_t asked_ns = now_ns - (int64_t) (tavi__clock_ns() - sntp_of(c)->asked_ns);
  if (!tavi__sntp_compare(a, asked_ns, now_ns, &offset_ns, &delay_ns)) {
    tavi__conn_fail(c, TAVI_E_PROTOCOL, "the time server says that it took longer than it did");
    return;
  }

  struct tavi_sntp_time t = {.unix_ms = (a->sent_ns + delay_ns / 2) / 1000000,
                             .offset_ns = offset_ns,
                             .delay_ns = delay_ns,
                             .stratum = a->stratum,
                             .leap = a->leap};
  sntp_of(c)->nonce = 0;
  tavi__conn_read_deadline(c, 0);
  if (!conf->opts.keep_open) tavi__conn_drain(c, false);
  if (conf->handlers->on_time != NULL) conf->handlers->on_time(c, &t, c->user);
}

static void on_input(struct tavi_conn *c) {
  struct tavi__input in = tavi__conn_input(c);
  struct tavi__sntp_answer a;
  const char *why = NULL;
  int status = tavi__sntp_read((struct tavi_slice){in.ptr, in.len}, sntp_of(c)->nonce, &a, &why);
  if (status == TAVI_WIRE_EVENT) {
    tell(c, &a);
  } else if (status < 0) {
    tavi__conn_fail(c, status, why);
  } else {
    tavi__log(c->src.manager, TAVI_LOG_DEBUG, "connection %llu: not the time that was asked for: %zu bytes",
              (unsigned long long) c->src.id, in.len);
    tavi__conn_input_drop(c, in.len);
  }
}

static const struct tavi__proto sntp_proto = {.on_start = on_start, .on_input = on_input, .on_timeout = on_timeout};

/* ==== the calls ==== */

void tavi_sntp_opts_init(struct tavi_sntp_opts *opts) {
  *opts = (struct tavi_sntp_opts){.timeout_ms = 3000, .retry_ms = 1000};
}

/* "sntp://host" and "host" -> "udp://host". Returns 0 or an error. */
static int udp_url(const char *url, char *buf, size_t cap) {
  const char *colon = strstr(url, "://"), *host = colon == NULL ? url : colon + 3;
  size_t scheme = colon == NULL ? 0 : (size_t) (colon - url);
  bool is_known = scheme == 0 || (scheme == 3 && strncasecmp(url, "udp", 3) == 0) ||
                  (scheme == 4 && strncasecmp(url, "sntp", 4) == 0);
  if (!is_known || host[0] == 0) return TAVI_E_ADDRESS;
  int len = snprintf(buf, cap, "udp://%s", host);
  return len > 0 && (size_t) len < cap ? 0 : TAVI_E_ADDRESS;
}

int tavi_sntp_connect(struct tavi_manager *m, const char *url, const struct tavi_sntp_opts *opts,
                      const struct tavi_sntp_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  struct tavi_sntp_opts defaults;
  char udp[512];
  tavi_sntp_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if (url == NULL || handlers == NULL || opts->timeout_ms == 0) return TAVI_E_ARG;
  int err = udp_url(url, udp, sizeof(udp));
  if (err < 0) return err;

  struct tavi__conf *base = tavi__conf_new(sizeof(struct sntp_conf), &sntp_proto, NULL);
  if (base == NULL) return TAVI_E_NOMEM;
  struct sntp_conf *conf = TAVI__CONTAINER(base, struct sntp_conf, base);
  conf->base.opts.connect_timeout_ms = opts->timeout_ms;
  conf->handlers = handlers;
  conf->opts = *opts;
  return tavi__connect(m, udp, "123", base, &handlers->conn, user, ret_conn);
}

int tavi_sntp_request(struct tavi_conn *c) {
  struct sntp *s = sntp_of(c);
  if (c->proto != &sntp_proto) return TAVI_E_STATE;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (s->nonce == 0 && c->src.io.fd >= 0) begin(c);
  return 0;
}
