/* SPDX-License-Identifier: MIT
 *
 * What every other header of libtavi stands on: visibility, slices, error codes, the version.
 *
 * Conventions that hold for the whole interface and are not repeated at each function:
 *
 *  - Threads: a manager and everything made by it belong to the thread that calls tavi_manager_poll().
 *    The one exception is tavi_manager_wakeup(), which any thread may call. A host with one lock of its own
 *    (Python's GIL) may call anything from a thread that holds that lock; see struct tavi_manager_opts.
 *  - Memory: "borrowed" is valid until the moment that is named, "copied" belongs to the caller from the call
 *    on, "taken" is ours from the call on, also when the call fails.
 *  - Errors: functions that can fail return int: 0 (or a positive count) is success, a negative enum tavi_err
 *    is failure. Output parameters are last, named ret_..., and untouched on failure.
 *  - Callbacks: each is a point of re-entrancy. Afterwards assume that anything may have been sent on or
 *    closed; memory of a closed connection stays valid until its close callback has returned.
 */
#ifndef TAVI_BASE_H
#define TAVI_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(TAVI_STATIC)
#define TAVI_API
#else
#define TAVI_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define TAVI_BEGIN_DECLS extern "C" {
#define TAVI_END_DECLS }
#else
#define TAVI_BEGIN_DECLS
#define TAVI_END_DECLS
#endif

TAVI_BEGIN_DECLS

/* The version of these headers. tavi_version() tells that of the library that was found at run time. */
#define TAVI_VERSION "0.1.0"
#define TAVI_VERSION_NUMBER 0x000100 /* 0xMMmmpp */

/* A run of bytes that somebody else owns. There is no hidden NUL at the end; `ptr` may be NULL when `len` is 0. */
struct tavi_slice {
  const char *ptr;
  size_t len; /* bytes */
};

/* Every failure that a function of this library returns or that an error callback is told. */
enum tavi_err {
  TAVI_OK = 0,
  TAVI_E_NOMEM = -1,       /* an allocation failed */
  TAVI_E_ARG = -2,         /* an argument is outside of what the function takes */
  TAVI_E_CLOSED = -3,      /* the connection, listener or manager is closed or closing */
  TAVI_E_STATE = -4,       /* the call does not fit what is going on, such as a second answer to one request */
  TAVI_E_BUSY = -5,        /* tavi_manager_poll() inside a callback of the same manager */
  TAVI_E_LIMIT = -6,       /* a named maximum is reached */
  TAVI_E_NOT_FOUND = -7,   /* no such connection, file or name */
  TAVI_E_ADDRESS = -8,     /* an address or URL that cannot be parsed or used */
  TAVI_E_IN_USE = -9,      /* the address is taken by another socket */
  TAVI_E_ACCESS = -10,     /* the system forbids it */
  TAVI_E_DESCRIPTORS = -11,/* the process or the system has run out of descriptors */
  TAVI_E_REFUSED = -12,    /* the peer refused the connection */
  TAVI_E_RESET = -13,      /* the peer reset the connection */
  TAVI_E_TIMEOUT = -14,    /* a time-out passed */
  TAVI_E_UNREACHABLE = -15,/* no route to the peer */
  TAVI_E_PROTOCOL = -16,   /* the peer broke its protocol */
  TAVI_E_UNSUPPORTED = -17,/* this system or this back end cannot do it */
  TAVI_E_SYSTEM = -18,     /* any other failure of a system call; the log names it */
  TAVI_E_RESOLVE = -19,    /* a host name could not be resolved */
  TAVI_E_TOO_BIG = -20,    /* more than one datagram can hold */
  TAVI_E_USER = -21        /* raised by the program itself with tavi_conn_fail() */
};

/* The name of an error, such as "TAVI_E_REFUSED"; "TAVI_E_?" for a number that is none. Never NULL, static. */
TAVI_API const char *tavi_err_name(int err);

/* A short text for people, such as "connection refused". Never NULL, static. */
TAVI_API const char *tavi_err_text(int err);

/* The version of the library, such as "0.1.0". Static. */
TAVI_API const char *tavi_version(void);

/* What the library was built with: "name/version", separated by spaces, such as "zlib/1.2.13 brotli/1.0.9". Static. */
TAVI_API const char *tavi_features(void);

TAVI_END_DECLS

#endif
