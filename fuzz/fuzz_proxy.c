/* SPDX-License-Identifier: MIT
 *
 * Headers of the PROXY protocol: what a part is refused for, the whole is refused for; a part of a good one wants more;
 * what stands behind it changes nothing. */
#include "wire/proxy.h"

#include "fuzz.h"
#include "wire/ip.h"

enum { VERSION_1_MAX = 107, PARTS_MAX = 400 }; /* parts that are tried: long headers have their forms at the front */

static int read_part(const char *input, size_t len, size_t *consumed, struct tavi__proxy_client *ret_client) {
  char *p = fuzz_copy(input, len);
  const int status = tavi__proxy_read(p, len, consumed, ret_client);
  free(p);
  FUZZ_CHECK(status == TAVI_WIRE_EVENT || status == TAVI_WIRE_MORE || status == TAVI_E_PROTOCOL);
  return status;
}

static void check_good(const char *input, size_t size, size_t consumed, const struct tavi__proxy_client *client) {
  struct tavi__proxy_client again;
  size_t consumed_again = 0;
  const bool is_text = input[0] == 'P';
  FUZZ_CHECK(consumed > 0 && consumed <= size);
  FUZZ_CHECK(client->family == 0 || client->family == 4 || client->family == 6);
  if (is_text) FUZZ_CHECK(consumed <= VERSION_1_MAX && memcmp(input + consumed - 2, "\r\n", 2) == 0);
  FUZZ_CHECK(read_part(input, consumed, &consumed_again, &again) == TAVI_WIRE_EVENT);
  FUZZ_CHECK(consumed_again == consumed && memcmp(&again, client, sizeof again) == 0);
}

/* A text that is a literal is one for every reader, and up to its last byte it might have become one. */
static void check_literal(const char *input, size_t size) {
  uint8_t ip[16];
  char *p = fuzz_copy(input, size);
  const int family = tavi__ip_parse((struct tavi_slice){p, size}, ip);
  FUZZ_CHECK(family == 0 || family == 4 || family == 6);
  for (size_t len = 0; family != 0 && len <= size; len++) {
    const char *at = p;
    FUZZ_CHECK((family == 4 ? tavi__ip4_read(&at, p + len, ip) : tavi__ip6_read(&at, p + len, ip)) == TAVI_WIRE_MORE);
  }
  free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *input = (const char *)data;
  struct tavi__proxy_client client = {0}, ignored;
  size_t consumed = 0, unused;
  const int whole = read_part(input, size, &consumed, &client);
  const size_t complete = whole == TAVI_WIRE_EVENT ? consumed : size + 1;
  bool is_refused = false;
  for (size_t len = 0; len <= size && len < PARTS_MAX; len++) {
    const int part = read_part(input, len, &unused, &ignored);
    if (len < complete) FUZZ_CHECK(part == TAVI_WIRE_MORE || part == whole);
    else FUZZ_CHECK(part == TAVI_WIRE_EVENT);
    FUZZ_CHECK(!is_refused || part == TAVI_E_PROTOCOL); /* an answer is not taken back */
    is_refused = part == TAVI_E_PROTOCOL;
  }
  if (whole == TAVI_WIRE_EVENT) check_good(input, size, consumed, &client);
  check_literal(input, size < 60 ? size : 60);
  return 0;
}
