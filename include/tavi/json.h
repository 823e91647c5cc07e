/* SPDX-License-Identifier: MIT
 *
 * Values out of JSON text (RFC 8259) by their path, without building anything. Pure functions.
 *
 *   $            the whole value         $.name[2].x   steps can be combined
 *   .name        a member: up to the next '.' or '['. Compared with the name as it is written and as it decodes;
 *                of members with the same name the first counts
 *   [2]          an element, counted from 0
 *
 * The text is read up to the value that is asked for, and no further: what follows may be missing or no JSON. What was
 * read until then is JSON to the letter (no comments, no commas too many, no control characters in strings; only that
 * strings are UTF-8 is not checked).
 *
 * Returns of all: 0 or more; TAVI_E_NOT_FOUND: there is no such value, or not of the kind that was asked for;
 * TAVI_E_PROTOCOL: the text is no JSON on the way there; TAVI_E_ARG: the path is none; TAVI_E_LIMIT: cap, a number
 * beyond its type, or more than 512 arrays and objects in each other.
 */
#ifndef TAVI_JSON_H
#define TAVI_JSON_H

#include <stdbool.h>

#include "tavi/base.h"

TAVI_BEGIN_DECLS

/* The value as it is written: "\"text\"", "-1.50", "[1, 2]". Borrowed from json. */
TAVI_API int tavi_json_get(struct tavi_slice json, const char *path, struct tavi_slice *ret_value);

/* A string, decoded to UTF-8, which is never longer than it is written (tavi_json_get() tells); out may lie where it is
 * written. A surrogate pair becomes one character; half of one, which UTF-8 cannot have, U+FFFD. Returns the number of
 * bytes. */
TAVI_API int64_t tavi_json_get_str(struct tavi_slice json, const char *path, char *out, size_t cap);

/* A number as the nearest double; beyond their range an infinity. Independent of the locale. */
TAVI_API int tavi_json_get_num(struct tavi_slice json, const char *path, double *ret_number);

/* A number cut to an integer, exactly: -3.99 is -3, 1.5e3 is 1500. */
TAVI_API int tavi_json_get_int(struct tavi_slice json, const char *path, int64_t *ret_number);

/* The same as decimal digits with '-' before them if it is negative, for integers of any size. Returns their number. */
TAVI_API int64_t tavi_json_get_digits(struct tavi_slice json, const char *path, char *out, size_t cap);

/* true or false. */
TAVI_API int tavi_json_get_bool(struct tavi_slice json, const char *path, bool *ret_is_true);

/* Write text as a JSON string, with its quotes: at most 2 + 6 * text.len bytes. Bytes that are no UTF-8 become U+FFFD.
 * Returns the number of bytes; TAVI_E_LIMIT (cap). */
TAVI_API int64_t tavi_json_quote(struct tavi_slice text, char *out, size_t cap);

TAVI_END_DECLS

#endif
