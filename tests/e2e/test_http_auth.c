/* SPDX-License-Identifier: MIT
 *
 * Who asks: credentials, cookies, challenges, and the client behind proxies, as a handler sees them. Requests come from plain
 * sockets; the handler answers with what it was told, as text. */
#include "http_rig.h"

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static char text[8192];

static struct tavi_slice slice(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

static const char *err_text(int err) {
  snprintf(text, sizeof text, "%s", tavi_err_name(err));
  return text;
}

/* One request with these header lines (each ends in CRLF); what the handler answers. */
static void check_answer(const char *lines, const char *wanted) {
  struct peer p = peer_open();
  char request[16384];
  snprintf(request, sizeof request, "GET / HTTP/1.1\r\n%s%s\r\n", strstr(lines, "Host:") == lines ? "" : "Host: h:8000\r\n", lines);
  test_note("%s", lines);
  peer_send(&p, request);
  EXPECT(&p, 200, wanted);
  peer_close(&p);
}

/* ==== secrets ==== */

TEST(http_auth__secret_equal) {
  static const char *const all[] = {"", "a", "b", "ab", "aa", "aaa", "password", "passwore", "Password", "passwor", "passwordd"};
  for (size_t i = 0; i < COUNT(all); i++) {
    for (size_t k = 0; k < COUNT(all); k++) {
      test_note("%s and %s", all[i], all[k]);
      CHECK_INT(tavi_secret_equal(slice(all[i]), slice(all[k])), i == k);
    }
  }
  CHECK(tavi_secret_equal(NOTHING, NOTHING));
  CHECK(!tavi_secret_equal(NOTHING, SLICE("\0")));
  CHECK(!tavi_secret_equal(SLICE("\0"), NOTHING));
  CHECK(!tavi_secret_equal(SLICE("a\0b"), SLICE("a\0c")));
  for (int bit = 0; bit < 8; bit++) {
    const char other = (char)('x' ^ 1 << bit);
    CHECK(!tavi_secret_equal(SLICE("x"), (struct tavi_slice){&other, 1}));
  }
}

/* ==== credentials ==== */

static void tell_basic(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  char buf[64];
  struct tavi_slice user, password;
  const int err = tavi_http_basic_auth(msg, buf, sizeof buf, &user, &password);
  if (err < 0) {
    reply_text(c, 200, err_text(err));
    return;
  }
  snprintf(text, sizeof text, "%.*s|%.*s", (int)user.len, user.ptr, (int)password.len, password.ptr);
  reply_text(c, 200, text);
}

TEST(http_auth__basic) {
  rig_serve(NULL);
  rig.on_message = tell_basic;
  static const char *const cases[][2] = {
      {"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", "Aladdin|open sesame"}, /* RFC 7617 section 2 */
      {"authorization: bAsIc   dGVzdDoxMjPCow==\r\n", "test|123\xc2\xa3"},
      {"Authorization: Basic Og==\r\n", "|"},
      {"Authorization: Basic YTpiOmM=\r\n", "a|b:c"},
      {"", "TAVI_E_NOT_FOUND"},
      {"Authorization: Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", "TAVI_E_NOT_FOUND"},
      {"Authorization: BasicQ WxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", "TAVI_E_NOT_FOUND"},
      {"Authorization: Bas\r\n", "TAVI_E_NOT_FOUND"},
      {"Authorization:\r\n", "TAVI_E_NOT_FOUND"},
      {"Proxy-Authorization: Basic Og==\r\n", "TAVI_E_NOT_FOUND"},
      {"Authorization: Basic\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Basic YWJj\r\n", "TAVI_E_PROTOCOL"},         /* no ':' */
      {"Authorization: Basic YTo\r\n", "TAVI_E_PROTOCOL"},          /* no padding */
      {"Authorization: Basic YTp=\r\n", "TAVI_E_PROTOCOL"},         /* bits left over */
      {"Authorization: Basic YTpi YTpi\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Basic YTpi, Bearer x\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Basic YQA6Yg==\r\n", "TAVI_E_PROTOCOL"},     /* NUL */
      {"Authorization: Basic YTp/Yg==\r\n", "TAVI_E_PROTOCOL"},     /* DEL */
      {"Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer x\r\nAuthorization: Basic YTpi\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Basic YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTphYQ==\r\n",
       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa|aa"}, /* 64 bytes: exactly the room */
      {"Authorization: Basic YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTphYWE=\r\n",
       "TAVI_E_LIMIT"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) check_answer(cases[i][0], cases[i][1]);
  rig_stop();
}

static void tell_bearer(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_slice token;
  const int err = tavi_http_bearer_token(msg, &token);
  if (err == 0) snprintf(text, sizeof text, "%.*s %d", (int)token.len, token.ptr, tavi_http_is_bearer(msg, SLICE("abc.DEF-123~+/_==")));
  else CHECK(!tavi_http_is_bearer(msg, NOTHING));
  reply_text(c, 200, err == 0 ? text : err_text(err));
}

TEST(http_auth__bearer) {
  rig_serve(NULL);
  rig.on_message = tell_bearer;
  static const char *const cases[][2] = {
      {"Authorization: Bearer abc.DEF-123~+/_==\r\n", "abc.DEF-123~+/_== 1"},
      {"Authorization: BEARER  abc\r\n", "abc 0"},
      {"Authorization: Bearer abc.DEF-123~+/_=\r\n", "abc.DEF-123~+/_= 0"},
      {"Authorization: Bearer\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer =\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer a=b\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer a b\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer \"a\"\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer \xc3\xa9\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Bearer a\r\nauthorization: Bearer a\r\n", "TAVI_E_PROTOCOL"},
      {"Authorization: Basic YTpi\r\n", "TAVI_E_NOT_FOUND"},
      {"", "TAVI_E_NOT_FOUND"},
  };
  for (size_t i = 0; i < COUNT(cases); i++) check_answer(cases[i][0], cases[i][1]);
  rig_stop();
}

static void guard(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  if (tavi_http_is_user(msg, SLICE("me"), SLICE("se:cret")))
    reply_text(c, 200, "welcome");
  else
    CHECK_INT(tavi_http_challenge(c, "Basic", "the \"inner\" \\ room"), 0);
}

TEST(http_auth__challenge_and_answer) {
  static const char *const wrong[][2] = {{"me", "se:cre"}, {"me", "se:crets"}, {"mee", "se:cret"}, {"", ""}, {"m", "e"}, {"Me", "se:cret"}};
  char value[200], request[400];
  rig_serve(NULL);
  rig.on_message = guard;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) {
    CHECK_INT(r.status, 401);
    CHECK(header_is(&r, "WWW-Authenticate", "Basic realm=\"the \\\"inner\\\" \\\\ room\", charset=\"UTF-8\""));
    CHECK(header_is(&r, "Content-Type", "text/plain; charset=utf-8"));
    CHECK_STR(r.body, "401 Unauthorized\n");
  }
  response_free(&r);
  for (size_t i = 0; i <= COUNT(wrong); i++) { /* on the same connection, the right one last */
    const bool is_right = i == COUNT(wrong);
    const int64_t len = is_right ? tavi_http_basic_value(SLICE("me"), SLICE("se:cret"), value, sizeof value)
                                 : tavi_http_basic_value(slice(wrong[i][0]), slice(wrong[i][1]), value, sizeof value);
    CHECK(len > 0);
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: %.*s\r\n\r\n", (int)len, value);
    peer_send(&p, request);
    EXPECT(&p, is_right ? 200 : 401, is_right ? "welcome" : "401 Unauthorized\n");
  }
  peer_close(&p);
  rig_stop();
}

static void challenge_badly(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  char long_realm[258];
  (void)msg;
  memset(long_realm, '"', sizeof long_realm);
  long_realm[257] = '\0';
  CHECK_INT(tavi_http_challenge(c, "Digest", "x"), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, "basic", "x"), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, NULL, "x"), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, "Basic", NULL), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, "Basic", "a\r\nX: y"), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, "Basic", "\x7f"), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, "Basic", long_realm), TAVI_E_ARG);
  CHECK_INT(tavi_http_challenge(c, "Bearer", long_realm + 1), 0);
  CHECK_INT(tavi_http_challenge(c, "Bearer", "again"), TAVI_E_STATE);
}

TEST(http_auth__challenge__what_cannot_be_written) {
  rig_serve(NULL);
  rig.on_message = challenge_badly;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) {
    CHECK_INT(r.status, 401);
    const char *value = find_header(&r, "WWW-Authenticate");
    if (CHECK(value != NULL)) CHECK(strncmp(value, "Bearer realm=\"\\\"\\\"", 18) == 0 && strcspn(value, "\r") == 14 + 512 + 1);
  }
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

TEST(http_auth__basic_value) {
  char out[100];
  CHECK_INT(tavi_http_basic_value(SLICE("Aladdin"), SLICE("open sesame"), out, sizeof out), 34);
  CHECK_BYTES(out, 34, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", 34);
  CHECK_INT(tavi_http_basic_value(NOTHING, NOTHING, out, sizeof out), 10);
  CHECK_BYTES(out, 10, "Basic Og==", 10);
  CHECK_INT(tavi_http_basic_value(SLICE("a:b"), SLICE("c"), out, sizeof out), TAVI_E_ARG);
  CHECK_INT(tavi_http_basic_value(SLICE("a\n"), SLICE("c"), out, sizeof out), TAVI_E_ARG);
  CHECK_INT(tavi_http_basic_value(SLICE("a"), SLICE("c\0"), out, sizeof out), TAVI_E_ARG);
  memset(out, '?', sizeof out);
  for (size_t cap = 0; cap < 34; cap++) CHECK_INT(tavi_http_basic_value(SLICE("Aladdin"), SLICE("open sesame"), out, cap), TAVI_E_LIMIT);
  CHECK_INT(out[0], '?');
  CHECK_INT(tavi_http_basic_value(SLICE("Aladdin"), SLICE("open sesame"), out, 34), 34);
  CHECK_INT(out[34], '?');
  CHECK_INT(tavi_http_basic_value(SLICE("a"), (struct tavi_slice){out, 0}, NULL, 0), TAVI_E_LIMIT);
}

/* ==== cookies ==== */

static void tell_cookie(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_slice value;
  if (tavi_http_cookie(msg, SLICE("id"), &value) == 0) snprintf(text, sizeof text, "%.*s", (int)value.len, value.ptr);
  else err_text(TAVI_E_NOT_FOUND);
  reply_text(c, 200, text);
}

TEST(http_auth__cookies_of_a_request) {
  static const char *const cases[][2] = {
      {"Cookie: a=1; id=x; b=2\r\n", "x"},
      {"Cookie: a=1\r\ncookie: id=y\r\nCOOKIE: id=z\r\n", "y"},
      {"Cookie: id=\"q r\"\r\n", "q r"},
      {"Cookie: ID=1\r\n", "TAVI_E_NOT_FOUND"},
      {"Cookie:\r\n", "TAVI_E_NOT_FOUND"},
      {"X-Cookie: id=1\r\n", "TAVI_E_NOT_FOUND"},
      {"", "TAVI_E_NOT_FOUND"},
  };
  rig_serve(NULL);
  rig.on_message = tell_cookie;
  for (size_t i = 0; i < COUNT(cases); i++) check_answer(cases[i][0], cases[i][1]);
  rig_stop();
}

static void set_cookie(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_cookie cookie;
  char value[200];
  (void)msg;
  tavi_cookie_init(&cookie);
  cookie.name = SLICE("id");
  cookie.value = SLICE("abc");
  const int64_t len = tavi_cookie_format(&cookie, value, sizeof value);
  CHECK(len > 0);
  const struct tavi_http_header header = {SLICE("Set-Cookie"), {value, (size_t)len}};
  tavi_http_reply(c, 204, &header, 1, NOTHING);
}

TEST(http_auth__cookie_of_an_answer__has_safe_defaults) {
  rig_serve(NULL);
  rig.on_message = set_cookie;
  struct peer p = peer_open();
  struct response r = {0};
  peer_send(&p, GET("/"));
  if (RESPONSE(&p, &r)) CHECK(header_is(&r, "Set-Cookie", "id=abc; Path=/; Secure; HttpOnly; SameSite=Lax"));
  response_free(&r);
  peer_close(&p);
  rig_stop();
}

/* ==== behind proxies ==== */

static void tell_origin(struct tavi_conn *c, const struct tavi_http_msg *msg) {
  struct tavi_http_origin o;
  struct tavi_addr a;
  tavi_http_origin(c, msg, &o);
  CHECK_INT(tavi_conn_remote_addr(c, &a), 0);
  CHECK(o.client.is_ipv6 == (strchr(o.client.host, ':') != NULL) && !o.client.is_unix);
  const bool is_peer = strcmp(o.client.host, "127.0.0.1") == 0 && o.client.port == a.port;
  snprintf(text, sizeof text, "%s#%u %.*s %.*s%s", is_peer ? "peer" : o.client.host, is_peer ? 0 : o.client.port,
           (int)o.scheme.len, o.scheme.ptr, (int)o.host.len, o.host.len > 0 ? o.host.ptr : "",
           o.is_forwarded ? " forwarded" : "");
  reply_text(c, 200, text);
}

static void serve_behind(const char *proxies) {
  struct tavi_http_opts opts;
  tavi_http_opts_init(&opts);
  opts.forwarded_from = proxies;
  rig_serve(&opts);
  rig.on_message = tell_origin;
}

static void check_origins(const char *const (*cases)[2], size_t count, const char *proxies) {
  serve_behind(proxies);
  for (size_t i = 0; i < count; i++) check_answer(cases[i][0], cases[i][1]);
  rig_stop();
}

TEST(http_origin__nobody_is_trusted) {
  static const char *const cases[][2] = {
      {"", "peer#0 http h:8000"},
      {"Host:\r\n", "peer#0 http "},
      {"Forwarded: for=1.2.3.4;proto=https;host=evil\r\n", "peer#0 http h:8000"},
      {"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n", "peer#0 http h:8000"},
  };
  check_origins(cases, COUNT(cases), NULL);
  check_origins(cases, COUNT(cases), "10.0.0.0/8, ::1, unix, 127.0.0.2, 127.0.0.0/32");
}

TEST(http_origin__one_trusted_proxy) {
  static const char *const cases[][2] = {
      {"", "peer#0 http h:8000"}, /* it asks itself */
      {"Forwarded: for=1.2.3.4;proto=https;host=a.b\r\n", "1.2.3.4#0 https a.b forwarded"},
      {"Forwarded: for=\"[2001:DB8::0:1]:80\"\r\n", "2001:db8::1#80 http h:8000 forwarded"},
      {"Forwarded: for=\"[::ffff:1.2.3.4]\"\r\n", "1.2.3.4#0 http h:8000 forwarded"},
      {"Forwarded: for=6.6.6.6, for=1.2.3.4\r\n", "1.2.3.4#0 http h:8000 forwarded"},           /* the client's own lie */
      {"Forwarded: for=\"\r\nForwarded: for=1.2.3.4\r\n", "1.2.3.4#0 http h:8000 forwarded"},
      {"Forwarded: for=6.6.6.6;x=\", for=1.2.3.4;proto=HTTPS\r\n", "1.2.3.4#0 https h:8000 forwarded"},
      {"Forwarded: for=unknown;proto=https\r\n", "#0 https h:8000 forwarded"},
      {"Forwarded: for=_hidden;host=a\r\n", "#0 http a forwarded"},
      {"Forwarded: proto=https\r\n", "#0 https h:8000 forwarded"},
      {"Forwarded: for=6.6.6.6, nonsense\r\n", "#0 http h:8000 forwarded"},
      {"Forwarded: for=1.2.3.4;proto=gopher\r\n", "1.2.3.4#0 http h:8000 forwarded"},
      {"Forwarded:\r\n", "peer#0 http h:8000 forwarded"},
      {"X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4#0 http h:8000 forwarded"},
      {"X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.b:1\r\n", "1.2.3.4#0 https a.b:1 forwarded"},
      {"X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 1.2.3.4:5\r\n", "1.2.3.4#5 http h:8000 forwarded"},
      {"X-Forwarded-For: 2001:DB8::1\r\n", "2001:db8::1#0 http h:8000 forwarded"},
      {"X-Forwarded-For: unknown\r\n", "#0 http h:8000 forwarded"},
      {"X-Forwarded-For: 1.2.3.4, x\r\n", "#0 http h:8000 forwarded"},
      {"X-Forwarded-Proto: https\r\n", "peer#0 https h:8000 forwarded"},
      {"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: javascript\r\nX-Forwarded-Host: a b\r\n", "1.2.3.4#0 http h:8000 forwarded"},
  };
  check_origins(cases, COUNT(cases), "127.0.0.1");
}

TEST(http_origin__chains_end_at_the_first_that_is_not_trusted) {
  static const char *const cases[][2] = {
      {"Forwarded: for=6.6.6.6, for=1.2.3.4;proto=https;host=a, for=10.0.0.2;proto=http;host=b\r\n", "1.2.3.4#0 https a forwarded"},
      {"Forwarded: for=1.2.3.4;host=a, for=10.0.0.3\r\nForwarded: for=\"[::1]\", for=10.0.0.2\r\n", "1.2.3.4#0 http a forwarded"},
      {"Forwarded: for=10.0.0.9;proto=https, for=10.0.0.2\r\n", "10.0.0.9#0 https h:8000 forwarded"}, /* all of them */
      {"Forwarded: for=6.6.6.6, for=_x, for=10.0.0.2\r\n", "#0 http h:8000 forwarded"},
      {"Forwarded: for=6.6.6.6, for=, for=10.0.0.2;proto=https\r\n", "#0 https h:8000 forwarded"},
      {"X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.3, 10.0.0.2\r\nX-Forwarded-Proto: ftp, https, http, http\r\n",
       "1.2.3.4#0 https h:8000 forwarded"},
      {"X-Forwarded-For: 1.2.3.4, 10.0.0.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: x, a\r\n", "1.2.3.4#0 https x forwarded"},
      {"X-Forwarded-For: 6.6.6.6, ::ffff:10.0.0.3\r\n", "6.6.6.6#0 http h:8000 forwarded"},
  };
  check_origins(cases, COUNT(cases), "127.0.0.1, 10.0.0.0/8, ::1");
}

/* A proxy that writes one of the two hands on the other as it came from the client. */
TEST(http_origin__two_ways_must_agree) {
  static const char *const cases[][2] = {
      {"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=6.6.6.6;proto=https;host=evil\r\n", "#0 http h:8000 forwarded"},
      {"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4;proto=https;host=evil\r\n", "1.2.3.4#0 http h:8000 forwarded"},
      {"Forwarded: for=1.2.3.4;proto=http\r\nX-Forwarded-For: 6.6.6.6\r\n", "#0 http h:8000 forwarded"},
      {"Forwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n", "#0 http h:8000 forwarded"},
      {"Forwarded: for=\"1.2.3.4:5\";proto=https;host=a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n",
       "1.2.3.4#0 https a forwarded"},
  };
  check_origins(cases, COUNT(cases), "127.0.0.1");
}

TEST(http_origin__endless_chain__is_nobody) {
  for (unsigned hops = 63; hops <= 66; hops++) {
    char lines[2000];
    size_t len = (size_t)snprintf(lines, sizeof lines, "X-Forwarded-For: 1.2.3.4");
    for (unsigned i = 1; i < hops; i++) len += (size_t)snprintf(lines + len, sizeof lines - len, ",10.0.0.1");
    snprintf(lines + len, sizeof lines - len, "\r\n");
    const char *const cases[][2] = {{lines, hops <= 64 ? "1.2.3.4#0 http h:8000 forwarded" : "#0 http h:8000 forwarded"}};
    check_origins(cases, 1, "127.0.0.1, 10.0.0.0/8");
  }
}

TEST(http_origin__host_of_the_target) {
  static const char *const cases[][2] = {
      {"GET http://a.b:81/x HTTP/1.1\r\nHost: a.b:81\r\n\r\n", "peer#0 http a.b:81"},
      {"GET http://a.b:81/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "peer#0 http a.b:81"},
      {"GET http://a.b?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "peer#0 http a.b"},
      {"GET http://[::1] HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "peer#0 http [::1]"},
      {"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "peer#0 http "},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "peer#0 http "},
  };
  serve_behind(NULL);
  struct peer p = peer_open();
  for (size_t i = 0; i < COUNT(cases); i++) {
    test_note("%s", cases[i][0]);
    peer_send(&p, cases[i][0]);
    EXPECT(&p, 200, cases[i][1]);
  }
  peer_close(&p);
  rig_stop();
}
