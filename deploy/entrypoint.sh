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

exec "$@"
