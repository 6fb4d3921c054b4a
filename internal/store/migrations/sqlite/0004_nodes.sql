-- The processes that work with this database, as on PostgreSQL. Here there is one at a time.

-- +goose Up
create table nodes (
	id            blob not null primary key,
	name          text not null,
	role          text not null check (role in ('api', 'delivery', 'all')),
	version       text not null,
	started_at    integer not null,
	beat_at       integer not null,
	relays        integer not null default 0,
	backend_pid   integer,
	backend_start integer,
	ended_at      integer,
	stopped_at    integer
) strict;

-- +goose Down
drop table nodes;
