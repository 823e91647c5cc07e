/* SPDX-License-Identifier: MIT
 *
 * Byte ranges (RFC 9110 section 14). */
#ifndef TAVI_WIRE_HTTP_RANGE_H
#define TAVI_WIRE_HTTP_RANGE_H

#include <stdint.h>

#include "tavi/base.h"

struct tavi__range {
  uint64_t first, last; /* bytes, both included */
};

/* The ranges of a Range field for a representation of `size` bytes: those that can be satisfied, cut to its size, in
 * the order in which they were asked for; ones that overlap or touch are joined into the earlier one. So they are
 * disjoint, and together not more than the whole.
 *
 * Returns: their number, 1 or more; 0: the field is to be ignored (malformed, another unit, or more than cap ranges in
 *          it, counted as they are written); -416: it is well-formed and none can be satisfied (any range of an empty
 *          representation, but for a suffix: RFC 9110 14.1.2 calls "-5" of an empty one satisfiable; that is 0).
 * Numbers beyond 2^64-1 are taken for that, and are no errors. ret_ranges: room for cap of them, cap > 0; scratch when
 * none are returned. Work: the length of the field and, at most, cap^2. */
int tavi__http_ranges(struct tavi_slice value, uint64_t size, struct tavi__range *ret_ranges, int cap);

#define TAVI__HTTP_CONTENT_RANGE_BYTES 69 /* the longest, with its NUL */

/* Write the value of Content-Range (RFC 9110 section 14.4): "bytes 0-4/10"; with r NULL the form for 416, which has a
 * '*' in place of the range. out: room for TAVI__HTTP_CONTENT_RANGE_BYTES. Returns the length without the NUL. */
size_t tavi__http_content_range(const struct tavi__range *r, uint64_t size, char *out);

#endif
