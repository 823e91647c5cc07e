/* SPDX-License-Identifier: MIT
 *
 * What a request says: its URL, taken apart and put together again so that it can be sent as it stands, and its
 * headers, which are written once and kept as lines.
 *
 * A URL is judged strictly where two readers could disagree about the host (that is where credentials go), and mended
 * where people and servers are careless: spaces and bytes that are no ASCII become %XX. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "http/request.h"
#include "wire/ip.h"

#define AGENT "tavi/" TAVI_VERSION

static char *put(char *to, const char *from, size_t len) {
  memcpy(to, from, len);
  return to + len;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_slice(char *to, struct tavi_slice s) { return s.len > 0 ? put(to, s.ptr, s.len) : to; }

static char small(char c) { return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c; }

static bool is_word(struct tavi_slice s, const char *word) { return tavi__slice_is(s, word, strlen(word)); }

/* ==== URLs ==== */

/* A name as in RFC 3986 section 3.2.2, in ASCII, without what could end a host for somebody; or an IPv6 literal. */
static bool is_host(struct tavi_slice host) {
  uint8_t ip[16];
  if (host.len == 0 || host.len > 255) return false;
  if (host.ptr[0] == '[')
    return host.len > 2 && host.ptr[host.len - 1] == ']' &&
           tavi__ip_parse((struct tavi_slice){host.ptr + 1, host.len - 2}, ip) == 6;
  for (size_t i = 0; i < host.len; i++) {
    char c = small(host.ptr[i]);
    bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!is_plain) return false;
  }
  return true;
}

static bool has_controls(struct tavi_slice s) {
  for (size_t i = 0; i < s.len; i++)
    if ((unsigned char) s.ptr[i] < ' ' || s.ptr[i] == 0x7f) return true;
  return false;
}

static const char *judge(struct tavi_slice text, const struct tavi_url *url) {
  if (text.len > TAVI__HTTP_URL_BYTES) return "the URL is too long";
  if (has_controls(text)) return "a control character in the URL";
  if (url->scheme.len == 0) return "the URL has no http:// in front";
  if (is_word(url->scheme, "https")) return "https is not supported yet";
  if (!is_word(url->scheme, "http")) return "the URL's scheme is not http";
  if (!is_host(url->host)) return "the URL's host is none";
  return url->port <= 0 ? "the URL's port is none" : NULL;
}

static int error_of(const struct tavi_url *url) {
  return is_word(url->scheme, "https") ? TAVI_E_UNSUPPORTED : TAVI_E_ADDRESS;
}

/* "http://host" or "http://host:port", one spelling for each place. */
static char *put_origin(char *to, const struct tavi_url *url) {
  to = PUT(to, "http://");
  for (size_t i = 0; i < url->host.len; i++) *to++ = small(url->host.ptr[i]);
  return url->port == 80 ? to : to + snprintf(to, 7, ":%d", (int) url->port);
}

enum { ORIGIN_EXTRA = 7 + 6 + 1 }; /* scheme, port, NUL */

/* The target without a fragment, of the form that goes onto the wire: at most 3 * len + 1 bytes. */
static char *put_target(char *to, struct tavi_slice uri) {
  static const char digits[] = "0123456789ABCDEF";
  if (uri.len == 0 || uri.ptr[0] != '/') *to++ = '/';
  for (size_t i = 0; i < uri.len && uri.ptr[i] != '#'; i++) {
    unsigned char c = (unsigned char) uri.ptr[i];
    if (c > ' ' && c < 0x7f) {
      *to++ = (char) c;
    } else {
      *to++ = '%';
      *to++ = digits[c >> 4];
      *to++ = digits[c & 15];
    }
  }
  return to;
}

/* "user:password" in Base64, decoded before (RFC 7617 section 2). NULL: *ret_err says why. */
static char *new_basic(const struct tavi_url *url, int *ret_err) {
  size_t max = url->user.len + 1 + url->pass.len;
  char *basic = malloc((max + 2) / 3 * 4 + 1);
  *ret_err = TAVI_E_NOMEM;
  if (basic == NULL) return NULL;

  char *plain = basic + (max + 2) / 3 * 4 - max; /* the encoder's input may be the end of its output */
  int64_t user = tavi_percent_decode(url->user, false, plain);
  int64_t pass = user < 0 ? user : tavi_percent_decode(url->pass, false, plain + user + 1);
  if (pass < 0 || max > TAVI__CREDENTIAL_BYTES) {
    *ret_err = TAVI_E_ADDRESS;
    free(basic);
    return NULL;
  }
  plain[user] = ':';
  size_t len = (size_t) (user + 1 + pass);
  memmove(basic + (len + 2) / 3 * 4 - len, plain, len);
  plain = basic + (len + 2) / 3 * 4 - len;
  basic[tavi__base64_encode((struct tavi_slice){plain, len}, basic)] = '\0';
  return basic;
}

static bool has_user(const struct tavi_url *url) { return url->user.len + url->pass.len > 0; }

int tavi__http_call_set_url(struct tavi_http_call *call, struct tavi_slice text, const char **ret_why) {
  struct tavi_url url;
  tavi_url_split(text, &url);
  *ret_why = judge(text, &url);
  if (*ret_why != NULL) return error_of(&url);

  int err = TAVI_E_NOMEM;
  char *basic = has_user(&url) ? new_basic(&url, &err) : NULL;
  char *made = malloc(url.host.len + ORIGIN_EXTRA + 3 * url.uri.len + 2);
  if (made == NULL || (basic == NULL && has_user(&url))) {
    free(made);
    free(basic);
    *ret_why = err == TAVI_E_NOMEM ? tavi_err_text(err) : "the URL's user and password are no percent-encoded text";
    return err;
  }
  char *end = put_origin(made, &url);
  free(call->url);
  call->url = made;
  call->origin_len = (size_t) (end - made);
  *put_target(end, url.uri) = '\0';
  if (basic != NULL) {
    free(call->basic);
    call->basic = basic;
  }
  return 0;
}

int tavi__http_call_set_proxy(struct tavi_http_call *call, const char *text, const char **ret_why) {
  struct tavi_slice s = {text, strlen(text)};
  struct tavi_url url;
  int err = TAVI_E_NOMEM;
  tavi_url_split(s, &url);
  *ret_why = judge(s, &url);
  if (*ret_why != NULL) {
    *ret_why = "the proxy's URL is none that can be used";
    return error_of(&url);
  }
  if (has_user(&url)) call->proxy_basic = new_basic(&url, &err);
  call->proxy = malloc(url.host.len + ORIGIN_EXTRA);
  if (call->proxy == NULL || (call->proxy_basic == NULL && has_user(&url))) {
    *ret_why = err == TAVI_E_NOMEM ? tavi_err_text(err) : "the proxy's user and password are no percent-encoded text";
    return err;
  }
  *put_origin(call->proxy, &url) = '\0';
  return 0;
}

/* ==== headers ==== */

/* -1: the library alone makes this one. */
static int given_by(const struct tavi_http_header *h) {
  static const struct {
    const char *name;
    int given;
  } known[] = {{"host", TAVI__GIVEN_HOST},
               {"user-agent", TAVI__GIVEN_AGENT},
               {"accept-encoding", TAVI__GIVEN_ACCEPT_ENCODING},
               {"authorization", TAVI__GIVEN_AUTHORIZATION},
               {"proxy-authorization", TAVI__GIVEN_PROXY_AUTHORIZATION},
               {"content-length", -1},
               {"transfer-encoding", -1},
               {"expect", -1},
               {"upgrade", -1},
               {"te", -1},
               {"keep-alive", -1},
               {"proxy-connection", -1}};
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
    if (is_word(h->name, known[i].name)) return known[i].given;
  if (!is_word(h->name, "connection")) return 0;
  if (is_word(h->value, "close")) return TAVI__GIVEN_CLOSE;
  return is_word(h->value, "keep-alive") ? 0 : -1;
}

int64_t tavi__http_lines_need(const struct tavi_http_header *headers, size_t count) {
  size_t need = 0;
  for (size_t i = 0; i < count; i++) {
    if (headers[i].name.len > UINT32_MAX || headers[i].value.len > UINT32_MAX) return TAVI_E_ARG;
    need += headers[i].name.len + headers[i].value.len + 4;
    if (need > UINT32_MAX) return TAVI_E_ARG;
  }
  return (int64_t) need;
}

char *tavi__http_lines_put(char *to, const struct tavi_http_header *headers, size_t count, unsigned *ret_given) {
  *ret_given = 0;
  for (size_t i = 0; i < count; i++) {
    int given = given_by(&headers[i]);
    if (given < 0) return NULL;
    if (given == TAVI__GIVEN_HOST && (*ret_given & TAVI__GIVEN_HOST) != 0) return NULL; /* two hosts */
    *ret_given |= (unsigned) given;
    to = tavi__http1_put_field(to, &headers[i]);
    if (to == NULL) return NULL;
  }
  return to;
}

static bool is_secret(struct tavi_slice name) {
  return is_word(name, "authorization") || is_word(name, "cookie") || is_word(name, "host");
}

static bool is_about_body(struct tavi_slice name) {
  return name.len > 8 && tavi__slice_is((struct tavi_slice){name.ptr, 8}, "content-", 8);
}

void tavi__http_lines_drop(struct tavi_http_call *call, bool is_other_origin, bool has_no_body) {
  char *start = (char *) (uintptr_t) call->lines.ptr, *to = start, *end = start + call->lines.len;
  for (char *line = start; line < end;) {
    char *colon = memchr(line, ':', (size_t) (end - line)), *next = memchr(line, '\n', (size_t) (end - line));
    struct tavi_slice name = {line, (size_t) (colon - line)};
    size_t len = (size_t) (next + 1 - line);
    bool is_dropped = (is_other_origin && is_secret(name)) || (has_no_body && is_about_body(name));
    if (!is_dropped) {
      memmove(to, line, len);
      to += len;
    }
    line = next + 1;
  }
  call->lines.len = (size_t) (to - start);
  if (is_other_origin) call->given &= ~(unsigned) (TAVI__GIVEN_HOST | TAVI__GIVEN_AUTHORIZATION);
}

/* ==== the head ==== */

/* A method that says something about a body says how long none is (RFC 9110 section 8.6). */
static bool tells_length(const struct tavi_http_call *call) {
  struct tavi_slice m = call->method;
  if (call->body != NULL) return true;
  return (m.len == 4 && memcmp(m.ptr, "POST", 4) == 0) || (m.len == 3 && memcmp(m.ptr, "PUT", 3) == 0) ||
         (m.len == 5 && memcmp(m.ptr, "PATCH", 5) == 0);
}

static char *put_length(char *to, const struct tavi_http_call *call) {
  bool is_streamed = call->req.streams_body;
  if (is_streamed && call->req.body_length == TAVI_HTTP_CHUNKS) return PUT(to, "Transfer-Encoding: chunked\r\n");
  if (!is_streamed && !tells_length(call)) return to;
  uint64_t length = is_streamed || call->body != NULL ? call->req.body_length : 0;
  return to + snprintf(to, 48, "Content-Length: %llu\r\n", (unsigned long long) length);
}

static char *put_basic(char *to, const char *name, const char *basic) {
  to = put(to, name, strlen(name));
  to = PUT(to, ": Basic ");
  to = put(to, basic, strlen(basic));
  return PUT(to, "\r\n");
}

static size_t head_need(const struct tavi_http_call *call) {
  enum { FIXED = 512 }; /* versions, names, numbers, the library's own values */
  size_t basic = call->basic != NULL ? strlen(call->basic) : 0;
  size_t proxy_basic = call->proxy_basic != NULL ? strlen(call->proxy_basic) : 0;
  return call->method.len + strlen(call->url) + call->origin_len + call->lines.len + basic + proxy_basic + FIXED;
}

static char *put_head(char *to, const struct tavi_http_call *call) {
  const char *target = call->proxy != NULL ? call->url : call->url + call->origin_len;
  to = put_slice(to, call->method);
  *to++ = ' ';
  to = put(to, target, strlen(target));
  to = PUT(to, " HTTP/1.1\r\n");
  if ((call->given & TAVI__GIVEN_HOST) == 0) {
    to = PUT(to, "Host: ");
    to = put(to, call->url + 7, call->origin_len - 7);
    to = PUT(to, "\r\n");
  }
  if ((call->given & TAVI__GIVEN_AGENT) == 0) to = PUT(to, "User-Agent: " AGENT "\r\n");
  if (call->req.decodes) {
    const char *accepted = tavi__codings_accepted();
    to = PUT(to, "Accept-Encoding: ");
    to = put(to, accepted, strlen(accepted));
    to = PUT(to, "\r\n");
  }
  if (call->basic != NULL && (call->given & TAVI__GIVEN_AUTHORIZATION) == 0)
    to = put_basic(to, "Authorization", call->basic);
  if (call->proxy_basic != NULL && (call->given & TAVI__GIVEN_PROXY_AUTHORIZATION) == 0)
    to = put_basic(to, "Proxy-Authorization", call->proxy_basic);
  to = put_slice(to, call->lines);
  if (call->awaits_continue) to = PUT(to, "Expect: 100-continue\r\n");
  to = put_length(to, call);
  return PUT(to, "\r\n");
}

int tavi__http_queue_head(struct tavi_http_call *call) {
  struct tavi_conn *c = call->link->c;
  size_t need = head_need(call);
  int err = tavi__conn_may_queue(c, need);
  if (err < 0) return err;
  if (need > TAVI__SENDQ_ROOM_MAX) {
    char *head = malloc(need);
    if (head == NULL) {
      tavi__conn_fail_with(c, TAVI_E_NOMEM, "cannot send a request");
      return TAVI_E_NOMEM;
    }
    err = tavi__conn_queue(c, head, (size_t) (put_head(head, call) - head));
    free(head);
    return err;
  }
  char *head = tavi__sendq_room(&c->out, c->src.manager, need);
  if (head == NULL) {
    tavi__conn_fail_with(c, TAVI_E_NOMEM, "cannot send a request");
    return TAVI_E_NOMEM;
  }
  tavi__sendq_commit(&c->out, (size_t) (put_head(head, call) - head));
  tavi__conn_queued(c);
  return 0;
}
