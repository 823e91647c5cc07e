/* SPDX-License-Identifier: MIT
 *
 * Redirections: which they are, what becomes of the method, and where credentials may go. */
#include "wire/http_redirect.h"

#include "test.h"

static struct tavi_slice text(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

TEST(http_redirect__statuses) {
  static const int followed[] = {301, 302, 303, 307, 308};
  for (int status = 100, i = 0; status < 1000; status++) {
    bool is = i < 5 && followed[i] == status;
    CHECK(tavi__http_is_redirect(status) == is);
    i += is;
  }
}

TEST(http_redirect__methods) {
  static const struct {
    int status;
    const char *method;
    bool becomes_get;
  } cases[] = {
      {301, "GET", false}, {301, "HEAD", false}, {301, "POST", true}, {301, "PUT", false}, {301, "DELETE", false},
      {302, "POST", true}, {302, "PUT", false}, {302, "post", false}, {303, "GET", true}, {303, "HEAD", false},
      {303, "POST", true}, {303, "PUT", true}, {303, "DELETE", true}, {307, "POST", false}, {308, "POST", false},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    test_note("%d %s", cases[i].status, cases[i].method);
    CHECK(tavi__http_redirect_to_get(cases[i].status, text(cases[i].method)) == cases[i].becomes_get);
  }
}

static bool same(const char *a, const char *b) {
  struct tavi_url x, y;
  tavi_url_split(text(a), &x);
  tavi_url_split(text(b), &y);
  return tavi__http_same_origin(&x, &y);
}

TEST(http_redirect__origins) {
  CHECK(same("http://a/x", "http://A:80/y?z"));
  CHECK(same("http://u:p@a/", "http://a"));
  CHECK(same("https://[::1]/", "https://[::1]:443"));
  CHECK(!same("http://a", "https://a"));
  CHECK(!same("http://a:443", "https://a"));
  CHECK(!same("http://a", "http://a:81"));
  CHECK(!same("http://a", "http://b"));
  CHECK(!same("http://a", "http://a.b"));
  CHECK(!same("http://a@b", "http://a"));
  CHECK(!same("http://a[", "http://a{"));
}

TEST(http_redirect__downgrade) {
  struct tavi_url safe, open;
  tavi_url_split(text("HTTPS://a"), &safe);
  tavi_url_split(text("http://a"), &open);
  CHECK(tavi__http_is_downgrade(&safe, &open));
  CHECK(!tavi__http_is_downgrade(&open, &safe));
  CHECK(!tavi__http_is_downgrade(&safe, &safe));
}
