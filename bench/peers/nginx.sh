#!/bin/sh
# SPDX-License-Identifier: MIT
#
# nginx as a peer: one worker, nothing logged; "Hello, World!" from memory on every path, or the files of a directory,
# with "cache" by its cache of open files (which notices a changed file after a minute).
#   nginx.sh PORT [DIR [cache]]
set -eu
PATH=$PATH:/usr/sbin
dir=${TMPDIR:-/tmp}/tavi-bench-nginx
mkdir -p "$dir"
location='return 200 "Hello, World!";'
[ $# -lt 2 ] || location="root $2; sendfile on; tcp_nopush on;"
[ $# -lt 3 ] || location="$location open_file_cache max=1000 inactive=60s;"
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
    location / { $location }
  }
}
END
exec nginx -p "$dir" -c "$dir/nginx.conf" -e /dev/null
