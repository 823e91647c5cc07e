/* SPDX-License-Identifier: MIT
 *
 * References resolved: the examples of RFC 3986 section 5.4, what redirects say in practice, and any bytes at all against
 * the room that the header promises. */
#include "wire/uri.h"

#include "guard.h"
#include "random.h"
#include "test.h"

static struct tavi_slice resolve(const char *base, const char *reference) {
  static char out[512];
  memset(out, '~', sizeof(out));
  struct tavi_slice b = {base, strlen(base)}, r = {guard_at_end(reference, strlen(reference)), strlen(reference)};
  size_t max = TAVI__URI_RESOLVED_MAX(b.len, r.len), len = tavi__uri_resolve(b, r, out);
  CHECK(len <= max);
  CHECK(out[max] == '~');
  return (struct tavi_slice){out, len};
}

static const char rfc[] = "http://a/b/c/d;p?q";

TEST(uri_resolve__examples_of_rfc_3986_section_5_4) {
  static const char *const pairs[][2] = {
      {"g:h", "g:h"}, {"g", "http://a/b/c/g"}, {"./g", "http://a/b/c/g"}, {"g/", "http://a/b/c/g/"}, {"/g", "http://a/g"},
      {"//g", "http://g"}, {"?y", "http://a/b/c/d;p?y"}, {"g?y", "http://a/b/c/g?y"}, {"#s", "http://a/b/c/d;p?q#s"},
      {"g#s", "http://a/b/c/g#s"}, {"g?y#s", "http://a/b/c/g?y#s"}, {";x", "http://a/b/c/;x"}, {"g;x", "http://a/b/c/g;x"},
      {"g;x?y#s", "http://a/b/c/g;x?y#s"}, {"", "http://a/b/c/d;p?q"}, {".", "http://a/b/c/"}, {"./", "http://a/b/c/"},
      {"..", "http://a/b/"}, {"../", "http://a/b/"}, {"../g", "http://a/b/g"}, {"../..", "http://a/"},
      {"../../", "http://a/"}, {"../../g", "http://a/g"}, /* 5.4.2 */
      {"../../../g", "http://a/g"}, {"../../../../g", "http://a/g"}, {"/./g", "http://a/g"}, {"/../g", "http://a/g"},
      {"g.", "http://a/b/c/g."}, {".g", "http://a/b/c/.g"}, {"g..", "http://a/b/c/g.."}, {"..g", "http://a/b/c/..g"},
      {"./../g", "http://a/b/g"}, {"./g/.", "http://a/b/c/g/"}, {"g/./h", "http://a/b/c/g/h"},
      {"g/../h", "http://a/b/c/h"}, {"g;x=1/./y", "http://a/b/c/g;x=1/y"}, {"g;x=1/../y", "http://a/b/c/y"},
      {"g?y/./x", "http://a/b/c/g?y/./x"}, {"g?y/../x", "http://a/b/c/g?y/../x"}, {"g#s/./x", "http://a/b/c/g#s/./x"},
      {"g#s/../x", "http://a/b/c/g#s/../x"}, {"http:g", "http:g"},
  };
  for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
    test_note("%s", pairs[i][0]);
    CHECK_STR(resolve(rfc, pairs[i][0]), pairs[i][1]);
  }
}

TEST(uri_resolve__what_redirects_say) {
  CHECK_STR(resolve("http://a", "b"), "http://a/b");
  CHECK_STR(resolve("http://a", ""), "http://a");
  CHECK_STR(resolve("http://a?x", "?y"), "http://a?y");
  CHECK_STR(resolve("http://a:8/x", "//b:9"), "http://b:9");
  CHECK_STR(resolve("http://a/x", "https://b/./y/../z?q#f"), "https://b/z?q#f");
  CHECK_STR(resolve("http://a/x?q#f", "#g"), "http://a/x?q#g");
  CHECK_STR(resolve("http://a/x?q#f", ""), "http://a/x?q");
  CHECK_STR(resolve("http://a/x", "/login?next=http://c/"), "http://a/login?next=http://c/");
  CHECK_STR(resolve("http://a/x", "./b:c"), "http://a/b:c");
  CHECK_STR(resolve("http://u:p@[::1]:80/x", "y"), "http://u:p@[::1]:80/y");
}

TEST(uri_resolve__any_bytes) {
  static const char alphabet[] = "a:/.?#@%\x80";
  char base[20], reference[20];
  random_seed(3);
  for (int i = 0; i < 200000; i++) {
    size_t base_len = random_below(16), len = random_below(16);
    for (size_t j = 0; j < base_len; j++) base[j] = alphabet[random_below(sizeof(alphabet) - 1)];
    for (size_t j = 0; j < len; j++) reference[j] = alphabet[random_below(sizeof(alphabet) - 1)];
    base[base_len] = reference[len] = '\0';
    resolve(base, reference);
  }
}
