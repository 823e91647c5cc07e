/* SPDX-License-Identifier: MIT
 *
 * What jsonrpc.c needs of JSON besides tavi/json.h: whole texts, and writing. */
#ifndef TAVI_WIRE_JSON_H
#define TAVI_WIRE_JSON_H

#include "tavi/json.h"

/* Is this one value, with nothing but white space around it? Returns 0, TAVI_E_PROTOCOL or TAVI_E_LIMIT. */
int tavi__json_check(struct tavi_slice json);

/* What fits is written, all is counted. */
struct tavi__json_out {
  char *to;
  size_t cap, len;
};

void tavi__json_put(struct tavi__json_out *out, struct tavi_slice text);

/* The same as the inside of a JSON string. */
void tavi__json_put_escaped(struct tavi__json_out *out, struct tavi_slice text);

#endif
