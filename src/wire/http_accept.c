/* SPDX-License-Identifier: MIT
 *
 * Accept-Encoding (RFC 9110 section 12.5.3): elements "coding[;q=weight]" with weights of section 12.4.2.
 *
 * The values are not strings but tokens, so a list is cut at its commas without looking for quotes; what is left of a
 * quoted string by that is no coding. An element that is not understood says nothing: the worst that comes of it is
 * an answer that is not compressed. */
#include "wire/http_accept.h"

#include "base/ascii.h"
#include "wire/http1.h"

enum coding { IDENTITY, GZIP, BROTLI, ZSTD, ANY, CODINGS };

enum { NOT_NAMED = -1, LEAST = 1, MOST = 1000 };

/* Take what is in front of the next `separator` off *rest, and it; all when there is none. */
static struct tavi_slice take_until(struct tavi_slice *rest, char separator) {
  struct tavi_slice taken = {rest->ptr, 0};
  while (taken.len < rest->len && rest->ptr[taken.len] != separator) taken.len++;
  size_t used = taken.len < rest->len ? taken.len + 1 : taken.len;
  if (used > 0) *rest = (struct tavi_slice){rest->ptr + used, rest->len - used};
  return tavi__trim(taken.ptr, taken.ptr + taken.len);
}

static int coding_of(struct tavi_slice name) {
  if (tavi__slice_is(name, "gzip", 4) || tavi__slice_is(name, "x-gzip", 6)) return GZIP;
  if (tavi__slice_is(name, "br", 2)) return BROTLI;
  if (tavi__slice_is(name, "zstd", 4)) return ZSTD;
  if (tavi__slice_is(name, "identity", 8)) return IDENTITY;
  return tavi__slice_is(name, "*", 1) ? ANY : CODINGS;
}

/* "q=" and a number from 0 to 1 of at most three decimals, in thousandths; NOT_NAMED when it is none. */
static int weight_of(struct tavi_slice s) {
  if (s.len < 3 || s.len > 7 || tavi__lower(s.ptr[0]) != 'q' || s.ptr[1] != '=') return NOT_NAMED;
  if (s.ptr[2] != '0' && s.ptr[2] != '1') return NOT_NAMED;
  if (s.len > 3 && s.ptr[3] != '.') return NOT_NAMED;
  int weight = (s.ptr[2] - '0') * 1000;
  for (size_t i = 4, unit = 100; i < s.len; i++, unit /= 10) {
    if (!tavi__is_digit(s.ptr[i])) return NOT_NAMED;
    weight += (s.ptr[i] - '0') * (int) unit;
  }
  return weight <= MOST ? weight : NOT_NAMED;
}

/* Take note of one element. Named twice, the greater weight counts. */
static void note(struct tavi_slice element, int weights[CODINGS]) {
  size_t len = element.len;
  struct tavi_slice name = take_until(&element, ';');
  int coding = coding_of(name), weight = MOST;
  if (name.len < len) weight = weight_of(tavi__trim(element.ptr, element.ptr + element.len));
  if (coding != CODINGS && weight > weights[coding]) weights[coding] = weight;
}

struct tavi__accept tavi__http_accept_encoding(const struct tavi_http_msg *msg) {
  int weights[CODINGS] = {NOT_NAMED, NOT_NAMED, NOT_NAMED, NOT_NAMED, NOT_NAMED};
  for (size_t i = 0; i < msg->header_count; i++) {
    struct tavi_slice rest = msg->headers[i].value;
    if (!tavi__slice_is(msg->headers[i].name, "accept-encoding", 15)) continue;
    while (rest.len > 0) note(take_until(&rest, ','), weights);
  }
  for (int i = 0; i < ANY; i++) {
    if (weights[i] == NOT_NAMED) weights[i] = weights[ANY];
    if (weights[i] == NOT_NAMED) weights[i] = i == IDENTITY ? LEAST : 0;
  }
  return (struct tavi__accept){
      .identity = (uint16_t) weights[IDENTITY],
      .gzip = (uint16_t) weights[GZIP],
      .brotli = (uint16_t) weights[BROTLI],
      .zstd = (uint16_t) weights[ZSTD],
  };
}

unsigned tavi__http_accept_choose(const struct tavi__accept *a, unsigned codings) {
  const struct {
    unsigned coding, weight;
  } ours[] = {{TAVI_CODING_BROTLI, a->brotli}, {TAVI_CODING_ZSTD, a->zstd}, {TAVI_CODING_GZIP, a->gzip}};
  unsigned best = TAVI_CODING_IDENTITY, needed = a->identity > 0 ? a->identity : LEAST;
  for (int i = 0; i < 3; i++) {
    if ((codings & ours[i].coding) == 0 || ours[i].weight < needed) continue;
    best = ours[i].coding;
    needed = ours[i].weight + 1;
  }
  return best;
}

const char *tavi__http_coding_name(unsigned coding) {
  switch (coding) {
    case TAVI_CODING_GZIP: return "gzip";
    case TAVI_CODING_BROTLI: return "br";
    case TAVI_CODING_ZSTD: return "zstd";
    default: return "";
  }
}
