/* SPDX-License-Identifier: MIT
 *
 * Accept-Encoding. Sections are of RFC 9110. */
#include "wire/http_accept.h"

#include "fields.h"
#include "test.h"

enum { GZIP = TAVI_CODING_GZIP, BROTLI = TAVI_CODING_BROTLI, ZSTD = TAVI_CODING_ZSTD, ALL = GZIP | BROTLI | ZSTD };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define AE "Accept-Encoding: "

static const struct {
  const char *section;
  const char *fields;
  struct tavi__accept wanted; /* identity, gzip, brotli, zstd */
  unsigned chosen;            /* of all */
} cases[] = {
    {"12.5.3", "", {1, 0, 0, 0}, 0}, /* nobody asked */
    {"12.5.3", "Accept: */*\nTE: gzip", {1, 0, 0, 0}, 0},
    {"12.5.3", AE, {1, 0, 0, 0}, 0}, /* the examples */
    {"12.5.3", AE "compress, gzip", {1, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "*", {1000, 1000, 1000, 1000}, BROTLI},
    {"12.5.3", AE "compress;q=0.5, gzip;q=1.0", {1, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "gzip;q=1.0, identity; q=0.5, *;q=0", {500, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "gzip", {1, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "br", {1, 0, 1000, 0}, BROTLI},
    {"12.5.3", AE "zstd", {1, 0, 0, 1000}, ZSTD},
    {"12.5.3", AE "identity", {1000, 0, 0, 0}, 0},
    {"12.5.3", AE "deflate", {1, 0, 0, 0}, 0},
    {"12.5.3", AE "gzip, deflate, br, zstd", {1, 1000, 1000, 1000}, BROTLI}, /* browsers */
    {"12.5.3", AE "gzip, deflate", {1, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "deflate, gzip;q=1.0, *;q=0.5", {500, 1000, 500, 500}, GZIP},
    {"12.5.3", AE "gzip, zstd", {1, 1000, 0, 1000}, ZSTD},
    {"12.5.3", AE "gzip;q=0.9, br;q=0.8, zstd;q=0.7", {1, 900, 800, 700}, GZIP}, /* by weight */
    {"12.5.3", AE "gzip;q=0.7, br;q=0.8, zstd;q=0.9", {1, 700, 800, 900}, ZSTD},
    {"12.5.3", AE "gzip;q=0.001", {1, 1, 0, 0}, GZIP}, /* what is named goes before what is not */
    {"12.5.3", AE "gzip;q=0.5, identity;q=0.5", {500, 500, 0, 0}, GZIP}, /* not below identity */
    {"12.5.3", AE "gzip;q=0.499, identity;q=0.5", {500, 499, 0, 0}, 0},
    {"12.5.3", AE "identity, gzip;q=0.5", {1000, 500, 0, 0}, 0},
    {"12.5.3", AE "gzip;q=0", {1, 0, 0, 0}, 0}, /* 0 is "not acceptable" */
    {"12.5.3", AE "gzip;q=0, *", {1000, 0, 1000, 1000}, BROTLI},
    {"12.5.3", AE "br;q=0, zstd;q=0, *", {1000, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "identity;q=0", {0, 0, 0, 0}, 0},
    {"12.5.3", AE "*;q=0", {0, 0, 0, 0}, 0},
    {"12.5.3", AE "*;q=0, identity", {1000, 0, 0, 0}, 0},
    {"12.5.3", AE "identity;q=0, gzip", {0, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "identity;q=0, gzip;q=0", {0, 0, 0, 0}, 0},
    {"12.5.3", AE "*;q=0, gzip;q=0.001", {0, 1, 0, 0}, GZIP},
    {"12.5.3", AE "*;q=0.5, gzip;q=0.3", {500, 300, 500, 500}, BROTLI},
    {"12.5.3", AE "gzip\n" AE "br", {1, 1000, 1000, 0}, BROTLI}, /* several fields are one list */
    {"12.5.3", "ACCEPT-ENCODING: gzip;q=0.5\naccept-encoding: *;q=0.1", {100, 500, 100, 100}, GZIP},
    {"12.5.3", AE "\n" AE "gzip", {1, 1000, 0, 0}, GZIP},
    {"12.5.3", AE "gzip;q=0.2, gzip;q=0.8, gzip;q=0.5", {1, 800, 0, 0}, GZIP}, /* twice: the greater */
    {"12.5.3", AE "gzip;q=0, gzip", {1, 1000, 0, 0}, GZIP},
    {"8.4.1.3", AE "x-gzip", {1, 1000, 0, 0}, GZIP}, /* the same as gzip */
    {"8.4.1.3", AE "x-gzip;q=0, gzip;q=0.5", {1, 500, 0, 0}, GZIP},
    {"8.4.1", AE "GZip, BR, ZSTD;Q=0.5, IDENTITY;Q=0", {0, 1000, 1000, 500}, BROTLI}, /* case-insensitive */
    {"8.4.1", AE "gzi, gzipp, g-zip, b, brr, x-br, zst, * *", {1, 0, 0, 0}, 0},
    {"5.6.1", AE ",, gzip ,\t,br ,", {1, 1000, 1000, 0}, BROTLI}, /* empty elements, white space */
    {"5.6.1", AE "gzip,br", {1, 1000, 1000, 0}, BROTLI},
    {"5.6.1", AE "gzip br", {1, 0, 0, 0}, 0}, /* a comma is missing */
    {"5.6.1", AE "gzip \t;\t q=0.5", {1, 500, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=1", {1, 1000, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=1.", {1, 1000, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=1.000", {1, 1000, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=0.", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0.0", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0.000", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0.1", {1, 100, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=0.12", {1, 120, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=0.123", {1, 123, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;q=0.999", {1, 999, 0, 0}, GZIP},
    {"12.4.2", AE "gzip;", {1, 0, 0, 0}, 0}, /* malformed: skipped */
    {"12.4.2", AE "gzip;q", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=2", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=10", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=1.001", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=1.1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0.1234", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=1.0000", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=01", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=.5", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=-1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=+1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0,5", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0.5.5", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=0.a", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=1e0", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q =1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q= 1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=\"1\"", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;x=1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;x=1;q=1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=1;q=1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE ";q=1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "q=1", {1, 0, 0, 0}, 0},
    {"12.4.2", AE "gzip;q=7, br;q=0.5", {1, 0, 500, 0}, BROTLI}, /* the others count */
    {"12.4.2", AE "\"gzip\", \xff, \x80;q=1, br", {1, 0, 1000, 0}, BROTLI},
    {"12.4.2", AE "identity;q=x", {1, 0, 0, 0}, 0},
};

TEST(http_accept__table) {
  for (size_t i = 0; i < COUNT(cases); i++) {
    test_note("%s: %s", cases[i].section, cases[i].fields);
    for (int at_end = 0; at_end < 2; at_end++) {
      const struct tavi_http_msg *msg = fields_of(cases[i].fields, strlen(cases[i].fields), at_end);
      const struct tavi__accept got = tavi__http_accept_encoding(msg);
      CHECK_INT(got.identity, cases[i].wanted.identity);
      CHECK_INT(got.gzip, cases[i].wanted.gzip);
      CHECK_INT(got.brotli, cases[i].wanted.brotli);
      CHECK_INT(got.zstd, cases[i].wanted.zstd);
      CHECK_INT(tavi__http_accept_choose(&got, ALL), cases[i].chosen);
      CHECK_INT(tavi__http_accept_choose(&got, 0), 0);
    }
  }
}

/* Each set of codings that may be there, with each order of three weights: by the rule, written down once more. */
TEST(http_accept_choose__every_combination) {
  static const uint16_t weights[] = {0, 1, 500, 1000};
  static const unsigned order[] = {BROTLI, ZSTD, GZIP};
  for (unsigned n = 0; n < 256; n++) {
    const struct tavi__accept a = {weights[n & 3], weights[n >> 2 & 3], weights[n >> 4 & 3], weights[n >> 6]};
    const unsigned of[] = {a.brotli, a.zstd, a.gzip};
    for (unsigned there = 0; there <= ALL; there++) {
      unsigned greatest = 0;
      unsigned wanted = 0;
      for (int i = 0; i < 3; i++) {
        if ((there & order[i]) != 0 && of[i] > greatest) greatest = of[i];
      }
      for (int i = 2; i >= 0; i--) {
        if ((there & order[i]) != 0 && of[i] == greatest && greatest > 0 && greatest >= a.identity) wanted = order[i];
      }
      test_note("%u %u %u %u of %u", a.identity, a.gzip, a.brotli, a.zstd, there);
      CHECK_INT(tavi__http_accept_choose(&a, there), wanted);
    }
  }
}

TEST(http_accept__long_list) {
  static char text[16 * 1024];
  memcpy(text, AE, sizeof AE - 1);
  for (size_t i = sizeof AE - 1; i < sizeof text; i++) text[i] = i % 3 == 0 ? ',' : i % 3 == 1 ? ';' : ' ';
  memcpy(text + sizeof text - 8, ",gzip;q=", 8);
  CHECK_INT(tavi__http_accept_encoding(fields_of(text, sizeof text, true)).gzip, 0);
  CHECK_INT(tavi__http_accept_encoding(fields_of(text, sizeof text - 3, true)).gzip, 1000);
}

TEST(http_coding_name__all) {
  CHECK(strcmp(tavi__http_coding_name(GZIP), "gzip") == 0);
  CHECK(strcmp(tavi__http_coding_name(BROTLI), "br") == 0);
  CHECK(strcmp(tavi__http_coding_name(ZSTD), "zstd") == 0);
  CHECK(strcmp(tavi__http_coding_name(TAVI_CODING_IDENTITY), "") == 0);
  CHECK(strcmp(tavi__http_coding_name(ALL), "") == 0);
  CHECK(strcmp(tavi__http_coding_name(8), "") == 0);
}
