/* SPDX-License-Identifier: MIT
 *
 * See errors.h. */
#include "os/errors.h"

#include <errno.h>

int tavi__error_of(int system_errno) {
  switch (system_errno) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
    case EINTR: return TAVI__AGAIN;
    case ENOMEM:
    case ENOBUFS: return TAVI_E_NOMEM;
    case EMFILE:
    case ENFILE: return TAVI_E_DESCRIPTORS;
    case EADDRINUSE: return TAVI_E_IN_USE;
    case EACCES:
    case EPERM: return TAVI_E_ACCESS;
    case ECONNREFUSED: return TAVI_E_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE: return TAVI_E_RESET;
    case ETIMEDOUT: return TAVI_E_TIMEOUT;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN: return TAVI_E_UNREACHABLE;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EINVAL:
    case ENAMETOOLONG: return TAVI_E_ADDRESS;
    case ENOENT: return TAVI_E_NOT_FOUND;
    case EMSGSIZE: return TAVI_E_TOO_BIG;
    default: return TAVI_E_SYSTEM;
  }
}
