/* SPDX-License-Identifier: MIT
 *
 * Content types by the extension of a file's name: our own table, the text of a mime.types file, a caller's list. */
#ifndef TAVI_WIRE_MIME_H
#define TAVI_WIRE_MIME_H

#include <stdbool.h>

#include "tavi/base.h"

/* What follows the last '.' of the last component, "" without one ("Makefile", ".profile"). Borrowed from name. */
struct tavi_slice tavi__mime_extension(const char *name);

/* From our own table of what is common on the web, in any case; NULL when it is not there. Static. */
const char *tavi__mime_known(struct tavi_slice extension);

/* From a list "ext=type,ext2=type2" ("*" is any extension; the first that fits counts). Borrowed; empty: none fits. */
struct tavi_slice tavi__mime_listed(const char *list, struct tavi_slice extension);

/* The next line of a mime.types file ("type ext ext2 # comment") with at least one extension: its type and its
 * extensions, separated by white space. False at the end of the text; *at is moved on, and is 0 at first. */
bool tavi__mime_line(struct tavi_slice text, size_t *at, struct tavi_slice *ret_type,
                     struct tavi_slice *ret_extensions);

/* The next word of such extensions, cut off from their front. False: there is none. */
bool tavi__mime_word(struct tavi_slice *extensions, struct tavi_slice *ret_word);

/* For what nobody knows: shown, not interpreted. */
#define TAVI__MIME_UNKNOWN "text/plain; charset=utf-8"

#endif
