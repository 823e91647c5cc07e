/* SPDX-License-Identifier: MIT
 *
 * URLs of listen and connect calls: what they mean, and which are refused. */
#include "net/endpoint.h"

#include "test.h"

static const struct {
  const char *url;
  enum tavi__endpoint_kind kind;
  const char *host;
  int port;
  bool is_udp;
} good[] = {
    {"tcp://127.0.0.1:8000", TAVI__EP_HOST, "127.0.0.1", 8000, false},
    {"tcp://127.0.0.1", TAVI__EP_HOST, "127.0.0.1", 7, false},
    {"tcp://127.0.0.1:", TAVI__EP_HOST, "127.0.0.1", 0, false},
    {"127.0.0.1:8000", TAVI__EP_HOST, "127.0.0.1", 8000, false},
    {"TCP://127.0.0.1:8000", TAVI__EP_HOST, "127.0.0.1", 8000, false},
    {"http://127.0.0.1:8000/path?query#fragment", TAVI__EP_HOST, "127.0.0.1", 8000, false},
    {"http://example.com", TAVI__EP_HOST, "example.com", 7, false},
    {"http://example.com/:99", TAVI__EP_HOST, "example.com", 7, false},
    {"http://example.com?a=b:c", TAVI__EP_HOST, "example.com", 7, false},
    {"example.com:1/go?to=http://other/", TAVI__EP_HOST, "example.com", 1, false},
    {"example.com?http://other:99", TAVI__EP_HOST, "example.com", 7, false},
    {"http://user@example.com:8", TAVI__EP_HOST, "example.com", 8, false},
    {"http://user:word@example.com:8", TAVI__EP_HOST, "example.com", 8, false},
    {"udp://0.0.0.0:53", TAVI__EP_HOST, "0.0.0.0", 53, true},
    {"Udp://[::1]:53", TAVI__EP_HOST, "::1", 53, true},
    {"tcp://[::]:0", TAVI__EP_HOST, "::", 0, false},
    {"tcp://[::1]", TAVI__EP_HOST, "::1", 7, false},
    {"[2001:db8::1]:65535", TAVI__EP_HOST, "2001:db8::1", 65535, false},
    {"udp://[fe80::1%lo]:53", TAVI__EP_HOST, "fe80::1%lo", 53, true},
    {"udp://[fe80::1%25lo]:53", TAVI__EP_HOST, "fe80::1%lo", 53, true}, /* as RFC 6874 has it */
    {"udp://[fe80::1%251]:53", TAVI__EP_HOST, "fe80::1%1", 53, true},
    {"udp://[fe80::1%1]:53", TAVI__EP_HOST, "fe80::1%1", 53, true},
    {"tcp://:8000", TAVI__EP_HOST, "", 8000, false},
    {":8000", TAVI__EP_HOST, "", 8000, false},
    {"tcp://localhost:00080", TAVI__EP_HOST, "localhost", 80, false},
    {"my-host.example:1", TAVI__EP_HOST, "my-host.example", 1, false},
    {"unix:/run/x.sock", TAVI__EP_UNIX, "/run/x.sock", 0, false},
    {"unix:///run/x.sock", TAVI__EP_UNIX, "/run/x.sock", 0, false},
    {"unix:relative", TAVI__EP_UNIX, "relative", 0, false},
    {"unix:@abstract", TAVI__EP_UNIX, "@abstract", 0, false},
    {"unix:/with space:and colon", TAVI__EP_UNIX, "/with space:and colon", 0, false},
    {"fd://3", TAVI__EP_FD, "", 0, false},
    {"fd://17/", TAVI__EP_FD, "", 0, false},
    {"fd://systemd", TAVI__EP_SYSTEMD, "", 0, false},
    {"fd://systemd:web", TAVI__EP_SYSTEMD, "web", 0, false},
};

TEST(endpoint__good_urls__are_taken_apart) {
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct tavi__endpoint ep;
    test_note("%s", good[i].url);
    if (!CHECK_INT(tavi__endpoint_parse(good[i].url, "7", &ep), 0)) continue;
    CHECK_INT(ep.kind, good[i].kind);
    CHECK_BYTES(ep.host, strlen(ep.host), good[i].host, strlen(good[i].host));
    CHECK_INT(ep.port, good[i].port);
    CHECK_INT(ep.is_udp, good[i].is_udp);
  }
}

TEST(endpoint__bad_urls__are_refused_and_change_nothing) {
  static const char *bad[] = {
      "gopher://127.0.0.1:70", "://127.0.0.1", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:99999999999",
      "tcp://127.0.0.1:-1", "tcp://127.0.0.1:+1", "tcp://127.0.0.1: 1", "tcp://127.0.0.1:1 ", "tcp://127.0.0.1:8x",
      "tcp://127.0.0.1:0x50", "tcp://::1:80", "::1", "tcp://[::1", "tcp://[::1]80", "tcp://[::1]x:80", "tcp://[]:80",
      "tcp://[127.0.0.1]:80", "tcp://[::1%eth0]:80", "tcp://[fe80::1%nobody]:80", "tcp://[fe80::1%]:80", "tcp://[fe80::1%25]:80x",
      "tcp://[example.com]:80", "tcp://a b:80", "tcp://a\tb:80",
      "tcp://a\nb:80", "tcp://a\x7f:80", "tcp://a<b:80", "tcp://a]b:80", "tcp://a{b}:80", "tcp://a|b:80", "tcp://a\\b:80",
      "tcp://a^b:80", "tcp://a@b@c:80", "unix:", "unix://", "fd://", "fd://x", "fd://-1", "fd://3x", "fd://3/4",
      "fd://99999999999", "fd://systemdx", "fd://systemd:a/b"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct tavi__endpoint ep = {.fd = 77, .port = 77};
    test_note("%s", bad[i]);
    CHECK_INT(tavi__endpoint_parse(bad[i], "7", &ep), TAVI_E_ADDRESS);
    CHECK(ep.fd == 77 && ep.port == 77);
  }
}

TEST(endpoint__host_of_every_length__fits_or_is_refused) {
  char url[600];
  for (size_t len = 200; len < 300; len++) {
    struct tavi__endpoint ep;
    memset(url, 'a', len);
    memcpy(url + len, ":80", 4);
    test_note("%zu bytes", len);
    CHECK_INT(tavi__endpoint_parse(url, "", &ep), len < 256 ? 0 : TAVI_E_ADDRESS);
    memcpy(url, "unix:", 5);
    CHECK_INT(tavi__endpoint_parse(url, "", &ep), len + 3 - 5 < 256 ? 0 : TAVI_E_ADDRESS);
  }
}

TEST(endpoint__number_of_the_descriptor__is_kept) {
  struct tavi__endpoint ep;
  CHECK_INT(tavi__endpoint_parse("fd://42", "", &ep), 0);
  CHECK_INT(ep.fd, 42);
  CHECK_INT(tavi__endpoint_parse("fd://systemd", "", &ep), 0);
  CHECK_INT(ep.fd, -1);
}

static int bind_to(const char *url, struct tavi_addr *ret_addr) {
  struct tavi__endpoint ep;
  struct tavi__sockaddr a;
  if (tavi__endpoint_parse(url, "0", &ep) != 0) return -1;
  if (!tavi__endpoint_bind_address(&ep, &a)) return 0;
  tavi__sockaddr_text(&a, ret_addr);
  return 1;
}

TEST(endpoint__bind_address__is_a_literal_localhost_or_all) {
  struct tavi_addr a;
  CHECK_INT(bind_to("tcp://:80", &a), 1);
  CHECK(strcmp(a.host, "0.0.0.0") == 0 && a.port == 80);
  CHECK_INT(bind_to("localhost:81", &a), 1);
  CHECK(strcmp(a.host, "127.0.0.1") == 0 && a.port == 81);
  CHECK_INT(bind_to("LOCALHOST:81", &a), 1);
  CHECK_INT(bind_to("[::]:82", &a), 1);
  CHECK(strcmp(a.host, "::") == 0 && a.port == 82);
  CHECK_INT(bind_to("unix:/x", &a), 1);
  CHECK(a.is_unix);
  CHECK_INT(bind_to("example.com:80", &a), 0);
  CHECK_INT(bind_to("1.2.3:80", &a), 0);
}

static int peers_of(const char *url, struct tavi_addr ret[2]) {
  struct tavi__endpoint ep;
  struct tavi__sockaddr a[2];
  if (tavi__endpoint_parse(url, "", &ep) != 0) return -1;
  int count = tavi__endpoint_peers(&ep, a);
  for (int i = 0; i < count; i++) tavi__sockaddr_text(&a[i], &ret[i]);
  return count;
}

TEST(endpoint__peers__are_known_for_literals_paths_and_localhost) {
  struct tavi_addr a[2];
  CHECK_INT(peers_of("tcp://192.0.2.1:5", a), 1);
  CHECK(strcmp(a[0].host, "192.0.2.1") == 0 && a[0].port == 5);
  CHECK_INT(peers_of("[::1]:5", a), 1);
  CHECK(strcmp(a[0].host, "::1") == 0);
  CHECK_INT(peers_of("localhost:5", a), 2);
  CHECK(strcmp(a[0].host, "127.0.0.1") == 0 && strcmp(a[1].host, "::1") == 0 && a[1].port == 5);
  CHECK_INT(peers_of("app.localhost:5", a), 2);
  CHECK_INT(peers_of("udp://localhost:5", a), 1);
  CHECK_INT(peers_of("unix:/x", a), 1);
  CHECK(a[0].is_unix);
}

TEST(endpoint__peers__are_not_known_for_names) {
  struct tavi_addr a[2];
  CHECK_INT(peers_of("example.com:5", a), 0);
  CHECK_INT(peers_of("notlocalhost:5", a), 0);
  CHECK_INT(peers_of("localhost.example:5", a), 0);
  CHECK_INT(peers_of(".localhost:5", a), 0);
}

TEST(endpoint__nobody_can_be_connected_to__is_an_error) {
  struct tavi_addr a[2];
  CHECK_INT(peers_of("127.0.0.1", a), TAVI_E_ADDRESS);
  CHECK_INT(peers_of("127.0.0.1:0", a), TAVI_E_ADDRESS);
  CHECK_INT(peers_of(":80", a), TAVI_E_ADDRESS);
  CHECK_INT(peers_of("fd://3", a), TAVI_E_ADDRESS);
  CHECK_INT(peers_of("fd://systemd", a), TAVI_E_ADDRESS);
  char long_path[] = "unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                     "0123456789";
  CHECK_INT(peers_of(long_path, a), TAVI_E_ADDRESS);
}

TEST(addr_parse__address_and_port__are_taken) {
  static const struct {
    const char *text, *host;
    unsigned port;
    bool is_ipv6;
  } cases[] = {
      {"192.0.2.1:53", "192.0.2.1", 53, false},  {"udp://192.0.2.1:53/x", "192.0.2.1", 53, false},
      {"[::1]:65535", "::1", 65535, true},       {"[::ffff:10.0.0.1]:1", "10.0.0.1", 1, false},
      {"localhost:9", "127.0.0.1", 9, false},    {"[fe80::1%lo]:5353", "fe80::1%lo", 5353, true},
      {"255.255.255.255:9", "255.255.255.255", 9, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tavi_addr a;
    test_note("%s", cases[i].text);
    if (!CHECK_INT(tavi_addr_parse(cases[i].text, &a), 0)) continue;
    CHECK_BYTES(a.host, strlen(a.host), cases[i].host, strlen(cases[i].host));
    CHECK(a.port == cases[i].port && a.is_ipv6 == cases[i].is_ipv6 && !a.is_unix);
  }
}

TEST(addr_parse__anything_else__is_refused) {
  const char *bad[] = {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", ":53", "example.com:53", "::1", "unix:/x", "fd://3", "[::1]",
                       "192.0.2.1:53 ", "gopher://192.0.2.1:53"};
  struct tavi_addr a = {.port = 77};
  CHECK_INT(tavi_addr_parse(NULL, &a), TAVI_E_ADDRESS);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    CHECK_INT(tavi_addr_parse(bad[i], &a), TAVI_E_ADDRESS);
  }
  CHECK_INT(a.port, 77);
}
