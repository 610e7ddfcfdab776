#!/bin/bash
# What compose files and testcontainers rely on of the official image's entrypoint: an empty data directory becomes a
# cluster with the user, the password and the database of the environment, and runs the scripts that were mounted.
set -euo pipefail

if [[ "$(id -u)" == 0 ]]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

export POSTGRES_USER="${POSTGRES_USER:-postgres}"
export POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"

fill() {
    initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --pgdata="$PGDATA" > /dev/null
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait start > /dev/null
    [[ "$POSTGRES_DB" == postgres ]] || createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
            *.sh) if [[ -x "$script" ]]; then "$script"; else . "$script"; fi ;;
            *.sql) psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --file="$script" ;;
        esac
    done
    pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop > /dev/null
}

if [[ "${1:-}" == postgres ]]; then
    [[ -s "$PGDATA/PG_VERSION" ]] || fill
    set -- "$@" -c listen_addresses='*'
fi
exec "$@"
