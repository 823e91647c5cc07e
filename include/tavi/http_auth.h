/* SPDX-License-Identifier: MIT
 *
 * Who asks: Basic (RFC 7617) and Bearer (RFC 6750) credentials, cookies (RFC 6265bis), and, behind proxies that are
 * trusted, the client's own address.
 *
 * Secrets are compared in a time that depends on the length of what was sent alone.
 */
#ifndef TAVI_HTTP_AUTH_H
#define TAVI_HTTP_AUTH_H

#include "tavi/http.h"

TAVI_BEGIN_DECLS

/* ==== credentials ==== */

/* Are both the same? The time depends on b's length alone: let b be what the peer has sent. */
TAVI_API bool tavi_secret_equal(struct tavi_slice a, struct tavi_slice b);

/* User and password of a request with "Authorization: Basic ...".
 *
 * buf, cap: where they are decoded to; the slices point into it. 1024 bytes are enough for what browsers send.
 * Returns:  0; TAVI_E_NOT_FOUND (no such header, or another scheme); TAVI_E_PROTOCOL (not Base64, no ':', a control
 *           character, or several Authorization headers); TAVI_E_LIMIT (cap). */
TAVI_API int tavi_http_basic_auth(const struct tavi_http_msg *msg, char *buf, size_t cap, struct tavi_slice *ret_user,
                                  struct tavi_slice *ret_password);

/* The token of "Authorization: Bearer ...", borrowed from msg. Returns as above. */
TAVI_API int tavi_http_bearer_token(const struct tavi_http_msg *msg, struct tavi_slice *ret_token);

/* Does the request carry exactly these? Both are always compared, in constant time. More than 4096 bytes of user and
 * password, with the ':' between, are nobody's. */
TAVI_API bool tavi_http_is_user(const struct tavi_http_msg *msg, struct tavi_slice user, struct tavi_slice password);
TAVI_API bool tavi_http_is_bearer(const struct tavi_http_msg *msg, struct tavi_slice token);

/* Answer 401: `scheme` ("Basic" or "Bearer") with this realm in WWW-Authenticate (its quotes and backslashes are
 * escaped), for Basic with charset="UTF-8" behind it, and a short text. Returns as tavi_http_reply(); TAVI_E_ARG for
 * another scheme, and for a realm with a control character or of more than 256 bytes. */
TAVI_API int tavi_http_challenge(struct tavi_conn *c, const char *scheme, const char *realm);

/* Write "Basic <base64 of user:password>", the value of an Authorization header, to out: at most cap bytes, without a
 * NUL. Returns its length; TAVI_E_ARG (a ':' in the user, a control character), TAVI_E_LIMIT (cap). */
TAVI_API int64_t tavi_http_basic_value(struct tavi_slice user, struct tavi_slice password, char *out, size_t cap);

/* ==== cookies ==== */

/* The value of the first cookie of that name (case-sensitive) in the request's Cookie headers; without the quotes that
 * may stand around it, not decoded otherwise; borrowed from msg. Returns 0 or TAVI_E_NOT_FOUND. */
TAVI_API int tavi_http_cookie(const struct tavi_http_msg *msg, struct tavi_slice name, struct tavi_slice *ret_value);

enum tavi_same_site {
  TAVI_SAME_SITE_LAX = 0, /* what tavi_cookie_init() sets */
  TAVI_SAME_SITE_STRICT = 1,
  TAVI_SAME_SITE_NONE = 2 /* needs is_secure */
};

/* Fill with tavi_cookie_init(). */
struct tavi_cookie {
  struct tavi_slice name;   /* a token */
  struct tavi_slice value;  /* ASCII, no controls, spaces, '"', ',', ';' or '\\': encode what may have them */
  struct tavi_slice path;   /* begins with '/'; default "/"; empty: the browser's choice */
  struct tavi_slice domain; /* a name without a '.' before it; default empty: this host alone */
  int64_t max_age_s;        /* default -1: until the browser ends; 0 deletes it */
  enum tavi_same_site same_site;
  bool is_secure;           /* default true: sent over TLS alone (and to localhost) */
  bool is_http_only;        /* default true: scripts cannot read it */
};

TAVI_API void tavi_cookie_init(struct tavi_cookie *cookie);

/* Write the value of a Set-Cookie header to out, without a NUL. Names that begin with __Secure-, __Host-, __Http- or
 * __Host-Http- get what they demand, or TAVI_E_ARG.
 * Returns: its length; TAVI_E_ARG (something that a browser would refuse or read differently), TAVI_E_LIMIT (cap; or
 *          more than the 4096 bytes of name and value that browsers keep). */
TAVI_API int64_t tavi_cookie_format(const struct tavi_cookie *cookie, char *out, size_t cap);

/* ==== behind a proxy ==== */

/* Who has asked, in what way, for which host. */
struct tavi_http_origin {
  struct tavi_addr client;  /* host "" when a trusted proxy does not say or hides it; port 0 when it is not told */
  struct tavi_slice scheme; /* "http" or "https" */
  struct tavi_slice host;   /* with its port, if any */
  bool is_forwarded;        /* a trusted proxy has said so; otherwise it is what the connection and Host tell */
};

/* The client of a request. What Forwarded (RFC 7239), or else X-Forwarded-For, -Proto and -Host, say is believed when
 * the connection's peer is in the listener's forwarded_from (see struct tavi_http_opts), and only as far as each hop
 * was told by a trusted one: elements are read from the last to the first, and the first address that is not trusted
 * is the client. Malformed ones end the reading there; nothing beyond them is believed, and the client is unknown.
 * scheme and host are what stands beside the client's address; only "http" and "https" are schemes.
 *
 * A proxy hands on unchanged what it does not write itself: let it write X-Forwarded-Proto and -Host if it writes
 * X-Forwarded-For, and remove Forwarded, or the other way round. Of a request with both, only what both say alike is
 * believed, so that nobody passes for somebody else with the one that the proxy does not write.
 * Owns: slices are borrowed from msg, or static. */
TAVI_API void tavi_http_origin(const struct tavi_conn *c, const struct tavi_http_msg *msg,
                               struct tavi_http_origin *ret_origin);

TAVI_END_DECLS

#endif
