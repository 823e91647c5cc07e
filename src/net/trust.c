/* SPDX-License-Identifier: MIT
 *
 * See trust.h. A flat array, walked from its front: such lists have a handful of entries, and are asked once per
 * connection or per request that wants to know. */
#include "net/trust.h"

#include <stdlib.h>
#include <string.h>

#include "wire/http1.h"
#include "wire/ip.h"

struct network {
  uint8_t ip[16]; /* IPv4: the first four; zeros behind `bits` */
  uint8_t family; /* 4, 6; 1: all Unix sockets */
  uint8_t bits;
};

struct tavi__trust {
  size_t count;
  struct network networks[];
};

/* ==== addresses ==== */

void tavi__peer_of_ip(unsigned family, const uint8_t *ip, uint16_t port, struct tavi__peer *ret_peer) {
  struct tavi__peer as_told = {.port = port, .family = (uint8_t) family};
  struct tavi__sockaddr a;
  memcpy(as_told.ip, ip, family == 4 ? 4 : 16);
  tavi__peer_to_sockaddr(&as_told, false, &a); /* there and back: a mapped IPv4 address is one */
  tavi__sockaddr_to_peer(&a, ret_peer);
}

bool tavi__peer_of_text(struct tavi_slice literal, uint16_t port, struct tavi__peer *ret_peer) {
  uint8_t ip[16];
  int family = tavi__ip_parse(literal, ip);
  if (family == 0) return false;
  tavi__peer_of_ip((unsigned) family, ip, port, ret_peer);
  return true;
}

/* ==== the text ==== */

/* "/8". text: behind the '/'. */
static bool parse_bits(struct tavi_slice text, unsigned max, unsigned *ret_bits) {
  char digits[4] = {0};
  if (text.len == 0 || text.len >= sizeof(digits)) return false;
  memcpy(digits, text.ptr, text.len);
  const char *p = digits, *end = digits + sizeof(digits);
  return tavi__decimal_read(&p, end, max, ret_bits) == TAVI_WIRE_EVENT && p == digits + text.len;
}

/* Is everything behind the first `bits` zero? */
static bool is_network(const uint8_t *ip, unsigned bits, unsigned bits_max) {
  for (unsigned at = bits; at < bits_max; at++)
    if ((ip[at / 8] >> (7 - at % 8) & 1) != 0) return false;
  return true;
}

static bool parse_network(struct tavi_slice text, struct network *ret_network) {
  const char *slash = memchr(text.ptr, '/', text.len);
  size_t len = slash != NULL ? (size_t) (slash - text.ptr) : text.len;
  struct tavi__peer peer;
  uint8_t ip[16];
  unsigned family = (unsigned) tavi__ip_parse((struct tavi_slice){text.ptr, len}, ip);
  unsigned bits_max = family == 4 ? 32 : 128, bits = bits_max;
  if (family == 0) return false;
  if (slash != NULL && !parse_bits((struct tavi_slice){slash + 1, text.len - len - 1}, bits_max, &bits)) return false;
  if (!is_network(ip, bits, bits_max)) return false;

  tavi__peer_of_ip(family, ip, 0, &peer);
  if (peer.family != family) bits -= 96; /* mapped: the ones before the IPv4 address are within the network's bits */
  *ret_network = (struct network){.family = peer.family, .bits = (uint8_t) bits};
  memcpy(ret_network->ip, peer.ip, sizeof(peer.ip));
  return true;
}

static bool parse_element(struct tavi_slice text, struct network *ret_network) {
  if (text.len == 4 && memcmp(text.ptr, "unix", 4) == 0) {
    *ret_network = (struct network){.family = 1};
    return true;
  }
  return text.len > 0 && parse_network(text, ret_network);
}

int tavi__trust_new(const char *text, struct tavi__trust **ret_trust) {
  size_t count = 1, len = text != NULL ? strlen(text) : 0;
  if (text == NULL || tavi__trim(text, text + len).len == 0) {
    *ret_trust = NULL;
    return 0;
  }
  for (const char *p = text; *p != 0; p++) count += *p == ',';
  struct tavi__trust *t = malloc(sizeof(*t) + count * sizeof(t->networks[0]));
  if (t == NULL) return TAVI_E_NOMEM;

  t->count = count;
  for (size_t i = 0; i < count; i++) {
    size_t element_len = strcspn(text, ",");
    if (!parse_element(tavi__trim(text, text + element_len), &t->networks[i])) {
      free(t);
      return TAVI_E_ARG;
    }
    text += element_len + 1; /* past the end after the last one, where nothing is read any more */
  }
  *ret_trust = t;
  return 0;
}

void tavi__trust_free(struct tavi__trust *t) { free(t); }

/* ==== asking ==== */

static bool is_within(const struct network *n, const struct tavi__peer *p) {
  unsigned whole = n->bits / 8, rest = n->bits % 8;
  if (n->family != p->family || memcmp(n->ip, p->ip, whole) != 0) return false;
  return rest == 0 || (n->ip[whole] ^ p->ip[whole]) >> (8 - rest) == 0;
}

bool tavi__trust_has(const struct tavi__trust *t, const struct tavi__peer *p) {
  for (size_t i = 0; t != NULL && i < t->count; i++)
    if (is_within(&t->networks[i], p)) return true;
  return false;
}
