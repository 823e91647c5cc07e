/* SPDX-License-Identifier: MIT
 *
 * Hashes, HMAC, CRC-32 and random bytes. To compare secrets: tavi_secret_equal() in tavi/http_auth.h.
 *
 * Hashes return 0, TAVI_E_NOMEM, or TAVI_E_UNSUPPORTED: this system's OpenSSL has no such hash. MD5 and SHA-1 are for
 * protocols and checksums that demand them: neither protects against anybody. They work also where OpenSSL is
 * configured for FIPS, as long as its default provider can be loaded.
 */
#ifndef TAVI_CRYPTO_H
#define TAVI_CRYPTO_H

#include "tavi/base.h"

TAVI_BEGIN_DECLS

TAVI_API int tavi_md5(struct tavi_slice data, unsigned char ret_hash[16]);
TAVI_API int tavi_sha1(struct tavi_slice data, unsigned char ret_hash[20]);
TAVI_API int tavi_sha256(struct tavi_slice data, unsigned char ret_hash[32]);
TAVI_API int tavi_hmac_sha256(struct tavi_slice key, struct tavi_slice data, unsigned char ret_mac[32]);

/* The CRC-32 of gzip and PNG. crc: 0, or that of the bytes before these. */
TAVI_API uint32_t tavi_crc32(uint32_t crc, struct tavi_slice data);

/* Fill with bytes of the system that nobody can guess. Returns 0 or TAVI_E_SYSTEM. */
TAVI_API int tavi_random_bytes(void *to, size_t len);

/* The same with letters and digits, each of the 62 as likely, without a NUL: 22 of them are as good as 128 bits. */
TAVI_API int tavi_random_text(char *to, size_t len);

TAVI_END_DECLS

#endif
