/* SPDX-License-Identifier: MIT
 *
 * Patterns with wildcards, and Base64. Pure functions. */
#ifndef TAVI_TEXT_H
#define TAVI_TEXT_H

#include "tavi/base.h"

TAVI_BEGIN_DECLS

/* Does the whole text match the pattern?
 *
 *   ?  one character, a '/' too      *  any run without a '/'      #  any run
 *
 * All others stand for themselves; there is no escape. A character is one of UTF-8; a byte that belongs to none counts
 * as one of its own. Of several ways to match, each wildcard from the left takes the shortest run that it can.
 *
 * captures: what each wildcard stands for, in the order of the pattern, borrowed from text: room for `cap`. It is also
 *           the memory that the search works with, and scratch when there is no match. NULL (cap 0): not wanted, for
 *           patterns with up to 32 wildcards.
 * Returns:  the number of wildcards; TAVI_E_NOT_FOUND: no match; TAVI_E_LIMIT: more wildcards than cap.
 * Time:     at most text.len * pattern.len, whatever they are. */
TAVI_API int64_t tavi_match(struct tavi_slice text, struct tavi_slice pattern, struct tavi_slice *captures, size_t cap);

/* Base64 with the standard alphabet and padding (RFC 4648 section 4). Returns the number of characters written to out,
 * (in.len + 2) / 3 * 4; TAVI_E_LIMIT (cap). */
TAVI_API int64_t tavi_base64_encode(struct tavi_slice in, char *out, size_t cap);

/* The opposite. out may be in.ptr itself. Returns the number of bytes; TAVI_E_PROTOCOL: characters of no or of another
 * alphabet, padding that is missing or misplaced, bits left over; TAVI_E_LIMIT (cap). */
TAVI_API int64_t tavi_base64_decode(struct tavi_slice in, char *out, size_t cap);

TAVI_END_DECLS

#endif
