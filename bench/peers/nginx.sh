#!/bin/sh
# SPDX-License-Identifier: MIT
#
# nginx as a peer: one worker, "Hello, World!" from memory on every path, nothing logged.
#   nginx.sh PORT
set -eu
PATH=$PATH:/usr/sbin
dir=${TMPDIR:-/tmp}/tavi-bench-nginx
mkdir -p "$dir"
cat >"$dir/nginx.conf" <<END
daemon off;
worker_processes 1;
worker_rlimit_nofile 60000;
pid $dir/pid;
error_log /dev/null crit;
events { worker_connections 30000; multi_accept on; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  default_type text/plain;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  server {
    listen 127.0.0.1:$1 backlog=4096;
    location / { return 200 "Hello, World!"; }
  }
}
END
exec nginx -p "$dir" -c "$dir/nginx.conf" -e /dev/null
