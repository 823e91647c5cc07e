/* SPDX-License-Identifier: MIT
 *
 * Requests that the library makes itself (tavi/http_client.h): calls, and the links that carry them.
 *
 *   request.c       a call's life: from tavi_http_request() to on_done
 *   request_head.c  what is sent: URLs, headers
 *   exchange.c      one request and its response on one link
 *   redirect.c      the next request that a response asks for
 *   pool.c          links by host: opened, kept, used again; calls that wait for one
 *
 * A link is a connection of the client kind (client.c) whose user is the library. It has a call or none; a call has a
 * link or waits at its host for one. Who ends a link that has a call either ends the call or lets it wait again.
 *
 * Nothing is told inside of tavi_http_request(): calls that fail at once are told by the pool's watch in the next
 * turn. */
#ifndef TAVI_HTTP_REQUEST_H
#define TAVI_HTTP_REQUEST_H

#include "http/http.h"
#include "net/watch.h"
#include "tavi/http_client.h"
#include "tavi/timer.h"
#include "tavi/url.h"

struct tavi__http_pool;
struct tavi__http_host;
struct tavi__http_link;

/* A body that may be sent more than once; the call has a reference, and so has each send queue that it lies in. */
struct tavi__http_body {
  size_t refs;
  struct tavi_slice bytes;
  void (*release)(void *arg); /* NULL: the bytes are behind this struct */
  void *release_arg;
  struct tavi__file *file;    /* NULL: it is in memory */
};

/* Headers that the user gave, and the library does not make then; and what they ask for. */
enum tavi__http_given {
  TAVI__GIVEN_HOST = 1 << 0,
  TAVI__GIVEN_AGENT = 1 << 1,
  TAVI__GIVEN_ACCEPT_ENCODING = 1 << 2,
  TAVI__GIVEN_AUTHORIZATION = 1 << 3,
  TAVI__GIVEN_CLOSE = 1 << 4,
  TAVI__GIVEN_PROXY_AUTHORIZATION = 1 << 5
};

struct tavi_http_call {
  struct tavi__node node;        /* among those that wait at its host or have failed; unlinked while it has a link */
  struct tavi__http_pool *pool;
  struct tavi__http_host *host;  /* NULL once it has failed */
  struct tavi__http_link *link;
  const struct tavi_http_call_handlers *handlers;
  void *user;
  struct tavi_timer *timer;      /* of total_timeout_ms */

  /* ==== the request ==== */
  struct tavi_http_request req;  /* its numbers; its pointers are not used */
  struct tavi_slice method;      /* in text, or "GET" after a redirect */
  struct tavi_slice lines;       /* headers of the user as they are sent; in text */
  unsigned given;                /* a sum of enum tavi__http_given */
  char *url;                     /* "http://host:port/target" without user and fragment, ready to be sent */
  size_t origin_len;             /* of it up to the target */
  char *basic;                   /* "user:password" of the URL in Base64; NULL: none */
  char *proxy, *proxy_basic;     /* "http://host:port"; NULL: none */
  struct tavi__http_body *body;  /* NULL: none, or streamed */

  /* ==== how far it is ==== */
  unsigned redirects;
  unsigned interims;             /* of the current request */
  uint8_t inside;                /* how many of its callbacks are running */
  bool is_over : 1;              /* nothing is told any more; freed when none is running */
  bool is_waiting : 1;           /* node is in its host's list */
  bool is_failed : 1;            /* node is in the pool's list */
  bool is_paused : 1;
  bool was_retried : 1;          /* on a new link, because the kept one had died */
  bool is_question : 1;          /* something of the request was asked of the user: it cannot be sent again */
  bool awaits_continue : 1;      /* the body is held back */
  bool has_asked_more : 1;       /* on_more was called, and nothing was sent since */
  bool is_sent : 1;              /* the request is complete in the send queue, or beyond */
  bool has_response : 1;         /* the final head has come */
  bool is_redirecting : 1;       /* and its body is dropped */
  bool has_more_decoded : 1;     /* the decoder holds some back */
  uint64_t body_sent;            /* streamed; bytes */

  /* ==== the response ==== */
  struct tavi__recvbuf *kept;    /* its head, and the body behind it when it is collected */
  size_t head_len;
  uint64_t body_bytes;           /* decoded so far; dropped so far when is_redirecting */
  struct tavi__decoder *decoder;
  char *next_url;                /* is_redirecting */
  int next_status;

  int err;                       /* is_failed: why; text NULL: no memory for it */
  char *err_text;
  char text[];                   /* method, lines */
};

struct tavi__http_link {
  struct tavi_conn *c;
  struct tavi__http_host *host;
  struct tavi_http_call *call;   /* NULL: idle, or ending */
  struct tavi__http_sink sink;
  struct tavi__node by_host, by_age; /* among the idle ones; unlinked when it is not */
  uint64_t sent;                 /* bytes of the current request that went to the system */
  bool is_established;
  bool was_kept;                 /* the current call is not its first */
  bool has_input;                /* bytes came since the current request was begun */
  bool is_cut;                   /* the peer takes nothing more */
  bool is_finishing;             /* a response was told, and on_idle has not come */
};

/* ==== request.c ==== */

/* True after a callback has returned: the call was ended in it, and is gone. */
bool tavi__http_call_left(struct tavi_http_call *call);

/* It has ended: on_done, then it is gone. It has no link any more. msg NULL: with an error. */
void tavi__http_call_done(struct tavi_http_call *call, const struct tavi_http_msg *msg, bool was_kept);

/* The same with an error. what: is put behind the host; verbatim: is the text as it is. It may have a link, which is
 * closed. Told in the next turn, or before that when everything is closed. */
void tavi__http_call_fail(struct tavi_http_call *call, int err, const char *what) TAVI__COLD;
void tavi__http_call_fail_verbatim(struct tavi_http_call *call, int err, const char *text) TAVI__COLD;

/* Tell those that have failed. */
void tavi__http_tell_failed(struct tavi__http_pool *pool);

void tavi__http_body_unref(struct tavi__http_body *body);

/* ==== request_head.c ==== */

/* Take a URL apart, judge it, and make it what is asked next; ret_why says what is wrong with it. */
int tavi__http_call_set_url(struct tavi_http_call *call, struct tavi_slice url, const char **ret_why);

/* The same for the proxy. */
int tavi__http_call_set_proxy(struct tavi_http_call *call, const char *url, const char **ret_why);

/* Bytes that the headers become as lines, or TAVI_E_ARG. */
int64_t tavi__http_lines_need(const struct tavi_http_header *headers, size_t count);

/* Write them to `to`, where there is room for that and TAVI__HTTP1_PAD more. Returns the end; NULL: TAVI_E_ARG. */
char *tavi__http_lines_put(char *to, const struct tavi_http_header *headers, size_t count, unsigned *ret_given);

/* After a redirect: drop the lines that are not for another origin, or that describe a body that is not sent again. */
void tavi__http_lines_drop(struct tavi_http_call *call, bool is_other_origin, bool has_no_body);

/* Queue the head of the request. Returns 0 or an error; then the connection has failed. */
int tavi__http_queue_head(struct tavi_http_call *call);

/* ==== exchange.c ==== */

extern const struct tavi_http_handlers tavi__http_link_handlers;

/* Send the request; the call has no link, the link no call. */
void tavi__http_exchange(struct tavi__http_link *link, struct tavi_http_call *call);

/* End the link's connection without a word to its call, which has it no more. */
void tavi__http_link_drop(struct tavi__http_link *link);

/* What client.c asks of a link: it replaces or goes before the functions of a hand-written client. */
extern const struct tavi__proto tavi__http_link;
void tavi__http_link_idle(struct tavi_conn *c); /* a message is over, and so is what was told of it */

/* ==== redirect.c ==== */

/* If this response is to be followed: remember where to. Returns 1, 0, or an error that has ended the call. */
int tavi__http_redirect_begin(struct tavi_http_call *call, const struct tavi_http_msg *msg);

/* Its body has come, or is not waited for. The call has no link any more. */
void tavi__http_redirect_follow(struct tavi_http_call *call);

/* ==== pool.c ==== */

struct tavi__http_pool {
  struct tavi__part part; /* first */
  struct tavi_manager *m;
  struct tavi_http_client_opts opts;
  struct tavi__watch *watch;     /* NULL while everything is closed */
  struct tavi__node failed;      /* calls */
  struct tavi__node idle;        /* links, the oldest first */
  size_t idle_count, call_count, waiting_count, conn_count;
  uint64_t conns_opened;
  struct tavi__http_host **hosts; /* by hash, chained */
  size_t host_count, host_cap;   /* cap: a power of two */
  char *scratch;                 /* TAVI__DECODE_PIECE_BYTES: what was decoded, while it is told */
};

/* The links to one place. */
struct tavi__http_host {
  struct tavi__http_host *next;  /* in its chain */
  struct tavi__http_pool *pool;
  struct tavi__node waiting;     /* calls */
  struct tavi__node idle;        /* links, the one used last first */
  size_t conn_count, idle_count;
  size_t finishing;              /* links that are about to be idle: calls wait for them */
  size_t busy;                   /* tavi__http_dispatch() is at it */
  uint32_t hash;
  bool is_proxy;
  char url[];                    /* "http://host:port" */
};

/* The manager's, made when it is not there; NULL when memory ran out. */
struct tavi__http_pool *tavi__http_pool_of(struct tavi_manager *m);

/* The watch, too, may have to be made again. */
bool tavi__http_pool_wake(struct tavi__http_pool *pool);

/* Let the call wait at the host of its URL, and go on when that is possible. Returns 0 or TAVI_E_NOMEM. */
int tavi__http_enqueue(struct tavi_http_call *call, bool is_first);

/* It waits no more, for whatever reason. */
void tavi__http_dequeue(struct tavi_http_call *call);

/* Give links to those that wait. The host may be gone afterwards. */
void tavi__http_dispatch(struct tavi__http_host *host);

/* It has no call and can have another; ... it cannot; ... it is gone (its memory, too). */
void tavi__http_link_keep(struct tavi__http_link *link);
void tavi__http_link_retire(struct tavi__http_link *link);
void tavi__http_link_gone(struct tavi__http_link *link);

#endif
