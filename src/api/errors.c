/* SPDX-License-Identifier: MIT
 *
 * Names and texts of errors, the version and what the library was built with. */
#include "codec/codec.h"

/* In the order of their numbers. */
static const struct {
  const char *name, *text;
} errors[] = {
    {"TAVI_OK", "no error"},
    {"TAVI_E_NOMEM", "out of memory"},
    {"TAVI_E_ARG", "invalid argument"},
    {"TAVI_E_CLOSED", "closed"},
    {"TAVI_E_STATE", "not possible now"},
    {"TAVI_E_BUSY", "the manager is in the middle of a turn"},
    {"TAVI_E_LIMIT", "a limit is reached"},
    {"TAVI_E_NOT_FOUND", "not found"},
    {"TAVI_E_ADDRESS", "invalid address"},
    {"TAVI_E_IN_USE", "address already in use"},
    {"TAVI_E_ACCESS", "permission denied"},
    {"TAVI_E_DESCRIPTORS", "out of descriptors"},
    {"TAVI_E_REFUSED", "connection refused"},
    {"TAVI_E_RESET", "connection reset by the peer"},
    {"TAVI_E_TIMEOUT", "timed out"},
    {"TAVI_E_UNREACHABLE", "unreachable"},
    {"TAVI_E_PROTOCOL", "the peer broke the protocol"},
    {"TAVI_E_UNSUPPORTED", "not supported here"},
    {"TAVI_E_SYSTEM", "system error"},
    {"TAVI_E_RESOLVE", "the host name could not be resolved"},
    {"TAVI_E_TOO_BIG", "too big for one datagram"},
    {"TAVI_E_USER", "raised by the program"},
};

enum { COUNT = (int) (sizeof(errors) / sizeof(errors[0])) };

_Static_assert(COUNT == 1 - TAVI_E_USER, "one entry per error");

const char *tavi_err_name(int err) { return err <= 0 && err > -COUNT ? errors[-err].name : "TAVI_E_?"; }

const char *tavi_err_text(int err) { return err <= 0 && err > -COUNT ? errors[-err].text : "unknown error"; }

const char *tavi_version(void) { return TAVI_VERSION; }

const char *tavi_features(void) { return tavi__codec_versions(); }
