#!/bin/bash
# Run once, where the volume is empty: a database and its only user for each program that keeps something.
# Grafana may read the commander's store and nothing else.
set -euo pipefail

query() { # DATABASE
    psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$1" "${@:2}"
}

own() { # USER PASSWORD DATABASE ...
    local each
    query postgres --set=user="$1" --set=password="$2" <<< "CREATE ROLE :\"user\" LOGIN PASSWORD :'password'"
    for each in "${@:3}"; do
        query postgres --set=user="$1" --set=database="$each" <<'SQL'
CREATE DATABASE :"database" OWNER :"user";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
    done
}

own kestra "$KESTRA_DATABASE_PASSWORD" kestra
own temporal "$TEMPORAL_DATABASE_PASSWORD" temporal temporal_visibility
own commander "$STORE_DATABASE_PASSWORD" commander
own grafana "$GRAFANA_DATABASE_PASSWORD"
query commander <<'SQL'
GRANT CONNECT ON DATABASE commander TO grafana;
GRANT USAGE ON SCHEMA public TO grafana;
ALTER DEFAULT PRIVILEGES FOR ROLE commander IN SCHEMA public GRANT SELECT ON TABLES TO grafana;
SQL
