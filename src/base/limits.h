/* SPDX-License-Identifier: MIT
 *
 * Every bound that is not an option, with its unit and its reason. Options and their defaults are in include/. */
#ifndef TAVI_BASE_LIMITS_H
#define TAVI_BASE_LIMITS_H

/* ==== one turn of the loop ==== */

#define TAVI__READY_MAX 512               /* events taken by one wait; the rest stays ready */
#define TAVI__RX_BYTES (128u * 1024)      /* the loop's receive buffer = bytes read per connection and turn: large
                                           * enough to spare system calls, small enough to stay in a cache */
#define TAVI__ACCEPTS_PER_TURN 128        /* per listener, so that a flood does not starve those who are served */
#define TAVI__DATAGRAMS_PER_TURN 64       /* per UDP socket */
#define TAVI__WRITES_PER_TURN 16          /* system calls per connection and flush */
#define TAVI__FLUSH_ROUNDS 4              /* on_write may send again; the rest waits for the next turn */

/* ==== buffers ==== */

#define TAVI__BLOCK_BYTES 4096            /* one block of a send queue, header included */
#define TAVI__BLOCKS_KEPT 512             /* free blocks that a manager keeps (2 MiB), so that replies need no malloc */
#define TAVI__IOV_MAX 64                  /* pieces per writev */
#define TAVI__RECV_STEP 4096              /* smallest growth of a receive buffer */

/* ==== wakeups ==== */

#define TAVI__MAIL_BLOCK_BYTES (64u * 1024) /* payloads are packed into blocks; a larger one gets its own */

/* ==== work for other threads ==== */

#define TAVI__WORK_THREADS 4              /* per manager: they wait for disks, which take a few requests at a time */

/* ==== files ==== */

#define TAVI__FILE_WINDOW_BYTES (1u << 20)  /* asked for, and fetched, at a time */
#define TAVI__FILE_NEAR_MS 1000           /* how long bytes that were in memory are taken to be still there */

/* ==== lingering close (RFC 9112 section 9.6) ==== */

#define TAVI__LINGER_MS 1000              /* how long a refused peer may still send ... */
#define TAVI__LINGER_BYTES (16u << 20)  /* ... and how much is read and dropped so that it sees the answer */

/* ==== HTTP ==== */

#define TAVI__HTTP_TRAILER_BYTES 8192     /* the trailer section of a chunked body */
#define TAVI__HTTP_TRAILERS 32            /* fields in it */
#define TAVI__HTTP_DROP_BYTES (256u * 1024) /* rest of a body that is read and dropped after an early answer; a longer
                                             * one ends the connection instead */

/* ==== out of descriptors ==== */

#define TAVI__SHED_PAUSE_MS 100           /* a listener that cannot even shed rests so long instead of spinning */

#endif
