/* SPDX-License-Identifier: MIT
 *
 * Dates, entity tags and conditional requests. Sections are of RFC 9110. */
#include "wire/http_cond.h"

#include <time.h>

#include "fields.h"
#include "test.h"
#include "wire/http1.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIZED(literal) literal, sizeof(literal) - 1

/* ==== dates ==== */

static const int64_t now_s = 1709294400;    /* Fri, 01 Mar 2024 12:00:00 GMT */
static const int64_t example_s = 784111777; /* of section 5.6.7 */

static bool parse(const char *s, size_t len, int64_t now, int64_t *ret_s) {
  int64_t from_start = -1;
  const bool at_start = tavi__http_date_parse((struct tavi_slice){guard_at_start(s, len), len}, now, &from_start);
  *ret_s = -1;
  const bool at_end = tavi__http_date_parse((struct tavi_slice){guard_at_end(s, len), len}, now, ret_s);
  CHECK(at_start == at_end && from_start == *ret_s);
  return at_end;
}

static const struct {
  const char *text;
  int64_t unix_s;
} dates[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777}, /* 5.6.7, the examples */
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Sun Nov 06 08:49:37 1994", 784111777}, /* date3 = month SP ( 2DIGIT / ( SP 1DIGIT )) */
    {"Wed Nov 16 08:49:37 1994", 784975777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Thursday, 01-Jan-70 00:00:00 GMT", INT64_C(3155760000)}, /* 2070: 46 years ahead */
    {"Thu Jan  1 00:00:00 1970", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200)},
    {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648)},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400}, /* leap years */
    {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
    {"Tuesday, 29-Feb-00 00:00:00 GMT", 951782400},
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second is the first of the next day */
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},  /* a weekday, but not that of the date */
    {"Tuesday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Mon Nov  6 08:49:37 1994", 784111777},
};

TEST(http_date__three_forms) {
  for (size_t i = 0; i < COUNT(dates); i++) {
    int64_t unix_s;
    test_note("%s", dates[i].text);
    if (CHECK(parse(dates[i].text, strlen(dates[i].text), now_s, &unix_s))) CHECK_INT(unix_s, dates[i].unix_s);
  }
}

static const char *const no_dates[] = {
    "",
    " ",
    "0",
    "784111777",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 ",
    "Sun, 06 Nov 1994 08:49:37 GM",
    "Sun, 06 Nov 1994 08:49:37 GMT ",
    " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMTT",
    "Sun, 06 Nov 1994 08:49:37 GMT; length=1",
    "Sun, 06 Nov 1994 08:49:37 gmt", /* case-sensitive */
    "SUN, 06 Nov 1994 08:49:37 GMT",
    "sun, 06 nov 1994 08:49:37 GMT",
    "Sun, 06 NOV 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 06 Nov 1994 08:49:37 -0500",
    "Son, 06 Nov 1994 08:49:37 GMT", /* names of other languages */
    "Sun, 06 Mai 1994 08:49:37 GMT",
    "Sunday, 06 Nov 1994 08:49:37 GMT", /* half of one form and half of another */
    "Sun, 06-Nov-94 08:49:37 GMT",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sunday, 06-Nov-1994 08:49:37 GMT",
    "Sunday Nov  6 08:49:37 1994",
    "Sun Nov 6 08:49:37 1994",
    "Sun Nov   6 08:49:37 1994",
    "Sun Nov  6 08:49:37 1994 GMT",
    "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun, 06 Nov 01994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun,  6 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 08:49 GMT",
    "Sun, 06 Nov 1994 08:49:37.5 GMT",
    "Sun,06 Nov 1994 08:49:37 GMT",
    "Sun  06 Nov 1994 08:49:37 GMT",
    "Sun, 06  Nov 1994 08:49:37 GMT",
    "06 Nov 1994 08:49:37 GMT",
    "Sun, +6 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov -994 08:49:37 GMT",
    "Sun, 06 Nov 1994 0x:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT", /* each number has its range */
    "Sun, 31 Nov 1994 08:49:37 GMT",
    "Sun, 32 Oct 1994 08:49:37 GMT",
    "Sun, 99 Oct 1994 08:49:37 GMT",
    "Sun Nov  0 08:49:37 1994",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:00 GMT",
    "Sun, 06 Nov 1994 08:49:60 GMT",
    "Sun, 06 Nov 1994 08:59:60 GMT", /* a leap second is the last of a day */
    "Sun, 06 Nov 1994 23:58:60 GMT",
    "Sun, 06 Nov 1994 23:59:61 GMT",
    "Sun, 29 Feb 1994 08:49:37 GMT",
    "Sun, 29 Feb 1900 08:49:37 GMT",
    "Sun, 29 Feb 2100 08:49:37 GMT",
    "Sun, 30 Feb 2000 08:49:37 GMT",
    "Sunday, 29-Feb-94 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", /* a list: 13.1.3, 13.1.4 */
    "\"Sun, 06 Nov 1994 08:49:37 GMT\"",
};

TEST(http_date__anything_else_is_none) {
  for (size_t i = 0; i < COUNT(no_dates); i++) {
    int64_t unix_s;
    test_note("%s", no_dates[i]);
    CHECK(!parse(no_dates[i], strlen(no_dates[i]), now_s, &unix_s));
    CHECK_INT(unix_s, -1); /* untouched */
  }
  int64_t unused;
  CHECK(!tavi__http_date_parse((struct tavi_slice){NULL, 0}, now_s, &unused));
}

/* Each form at every prefix, and with every byte at every place: only a digit or a letter can still make a date. */
TEST(http_date__every_prefix_and_every_byte) {
  for (size_t form = 0; form < 3; form++) {
    const size_t len = strlen(dates[form].text);
    int64_t unix_s;
    for (size_t cut = 0; cut < len; cut++) CHECK(!parse(dates[form].text, cut, now_s, &unix_s));
    for (size_t at = 0; at < len; at++) {
      for (int c = 0; c < 256; c++) {
        char other[64];
        memcpy(other, dates[form].text, len);
        other[at] = (char)c;
        test_note("byte 0x%02x at %zu of form %zu", (unsigned)c, at, form);
        const bool is_same = c == dates[form].text[at];
        const bool may_be = c == ' ' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        const bool is_date = parse(other, len, now_s, &unix_s);
        CHECK(is_same ? is_date : may_be || !is_date);
      }
    }
  }
}

/* Every day of 800 years in each form, as the C library writes it. */
TEST(http_date__agrees_with_strftime) {
  static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};
  for (int64_t day = -146097; day < 146097; day++) {
    const time_t t = (time_t)(day * 86400 + (day & 0xffff) % 86400);
    struct tm tm;
    gmtime_r(&t, &tm);
    for (size_t form = 0; form < 3; form++) {
      char text[64];
      int64_t unix_s = -1;
      const size_t len = strftime(text, sizeof text, forms[form], &tm);
      test_note("%s", text);
      if (!CHECK(tavi__http_date_parse((struct tavi_slice){text, len}, t, &unix_s)) || !CHECK_INT(unix_s, t)) return;
    }
  }
}

static const struct {
  const char *now;
  const char *text;
  const char *wanted; /* NULL: none */
} two_digits[] = {
    {"Fri, 01 Mar 2024 12:00:00 GMT", "Thursday, 01-Mar-24 12:00:00 GMT", "Fri, 01 Mar 2024 12:00:00 GMT"},
    {"Fri, 01 Mar 2024 12:00:00 GMT", "Thursday, 01-Mar-74 12:00:00 GMT", "Thu, 01 Mar 2074 12:00:00 GMT"}, /* exactly 50 */
    {"Fri, 01 Mar 2024 12:00:00 GMT", "Thursday, 01-Mar-74 12:00:01 GMT", "Fri, 01 Mar 1974 12:00:01 GMT"}, /* more */
    {"Fri, 01 Mar 2024 12:00:00 GMT", "Thursday, 28-Feb-74 23:59:59 GMT", "Wed, 28 Feb 2074 23:59:59 GMT"},
    {"Fri, 01 Mar 2024 12:00:00 GMT", "Thursday, 31-Dec-99 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"},
    {"Fri, 01 Mar 2024 12:00:00 GMT", "Thursday, 01-Jan-00 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"},
    {"Fri, 31 Dec 1999 23:59:59 GMT", "Thursday, 01-Jan-00 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"},
    {"Thu, 31 Dec 2099 23:59:59 GMT", "Thursday, 01-Jan-05 00:00:00 GMT", "Thu, 01 Jan 2105 00:00:00 GMT"},
    {"Thu, 31 Dec 2099 23:59:59 GMT", "Thursday, 01-Jan-94 00:00:00 GMT", "Fri, 01 Jan 2094 00:00:00 GMT"},
    {"Thu, 31 Dec 2099 23:59:59 GMT", "Thursday, 29-Feb-00 00:00:00 GMT", NULL}, /* 2100 has none */
    {"Wed, 01 Jan 2070 00:00:00 GMT", "Thursday, 29-Feb-96 00:00:00 GMT", "Wed, 29 Feb 2096 00:00:00 GMT"},
    {"Thu, 01 Jan 1970 00:00:00 GMT", "Thursday, 01-Jan-21 00:00:00 GMT", "Sat, 01 Jan 1921 00:00:00 GMT"},
};

TEST(http_date__two_digits_are_at_most_50_years_ahead) {
  for (size_t i = 0; i < COUNT(two_digits); i++) {
    int64_t now;
    int64_t unix_s;
    char text[29];
    test_note("%s at %s", two_digits[i].text, two_digits[i].now);
    CHECK(parse(two_digits[i].now, 29, 0, &now));
    const bool is_date = parse(two_digits[i].text, strlen(two_digits[i].text), now, &unix_s);
    CHECK(is_date == (two_digits[i].wanted != NULL));
    if (!is_date) continue;
    tavi__http1_date(unix_s, text);
    CHECK_BYTES(text, sizeof text, two_digits[i].wanted, strlen(two_digits[i].wanted));
  }
}

TEST(http_date__any_clock_is_endured) {
  static const int64_t clocks[] = {INT64_MIN, -1, 0, INT64_C(253402300800), INT64_MAX};
  for (size_t i = 0; i < COUNT(clocks); i++) {
    int64_t unix_s;
    CHECK(parse(SIZED("Sunday, 06-Nov-94 08:49:37 GMT"), clocks[i], &unix_s));
    CHECK(parse(SIZED("Sun, 06 Nov 1994 08:49:37 GMT"), clocks[i], &unix_s) && unix_s == example_s);
  }
}

/* ==== conditions ==== */

/* The date of the representation, a second before and one after. */
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

struct condition {
  const char *section;
  const char *fields;
  size_t len;
  int get, put; /* what it comes to for GET, and for a method that changes something */
};

#define C(section, fields, get, put) {section, SIZED(fields), get, put}

static void check(const struct condition *cases, size_t count, const char *etag, int64_t modified_s) {
  const struct tavi__validators v = {{etag, strlen(etag)}, modified_s, now_s};
  for (size_t i = 0; i < count; i++) {
    test_note("%s: %s, etag %s", cases[i].section, cases[i].fields, etag);
    for (int at_end = 0; at_end < 2; at_end++) {
      CHECK_INT(tavi__http_condition(fields_of(cases[i].fields, cases[i].len, at_end), true, &v), cases[i].get);
      CHECK_INT(tavi__http_condition(fields_of(cases[i].fields, cases[i].len, at_end), false, &v), cases[i].put);
    }
  }
}

/* For a representation with the strong tag "a". */
static const struct condition strong[] = {
    C("13.2.2", "", 0, 0),
    C("13.2.2", "Host: a\nRange: bytes=0-4", 0, 0),
    C("13.1.1", "If-Match: \"a\"", 0, 0),
    C("13.1.1", "If-Match: \"b\"", 412, 412),
    C("13.1.1", "if-match: \"a\"", 0, 0),
    C("13.1.1", "IF-MATCH: \"b\"", 412, 412),
    C("13.1.1", "If-Match: *", 0, 0),
    C("13.1.1", "If-Match: \"b\", \"a\"", 0, 0),
    C("13.1.1", "If-Match: \"b\",\"c\"", 412, 412),
    C("13.1.1", "If-Match: \"b\"\nIf-Match: \"a\"", 0, 0),
    C("13.1.1", "If-Match: \"a\"\nIf-Match: \"b\"", 0, 0),
    C("13.1.1", "If-Match: W/\"a\"", 412, 412), /* strong comparison */
    C("13.1.1", "If-Match: W/\"a\", \"a\"", 0, 0),
    C("13.1.1", "If-Match:", 412, 412), /* a list without elements: nothing matches */
    C("13.1.1", "If-Match: , ,", 412, 412),
    C("13.1.2", "If-None-Match: \"a\"", 304, 412),
    C("13.1.2", "If-None-Match: W/\"a\"", 304, 412), /* weak comparison */
    C("13.1.2", "If-None-Match: \"b\"", 0, 0),
    C("13.1.2", "If-None-Match: *", 304, 412),
    C("13.1.2", "If-None-Match: \"b\", \"c\", \"a\"", 304, 412),
    C("13.1.2", "If-None-Match: \"b\"\nIf-None-Match: \"a\"", 304, 412),
    C("13.1.2", "If-None-Match: \"b\"\nX: y\nIF-NONE-MATCH: W/\"a\"", 304, 412),
    C("13.1.2", "If-None-Match:", 0, 0),
    C("5.6.1", "If-None-Match: ,\"a\"", 304, 412), /* empty elements */
    C("5.6.1", "If-None-Match: \"a\",", 304, 412),
    C("5.6.1", "If-None-Match: ,, \"b\" ,\t, \"a\" ,,", 304, 412),
    C("5.6.1", "If-None-Match: \"b\"\t,\t\"a\"", 304, 412),
    C("5.6.1", "If-None-Match:\nIf-None-Match: \"a\"", 304, 412),
    C("5.6.1", "If-None-Match: \"b\" \"a\"", 0, 0), /* a comma is missing */
    C("5.6.1", "If-None-Match: \"a\" \"b\"", 0, 0),
    C("5.6.1", "If-None-Match: \"a\"\"b\"", 0, 0),
    C("5.6.1", "If-None-Match: \"a\"W/\"b\"", 0, 0),
    C("5.6.1", "If-None-Match: \"a\";x", 0, 0),
    C("5.6.1", "If-Match: \"a\" \"b\"", 412, 412),
    C("5.6.1", "If-Match: \"a\"\nIf-Match: b", 412, 412), /* the fields are one list, which is malformed */
    C("5.6.1", "If-None-Match: b\nIf-None-Match: \"a\"", 0, 0),
    C("8.8.3", "If-None-Match: a", 0, 0), /* not a tag */
    C("8.8.3", "If-None-Match: 'a'", 0, 0),
    C("8.8.3", "If-None-Match: \"a", 0, 0),
    C("8.8.3", "If-None-Match: a\"", 0, 0),
    C("8.8.3", "If-None-Match: \"", 0, 0),
    C("8.8.3", "If-None-Match: W", 0, 0),
    C("8.8.3", "If-None-Match: W/", 0, 0),
    C("8.8.3", "If-None-Match: W/\"", 0, 0),
    C("8.8.3", "If-None-Match: W/a", 0, 0),
    C("8.8.3", "If-None-Match: w/\"a\"", 0, 0), /* case-sensitive */
    C("8.8.3", "If-None-Match: W /\"a\"", 0, 0),
    C("8.8.3", "If-None-Match: W/ \"a\"", 0, 0),
    C("8.8.3", "If-None-Match: W/W/\"a\"", 0, 0),
    C("8.8.3", "If-None-Match: W\"a\"", 0, 0),
    C("8.8.3", "If-None-Match: \"A\"", 0, 0),
    C("8.8.3", "If-None-Match: \"a \"", 0, 0),
    C("8.8.3", "If-None-Match: \"b c\", \"a\"", 0, 0), /* no white space in a tag */
    C("8.8.3", "If-None-Match: \"b\tc\", \"a\"", 0, 0),
    C("8.8.3", "If-None-Match: \"b\x7f\", \"a\"", 0, 0),
    C("8.8.3", "If-None-Match: \"b\\\"\", \"a\"", 0, 0), /* '\' does not escape: the quote ends the tag */
    C("8.8.3", "If-None-Match: \"b\\\", \"a\"", 304, 412),
    C("8.8.3", "If-None-Match: \"\", \"a\"", 304, 412), /* an empty tag is one */
    C("8.8.3", "If-None-Match: W/\"\", \"a\"", 304, 412),
    C("8.8.3", "If-None-Match: \"b,\", \",\", \",a\"", 0, 0), /* commas in tags */
    C("8.8.3", "If-None-Match: \"b,c\", \"a\"", 304, 412),
    C("8.8.3", "If-None-Match: \"\x80\xff\", \"!#[]^\x7e\", \"a\"", 304, 412), /* obs-text, and the edges of etagc */
    C("13.1.2", "If-None-Match: *, \"a\"", 0, 0), /* '*' is no element */
    C("13.1.2", "If-None-Match: \"a\", *", 0, 0),
    C("13.1.2", "If-None-Match: *\nIf-None-Match: \"a\"", 0, 0),
    C("13.1.2", "If-None-Match: *\nIf-None-Match: *", 0, 0),
    C("13.1.2", "If-None-Match: **", 0, 0),
    C("13.1.2", "If-None-Match: *a", 0, 0),
    C("13.1.2", "If-None-Match: \"*\"", 0, 0),
    C("13.1.1", "If-Match: *, \"a\"", 412, 412),
    C("13.1.3", "If-Modified-Since: " SAME, 304, 0), /* GET and HEAD alone */
    C("13.1.3", "If-Modified-Since: " AFTER, 304, 0),
    C("13.1.3", "If-Modified-Since: " BEFORE, 0, 0),
    C("13.1.3", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304, 0),
    C("13.1.3", "If-Modified-Since: Sun Nov  6 08:49:37 1994", 304, 0),
    C("13.1.3", "If-Modified-Since: " SAME "; length=5", 0, 0), /* not a date */
    C("13.1.3", "If-Modified-Since: yesterday", 0, 0),
    C("13.1.3", "If-Modified-Since:", 0, 0),
    C("13.1.3", "If-Modified-Since: " SAME ", " SAME, 0, 0), /* more than one member */
    C("13.1.3", "If-Modified-Since: " SAME "\nIf-Modified-Since: " SAME, 0, 0),
    C("13.1.3", "If-None-Match: \"b\"\nIf-Modified-Since: " SAME, 0, 0), /* a tag goes before a date ... */
    C("13.1.3", "If-Modified-Since: " BEFORE "\nIf-None-Match: \"a\"", 304, 412),
    C("13.1.3", "If-None-Match: nonsense\nIf-Modified-Since: " SAME, 0, 0), /* ... whatever is in it */
    C("13.1.3", "If-None-Match:\nIf-Modified-Since: " SAME, 0, 0),
    C("13.1.4", "If-Unmodified-Since: " SAME, 0, 0),
    C("13.1.4", "If-Unmodified-Since: " AFTER, 0, 0),
    C("13.1.4", "If-Unmodified-Since: " BEFORE, 412, 412),
    C("13.1.4", "If-Unmodified-Since: nonsense", 0, 0),
    C("13.1.4", "If-Unmodified-Since: " BEFORE ", " BEFORE, 0, 0), /* a list of dates is no date */
    C("13.1.4", "If-Unmodified-Since: " BEFORE "\nIf-Unmodified-Since: " BEFORE, 0, 0),
    C("13.1.4", "If-Match: \"a\"\nIf-Unmodified-Since: " BEFORE, 0, 0),
    C("13.1.4", "If-Match: \"b\"\nIf-Unmodified-Since: " SAME, 412, 412),
    C("13.2.2", "If-Match: \"a\"\nIf-None-Match: \"a\"", 304, 412), /* the order */
    C("13.2.2", "If-None-Match: \"a\"\nIf-Match: \"b\"", 412, 412),
    C("13.2.2", "If-Match: \"a\"\nIf-Modified-Since: " SAME, 304, 0),
    C("13.2.2", "If-Modified-Since: " SAME "\nIf-Unmodified-Since: " SAME, 304, 0),
    C("13.2.2", "If-Modified-Since: " SAME "\nIf-Unmodified-Since: " BEFORE, 412, 412),
    C("13.2.2", "If-Range: \"b\"\nRange: bytes=0-4", 0, 0),
};

TEST(http_condition__strong_tag) { check(strong, COUNT(strong), "\"a\"", example_s); }

static const struct condition weak[] = {
    C("13.1.1", "If-Match: \"a\"", 412, 412), /* a weak tag never matches strongly */
    C("13.1.1", "If-Match: W/\"a\"", 412, 412),
    C("13.1.1", "If-Match: *", 0, 0),
    C("13.1.2", "If-None-Match: \"a\"", 304, 412),
    C("13.1.2", "If-None-Match: W/\"a\"", 304, 412),
    C("13.1.2", "If-None-Match: W/\"b\", \"aa\", \"\"", 0, 0),
};

TEST(http_condition__weak_tag) { check(weak, COUNT(weak), "W/\"a\"", example_s); }

static const struct condition unusual[] = {
    C("8.8.3", "If-None-Match: \"x,\\\xe9\"", 304, 412), /* a comma, a backslash and obs-text in our own */
    C("8.8.3", "If-None-Match: \"x\", \"x,\\\xe9\"", 304, 412),
    C("8.8.3", "If-Match: \"x,\\\xe9\"", 0, 0),
    C("8.8.3", "If-None-Match: \"x,\\\xe8\"", 0, 0),
    C("8.8.3", "If-None-Match: \"x\", \"\\\xe9\"", 0, 0),
};

TEST(http_condition__tag_of_unusual_bytes) { check(unusual, COUNT(unusual), "\"x,\\\xe9\"", example_s); }

static const struct condition unknown[] = {
    C("13.1.1", "If-Match: *", 0, 0), /* it exists */
    C("13.1.1", "If-Match: \"a\"", 412, 412),
    C("13.1.1", "If-Match: \"\"", 412, 412),
    C("13.1.2", "If-None-Match: \"a\"", 0, 0),
    C("13.1.2", "If-None-Match: \"\", W/\"\"", 0, 0),
    C("13.1.2", "If-None-Match: *", 304, 412),
    C("13.1.3", "If-Modified-Since: " AFTER, 0, 0), /* no date to compare with */
    C("13.1.4", "If-Unmodified-Since: Sat, 01 Jan 0000 00:00:00 GMT", 0, 0),
};

TEST(http_condition__no_validators) { check(unknown, COUNT(unknown), "", -1); }

TEST(http_condition__modified_at_the_beginning_of_time) {
  static const struct condition cases[] = {
      C("13.1.3", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 304, 0),
      C("13.1.3", "If-Modified-Since: Wed, 31 Dec 1969 23:59:59 GMT", 0, 0),
      C("13.1.4", "If-Unmodified-Since: Wed, 31 Dec 1969 23:59:59 GMT", 412, 412),
  };
  check(cases, COUNT(cases), "", 0);
}

/* A list that is as long as a head may be takes one pass. */
TEST(http_condition__long_list) {
  static char text[16 * 1024];
  const struct tavi__validators v = {{"\"a\"", 3}, example_s, now_s};
  memcpy(text, "If-None-Match: ", 15);
  for (size_t i = 15; i + 4 <= sizeof text; i += 4) memcpy(text + i, "\"b\",", 4);
  memcpy(text + sizeof text - 5, ",\"a\"", 4);
  CHECK_INT(tavi__http_condition(fields_of(text, sizeof text - 1, true), true, &v), 304);
}

/* ==== If-Range ==== */

static const struct {
  const char *fields;
  bool strong_etag, weak_etag, no_etag; /* whether ranges may be sent for "a", W/"a" and no tag */
} if_ranges[] = {
    {"", true, true, true},
    {"Range: bytes=0-4", true, true, true},
    {"If-Range: \"a\"", true, false, false},
    {"if-range: \"a\"", true, false, false},
    {"If-Range: W/\"a\"", false, false, false}, /* strong comparison */
    {"If-Range: \"b\"", false, false, false},
    {"If-Range: \"\"", false, false, false},
    {"If-Range:", false, false, false},
    {"If-Range: \"a", false, false, false},
    {"If-Range: \"a\", \"a\"", false, false, false}, /* not a list */
    {"If-Range: \"b\", \"a\"", false, false, false},
    {"If-Range: \"a\"\nIf-Range: \"a\"", false, false, false},
    {"If-Range: *", false, false, false},
    {"If-Range: " SAME, true, true, true},
    {"If-Range: Sun Nov  6 08:49:37 1994", true, true, true},
    {"If-Range: " AFTER, false, false, false}, /* an exact match, not "not later" */
    {"If-Range: " BEFORE, false, false, false},
    {"If-Range: \"" SAME "\"", false, false, false},
    {"If-Range: nonsense", false, false, false},
    {"If-Range: " SAME "\nIf-Range: " SAME, false, false, false},
};

TEST(http_if_range__tags_and_dates) {
  static const struct tavi__validators strong_v = {{"\"a\"", 3}, example_s, now_s};
  static const struct tavi__validators weak_v = {{"W/\"a\"", 5}, example_s, now_s};
  static const struct tavi__validators no_v = {{NULL, 0}, example_s, now_s};
  for (size_t i = 0; i < COUNT(if_ranges); i++) {
    const char *text = if_ranges[i].fields;
    test_note("%s", text);
    for (int at_end = 0; at_end < 2; at_end++) {
      const struct tavi_http_msg *msg = fields_of(text, strlen(text), at_end);
      CHECK(tavi__http_if_range(msg, &strong_v) == if_ranges[i].strong_etag);
      CHECK(tavi__http_if_range(msg, &weak_v) == if_ranges[i].weak_etag);
      CHECK(tavi__http_if_range(msg, &no_v) == if_ranges[i].no_etag);
    }
  }
}

/* Section 8.8.2.2: a date is strong when its second is over. */
TEST(http_if_range__date_of_this_second_is_weak) {
  const struct tavi_http_msg *msg = fields_of(SIZED("If-Range: " SAME), true);
  const struct tavi_slice none = {NULL, 0};
  CHECK(tavi__http_if_range(msg, &(struct tavi__validators){none, example_s, example_s + 1}));
  CHECK(!tavi__http_if_range(msg, &(struct tavi__validators){none, example_s, example_s}));
  CHECK(!tavi__http_if_range(msg, &(struct tavi__validators){none, example_s, example_s - 1}));
  CHECK(!tavi__http_if_range(msg, &(struct tavi__validators){none, example_s, INT64_MIN}));
  CHECK(!tavi__http_if_range(msg, &(struct tavi__validators){none, -1, now_s}));

  msg = fields_of(SIZED("If-Range: \"a\""), true); /* a tag needs no clock */
  CHECK(tavi__http_if_range(msg, &(struct tavi__validators){{"\"a\"", 3}, example_s, example_s}));
}
