/* SPDX-License-Identifier: MIT
 *
 * See proxy.h. The header of version 1 is a line of text, judged byte by byte; that of version 2 has its length in its
 * first 16 bytes, and is judged when all of it is there. A header is small and comes once, so it is read from its start
 * again when more has come.
 *
 * What is not needed is checked all the same (the addresses of the destination, the form of the extensions): who writes
 * them wrongly may have written the rest wrongly, too. */
#include "wire/proxy.h"

#include <string.h>

#include "wire/ip.h"

/* ==== version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 CRLF" ==== */

enum { LINE_BYTES_MAX = 107 }; /* section 2.1: the longest UNKNOWN line, with its CRLF */

/* Read a word that is known; *p moves behind it. */
static int read_word(const char **p, const char *end, const char *word) {
  for (; *word != 0; word++, ++*p) {
    if (*p == end) return TAVI_WIRE_MORE;
    if (**p != *word) return TAVI_E_PROTOCOL;
  }
  return TAVI_WIRE_EVENT;
}

static int read_ip(const char **p, const char *end, int family, uint8_t ret_ip[16]) {
  int status = family == 4 ? tavi__ip4_read(p, end, ret_ip) : tavi__ip6_read(p, end, ret_ip);
  return status == TAVI_WIRE_EVENT ? read_word(p, end, " ") : status;
}

static int read_port(const char **p, const char *end, const char *behind, unsigned *ret_port) {
  int status = tavi__decimal_read(p, end, 65535, ret_port);
  return status == TAVI_WIRE_EVENT ? read_word(p, end, behind) : status;
}

/* What follows "PROXY TCP4 " and "PROXY TCP6 ". */
static int read_tcp(const char **p, const char *end, int family, struct tavi__proxy_client *ret_client) {
  struct tavi__proxy_client client = {.family = (uint8_t) family};
  uint8_t other[16];
  unsigned port = 0, other_port;
  int status = read_ip(p, end, family, client.ip);
  if (status == TAVI_WIRE_EVENT) status = read_ip(p, end, family, other);
  if (status == TAVI_WIRE_EVENT) status = read_port(p, end, " ", &port);
  if (status == TAVI_WIRE_EVENT) status = read_port(p, end, "\r\n", &other_port);
  client.port = (uint16_t) port;
  if (status == TAVI_WIRE_EVENT) *ret_client = client;
  return status;
}

/* What follows "PROXY UNKNOWN": nothing, or words that mean nothing to us. */
static int read_unknown(const char **p, const char *end, struct tavi__proxy_client *ret_client) {
  if (*p < end && **p != '\r' && **p != ' ') return TAVI_E_PROTOCOL;
  while (*p < end && **p >= ' ' && **p <= '~') ++*p;
  int status = read_word(p, end, "\r\n");
  if (status == TAVI_WIRE_EVENT) *ret_client = (struct tavi__proxy_client){0};
  return status;
}

static int read_line(const char **p, const char *end, struct tavi__proxy_client *ret_client) {
  int status = read_word(p, end, "PROXY ");
  if (status != TAVI_WIRE_EVENT) return status;
  if (*p < end && **p == 'U') {
    status = read_word(p, end, "UNKNOWN");
    return status == TAVI_WIRE_EVENT ? read_unknown(p, end, ret_client) : status;
  }
  status = read_word(p, end, "TCP");
  if (status != TAVI_WIRE_EVENT) return status;
  if (*p == end) return TAVI_WIRE_MORE;
  int family = *(*p)++ - '0';
  if (family != 4 && family != 6) return TAVI_E_PROTOCOL;
  status = read_word(p, end, " ");
  return status == TAVI_WIRE_EVENT ? read_tcp(p, end, family, ret_client) : status;
}

static int read_version_1(const char *p, size_t len, size_t *consumed, struct tavi__proxy_client *ret_client) {
  const char *at = p;
  bool is_cut = len >= LINE_BYTES_MAX;
  int status = read_line(&at, p + (is_cut ? LINE_BYTES_MAX : len), ret_client);
  if (status == TAVI_WIRE_EVENT) *consumed = (size_t) (at - p);
  return status == TAVI_WIRE_MORE && is_cut ? TAVI_E_PROTOCOL : status;
}

/* ==== version 2 ==== */

static const char signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum {
  FIXED_BYTES = 16,     /* signature, version and command, family, length of the rest */
  VERSION_2_LOCAL = 0x20,
  VERSION_2_PROXY = 0x21,
  EXTENSION_BYTES = 3,  /* type and length before each extension's value */
  EXTENSION_CRC32C = 3
};

static unsigned byte_at(const char *p) { return (unsigned char) *p; }

static unsigned number16(const char *p) { return byte_at(p) << 8 | byte_at(p + 1); }

static uint32_t number32(const char *p) { return (uint32_t) number16(p) << 16 | number16(p + 2); }

/* Continue a CRC32c (RFC 3720 section 12.1) with len bytes; p NULL: zeros. A header is too small and too rare for a
 * table. */
static uint32_t crc32c(uint32_t crc, const char *p, size_t len) {
  for (size_t i = 0; i < len; i++) {
    crc ^= p != NULL ? byte_at(p + i) : 0;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) * UINT32_C(0x82f63b78));
  }
  return crc;
}

/* The sum over the header, with zeros in place of the sum itself. */
static bool is_sum_right(const char *p, const char *end, const char *sum) {
  uint32_t crc = crc32c(UINT32_MAX, p, (size_t) (sum - p));
  crc = crc32c(crc, NULL, 4);
  crc = crc32c(crc, sum + 4, (size_t) (end - sum - 4));
  return ~crc == number32(sum);
}

/* Walk over the extensions behind the addresses; a checksum among them must be right. */
static int judge_extensions(const char *p, const char *at, const char *end) {
  const char *sum = NULL;
  while (at < end) {
    if (end - at < EXTENSION_BYTES) return TAVI_E_PROTOCOL;
    unsigned type = byte_at(at), len = number16(at + 1);
    at += EXTENSION_BYTES;
    if ((size_t) (end - at) < len) return TAVI_E_PROTOCOL;
    if (type == EXTENSION_CRC32C) {
      if (len != 4 || sum != NULL) return TAVI_E_PROTOCOL;
      sum = at;
    }
    at += len;
  }
  return sum == NULL || is_sum_right(p, end, sum) ? TAVI_WIRE_EVENT : TAVI_E_PROTOCOL;
}

/* Bytes of addresses for a family (high half: none, IPv4, IPv6, Unix); -1: there is no such family or transport.
 * Datagrams are taken for what they are: somebody's client, whose bytes come to us as a stream. */
static int address_bytes(unsigned family) {
  static const int bytes[4] = {0, 4 + 4 + 2 + 2, 16 + 16 + 2 + 2, 108 + 108};
  return family >> 4 <= 3 && (family & 15) <= 2 ? bytes[family >> 4] : -1;
}

/* A whole header of the command PROXY, whose family is one and has room for its addresses. */
static int read_addresses(const char *p, const char *end, struct tavi__proxy_client *ret_client) {
  struct tavi__proxy_client client = {0};
  unsigned family = byte_at(p + 13);
  int bytes = address_bytes(family);
  if (bytes > 0) { /* without a family, the rest has no form that could be wrong */
    int status = judge_extensions(p, p + FIXED_BYTES + bytes, end);
    if (status != TAVI_WIRE_EVENT) return status;
  }
  if (family >> 4 == 1 || family >> 4 == 2) {
    size_t len = family >> 4 == 1 ? 4 : 16;
    client.family = len == 4 ? 4 : 6;
    memcpy(client.ip, p + FIXED_BYTES, len);
    client.port = (uint16_t) number16(p + FIXED_BYTES + 2 * len);
  }
  *ret_client = client;
  return TAVI_WIRE_EVENT;
}

/* The first `len` of the fixed bytes; the signature is right. */
static int judge_fixed(const char *p, size_t len) {
  if (len < 13) return TAVI_WIRE_MORE;
  unsigned command = byte_at(p + 12);
  if (command != VERSION_2_LOCAL && command != VERSION_2_PROXY) return TAVI_E_PROTOCOL;
  bool is_proxy = command == VERSION_2_PROXY; /* the family of the other means nothing */
  if (len > 13 && is_proxy && address_bytes(byte_at(p + 13)) < 0) return TAVI_E_PROTOCOL;
  if (len < FIXED_BYTES) return TAVI_WIRE_MORE;
  bool is_short = is_proxy && (int) number16(p + 14) < address_bytes(byte_at(p + 13));
  return is_short ? TAVI_E_PROTOCOL : TAVI_WIRE_EVENT;
}

static int read_version_2(const char *p, size_t len, size_t *consumed, struct tavi__proxy_client *ret_client) {
  size_t seen = len < sizeof(signature) ? len : sizeof(signature);
  if (memcmp(p, signature, seen) != 0) return TAVI_E_PROTOCOL;
  int status = judge_fixed(p, len);
  if (status != TAVI_WIRE_EVENT) return status;
  size_t total = FIXED_BYTES + number16(p + 14);
  if (len < total) return TAVI_WIRE_MORE;

  if (byte_at(p + 12) == VERSION_2_PROXY)
    status = read_addresses(p, p + total, ret_client);
  else
    *ret_client = (struct tavi__proxy_client){0}; /* the proxy itself asks; the rest has to be ignored */
  if (status == TAVI_WIRE_EVENT) *consumed = total;
  return status;
}

int tavi__proxy_read(const char *p, size_t len, size_t *consumed, struct tavi__proxy_client *ret_client) {
  if (len == 0) return TAVI_WIRE_MORE;
  return *p == signature[0] ? read_version_2(p, len, consumed, ret_client)
                            : read_version_1(p, len, consumed, ret_client);
}
