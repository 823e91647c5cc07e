/* SPDX-License-Identifier: MIT
 *
 * Values out of JSON text. Sections are of RFC 8259. Each text lies once where memory ends and once where it begins. */
#include "tavi/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "guard.h"
#include "random.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tavi_slice at_end(const char *text) { return (struct tavi_slice){guard_at_end(text, strlen(text)), strlen(text)}; }

/* ==== finding ==== */

struct find {
  const char *json, *path;
  const char *value; /* NULL: err */
  int err;
};

static const struct find finds[] = {
    {"{\"name\":\"Alice\",\"age\":30}", "$.name", "\"Alice\"", 0},
    {"{\"name\":\"Alice\",\"age\":30}", "$.age", "30", 0},
    {"{\"a\":[1, 2],\"b\":null}", "$.a", "[1, 2]", 0},
    {"{\"a\":[1, 2],\"b\":null}", "$.b", "null", 0},
    {" \t\r\n{ \"a\" : { \"b\" : [ 0 , { \"c\" : true } ] } } ", "$.a.b[1].c", "true", 0},
    {"[[1,2],[3,[4,5]]]", "$[1][1][0]", "4", 0},
    {" [] ", "$", "[]", 0},
    {"{}", "$", "{}", 0},
    {"[[],{},[{}],1]", "$[3]", "1", 0},
    {"3", "$", "3", 0},
    {"\"\"", "$", "\"\"", 0},
    {"-0.5E+3 ", "$", "-0.5E+3", 0},
    {"{\"\\u0061\":1}", "$.a", "1", 0},
    {"{\"\\u0061\":1}", "$.\\u0061", "1", 0},
    {"{\"\\u00e9\":1}", "$.\xc3\xa9", "1", 0},
    {"{\"\\ud83d\\ude00\":1}", "$.\xf0\x9f\x98\x80", "1", 0},
    {"{\"a\\\"b\":1}", "$.a\"b", "1", 0},
    {"{\"ab\":1,\"a\":2}", "$.a", "2", 0},
    {"{\"a\":1,\"ab\":2}", "$.ab", "2", 0},
    {"{\"a\":1,\"a\":2}", "$.a", "1", 0},               /* section 4: the first wins */
    {"{\"a\":{\"x\":1},\"a\":{\"y\":2}}", "$.a.y", NULL, TAVI_E_NOT_FOUND},
    {"{\"a b-c_d$\":1}", "$.a b-c_d$", "1", 0},
    {"{\"a]b\":1}", "$.a]b", "1", 0},
    /* nothing behind the value matters */
    {"{\"a\":1 garbage", "$.a", "1", 0},
    {"{\"a\":1", "$.a", "1", 0},
    {"{\"a\":1,}", "$.a", "1", 0},
    {"[1,2", "$[1]", "2", 0},
    {"{\"a\":\"x\"x", "$.a", "\"x\"", 0},
    {"{} {}", "$", "{}", 0},
    /* but before it, it does */
    {"{\"a\":1 \"b\":2}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"{\"a\":1,}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"{\"a\" 1,\"b\":2}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"{a:1,\"b\":2}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"{'a':1,\"b\":2}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"{,\"b\":2}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"[1,,2]", "$[2]", NULL, TAVI_E_PROTOCOL},
    {"[,2]", "$[1]", NULL, TAVI_E_PROTOCOL},
    {"[[1},2]", "$[1]", NULL, TAVI_E_PROTOCOL},
    {"[{1],2]", "$[1]", NULL, TAVI_E_PROTOCOL},
    {"[{\"a\":},2]", "$[1]", NULL, TAVI_E_PROTOCOL},
    {"{\"a\":/**/1,\"b\":2}", "$.b", NULL, TAVI_E_PROTOCOL},
    {"\xef\xbb\xbf{}", "$", NULL, TAVI_E_PROTOCOL},
    {"[1", "$", NULL, TAVI_E_PROTOCOL},
    {"[1,", "$", NULL, TAVI_E_PROTOCOL},
    {"{\"a\"", "$", NULL, TAVI_E_PROTOCOL},
    {"{\"a\":", "$.a", NULL, TAVI_E_PROTOCOL},
    {"", "$", NULL, TAVI_E_PROTOCOL},
    {" ", "$", NULL, TAVI_E_PROTOCOL},
    {"]", "$", NULL, TAVI_E_PROTOCOL},
    /* absent */
    {"{}", "$.a", NULL, TAVI_E_NOT_FOUND},
    {"{\"a\":1}", "$.b", NULL, TAVI_E_NOT_FOUND},
    {"{\"a\":1}", "$.a.b", NULL, TAVI_E_NOT_FOUND},
    {"{\"a\":1}", "$[0]", NULL, TAVI_E_NOT_FOUND},
    {"[]", "$[0]", NULL, TAVI_E_NOT_FOUND},
    {"[1]", "$[1]", NULL, TAVI_E_NOT_FOUND},
    {"[1]", "$[18446744073709551615]", NULL, TAVI_E_NOT_FOUND},
    {"[1]", "$[18446744073709551616]", NULL, TAVI_E_NOT_FOUND},
    {"[1]", "$[99999999999999999999999999999]", NULL, TAVI_E_NOT_FOUND},
    {"[1]", "$.0", NULL, TAVI_E_NOT_FOUND},
};

TEST(json_get__finds_values_and_says_why_not) {
  for (size_t i = 0; i < COUNT(finds); i++) {
    const struct find *f = &finds[i];
    const size_t len = strlen(f->json);
    for (int end = 0; end < 2; end++) {
      struct tavi_slice value = {"untouched", 9};
      const char *text = end ? guard_at_end(f->json, len) : guard_at_start(f->json, len);
      test_note("%s of %s", f->path, f->json);
      CHECK_INT(tavi_json_get((struct tavi_slice){text, len}, f->path, &value), f->err);
      CHECK_STR(value, f->value != NULL ? f->value : "untouched");
    }
  }
  struct tavi_slice value;
  CHECK_INT(tavi_json_get((struct tavi_slice){NULL, 0}, "$", &value), TAVI_E_PROTOCOL);
}

TEST(json_get__path_that_is_none__is_refused_whatever_the_text_is) {
  static const char *const bad[] = {"",     "a",     ".a",    "$.",    "$..a",   "$.a.",  "$a",      "$[",     "$[]",   "$[1",
                                    "$[-1]", "$[a]", "$[1]a", "$[ 1]", "$.a[",   "$.a[]", "$.[0]",   "$ ",     "$[1]]", "$[*]", "$[\"a\"]"};
  static const char *const texts[] = {"", "{\"\":1,\"a\":{\"\":2}}", "[1,[2]]", "x"};
  struct tavi_slice value;
  for (size_t i = 0; i < COUNT(bad); i++)
    for (size_t j = 0; j < COUNT(texts); j++) {
      test_note("%s", bad[i]);
      CHECK_INT(tavi_json_get(at_end(texts[j]), bad[i], &value), TAVI_E_ARG);
    }
  CHECK_INT(tavi_json_get(at_end("1"), NULL, &value), TAVI_E_ARG);
}

TEST(json_get__every_cut_of_a_text__is_no_value_until_it_is_whole) {
  static const char text[] = "{\"a\":[1.5e3,\"\\u00e9\\n\",{\"b\":[true,false,null]},[]]}";
  struct tavi_slice value;
  for (size_t len = 0; len < sizeof text - 1; len++) {
    test_note("%zu bytes", len);
    CHECK_INT(tavi_json_get((struct tavi_slice){guard_at_end(text, len), len}, "$", &value), TAVI_E_PROTOCOL);
  }
  CHECK_INT(tavi_json_get(at_end(text), "$", &value), 0);
  CHECK_STR(value, text);
}

static char *nested(size_t depth, const char *open, const char *inner, const char *close) {
  const size_t open_len = strlen(open), close_len = strlen(close), inner_len = strlen(inner);
  char *text = malloc(depth * (open_len + close_len) + inner_len + 1), *p = text;
  if (text == NULL) abort();
  for (size_t i = 0; i < depth; i++, p += open_len) memcpy(p, open, open_len);
  memcpy(p, inner, inner_len);
  p += inner_len;
  for (size_t i = 0; i < depth; i++, p += close_len) memcpy(p, close, close_len);
  *p = '\0';
  return text;
}

TEST(json_get__nesting__has_a_limit) {
  static const char *const forms[][3] = {{"[", "", "]"}, {"{\"a\":", "1", "}"}, {"[{\"a\":", "[]", "}]"}};
  struct tavi_slice value;
  for (size_t i = 0; i < COUNT(forms); i++) {
    const size_t per = i == 2 ? 2 : 1, extra = i == 2, most = (TAVI__JSON_DEPTH - extra) / per;
    char *good = nested(most, forms[i][0], forms[i][1], forms[i][2]), *bad = nested(most + 1, forms[i][0], forms[i][1], forms[i][2]);
    test_note("form %zu", i);
    CHECK_INT(tavi_json_get((struct tavi_slice){good, strlen(good)}, "$", &value), 0);
    CHECK_INT(value.len, strlen(good));
    CHECK_INT(tavi_json_get((struct tavi_slice){bad, strlen(bad)}, "$", &value), TAVI_E_LIMIT);
    free(good), free(bad);
  }
  char *endless = nested(200000, "[", "", ""); /* no recursion: this would not end well */
  CHECK_INT(tavi_json_get((struct tavi_slice){endless, strlen(endless)}, "$[1]", &value), TAVI_E_LIMIT);
  free(endless);
}

/* ==== scalars ==== */

TEST(json_get__scalars_that_are_none__are_refused) {
  static const char *const bad[] = {
      "tru", "truer", "True", "nul", "nulll", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01", ".5", "1.", "1.e3",
      "1e", "1e+", "1e-", "1ee3", "1.2.3", "0x10", "1_000", "12x", "--1", "-a", "\"", "\"a", "\"\\", "\"\\\"", "\"\\x\"",
      "\"\\u12\"", "\"\\u12g4\"", "\"\\u\"", "\"\\'\"", "\"\t\"", "\"\n\"", "\"\x01\"", "'a'", "\"\\U0041\"", "\"\\u123",
  };
  struct tavi_slice value;
  for (size_t i = 0; i < COUNT(bad); i++) {
    test_note("%s", bad[i]);
    CHECK_INT(tavi_json_get(at_end(bad[i]), "$", &value), TAVI_E_PROTOCOL);
  }
  CHECK_INT(tavi_json_get((struct tavi_slice){guard_at_end("\"\0\"", 3), 3}, "$", &value), TAVI_E_PROTOCOL);
  CHECK_INT(tavi_json_get((struct tavi_slice){guard_at_end("1\0", 2), 2}, "$", &value), TAVI_E_PROTOCOL);
  CHECK_INT(tavi_json_get((struct tavi_slice){guard_at_end("\"\\\0\"", 4), 4}, "$", &value), TAVI_E_PROTOCOL);
}

static const struct string {
  const char *json, *text;
  size_t len;
} strings[] = {
    {"\"\"", "", 0},
    {"\"plain\"", "plain", 5},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
    {"\"\\u0041\\u00e9\\u20AC\\uFFFD\"", "A\xc3\xa9\xe2\x82\xac\xef\xbf\xbd", 9},
    {"\"a\\u0000b\"", "a\0b", 3},
    {"\"\\u007f\\u0080\\u07ff\\u0800\\ud7ff\\ue000\\uffff\"",
     "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 17},
    {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
    {"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
    {"\"\\ud83d\"", "\xef\xbf\xbd", 3},                          /* halves: section 8.2 */
    {"\"\\ude00\\ude00\"", "\xef\xbf\xbd\xef\xbf\xbd", 6},
    {"\"\\ude00x\"", "\xef\xbf\xbdx", 4},
    {"\"\\ud83dx\\ude00\"", "\xef\xbf\xbdx\xef\xbf\xbd", 7},
    {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7},
    {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 4},
    {"\"\\ud83d\\nde00\"", "\xef\xbf\xbd\nde00", 8},
    {"\"\x7f\xc3\xa9\xff\"", "\x7f\xc3\xa9\xff", 4},             /* bytes pass as they are */
};

TEST(json_get_str__decodes) {
  for (size_t i = 0; i < COUNT(strings); i++) {
    char out[64];
    test_note("%s", strings[i].json);
    const struct tavi_slice json = at_end(strings[i].json);
    CHECK_INT(tavi_json_get_str(json, "$", out, sizeof out), strings[i].len);
    CHECK_BYTES(out, strings[i].len, strings[i].text, strings[i].len);
    memset(out, '!', sizeof out);
    CHECK_INT(tavi_json_get_str(json, "$", out, strings[i].len), strings[i].len);
    CHECK(out[strings[i].len] == '!');
    if (strings[i].len > 0) CHECK_INT(tavi_json_get_str(json, "$", out, strings[i].len - 1), TAVI_E_LIMIT);
    char *where = guard_at_end(strings[i].json, strlen(strings[i].json)); /* in place */
    CHECK_INT(tavi_json_get_str((struct tavi_slice){where, strlen(strings[i].json)}, "$", where, strlen(strings[i].json)), strings[i].len);
    CHECK_BYTES(where, strings[i].len, strings[i].text, strings[i].len);
  }
  CHECK_INT(tavi_json_get_str(at_end("[1]"), "$", NULL, 0), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_json_get_str(at_end("1"), "$", NULL, 0), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_json_get_str(at_end("\"\""), "$", NULL, 0), 0);
}

static const char *const numbers[] = {
    "0", "-0", "1", "-1", "0.1", "1e-5", "3.14", "-3.99", "1.5e3", "1E3", "1e+3", "0.000123e5", "123456789012345678901234567890",
    "9007199254740993", "9007199254740992.999999999999999999999999999", "9007199254740993.00000000000000000000000000001",
    "2.2250738585072011e-308", "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324",
    "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e308", "1e309",
    "-1e400", "1e-400", "0e999999999999999999999",
    "1e99999999999999999999999", "1e-99999999999999999999999", "0.1e1", "100e-2", "0.00000000000000000000001e23",
};

static void check_number(const char *text) {
  double got = 12345;
  test_note("%.200s", text);
  CHECK_INT(tavi_json_get_num((struct tavi_slice){text, strlen(text)}, "$", &got), 0);
  const double wanted = strtod(text, NULL); /* the C locale */
  CHECK(memcmp(&got, &wanted, sizeof got) == 0);
}

TEST(json_get_num__is_the_nearest_double) {
  for (size_t i = 0; i < COUNT(numbers); i++) check_number(numbers[i]);
  random_seed(7);
  for (int i = 0; i < 20000; i++) {
    char text[64];
    uint64_t bits = random_next();
    double number;
    memcpy(&number, &bits, sizeof number);
    if (!isfinite(number)) continue;
    snprintf(text, sizeof text, i % 2 ? "%.17g" : "%.20e", number);
    check_number(text);
  }
}

TEST(json_get_num__thousands_of_digits__all_count) {
  enum { DIGITS = 3000 };
  static char text[DIGITS + 64];
  static const char half[] = "9007199254740993."; /* exactly between two doubles: what follows decides */
  for (int sticky = 0; sticky < 2; sticky++) {
    memcpy(text, half, sizeof half);
    memset(text + sizeof half - 1, '0', DIGITS);
    text[sizeof half - 1 + DIGITS] = (char)('0' + sticky);
    text[sizeof half + DIGITS] = '\0';
    check_number(text);
  }
  memset(text, '7', DIGITS);
  memcpy(text + DIGITS, "e-2990", 7);
  check_number(text);
  text[0] = '0', text[1] = '.';
  memset(text + 2, '0', DIGITS);
  memcpy(text + DIGITS, "25e3000", 8);
  check_number(text);
}

static const struct integer {
  const char *json;
  const char *digits;
  int64_t number;
  int err;
} integers[] = {
    {"0", "0", 0, 0}, {"-0", "0", 0, 0}, {"-0.9", "0", 0, 0}, {"3.14", "3", 3, 0}, {"-3.99", "-3", -3, 0}, {"1.5e3", "1500", 1500, 0},
    {"1e3", "1000", 1000, 0}, {"12345e-3", "12", 12, 0}, {"1e-400", "0", 0, 0}, {"0.5e1", "5", 5, 0}, {"0.000123e5", "12", 12, 0},
    {"0e99999999999999999999", "0", 0, 0}, {"9007199254740993", "9007199254740993", INT64_C(9007199254740993), 0},
    {"9223372036854775807", "9223372036854775807", INT64_MAX, 0}, {"9223372036854775807.9", "9223372036854775807", INT64_MAX, 0},
    {"-9223372036854775808", "-9223372036854775808", INT64_MIN, 0}, {"-9223372036854775808.9", "-9223372036854775808", INT64_MIN, 0},
    {"9223372036854775808", "9223372036854775808", 0, TAVI_E_LIMIT}, {"-9223372036854775809", "-9223372036854775809", 0, TAVI_E_LIMIT},
    {"18446744073709551616", "18446744073709551616", 0, TAVI_E_LIMIT}, {"99999999999999999999", "99999999999999999999", 0, TAVI_E_LIMIT},
    {"922337203685477580.8e1", "9223372036854775808", 0, TAVI_E_LIMIT}, {"1e25", "10000000000000000000000000", 0, TAVI_E_LIMIT},
    {"1e99999999999999999999", NULL, 0, TAVI_E_LIMIT}, {"true", NULL, 0, TAVI_E_NOT_FOUND}, {"\"1\"", NULL, 0, TAVI_E_NOT_FOUND},
    {"null", NULL, 0, TAVI_E_NOT_FOUND}, {"1x", NULL, 0, TAVI_E_PROTOCOL},
};

TEST(json_get_int__is_exact_and_digits_have_no_end) {
  for (size_t i = 0; i < COUNT(integers); i++) {
    const struct integer *c = &integers[i];
    char out[40];
    int64_t number = 4711;
    test_note("%s", c->json);
    CHECK_INT(tavi_json_get_int(at_end(c->json), "$", &number), c->err);
    CHECK_INT(number, c->err == 0 ? c->number : 4711);
    const int64_t len = tavi_json_get_digits(at_end(c->json), "$", out, sizeof out);
    if (c->digits == NULL) {
      CHECK_INT(len, c->err);
      continue;
    }
    CHECK_BYTES(out, (size_t)(len > 0 ? len : 0), c->digits, strlen(c->digits));
    CHECK_INT(tavi_json_get_digits(at_end(c->json), "$", out, strlen(c->digits) - 1), TAVI_E_LIMIT);
  }
}

TEST(json_get_bool__takes_booleans_alone) {
  bool is_true = false;
  CHECK_INT(tavi_json_get_bool(at_end("{\"a\":true}"), "$.a", &is_true), 0);
  CHECK(is_true);
  CHECK_INT(tavi_json_get_bool(at_end("[false]"), "$[0]", &is_true), 0);
  CHECK(!is_true);
  CHECK_INT(tavi_json_get_bool(at_end("1"), "$", &is_true), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_json_get_bool(at_end("null"), "$", &is_true), TAVI_E_NOT_FOUND);
  CHECK_INT(tavi_json_get_bool(at_end("\"true\""), "$", &is_true), TAVI_E_NOT_FOUND);
}

/* ==== writing ==== */

TEST(json_quote__comes_back_as_it_was) {
  for (int c = 0; c < 0x80; c++) {
    char text[3] = {'<', (char)c, '>'}, json[32], back[8];
    test_note("byte %d", c);
    const int64_t len = tavi_json_quote((struct tavi_slice){text, 3}, json, sizeof json);
    CHECK(len > 0 && len <= 20);
    CHECK_INT(tavi_json_get_str((struct tavi_slice){json, (size_t)len}, "$", back, sizeof back), 3);
    CHECK_BYTES(back, 3, text, 3);
    CHECK_INT(tavi_json_quote((struct tavi_slice){text, 3}, guard_at_end(json, (size_t)len), (size_t)len), len);
    CHECK_INT(tavi_json_quote((struct tavi_slice){text, 3}, guard_at_end(json, (size_t)len - 1), (size_t)len - 1), TAVI_E_LIMIT);
  }
  static const char *const pairs[][2] = {
      {"", "\"\""}, {"\"\\/\b\f\n\r\t\x01\x1f\x7f", "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
      {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\""}, {"a\xff" "b\xc3", "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\""},
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
  };
  for (size_t i = 0; i < COUNT(pairs); i++) {
    char out[64];
    test_note("%s", pairs[i][1]);
    const int64_t len = tavi_json_quote(at_end(pairs[i][0]), out, sizeof out);
    CHECK_BYTES(out, (size_t)(len > 0 ? len : 0), pairs[i][1], strlen(pairs[i][1]));
  }
}
