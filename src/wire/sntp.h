/* SPDX-License-Identifier: MIT
 *
 * Packets of SNTP version 4 (RFC 5905 section 7.3, RFC 4330): a client's question, a server's answer, and what the four
 * times say. Clocks and random numbers are the caller's. */
#ifndef TAVI_WIRE_SNTP_H
#define TAVI_WIRE_SNTP_H

#include <stdbool.h>
#include <stdint.h>

#include "tavi/base.h"
#include "wire/wire.h"

enum { TAVI__SNTP_BYTES = 48 }; /* a packet without extension fields and authenticator */

/* An answer that may be believed. Times are nanoseconds since 1970-01-01 UTC. */
struct tavi__sntp_answer {
  int64_t received_ns; /* when the question arrived at the server */
  int64_t sent_ns;     /* when the answer left it */
  uint8_t stratum;     /* 1 .. 15 */
  uint8_t leap;        /* 0 .. 2 */
};

/* Write a question. nonce: not 0, and such that nobody can guess it. It stands where the client's time could be, which
 * no server needs to know and by which clients could be told apart; an answer repeats it. */
void tavi__sntp_question(uint64_t nonce, char ret_packet[TAVI__SNTP_BYTES]);

/* Judge what has come. Bytes behind the packet are ignored.
 *
 * Returns: TAVI_WIRE_EVENT; TAVI_WIRE_MORE: not an answer to the question with this nonce, so the right one may still
 *          come; or it is the server's answer, and useless: TAVI_E_REFUSED (a kiss of death, or a server that does not
 *          know the time), TAVI_E_PROTOCOL. *ret_why is then a static text, and is otherwise left alone, as *ret_answer
 *          is unless TAVI_WIRE_EVENT is returned.
 * Spec:    RFC 4330 section 5 (checks), 8 (kiss codes); RFC 5905 section 7.4, A.5.1.1. */
int tavi__sntp_read(struct tavi_slice packet, uint64_t nonce, struct tavi__sntp_answer *ret_answer,
                    const char **ret_why);

/* How far the server's clock is ahead of ours, and how long the packets were under way (RFC 5905 section 8). The two
 * times are of our clock, which may be wrong by decades, and asked_ns <= answered_ns. The delay is not below 0.
 * False: the server says that it held the question for longer than we waited for the answer; nothing is written. */
bool tavi__sntp_compare(const struct tavi__sntp_answer *a, int64_t asked_ns, int64_t answered_ns,
                        int64_t *ret_offset_ns, int64_t *ret_delay_ns);

#endif
