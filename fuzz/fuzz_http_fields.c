/* SPDX-License-Identifier: MIT
 *
 * What a static file server reads of a request: the first byte selects (its low two bits) p: a path, a: Accept-Encoding,
 * r: Range, c: dates and conditions. Lines of the rest are separate fields. */
#include "fuzz.h"
#include "wire/http_accept.h"
#include "wire/http_cond.h"
#include "wire/http_path.h"
#include "wire/http_range.h"

enum { FIELDS_MAX = 8, CAP = 16, PATH_CAP = 128 };

/* Memory to write to whose ends the address sanitizer knows. Free it. */
static void *room(size_t len) {
  void *p = calloc(len > 0 ? len : 1, 1);
  if (p == NULL) abort();
  return p;
}

/* ==== paths ==== */

/* Is this the name of something below a root, and nothing else? */
static void check_name(const char *name, size_t len, bool hidden) {
  size_t start = 0;
  FUZZ_CHECK(memchr(name, '\0', len) == NULL && memchr(name, '\\', len) == NULL);
  for (size_t i = 0; len > 0 && i <= len; i++) {
    if (i < len && name[i] != '/') continue;
    const char *component = name + start;
    const size_t component_len = i - start;
    FUZZ_CHECK(component_len > 0);
    FUZZ_CHECK(component_len > 2 || memcmp(component, "..", component_len) != 0);
    const bool is_well_known = start == 0 && component_len == 11 && memcmp(component, ".well-known", 11) == 0;
    FUZZ_CHECK(hidden || component[0] != '.' || is_well_known);
    start = i + 1;
  }
}

/* A path that was decoded is encoded, every byte, and decoded again: the same. */
static void check_again(const char *name, size_t len, bool is_dir, bool hidden) {
  char path[3 * PATH_CAP + 3] = "/";
  size_t to = 1;
  for (size_t i = 0; i < len; i++, to += 3) snprintf(path + to, 4, "%%%02X", (unsigned char)name[i]);
  if (is_dir) path[to++] = '/';

  char out[PATH_CAP];
  bool is_dir_again = !is_dir;
  FUZZ_CHECK(tavi__http_path((struct tavi_slice){path, to}, hidden, out, PATH_CAP, &is_dir_again) == (int)len);
  FUZZ_CHECK(memcmp(out, name, len + 1) == 0 && is_dir_again == is_dir);
}

static void fuzz_path(struct tavi_slice path) {
  for (int hidden = 0; hidden < 2; hidden++) {
    char *out = room(PATH_CAP);
    bool is_dir = false;
    const int len = tavi__http_path(path, hidden, out, PATH_CAP, &is_dir);
    FUZZ_CHECK((len >= 0 && len < PATH_CAP) || len == -400 || len == -404 || len == -414);
    FUZZ_CHECK(len != -404 || hidden == 0);
    if (len >= 0) {
      FUZZ_CHECK(out[len] == '\0');
      check_name(out, (size_t)len, hidden);
      check_again(out, (size_t)len, is_dir, hidden);
      char *exact = room((size_t)len + 1);
      FUZZ_CHECK(tavi__http_path(path, hidden, exact, len + 1, &is_dir) == len && memcmp(exact, out, (size_t)len) == 0);
      if (len > 0) FUZZ_CHECK(tavi__http_path(path, hidden, exact, len, &is_dir) == -414);
      free(exact);
    }
    free(out);
  }
}

/* ==== Accept-Encoding ==== */

static bool same_accept(struct tavi__accept a, struct tavi__accept b) {
  return a.identity == b.identity && a.gzip == b.gzip && a.brotli == b.brotli && a.zstd == b.zstd;
}

static void fuzz_accept(const struct tavi_http_header *fields, size_t count, struct tavi_slice joined) {
  struct tavi_http_header whole = {.name = {"Accept-Encoding", 15}, .value = joined};
  struct tavi_http_msg m = {.headers = fields, .header_count = count};
  const struct tavi__accept a = tavi__http_accept_encoding(&m);
  FUZZ_CHECK(a.identity <= 1000 && a.gzip <= 1000 && a.brotli <= 1000 && a.zstd <= 1000);
  for (unsigned codings = 0; codings < 8; codings++) {
    const unsigned chosen = tavi__http_accept_choose(&a, codings);
    FUZZ_CHECK((chosen & ~codings) == 0 && (chosen & (chosen - 1)) == 0);
  }
  m = (struct tavi_http_msg){.headers = &whole, .header_count = 1}; /* several fields are one list */
  FUZZ_CHECK(same_accept(a, tavi__http_accept_encoding(&m)));
}

/* ==== Range ==== */

static void check_ranges(const struct tavi__range *r, int count, uint64_t size) {
  char text[CAP * 42 + 6] = "bytes=";
  int to = 6;
  for (int i = 0; i < count; i++) {
    FUZZ_CHECK(r[i].first <= r[i].last && r[i].last < size);
    for (int j = 0; j < i; j++) FUZZ_CHECK(r[j].last + 1 < r[i].first || r[i].last + 1 < r[j].first);
    to += snprintf(text + to, sizeof text - (size_t)to, "%s%llu-%llu", i > 0 ? "," : "",
                   (unsigned long long)r[i].first, (unsigned long long)r[i].last);
    char *content_range = room(TAVI__HTTP_CONTENT_RANGE_BYTES);
    FUZZ_CHECK(tavi__http_content_range(&r[i], size, content_range) < TAVI__HTTP_CONTENT_RANGE_BYTES);
    free(content_range);
  }
  struct tavi__range again[CAP];
  FUZZ_CHECK(tavi__http_ranges((struct tavi_slice){text, (size_t)to}, size, again, CAP) == count);
  FUZZ_CHECK(memcmp(again, r, (size_t)count * sizeof again[0]) == 0);
}

static void fuzz_range(struct tavi_slice value) {
  static const uint64_t sizes[] = {0, 1, 10, 10000, UINT64_C(1) << 63, UINT64_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    for (int cap = 1; cap <= CAP; cap *= 4) {
      struct tavi__range *r = room((size_t)cap * sizeof *r);
      const int count = tavi__http_ranges(value, sizes[i], r, cap);
      FUZZ_CHECK((count >= 0 && count <= cap) || count == -416);
      if (count > 0) check_ranges(r, count, sizes[i]);
      free(r);
    }
  }
}

/* ==== dates and conditions ==== */

static void fuzz_date(struct tavi_slice s) {
  int64_t unix_s;
  if (!tavi__http_date_parse(s, 784111777, &unix_s)) return;
  char text[29];
  int64_t again;
  tavi__http1_date(unix_s, text);
  FUZZ_CHECK(tavi__http_date_parse((struct tavi_slice){text, sizeof text}, 0, &again) && again == unix_s);
  const bool is_fixdate = s.len == sizeof text && s.ptr[3] == ',';
  if (is_fixdate && memcmp(s.ptr + 23, "60", 2) != 0) FUZZ_CHECK(memcmp(text + 3, s.ptr + 3, sizeof text - 3) == 0);
}

/* The lines, under each name. */
static void fuzz_cond(struct tavi_http_header *fields, size_t count, struct tavi_slice joined) {
  static const char *const names[] = {"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"};
  static const struct tavi__validators v[] = {
      {{"\"a\"", 3}, 784111777, 800000000}, {{"W/\"a,\"", 6}, -1, 0}, {{NULL, 0}, 784111777, 784111777}};
  for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
    for (size_t i = 0; i < count; i++) fields[i].name = (struct tavi_slice){names[n], strlen(names[n])};
    struct tavi_http_header whole = {.name = {names[n], strlen(names[n])}, .value = joined};
    const struct tavi_http_msg apart = {.headers = fields, .header_count = count};
    const struct tavi_http_msg as_one = {.headers = &whole, .header_count = 1};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
      const int get = tavi__http_condition(&apart, true, &v[i]);
      const int put = tavi__http_condition(&apart, false, &v[i]);
      FUZZ_CHECK((get == 0 || get == 304 || get == 412) && (put == 0 || put == 412));
      const int get_as_one = tavi__http_condition(&as_one, true, &v[i]);
      if (n == 0) FUZZ_CHECK(get == put && (get != 0 || get_as_one == 0)); /* what matches as several does as one */
      if (n == 1) FUZZ_CHECK((get == 304) == (put == 412) && (get != 304 || get_as_one == 304));
      if (n == 4) FUZZ_CHECK(get == 0 && put == 0);
      tavi__http_if_range(&apart, &v[i]);
    }
  }
}

/* ==== all ==== */

/* Cut at line ends into copies of their exact sizes, and join them by commas. */
static size_t split(struct tavi_slice s, struct tavi_http_header fields[FIELDS_MAX], char *joined) {
  size_t count = 0;
  size_t start = 0;
  for (size_t i = 0; i <= s.len; i++) {
    if (i < s.len && (s.ptr[i] != '\n' || count == FIELDS_MAX - 1)) {
      joined[i] = s.ptr[i];
      continue;
    }
    if (i < s.len) joined[i] = ',';
    fields[count++] = (struct tavi_http_header){
        .name = {"accept-encoding", 15}, .value = {fuzz_copy(s.ptr + start, i - start), i - start}};
    start = i + 1;
  }
  return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;

  const struct tavi_slice input = {(const char *)data + 1, size - 1};
  struct tavi_http_header fields[FIELDS_MAX];
  char *joined = room(input.len);
  const size_t count = split(input, fields, joined);
  const struct tavi_slice as_one = {joined, input.len};
  switch (data[0] % 4) {
    case 'p' % 4: fuzz_path(input); break;
    case 'a' % 4: fuzz_accept(fields, count, as_one); break;
    case 'r' % 4: fuzz_range(input); break;
    default:
      fuzz_cond(fields, count, as_one);
      for (size_t i = 0; i < count; i++) fuzz_date(fields[i].value);
  }
  for (size_t i = 0; i < count; i++) free((void *)(uintptr_t)fields[i].value.ptr);
  free(joined);
  return 0;
}
