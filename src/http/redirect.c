/* SPDX-License-Identifier: MIT
 *
 * Redirects (RFC 9110 section 15.4). What is to come is found out when the head is there; it is done when the body is,
 * or when that is too long to wait for. Credentials and cookies go to no other origin, and nothing goes from https to
 * http. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/request.h"
#include "wire/http_redirect.h"
#include "wire/uri.h"

/* Can the body be sent to the next place, too? */
static bool can_repeat(const struct tavi_http_call *call) { return !call->req.streams_body; }

static int refuse(struct tavi_http_call *call, int err, const char *why) {
  tavi__http_call_fail(call, err, why);
  return err;
}

static char *resolved(const struct tavi_http_call *call, struct tavi_slice location) {
  struct tavi_slice base = {call->url, strlen(call->url)};
  char *url = malloc(TAVI__URI_RESOLVED_MAX(base.len, location.len) + 1);
  if (url != NULL) url[tavi__uri_resolve(base, location, url)] = '\0';
  return url;
}

int tavi__http_redirect_begin(struct tavi_http_call *call, const struct tavi_http_msg *msg) {
  const struct tavi_slice *location = tavi_http_header(msg, "location");
  if (call->req.redirects_max == 0 || location == NULL || !tavi__http_is_redirect(msg->status)) return 0;
  if (location->len > TAVI__HTTP_URL_BYTES) return refuse(call, TAVI_E_LIMIT, "redirected to a URL that is too long");
  if (call->redirects == call->req.redirects_max) {
    char text[320];
    snprintf(text, sizeof(text), "redirected more than %u times, the last time to %.*s", call->redirects,
             (int) (location->len < 200 ? location->len : 200), location->ptr);
    return refuse(call, TAVI_E_LIMIT, text);
  }
  if (!can_repeat(call) && !tavi__http_redirect_to_get(msg->status, call->method))
    return refuse(call, TAVI_E_STATE, "redirected, and the streamed body cannot be sent again");

  call->next_url = resolved(call, *location);
  if (call->next_url == NULL) return refuse(call, TAVI_E_NOMEM, tavi_err_text(TAVI_E_NOMEM));
  call->next_status = msg->status;
  call->is_redirecting = true;
  call->body_bytes = 0;
  return 1;
}

/* The method, the headers and the body of the next request. */
static void adapt(struct tavi_http_call *call, bool is_other_origin) {
  bool to_get = tavi__http_redirect_to_get(call->next_status, call->method);
  if (to_get) {
    call->method = (struct tavi_slice){"GET", 3};
    tavi__http_body_unref(call->body);
    call->body = NULL;
    call->req.streams_body = call->req.expects_continue = false;
  }
  tavi__http_lines_drop(call, is_other_origin, to_get);
  if (is_other_origin) {
    free(call->basic);
    call->basic = NULL;
  }
}

/* Judge the next URL against the last one, and take what belongs to it. */
static int turn_to(struct tavi_http_call *call, const char *url, const char **ret_why) {
  struct tavi_url from, to;
  tavi_url_split((struct tavi_slice){call->url, strlen(call->url)}, &from);
  tavi_url_split((struct tavi_slice){url, strlen(url)}, &to);
  if (tavi__http_is_downgrade(&from, &to)) {
    *ret_why = "a redirect from https to http is not followed";
    return TAVI_E_ACCESS;
  }
  adapt(call, !tavi__http_same_origin(&from, &to));
  return tavi__http_call_set_url(call, (struct tavi_slice){url, strlen(url)}, ret_why);
}

void tavi__http_redirect_follow(struct tavi_http_call *call) {
  char *url = call->next_url;
  const char *why;
  call->next_url = NULL;
  call->is_redirecting = false;
  call->was_retried = false;
  call->redirects++;
  call->body_bytes = 0;
  int err = turn_to(call, url, &why);
  if (err == 0) {
    err = tavi__http_enqueue(call, false);
    why = tavi_err_text(err);
  }
  if (err < 0) {
    char text[400];
    snprintf(text, sizeof(text), "redirected to %.200s: %s", url, why);
    tavi__http_call_fail(call, err, text);
  }
  free(url);
}
