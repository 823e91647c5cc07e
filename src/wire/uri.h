/* SPDX-License-Identifier: MIT
 *
 * References to URIs, resolved (RFC 3986 section 5): where a redirect goes that says only "../other". */
#ifndef TAVI_WIRE_URI_H
#define TAVI_WIRE_URI_H

#include "tavi/base.h"

/* Bytes that are enough for the result. */
#define TAVI__URI_RESOLVED_MAX(base_len, reference_len) ((base_len) + (reference_len) + 2)

/* Write to out, of TAVI__URI_RESOLVED_MAX(base.len, reference.len) bytes, what the reference means when it stands in
 * the document at base, which is absolute; without a fragment unless the reference has one. Any bytes will do: what is
 * no URI is for the caller to find out. Returns the length of the result.
 * Spec: RFC 3986 section 5.2, strict. */
size_t tavi__uri_resolve(struct tavi_slice base, struct tavi_slice reference, char *out);

#endif
