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

/* ==== names, and the way to a peer ==== */

#define TAVI__DIAL_STAGGER_MS 250         /* between two attempts (RFC 8305 section 5) */
#define TAVI__DNS_DELAY_MS 50             /* IPv4 is known: how long to wait for IPv6 (RFC 8305 section 3) */
#define TAVI__DNS_ASKED_MAX 256           /* names asked for at a time; the others wait, or a server would drop some */
#define TAVI__DNS_NAMES_KEPT 1024         /* answers in the cache of a manager (about 300 bytes each) */
#define TAVI__DNS_TTL_MS_MAX 3600000      /* an answer is asked for again after an hour, whatever it says */
#define TAVI__DNS_FAILURE_MS 1000         /* how long a failure is kept (RFC 9520 section 3.2: at least a second) */
#define TAVI__DNS_HOSTS_MS 1000           /* the same for what the hosts file says: it may have been edited */
#define TAVI__DNS_CONFIG_MS 10000         /* after so long, and when nothing is asked, resolv.conf is read again */

/* ==== work for other threads ==== */

#define TAVI__WORK_THREADS 4              /* per manager: they wait for disks, which take a few requests at a time */

/* ==== files ==== */

#define TAVI__FILE_WINDOW_BYTES (1u << 20)  /* asked for, and fetched, at a time */
#define TAVI__FILE_NEAR_MS 1000           /* how long bytes that were in memory are taken to be still there */
#define TAVI__FILE_KEPT_BYTES (32u * 1024)  /* files up to this size are kept in memory: one send without sendfile */
#define TAVI__FILES_KEPT 256              /* entries of the cache, and so descriptors, per manager */
#define TAVI__FILES_KEPT_BYTES (4u << 20) /* of small files together */
#define TAVI__FILES_UNUSED_MS 5000        /* an entry that nobody asks for goes after one to two times this */
#define TAVI__FILES_NEIGHBOURS_MS 1000    /* how often compressed neighbours are looked for */
#define TAVI__FILES_WALK_MS 1000          /* how often the way to a file is looked at, and not just the file */
#define TAVI__FILES_RANGES 64             /* the most that ranges_max can be: they are kept on the stack */
#define TAVI__LISTING_ENTRIES 10000       /* of a directory that are shown */
#define TAVI__LISTINGS_WAITING 32         /* for the one thread that reads directories; further ones are refused. (Who
                                           * goes away leaves his own behind.) */
#define TAVI__MIME_BYTES_MAX (1u << 20)   /* of the system's mime.types */

/* ==== lingering close (RFC 9112 section 9.6) ==== */

#define TAVI__LINGER_MS 1000              /* how long a refused peer may still send ... */
#define TAVI__LINGER_BYTES (16u << 20)  /* ... and how much is read and dropped so that it sees the answer */

/* ==== HTTP ==== */

#define TAVI__HTTP_TRAILER_BYTES 8192     /* the trailer section of a chunked body */
#define TAVI__HTTP_TRAILERS 32            /* fields in it */
#define TAVI__HTTP_DROP_BYTES (256u * 1024) /* rest of a body that is read and dropped after an early answer; a longer
                                             * one ends the connection instead */

/* ==== HTTP requests of our own ==== */

#define TAVI__HTTP_INTERIM_MAX 64         /* interim responses to one request: more are no news */
#define TAVI__HTTP_CONTINUE_MS 1000       /* how long a body waits for 100 (Continue): RFC 9110 section 10.1.1 */
#define TAVI__HTTP_REDIRECT_BYTES (64u * 1024) /* body of a redirect that is read to keep the connection */
#define TAVI__HTTP_URL_BYTES (64u * 1024) /* of a URL, the user's or one that a redirect gives */
#define TAVI__HTTP_UPLOAD_BYTES (64u * 1024) /* of a streamed body that wait in the queue before no more is asked for */
#define TAVI__DECODE_PIECE_BYTES (32u * 1024) /* told at a time */
#define TAVI__DECODE_TURN_BYTES (1u << 20) /* decoded per call and turn: a few milliseconds, whatever the ratio */

/* ==== server-sent events ==== */

#define TAVI__SSE_COPY_BYTES 1024         /* an event of up to so many bytes is copied for each subscriber ... */
#define TAVI__SSE_COPIES 256              /* ... up to so many; beyond it, the blocks would be more than are kept */

/* ==== forms ==== */

#define TAVI__MULTIPART_HEAD_BYTES 8192   /* the header lines of one part: names of files are longer than one thinks */
#define TAVI__FORM_BUFFER_BYTES (128u * 1024) /* of a file on its way to disk; two per form, one filling, one writing */
#define TAVI__FORM_TEXT_STEP 1024         /* smallest growth of the memory for a form's values */

/* ==== proxies and credentials ==== */

#define TAVI__PROXY_MS 5000               /* for a trusted proxy to send the header of the PROXY protocol */
#define TAVI__FORWARDED_HOPS 64           /* trusted elements that are read; a longer chain is somebody's loop */
#define TAVI__CREDENTIAL_BYTES 4096       /* user, ':' and password: longer ones are nobody's */
#define TAVI__REALM_BYTES 256             /* of a challenge, before its quotes are escaped */

/* ==== cookies: what browsers keep (RFC 6265bis section 5.6) ==== */

#define TAVI__COOKIE_BYTES 4096           /* name and value */
#define TAVI__COOKIE_ATTRIBUTE_BYTES 1024 /* the value of one attribute; a longer one is ignored */
#define TAVI__COOKIE_DOMAIN_BYTES 253     /* of a name in the DNS (RFC 1035 section 3.1, without the root) */

/* ==== helper functions ==== */

#define TAVI__JSON_DEPTH 512              /* arrays and objects in each other; one bit of stack each */
#define TAVI__JSON_DIGITS 800             /* of a number that decide how it is rounded: 768 is the most (IEEE 754) */
#define TAVI__JSONRPC_METHOD_BYTES 256    /* of a method's name that has escapes in it */
#define TAVI__MATCH_WILDCARDS 32          /* of a pattern whose captures nobody wants: they are kept on the stack */

/* ==== out of descriptors ==== */

#define TAVI__SHED_PAUSE_MS 100           /* a listener that cannot even shed rests so long instead of spinning */

#endif
