/* SPDX-License-Identifier: MIT
 *
 * Range fields as ranges of bytes, against a table and against a model that marks each byte. Sections are of RFC 9110. */
#include "wire/http_range.h"

#include "guard.h"
#include "random.h"
#include "test.h"

enum { CAP = 4 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The result as text, "0-4,6-9" or a number. Whatever is behind the last range must be untouched. */
static const char *ranges(const char *value, size_t len, bool at_end, uint64_t size, int cap) {
  static char text[256];
  struct tavi__range found[17];
  memset(found, 0xa5, sizeof found);
  const struct tavi__range untouched = found[16];
  const struct tavi_slice s = {at_end ? guard_at_end(value, len) : guard_at_start(value, len), len};
  const int count = tavi__http_ranges(s, size, found, cap);
  CHECK(count <= cap);
  CHECK(memcmp(&found[cap], &untouched, sizeof untouched) == 0);
  if (count <= 0) snprintf(text, sizeof text, "%d", count);
  for (int i = 0, at = 0; i < count; i++) {
    at += snprintf(text + at, sizeof text - (size_t)at, "%s%llu-%llu", i > 0 ? "," : "",
                   (unsigned long long)found[i].first, (unsigned long long)found[i].last);
  }
  return text;
}

static const struct {
  const char *section;
  const char *value;
  uint64_t size;
  const char *wanted;
} cases[] = {
    {"14.1.2", "bytes=0-499", 10000, "0-499"}, /* the examples */
    {"14.1.2", "bytes=500-999", 10000, "500-999"},
    {"14.1.2", "bytes=-500", 10000, "9500-9999"},
    {"14.1.2", "bytes=9500-", 10000, "9500-9999"},
    {"14.1.2", "bytes=0-0,-1", 10000, "0-0,9999-9999"},
    {"14.1.2", "bytes= 0-999, 4500-5499, -1000", 10000, "0-999,4500-5499,9000-9999"},
    {"14.1.2", "bytes=500-600,601-999", 10000, "500-999"},
    {"14.1.2", "bytes=500-700,601-999", 10000, "500-999"},
    {"14.1.2", "bytes=0-", 10, "0-9"},
    {"14.1.2", "bytes=0-9", 10, "0-9"},
    {"14.1.2", "bytes=0-10", 10, "0-9"}, /* cut to the size */
    {"14.1.2", "bytes=9-9", 10, "9-9"},
    {"14.1.2", "bytes=9-99", 10, "9-9"},
    {"14.1.2", "bytes=-10", 10, "0-9"},
    {"14.1.2", "bytes=-11", 10, "0-9"}, /* a suffix longer than the whole is the whole */
    {"14.1.2", "bytes=000-0000000000000000000000004", 10, "0-4"},
    {"14.1.2", "bytes=10-", 10, "-416"},
    {"14.1.2", "bytes=10-10", 10, "-416"},
    {"14.1.2", "bytes=-0", 10, "-416"},
    {"14.1.2", "bytes=-0,10-20,-00", 10, "-416"},
    {"14.1.2", "bytes=10-,0-0", 10, "0-0"}, /* one that can be satisfied is enough */
    {"14.1.2", "bytes=-0,5-5", 10, "5-5"},
    {"14.1.2", "bytes=0-0", 1, "0-0"},
    {"14.1.2", "bytes=-1", 1, "0-0"},
    {"14.1.2", "bytes=0-", 0, "-416"}, /* nothing */
    {"14.1.2", "bytes=0-0", 0, "-416"},
    {"14.1.2", "bytes=-0", 0, "-416"},
    {"14.1.2", "bytes=-5", 0, "0"},
    {"14.1.2", "bytes=0-4,-5", 0, "0"},
    {"14.1", "Bytes=0-4", 10, "0-4"}, /* names of units are case-insensitive */
    {"14.1", "BYTES=0-4", 10, "0-4"},
    {"14.2", "items=0-4", 10, "0"}, /* others are ignored */
    {"14.2", "byte=0-4", 10, "0"},
    {"14.2", "bytess=0-4", 10, "0"},
    {"14.2", "none", 10, "0"},
    {"14.1.1", "", 10, "0"},
    {"14.1.1", "bytes", 10, "0"},
    {"14.1.1", "bytes=", 10, "0"},
    {"14.1.1", "bytes= ", 10, "0"},
    {"14.1.1", "bytes=,", 10, "0"}, /* at least one */
    {"14.1.1", "bytes=, ,", 0, "0"},
    {"14.1.1", "bytes =0-4", 10, "0"},
    {"14.1.1", " bytes=0-4", 10, "0"},
    {"14.1.1", "bytes:0-4", 10, "0"},
    {"14.1.1", "bytes 0-4", 10, "0"},
    {"14.1.1", "bytes==0-4", 10, "0"},
    {"14.1.1", "=0-4", 10, "0"},
    {"14.1.1", "0-4", 10, "0"},
    {"14.1.1", "bytes=0", 10, "0"},
    {"14.1.1", "bytes=-", 10, "0"},
    {"14.1.1", "bytes=--5", 10, "0"},
    {"14.1.1", "bytes=0--", 10, "0"},
    {"14.1.1", "bytes=0-4-", 10, "0"},
    {"14.1.1", "bytes=0-4-5", 10, "0"},
    {"14.1.1", "bytes=+0-4", 10, "0"},
    {"14.1.1", "bytes=0-+4", 10, "0"},
    {"14.1.1", "bytes=0x0-4", 10, "0"},
    {"14.1.1", "bytes=0-0x4", 10, "0"},
    {"14.1.1", "bytes=0.-4", 10, "0"},
    {"14.1.1", "bytes=a-b", 10, "0"},
    {"14.1.1", "bytes=*", 10, "0"},
    {"14.1.1", "bytes=0 -4", 10, "0"},
    {"14.1.1", "bytes=0- 4", 10, "0"},
    {"14.1.1", "bytes=0\xe2\x80\x93" "4", 10, "0"}, /* a longer dash */
    {"14.1.1", "bytes=0-4;5-6", 10, "0"},
    {"14.1.1", "bytes=0-4 5-6", 10, "0"}, /* a comma is missing */
    {"14.1.1", "bytes=0-4\t5-6", 10, "0"},
    {"14.1.1", "bytes=0-1,x", 10, "0"}, /* malformed anywhere is malformed */
    {"14.1.1", "bytes=x,0-1", 10, "0"},
    {"14.1.1", "bytes=0-1,bytes=3-4", 10, "0"},
    {"14.1.1", "bytes=4-3", 10, "0"}, /* the last before the first */
    {"14.1.1", "bytes=0-0,4-3", 10, "0"},
    {"14.1.1", "bytes=20-10", 10, "0"},
    {"14.1.1", "bytes=18446744073709551616-1", 10, "0"},
    {"5.6.1", "bytes=,0-1,,4-5,", 10, "0-1,4-5"}, /* empty elements, white space around commas */
    {"5.6.1", "bytes=0-1 ,\t4-5", 10, "0-1,4-5"},
    {"5.6.1", "bytes=\t,  ,0-1", 10, "0-1"},
    {"17.15", "bytes=0-0,2-2,4-4,6-6", 10, "0-0,2-2,4-4,6-6"}, /* as many as allowed */
    {"17.15", "bytes=0-0,2-2,4-4,6-6,8-8", 10, "0"},
    {"17.15", "bytes=0-,0-,0-,0-", 10, "0-9"},
    {"17.15", "bytes=0-,0-,0-,0-,0-", 10, "0"}, /* counted as they are written, joined or not ... */
    {"17.15", "bytes=10-,11-,12-,13-,14-", 10, "0"}, /* ... satisfied or not */
    {"17.15", "bytes=,,,,,,,,,,0-1,,,,,,,,", 10, "0-1"},
    {"15.3.7.2", "bytes=5-6,0-1", 10, "5-6,0-1"}, /* the order of the request */
    {"15.3.7.2", "bytes=-1,0-0", 10, "9-9,0-0"},
    {"15.3.7.2", "bytes=4-5,2-3", 10, "2-5"}, /* touching, from either side */
    {"15.3.7.2", "bytes=2-3,4-5", 10, "2-5"},
    {"15.3.7.2", "bytes=2-3,5-6", 10, "2-3,5-6"},
    {"15.3.7.2", "bytes=0-9,2-3", 10, "0-9"}, /* inside, around, equal */
    {"15.3.7.2", "bytes=2-3,0-9", 10, "0-9"},
    {"15.3.7.2", "bytes=2-3,2-3", 10, "2-3"},
    {"15.3.7.2", "bytes=8-9,0-1,4-5,2-3", 10, "8-9,0-5"}, /* one that bridges two joins all into the first */
    {"15.3.7.2", "bytes=4-5,8-9,0-1,2-3", 10, "0-5,8-9"},
    {"15.3.7.2", "bytes=0-0,4-4,8-8,0-9", 10, "0-9"},
    {"15.3.7.2", "bytes=8-8,4-4,0-0,5-7", 10, "4-8,0-0"},
    {"14.1.2", "bytes=18446744073709551614-", UINT64_MAX, "18446744073709551614-18446744073709551614"}, /* the edge of 64 bits */
    {"14.1.2", "bytes=0-18446744073709551615", UINT64_MAX, "0-18446744073709551614"},
    {"14.1.2", "bytes=0-18446744073709551616", UINT64_MAX, "0-18446744073709551614"},
    {"14.1.2", "bytes=0-99999999999999999999999999", 10, "0-9"},
    {"14.1.2", "bytes=-99999999999999999999999999", 10, "0-9"},
    {"14.1.2", "bytes=-18446744073709551615", UINT64_MAX, "0-18446744073709551614"},
    {"14.1.2", "bytes=18446744073709551615-", UINT64_MAX, "-416"},
    {"14.1.2", "bytes=99999999999999999999999999-", UINT64_MAX, "-416"},
    {"14.1.2", "bytes=99999999999999999999999998-99999999999999999999999999", 10, "-416"},
    {"15.3.7.2", "bytes=18446744073709551614-,0-18446744073709551613", UINT64_MAX, "0-18446744073709551614"},
};

TEST(http_ranges__table) {
  for (size_t i = 0; i < COUNT(cases); i++) {
    test_note("%s: %s of %llu", cases[i].section, cases[i].value, (unsigned long long)cases[i].size);
    for (int at_end = 0; at_end < 2; at_end++) {
      const char *got = ranges(cases[i].value, strlen(cases[i].value), at_end, cases[i].size, CAP);
      CHECK_BYTES(got, strlen(got), cases[i].wanted, strlen(cases[i].wanted));
    }
  }
}

TEST(http_ranges__no_value) {
  struct tavi__range r;
  CHECK_INT(tavi__http_ranges((struct tavi_slice){NULL, 0}, 10, &r, 1), 0);
}

TEST(http_ranges__cap_of_one) {
  CHECK(strcmp(ranges("bytes=2-4", 9, true, 10, 1), "2-4") == 0);
  CHECK(strcmp(ranges("bytes=2-4,5-6", 13, true, 10, 1), "0") == 0);
}

/* Every byte at every place of a good field. */
TEST(http_ranges__every_byte) {
  static const char good[] = "bytes=0-1,4-5";
  const size_t len = sizeof good - 1;
  for (size_t at = 0; at < len; at++) {
    for (int c = 0; c < 256; c++) {
      char other[sizeof good];
      memcpy(other, good, len);
      other[at] = (char)c;
      test_note("byte 0x%02x at %zu", (unsigned)c, at);
      const bool is_unit = at < 5 && (c | 0x20) == good[at];
      const bool may_be = c != '\0' && strchr("0123456789-, \t", c) != NULL && at > 5;
      const char *got = ranges(other, len, true, 10, CAP);
      if (c == good[at] || is_unit) CHECK(strcmp(got, "0-1,4-5") == 0);
      else if (!may_be) CHECK(strcmp(got, "0") == 0);
    }
  }
}

/* Random fields against a model that marks each byte of a small representation. */
TEST(http_ranges__agree_with_a_model) {
  random_seed(14);
  for (int round = 0; round < 20000; round++) {
    const unsigned size = 1 + (unsigned)random_below(40);
    const int count = 1 + (int)random_below(8);
    char text[256];
    bool wanted[40] = {false};
    bool any = false;
    int at = snprintf(text, sizeof text, "bytes=");
    for (int i = 0; i < count; i++) {
      const unsigned first = (unsigned)random_below(50);
      const unsigned last = first + (unsigned)random_below(8);
      const bool is_suffix = random_below(8) == 0;
      const unsigned from = !is_suffix ? first : first < size ? size - first : 0;
      const unsigned to = is_suffix ? size - 1 : last;
      at += is_suffix ? snprintf(text + at, sizeof text - (size_t)at, "-%u,", first)
                      : snprintf(text + at, sizeof text - (size_t)at, "%u-%u,", first, last);
      for (unsigned b = from; b <= to && b < size; b++) any = wanted[b] = true;
    }
    struct tavi__range found[8];
    const int got = tavi__http_ranges((struct tavi_slice){guard_at_end(text, (size_t)at), (size_t)at}, size, found, 8);
    bool sent[40] = {false};
    test_note("%s of %u", text, size);
    CHECK_INT(got > 0 ? 1 : got, any ? 1 : -416);
    for (int i = 0; i < got; i++) {
      if (!CHECK(found[i].first <= found[i].last && found[i].last < size)) return;
      for (uint64_t b = found[i].first; b <= found[i].last; b++) {
        CHECK(!sent[b]); /* no byte twice */
        sent[b] = true;
      }
      /* nothing that touches is left apart */
      if (found[i].first > 0) CHECK(!wanted[found[i].first - 1]);
      if (found[i].last < size - 1) CHECK(!wanted[found[i].last + 1]);
    }
    if (!CHECK(memcmp(sent, wanted, sizeof sent) == 0)) return;
  }
}

/* ==== Content-Range ==== */

static struct tavi_slice content_range(const struct tavi__range *r, uint64_t size) {
  static char copy[TAVI__HTTP_CONTENT_RANGE_BYTES];
  char *out = guard_at_end(copy, sizeof copy);
  const size_t len = tavi__http_content_range(r, size, out);
  CHECK(len < sizeof copy && out[len] == '\0');
  return (struct tavi_slice){out, len};
}

TEST(http_content_range__texts) {
  CHECK_STR(content_range(&(struct tavi__range){0, 4}, 10), "bytes 0-4/10");
  CHECK_STR(content_range(&(struct tavi__range){42, 1233}, 1234), "bytes 42-1233/1234"); /* 14.4 */
  CHECK_STR(content_range(NULL, 1234), "bytes */1234");
  CHECK_STR(content_range(NULL, 0), "bytes */0");
  CHECK_STR(content_range(&(struct tavi__range){UINT64_MAX, UINT64_MAX}, UINT64_MAX),
            "bytes 18446744073709551615-18446744073709551615/18446744073709551615");
}
