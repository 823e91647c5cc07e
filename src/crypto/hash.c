/* SPDX-License-Identifier: MIT
 *
 * Hashes and HMAC, by OpenSSL: see tavi/crypto.h.
 *
 * An OpenSSL that is configured for FIPS has no MD5. The protocols that want one use it as a checksum, which FIPS does
 * not forbid, so it is then taken from a library context of its own that the configuration does not reach. Making one
 * for each call costs a fifth of a millisecond, needs no global state, and hardly ever happens. */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/provider.h>
#include <stdbool.h>

#include "tavi/crypto.h"

/* What the call leaves in OpenSSL's queue of errors is not for whoever uses it next on this thread. */
static bool digest(struct tavi_slice data, const EVP_MD *md, unsigned char *ret_hash) {
  ERR_set_mark();
  bool is_done = md != NULL && EVP_Digest(data.len > 0 ? data.ptr : "", data.len, ret_hash, NULL, md, NULL) == 1;
  ERR_pop_to_mark();
  return is_done;
}

static int digest_apart(struct tavi_slice data, const char *name, unsigned char *ret_hash) {
  int err = TAVI_E_UNSUPPORTED;
  ERR_set_mark();
  OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
  OSSL_PROVIDER *provider = context != NULL ? OSSL_PROVIDER_load(context, "default") : NULL;
  EVP_MD *md = provider != NULL ? EVP_MD_fetch(context, name, NULL) : NULL;
  if (context == NULL) err = TAVI_E_NOMEM;
  else if (digest(data, md, ret_hash)) err = 0;
  EVP_MD_free(md);
  if (provider != NULL) OSSL_PROVIDER_unload(provider);
  OSSL_LIB_CTX_free(context);
  ERR_pop_to_mark();
  return err;
}

int tavi_md5(struct tavi_slice data, unsigned char ret_hash[16]) {
  return digest(data, EVP_md5(), ret_hash) ? 0 : digest_apart(data, "MD5", ret_hash);
}

int tavi_sha1(struct tavi_slice data, unsigned char ret_hash[20]) {
  return digest(data, EVP_sha1(), ret_hash) ? 0 : digest_apart(data, "SHA1", ret_hash);
}

int tavi_sha256(struct tavi_slice data, unsigned char ret_hash[32]) {
  return digest(data, EVP_sha256(), ret_hash) ? 0 : TAVI_E_UNSUPPORTED;
}

/* OpenSSL counts the key in int; by definition (RFC 2104), one longer than a block is replaced by its hash. */
int tavi_hmac_sha256(struct tavi_slice key, struct tavi_slice data, unsigned char ret_mac[32]) {
  unsigned char hash[32];
  if (key.len > 64) {
    int err = tavi_sha256(key, hash);
    if (err < 0) return err;
    key = (struct tavi_slice){(const char *) hash, sizeof(hash)};
  }
  ERR_set_mark();
  bool is_done = HMAC(EVP_sha256(), key.len > 0 ? key.ptr : "", (int) key.len,
                      (const unsigned char *) (data.len > 0 ? data.ptr : ""), data.len, ret_mac, NULL) != NULL;
  ERR_pop_to_mark();
  OPENSSL_cleanse(hash, sizeof(hash));
  return is_done ? 0 : TAVI_E_UNSUPPORTED;
}
