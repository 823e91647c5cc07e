/* SPDX-License-Identifier: MIT
 *
 * Field values of HTTP/1.1 that the codec itself must understand, and the helpers over slices.
 *
 * Everything here reads a value that has already been found by the line parser, so the bytes are known to hold no
 * control but HTAB. What decides about framing (Content-Length, Transfer-Encoding) and routing (Host) is refused when
 * it has a second reading; what only asks for something (Connection) is read for the words that we know, and the rest
 * is passed over.
 *
 * Comparisons without case go eight bytes at a time. The general fold touches letters only. For names out of our own
 * list there is a cheaper one in http1_field.h, which may rely on what the line parser has let through. */
#include "wire/http1_field.h"

#include "base/ascii.h"
#include "wire/ip.h"

/* Sums of enum tavi__http1_class; one line per sixteen bytes. */
const uint8_t tavi__http1_classes[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     2, 15,  6,  3, 15, 15, 15, 15, 14, 14, 15, 47,  6, 47, 47,  6,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63,  6, 14,  6, 14,  6,  6,
     6, 63, 63, 63, 63, 63, 63, 47, 47, 47, 47, 47, 47, 47, 47, 47,
    47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,  6,  6,  6,  7, 15,
     7, 63, 63, 63, 63, 63, 63, 47, 47, 47, 47, 47, 47, 47, 47, 47,
    47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,  6,  7,  6, 15,  0,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
     6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,  6,
};

const char *tavi__http1_scan_short(const char *p, const char *end, uint64_t (*stops)(tavi__http1_block)) {
  char copy[TAVI__HTTP1_BLOCK_BYTES] = {0};
  const size_t len = (size_t)(end - p);
  memcpy(copy, p, len);
  const uint64_t present = (UINT64_C(1) << (len << TAVI__HTTP1_MARK_SHIFT)) - 1;
  const uint64_t marks = stops(tavi__http1_load(copy)) & present;
  return marks != 0 ? p + tavi__http1_first_mark(marks) : end;
}

const char *tavi__http1_name_end(const char *p, const char *last, const char *end) {
  p = tavi__http1_scan(p, last, end, tavi__http1_word_stops);
  while (p < end && tavi__http1_is(*p, TAVI__HTTP1_TOKEN)) p++;
  return p;
}

const char *tavi__http1_label_end(const char *p, const char *last, const char *end) {
  return tavi__http1_scan(p, last, end, tavi__http1_label_stops);
}

/* ==== slices without case ==== */

/* Eight bytes with the capital letters among them made small; no carry crosses a byte. */
static uint64_t lower8(const char *p) {
  uint64_t x;
  memcpy(&x, p, sizeof x);
  const uint64_t low = x & TAVI__HTTP1_EACH(0x7fu);
  const uint64_t from_a = low + TAVI__HTTP1_EACH(0x80u - 'A');
  const uint64_t past_z = low + TAVI__HTTP1_EACH(0x7fu - 'Z');
  const uint64_t capital = from_a & ~past_z & ~x & TAVI__HTTP1_EACH(0x80u);
  return x | (capital >> 2);
}

static bool equal_without_case(const char *a, const char *b, size_t len) {
  if (len >= 8) {
    for (size_t i = 0; i + 8 < len; i += 8) {
      if (lower8(a + i) != lower8(b + i)) return false;
    }
    return lower8(a + len - 8) == lower8(b + len - 8);
  }
  for (size_t i = 0; i < len; i++) {
    if (tavi__lower(a[i]) != tavi__lower(b[i])) return false;
  }
  return true;
}

bool tavi__slice_is(struct tavi_slice a, const char *text, size_t len) {
  return a.len == len && equal_without_case(a.ptr, text, len);
}

const struct tavi_http_header *tavi__http1_find(const struct tavi_http_header *headers, size_t count,
                                                struct tavi_slice name) {
  for (size_t i = 0; i < count; i++) {
    if (headers[i].name.len == name.len && equal_without_case(headers[i].name.ptr, name.ptr, name.len)) {
      return &headers[i];
    }
  }
  return NULL;
}

/* ==== lists ==== */

struct tavi_slice tavi__trim(const char *p, const char *end) {
  while (p < end && tavi__is_space(*p)) p++;
  while (end > p && tavi__is_space(end[-1])) end--;
  return (struct tavi_slice){p, (size_t)(end - p)};
}

/* Take the next element off a comma-separated list; false after the last one. *rest is where to go on, and NULL once
 * the last element was taken. Elements may be empty. */
static bool next_element(const char **rest, const char *end, struct tavi_slice *ret_element) {
  const char *p = *rest;
  if (p == NULL) return false;
  const char *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
  *ret_element = tavi__trim(p, comma != NULL ? comma : end);
  *rest = comma != NULL ? comma + 1 : NULL;
  return true;
}

bool tavi__http1_list_has(struct tavi_slice value, const char *lower_case_token, size_t len) {
  const char *end = value.len > 0 ? value.ptr + value.len : value.ptr;
  const char *rest = value.ptr;
  struct tavi_slice element;
  while (next_element(&rest, end, &element)) {
    if (tavi__slice_is(element, lower_case_token, len)) return true;
  }
  return false;
}

static unsigned option(struct tavi_slice element) {
  switch (element.len) {
    case 5: return tavi__http1_word_is(element.ptr, "close", 5) ? TAVI__HTTP1_CLOSE : 0;
    case 7: return tavi__http1_word_is(element.ptr, "upgrade", 7) ? TAVI__HTTP1_UPGRADE : 0;
    case 10: return tavi__http1_word_is(element.ptr, "keep-alive", 10) ? TAVI__HTTP1_KEEP_ALIVE : 0;
    default: return 0;
  }
}

unsigned tavi__http1_connection_options(struct tavi_slice value) {
  unsigned found = option(value);
  if (found != 0) return found;

  const char *rest = value.ptr;
  struct tavi_slice element;
  while (next_element(&rest, value.ptr + value.len, &element)) found |= option(element);
  return found;
}

/* ==== framing ==== */

int tavi__http1_content_length(struct tavi_slice value, uint64_t *ret_length) {
  if (value.len == 0) return -400;

  uint64_t length = 0;
  for (size_t i = 0; i < value.len; i++) {
    if (!tavi__is_digit(value.ptr[i])) return -400;
    const uint64_t digit = (uint64_t)(value.ptr[i] - '0');
    if (length > ((uint64_t)INT64_MAX - digit) / 10) return -400;
    length = length * 10 + digit;
  }
  *ret_length = length;
  return 0;
}

int tavi__http1_transfer_encoding(struct tavi_slice value) {
  if (tavi__slice_is(value, "chunked", 7)) return 0;

  const char *rest = value.ptr;
  struct tavi_slice coding;
  while (next_element(&rest, value.ptr + value.len, &coding)) {
    size_t name_len = 0;
    while (name_len < coding.len && tavi__http1_is(coding.ptr[name_len], TAVI__HTTP1_TOKEN)) name_len++;
    if (name_len == 0) return -400;

    const struct tavi_slice params = tavi__trim(coding.ptr + name_len, coding.ptr + coding.len);
    if (params.len > 0 && *params.ptr != ';') return -400;
    const bool is_last = rest == NULL;
    const bool is_chunked = tavi__slice_is((struct tavi_slice){coding.ptr, name_len}, "chunked", 7);
    if (is_chunked && (params.len > 0 || !is_last)) return -400;
  }
  return -501;
}

/* ==== authorities ==== */

/* The end of the host that begins at p, or NULL when it is none. */
static const char *host_end(const char *p, const char *end) {
  if (*p == '[') {
    uint8_t ip[16]; /* zones (RFC 6874) and IPvFuture are refused: no HTTP client sends them */
    const char *bracket = memchr(p, ']', (size_t)(end - p));
    if (bracket == NULL) return NULL;
    return tavi__ip_parse((struct tavi_slice){p + 1, (size_t)(bracket - p) - 1}, ip) == 6 ? bracket + 1 : NULL;
  }
  const char *first = p;
  for (;;) {
    if (p == end || !tavi__http1_is(*p, TAVI__HTTP1_REGNAME)) break;
    if (*p++ != '%') continue;
    if (end - p < 2 || !tavi__http1_is(p[0], TAVI__HTTP1_HEX) || !tavi__http1_is(p[1], TAVI__HTTP1_HEX)) return NULL;
    p += 2;
  }
  return p > first ? p : NULL;
}

static bool is_port(const char *p, const char *end) {
  if (end - p > 5) return false;

  int number = 0;
  for (; p < end; p++) {
    if (!tavi__is_digit(*p)) return false;
    number = number * 10 + (*p - '0');
  }
  return number <= 65535;
}

bool tavi__http1_authority(struct tavi_slice s, struct tavi__http1_authority *ret_authority) {
  if (s.len == 0) return false;
  const char *end = s.ptr + s.len;
  const char *host = host_end(s.ptr, end);
  if (host == NULL) return false;

  const bool has_port = host < end;
  const char *port = has_port ? host + 1 : end;
  if (has_port && (*host != ':' || !is_port(port, end))) return false;
  ret_authority->host = (struct tavi_slice){s.ptr, (size_t)(host - s.ptr)};
  ret_authority->port = (struct tavi_slice){port, (size_t)(end - port)};
  ret_authority->has_port = has_port;
  return true;
}

/* The port as a number; without digits the scheme's default, or -1 when we know of none. */
static int port_number(struct tavi_slice scheme, struct tavi_slice port) {
  if (port.len == 0) {
    if (tavi__slice_is(scheme, "http", 4) || tavi__slice_is(scheme, "ws", 2)) return 80;
    if (tavi__slice_is(scheme, "https", 5) || tavi__slice_is(scheme, "wss", 3)) return 443;
    return -1;
  }
  int number = 0;
  for (size_t i = 0; i < port.len; i++) number = number * 10 + (port.ptr[i] - '0');
  return number;
}

bool tavi__http1_same_authority(struct tavi_slice scheme, struct tavi_slice a, struct tavi_slice b) {
  struct tavi__http1_authority one;
  struct tavi__http1_authority other;
  if (!tavi__http1_authority(a, &one) || !tavi__http1_authority(b, &other)) return false;
  if (one.host.len != other.host.len || !equal_without_case(one.host.ptr, other.host.ptr, one.host.len)) return false;
  return port_number(scheme, one.port) == port_number(scheme, other.port);
}
