/* SPDX-License-Identifier: MIT
 *
 * Base64 with the standard alphabet and padding (RFC 4648 section 4). */
#ifndef TAVI_BASE_BASE64_H
#define TAVI_BASE_BASE64_H

#include "tavi/base.h"

/* Write the Base64 form of in to out: exactly (in.len + 2) / 3 * 4 bytes, no NUL. Returns their number.
 * `in` may be the last in.len bytes of that room. */
size_t tavi__base64_encode(struct tavi_slice in, char *out);

/* Decode to out, which may be in.ptr itself. Strict: padding where it belongs, no other characters, no bits left over.
 * Writes no byte that it does not return, so room for in.len / 4 * 3 bytes, less one for each '=' at the end, will do.
 * Returns: the number of bytes, or TAVI_E_PROTOCOL. */
int64_t tavi__base64_decode(struct tavi_slice in, char *out);

#endif
