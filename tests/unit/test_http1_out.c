/* SPDX-License-Identifier: MIT
 *
 * Status texts, dates, checks of outgoing strings, and the helpers over slices. */
#include <time.h>

#include "guard.h"
#include "test.h"
#include "wire/http1.h"

static struct tavi_slice text(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

/* ==== status ==== */

static struct tavi_slice status_text(int status) {
  static char out[48 + 16];
  memset(out, '!', sizeof out);
  const size_t len = tavi__http1_status_text(status, out);
  CHECK(len <= 48 && out[len] == '!');
  return (struct tavi_slice){out, len};
}

TEST(http1_status_text__known_and_unknown_codes) {
  CHECK_STR(status_text(200), "200 OK");
  CHECK_STR(status_text(100), "100 Continue");
  CHECK_STR(status_text(404), "404 Not Found");
  CHECK_STR(status_text(413), "413 Content Too Large");
  CHECK_STR(status_text(422), "422 Unprocessable Content");
  CHECK_STR(status_text(511), "511 Network Authentication Required");
  CHECK_STR(status_text(599), "599 ");
  CHECK_STR(status_text(418), "418 I'm a teapot");
  CHECK_STR(status_text(306), "306 ");
  CHECK_STR(status_text(999), "999 ");
}

TEST(http1_status_text__every_code_agrees_with_its_reason) {
  int named = 0;
  for (int status = 100; status <= 999; status++) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%d %s", status, tavi__http1_reason(status));
    CHECK_STR(status_text(status), wanted);
    if (*tavi__http1_reason(status) != '\0') named++;
  }
  CHECK_INT(named, 62);
}

TEST(http1_reason__numbers_that_are_no_codes) {
  CHECK_INT(strlen(tavi__http1_reason(0)), 0);
  CHECK_INT(strlen(tavi__http1_reason(-200)), 0);
  CHECK_INT(strlen(tavi__http1_reason(20000)), 0);
}

/* ==== dates ==== */

static struct tavi_slice date(int64_t unix_s) {
  static char out[30];
  out[29] = '!';
  tavi__http1_date(unix_s, out);
  CHECK(out[29] == '!');
  return (struct tavi_slice){out, 29};
}

TEST(http1_date__examples) {
  CHECK_STR(date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK_STR(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK_STR(date(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
  CHECK_STR(date(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
  CHECK_STR(date(951868800), "Wed, 01 Mar 2000 00:00:00 GMT");
  CHECK_STR(date(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT");
  CHECK_STR(date(INT64_C(253402300799)), "Fri, 31 Dec 9999 23:59:59 GMT");
  CHECK_STR(date(INT64_C(-62167219200)), "Sat, 01 Jan 0000 00:00:00 GMT");
  CHECK_STR(date(2147483648), "Tue, 19 Jan 2038 03:14:08 GMT");
}

TEST(http1_date__beyond_four_digits_is_the_nearest) {
  CHECK_STR(date(INT64_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
  CHECK_STR(date(INT64_MIN), "Sat, 01 Jan 0000 00:00:00 GMT");
}

/* Every day of 800 years, which is two whole cycles of the calendar, as the C library has it. */
TEST(http1_date__agrees_with_strftime) {
  for (int64_t day = -146097; day < 146097; day++) {
    const time_t t = (time_t)(day * 86400 + (day & 0xffff) % 86400);
    struct tm tm;
    char wanted[64];
    gmtime_r(&t, &tm);
    strftime(wanted, sizeof wanted, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!CHECK_STR(date(t), wanted)) return;
  }
}

/* ==== checks ==== */

/* Each byte value at each place of a word of each length, from memory with only the promised pad behind it. */
static void check_every_byte(bool (*function)(struct tavi_slice), const char *refused, size_t refused_count,
                             bool is_token) {
  for (size_t len = 1; len < 36; len++) {
    for (size_t at = 0; at < len; at++) {
      for (int c = 0; c < 256; c++) {
        char word[36 + TAVI__HTTP1_PAD];
        memset(word, 'a', sizeof word);
        word[at] = (char)c;
        bool wanted = memchr(refused, c, refused_count) == NULL;
        if (is_token && (c <= ' ' || c >= 0x7f)) wanted = false;
        test_note("byte 0x%02x at %zu of %zu", (unsigned)c, at, len);
        CHECK(function((struct tavi_slice){guard_at_end(word, len + TAVI__HTTP1_PAD), len}) == wanted);
        CHECK(function((struct tavi_slice){guard_at_start(word, len + TAVI__HTTP1_PAD), len}) == wanted);
      }
    }
  }
}

TEST(http1_is_token__every_byte) { check_every_byte(tavi__http1_is_token, "\"(),/:;<=>?@[\\]{}", 17, true); }
TEST(http1_is_value__every_byte) { check_every_byte(tavi__http1_is_value, "\r\n\0", 3, false); }

TEST(http1_is_token__empty_is_none) {
  CHECK(!tavi__http1_is_token(text("")));
  CHECK(!tavi__http1_is_token((struct tavi_slice){NULL, 0}));
}

TEST(http1_is_value__empty_is_one) {
  CHECK(tavi__http1_is_value(text("")));
  CHECK(tavi__http1_is_value((struct tavi_slice){NULL, 0}));
}

/* ==== slices ==== */

TEST(slice_is__folds_letters_only) {
  for (size_t len = 1; len < 28; len++) {
    for (size_t at = 0; at < len; at++) {
      for (int c = 0; c < 256; c++) {
        char word[32];
        char literal[32];
        memset(word, 'Q', sizeof word);
        memset(literal, 'q', sizeof literal);
        for (int other = 'a'; other <= '~'; other += 1) {
          if (other >= 'A' && other <= 'Z') continue;
          if (other != 'k' && other != '{' && other != '`' && other != '-') continue;
          word[at] = (char)c;
          literal[at] = (char)other;
          const bool wanted = c == other || (other == 'k' && c == 'K');
          test_note("byte 0x%02x for %c at %zu of %zu", (unsigned)c, other, at, len);
          CHECK(tavi__slice_is((struct tavi_slice){guard_at_end(word, len), len}, literal, len) == wanted);
        }
      }
    }
  }
}

TEST(slice_is__lengths) {
  CHECK(tavi__slice_is(text(""), "", 0));
  CHECK(tavi__slice_is((struct tavi_slice){NULL, 0}, "", 0));
  CHECK(tavi__slice_is(text("Content-Length"), "content-length", 14));
  CHECK(!tavi__slice_is(text("Content-Lengt"), "content-length", 14));
  CHECK(!tavi__slice_is(text("Content-Lengths"), "content-length", 14));
  CHECK(!tavi__slice_is(text("-0d"), "-\rd", 3));
  CHECK(!tavi__slice_is(text("a\rb-a\rb-"), "a-b-a-b-", 8));
}

TEST(http1_find__first_of_a_name) {
  const struct tavi_http_header fields[] = {
      {text("Accept"), text("1")}, {text("X-Long-Name-Of-Mine"), text("2")}, {text("x-long-name-of-mine"), text("3")}};
  CHECK(tavi__http1_find(fields, 3, text("ACCEPT")) == &fields[0]);
  CHECK(tavi__http1_find(fields, 3, text("x-LONG-name-of-MINE")) == &fields[1]);
  CHECK(tavi__http1_find(fields, 3, text("x-long-name-of-minE2")) == NULL);
  CHECK(tavi__http1_find(fields, 3, text("")) == NULL);
  CHECK(tavi__http1_find(fields, 0, text("Accept")) == NULL);
  CHECK(tavi__http1_find(NULL, 0, text("Accept")) == NULL);
}

static bool has(const char *list, const char *token) { return tavi__http1_list_has(text(list), token, strlen(token)); }

TEST(http1_list_has__elements) {
  CHECK(has("close", "close"));
  CHECK(has("CLOSE", "close"));
  CHECK(has("a, close", "close"));
  CHECK(has("a,close,b", "close"));
  CHECK(has(" \t close\t ,b", "close"));
  CHECK(has(",,close", "close"));
  CHECK(has("a,,close,", "close"));
  CHECK(!has("", "close"));
  CHECK(!has(",", "close"));
  CHECK(!has("closed", "close"));
  CHECK(!has("enclose", "close"));
  CHECK(!has("clos", "close"));
  CHECK(!has("close b", "close"));
  CHECK(!has("close;q=1", "close"));
  CHECK(!has("a\xa0,close\xa0", "close"));
  CHECK(!tavi__http1_list_has((struct tavi_slice){NULL, 0}, "close", 5));
}
