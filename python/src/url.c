/* SPDX-License-Identifier: MIT
 *
 * URLs as Python programs write them. The Python interface takes any scheme and decides by it what is spoken; the
 * library takes few schemes and is told what is spoken by the function that is called. So the scheme is looked at
 * here and only the address goes on: "ws://h:1/chat" becomes "tcp://h:1". A scheme that asks for TLS is refused, in
 * any case of letters: it must never become plaintext. */
#include "module.h"

#include <string.h>

static const struct scheme {
  const char *name;
  const char *port; /* the default */
  bool is_http;
  bool is_udp;
  bool is_tls;
} schemes[] = {
    {"http", "80", true, false, false},
    {"ws", "80", true, false, false},
    {"mqtt", "1883", false, false, false},
    {"udp", NULL, false, true, false},
    {"https", "443", true, false, true},
    {"wss", "443", true, false, true},
    {"mqtts", "8883", false, false, true},
    {"ssl", NULL, false, false, true},
    {"tls", NULL, false, false, true},
    {"tcps", NULL, false, false, true},
};

static const struct scheme any_scheme = {"tcp", NULL, false, false, false};

static const struct scheme *find_scheme(const char *name, size_t len) {
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
    if (strlen(schemes[i].name) == len && PyOS_mystrnicmp(schemes[i].name, name, (Py_ssize_t)len) == 0)
      return &schemes[i];
  }
  return &any_scheme;
}

/* "user:pass@host:port/path?query" -> "host:port" */
static struct tavi_slice authority_of(const char *rest) {
  struct tavi_slice host = {rest, strcspn(rest, "/?#")};
  for (size_t i = host.len; i > 0; i--) {
    if (host.ptr[i - 1] == '@') {
      host.ptr += i;
      host.len -= i;
      break;
    }
  }
  return host;
}

/* Cuts a ':' with nothing behind it. An IPv6 address without brackets is left for the library to refuse. */
static bool lacks_port(struct tavi_slice *host) {
  if (host->len > 0 && host->ptr[host->len - 1] == ':') {
    host->len--;
    return true;
  }
  const char *name_end = host->len > 0 && host->ptr[0] == '[' ? memchr(host->ptr, ']', host->len) : NULL;
  const char *from = name_end ? name_end : host->ptr;
  return memchr(from, ':', host->len - (size_t)(from - host->ptr)) == NULL;
}

static char *join(const char *scheme, struct tavi_slice host, const char *port) {
  size_t cap = strlen(scheme) + host.len + sizeof "://:65535";
  char *url = PyMem_Malloc(cap);
  if (url != NULL)
    PyOS_snprintf(url, cap, "%s://%.*s%s%s", scheme, (int)host.len, host.ptr, port ? ":" : "", port ? port : "");
  return url;
}

static char *copy(const char *url) {
  size_t size = strlen(url) + 1;
  char *result = PyMem_Malloc(size);
  if (result != NULL)
    memcpy(result, url, size);
  return result;
}

int tavi_py_url(const char *url, bool listening, int http, enum tavi_py_use *ret_use, char **ret_url) {
  const char *colon = strstr(url, "://");
  const struct scheme *scheme = colon ? find_scheme(url, (size_t)(colon - url)) : &any_scheme;
  bool is_path = strncmp(url, "unix:", 5) == 0 || strncmp(url, "fd:", 3) == 0;
  bool is_nothing = url[0] == '\0' && !listening; /* the library has an error for that */
  char *result;

  if (scheme->is_tls)
    return TAVI_E_UNSUPPORTED;

  if (is_path || is_nothing) {
    result = copy(url);
  } else {
    struct tavi_slice host = authority_of(colon ? colon + 3 : url);
    const char *port = NULL;
    if (lacks_port(&host))
      port = scheme->port ? scheme->port : listening ? "0" : NULL;
    result = join(scheme->is_udp ? "udp" : "tcp", host, port);
  }
  if (result == NULL)
    return TAVI_E_NOMEM;

  if (scheme->is_udp)
    *ret_use = TAVI_PY_UDP;
  else if (http == 1 || (http < 0 && scheme->is_http))
    *ret_use = TAVI_PY_HTTP;
  else
    *ret_use = TAVI_PY_RAW;
  *ret_url = result;
  return 0;
}
