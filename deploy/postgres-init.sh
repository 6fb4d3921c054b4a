#!/bin/sh
# Makes the three logins of the service when the database is made: the image of PostgreSQL runs this once, as its superuser.
set -eu
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
  -v owner="$(cat /run/secrets/owner-password)" -v web="$(cat /run/secrets/web-password)" -v sender="$(cat /run/secrets/sender-password)" \
  -v database="$POSTGRES_DB" <<'SQL'
CREATE ROLE postrider_owner LOGIN PASSWORD :'owner' BYPASSRLS CREATEROLE;
CREATE ROLE postrider_web LOGIN PASSWORD :'web';
CREATE ROLE postrider_sender LOGIN PASSWORD :'sender';
ALTER DATABASE :"database" OWNER TO postrider_owner;
SQL
