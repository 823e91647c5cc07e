/* SPDX-License-Identifier: MIT
 *
 * libtavi: an event-driven networking engine. One manager is one loop on one thread; connections, listeners and
 * timers belong to it. This header brings the whole interface; each part can be included alone.
 *
 *   tavi/base.h      slices, errors, conventions (read this first)
 *   tavi/log.h       where the library's words go
 *   tavi/manager.h   the loop: poll, wakeup from other threads, life in a foreign loop
 *   tavi/timer.h     timers
 *   tavi/conn.h      listeners and connections: TCP, UDP, Unix sockets; sending, receiving, closing
 *   tavi/dns.h       names and their addresses
 *   tavi/http_msg.h  an HTTP message as data
 *   tavi/http.h      HTTP/1.1 server and client connections, compression
 *   tavi/http_client.h requests: a URL in, a response out
 *   tavi/http_files.h  directories and files as answers
 *   tavi/http_form.h   forms and uploads
 *   tavi/http_sse.h    server-sent events
 *   tavi/http_auth.h   credentials, cookies, the client behind a proxy
 *   tavi/udp.h       datagrams to any address, to groups, to everybody
 *   tavi/sntp.h      the time, from a time server
 *   tavi/url.h       the parts of a URL, percent-encoding
 *   tavi/text.h      patterns with wildcards, Base64
 *   tavi/json.h      values out of JSON text by their path
 *   tavi/jsonrpc.h   remote calls as JSON texts
 *   tavi/crypto.h    hashes, HMAC, CRC-32, random bytes
 */
#ifndef TAVI_H
#define TAVI_H

#include "tavi/base.h"
#include "tavi/conn.h"
#include "tavi/crypto.h"
#include "tavi/dns.h"
#include "tavi/http.h"
#include "tavi/http_auth.h"
#include "tavi/http_client.h"
#include "tavi/http_files.h"
#include "tavi/http_form.h"
#include "tavi/http_msg.h"
#include "tavi/http_sse.h"
#include "tavi/json.h"
#include "tavi/jsonrpc.h"
#include "tavi/log.h"
#include "tavi/manager.h"
#include "tavi/sntp.h"
#include "tavi/text.h"
#include "tavi/timer.h"
#include "tavi/udp.h"
#include "tavi/url.h"

#endif
