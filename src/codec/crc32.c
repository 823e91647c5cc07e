/* SPDX-License-Identifier: MIT
 *
 * CRC-32, by zlib: see tavi/crypto.h. */
#include <zlib.h>

#include "tavi/crypto.h"

uint32_t tavi_crc32(uint32_t crc, struct tavi_slice data) {
  return data.len > 0 ? (uint32_t) crc32_z(crc, (const Bytef *) data.ptr, data.len) : crc;
}
