/* SPDX-License-Identifier: MIT
 *
 * Cookies as header values (RFC 6265bis): found in Cookie, written for Set-Cookie. */
#ifndef TAVI_WIRE_COOKIE_H
#define TAVI_WIRE_COOKIE_H

#include "tavi/http_auth.h"

/* The value of the first cookie of that name in the value of a Cookie header, without the quotes around it. Parts
 * without a '=' or a name are passed over. False: there is none. Owns: borrowed. */
bool tavi__cookie_find(struct tavi_slice header_value, struct tavi_slice name, struct tavi_slice *ret_value);

/* As tavi_cookie_format(). */
int64_t tavi__cookie_format(const struct tavi_cookie *cookie, char *out, size_t cap);

#endif
