/* SPDX-License-Identifier: MIT
 *
 * The PROXY protocol: good headers with bytes behind them and at every length of a part, bad ones at the byte that cannot
 * be right, always from memory with nothing behind it; and the address literals below. */
#include "wire/proxy.h"

#include "guard.h"
#include "test.h"
#include "wire/ip.h"

#define SIZED(literal) literal, sizeof(literal) - 1
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

enum { HEADER_MAX = 16 + 65535 };

static struct tavi__proxy_client client;
static size_t consumed;

static int read_it(const char *bytes, size_t len) {
  consumed = 9999999;
  memset(&client, 0xa5, sizeof client);
  return tavi__proxy_read(guard_at_end(bytes, len), len, &consumed, &client);
}

/* Every part of a header wants more, and leaves the results alone. */
static void check_parts(const char *bytes, size_t len) {
  for (size_t part = 0; part < len; part++) {
    CHECK_INT(read_it(bytes, part), TAVI_WIRE_MORE);
    CHECK(consumed == 9999999 && client.family == 0xa5);
  }
}

/* ==== version 1 ==== */

TEST(proxy__version_1__tells_the_client) {
  static const struct {
    const char *line;
    int family;
    const char *ip;
    unsigned port;
  } good[] = {
      {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", 4, "\xc0\xa8\x00\x01", 56324},
      {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 4, "\xff\xff\xff\xff", 65535},
      {"PROXY TCP4 0.0.0.0 1.2.3.4 0 0\r\n", 4, "\0\0\0\0", 0},
      {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", 6, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 1},
      {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", 6,
       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 65535},
      {"PROXY TCP6 :: ::FFFF:10.0.0.1 80 81\r\n", 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 80},
      {"PROXY UNKNOWN\r\n", 0, "", 0},
      {"PROXY UNKNOWN whatever this is\r\n", 0, "", 0},
      {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", 0, "", 0},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    const size_t len = strlen(good[i].line);
    char with_more[200];
    test_note("%s", good[i].line);
    memcpy(with_more, good[i].line, len);
    memcpy(with_more + len, "GET / HTTP/1.1\r\n", 16);
    for (size_t behind = 0; behind <= 16; behind += 8) {
      CHECK_INT(read_it(with_more, len + behind), TAVI_WIRE_EVENT);
      CHECK_INT(consumed, len);
      CHECK_INT(client.family, good[i].family);
      CHECK_INT(client.port, good[i].port);
      CHECK(memcmp(client.ip, good[i].ip, good[i].family == 6 ? 16 : (size_t)good[i].family) == 0);
    }
    check_parts(good[i].line, len);
  }
}

/* Up to the last byte each is a good beginning, with it it is not. */
TEST(proxy__version_1__is_refused_at_the_first_wrong_byte) {
  static const char *const bad[] = {
      "G",
      "PROXX",
      "PROXY  ",
      "p",
      "PROXY T4",
      "PROXY TCP5",
      "PROXY TCP4  ",
      "PROXY TCP4 256",
      "PROXY TCP4 01",
      "PROXY TCP4 1.2.3.4.",
      "PROXY TCP4 1.2.3 ",
      "PROXY TCP4 1..",
      "PROXY TCP4 -",
      "PROXY TCP4 1.2.3.4 1.2.3.4 65536",
      "PROXY TCP4 1.2.3.4 1.2.3.4 00",
      "PROXY TCP4 1.2.3.4 1.2.3.4 +",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1\r",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r",
      "PROXY TCP4 :",
      "PROXY TCP6 1.",
      "PROXY TCP6 : ",
      "PROXY TCP6 :::",
      "PROXY TCP6 12345",
      "PROXY TCP6 1:2:3:4:5:6:7 ",
      "PROXY TCP6 1:2:3:4:5:6:7:8:",
      "PROXY TCP6 1::2::",
      "PROXY TCP6 1: ",
      "PROXY TCP6 ::1:2:3:4:5:6:7:",
      "PROXY TCP6 fe80::1%",
      "PROXY TCP6 [",
      "PROXY TCP6 1:2:3:4:5:6:7:1.",
      "PROXY TCP6 1:2:3:4:5:1.",
      "PROXY TCP6 ::1:2:3:4:5:6:1.",
      "PROXY TCP6 ::a.",
      "PROXY UNKNOWNX",
      "PROXY UNKNOWN\n",
      "PROXY UNKNOWN a\rb",
      "PROXY UNKNOWN \x7f",
      "PROXY UDP",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    const size_t len = strlen(bad[i]);
    test_note("%s", bad[i]);
    check_parts(bad[i], len - 1);
    CHECK_INT(read_it(bad[i], len), TAVI_E_PROTOCOL);
    CHECK(consumed == 9999999 && client.family == 0xa5);
  }
}

TEST(proxy__version_1__has_107_bytes_at_most) {
  char line[200] = "PROXY UNKNOWN ";
  memset(line + 14, 'x', sizeof line - 14);
  memcpy(line + 105, "\r\n", 2);
  CHECK_INT(read_it(line, sizeof line), TAVI_WIRE_EVENT);
  CHECK_INT(consumed, 107);
  memcpy(line + 105, "x\r\n", 3);
  CHECK_INT(read_it(line, 106), TAVI_WIRE_MORE);
  CHECK_INT(read_it(line, 107), TAVI_E_PROTOCOL);
  CHECK_INT(read_it(line, sizeof line), TAVI_E_PROTOCOL);
}

/* ==== version 2 ==== */

static char header[HEADER_MAX + 16];

/* A header with this rest. Returns its length. */
static size_t make(unsigned command, unsigned family, const char *rest, size_t len) {
  memcpy(header, SIGNATURE, 12);
  header[12] = (char)command;
  header[13] = (char)family;
  header[14] = (char)(len >> 8);
  header[15] = (char)len;
  if (len > 0) memcpy(header + 16, rest, len);
  return 16 + len;
}

#define V4 "\x0a\x00\x00\x01\xc0\x00\x02\x07\xdc\x04\x01\xbb"
#define V6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\2\x00\x50\x1f\x90"

static void check_read(size_t len, int family, const char *ip, unsigned port) {
  CHECK_INT(read_it(header, len), TAVI_WIRE_EVENT);
  CHECK_INT(consumed, len);
  CHECK_INT(client.family, family);
  CHECK_INT(client.port, port);
  CHECK(memcmp(client.ip, ip, family == 6 ? 16 : (size_t)family) == 0);
  check_parts(header, len);
  memcpy(header + len, "more", 4);
  CHECK_INT(read_it(header, len + 4), TAVI_WIRE_EVENT);
  CHECK_INT(consumed, len);
}

TEST(proxy__version_2__tells_the_client) {
  for (unsigned transport = 0; transport <= 2; transport++) {
    test_note("transport %u", transport);
    check_read(make(0x21, 0x10 | transport, SIZED(V4)), 4, "\x0a\x00\x00\x01", 0xdc04);
    check_read(make(0x21, 0x20 | transport, SIZED(V6)), 6, V6, 80);
  }
  test_note("extensions");
  check_read(make(0x21, 0x11, SIZED(V4 "\x04\0\0" "\x02\0\3abc" "\xea\0\1\0")), 4, "\x0a\x00\x00\x01", 0xdc04);
}

TEST(proxy__version_2__may_have_no_address) {
  char names[216] = "/client.sock";
  char junk[300];
  memset(junk, 0xff, sizeof junk);
  check_read(make(0x21, 0x31, names, sizeof names), 0, "", 0);
  check_read(make(0x21, 0x00, NULL, 0), 0, "", 0);
  check_read(make(0x21, 0x00, junk, sizeof junk), 0, "", 0);
  check_read(make(0x20, 0x00, NULL, 0), 0, "", 0);
  check_read(make(0x20, 0x11, SIZED(V4)), 0, "", 0); /* LOCAL: not to be used */
  check_read(make(0x20, 0xff, junk, sizeof junk), 0, "", 0);
}

TEST(proxy__version_2__bad_ones_are_refused_as_soon_as_they_are) {
  static const struct {
    unsigned command, family;
    const char *rest;
    size_t len, seen; /* bytes after which it must be known */
  } bad[] = {
      {0x11, 0x11, SIZED(V4), 13},
      {0x31, 0x11, SIZED(V4), 13},
      {0x22, 0x11, SIZED(V4), 13},
      {0x21, 0x41, SIZED(V4), 14},
      {0x21, 0x13, SIZED(V4), 14},
      {0x21, 0xf0, SIZED(V4), 14},
      {0x21, 0x11, SIZED(V4) - 1, 16},
      {0x21, 0x21, SIZED(V4), 16},
      {0x21, 0x31, SIZED(V6), 16},
      {0x21, 0x11, SIZED(V4 "\x02"), 16 + 13},
      {0x21, 0x11, SIZED(V4 "\x02\0\1"), 16 + 15},
      {0x21, 0x11, SIZED(V4 "\x02\0\1ab"), 16 + 17},
      {0x21, 0x11, SIZED(V4 "\x03\0\3abc"), 16 + 18},
      {0x21, 0x11, SIZED(V4 "\x03\0\4abcd"), 16 + 19},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    make(bad[i].command, bad[i].family, bad[i].rest, bad[i].len);
    test_note("case %zu", i);
    check_parts(header, bad[i].seen - 1);
    for (size_t len = bad[i].seen; len <= 16 + bad[i].len; len++) CHECK_INT(read_it(header, len), TAVI_E_PROTOCOL);
  }
  make(0x21, 0x11, SIZED(V4));
  for (size_t at = 0; at < 12; at++) {
    header[at] ^= 1;
    test_note("signature, byte %zu", at);
    for (size_t len = at + 1; len < 28; len++) CHECK_INT(read_it(header, len), TAVI_E_PROTOCOL);
    header[at] ^= 1;
  }
}

/* Bit by bit, as RFC 3720 has it: independent of how the code goes about it. */
static uint32_t plain_crc32c(const char *p, size_t len) {
  uint32_t crc = UINT32_MAX;
  for (size_t bit = 0; bit < len * 8; bit++) {
    const unsigned in = (unsigned char)p[bit / 8] >> bit % 8 & 1;
    crc = (crc & 1) != in ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
  }
  return ~crc;
}

static void put_sum(size_t at, size_t len) {
  memset(header + at, 0, 4);
  const uint32_t crc = plain_crc32c(header, len);
  for (int i = 0; i < 4; i++) header[at + (size_t)i] = (char)(crc >> (24 - 8 * i));
}

TEST(proxy__crc32c__must_be_right) {
  CHECK_INT(plain_crc32c("123456789", 9), 0xe3069283); /* the check value of CRC-32C */
  size_t len = make(0x21, 0x11, SIZED(V4 "\x02\0\2ab\x03\0\4....\x04\0\3xyz"));
  put_sum(16 + 12 + 5 + 3, len);
  check_read(len, 4, "\x0a\x00\x00\x01", 0xdc04);
  for (size_t bit = 16 * 8; bit < (16 + 12) * 8; bit++) { /* one bit of the addresses, or of the sum */
    header[bit / 8] ^= (char)(1 << bit % 8);
    CHECK_INT(read_it(header, len), TAVI_E_PROTOCOL);
    header[bit / 8] ^= (char)(1 << bit % 8);
  }
  header[16 + 12 + 5 + 3 + 3] ^= 1;
  CHECK_INT(read_it(header, len), TAVI_E_PROTOCOL);

  len = make(0x21, 0x11, SIZED(V4 "\x03\0\4....\x03\0\4....")); /* two: each would have to leave out the other */
  put_sum(16 + 12 + 7 + 3, len);
  CHECK_INT(read_it(header, len), TAVI_E_PROTOCOL);
}

TEST(proxy__version_2__longest) {
  static char rest[65535] = V4;
  size_t left = sizeof rest - 12 - 3;
  rest[12] = 4;
  rest[13] = (char)(left >> 8);
  rest[14] = (char)left;
  const size_t len = make(0x21, 0x11, rest, sizeof rest);
  consumed = 0;
  CHECK_INT(tavi__proxy_read(header, len, &consumed, &client), TAVI_WIRE_EVENT);
  CHECK_INT(consumed, HEADER_MAX);
  CHECK_INT(tavi__proxy_read(header, len - 1, &consumed, &client), TAVI_WIRE_MORE);
}

/* ==== literals ==== */

TEST(ip__literals) {
  static const struct {
    const char *text;
    int family;
    const char *ip;
  } all[] = {
      {"0.0.0.0", 4, "\0\0\0\0"},
      {"1.20.255.0", 4, "\1\x14\xff\0"},
      {"::", 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
      {"::1", 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"},
      {"1::", 6, "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
      {"1:2:3:4:5:6:7::", 6, "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\0"},
      {"::2:3:4:5:6:7:8", 6, "\0\0\0\2\0\3\0\4\0\5\0\6\0\7\0\x08"},
      {"1:2:3:4:5:6:7:8", 6, "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\x08"},
      {"ABCD:ef01::2345:6789", 6, "\xab\xcd\xef\x01\0\0\0\0\0\0\0\0\x23\x45\x67\x89"},
      {"::ffff:1.2.3.4", 6, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4"},
      {"1:2:3:4:5:6:1.2.3.4", 6, "\0\1\0\2\0\3\0\4\0\5\0\6\1\2\3\4"},
      {"::2:3:4:5:6:1.2.3.4", 6, "\0\0\0\2\0\3\0\4\0\5\0\6\1\2\3\4"},
      {"::1.2.3.4", 6, "\0\0\0\0\0\0\0\0\0\0\0\0\1\2\3\4"},
      {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 6, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"},
      {"", 0, ""}, {"1", 0, ""}, {"1.2.3", 0, ""}, {"1.2.3.4.", 0, ""}, {"1.2.3.4 ", 0, ""}, {"1.2.3.256", 0, ""},
      {"01.2.3.4", 0, ""}, {"1.2.3.04", 0, ""}, {"0x1.2.3.4", 0, ""}, {":", 0, ""}, {":::", 0, ""}, {"1:", 0, ""}, {":1", 0, ""},
      {"1:2:3:4:5:6:7", 0, ""}, {"1:2:3:4:5:6:7:8:9", 0, ""}, {"1:2:3:4:5:6:7:8::", 0, ""}, {"::1:2:3:4:5:6:7:8", 0, ""},
      {"1::2::3", 0, ""}, {"12345::", 0, ""}, {"::1.2.3", 0, ""}, {"1:2:3:4:5:6:7:1.2.3.4", 0, ""}, {"1:2:3:4:5:1.2.3.4", 0, ""},
      {"::1:2:3:4:5:6:1.2.3.4", 0, ""}, {"1::2:3:4:5:6:1.2.3.4", 0, ""}, {"::1.2.3.4:5", 0, ""}, {"fe80::1%lo", 0, ""},
      {"[::1]", 0, ""}, {"::g", 0, ""}, {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", 0, ""}, {"localhost", 0, ""},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    const size_t len = strlen(all[i].text);
    uint8_t ip[16];
    test_note("%s", all[i].text);
    const int family = tavi__ip_parse((struct tavi_slice){guard_at_end(all[i].text, len), len}, ip);
    if (CHECK_INT(family, all[i].family) && family != 0) CHECK(memcmp(ip, all[i].ip, family == 4 ? 4 : 16) == 0);
  }
  test_note("NUL");
  uint8_t ip[16];
  CHECK_INT(tavi__ip_parse((struct tavi_slice){"1.2.3.4\0", 8}, ip), 0);
}
