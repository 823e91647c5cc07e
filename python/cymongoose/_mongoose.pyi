# SPDX-License-Identifier: MIT
"""The compiled part of cymongoose; import cymongoose instead.

The texts are those of the extension itself (python/src).
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Literal, SupportsBytes, Union

from typing_extensions import Self, TypeAlias

Handler: TypeAlias = Callable[[Connection, int, Any], object]
Payload: TypeAlias = Union[str, bytes, bytearray, memoryview, SupportsBytes, Iterable[int]]
Headers: TypeAlias = Mapping[Any, Any]
Path: TypeAlias = Union[str, os.PathLike[str], os.PathLike[bytes]]

__version__: str

MG_EV_ERROR: int
MG_EV_OPEN: int
MG_EV_POLL: int
MG_EV_RESOLVE: int
MG_EV_CONNECT: int
MG_EV_ACCEPT: int
MG_EV_TLS_HS: int
MG_EV_READ: int
MG_EV_WRITE: int
MG_EV_CLOSE: int
MG_EV_HTTP_HDRS: int
MG_EV_HTTP_MSG: int
MG_EV_WS_OPEN: int
MG_EV_WS_MSG: int
MG_EV_WS_CTL: int
MG_EV_MQTT_CMD: int
MG_EV_MQTT_MSG: int
MG_EV_MQTT_OPEN: int
MG_EV_SNTP_TIME: int
MG_EV_WAKEUP: int
MG_EV_USER: int
WEBSOCKET_OP_TEXT: int
WEBSOCKET_OP_BINARY: int
WEBSOCKET_OP_PING: int
WEBSOCKET_OP_PONG: int
MG_LL_NONE: int
MG_LL_ERROR: int
MG_LL_INFO: int
MG_LL_DEBUG: int
MG_LL_VERBOSE: int
MQTT_PROP_TYPE_BYTE: int
MQTT_PROP_TYPE_STRING: int
MQTT_PROP_TYPE_STRING_PAIR: int
MQTT_PROP_TYPE_BINARY_DATA: int
MQTT_PROP_TYPE_VARIABLE_INT: int
MQTT_PROP_TYPE_INT: int
MQTT_PROP_TYPE_SHORT: int


class Manager:
    """An event loop with its listeners, connections and timers.

    handler(conn, ev, data) gets the events of connections that have no handler of their own. enable_wakeup
    allows wakeup(). error_handler(exc) gets the exceptions of handlers and timers, instead of a traceback on
    sys.stderr. events, an iterable of event numbers, narrows what is delivered; None means all. backend is
    'epoll' or 'poll'; None takes the environment's TAVI_BACKEND, otherwise the best one. dns_servers, such as
    '10.0.0.1, [::1]:5353', are asked for names in place of those of the system's configuration, for
    dns_timeout_ms per name at most.

    Handlers and timers run on the thread that calls poll(). Everything may be called from any thread while it
    does, except poll() and close(). A manager that is dropped without close() closes when it is collected.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        enable_wakeup: bool = False,
        error_handler: Callable[[Exception], object] | None = None,
        *,
        events: Iterable[int] | None = None,
        backend: Literal["auto", "epoll", "poll"] | None = None,
        dns_servers: str | None = None,
        dns_timeout_ms: int | None = 5000,
    ) -> None: ...

    def poll(self, timeout_ms: int = 0) -> None:
        """One turn of the loop: wait until something is ready, timeout_ms milliseconds at most, and call the handlers.

        0 does not wait, a negative number waits without limit. Due timers, wakeups and signals end the wait
        earlier. The GIL is given back during the wait alone. Exceptions of handlers go to error_handler; those that
        are no Exception, such as KeyboardInterrupt, are raised from here after the handler that they came from.

        RuntimeError when closed, inside a handler, and while another thread is in poll().
        """

    def listen(
        self,
        url: str,
        handler: Handler | None = None,
        *,
        http: bool | None = None,
        reuse_port: bool | None = None,
        defer_accept: bool | None = None,
        backlog: int | None = None,
        idle_timeout_ms: int | None = None,
        write_timeout_ms: int | None = None,
        recv_bytes_max: int | None = None,
        send_bytes_max: int | None = None,
        send_high_water: int | None = None,
        send_low_water: int | None = None,
        head_bytes_max: int | None = None,
        target_bytes_max: int | None = None,
        header_count_max: int | None = None,
        body_bytes_max: int | None = None,
        head_timeout_ms: int | None = None,
        body_timeout_ms: int | None = None,
        keepalive_timeout_ms: int | None = None,
        proxy_protocol_from: str | None = None,
        forwarded_from: str | None = None,
    ) -> Connection:
        """Listen, and return the listener as a Connection.

        url is scheme://host:port: http and ws speak HTTP, udp is UDP, all others are raw TCP; http=True or False
        overrides. Also 'unix:/path', 'unix:@name', 'fd://3' and 'fd://systemd'. An empty host is 0.0.0.0, '[::]'
        all addresses of both families. Port 0 lets the system choose, see Connection.local_addr.

        handler, when not None, gets the events of the listener and of the connections that it accepts. Options left
        at None have the library's defaults. reuse_port lets several processes share the port; defer_accept accepts
        only when bytes are there; backlog counts connections. The others hold for each accepted connection:
        idle_timeout_ms (default none), write_timeout_ms (60,000), head_timeout_ms and body_timeout_ms (30,000) and
        keepalive_timeout_ms (75,000) are milliseconds, 0 for no limit; recv_bytes_max (3 MiB), send_bytes_max (64
        MiB), send_high_water (1 MiB), send_low_water (256 KiB), head_bytes_max (64 KiB), target_bytes_max (16 KiB)
        and body_bytes_max (16 MiB) are bytes; header_count_max (128) counts headers.

        Behind proxies: a list of addresses and networks, such as '10.0.0.0/8, ::1', with 'unix' for all peers on
        Unix sockets. Those of proxy_protocol_from must begin each connection with a PROXY protocol header (version 1
        or 2), and remote_addr is then the client's; of those of forwarded_from, origin() believes the Forwarded and
        X-Forwarded-* headers. At first nobody is believed.

        ValueError for such a list that is malformed or without effect (forwarded_from without HTTP, both with UDP),
        RuntimeError 'Failed to listen on ...' with the reason, or when the manager is closed. May be called from
        any thread.
        """

    def connect(
        self,
        url: str,
        handler: Handler | None = None,
        *,
        http: bool | None = None,
        connect_timeout_ms: int | None = None,
        idle_timeout_ms: int | None = None,
        write_timeout_ms: int | None = None,
        recv_bytes_max: int | None = None,
        send_bytes_max: int | None = None,
        send_high_water: int | None = None,
        send_low_water: int | None = None,
        head_bytes_max: int | None = None,
        header_count_max: int | None = None,
        body_bytes_max: int | None = None,
        head_timeout_ms: int | None = None,
        body_timeout_ms: int | None = None,
    ) -> Connection:
        """Open a connection and return it at once; MG_EV_CONNECT tells when it is established.

        url and http as in listen(). Bytes may be sent at once, they leave when the connection is established. A
        failure is told by MG_EV_ERROR and MG_EV_CLOSE. connect_timeout_ms (default 30,000) limits the time until
        then; the other options are those of listen().

        RuntimeError for an empty url, for a scheme that needs TLS, and when the manager is closed. May be called
        from any thread.
        """

    def sntp_connect(
        self,
        url: str,
        handler: Handler | None = None,
        *,
        timeout_ms: int | None = 3000,
        keep_open: bool = False,
    ) -> Connection:
        """Ask a time server: MG_EV_SNTP_TIME tells what time it is there, in milliseconds since 1970-01-01 UTC.

        url is sntp://host or udp://host; the port is 123 unless given. The question is sent as soon as the address
        is known, and again when no answer comes for a second. The connection closes after the answer; with keep_open
        it stays for sntp_request(). Answers from others than the server, and such that do not repeat the random
        number of the question, are ignored. MG_EV_ERROR tells that there is no answer within timeout_ms, that the
        server does not want to be asked (RATE, DENY, RSTR), or that it does not know the time itself; then do not
        ask it again soon. The computer's clock is not set.

        RuntimeError for an empty url or another scheme, and when the manager is closed. May be called from any
        thread.
        """

    def wakeup(self, connection_id: int, data: bytes = b"") -> bool:
        """Hand bytes to a connection or listener: its handler gets MG_EV_WAKEUP with them, and a waiting poll()
        returns.

        May be called from any thread; payloads of one thread arrive in the order in which they were given, of any
        size, and none is lost unless its target closes first. True when accepted; False without enable_wakeup, for
        an id that is not open, and when 64 MiB wait already. To wakeup_id: ends the wait of poll() and does nothing
        else.

        TypeError when data is not bytes, OverflowError for an id below 0 or above 64 bits, RuntimeError when
        closed.
        """

    def timer_add(
        self,
        milliseconds: int,
        callback: Callable[[], object],
        *,
        repeat: bool = False,
        run_now: bool = False,
    ) -> Timer:
        """Call callback() after so many milliseconds, inside poll(); with repeat=True every so many, until cancelled.

        run_now: the first call is in the next poll(). Periods missed by a stall are left out. The manager keeps the
        timer alive, the returned Timer need not be kept. Exceptions of the callback are treated as those of
        handlers.

        OverflowError for a negative time or one above 139 years, RuntimeError when closed. May be called from any
        thread.
        """

    def event_channel(
        self,
        *,
        slow: Literal["close", "skip"] = "close",
        pending_bytes_max: int = 262144,
    ) -> EventChannel:
        """A new EventChannel, which sends server-sent events to all connections that are subscribed to it.

        slow says what becomes of a subscriber that has more than pending_bytes_max bytes to send when an event
        comes: 'close' closes it, and its browser comes again and says by Last-Event-ID what it has; with 'skip' it
        does not get this event. The channel lives until its close(), until it is collected, or until the manager is
        closed.

        ValueError for another slow, OverflowError for a number below 0, RuntimeError when closed. May be called from
        any thread.
        """

    def run(self, poll_ms: int = 100) -> None:
        """Poll until SIGINT or SIGTERM arrives, then close the manager.

        Both signals have their previous handlers again afterwards. poll_ms is how long one wait may take.
        ValueError outside of the main thread (the manager stays open), RuntimeError when closed.
        """

    def fileno(self) -> int:
        """A descriptor that is readable whenever poll(0) has something to do, for use in another event loop.

        It belongs to the manager: do not read, write or close it. MG_EV_POLL does not make it readable.
        io.UnsupportedOperation with the 'poll' back end, OSError when descriptors have run out, RuntimeError when
        closed.
        """

    def close(self) -> None:
        """Close every connection and listener, deliver their MG_EV_CLOSE, end all timers. A second call does nothing.

        RuntimeError inside a handler and while any thread is in poll().
        """

    def __enter__(self) -> Self:
        """The manager itself."""

    def __exit__(self, *exc_info: object) -> Literal[False]:
        """close(). Exceptions propagate."""

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The open connections and listeners, as a tuple in the order in which they were made; a snapshot."""

    @property
    def wakeup_id(self) -> int:
        """The id for a wakeup() that only ends the wait of poll(); 0 without enable_wakeup."""


class Connection:
    """A connection or a listener, as Manager.listen(), Manager.connect() and handlers give it.

    One object for the whole life of the connection. All of it may be used from any thread, also while another
    one is inside Manager.poll(). After the close the methods that act raise RuntimeError, and the properties
    are False, 0 or None, apart from id, handler and userdata. One made by hand is closed.
    """

    def set_handler(self, handler: Handler | None) -> None:
        """Give the connection a handler of its own, from its next event on; None: the manager's again.

        On a listener: for itself and for the connections that it accepts from now on.
        """

    def send(self, data: Payload) -> None:
        """Send data: str (as UTF-8), or anything that bytes() takes apart from an int.

        Streams queue it, also before the connection is established, and it leaves by the end of the turn; UDP sends
        one datagram at once. Without effect on a listener. On an HTTP connection a response written this way is
        followed for its framing and counts as the answer.

        Raises RuntimeError when the connection is closed or drains, when the send queue is over its maximum, and
        when a datagram cannot be sent. May be called from any thread.
        """

    def send_to(self, addr: tuple[str, int] | tuple[str, int, bool], data: Payload) -> None:
        """Send one datagram to any address, from a socket that listen('udp://...') has bound, at once.

        addr is (host, port) or a remote_addr; host is an IP address, of a link-local peer with its zone
        ('fe80::1%eth0'). data is str (as UTF-8), or anything that bytes() takes apart from an int; it may be empty,
        and holds up to 65,507 bytes. Whom send() answers stays as it is.

        ValueError for what is no address that this socket can send to, RuntimeError when closed, on connections that
        are not such a socket, and when the datagram cannot be sent. May be called from any thread.
        """

    def join_group(self, group: str, interface: str | None = None) -> None:
        """Receive what is sent to a group (multicast) such as '239.1.2.3' or 'ff02::fb', at the port that listen() has
        bound: 'udp://:PORT' for IPv4, 'udp://[::]:PORT' for both families, with reuse_port=True when others on this
        host are to get it too. interface is a name or a number as str; None lets the system choose.

        ValueError when group is none or of the other family, RuntimeError when closed, not UDP, a member already,
        when there is no such interface, and when the socket has all the groups that the system allows.
        """

    def leave_group(self, group: str, interface: str | None = None) -> None:
        """The opposite of join_group(), with the same arguments. ValueError when not a member. Closing leaves all."""

    def set_multicast(self, interface: str | None = None, hops: int = 1, loop: bool = True) -> None:
        """How datagrams to groups leave this UDP socket from now on: by which interface (a name or a number as str;
        None lets the system choose), over how many networks (0 to 255; 1 is this network), and whether members on
        this host get them too. OverflowError for hops, otherwise as join_group().
        """

    def set_broadcast(self, allowed: bool = True) -> None:
        """Allow or forbid this UDP socket to send to broadcast addresses; at first it is forbidden. RuntimeError when
        closed, or not UDP.
        """

    def sntp_request(self) -> None:
        """Ask the time server again, on a connection of sntp_connect() with keep_open.

        While a question is under way, such as the one that sntp_connect() asks by itself, this is the same question:
        there is one answer. Public servers want to be asked no more often than every 15 seconds.

        RuntimeError when closed, and on other connections. May be called from any thread.
        """

    def recv(self, n: int = -1) -> bytes:
        """Take the first n received bytes; negative: all of them. b'' when there are none, or when closed.

        From the first call on, a full receive buffer pauses the peer instead of ending the connection. Of an HTTP
        message only a body that is streamed can be taken, see stream_body().
        """

    def recv_data(self, length: int = -1) -> bytes:
        """A copy of the first length received bytes that were not consumed; negative: all of them.

        They stay where they are: see recv() to take them. For UDP, the newest datagram. b'' when closed.
        """

    def send_data(self, length: int = -1) -> bytes:
        """A copy of the first length bytes that wait to be sent; negative: all of them. b'' when closed."""

    def pause(self) -> None:
        """Stop reading from the peer, until resume(). The peer is held back once the buffers between are full.

        Without effect on a listener. RuntimeError when closed.
        """

    def resume(self) -> None:
        """Read from the peer again after pause().

        Without effect on a listener. RuntimeError when closed.
        """

    def stream_body(self) -> None:
        """Inside MG_EV_HTTP_HDRS: do not collect the body of this message.

        Its pieces are told by MG_EV_READ and taken with recv(); what is not taken is kept up to recv_bytes_max,
        then the peer is paused. MG_EV_HTTP_MSG, with an empty body, comes once all of it was taken. RuntimeError
        elsewhere.
        """

    def reply(self, status_code: int, body: Payload = b"", headers: Headers | None = None) -> None:
        """Answer the current HTTP request.

        body is str (as UTF-8), or anything that bytes() takes apart from an int. headers is a mapping; names and
        values are taken as str(). 'Content-Type: text/plain' is sent unless headers has one; Date and
        Content-Length are added. With 'Transfer-Encoding: chunked' the answer goes on with http_chunk(), and body,
        if any, is its first chunk.

        Raises ValueError for a name or value that cannot be in a header and for a status outside of 100 to 999,
        RuntimeError when closed or when no request waits for an answer. On a connection that is no HTTP server's
        the response is written as it is. Without effect on a listener. May be called from any thread.
        """

    def reply_json(
        self,
        data: object,
        status_code: int = 200,
        headers: Headers | None = None,
    ) -> None:
        """Answer with json.dumps(data) as application/json. Otherwise as reply(); TypeError when data has no JSON
        form.
        """

    def compress(
        self,
        message: HttpMessage,
        *,
        level: int = 4,
        bytes_min: int = 512,
    ) -> Literal["", "gzip", "br", "zstd"]:
        """Compress the answer to this request, which comes later, if the request accepts that.

        Inside the handler that got message, before reply(), reply_json() or a stream. Returns the coding that
        would be used, 'gzip', 'br' or 'zstd', and '' for none. level is 1 (fast) to 9 (small); a whole reply whose
        body is below bytes_min bytes is sent as it is, and so is what is compressed already (images, video,
        archives, or with a Content-Encoding of its own). Files of serve_dir() are not compressed; see its neighbours.

        Not for pages that hold a secret beside something that an attacker chose: the length tells the secret
        (BREACH).

        ValueError when message is not valid any more or level is another, RuntimeError when closed or when no request
        waits for an answer. '' for a listener.
        """

    def serve_dir(
        self,
        message: HttpMessage,
        root_dir: Path,
        extra_headers: str = "",
        mime_types: str = "",
        page404: Path = "",
        *,
        listing: bool = True,
        hidden: bool = False,
        links_out: bool = False,
        neighbours: bool = True,
        ranges_max: int = 16,
        index: str = "index.html,index.htm",
        mount: str = "",
    ) -> None:
        """Answer the current HTTP request with what the path of message names below root_dir.

        Inside the handler that got message. GET and HEAD, ranges, conditional requests; anything else and everything
        that is wrong with the path or the file is answered (405, 400, 404, 403, 416, 500), not raised. Nothing outside
        of root_dir can be reached. Bytes that are not in memory are read by another thread.

        root_dir is os.PathLike, or a str 'dir,/uri-prefix=dir2,...', where the last prefix that fits wins. mount is the
        front of the path that is no part of a file's name in root_dir, such as '/static'.
        extra_headers are lines 'Name: value' that end in CRLF, sent with every answer. mime_types, such as
        'ext=type,ext2=type2', go before the usual ones. page404 is a file that is served with status 200 where
        nothing is found. listing: a directory without one of the files of index is listed; otherwise it is 404.
        hidden: names that begin with '.' are served. links_out: symbolic links may lead out of the root. neighbours:
        FILE.br, FILE.zst or FILE.gz, when not older than FILE, is sent in its place to who accepts it. More than
        ranges_max ranges get the whole file; 0 allows none.

        ValueError when message is not valid any more and for lines that are no headers, RuntimeError when closed or
        when no request waits for an answer. Without effect on a listener.
        """

    def serve_file(
        self,
        message: HttpMessage,
        path: Path,
        extra_headers: str = "",
        mime_types: str = "",
        *,
        neighbours: bool = True,
        ranges_max: int = 16,
    ) -> None:
        """Answer the current HTTP request with this file, whatever its path and method; 404 when it is not there or is
        a directory.

        path is str or os.PathLike and trusted. Otherwise as serve_dir().
        """

    def receive_form(
        self,
        message: HttpMessage,
        directory: Path | None,
        on_form: Callable[[Connection, Form], object],
        *,
        field_bytes_max: int | None = None,
        memory_bytes_max: int | None = None,
        part_count_max: int | None = None,
        file_count_max: int | None = None,
        file_bytes_max: int | None = None,
        body_bytes_max: int | None = None,
    ) -> None:
        """Inside MG_EV_HTTP_HDRS: receive the body of this request as a form (multipart/form-data or urlencoded), of
        any size. on_form(conn, form) takes the place of MG_EV_HTTP_MSG.

        Files go to disk piece by piece, written by another thread, into directory, under no name until
        FormPart.save(); the client is held back while the disk is slower. directory is str or os.PathLike; None: a
        form with a file is refused (413).

        on_form is called exactly once, unless the manager is collected first. It answers, or something later does.
        When form.error is set and no answer has begun by its end, the client is told form.status and the connection
        closes; when the client has left, it is called as well, and nothing can be answered. Its exceptions are treated
        as those of handlers.

        Limits, None for the default: field_bytes_max (64 KiB) of one value, memory_bytes_max (1 MiB) of all values and
        names, part_count_max (1000) parts, file_count_max (64) files, file_bytes_max (1 GiB) of one file,
        body_bytes_max (4 GiB) of everything, in place of the listener's.

        ValueError when the request is no form (nothing has happened: answer 415) and when message is not valid any
        more, FileNotFoundError, NotADirectoryError or another OSError for the directory, RuntimeError when closed,
        outside of MG_EV_HTTP_HDRS, for the second time and after an answer.
        """

    def http_chunk(self, data: Payload) -> None:
        """Send one piece of a chunked answer; an empty one ends it.

        data is str (as UTF-8), or anything that bytes() takes apart from an int. RuntimeError when closed, or when
        the answer is complete already.
        """

    def http_sse_begin(self, headers: Headers | None = None) -> None:
        """Answer the current HTTP request with a stream of server-sent events, to be sent with http_sse() or by an
        EventChannel; http_chunk(b'') ends it.

        200, 'Content-Type: text/event-stream', 'Cache-Control: no-store', then headers as in reply(), which may have
        another Cache-Control. What a client has missed is told by its Last-Event-ID header. Raises as reply().
        """

    def http_sse(
        self,
        event_type: str,
        data: str,
        *,
        id: str | None = None,
        retry_ms: int | None = None,
    ) -> None:
        """Send one server-sent event in the stream that http_sse_begin(), reply() with 'Transfer-Encoding: chunked'
        or a head written with send() has begun, chunked or not.

        Each line of data becomes a 'data:' line of its own; an empty event_type is left out, which means 'message'.
        id is what the browser tells in its Last-Event-ID header when it connects again; '' makes it forget the last
        one. retry_ms is how many milliseconds it waits before it does.

        ValueError for a line break in event_type or id; otherwise as http_chunk().
        """

    def http_basic_auth(self, username: str, password: str) -> None:
        """Append the header line 'Authorization: Basic ...' to what waits to be sent, after a request line written
        with send(). ValueError for a ':' in username and for control characters, RuntimeError when closed.
        """

    def http_challenge(self, scheme: Literal["Basic", "Bearer"] = "Basic", realm: str = "") -> None:
        """Answer the current HTTP request with 401 and 'WWW-Authenticate: <scheme> realm="<realm>"': a browser asks its
        user for a name and a password.

        scheme is 'Basic' or 'Bearer'. ValueError for another one and for a realm with control characters; otherwise as
        reply().
        """

    def origin(self, message: HttpMessage) -> Origin:
        """Who sent this request, in what way, and for which host: Origin(client, port, scheme, host, is_forwarded).

        Inside the handler that got message. What Forwarded, or else X-Forwarded-For, -Proto and -Host, say is believed
        as far as each hop was told by a proxy of listen(forwarded_from=...).

        ValueError when message is not valid any more, RuntimeError when closed and for a listener.
        """

    def drain(self) -> None:
        """Close when everything that waits has been sent; a listener closes at once. Nothing can be sent afterwards.

        Does nothing when closed already. May be called from any thread.
        """

    def close(self) -> None:
        """Close now; what waits to be sent is dropped. Does nothing when closed already.

        The object is closed at once, MG_EV_CLOSE follows by the end of the turn, or of the next one when no turn
        runs. May be called from any thread.
        """

    def error(self, message: str) -> None:
        """End the connection as failed: MG_EV_ERROR with this text inside the call, then MG_EV_CLOSE as with close().

        RuntimeError when closed.
        """

    def resolve(self, url: str) -> None:
        """Look up a host name, or the host of a URL. MG_EV_RESOLVE tells the end, and resolved has the addresses.

        Nothing else happens to the connection or listener. The event's data is None, or a str that says why nothing
        was found. It comes inside this call for addresses and for names that are known already. Another call takes
        the place of one that is under way. ValueError when there is no host in url, RuntimeError when closed.
        """

    def resolve_cancel(self) -> None:
        """No MG_EV_RESOLVE comes any more for resolve(). A connection whose own peer is still being looked up closes.

        RuntimeError when closed.
        """

    @property
    def id(self) -> int:
        """The number of the connection: never used again by this manager, and kept after the close."""

    @property
    def handler(self) -> Handler | None:
        """The connection's own handler, or None."""

    @property
    def userdata(self) -> Any:
        """Any object of yours; None at first. Kept after the close."""
    @userdata.setter
    def userdata(self, value: Any) -> None: ...

    @property
    def is_listening(self) -> bool:
        """True for what listen() has returned."""

    @property
    def is_client(self) -> bool:
        """True for what connect() has returned."""

    @property
    def is_udp(self) -> bool:
        """True for UDP."""

    @property
    def is_websocket(self) -> bool:
        """True once the connection speaks WebSocket."""

    @property
    def is_tls(self) -> bool:
        """True when the connection is encrypted."""

    @property
    def is_readable(self) -> bool:
        """True when the last wait found something to read."""

    @property
    def is_writable(self) -> bool:
        """True when the last wait found room to send."""

    @property
    def is_full(self) -> bool:
        """True while the send queue is above its high water mark and has not fallen below the low one."""

    @property
    def is_draining(self) -> bool:
        """True after drain(), or when the connection closes as soon as all is sent."""

    @property
    def is_closing(self) -> bool:
        """True once the connection is closed or about to be."""

    @property
    def is_paused(self) -> bool:
        """True between pause() and resume()."""

    @property
    def local_addr(self) -> tuple[str, int, bool] | None:
        """The own address as (ip, port, is_ipv6), of a Unix socket (path, 0, False); None when closed."""

    @property
    def remote_addr(self) -> tuple[str, int, bool] | None:
        """The peer's address in the same form; UDP: the sender of the newest datagram; listeners: see resolve()."""

    @property
    def resolved(self) -> tuple[tuple[str, int, bool], ...]:
        """The addresses that the last resolve() has found, the best first, as a tuple of (ip, port, is_ipv6)."""

    @property
    def recv_len(self) -> int:
        """Bytes that were received and not consumed."""

    @property
    def send_len(self) -> int:
        """Bytes that wait to be sent."""

    @property
    def recv_size(self) -> int:
        """Bytes of memory held for received bytes."""

    @property
    def send_size(self) -> int:
        """Bytes of memory held for the send queue."""


class HttpMessage:
    """A request or response, as handlers get it with MG_EV_HTTP_HDRS and MG_EV_HTTP_MSG.

    Valid until the handler returns: then bool(message) is False and everything in it is empty. What was read
    from it before stays. One made by hand is never valid.
    """

    def __bool__(self) -> bool: ...

    def header(self, name: str, default: Any = None) -> str | Any:
        """The value of the first header called name, in any case of letters, without the white space around it.

        default when there is none, or when the message is not valid any more.
        """

    def headers(self) -> list[tuple[str, str]]:
        """All headers as a list of (name, value), in the order and with the letters in which they were sent."""

    def trailers(self) -> list[tuple[str, str]]:
        """The fields that followed a chunked body, as a list of (name, value); empty in MG_EV_HTTP_HDRS."""

    def query_var(self, name: str) -> str | None:
        """The value of the first variable called name in the query, decoded ('+' is a space, %XX a byte).

        None when there is none; ValueError when its percent escapes are malformed.
        """

    def header_var(self, header: str, var: str) -> str | None:
        """A parameter inside a header, such as 'boundary' of Content-Type: what follows 'var=', up to ';', ',' or a
        space, or the inside of a quoted string. None when the header or the parameter is missing or empty.
        """

    def status(self) -> int | None:
        """The status code of a response, 0 for a request, None when the message is not valid any more."""

    def cookie(self, name: str) -> str | None:
        """The value of the first cookie called name (case-sensitive), without the quotes around it, not decoded
        otherwise; None when there is none.
        """

    def cookies(self) -> dict[str, str]:
        """All cookies as a dict from name to value, as cookie() gives them."""

    def basic_auth(self) -> tuple[str, str] | None:
        """(user, password) of 'Authorization: Basic ...', or None: when there is no such header, several, or a
        malformed one. Compare with is_user(), whose time tells nothing.
        """

    def bearer_token(self) -> str | None:
        """The token of 'Authorization: Bearer ...', or None: when there is no such header, several, or a malformed
        one.
        """

    def is_user(self, user: str, password: str) -> bool:
        """True when the request carries exactly these as Basic credentials. Both are always compared, in a time that
        depends on the length of what was sent alone.
        """

    def is_bearer(self, token: str) -> bool:
        """True when the request carries exactly this as its Bearer token; compared as in is_user()."""

    @property
    def method(self) -> str:
        """The request's method, such as 'GET'; of a response its version, such as 'HTTP/1.1'."""

    @property
    def uri(self) -> str:
        """The request target up to its first '?', not decoded; of a response its status as text."""

    @property
    def query(self) -> str:
        """What follows the first '?' of the request target, not decoded."""

    @property
    def proto(self) -> str:
        """The request's version, such as 'HTTP/1.1'; of a response its reason phrase."""

    @property
    def body_text(self) -> str:
        """The body as UTF-8 text; bytes that are none become surrogates."""

    @property
    def body_bytes(self) -> bytes:
        """The body; in MG_EV_HTTP_HDRS as much of it as has arrived."""


class Form:
    """A form that Connection.receive_form() has received.

    Valid until on_form returns: then bool(form) is False, it has no parts, and files that were not saved are
    gone. One made by hand is never valid.
    """

    def __bool__(self) -> bool: ...

    def get(self, name: str) -> FormPart | None:
        """The first part called name (case-sensitive), or None."""

    @property
    def parts(self) -> tuple[FormPart, ...]:
        """The parts in their order; with an error those that were complete."""

    @property
    def error(self) -> str | None:
        """None when the form is complete, otherwise what was wrong, for people. Kept."""

    @property
    def status(self) -> int:
        """The status that the client is told unless on_form answers, such as 400 or 413; 0 without an error and
        when the client has gone. Kept.
        """


class FormPart:
    """A field of a Form: a value in memory, or a file on disk that has no name until save().

    Valid until on_form returns: then bool(part) is False and everything in it is empty. One made by hand is never
    valid.
    """

    def __bool__(self) -> bool: ...

    def save(self, path: Path) -> None:
        """Give the received file this name, with mode 0666 less the umask; an existing file is replaced at once.

        path is str or os.PathLike, your own and trusted: never made from filename unseen. It must be on the same file
        system as the directory of receive_form().

        OSError when that fails (FileNotFoundError, IsADirectoryError, PermissionError and others), ValueError when the
        part is no file or not valid any more, RuntimeError when it was saved before.
        """

    def read(self) -> bytes:
        """All bytes of the file, or of a value. The GIL is given back while the disk is read. b'' when not valid any
        more, OSError when the disk fails.
        """

    def fileno(self) -> int:
        """The descriptor of the file, open for reading and writing, its offset anywhere; os.dup() it to keep it.

        It belongs to the form. ValueError when the part is no file or not valid any more.
        """

    @property
    def name(self) -> str:
        """The field's name, decoded."""

    @property
    def filename(self) -> str:
        """The name that the client gives the file: a hint, never a path; '' for values."""

    @property
    def content_type(self) -> str:
        """The Content-Type that the client gives; '' when there is none."""

    @property
    def value(self) -> bytes:
        """The value; b'' for files, see read()."""

    @property
    def text(self) -> str:
        """The value as UTF-8 text; bytes that are none become surrogates."""

    @property
    def size(self) -> int:
        """Bytes of the value or the file."""

    @property
    def is_file(self) -> bool:
        """True for a file, which was written to disk."""


class EventChannel:
    """Sends each event to many connections, as Manager.event_channel() makes it.

    All of it may be used from any thread. Once it or its manager is closed, the methods that act raise
    RuntimeError and the counts are 0. One made by hand is closed.
    """

    def subscribe(self, conn: Connection) -> None:
        """From now on conn, whose stream http_sse_begin() has begun, gets what is published: until it closes, its
        stream ends, or it is unsubscribed. It may be on several channels; twice on one is once.

        RuntimeError when no stream has begun and when the connection or the channel is closed, ValueError for a
        connection of another manager.
        """

    def unsubscribe(self, conn: Connection) -> None:
        """conn gets nothing more from this channel; its stream goes on. Does nothing when it is not subscribed."""

    def publish(
        self,
        event_type: str,
        data: str,
        *,
        id: str | None = None,
        retry_ms: int | None = None,
    ) -> int:
        """Send an event, as of http_sse(), to every subscriber, and return how many get it. It is encoded once and
        leaves by the end of the turn.

        0 while the manager is closing. ValueError for a line break in event_type or id, RuntimeError when the channel
        or its manager is closed. May be called from any thread.
        """

    def close(self) -> None:
        """End the channel. The streams of its subscribers go on. Does nothing when closed already."""

    @property
    def subscriber_count(self) -> int:
        """How many connections are subscribed."""

    @property
    def skipped_count(self) -> int:
        """Events that were not sent to a subscriber because it was slow, since the beginning."""

    @property
    def closed_count(self) -> int:
        """Subscribers that were closed because they were slow, since the beginning."""


class Origin(tuple[str, int, str, str, bool]):
    """Who has asked, in what way, for which host: a tuple with names, as Connection.origin() gives it."""

    @property
    def client(self) -> str:
        """The client's address; '' when a trusted proxy does not tell it or hides it."""

    @property
    def port(self) -> int:
        """The client's port; 0 when it is not told."""

    @property
    def scheme(self) -> str:
        """'http' or 'https'."""

    @property
    def host(self) -> str:
        """The host that was asked for, with its port, if any."""

    @property
    def is_forwarded(self) -> bool:
        """True when a trusted proxy has said so; otherwise it is what the connection and Host tell."""


class Timer:
    """A timer of a manager, as Manager.timer_add() gives it. One made by hand has ended already."""

    def cancel(self) -> None:
        """End the timer: no call starts after this one returns. Does nothing when it has ended already.

        May be called from any thread, and inside the timer's own callback.
        """

    @property
    def active(self) -> bool:
        """True until the timer is cancelled, has fired for the last time, or its manager is closed."""


class Rpc:
    """Remote calls as JSON texts, after JSON-RPC 2.0: frames need no 'jsonrpc' member, replies have none, and there
    are no batches. Over what the texts travel is up to the program, for example a WebSocket.
    """

    def __init__(self) -> None: ...

    def add(self, method: str, handler: Callable[[RpcReq], object]) -> None:
        """Let handler(req) answer the calls of a method: it gets an RpcReq and calls its ok() or err().

        method is a pattern as in match(). Of several that match, the one that was added last is called. '' is for
        replies to calls of one's own, which have 'result' or 'error' instead of a method.
        """

    def process(self, frame: Payload) -> str:
        """Call the handler for a frame, such as '{"id": 1, "method": "add", "params": [1, 2]}', and return its reply:
        '{"id":1,"result":3}'.

        Errors have the numbers of JSON-RPC: -32700 for what is no JSON or no call, -32601 for an unknown method,
        -32603 when the handler raises an Exception or does not answer. '' for a call without an id, which wants no
        reply, and for replies.
        """

    @property
    def methods(self) -> list[str]:
        """The patterns given to add(), the newest first, without ''; a new list."""


class RpcReq:
    """A remote call, as the handlers of Rpc get it. Valid until the handler returns; one made by hand never is."""

    def __init__(self) -> None: ...

    def ok(self, result_json: str) -> None:
        """Answer the call with a result, which is JSON text (json.dumps(...)) and not looked at.

        RuntimeError when the call is answered already, and after its handler has returned.
        """

    def err(self, code: int, message: str) -> None:
        """Answer the call with an error: a number, and words.

        RuntimeError when the call is answered already, and after its handler has returned.
        """

    @property
    def frame(self) -> str:
        """The text of the whole call; '' once its handler has returned."""


def event_name(ev: int) -> str:
    """The name of an event number, such as 'MG_EV_HTTP_MSG' for 11.

    Numbers above MG_EV_USER give 'MG_EV_USER+1' and so on, others 'MG_EV_UNKNOWN(20)'.
    """


def log_set(level: int) -> None:
    """Choose which log lines of the library are printed to sys.stdout: those up to this level.

    Holds for all managers of the process, from their next poll() on; MG_LL_NONE (0), the default, prints nothing.
    """


def log_get() -> int:
    """The level that was given to log_set() last; 0 at first."""


def millis() -> int:
    """Milliseconds of the monotonic clock, the one that timers go by."""


def json_get(data: Payload, path: str) -> str | None:
    """The text of a value inside JSON text, as it is written there: '"Alice"', '30', '[1, 2]', 'null'.

    path is '$' for the whole, '.name' for a member (the first of that name), '[2]' for an element counted from 0, one
    after the other: '$.users[0].name'. data is str or bytes; it is read up to that value and no further. None when
    there is no such value, when data is no JSON up to there, and beyond 512 arrays and objects in each other.
    """


def json_get_str(data: Payload, path: str) -> str | None:
    """A JSON string as a str, its escapes decoded; None when json_get() finds anything else.

    Half of a surrogate pair becomes U+FFFD.
    """


def json_get_num(data: Payload, path: str, default: Any = None) -> float | Any:
    """A JSON number as a float, the nearest one; default when json_get() finds anything else."""


def json_get_bool(data: Payload, path: str, default: Any = None) -> bool | Any:
    """True or False for true and false; default when json_get() finds anything else."""


def json_get_long(data: Payload, path: str, default: int = 0) -> int:
    """A JSON number cut to an int, exactly: 3.99 is 3, 1.5e3 is 1500. default, an int, when json_get() finds anything
    else and for more than 4,300 digits.
    """


def match(s: str, pattern: str) -> tuple[bool, list[str]]:
    """Whether all of s matches the pattern, and what its wildcards stand for: (True, ['users', '42']) or (False, []).

    '?' is any character, '*' any run of them without a '/', '#' any run. All others stand for themselves; there is no
    escape. Each wildcard from the left takes the shortest run that it can, and no pattern takes longer than len(s) *
    len(pattern).
    """


def url_port(url: str) -> int:
    """The port of a URL, otherwise that of its scheme: 80 for http and ws, 443 for https and wss, 1883 for mqtt, 8883
    for mqtts. 0 when there is none, and for one that is no number up to 65535.
    """


def url_host(url: str) -> str:
    """The host of a URL, also of one without a scheme; an IPv6 address with its brackets. '' when there is none."""


def url_user(url: str) -> str:
    """The user in a URL, not decoded; '' when there is none."""


def url_pass(url: str) -> str:
    """The password in a URL, not decoded; '' when there is none."""


def url_uri(url: str) -> str:
    """What follows the host and port of a URL: path, query and fragment, with a '/' in front in any case."""


def url_is_ssl(url: str) -> bool:
    """True when the scheme asks for TLS: https, wss, mqtts, ssl, tls or tcps, in any case of letters."""


def url_encode(s: str) -> str:
    """s so that it can stand anywhere in a URL: letters, digits, '-', '.', '_' and '~' stay, any other byte of its
    UTF-8 becomes %XX.
    """


def base64_encode(data: Payload) -> str:
    """The Base64 of data, with padding, as a str. data is str (as UTF-8), or anything that bytes() takes apart from
    an int.
    """


def base64_decode(data: str) -> bytes:
    """The bytes of Base64 text (RFC 4648 section 4). ValueError for a character that is not of its alphabet, for
    padding that is missing or misplaced, and for bits left over.
    """


def md5(data: Payload) -> bytes:
    """The MD5 of data, 16 bytes. A checksum: it protects against nobody."""


def sha1(data: Payload) -> bytes:
    """The SHA-1 of data, 20 bytes. A checksum: it protects against nobody."""


def sha256(data: Payload) -> bytes:
    """The SHA-256 of data, 32 bytes."""


def hmac_sha256(key: Payload, data: Payload) -> bytes:
    """The HMAC-SHA-256 of data under key, 32 bytes."""


def crc32(data: Payload, initial: int = 0) -> int:
    """The CRC-32 of data; initial is that of the bytes before it. OverflowError when initial is beyond 32 bits."""


def random_bytes(n: int) -> bytes:
    """n bytes of the system that nobody can guess. OverflowError for a negative n."""


def random_str(n: int) -> str:
    """n letters and digits of ASCII that nobody can guess; 22 of them are as good as 128 bits. OverflowError for a
    negative n.
    """


def features() -> str:
    """What the library was built with, as 'name/version' separated by spaces, such as 'zlib/1.2.13 brotli/1.0.9'."""


def http_parse_multipart(body: Payload, offset: int = 0) -> tuple[int, dict[str, Any] | None]:
    """The next part of a multipart body that is in memory, as (next_offset, part).

    Begin with offset 0 and go on with next_offset until part is None, which comes as (0, None): behind the last
    part, and where the body is malformed. part is a dict with 'name' and 'filename' (str, '' when there is none)
    and 'body' (bytes). filename is what the client says: never a path to write to.

    OverflowError for a negative offset. For large uploads see Connection.receive_form().
    """


def http_var(buf: Payload, name: str) -> str | None:
    """The value of the first variable called name in form data such as 'a=1&b=2', decoded ('+' is a space, %XX a
    byte); '' for 'a=' and for a bare 'a'.

    None when there is none; ValueError when its percent escapes are malformed.
    """


def http_cookie(
    name: str,
    value: str,
    *,
    path: str = "/",
    domain: str = "",
    max_age: int | None = None,
    same_site: Literal["Lax", "Strict", "None"] = "Lax",
    secure: bool = True,
    http_only: bool = True,
) -> str:
    """The value of a Set-Cookie header.

    value must have no controls, spaces, quotes, commas, semicolons and backslashes: encode what may have them. path
    '' leaves it to the browser, domain '' means this host alone. max_age is in seconds, 0 deletes the cookie, None
    keeps it until the browser ends. same_site is 'Lax', 'Strict' or 'None', which needs secure: over TLS alone (and
    to localhost). http_only: scripts cannot read it.

    ValueError for what a browser would refuse or read differently.
    """
