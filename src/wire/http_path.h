/* SPDX-License-Identifier: MIT
 *
 * A request's path as the name of a file below a root: decoded once, and judged before anything is opened. */
#ifndef TAVI_WIRE_HTTP_PATH_H
#define TAVI_WIRE_HTTP_PATH_H

#include <stdbool.h>

#include "tavi/base.h"

/* Decode `path` (which begins with '/', not decoded) to out: no '/' in front or at the end, components separated by one
 * '/', "." left out, NUL behind it. The root itself is "".
 *
 * hidden: components that begin with '.' are let through; otherwise they are -404, but for a first component of
 * ".well-known".
 * Returns: the length without the NUL, *ret_is_dir: the path ends in '/' (or "/."); -400: no '/' in front, a bad
 *          escape, a component "..", NUL, '\' (each also when escaped: an escaped '/' is a '/' for this); -404;
 *          -414: longer than cap - 1. Of several the first from the left.
 * out: room for cap > 0 bytes; scratch on failure. Any other byte may be in it, also control characters and what is no
 * UTF-8: encode it before it is sent anywhere. */
int tavi__http_path(struct tavi_slice path, bool hidden, char *out, int cap, bool *ret_is_dir);

#endif
