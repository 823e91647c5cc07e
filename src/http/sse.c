/* SPDX-License-Identifier: MIT
 *
 * Event streams: one event to one stream, and channels that send one event to many.
 *
 * A channel is a list of subscriptions; each is also in a list of its connection, which drops it when the stream ends,
 * so nothing has to be looked at while nothing happens. An event is encoded once, as a chunk; those whose stream is not
 * chunked get the middle of it.
 *
 * A small event is copied into the block that a subscriber sends next, which takes no allocation, and the events of a
 * turn become one piece. When there are many subscribers, a block for each would be megabytes that are touched, freed
 * and taken anew for every event (half of its cost, as measured with 1,000); then they share its memory as they do for
 * a large event, unless something is queued already: that is a burst, or a slow reader, and copies take less room.
 *
 * Publishing does not fail anybody's connection: who cannot be given an event for want of room is treated as slow. Only
 * compressed streams, which have an encoder each and go through tavi_http_chunk(), may call back in the middle of it;
 * then the user may unsubscribe anybody, publish again, or free the channel. Therefore a publication is a walk that the
 * channel knows (struct walk): who leaves the list moves the walks that stand before it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http.h"
#include "loop/log.h"
#include "tavi/http_sse.h"
#include "wire/event_stream.h"

/* One stream on one channel. */
struct tavi__sse_sub {
  struct tavi__node link;           /* in the channel's list */
  struct tavi_sse_channel *channel;
  struct tavi_conn *conn;
  struct tavi__sse_sub *next;       /* of the same stream */
};

/* A publication that is going on. */
struct walk {
  struct tavi__node *next;          /* who gets the event next; the list's head: nobody */
  struct walk *outer;               /* one in whose callback this one began */
  bool is_over;                     /* the channel was freed */
};

struct tavi_sse_channel {
  struct tavi__node link;           /* in the manager's list */
  struct tavi_manager *manager;
  struct tavi__node subs;
  size_t count;
  struct tavi_sse_channel_opts opts;
  uint64_t skipped, closed;
  struct walk *walks;
};

/* The channels of a manager. */
struct part {
  struct tavi__part base;           /* first */
  struct tavi__node channels;
};

void tavi_sse_event_init(struct tavi_sse_event *ev) { *ev = (struct tavi_sse_event){.retry_ms = -1}; }

/* ==== one stream ==== */

static TAVI__COLD int no_memory(struct tavi_conn *c) {
  tavi__conn_fail_with(c, TAVI_E_NOMEM, "cannot send an event");
  return TAVI_E_NOMEM;
}

int tavi_sse_begin(struct tavi_conn *c, const struct tavi_http_header *headers, size_t header_count) {
  static const struct tavi_http_header ours[] = {
      {{"Content-Type", 12}, {"text/event-stream", 17}},
      {{"Cache-Control", 13}, {"no-store", 8}},
  };
  enum { OURS = sizeof(ours) / sizeof(ours[0]) };
  if (!tavi__is_http_server(c) || tavi__http_of(c)->question == TAVI__HTTP1_CONNECT) return TAVI_E_STATE;

  struct tavi_http_header *all = malloc((OURS + header_count) * sizeof(*all));
  if (all == NULL) return no_memory(c);
  size_t count = 0;
  for (size_t i = 0; i < OURS; i++)
    if (tavi__http1_find(headers, header_count, ours[i].name) == NULL) all[count++] = ours[i];
  for (size_t i = 0; i < header_count; i++) all[count++] = headers[i];
  int err = tavi_http_begin(c, 200, all, count, TAVI_HTTP_STREAM);
  free(all);
  if (err < 0 || tavi__http_of(c)->question != TAVI__HTTP1_HEAD) return err;
  return tavi_http_end(c, NULL, 0); /* an answer to a HEAD has no end to wait for */
}

int tavi_sse_send(struct tavi_conn *c, const struct tavi_sse_event *ev) {
  char room[TAVI__SSE_COPY_BYTES];
  size_t size = tavi__event_stream_size(ev);
  if (size == 0) return TAVI_E_ARG;

  char *text = size <= sizeof(room) ? room : malloc(size);
  if (text == NULL) return no_memory(c);
  tavi__event_stream_put(text, ev);
  int err = tavi_http_chunk(c, text, size);
  if (text != room) free(text);
  return err;
}

/* ==== an event as it is sent ==== */

/* Memory that is freed with its last reference. */
struct shared {
  size_t refs;
  char bytes[];
};

struct frame {
  struct tavi_slice chunk; /* the size in hexadecimal digits, CR LF, the event, CR LF */
  struct tavi_slice plain; /* the event */
  struct shared *shared;   /* where both are; NULL: they can only be copied */
};

enum { CHUNK_EXTRA = 16 + 2 + 2 };

static void unref(void *arg) {
  struct shared *s = arg;
  if (s != NULL && --s->refs == 0) free(s);
}

/* room: for CHUNK_EXTRA bytes and the event. */
static struct frame encode(char *room, const struct tavi_sse_event *ev, size_t size) {
  char *text = room + snprintf(room, CHUNK_EXTRA, "%zx\r\n", size);
  char *end = tavi__event_stream_put(text, ev);
  memcpy(end, "\r\n", 2);
  return (struct frame){.chunk = {room, (size_t) (end + 2 - room)}, .plain = {text, size}};
}

static bool encode_shared(const struct tavi_sse_event *ev, size_t size, struct frame *ret_frame) {
  struct shared *s = malloc(sizeof(*s) + size + CHUNK_EXTRA);
  if (s == NULL) return false;
  *ret_frame = encode(s->bytes, ev, size);
  ret_frame->shared = s;
  s->refs = 1;
  return true;
}

/* ==== one delivery ==== */

static bool is_chunked(const struct tavi_conn *c) { return tavi__http_of(c)->answer == TAVI__ANSWER_CHUNKED; }

static bool is_streaming(const struct tavi_conn *c) {
  return is_chunked(c) || tavi__http_of(c)->answer == TAVI__ANSWER_UNTIL_CLOSE;
}

/* False when there is no room for `len` bytes more; see enum tavi_sse_slow. */
static bool has_room(const struct tavi_sse_channel *ch, const struct tavi_conn *c, size_t len) {
  struct tavi__http_more *more = tavi__http_of(c)->more;
  size_t queued = c->out.bytes, max = c->conf->opts.send_bytes_max;
  if (more->sse_turn != ch->manager->turn) {
    more->sse_turn = ch->manager->turn;
    more->sse_waiting = queued;
  }
  if (more->sse_waiting > ch->opts.pending_bytes_max) return false;
  return queued == 0 || (queued <= max && len <= max - queued);
}

/* False: there is no memory. */
static bool queue(struct tavi_conn *c, const struct frame *f) {
  struct tavi_slice data = is_chunked(c) ? f->chunk : f->plain;
  struct tavi_manager *m = c->src.manager;
  bool is_small = f->plain.len <= TAVI__SSE_COPY_BYTES;
  if (f->shared != NULL && !(is_small && c->out.last != NULL)) {
    f->shared->refs++;
    if (tavi__sendq_foreign(&c->out, m, data.ptr, data.len, unref, f->shared) < 0) return false;
  } else {
    char *to = tavi__sendq_room(&c->out, m, data.len);
    if (to == NULL) return false;
    memcpy(to, data.ptr, data.len);
    tavi__sendq_commit(&c->out, data.len);
  }
  tavi__conn_queued(c);
  return true;
}

static TAVI__COLD void is_slow(struct tavi_sse_channel *ch, struct tavi_conn *c) {
  if (ch->opts.slow == TAVI_SSE_SLOW_SKIP) {
    ch->skipped++;
    return;
  }
  ch->closed++;
  tavi__log(c->src.manager, TAVI_LOG_DEBUG, "connection %llu: closed, a slow subscriber of events",
            (unsigned long long) c->src.id);
  tavi_conn_close(c);
}

/* True when the subscriber gets the event. */
static bool deliver(struct tavi_sse_channel *ch, struct tavi_conn *c, const struct frame *f) {
  if (c->src.is_closing || c->is_draining || !is_streaming(c)) return false;
  if (!has_room(ch, c, f->chunk.len)) {
    is_slow(ch, c);
    return false;
  }
  if (tavi__http_is_compressed(c)) return tavi_http_chunk(c, f->plain.ptr, f->plain.len) == 0; /* may call back */
  if (queue(c, f)) return true;
  is_slow(ch, c);
  return false;
}

/* To all who are subscribed now. Returns how many get it. */
static int64_t deliver_all(struct tavi_sse_channel *ch, const struct frame *f) {
  struct walk walk = {.next = ch->subs.next, .outer = ch->walks};
  int64_t count = 0;
  ch->walks = &walk;
  while (!walk.is_over && walk.next != &ch->subs) {
    const struct tavi__sse_sub *sub = TAVI__CONTAINER(walk.next, struct tavi__sse_sub, link);
    walk.next = sub->link.next;
    count += deliver(ch, sub->conn, f);
  }
  if (!walk.is_over) ch->walks = walk.outer;
  return count;
}

int64_t tavi_sse_publish(struct tavi_sse_channel *ch, const struct tavi_sse_event *ev) {
  char room[TAVI__SSE_COPY_BYTES + CHUNK_EXTRA];
  struct frame frame;
  size_t size = tavi__event_stream_size(ev);
  if (size == 0) return TAVI_E_ARG;
  if (ch->count == 0) return 0;

  if (size <= TAVI__SSE_COPY_BYTES && ch->count <= TAVI__SSE_COPIES)
    frame = encode(room, ev, size);
  else if (!encode_shared(ev, size, &frame))
    return TAVI_E_NOMEM;
  int64_t count = deliver_all(ch, &frame);
  unref(frame.shared);
  return count;
}

/* ==== subscriptions ==== */

static struct tavi__sse_sub **find_sub(struct tavi__http_more *more, const struct tavi_sse_channel *ch) {
  struct tavi__sse_sub **at = &more->subs;
  while (*at != NULL && (*at)->channel != ch) at = &(*at)->next;
  return at;
}

int tavi_sse_subscribe(struct tavi_sse_channel *ch, struct tavi_conn *c) {
  if (c->src.manager != ch->manager) return TAVI_E_ARG;
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  if (!tavi__is_http_server(c)) return TAVI_E_STATE;
  if (tavi__http_is_head_done(c)) return 0;
  if (!is_streaming(c)) return TAVI_E_STATE;
  if (tavi__http_of(c)->question == TAVI__HTTP1_HEAD) return 0;

  struct tavi__http_more *more = tavi__http_more(tavi__http_of(c));
  if (more == NULL) return TAVI_E_NOMEM;
  if (*find_sub(more, ch) != NULL) return 0;
  struct tavi__sse_sub *sub = malloc(sizeof(*sub));
  if (sub == NULL) return TAVI_E_NOMEM;

  sub->channel = ch;
  sub->conn = c;
  sub->next = more->subs;
  more->subs = sub;
  tavi__list_append(ch->subs.next, &sub->link); /* in front of all others: no walk that is going on comes by here */
  ch->count++;
  return 0;
}

/* at: where its stream points to it. */
static void remove_sub(struct tavi__sse_sub **at) {
  struct tavi__sse_sub *sub = *at;
  struct tavi_sse_channel *ch = sub->channel;
  for (struct walk *w = ch->walks; w != NULL; w = w->outer)
    if (w->next == &sub->link) w->next = sub->link.next;
  tavi__list_remove(&sub->link);
  ch->count--;
  *at = sub->next;
  free(sub);
}

void tavi_sse_unsubscribe(struct tavi_sse_channel *ch, struct tavi_conn *c) {
  struct tavi__http_more *more = tavi__is_http_server(c) ? tavi__http_of(c)->more : NULL;
  struct tavi__sse_sub **at = more == NULL ? NULL : find_sub(more, ch);
  if (at != NULL && *at != NULL) remove_sub(at);
}

void tavi__sse_leave(struct tavi__http_more *more) {
  while (more->subs != NULL) remove_sub(&more->subs);
}

/* ==== channels ==== */

static const char part_key;

static void free_channel(struct tavi_sse_channel *ch) {
  while (!tavi__list_empty(&ch->subs))
    tavi_sse_unsubscribe(ch, TAVI__CONTAINER(ch->subs.next, struct tavi__sse_sub, link)->conn);
  for (struct walk *w = ch->walks; w != NULL; w = w->outer) w->is_over = true;
  tavi__list_remove(&ch->link);
  free(ch);
}

static void end_part(struct tavi__part *base, struct tavi_manager *m) {
  struct part *part = TAVI__CONTAINER(base, struct part, base);
  (void) m;
  while (!tavi__list_empty(&part->channels))
    free_channel(TAVI__CONTAINER(part->channels.next, struct tavi_sse_channel, link));
  free(part);
}

/* NULL: there is no memory. */
static struct part *part_of(struct tavi_manager *m) {
  struct tavi__part *found = tavi__manager_part(m, &part_key);
  if (found != NULL) return TAVI__CONTAINER(found, struct part, base);

  struct part *part = malloc(sizeof(*part));
  if (part == NULL) return NULL;
  part->base = (struct tavi__part){.key = &part_key, .end = end_part};
  tavi__list_init(&part->channels);
  tavi__manager_add_part(m, &part->base);
  return part;
}

void tavi_sse_channel_opts_init(struct tavi_sse_channel_opts *opts) {
  *opts = (struct tavi_sse_channel_opts){.slow = TAVI_SSE_SLOW_CLOSE, .pending_bytes_max = (size_t) 256 << 10};
}

int tavi_sse_channel_new(struct tavi_manager *m, const struct tavi_sse_channel_opts *opts,
                         struct tavi_sse_channel **ret_channel) {
  struct tavi_sse_channel_opts defaults;
  tavi_sse_channel_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if (opts->slow != TAVI_SSE_SLOW_CLOSE && opts->slow != TAVI_SSE_SLOW_SKIP) return TAVI_E_ARG;

  struct part *part = part_of(m);
  struct tavi_sse_channel *ch = part == NULL ? NULL : calloc(1, sizeof(*ch));
  if (ch == NULL) return TAVI_E_NOMEM;
  ch->manager = m;
  ch->opts = *opts;
  tavi__list_init(&ch->subs);
  tavi__list_append(&part->channels, &ch->link);
  *ret_channel = ch;
  return 0;
}

void tavi_sse_channel_free(struct tavi_sse_channel *ch) {
  if (ch != NULL) free_channel(ch);
}

size_t tavi_sse_subscriber_count(const struct tavi_sse_channel *ch) { return ch->count; }

uint64_t tavi_sse_skipped_count(const struct tavi_sse_channel *ch) { return ch->skipped; }

uint64_t tavi_sse_closed_count(const struct tavi_sse_channel *ch) { return ch->closed; }
