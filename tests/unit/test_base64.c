/* SPDX-License-Identifier: MIT
 *
 * Base64: the vectors of RFC 4648, every length, in place both ways, and every single wrong character. */
#include "base/base64.h"

#include "guard.h"
#include "random.h"
#include "test.h"

enum { BYTES_MAX = 200, TEXT_MAX = (BYTES_MAX + 2) / 3 * 4 };

static struct tavi_slice slice(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

TEST(base64__vectors_of_rfc_4648_section_10) {
  static const char *const pairs[][2] = {{"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
                                         {"\xfb\xef\xbe\xff", "++++/w=="}, {"Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}};
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    char out[64];
    test_note("%s", pairs[i][1]);
    CHECK_BYTES(out, tavi__base64_encode(slice(pairs[i][0]), out), pairs[i][1], strlen(pairs[i][1]));
    const int64_t len = tavi__base64_decode(slice(pairs[i][1]), out);
    CHECK_INT(len, strlen(pairs[i][0]));
    CHECK_BYTES(out, (size_t)len, pairs[i][0], strlen(pairs[i][0]));
  }
}

TEST(base64__every_length__comes_back_also_in_place) {
  random_seed(1);
  for (size_t len = 0; len <= BYTES_MAX; len++) {
    char bytes[BYTES_MAX], text[TEXT_MAX + 1];
    test_note("%zu bytes", len);
    for (size_t i = 0; i < len; i++) bytes[i] = (char)random_next();

    const size_t text_len = (len + 2) / 3 * 4;
    char *room = guard_at_end(text, text_len); /* not a byte more than promised */
    memcpy(room + text_len - len, bytes, len);
    CHECK_INT(tavi__base64_encode((struct tavi_slice){room + text_len - len, len}, room), text_len);
    memcpy(text, room, text_len);

    room = guard_at_end(text, len); /* room for the bytes alone */
    CHECK_INT(tavi__base64_decode((struct tavi_slice){text, text_len}, room), len);
    CHECK_BYTES(room, len, bytes, len);
    CHECK_INT(tavi__base64_decode((struct tavi_slice){text, text_len}, text), len);
    CHECK_BYTES(text, len, bytes, len);
  }
}

TEST(base64__anything_else__is_refused) {
  static const char *const bad[] = {
      "Z", "Zg", "Zg=", "Zm9", "Zg===", "Z===", "====", "=", "==", "Zm9v=", "Zm9vZg=", "Zh==", "Zm9=", "Zg==Zg==",
      "Zm8=Zm8=", "Z=g=", "Zm 9v", " Zm9", "Zm9v\n\n\n\n", "Zm-_", "=Zm9", "Zg=a",
  };
  char out[64];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    test_note("%s", bad[i]);
    CHECK_INT(tavi__base64_decode(slice(bad[i]), out), TAVI_E_PROTOCOL);
  }
  for (int c = 0; c < 256; c++) {
    for (size_t at = 0; at < 4; at++) {
      char text[] = "AAAA";
      text[at] = (char)c;
      const bool is_good = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c) != NULL;
      test_note("byte %d at %zu", c, at);
      const int wanted = is_good ? 3 : c == '=' && at == 3 ? 2 : TAVI_E_PROTOCOL;
      CHECK_INT(tavi__base64_decode((struct tavi_slice){text, 4}, out), wanted);
    }
  }
}
