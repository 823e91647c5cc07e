/* SPDX-License-Identifier: MIT
 *
 * Answers of time servers: the first eight bytes are the number that was sent, the rest is what came. What is believed can
 * be true; what repeats another number, or is cut, never counts; bytes behind the packet change nothing. */
#include "wire/sntp.h"

#include "fuzz.h"

#define SECOND INT64_C(1000000000)

static int read_it(const uint8_t *bytes, size_t len, uint64_t nonce, struct tavi__sntp_answer *ret_answer) {
  const char *why = NULL;
  char *p = fuzz_copy(bytes, len);
  const int status = tavi__sntp_read((struct tavi_slice){p, len}, nonce, ret_answer, &why);
  free(p);
  FUZZ_CHECK(status == TAVI_WIRE_EVENT || status == TAVI_WIRE_MORE || status == TAVI_E_REFUSED || status == TAVI_E_PROTOCOL);
  FUZZ_CHECK((status < 0) == (why != NULL));
  return status;
}

static void check_answer(const struct tavi__sntp_answer *a, int64_t clock_ns) {
  int64_t offset_ns, delay_ns;
  FUZZ_CHECK(a->stratum >= 1 && a->stratum <= 15 && a->leap <= 2);
  FUZZ_CHECK(a->received_ns <= a->sent_ns);
  FUZZ_CHECK(a->received_ns >= -61505152 * SECOND && a->sent_ns <= INT64_C(4233462144) * SECOND);
  for (int64_t took_ns = 0; took_ns <= 3 * SECOND; took_ns += SECOND / 2) {
    if (!tavi__sntp_compare(a, clock_ns, clock_ns + took_ns, &offset_ns, &delay_ns)) continue;
    FUZZ_CHECK(delay_ns >= 0 && delay_ns <= took_ns + SECOND);
    FUZZ_CHECK(clock_ns + offset_ns <= a->sent_ns && clock_ns + took_ns + offset_ns >= a->received_ns - SECOND);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct tavi__sntp_answer a = {0}, again = {0};
  uint64_t nonce = 0;
  if (size < 8) return 0;
  for (int i = 0; i < 8; i++) nonce = nonce << 8 | data[i];
  const uint8_t *packet = data + 8;
  const size_t len = size - 8;

  const int status = read_it(packet, len, nonce, &a);
  if (status == TAVI_WIRE_EVENT) check_answer(&a, (int64_t)(nonce % (UINT64_C(9000000000) * (uint64_t)SECOND)));
  FUZZ_CHECK(read_it(packet, len, nonce ^ UINT64_C(0x100), &again) == TAVI_WIRE_MORE || status == TAVI_WIRE_MORE);
  FUZZ_CHECK(read_it(packet, len, 0, &again) == TAVI_WIRE_MORE);
  FUZZ_CHECK(read_it(packet, len < 47 ? len : 47, nonce, &again) == TAVI_WIRE_MORE);
  if (len > 48) FUZZ_CHECK(read_it(packet, 48, nonce, &again) == status);
  return 0;
}
