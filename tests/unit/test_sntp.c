/* SPDX-License-Identifier: MIT
 *
 * Packets of SNTP: the question byte by byte, good answers and what they say, each answer that must be refused or ignored,
 * always from memory with nothing behind it; the turn of the era; clocks that are wrong by decades. */
#include "wire/sntp.h"

#include "guard.h"
#include "random.h"
#include "test.h"

#define NONCE UINT64_C(0x0123456789abcdef)
#define SECOND INT64_C(1000000000)
#define Y1970 UINT64_C(2208988800) /* in seconds of NTP */

/* Where the fields are, as RFC 5905 figure 8 draws them. */
enum { FLAGS = 0, STRATUM = 1, ROOT_DELAY = 4, DISPERSION = 8, CODE = 12, REFERENCE = 16, ORIGIN = 24, RECEIVE = 32, TRANSMIT = 40 };

static char packet[100];
static struct tavi__sntp_answer answer;
static const char *why;

static void put(size_t at, size_t bytes, uint64_t value) {
  for (size_t i = 0; i < bytes; i++) packet[at + i] = (char)(value >> 8 * (bytes - 1 - i));
}

/* A good answer: stratum 2, 2021-01-01 00:00:00.5 and 0.75. */
static void good(void) {
  memset(packet, 0, sizeof packet);
  put(FLAGS, 1, 0 << 6 | 4 << 3 | 4);
  put(STRATUM, 1, 2);
  put(2, 2, 0x0ae9);
  put(ROOT_DELAY, 4, 0x00000800);
  put(DISPERSION, 4, 0x00001000);
  put(CODE, 4, 0x7f7f0101);
  put(REFERENCE, 8, (Y1970 + 1609459000) << 32);
  put(ORIGIN, 8, NONCE);
  put(RECEIVE, 8, (Y1970 + 1609459200) << 32 | 0x80000000);
  put(TRANSMIT, 8, (Y1970 + 1609459200) << 32 | 0xc0000000);
}

static int read_it(size_t len, uint64_t nonce) {
  memset(&answer, 0xa5, sizeof answer);
  why = NULL;
  return tavi__sntp_read((struct tavi_slice){guard_at_end(packet, len), len}, nonce, &answer, &why);
}

static bool is_untouched(void) {
  struct tavi__sntp_answer same;
  memset(&same, 0xa5, sizeof same);
  return memcmp(&same, &answer, sizeof same) == 0;
}

/* ==== the question ==== */

TEST(sntp_question__says_nothing_but_version_mode_and_nonce) {
  static const char wanted[] = "\x23\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "\x01\x23\x45\x67\x89\xab\xcd\xef";
  char *at = guard_at_end(packet, TAVI__SNTP_BYTES);
  memset(at, 0xa5, TAVI__SNTP_BYTES);
  tavi__sntp_question(NONCE, at);
  CHECK_BYTES(at, TAVI__SNTP_BYTES, wanted, sizeof wanted - 1);
}

/* ==== good answers ==== */

TEST(sntp_answer__good__says_the_times) {
  good();
  CHECK_INT(read_it(48, NONCE), TAVI_WIRE_EVENT);
  CHECK_INT(answer.received_ns, 1609459200 * SECOND + SECOND / 2);
  CHECK_INT(answer.sent_ns, 1609459200 * SECOND + SECOND / 4 * 3);
  CHECK_INT(answer.stratum, 2);
  CHECK_INT(answer.leap, 0);
  CHECK(why == NULL);
}

TEST(sntp_answer__at_the_limits__is_good) {
  static const struct {
    const char *what;
    size_t at, bytes;
    uint64_t value;
  } cases[] = {
      {"stratum 1", STRATUM, 1, 1},
      {"stratum 15", STRATUM, 1, 15},
      {"a leap second", FLAGS, 1, 1 << 6 | 4 << 3 | 4},
      {"a second less", FLAGS, 1, 2 << 6 | 4 << 3 | 4},
      {"no reference time", REFERENCE, 8, 0},
      {"set in that moment", REFERENCE, 8, (Y1970 + 1609459200) << 32 | 0xc0000000},
      {"no time in between", TRANSMIT, 8, (Y1970 + 1609459200) << 32 | 0x80000000},
      {"just precise enough", DISPERSION, 4, 0x000ffbff},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    test_note("%s", cases[i].what);
    good();
    put(cases[i].at, cases[i].bytes, cases[i].value);
    CHECK_INT(read_it(48, NONCE), TAVI_WIRE_EVENT);
    CHECK_INT(answer.leap, (uint8_t)packet[0] >> 6);
    CHECK_INT(answer.stratum, packet[1]);
  }
}

TEST(sntp_answer__longer__is_read_as_far_as_it_is_known) { /* extension fields, an authenticator */
  for (size_t len = 48; len <= sizeof packet; len++) {
    good();
    memset(packet + 48, 0xff, sizeof packet - 48);
    CHECK_INT(read_it(len, NONCE), TAVI_WIRE_EVENT);
    CHECK_INT(answer.sent_ns, 1609459200 * SECOND + SECOND / 4 * 3);
  }
}

TEST(sntp_answer__eras__are_told_by_the_highest_bit) {
  static const struct {
    uint64_t stamp;
    int64_t seconds, ns;
  } cases[] = {
      {UINT64_C(0x8000000000000000), -61505152, 0},                      /* 1968-01-20 03:14:08 */
      {UINT64_C(0x83aa7e8000000000), 0, 0},                              /* 1970 */
      {UINT64_C(0xffffffffffffffff), INT64_C(2085978496), 0},            /* rounded: the second after is 2036-02-07 06:28:16 */
      {UINT64_C(0xffffffff00000000), INT64_C(2085978495), 0},
      {UINT64_C(0x0000000000000001), INT64_C(2085978496), 0},            /* era 1 begins */
      {UINT64_C(0x0000000180000000), INT64_C(2085978497), 500000000},
      {UINT64_C(0x0223a480ffffffff), INT64_C(2085978496) + 0x0223a481, 0},
      {UINT64_C(0x7fffffff00000000), INT64_C(4233462143), 0},            /* 2104-02-26 09:42:23 */
      {UINT64_C(0xe36f5e8000000005), INT64_C(1606737920), 1},            /* 5 / 2^32 s is 1.16 ns */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    test_note("%llx", (unsigned long long)cases[i].stamp);
    good();
    put(REFERENCE, 8, 0);
    put(RECEIVE, 8, cases[i].stamp);
    put(TRANSMIT, 8, cases[i].stamp);
    CHECK_INT(read_it(48, NONCE), TAVI_WIRE_EVENT);
    CHECK_INT(answer.sent_ns, cases[i].seconds * SECOND + cases[i].ns);
    CHECK_INT(answer.received_ns, answer.sent_ns);
  }
}

TEST(sntp_answer__over_the_turn_of_the_era__goes_on) {
  good();
  put(REFERENCE, 8, UINT64_C(0xfffffff000000000));
  put(RECEIVE, 8, UINT64_C(0xffffffff80000000));
  put(TRANSMIT, 8, UINT64_C(0x0000000080000000));
  CHECK_INT(read_it(48, NONCE), TAVI_WIRE_EVENT);
  CHECK_INT(answer.sent_ns - answer.received_ns, SECOND);
}

/* ==== not the answer to this question ==== */

TEST(sntp_answer__short__is_ignored) {
  good();
  for (size_t len = 0; len < 48; len++) {
    CHECK_INT(read_it(len, NONCE), TAVI_WIRE_MORE);
    CHECK(is_untouched() && why == NULL);
  }
}

TEST(sntp_answer__other_origin__is_ignored_whatever_else_it_says) {
  for (int bit = 0; bit < 64; bit++) {
    good();
    CHECK_INT(read_it(48, NONCE ^ UINT64_C(1) << bit), TAVI_WIRE_MORE);
    put(STRATUM, 1, 0); /* a forged kiss of death has no effect */
    put(CODE, 4, 0x44454e59);
    CHECK_INT(read_it(48, NONCE ^ UINT64_C(1) << bit), TAVI_WIRE_MORE);
    CHECK(is_untouched() && why == NULL);
  }
}

TEST(sntp_answer__nothing_was_asked__is_ignored) { /* and an origin of 0 matches nothing */
  good();
  put(ORIGIN, 8, 0);
  CHECK_INT(read_it(48, 0), TAVI_WIRE_MORE);
}

TEST(sntp_answer__other_version_or_mode__is_ignored) {
  for (unsigned flags = 0; flags < 256; flags++) {
    good();
    put(FLAGS, 1, flags);
    const bool is_answer = (flags & 0x3f) == (4 << 3 | 4);
    const int wanted = !is_answer ? (int)TAVI_WIRE_MORE : flags >> 6 == 3 ? (int)TAVI_E_REFUSED : (int)TAVI_WIRE_EVENT;
    test_note("%02x", flags);
    CHECK_INT(read_it(48, NONCE), wanted);
  }
}

/* ==== the server's answer, and useless ==== */

TEST(sntp_answer__kiss_of_death__is_named) {
  static const struct {
    const char *code, *why;
  } cases[] = {
      {"RATE", "the time server was asked too often (RATE)"},
      {"DENY", "the time server denies access (DENY)"},
      {"RSTR", "the time server restricts access (RSTR)"},
      {"INIT", "the time server does not know the time yet (INIT)"},
      {"STEP", "the time server is setting its clock (STEP)"},
      {"XFUN", "the time server refuses to tell the time"},
      {"rate", "the time server refuses to tell the time"},
      {"\xff\x01\x02\x03", "the time server refuses to tell the time"},
      {"\0\0\0\0", "the time server does not know the time"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for (unsigned leap = 0; leap < 4; leap++) {
      good();
      put(FLAGS, 1, leap << 6 | 4 << 3 | 4);
      put(STRATUM, 1, 0);
      memcpy(packet + CODE, cases[i].code, 4);
      if (leap == 0) put(TRANSMIT, 8, 0); /* the times of a kiss mean nothing */
      CHECK_INT(read_it(48, NONCE), TAVI_E_REFUSED);
      CHECK(is_untouched());
      if (CHECK(why != NULL)) CHECK_BYTES(why, strlen(why), cases[i].why, strlen(cases[i].why));
    }
  }
}

TEST(sntp_answer__useless__is_refused_with_a_reason) {
  static const struct {
    const char *why;
    size_t at, bytes;
    uint64_t value;
    int err;
  } cases[] = {
      {"the time server does not know the time", FLAGS, 1, 3 << 6 | 4 << 3 | 4, TAVI_E_REFUSED},
      {"the time server does not know the time", STRATUM, 1, 16, TAVI_E_REFUSED},
      {"the time server does not know the time", STRATUM, 1, 255, TAVI_E_REFUSED},
      {"the time server does not know the time to 16 seconds", DISPERSION, 4, 0x000ffc00, TAVI_E_REFUSED},
      {"the time server does not know the time to 16 seconds", DISPERSION, 4, 0xffffffff, TAVI_E_REFUSED},
      {"the time server does not know the time to 16 seconds", ROOT_DELAY, 4, 0xffffffff, TAVI_E_REFUSED},
      {"the time server's answer has no time", TRANSMIT, 8, 0, TAVI_E_PROTOCOL},
      {"the time server's answer has no time", RECEIVE, 8, 0, TAVI_E_PROTOCOL},
      {"the time server answered before it was asked", TRANSMIT, 8, (Y1970 + 1609459200) << 32 | 0x7ffffff0, TAVI_E_PROTOCOL},
      {"the time server answered before it was asked", RECEIVE, 8, UINT64_C(1), TAVI_E_PROTOCOL},
      {"the time server's clock was set after it answered", REFERENCE, 8, (Y1970 + 1609459201) << 32, TAVI_E_PROTOCOL},
      {"the time server's clock was set after it answered", REFERENCE, 8, UINT64_C(1) << 32, TAVI_E_PROTOCOL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    test_note("case %zu", i);
    good();
    put(cases[i].at, cases[i].bytes, cases[i].value);
    CHECK_INT(read_it(48, NONCE), cases[i].err);
    CHECK(is_untouched());
    if (CHECK(why != NULL)) CHECK_BYTES(why, strlen(why), cases[i].why, strlen(cases[i].why));
  }
}

/* ==== what the times say ==== */

TEST(sntp_compare__gives_offset_and_delay) {
  static const struct {
    const char *what;
    int64_t asked, received, sent, answered, offset, delay;
  } cases[] = {
      {"same clocks", 100, 110, 115, 125, 0, 20},
      {"server ahead", 100, 1110, 1115, 125, 1000, 20},
      {"server behind", 1000100, 110, 115, 1000125, -1000000, 20},
      {"slow way back", 0, 10, 10, 100, -40, 100},
      {"odd", 0, 5, 6, 8, 1, 7},
      {"at once", 5, 5, 5, 5, 0, 0},
      {"a clock that runs a little faster", 0, 100, 5000200, 5000000, 150, 0},
      {"a clock of 1970", 0, INT64_C(4200000000) * SECOND, INT64_C(4200000000) * SECOND + 2, 10, INT64_C(4200000000) * SECOND - 4, 8},
      {"a clock of 2260", INT64_C(9150000000) * SECOND, -60000000 * SECOND, -60000000 * SECOND, INT64_C(9150000000) * SECOND + 4,
       INT64_C(-9210000000) * SECOND - 2, 4},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct tavi__sntp_answer a = {.received_ns = cases[i].received, .sent_ns = cases[i].sent, .stratum = 1};
    int64_t offset = 1, delay = 1;
    test_note("%s", cases[i].what);
    CHECK(tavi__sntp_compare(&a, cases[i].asked, cases[i].answered, &offset, &delay));
    CHECK_INT(offset, cases[i].offset);
    CHECK_INT(delay, cases[i].delay);
  }
}

TEST(sntp_compare__server_that_held_it_longer_than_we_waited__is_refused) {
  const struct tavi__sntp_answer a = {.received_ns = 0, .sent_ns = SECOND, .stratum = 1};
  int64_t offset = 77, delay = 77;
  CHECK(!tavi__sntp_compare(&a, 0, SECOND / 2, &offset, &delay));
  CHECK(offset == 77 && delay == 77);
}

/* ==== anything ==== */

TEST(sntp_answer__random_bytes__never_say_what_cannot_be) {
  random_seed(1);
  for (unsigned n = 0; n < 200000; n++) {
    good();
    for (uint64_t changes = random_below(6); changes > 0; changes--) packet[random_below(48)] = (char)random_next();
    const int status = read_it(48, NONCE);
    CHECK(status == TAVI_WIRE_EVENT || status == TAVI_WIRE_MORE || status == TAVI_E_REFUSED || status == TAVI_E_PROTOCOL);
    CHECK((status < 0) == (why != NULL));
    if (status != TAVI_WIRE_EVENT) continue;
    CHECK(answer.stratum >= 1 && answer.stratum <= 15 && answer.leap <= 2 && answer.received_ns <= answer.sent_ns);
    CHECK(answer.received_ns >= -61505152 * SECOND && answer.sent_ns <= INT64_C(4233462144) * SECOND);
  }
}
