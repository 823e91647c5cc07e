/* SPDX-License-Identifier: MIT
 *
 * HTTP requests: a URL in, a response out. Connections are opened, kept and used again behind the scenes, redirects are
 * followed, bodies decoded. (To write requests by hand on a connection of one's own: tavi_http_connect() in
 * tavi/http.h.)
 *
 *     static void on_done(struct tavi_http_call *call, const struct tavi_http_result *r, void *user) {
 *       if (r->err < 0) fprintf(stderr, "%s\n", r->text);
 *       else fwrite(r->msg->body.ptr, 1, r->msg->body.len, stdout);
 *     }
 *     static const struct tavi_http_call_handlers handlers = {.on_done = on_done};
 *     struct tavi_http_request req;
 *     tavi_http_request_init(&req, "GET", "http://127.0.0.1:8000/");
 *     tavi_http_request(manager, &req, &handlers, NULL, NULL);
 *
 * A call belongs to its manager and is told in its turns. It ends with exactly one on_done, whatever happens, also when
 * tavi_manager_free() or tavi_manager_close_all() ends it (TAVI_E_CLOSED), unless it is cancelled before.
 *
 * What a server sends is bounded everywhere: the head, the body (collected or decoded), interim responses, redirects,
 * and times. A response that ends too early is an error, never a short success.
 *
 * https URLs are TAVI_E_UNSUPPORTED as yet.
 */
#ifndef TAVI_HTTP_CLIENT_H
#define TAVI_HTTP_CLIENT_H

#include "tavi/http_msg.h"

TAVI_BEGIN_DECLS

struct tavi_manager;
struct tavi_http_call;

/* ==== the request ==== */

/* For body_length: not known, the body is sent in chunks. */
#define TAVI_HTTP_CHUNKS UINT64_MAX

/* Fill with tavi_http_request_init(), change what you want. Everything is copied by tavi_http_request(), or taken where
 * it says so. A time of 0 means no limit. */
struct tavi_http_request {
  const char *method;        /* a token in the right case; CONNECT is not for this */
  const char *url;           /* http://[user[:password]@]host[:port][/path][?query]; a user is sent as Authorization:
                              * Basic. Spaces and bytes that are no ASCII become %XX; a fragment is left out */
  /* Sent in order. Host, User-Agent and Accept-Encoding replace those that the library makes; "Connection: close" is
   * obeyed. Content-Length, Transfer-Encoding, Expect and Upgrade are made by the library or not at all: TAVI_E_ARG. */
  const struct tavi_http_header *headers;
  size_t header_count;

  /* The body, one of these. From memory: copied, or, with `release`, taken: release(release_arg) is called exactly
   * once, when it is not needed any more, on the loop's thread, possibly before tavi_http_request() returns. */
  struct tavi_slice body;
  void (*release)(void *arg);
  void *release_arg;
  int body_fd;               /* from a file: body_length bytes from body_offset on; taken, as tavi_conn_send_file().
                              * Default -1 */
  uint64_t body_offset;
  bool streams_body;         /* from on_more, by tavi_http_call_send(): body_length bytes, or TAVI_HTTP_CHUNKS */
  uint64_t body_length;      /* default TAVI_HTTP_CHUNKS; a file's must be told */
  bool expects_continue;     /* "Expect: 100-continue": the body waits for the server's word, a second at most */

  /* The response. */
  bool decodes;              /* Accept-Encoding with all there is (gzip, deflate; br and zstd when built in), and decode
                              * what comes; default false: bodies are as they were sent */
  uint64_t body_bytes_max;   /* of the body, decoded; beyond it TAVI_E_LIMIT. Default 16 MiB; UINT64_MAX for none */
  unsigned redirects_max;    /* followed; beyond it TAVI_E_LIMIT. Default 10; 0: redirects are responses like others */

  /* The way. */
  const char *proxy;         /* http://[user[:password]@]host[:port]; default NULL */
  bool uses_new_connection;  /* and none that was used before */
  uint32_t connect_timeout_ms;    /* until the connection is established; default 30,000 */
  uint32_t first_byte_timeout_ms; /* from the end of the request to the response's first byte; default 60,000 */
  uint32_t idle_timeout_ms;       /* between two pieces of the response, and while the server takes nothing of the
                                   * request; not while the call is paused; default 60,000 */
  uint64_t total_timeout_ms;      /* for everything, waiting and redirects included; default 0 */
};

/* Defaults, and these two: borrowed as everything else, until tavi_http_request() has returned. */
TAVI_API void tavi_http_request_init(struct tavi_http_request *req, const char *method, const char *url);

/* ==== what is told ==== */

/* How it has ended. Everything is borrowed until on_done returns. */
struct tavi_http_result {
  int err;                         /* 0, or why there is no (complete) response */
  const char *text;                /* of an error, for people: the host, and what has happened; "" without one */
  const struct tavi_http_msg *msg; /* the response: its body is empty when on_data has got it; NULL with an error */
  const char *url;                 /* the last one that was asked, after redirects; without user and fragment */
  unsigned redirects;              /* that were followed */
  bool was_kept;                   /* it came on a connection that had been used before */
};

/* Every entry but on_done may be NULL. Borrowed for the life of the calls that use it: make it static const.
 * In all of them, any function may be called for this call and for others. */
struct tavi_http_call_handlers {
  /* An interim response (1xx), such as 103 Early Hints. Rare. */
  void (*on_interim)(struct tavi_http_call *call, const struct tavi_http_msg *msg, void *user);
  /* The head of the response. (Redirects that are followed are not told.) */
  void (*on_headers)(struct tavi_http_call *call, const struct tavi_http_msg *msg, void *user);
  /* A piece of its body, borrowed until this returns. NULL: the body is collected for on_done. */
  void (*on_data)(struct tavi_http_call *call, struct tavi_slice data, void *user);
  /* The next piece of the request's body may be sent; called again when what was sent has mostly left. Not called again
   * before the next tavi_http_call_send(): who has nothing to send yet sends when there is something. */
  void (*on_more)(struct tavi_http_call *call, void *user);
  void (*on_done)(struct tavi_http_call *call, const struct tavi_http_result *result, void *user);
};

/* Begin a request.
 *
 * Owns:    the manager. *ret_call is valid until it is cancelled or on_done has returned. ret_call may be NULL.
 * Returns: 0, and then on_done is called in a later turn, for errors too: the URL cannot be used (TAVI_E_ADDRESS;
 * https:
 *          TAVI_E_UNSUPPORTED), TAVI_E_RESOLVE, TAVI_E_REFUSED, TAVI_E_UNREACHABLE, TAVI_E_TIMEOUT, TAVI_E_RESET,
 *          TAVI_E_PROTOCOL (the response is wrong or ends too early), TAVI_E_LIMIT, TAVI_E_UNSUPPORTED (a coding that
 *          was not asked for; 101), TAVI_E_STATE (a redirect of a body that cannot be sent twice), TAVI_E_NOMEM,
 *          TAVI_E_CLOSED.
 *          TAVI_E_ARG (method, headers, a combination that makes no sense), TAVI_E_NOMEM, TAVI_E_CLOSED (while the
 *          manager closes everything): nothing is called but `release`. */
TAVI_API int tavi_http_request(struct tavi_manager *m, const struct tavi_http_request *req,
                               const struct tavi_http_call_handlers *handlers, void *user,
                               struct tavi_http_call **ret_call);

/* ==== while it runs ==== */

/* End it: nothing is told any more. What was sent of a request may have been received. NULL is accepted. */
TAVI_API void tavi_http_call_cancel(struct tavi_http_call *call);

/* No on_data until tavi_http_call_resume(); the server is held back. Only times that pass for everything go on. */
TAVI_API void tavi_http_call_pause(struct tavi_http_call *call);
TAVI_API void tavi_http_call_resume(struct tavi_http_call *call);

/* A piece of a streamed body, copied: from the first on_more on, until tavi_http_call_end().
 * Returns: 0; TAVI_E_STATE (not before on_more or after the end, more than body_length); TAVI_E_CLOSED: the server
 * wants no more of it, but its answer may be on its way; TAVI_E_LIMIT, TAVI_E_NOMEM: the call fails. */
TAVI_API int tavi_http_call_send(struct tavi_http_call *call, const void *data, size_t len);

/* The body is complete. Returns as above; TAVI_E_STATE also when bytes of body_length are missing. */
TAVI_API int tavi_http_call_end(struct tavi_http_call *call);

/* Bytes of the request that were not handed to the system. */
TAVI_API size_t tavi_http_call_pending(const struct tavi_http_call *call);

/* ==== the connections of a manager (which no look-up by id finds) ==== */

/* Fill with tavi_http_client_opts_init(). */
struct tavi_http_client_opts {
  size_t conns_per_host_max;  /* at once; further calls wait for their turn. Default 64 */
  size_t idle_per_host_max;   /* kept without a call; default 64 */
  size_t idle_max;            /* kept for all hosts together: the oldest go first; default 256 */
  uint32_t idle_timeout_ms;   /* kept so long without a call; default 30,000; 0 for as long as the server likes */
  size_t head_bytes_max;      /* of a response; default 64 KiB; beyond it TAVI_E_LIMIT */
  size_t header_count_max;    /* default 128; at most TAVI_HTTP_HEADERS_MAX */
};

TAVI_API void tavi_http_client_opts_init(struct tavi_http_client_opts *opts);

/* For all calls of this manager from now on, and for the connections that are kept.
 * Returns: 0, TAVI_E_ARG (conns_per_host_max or header_count_max out of range), TAVI_E_NOMEM. */
TAVI_API int tavi_http_client_set(struct tavi_manager *m, const struct tavi_http_client_opts *opts);

/* How many there are right now. */
struct tavi_http_client_stats {
  size_t calls;               /* that have not ended */
  size_t waiting;             /* of these: for a connection */
  size_t conns;               /* open or opening */
  size_t idle;                /* of these: kept without a call */
  uint64_t conns_opened;      /* since the manager's beginning */
};

TAVI_API void tavi_http_client_stats(const struct tavi_manager *m, struct tavi_http_client_stats *ret_stats);

TAVI_END_DECLS

#endif
