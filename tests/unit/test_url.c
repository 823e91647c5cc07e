/* SPDX-License-Identifier: MIT
 *
 * URLs taken apart, and percent-encoding. Sections are of RFC 3986. */
#include "tavi/url.h"

#include <stdlib.h>

#include "guard.h"
#include "random.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct row {
  const char *url;
  const char *scheme, *user, *pass, *host;
  int port;
  const char *uri;
  bool is_tls;
};

static const struct row rows[] = {
    {"http://u:p@h:1/x", "http", "u", "p", "h", 1, "/x", false},
    {"http://[::1]:80/x", "http", "", "", "[::1]", 80, "/x", false},
    {"//h/p", "", "", "", "h", 0, "/p", false},
    {"h:80/x", "", "", "", "h", 80, "/x", false},
    {"h", "", "", "", "h", 0, "", false},
    {"", "", "", "", "", 0, "", false},
    {"/x", "", "", "", "", 0, "/x", false},
    {"://h", "", "", "", "h", 0, "", false},
    {"http://", "http", "", "", "", 80, "", false},
    {"http://h", "http", "", "", "h", 80, "", false},
    {"https://h/", "https", "", "", "h", 443, "/", true},
    {"ws://h", "ws", "", "", "h", 80, "", false},
    {"wss://h", "wss", "", "", "h", 443, "", true},
    {"mqtt://h", "mqtt", "", "", "h", 1883, "", false},
    {"mqtts://h", "mqtts", "", "", "h", 8883, "", true},
    {"ssl://h", "ssl", "", "", "h", 0, "", true},
    {"tls://h:5", "tls", "", "", "h", 5, "", true},
    {"tcps://h", "tcps", "", "", "h", 0, "", true},
    {"tcp://h", "tcp", "", "", "h", 0, "", false},
    {"udp://h:0", "udp", "", "", "h", 0, "", false},
    {"httpss://h", "httpss", "", "", "h", 0, "", false},
    {"htt://h", "htt", "", "", "h", 0, "", false},
    /* section 3.1: any case */
    {"HTTPS://H", "HTTPS", "", "", "H", 443, "", true},
    {"wSs://h", "wSs", "", "", "h", 443, "", true},
    {"HTTQ://h", "HTTQ", "", "", "h", 0, "", false},
    {"XTTPS://h", "XTTPS", "", "", "h", 0, "", false},
    {"HTTP\x13://h", "HTTP\x13", "", "", "h", 0, "", false}, /* '3' without its bit 0x20 is no letter */
    /* section 3.2.1 */
    {"http://user:p:q@h/", "http", "user", "p:q", "h", 80, "/", false},
    {"http://user@h/", "http", "user", "", "h", 80, "/", false},
    {"http://user:@h/", "http", "user", "", "h", 80, "/", false},
    {"http://:p@h/", "http", "", "p", "h", 80, "/", false},
    {"http://@h/", "http", "", "", "h", 80, "/", false},
    {"http://bank@evil/", "http", "bank", "", "evil", 80, "/", false},
    {"http://a@b:c@h:7/", "http", "a@b", "c", "h", 7, "/", false},
    {"http://h/a@b", "http", "", "", "h", 80, "/a@b", false},
    {"http://h?a@b", "http", "", "", "h", 80, "?a@b", false},
    {"http://h#a@b:5/", "http", "", "", "h", 80, "#a@b:5/", false},
    {"u:p@h:1", "", "u", "p", "h", 1, "", false},
    /* section 3.2.2 */
    {"http://[2001:db8::1]", "http", "", "", "[2001:db8::1]", 80, "", false},
    {"http://u:p@[::1]:8080", "http", "u", "p", "[::1]", 8080, "", false},
    {"[::1]:5", "", "", "", "[::1]", 5, "", false},
    {"http://[::1", "http", "", "", "[::1", 80, "", false},
    {"http://[::1]x:5/", "http", "", "", "[::1]", -1, "/", false},
    {"http://[]/", "http", "", "", "[]", 80, "/", false},
    {"http://::1/", "http", "", "", "", -1, "/", false},
    {"http://a%20b/", "http", "", "", "a%20b", 80, "/", false},
    {"http://\xc3\xa9/", "http", "", "", "\xc3\xa9", 80, "/", false},
    /* section 3.2.3 */
    {"http://h:/x", "http", "", "", "h", 80, "/x", false},
    {"https://h:00443/", "https", "", "", "h", 443, "/", true},
    {"http://h:65535", "http", "", "", "h", 65535, "", false},
    {"http://h:65536", "http", "", "", "h", -1, "", false},
    {"http://h:4294967376", "http", "", "", "h", -1, "", false}, /* 80 + 2^32 */
    {"http://h:99999999999999999999999", "http", "", "", "h", -1, "", false},
    {"http://h:abc/", "http", "", "", "h", -1, "/", false},
    {"http://h:-1/", "http", "", "", "h", -1, "/", false},
    {"http://h:+80/", "http", "", "", "h", -1, "/", false},
    {"http://h: 80/", "http", "", "", "h", -1, "/", false},
    {"http://a:b:80/", "http", "", "", "a", -1, "/", false},
    /* path, query and fragment */
    {"http://h/p?q=1&r#f", "http", "", "", "h", 80, "/p?q=1&r#f", false},
    {"http://h?q", "http", "", "", "h", 80, "?q", false},
    {"http://h#f", "http", "", "", "h", 80, "#f", false},
    {"http://h/http://g:5/", "http", "", "", "h", 80, "/http://g:5/", false},
    {"/a://b", "", "", "", "", 0, "/a://b", false},
    {"?a://b", "", "", "", "", 0, "?a://b", false},
    {"h/x://y", "", "", "", "h", 0, "/x://y", false},
    {"http:/x", "", "", "", "http", 0, "/x", false},
    {"http:///x", "http", "", "", "", 80, "/x", false},
};

TEST(url_split__table) {
  for (size_t i = 0; i < COUNT(rows); i++) {
    const struct row *r = &rows[i];
    const size_t len = strlen(r->url);
    for (int end = 0; end < 2; end++) {
      struct tavi_url u;
      const char *text = end ? guard_at_end(r->url, len) : guard_at_start(r->url, len);
      test_note("%s", r->url);
      tavi_url_split((struct tavi_slice){text, len}, &u);
      CHECK_STR(u.scheme, r->scheme);
      CHECK_STR(u.user, r->user);
      CHECK_STR(u.pass, r->pass);
      CHECK_STR(u.host, r->host);
      CHECK_INT(u.port, r->port);
      CHECK_STR(u.uri, r->uri);
      CHECK(u.is_tls == r->is_tls);
    }
  }
  struct tavi_url u;
  tavi_url_split((struct tavi_slice){NULL, 0}, &u);
  CHECK_INT(u.scheme.len + u.user.len + u.pass.len + u.host.len + u.uri.len + (size_t)u.port, 0);
}

/* ==== percent-encoding ==== */

TEST(percent_encode__every_byte__as_section_2_3_says_and_back) {
  for (int c = 0; c < 256; c++) {
    const char byte = (char)c;
    const bool stays = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) != NULL;
    char wanted[4] = {byte}, back;
    if (!stays) snprintf(wanted, sizeof wanted, "%%%02X", (unsigned)c);
    const size_t len = stays ? 1 : 3;
    test_note("byte %d", c);
    char *out = guard_at_end("   ", len);
    CHECK_INT(tavi_percent_encode((struct tavi_slice){&byte, 1}, out, len), len);
    CHECK_BYTES(out, len, wanted, len);
    CHECK_INT(tavi_percent_encode((struct tavi_slice){&byte, 1}, out, len - 1), TAVI_E_LIMIT);
    CHECK_INT(tavi_percent_decode((struct tavi_slice){out, len}, true, &back), 1);
    CHECK(back == byte);
  }
  CHECK_INT(tavi_percent_encode((struct tavi_slice){NULL, 0}, NULL, 0), 0);
}

TEST(percent_decode__bad_escapes__are_refused) {
  static const char *const bad[] = {"%", "%4", "a%", "a%4", "%g0", "%0g", "%%41", "% 41", "%+1", "%-1", "%0x", "ok%2"};
  for (size_t i = 0; i < COUNT(bad); i++) {
    char out[16];
    test_note("%s", bad[i]);
    CHECK_INT(tavi_percent_decode((struct tavi_slice){guard_at_end(bad[i], strlen(bad[i])), strlen(bad[i])}, false, out), TAVI_E_ARG);
  }
  char text[] = "a+b%2bc%2Bd%00%25"; /* in place */
  const int64_t len = tavi_percent_decode((struct tavi_slice){text, sizeof text - 1}, true, text);
  CHECK_BYTES(text, (size_t)(len > 0 ? len : 0), "a b+c+d\0%", 9);
}
