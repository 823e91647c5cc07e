/* SPDX-License-Identifier: MIT
 *
 * Addresses as the system takes them, as text, and in the small form that connections keep. */
#include "os/sock.h"

#include <stdlib.h>

#include "test.h"

static struct tavi__sockaddr addr;
static struct tavi_addr text;

static bool host_is(const char *host) { return strcmp(text.host, host) == 0; }

TEST(sockaddr__ip_literals__come_back_in_canonical_form) {
  static const struct {
    const char *in, *out;
    bool is_ipv6;
  } cases[] = {
      {"127.0.0.1", "127.0.0.1", false},
      {"0.0.0.0", "0.0.0.0", false},
      {"255.255.255.255", "255.255.255.255", false},
      {"::", "::", true},
      {"::1", "::1", true},
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", true},
      {"fe80::1", "fe80::1", true},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", true}, /* RFC 5952: one group of zeros is not shortened */
      {"::ffff:192.0.2.7", "192.0.2.7", false},               /* shown as the IPv4 address that it is */
      {"::ffff:0:1", "0.0.0.1", false},                       /* the same in other letters */
      {"::fffe:0:1", "::fffe:0:1", true},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    test_note("%s", cases[i].in);
    CHECK(tavi__sockaddr_ip(cases[i].in, 8080, &addr));
    tavi__sockaddr_text(&addr, &text);
    CHECK_BYTES(text.host, strlen(text.host), cases[i].out, strlen(cases[i].out));
    CHECK_INT(text.is_ipv6, cases[i].is_ipv6);
    CHECK_INT(text.port, 8080);
    CHECK(!text.is_unix);
    CHECK(!tavi__sockaddr_is_unix(&addr));
  }
}

TEST(sockaddr__what_is_no_literal__is_refused) {
  const char *bad[] = {"", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.4 ", " 1.2.3.4", "01.2.3.4x", "[::1]",
                       ":::", "1:2:3:4:5:6:7", "::1::", "12345::", "example.com", "0x7f.0.0.1",
                       "2001:db8::1%lo", "::1%lo", "127.0.0.1%lo", "fe80::1%", "fe80::1%nobody", "fe80::1%0",
                       "fe80::1%4000000000", "fe80::1%99999999999999999999", "fe80::1%1x", "fe80::1%%lo", "%lo", "fe80%lo",
                       "0000:0000:0000:0000:0000:0000:0000:0000:fe80::1%lo"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    CHECK(!tavi__sockaddr_ip(bad[i], 1, &addr));
  }
}

TEST(sockaddr__peer__keeps_address_and_port) {
  const char *hosts[] = {"192.0.2.1", "::1", "2001:db8::42", "::ffff:10.0.0.1"};
  for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
    struct tavi__peer peer, again;
    struct tavi__sockaddr back;
    test_note("%s", hosts[i]);
    CHECK(tavi__sockaddr_ip(hosts[i], 65535, &addr));
    tavi__sockaddr_to_peer(&addr, &peer);
    CHECK_INT(peer.port, 65535);
    for (int is_v6 = 0; is_v6 < 2; is_v6++) {
      tavi__peer_to_sockaddr(&peer, is_v6 != 0, &back);
      bool wants_v6 = is_v6 != 0 || peer.family == 6;
      CHECK_INT(back.u.sa.sa_family, wants_v6 ? AF_INET6 : AF_INET);
      tavi__sockaddr_to_peer(&back, &again);
      CHECK(memcmp(&peer, &again, sizeof peer) == 0);
    }
  }
}

/* The loopback interface is the first, and is called lo. */
TEST(sockaddr__link_local_zone__is_kept_and_shown) {
  static const struct {
    const char *in, *out;
  } cases[] = {
      {"fe80::1%lo", "fe80::1%lo"},   {"fe80::1%1", "fe80::1%lo"}, {"FE80::1:2%lo", "fe80::1:2%lo"},
      {"febf::1%lo", "febf::1%lo"},   {"ff02::fb%lo", "ff02::fb%lo"}, {"ff01::1%lo", "ff01::1%lo"},
  };
  CHECK_INT(tavi__interface("lo"), 1);
  CHECK_INT(tavi__interface("1"), 1);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tavi__peer peer, again;
    struct tavi__sockaddr back;
    test_note("%s", cases[i].in);
    if (!CHECK(tavi__sockaddr_ip(cases[i].in, 53, &addr))) continue;
    tavi__sockaddr_text(&addr, &text);
    CHECK(host_is(cases[i].out) && text.is_ipv6);
    tavi__sockaddr_to_peer(&addr, &peer);
    CHECK_INT(peer.scope, 1);
    tavi__peer_to_sockaddr(&peer, true, &back);
    tavi__sockaddr_to_peer(&back, &again);
    CHECK(memcmp(&peer, &again, sizeof peer) == 0 && back.len == addr.len);
    CHECK(memcmp(back.u.bytes, addr.u.bytes, addr.len) == 0);
  }
}

TEST(sockaddr__interface_that_has_gone__is_shown_by_its_number) {
  const struct tavi__peer peer = {.ip = {0xfe, 0x80, [15] = 7}, .port = 1, .family = 6, .scope = 4000000000};
  tavi__peer_text(&peer, &text);
  CHECK(host_is("fe80::7%4000000000"));
}

TEST(sockaddr__groups__are_told_from_others) {
  const char *groups[] = {"224.0.0.0", "239.255.255.255", "ff02::1", "ff3e::8000:1", "::ffff:224.0.0.251"};
  const char *others[] = {"223.255.255.255", "240.0.0.1", "255.255.255.255", "0.0.0.0", "fe80::1", "::", "::ffff:1.2.3.4"};
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    test_note("%s", groups[i]);
    CHECK(tavi__sockaddr_ip(groups[i], 0, &addr) && tavi__sockaddr_is_group(&addr));
  }
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    test_note("%s", others[i]);
    CHECK(tavi__sockaddr_ip(others[i], 0, &addr) && !tavi__sockaddr_is_group(&addr));
  }
  CHECK(tavi__sockaddr_unix("/x", &addr) && !tavi__sockaddr_is_group(&addr));
}

TEST(sockaddr__none__has_empty_text) {
  struct tavi__peer peer;
  addr = (struct tavi__sockaddr){.len = 0};
  tavi__sockaddr_text(&addr, &text);
  CHECK(host_is("") && text.port == 0 && !text.is_ipv6 && !text.is_unix);
  CHECK(!tavi__sockaddr_is_unix(&addr));
  tavi__sockaddr_to_peer(&addr, &peer);
  CHECK_INT(peer.family, 0);
  tavi__peer_to_sockaddr(&peer, true, &addr);
  CHECK_INT(addr.len, 0);
}

TEST(sockaddr__unix_path__comes_back) {
  CHECK(tavi__sockaddr_unix("/run/x.sock", &addr));
  CHECK(tavi__sockaddr_is_unix(&addr));
  tavi__sockaddr_text(&addr, &text);
  CHECK(host_is("/run/x.sock") && text.is_unix && text.port == 0 && !text.is_ipv6);
}

TEST(sockaddr__abstract_name__comes_back_with_its_at_sign) {
  CHECK(tavi__sockaddr_unix("@name", &addr));
  CHECK_INT(addr.u.bytes[sizeof(sa_family_t)], 0);
  CHECK_INT(addr.len, sizeof(sa_family_t) + 5); /* no NUL at the end: it would be part of the name */
  tavi__sockaddr_text(&addr, &text);
  CHECK(host_is("@name") && text.is_unix);
}

TEST(sockaddr__unix_path_of_every_length__fits_or_is_refused) {
  char path[200];
  for (size_t len = 0; len < 150; len++) {
    memset(path, 'p', sizeof path);
    path[len] = 0;
    test_note("%zu bytes", len);
    bool ok = tavi__sockaddr_unix(path, &addr);
    CHECK_INT(ok, len > 0 && len < 108);
    if (!ok) continue;
    tavi__sockaddr_text(&addr, &text);
    CHECK(host_is(path));
  }
}

TEST(sockaddr__unnamed_unix_peer__has_empty_text) {
  addr = (struct tavi__sockaddr){.len = sizeof(sa_family_t)};
  addr.u.sa.sa_family = AF_UNIX;
  tavi__sockaddr_text(&addr, &text);
  CHECK(host_is("") && text.is_unix);
}
