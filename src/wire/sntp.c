/* SPDX-License-Identifier: MIT
 *
 * See sntp.h.
 *
 * The order of the checks matters. First: is this an answer to our question at all? Whoever cannot know the nonce must
 * be able to do nothing, so a forged kiss of death is ignored like any other forgery. Only then is the server held to
 * what it says.
 *
 * NTP counts seconds from 1900 in 32 bits, which are over in 2036. As RFC 4330 section 3 has it, numbers with the
 * highest bit belong to the years 1968 to 2036 and the others to 2036 to 2104, whatever our own clock says: it may be
 * the one that is wrong. */
#include "wire/sntp.h"

#include <string.h>

enum { VERSION = 4, MODE_CLIENT = 3, MODE_SERVER = 4, LEAP_UNKNOWN = 3, STRATUM_MAX = 15 };

/* Where the fields are. */
enum {
  FLAGS = 0,
  STRATUM = 1,
  ROOT_DELAY = 4,
  ROOT_DISPERSION = 8,
  KISS_CODE = 12,
  REFERENCE = 16,
  ORIGIN = 24,
  RECEIVE = 32,
  TRANSMIT = 40
};

#define SECONDS_1900_TO_1970 INT64_C(2208988800)
#define ERA_SECONDS (INT64_C(1) << 32)
#define ROOT_DISTANCE_MAX (16u << 16)      /* MAXDISP, in seconds / 2^16: a server that drifts since very long */
#define CLOCKS_DIFFER_NS INT64_C(10000000) /* by which a delay may seem negative: one clock may run faster */

static uint32_t read32(const char *p) {
  uint32_t n = 0;
  for (int i = 0; i < 4; i++) n = n << 8 | (uint8_t) p[i];
  return n;
}

static uint64_t read64(const char *p) { return (uint64_t) read32(p) << 32 | read32(p + 4); }

static int64_t unix_ns(uint64_t stamp) {
  int64_t seconds = (int64_t) (stamp >> 32), fraction = (int64_t) (stamp & UINT32_MAX);
  if (seconds < ERA_SECONDS / 2) seconds += ERA_SECONDS;
  return (seconds - SECONDS_1900_TO_1970) * 1000000000 + (fraction * 1000000000 + (INT64_C(1) << 31)) / ERA_SECONDS;
}

void tavi__sntp_question(uint64_t nonce, char ret_packet[TAVI__SNTP_BYTES]) {
  memset(ret_packet, 0, TAVI__SNTP_BYTES);
  ret_packet[FLAGS] = VERSION << 3 | MODE_CLIENT;
  for (int i = 0; i < 8; i++) ret_packet[TRANSMIT + i] = (char) (nonce >> (56 - 8 * i) & 0xff);
}

/* Stratum 0: a server that will not, or cannot, tell the time says why in four letters. */
static int kiss(const char *code, const char **ret_why) {
  static const struct {
    const char code[5];
    const char *why;
  } known[] = {
      {"RATE", "the time server was asked too often (RATE)"},
      {"DENY", "the time server denies access (DENY)"},
      {"RSTR", "the time server restricts access (RSTR)"},
      {"INIT", "the time server does not know the time yet (INIT)"},
      {"STEP", "the time server is setting its clock (STEP)"},
  };
  *ret_why = code[0] == 0 ? "the time server does not know the time" : "the time server refuses to tell the time";
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
    if (memcmp(code, known[i].code, 4) == 0) *ret_why = known[i].why;
  return TAVI_E_REFUSED;
}

static int refuse(int err, const char *why, const char **ret_why) {
  *ret_why = why;
  return err;
}

/* The times of an answer, and whether they can be true. */
static int read_times(const char *p, struct tavi__sntp_answer *ret_answer, const char **ret_why) {
  uint64_t reference = read64(p + REFERENCE), receive = read64(p + RECEIVE), transmit = read64(p + TRANSMIT);
  if (receive == 0 || transmit == 0) return refuse(TAVI_E_PROTOCOL, "the time server's answer has no time", ret_why);
  ret_answer->received_ns = unix_ns(receive);
  ret_answer->sent_ns = unix_ns(transmit);
  if (ret_answer->sent_ns < ret_answer->received_ns)
    return refuse(TAVI_E_PROTOCOL, "the time server answered before it was asked", ret_why);
  if (reference != 0 && unix_ns(reference) > ret_answer->sent_ns)
    return refuse(TAVI_E_PROTOCOL, "the time server's clock was set after it answered", ret_why);
  return TAVI_WIRE_EVENT;
}

int tavi__sntp_read(struct tavi_slice packet, uint64_t nonce, struct tavi__sntp_answer *ret_answer,
                    const char **ret_why) {
  const char *p = packet.ptr;
  if (packet.len < TAVI__SNTP_BYTES || nonce == 0 || read64(p + ORIGIN) != nonce) return TAVI_WIRE_MORE;
  if ((p[FLAGS] & 7) != MODE_SERVER || (p[FLAGS] >> 3 & 7) != VERSION) return TAVI_WIRE_MORE;

  struct tavi__sntp_answer a = {.stratum = (uint8_t) p[STRATUM], .leap = (uint8_t) p[FLAGS] >> 6};
  uint64_t distance = (uint64_t) read32(p + ROOT_DELAY) / 2 + read32(p + ROOT_DISPERSION);
  if (a.stratum == 0) return kiss(p + KISS_CODE, ret_why);
  if (a.leap == LEAP_UNKNOWN || a.stratum > STRATUM_MAX)
    return refuse(TAVI_E_REFUSED, "the time server does not know the time", ret_why);
  if (distance >= ROOT_DISTANCE_MAX)
    return refuse(TAVI_E_REFUSED, "the time server does not know the time to 16 seconds", ret_why);

  int status = read_times(p, &a, ret_why);
  if (status == TAVI_WIRE_EVENT) *ret_answer = a;
  return status;
}

bool tavi__sntp_compare(const struct tavi__sntp_answer *a, int64_t asked_ns, int64_t answered_ns,
                        int64_t *ret_offset_ns, int64_t *ret_delay_ns) {
  int64_t there = a->received_ns - asked_ns, back = a->sent_ns - answered_ns;
  int64_t delay = (answered_ns - asked_ns) - (a->sent_ns - a->received_ns);
  if (delay < -CLOCKS_DIFFER_NS) return false;
  *ret_offset_ns = there / 2 + back / 2 + (there % 2 + back % 2) / 2; /* their sum may be too large */
  *ret_delay_ns = delay > 0 ? delay : 0;
  return true;
}
