/* SPDX-License-Identifier: MIT
 *
 * Values that come with requests and say who asks: Forwarded and X-Forwarded-*, cookies, Base64. The lines of the input
 * are the values of fields. What comes out lies within the input and has the promised form; for Forwarded, bytes before
 * a well-formed element do not change it. */
#include "wire/forwarded.h"

#include "base/base64.h"
#include "fuzz.h"
#include "wire/cookie.h"
#include "wire/http1_field.h"
#include "wire/ip.h"

enum { FIELDS_MAX = 8 };

static struct tavi_http_header fields[3 * FIELDS_MAX];
static struct tavi_http_msg msg;

static bool is_within(struct tavi_slice s, const char *input, size_t size) {
  return s.len == 0 || (s.ptr >= input && s.len <= size && (size_t)(s.ptr - input) <= size - s.len);
}

/* The field parser lets no control but a tab through, and trims. */
static struct tavi_slice field_value(char *p, size_t len) {
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)p[i] < ' ' || p[i] == 0x7f) p[i] = '\t';
  while (len > 0 && (*p == ' ' || *p == '\t')) p++, len--;
  while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t')) len--;
  return (struct tavi_slice){p, len};
}

static void make_message(char *input, size_t size) {
  static const struct tavi_slice names[] = {{"Forwarded", 9}, {"X-Forwarded-For", 15}, {"X-Forwarded-Proto", 17}, {"X-Forwarded-Host", 16}};
  char *p = input, *end = input + size;
  msg = (struct tavi_http_msg){.headers = fields};
  for (size_t line = 0; p < end && line < FIELDS_MAX; line++) {
    char *line_end = memchr(p, '\n', (size_t)(end - p));
    if (line_end == NULL) line_end = end;
    const struct tavi_slice value = field_value(p, (size_t)(line_end - p));
    fields[msg.header_count++] = (struct tavi_http_header){names[0], value};
    fields[msg.header_count++] = (struct tavi_http_header){names[1], value};
    fields[msg.header_count++] = (struct tavi_http_header){names[2 + line % 2], value};
    p = line_end < end ? line_end + 1 : end;
  }
}

static void check_element(const struct tavi__forwarded *e, const char *input, size_t size) {
  uint8_t ip[16];
  struct tavi__http1_authority authority;
  FUZZ_CHECK(is_within(e->address, input, size) && is_within(e->scheme, input, size) && is_within(e->host, input, size));
  FUZZ_CHECK(e->address.len == 0 || tavi__ip_parse(e->address, ip) != 0);
  FUZZ_CHECK(e->host.len == 0 || tavi__http1_authority(e->host, &authority));
  for (size_t i = 0; i < e->scheme.len; i++) FUZZ_CHECK(tavi__http1_is(e->scheme.ptr[i], TAVI__HTTP1_SCHEME));
}

static void check_walk(enum tavi__forwarded_kind kind, const char *input, size_t size) {
  struct tavi__forwarded_at at = {.field = 0};
  struct tavi__forwarded e = {.port = 0};
  size_t elements = 0;
  int status;
  while ((status = tavi__forwarded_back(&msg, kind, &at, &e)) == TAVI_WIRE_EVENT) {
    check_element(&e, input, size);
    FUZZ_CHECK(++elements <= FIELDS_MAX * (size + 1));
    FUZZ_CHECK(at.element == elements);
    if (kind == TAVI__FORWARDED || elements > 3) continue;
    tavi__x_forwarded_rest(&msg, &at, &e);
    check_element(&e, input, size);
  }
  FUZZ_CHECK(status == TAVI_WIRE_MORE || status == TAVI_E_PROTOCOL);
}

/* The input is what a client sent; the proxy has put its own element behind it. */
static void check_appended(const char *input, size_t size) {
  static const char own[] = ",for=\"[::1]:7\";ext=\"a,\\\"b\\\\\";proto=https";
  char *all = calloc(size + sizeof own, 1);
  if (all == NULL) abort();
  memcpy(all, input, size);
  memcpy(all + size, own, sizeof own - 1);
  fields[0] = (struct tavi_http_header){{"forwarded", 9}, {all, size + sizeof own - 1}};
  msg = (struct tavi_http_msg){.headers = fields, .header_count = 1};
  struct tavi__forwarded_at at = {.field = 0};
  struct tavi__forwarded e;
  FUZZ_CHECK(tavi__forwarded_back(&msg, TAVI__FORWARDED, &at, &e) == TAVI_WIRE_EVENT);
  FUZZ_CHECK(e.port == 7 && e.address.len == 3 && e.scheme.len == 5 && e.host.len == 0);
  free(all);
}

static void check_cookies(struct tavi_slice value, struct tavi_slice name, const char *input, size_t size) {
  struct tavi_slice found;
  char out[256];
  if (tavi__cookie_find(value, name, &found)) {
    FUZZ_CHECK(name.len > 0 && is_within(found, input, size) && memchr(found.ptr, ';', found.len) == NULL);
  }
  const struct tavi_cookie cookie = {.name = name, .value = value, .path = value, .domain = name, .max_age_s = (int64_t)size};
  const int64_t len = tavi__cookie_format(&cookie, out, sizeof out);
  FUZZ_CHECK(len == TAVI_E_ARG || len == TAVI_E_LIMIT || (len > 0 && len <= (int64_t)sizeof out));
  for (int64_t i = 0; i < len; i++) FUZZ_CHECK(out[i] >= ' ' && out[i] <= '~');
}

/* What can be decoded is the only text for its bytes. */
static void check_base64(const char *input, size_t size) {
  char *text = fuzz_copy(input, size), *bytes = calloc(size / 4 * 3 + 1, 1);
  if (bytes == NULL) abort();
  const int64_t len = tavi__base64_decode((struct tavi_slice){text, size}, bytes);
  FUZZ_CHECK(len == TAVI_E_PROTOCOL || (len >= 0 && (size_t)len <= size / 4 * 3));
  if (len >= 0) {
    FUZZ_CHECK(tavi__base64_encode((struct tavi_slice){bytes, (size_t)len}, text) == size);
    FUZZ_CHECK(memcmp(text, input, size) == 0);
  }
  free(text), free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 4096) return 0;
  check_base64((const char *)data, size);
  char *input = fuzz_copy(data, size);
  make_message(input, size);
  check_walk(TAVI__FORWARDED, input, size);
  check_walk(TAVI__X_FORWARDED, input, size);
  for (size_t i = 0; i < msg.header_count; i += 3)
    check_cookies(fields[i].value, fields[msg.header_count - 1].value, input, size);
  check_appended(input, size);
  free(input);
  return 0;
}
