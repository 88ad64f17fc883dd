#!/bin/sh
# Gives the command each secret that is mounted as a file, in the variable of the file's name. What
# the environment has already wins, but for what is empty, which counts as unset everywhere here.
set -eu

for file in "${SECRETS_DIR:-/run/secrets}"/*; do
  name=${file##*/}
  case $name in
    [0-9]* | *[!A-Za-z0-9_]*) continue ;; # no variable's name: a key that is read as a file
  esac
  if [ -f "$file" ] && [ -z "$(printenv "$name")" ]; then
    value=$(cat "$file")
    export "$name=$value"
  fi
done

# Dagster's servers start, or say in a traceback, without what the first run needs.
case ${1-} in
  dagster-webserver | dagster-daemon)
    instance=${DAGSTER_HOME-}/dagster.yaml
    variables='s/^ *env: *"\{0,1\}\([A-Za-z_][A-Za-z0-9_]*\).*/\1/p'
    [ ! -f "$instance" ] || for name in $(sed -n "$variables" "$instance"); do
      [ -n "$(printenv "$name")" ] || {
        echo "$name: not set, and $instance needs it. Set it in the environment, or mount it as the" \
          "file /run/secrets/$name." >&2
        exit 1
      }
    done
    socket=/var/run/docker.sock
    [ ! -S $socket ] || [ -w $socket ] || {
      echo "$socket may not be used: it belongs to group $(stat -c %g $socket). Set DOCKER_GID to" \
        "that." >&2
      exit 1
    }
    ;;
esac

# After a reboot all containers start at once, and a daemon that finds failed runs before the code
# location answers gives up those that are to be run again. WAIT_FOR is the location's HOST:PORT.
if [ -n "${WAIT_FOR-}" ] && [ "${1-} ${2-}" = "dagster-daemon run" ]; then
  connect='import socket, sys; socket.create_connection(sys.argv[1].rsplit(":", 1), 1)'
  tries=0
  until python -c "$connect" "$WAIT_FOR" 2> /dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 120 ] || { echo "$WAIT_FOR does not answer; starting without it." >&2; break; }
    sleep 1
  done
fi

exec "$@"
