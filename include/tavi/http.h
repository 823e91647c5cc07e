/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 (RFC 9110, RFC 9112) on connections: a server that listens, and a client connection on which requests are
 * written by hand and responses arrive as messages.
 *
 * Server. Each request is told by on_headers when its head is complete and by on_message when its body is; both may
 * answer, or anything later (a timer, a wakeup) may. Requests are answered in the order in which they came: the next
 * one on a connection waits until the current one has its answer. An answer is one of
 *   - tavi_http_reply(): all at once;
 *   - tavi_http_begin() with a length, and then exactly that many bytes by any of the tavi_conn_send functions;
 *   - tavi_http_begin() with TAVI_HTTP_STREAM, then tavi_http_chunk() until an empty one ends it;
 *   - bytes written by hand with the tavi_conn_send functions; they are followed for their framing.
 * A request answered in on_headers gets no on_message; the rest of its body is read and dropped.
 *
 * A bad request never reaches a handler: it is answered with the right status (400, 408, 413, 414, 417, 431, 501,
 * 505), then on_read (except after a time-out) and on_close follow, without on_error. Nothing about how a message is
 * framed is guessed.
 *
 * When a peer closes its side, what is queued is still sent, then the connection closes; a request that was not
 * answered by then never is.
 */
#ifndef TAVI_HTTP_H
#define TAVI_HTTP_H

#include "tavi/conn.h"
#include "tavi/http_msg.h"
#include "tavi/url.h" /* tavi_percent_decode(): queries and forms need it */

TAVI_BEGIN_DECLS

/* ==== handlers and options ==== */

struct tavi_http_handlers {
  struct tavi_conn_handlers conn;
  /* The head has arrived; the body perhaps not. Called once per message. */
  void (*on_headers)(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user);
  /* The message is complete. Its body is empty when it was streamed. */
  void (*on_message)(struct tavi_conn *c, const struct tavi_http_msg *msg, void *user);
};

/* Fill with tavi_http_opts_init(); copied at the call. A time of 0 means no limit. */
struct tavi_http_opts {
  struct tavi_listen_opts listen;  /* for a client only `listen.conn` counts */
  size_t head_bytes_max;           /* default 64 KiB; beyond it 431 (414 inside the request line) */
  size_t target_bytes_max;         /* default 16 KiB; beyond it 414 */
  size_t header_count_max;         /* default 128; beyond it 431. At most TAVI_HTTP_HEADERS_MAX */
  size_t body_bytes_max;           /* of a body that is not streamed; default 16 MiB; beyond it 413 */
  uint32_t head_timeout_ms;        /* from the connection's start, or a head's first byte, to its end; default 30,000 */
  uint32_t body_timeout_ms;        /* between two pieces of a body; default 30,000 */
  uint32_t keepalive_timeout_ms;   /* between an answer and the next request; default 75,000 */
  const char *forwarded_from;      /* proxies whose Forwarded and X-Forwarded-* headers tavi_http_origin() believes: a
                                    * list as listen.proxy_protocol_from. Copied; default NULL: nobody */
};

#define TAVI_HTTP_HEADERS_MAX 4096

TAVI_API void tavi_http_opts_init(struct tavi_http_opts *opts);

/* ==== opening ==== */

/* Listen for HTTP. URLs as in tavi/conn.h, and http://host:port (default port 80). Otherwise as tavi_listen(). */
TAVI_API int tavi_http_listen(struct tavi_manager *m, const char *url, const struct tavi_http_opts *opts,
                              const struct tavi_http_handlers *handlers, void *user,
                              struct tavi_listener **ret_listener);

/* Connect to an HTTP server. Write requests with tavi_conn_send(), from on_connect on or at once; their method is
 * followed, so that the response to a HEAD has no body and a 2xx to CONNECT turns the connection raw. Each response
 * is told by on_headers and on_message; interim ones (1xx) by on_headers alone. A body that ends too early is
 * TAVI_E_PROTOCOL, not a short message. Otherwise as tavi_connect(). */
TAVI_API int tavi_http_connect(struct tavi_manager *m, const char *url, const struct tavi_http_opts *opts,
                               const struct tavi_http_handlers *handlers, void *user, struct tavi_conn **ret_conn);

/* ==== answering ==== */

/* Answer the current request at once.
 *
 * headers: name and value of each; borrowed for the call, sent in order. Date, Content-Length and, where needed,
 *          Connection are added. Content-Length among them is replaced by the true one. "Connection: close" closes
 *          afterwards. "Transfer-Encoding: chunked" begins a stream: as tavi_http_begin(TAVI_HTTP_STREAM) with `body`
 *          as its first chunk.
 * body:    copied. It is left out for HEAD (Content-Length still tells its size), 204 and 304.
 * Returns: 0; TAVI_E_ARG (status outside 100..999, a name that is no token, CR, LF or NUL in a value: nothing is sent);
 *          TAVI_E_STATE (no request waits for an answer, or its answer has begun); TAVI_E_CLOSED, TAVI_E_LIMIT,
 *          TAVI_E_NOMEM as in tavi/conn.h. On a connection that is no HTTP server's the response is written as it is.
 *          */
TAVI_API int tavi_http_reply(struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                             size_t header_count, struct tavi_slice body);

/* The same for a large body that need not be copied.
 *
 * body:    taken: release(arg) is called exactly once, when its last byte has been handed to the system or is not
 *          needed (HEAD, an error, a closed connection); on the loop's thread, possibly before this call returns. */
TAVI_API int tavi_http_reply_foreign(struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                                     size_t header_count, struct tavi_slice body, void (*release)(void *arg),
                                     void *arg);

/* For tavi_http_begin(): the length is not known; the body is sent with tavi_http_chunk(). */
#define TAVI_HTTP_STREAM UINT64_MAX

/* Begin an answer: status and headers as above, then `length` bytes by the tavi_conn_send functions, or a stream.
 * Send the body of an answer to a HEAD all the same; it is dropped, as many bytes as were announced.
 * A peer that speaks HTTP/1.0 gets a stream unframed, ended by closing. Returns as above. */
TAVI_API int tavi_http_begin(struct tavi_conn *c, int status, const struct tavi_http_header *headers,
                             size_t header_count, uint64_t length);

/* Send one piece of a stream (copied), framed as a chunk; an empty one ends the stream and completes the answer.
 * After HEAD the bytes are dropped. Returns as tavi_conn_send(). */
TAVI_API int tavi_http_chunk(struct tavi_conn *c, const void *data, size_t len);

/* End a stream with trailers (RFC 9110 section 6.5). Returns as tavi_http_reply(). */
TAVI_API int tavi_http_end(struct tavi_conn *c, const struct tavi_http_header *trailers, size_t trailer_count);

/* Answer with a short text page of the server's own, then close, reading and dropping what the peer still sends so
 * that it can read the answer. What the library itself does with bad requests. status: 400..599. */
TAVI_API int tavi_http_refuse(struct tavi_conn *c, int status);

/* Inside on_headers: do not collect this body. on_read tells each piece, tavi_conn_peek() is what has come, without
 * the chunk framing, and tavi_conn_consume() takes it; what is not taken is kept up to recv_bytes_max of the
 * connection, then the peer is paused. on_message, with an empty body, tells the end once all was consumed.
 * Returns: 0, or TAVI_E_STATE elsewhere. */
TAVI_API int tavi_http_stream_body(struct tavi_conn *c);

/* ==== compression ==== */

/* The codings that this library was built with and a server may apply; a sum. */
enum tavi_coding {
  TAVI_CODING_IDENTITY = 0, /* none */
  TAVI_CODING_GZIP = 1,
  TAVI_CODING_BROTLI = 2,
  TAVI_CODING_ZSTD = 4
};

/* Fill with tavi_http_compress_opts_init(). */
struct tavi_http_compress_opts {
  unsigned codings; /* that may be chosen; default: all there are */
  int level;        /* 1 (fast) to 9 (small), for each coding what comes nearest; default 4 */
  size_t bytes_min; /* a whole reply with a smaller body is sent as it is; default 512 */
};

TAVI_API void tavi_http_compress_opts_init(struct tavi_http_compress_opts *opts);

/* Compress the answer to the current request, which comes later, if the request accepts it (RFC 9110 section 12.5.3).
 *
 * Never done unasked, because the length of a compressed page that holds a secret and something that an attacker chose
 * tells the secret (BREACH). Call it where a page holds none, when the request is there and before the answer; it is
 * for this one request.
 * The answer, tavi_http_reply(), _reply_foreign() or a stream, gets Content-Encoding and Vary; its strong ETag becomes
 * a weak one, also in a 304. Each tavi_http_chunk() of a stream can be decoded by the peer when it arrives: that costs
 * bytes, so pieces should not be tiny. Only tavi_http_chunk() and _end() may send it; the tavi_conn_send functions are
 * TAVI_E_STATE then. A whole body is compressed before the call returns (at level 4, 1 MB in 5 to 20 ms).
 *
 * Left as they are: answers that are small; have no body, or only a part of one (206); have Content-Encoding,
 * Content-Range, a digest of the body, or "Cache-Control: no-transform"; whose Content-Type is compressed already
 * (images, video, archives); or that tavi_http_begin() gave a length. With Vary, but not compressed: to a client that
 * accepts no coding, what does not get smaller, and when memory is short. Files neither: see tavi/http_files.h.
 * opts: NULL for defaults. Returns: the coding that will be used (0: none); TAVI_E_ARG (level); TAVI_E_STATE (no
 * request waits for an answer); TAVI_E_NOMEM. */
TAVI_API int tavi_http_compress(struct tavi_conn *c, const struct tavi_http_msg *msg,
                                const struct tavi_http_compress_opts *opts);

/* ==== asking ==== */

/* True while a request waits for its answer to begin. */
TAVI_API bool tavi_http_is_waiting(const struct tavi_conn *c);

/* ==== looking up ==== */

/* The first header of that name (case-insensitive); NULL when there is none. name ends in NUL. */
TAVI_API const struct tavi_slice *tavi_http_header(const struct tavi_http_msg *msg, const char *name);

/* A parameter of a header value, such as boundary in "multipart/form-data; boundary=x" or a in "a=1, b=2": what
 * follows `name=`, up to ';', ',' or white space, or the inside of a quoted string (its backslashes are left in).
 * Returns as tavi_form_find(); names are compared case-insensitively (RFC 9110 section 5.6.6). */
TAVI_API int tavi_http_header_param(struct tavi_slice header_value, struct tavi_slice name,
                                    struct tavi_slice *ret_value);

TAVI_END_DECLS

#endif
