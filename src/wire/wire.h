/* SPDX-License-Identifier: MIT
 *
 * What all wire machines answer. A machine turns bytes into events and knows no socket, clock or allocator. */
#ifndef TAVI_WIRE_WIRE_H
#define TAVI_WIRE_WIRE_H

enum tavi__wire_status {
  TAVI_WIRE_MORE = 0,  /* nothing wrong so far; call again when more bytes have come */
  TAVI_WIRE_EVENT = 1  /* one event was found; see *consumed */
  /* negative: an error; the machine is dead */
};

#endif
