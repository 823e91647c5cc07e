/* SPDX-License-Identifier: MIT
 *
 * Cookies: what is found in what browsers and others send, and which ones are written how, or not at all. */
#include "wire/cookie.h"

#include "guard.h"
#include "test.h"

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct tavi_slice slice(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

/* ==== reading ==== */

TEST(cookie__find) {
  static const struct {
    const char *header, *name, *value; /* value NULL: not found */
  } cases[] = {
      {"a=1", "a", "1"},
      {"a=1; b=2; c=3", "b", "2"},
      {"a=1; b=2; c=3", "c", "3"},
      {"a=1;b=2", "b", "2"},
      {"a=1; a=2", "a", "1"},
      {"A=1; a=2", "a", "2"},
      {"aa=1; a=2", "a", "2"},
      {"a=", "a", ""},
      {"a=\"\"", "a", ""},
      {"a=\"x y\"; b=2", "a", "x y"},
      {"a=\"", "a", "\""},
      {"a=\"x", "a", "\"x"},
      {"a=\"x;y\"; b=2", "a", "\"x"},
      {"a=b=c==", "a", "b=c=="},
      {" \t a=1 \t ;", "a", "1"},
      {"a=%31", "a", "%31"},
      {"a=\xc3\xa9", "a", "\xc3\xa9"},
      {"a", "a", NULL},
      {"a; b=1", "a", NULL},
      {"a =1", "a", NULL},
      {"a= 1", "a", " 1"},
      {"=1", "", NULL},
      {"1", "", NULL},
      {"", "a", NULL},
      {";;;", "a", NULL},
      {"b=a=1", "a", NULL},
      {"b=\"; a=1\"", "a", "1\""},
      {"__Host-x=1; __host-x=2", "__Host-x", "1"},
      {"ab=1", "a", NULL},
      {"a=1", "ab", NULL},
      {"a=1", "a=1", NULL},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    const size_t len = strlen(cases[i].header);
    struct tavi_slice value = slice("untouched");
    test_note("%s in %s", cases[i].name, cases[i].header);
    const bool found = tavi__cookie_find((struct tavi_slice){guard_at_end(cases[i].header, len), len}, slice(cases[i].name), &value);
    CHECK_INT(found, cases[i].value != NULL);
    CHECK_STR(value, cases[i].value != NULL ? cases[i].value : "untouched");
  }
}

/* ==== writing ==== */

static struct tavi_cookie cookie(const char *name, const char *value) {
  return (struct tavi_cookie){
      .name = slice(name), .value = slice(value), .path = {"/", 1}, .max_age_s = -1, .is_secure = true, .is_http_only = true};
}

static void check_format(const struct tavi_cookie *c, const char *wanted) {
  const size_t len = strlen(wanted);
  char *out = guard_at_end(wanted, len);
  memset(out, '?', len);
  CHECK_INT(tavi__cookie_format(c, out, len), len); /* exactly the room */
  CHECK_BYTES(out, len, wanted, len);
  for (size_t cap = 0; cap < len; cap += 7) CHECK_INT(tavi__cookie_format(c, guard_at_end(wanted, cap), cap), TAVI_E_LIMIT);
}

static void check_refused(const struct tavi_cookie *c) {
  char out[500];
  CHECK_INT(tavi__cookie_format(c, out, sizeof out), TAVI_E_ARG);
}

TEST(cookie__format) {
  struct tavi_cookie c = cookie("id", "a1");
  check_format(&c, "id=a1; Path=/; Secure; HttpOnly; SameSite=Lax");
  c.max_age_s = 0;
  c.domain = slice("example.com");
  c.path = slice("/a b");
  c.is_http_only = false;
  c.same_site = TAVI_SAME_SITE_NONE;
  check_format(&c, "id=a1; Path=/a b; Domain=example.com; Max-Age=0; Secure; SameSite=None");
  c = cookie("id", "");
  c.path = slice("");
  c.is_secure = false;
  c.same_site = TAVI_SAME_SITE_STRICT;
  c.max_age_s = INT64_MAX;
  check_format(&c, "id=; Max-Age=9223372036854775807; HttpOnly; SameSite=Strict");
}

TEST(cookie__prefixes__get_what_they_demand) {
  struct tavi_cookie c = cookie("__Host-id", "1");
  c.path = slice("");
  check_format(&c, "__Host-id=1; Path=/; Secure; HttpOnly; SameSite=Lax");
  c.path = slice("/a");
  check_refused(&c);
  c.path = slice("/");
  c.domain = slice("example.com");
  check_refused(&c);
  static const char *const secure[] = {"__Secure-a", "__Host-a", "__Http-a", "__Host-Http-a", "__SECURE-a", "__host-a"};
  for (size_t i = 0; i < COUNT(secure); i++) {
    test_note("%s", secure[i]);
    c = cookie(secure[i], "1");
    char out[100];
    CHECK(tavi__cookie_format(&c, out, sizeof out) > 0);
    c.is_http_only = false;
    if (strstr(secure[i], "Http") != NULL) check_refused(&c);
    else CHECK(tavi__cookie_format(&c, out, sizeof out) > 0);
    c = cookie(secure[i], "1");
    c.is_secure = false;
    check_refused(&c);
  }
}

TEST(cookie__what_a_browser_would_not_take__is_refused) {
  static const char *const names[] = {"", "a b", "a=b", "a;b", "a\r\n", "\xc3\xa9", "a\"", "a,b"};
  static const char *const values[] = {" ", "a b", "a;b", "a,b", "a\"b", "a\\b", "a\tb", "a\r\nSet-Cookie: x=y", "\x7f", "\xc3\xa9", "\""};
  static const char *const paths[] = {"a", " /", "/ ", "/;", "/\n", "/\x7f", "/\xc3\xa9"};
  static const char *const domains[] = {".", ".a", "a.", "a..b", "-a", "a-", "a.-b", "a-.b", "a b", "a;b", "a:80", "[::1]", "\xc3\xa9"};
  struct tavi_cookie c;
  for (size_t i = 0; i < COUNT(names); i++) test_note("name %zu", i), c = cookie(names[i], "1"), check_refused(&c);
  for (size_t i = 0; i < COUNT(values); i++) test_note("value %zu", i), c = cookie("a", values[i]), check_refused(&c);
  for (size_t i = 0; i < COUNT(paths); i++) test_note("path %zu", i), c = cookie("a", "1"), c.path = slice(paths[i]), check_refused(&c);
  for (size_t i = 0; i < COUNT(domains); i++) {
    test_note("domain %zu", i);
    c = cookie("a", "1"), c.domain = slice(domains[i]), check_refused(&c);
  }
  test_note("NUL");
  c = cookie("a", "1"), c.value = (struct tavi_slice){"a\0b", 3}, check_refused(&c);
  test_note("others");
  c = cookie("a", "1"), c.max_age_s = -2, check_refused(&c);
  c = cookie("a", "1"), c.same_site = (enum tavi_same_site)3, check_refused(&c);
  c = cookie("a", "1"), c.same_site = TAVI_SAME_SITE_NONE, c.is_secure = false, check_refused(&c);
}

TEST(cookie__lengths) {
  static char long_one[5000], out[6000];
  memset(long_one, 'a', sizeof long_one);
  struct tavi_cookie c = cookie("a", "1");
  c.value = (struct tavi_slice){long_one, 4095};
  CHECK(tavi__cookie_format(&c, out, sizeof out) > 4096);
  c.value.len++;
  CHECK_INT(tavi__cookie_format(&c, out, sizeof out), TAVI_E_LIMIT);
  c.name = (struct tavi_slice){long_one, 5000};
  CHECK_INT(tavi__cookie_format(&c, out, sizeof out), TAVI_E_LIMIT);
  c = cookie("a", "1");
  c.domain = (struct tavi_slice){long_one, 253};
  CHECK(tavi__cookie_format(&c, out, sizeof out) > 253);
  c.domain.len++;
  check_refused(&c);
  c = cookie("a", "1");
  long_one[0] = '/';
  c.path = (struct tavi_slice){long_one, 1024};
  CHECK(tavi__cookie_format(&c, out, sizeof out) > 1024);
  c.path.len++;
  check_refused(&c);
}
