/* SPDX-License-Identifier: MIT
 *
 * Hashes, HMAC, CRC-32 and random bytes: the vectors of their standards, and that OpenSSL is left as it was. */
#include "tavi/crypto.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "guard.h"
#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tavi_slice slice(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

static void check_hex(const unsigned char *got, size_t len, const char *wanted) {
  char text[65];
  for (size_t i = 0; i < len; i++) snprintf(text + 2 * i, 3, "%02x", got[i]);
  CHECK_BYTES(text, 2 * len, wanted, strlen(wanted));
}

/* RFC 1321 appendix A.5; FIPS 180-4 */
static const struct {
  const char *text, *md5, *sha1, *sha256;
} hashes[] = {
    {"", "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "900150983cd24fb0d6963f7d28e17f72", "a9993e364706816aba3e25717850c26c9cd0d89d",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "8215ef0796a20bcaaae116d3876c664a",
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void check_hashes(void) {
  for (size_t i = 0; i < COUNT(hashes); i++) {
    unsigned char *out = (unsigned char *)guard_at_end(hashes[i].sha256, 32); /* not a byte more than promised */
    test_note("%s", hashes[i].text);
    CHECK_INT(tavi_md5(slice(hashes[i].text), out + 16), 0);
    check_hex(out + 16, 16, hashes[i].md5);
    CHECK_INT(tavi_sha1(slice(hashes[i].text), out + 12), 0);
    check_hex(out + 12, 20, hashes[i].sha1);
    CHECK_INT(tavi_sha256(slice(hashes[i].text), out), 0);
    check_hex(out, 32, hashes[i].sha256);
  }
}

TEST(hashes__vectors) {
  unsigned char out[32];
  check_hashes();
  CHECK_INT(tavi_sha256((struct tavi_slice){NULL, 0}, out), 0);
  check_hex(out, 32, hashes[0].sha256);
}

/* RFC 4231 section 4 */
TEST(hmac_sha256__vectors) {
  unsigned char out[32];
  char key[131], data[50];
  memset(key, 0x0b, 20);
  CHECK_INT(tavi_hmac_sha256((struct tavi_slice){key, 20}, slice("Hi There"), out), 0);
  check_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK_INT(tavi_hmac_sha256(slice("Jefe"), slice("what do ya want for nothing?"), out), 0);
  check_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  memset(key, 0xaa, sizeof key);
  memset(data, 0xdd, sizeof data);
  CHECK_INT(tavi_hmac_sha256((struct tavi_slice){key, 20}, (struct tavi_slice){data, 50}, out), 0);
  check_hex(out, 32, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  CHECK_INT(tavi_hmac_sha256((struct tavi_slice){key, 131}, slice("Test Using Larger Than Block-Size Key - Hash Key First"), out), 0);
  check_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  CHECK_INT(tavi_hmac_sha256((struct tavi_slice){NULL, 0}, (struct tavi_slice){NULL, 0}, out), 0);
  check_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* An OpenSSL that wants FIPS finds no MD5 in its default context; errors of others stay in its queue. */
TEST(hashes__openssl_that_wants_fips__has_md5_all_the_same) {
  unsigned char out[32];
  CHECK_INT(EVP_default_properties_enable_fips(NULL, 1), 1);
  ERR_raise(ERR_LIB_USER, 42);
  CHECK_INT(EVP_Digest("", 0, out, NULL, EVP_md5(), NULL), 0); /* so it is really off */
  ERR_clear_error();
  ERR_raise(ERR_LIB_USER, 42);
  CHECK_INT(tavi_md5(slice("abc"), out), 0);
  check_hex(out, 16, hashes[1].md5);
  CHECK_INT(tavi_sha1(slice("abc"), out), 0);
  check_hex(out, 20, hashes[1].sha1);
  const int err = tavi_sha256(slice("abc"), out); /* there, if a FIPS provider is */
  CHECK(err == 0 || err == TAVI_E_UNSUPPORTED);
  CHECK_INT(tavi_hmac_sha256(slice("k"), slice("abc"), out), err);
  CHECK_INT(ERR_GET_REASON(ERR_get_error()), 42);
  CHECK_INT(ERR_get_error(), 0);
  CHECK_INT(EVP_default_properties_enable_fips(NULL, 0), 1);
  check_hashes();
}

TEST(crc32__check_value_and_chain) {
  CHECK_INT(tavi_crc32(0, slice("123456789")), 0xcbf43926u); /* the check value of this CRC in every catalogue */
  CHECK_INT(tavi_crc32(tavi_crc32(0, slice("1234")), slice("56789")), 0xcbf43926u);
  CHECK_INT(tavi_crc32(0, (struct tavi_slice){NULL, 0}), 0);
  CHECK_INT(tavi_crc32(0xffffffffu, (struct tavi_slice){NULL, 0}), 0xffffffffu);
}

TEST(random__every_byte_and_letter_comes_about_as_often) {
  enum { BYTES = 62 * 4096 };
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  unsigned count[256] = {0};
  char *p = malloc(BYTES);
  if (p == NULL) abort();
  CHECK_INT(tavi_random_bytes(p, BYTES), 0);
  for (size_t i = 0; i < BYTES; i++) count[(unsigned char)p[i]]++;
  for (int c = 0; c < 256; c++) CHECK(count[c] > 700 && count[c] < 1300); /* 992 and 31 is one standard deviation */

  memset(count, 0, sizeof count);
  CHECK_INT(tavi_random_text(p, BYTES), 0);
  for (size_t i = 0; i < BYTES; i++) count[(unsigned char)p[i]]++;
  for (int c = 0; c < 256; c++) {
    if (c != 0 && strchr(letters, c) != NULL) CHECK(count[c] > 3600 && count[c] < 4600); /* 4096, 64 */
    else CHECK_INT(count[c], 0);
  }
  free(p);
  CHECK_INT(tavi_random_text(guard_at_end("x", 1), 1), 0);
  CHECK_INT(tavi_random_text(NULL, 0), 0);
  CHECK_INT(tavi_random_bytes(NULL, 0), 0);
}
