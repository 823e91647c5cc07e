/* SPDX-License-Identifier: MIT
 *
 * The time, from a time server: the client's side of SNTP version 4 (RFC 4330, RFC 5905). The computer's clock is only
 * read, never set.
 *
 * A connection asks by itself as soon as the address is known, tells the answer by on_time, and closes. An answer
 * counts only when it comes from the server that was asked and repeats a random number of 64 bits from the question, so
 * nobody can forge it who does not see the question; whatever else arrives is ignored. (Who does see it can: SNTP is
 * not encrypted.) Public servers want to be asked no more often than every 15 seconds, and a program that asks
 * regularly should do it every few minutes and at an odd second. */
#ifndef TAVI_SNTP_H
#define TAVI_SNTP_H

#include "tavi/conn.h"

TAVI_BEGIN_DECLS

/* An answer. Times before 1968 and after 2104 cannot be told apart from those between. */
struct tavi_sntp_time {
  int64_t unix_ms;   /* what time it is now, at the server: milliseconds since 1970-01-01 UTC */
  int64_t offset_ns; /* the server's clock less this computer's; correct to half of delay_ns */
  int64_t delay_ns;  /* how long question and answer were on their way, without the server's part */
  uint8_t stratum;   /* 1: the server has a reference clock; 2: it asks one of those; and so on to 15 */
  uint8_t leap;      /* 1: the last minute of this day has 61 seconds; 2: it has 59; 0: neither */
};

struct tavi_sntp_handlers {
  struct tavi_conn_handlers conn;
  /* Once per request that is answered. t: borrowed. */
  void (*on_time)(struct tavi_conn *c, const struct tavi_sntp_time *t, void *user);
};

/* Fill with tavi_sntp_opts_init(); copied at the call. */
struct tavi_sntp_opts {
  uint32_t timeout_ms; /* for looking the name up, and again for the answer; default 3000, at least 1 */
  uint32_t retry_ms;   /* no answer for so long: ask again, and after twice that time once more, and so on; default
                        * 1000; 0: ask once */
  bool keep_open;      /* stay open after an answer, for tavi_sntp_request(); default false */
};

TAVI_API void tavi_sntp_opts_init(struct tavi_sntp_opts *opts);

/* Ask a time server. opts may be NULL for defaults.
 *
 * url:     sntp://host or udp://host; the port is 123 unless given.
 * Calls back: inside this call on_open, and when no name has to be looked up on_resolve, on_connect and on_write; later
 *          on_time, on_read, on_close. Failures are told by on_error, then on_close: TAVI_E_TIMEOUT (no answer in
 *          time), TAVI_E_REFUSED (the server does not want to be asked, or not so often: RATE, DENY, RSTR and other
 *          "kisses of death"; or it does not know the time itself), TAVI_E_PROTOCOL (it answers nonsense), and those of
 *          tavi_connect(). A server that refuses must not be asked again soon, and RATE, DENY and RSTR never in a loop.
 * Returns: as tavi_connect(); TAVI_E_ARG also for a time-out of 0, TAVI_E_ADDRESS also for other schemes. */
TAVI_API int tavi_sntp_connect(struct tavi_manager *m, const char *url, const struct tavi_sntp_opts *opts,
                               const struct tavi_sntp_handlers *handlers, void *user, struct tavi_conn **ret_conn);

/* Ask again, on a connection with keep_open. While a question is under way, such as the first one that nobody has to
 * ask for, this one is the same question: there is one answer.
 * Returns: 0; TAVI_E_CLOSED, TAVI_E_STATE (not made by tavi_sntp_connect()). */
TAVI_API int tavi_sntp_request(struct tavi_conn *c);

TAVI_END_DECLS

#endif
