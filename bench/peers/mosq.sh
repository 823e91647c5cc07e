#!/bin/sh
# SPDX-License-Identifier: MIT
#
# mosquitto as a peer: anonymous, nothing stored, nothing logged, no limits on queues.
#   mosq.sh PORT
set -eu
PATH=$PATH:/usr/sbin
conf=${TMPDIR:-/tmp}/tavi-bench-mosquitto.conf
cat >"$conf" <<END
listener $1 127.0.0.1
allow_anonymous true
persistence false
log_dest none
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
END
exec mosquitto -c "$conf"
