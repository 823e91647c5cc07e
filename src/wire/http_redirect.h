/* SPDX-License-Identifier: MIT
 *
 * What a client makes of a redirection (RFC 9110 section 15.4). */
#ifndef TAVI_WIRE_HTTP_REDIRECT_H
#define TAVI_WIRE_HTTP_REDIRECT_H

#include <stdbool.h>

#include "tavi/url.h"

/* Does a response with this status and a Location ask for another request? (300 leaves a choice to the user, 304 is
 * none, 305 and 306 are history.) */
bool tavi__http_is_redirect(int status);

/* Does the next request become a GET without a body? After 303 all but HEAD do; after 301 and 302 POST does, as
 * browsers have it since ever; after 307 and 308 none. */
bool tavi__http_redirect_to_get(int status, struct tavi_slice method);

/* The same scheme, host and port: credentials may go there, too. Both were judged to be http or https URLs. */
bool tavi__http_same_origin(const struct tavi_url *a, const struct tavi_url *b);

/* From a protected place to an open one: not without asking the user. */
bool tavi__http_is_downgrade(const struct tavi_url *from, const struct tavi_url *to);

#endif
