-- The processes that work with this database, so that they know of each other. Nothing here belongs to a tenant.

-- +goose Up
create table nodes (
	id            uuid primary key,          -- the incarnation: made when the process starts
	name          text not null,
	role          text not null check (role in ('api', 'delivery', 'all')),
	version       text not null,
	started_at    timestamptz not null,
	beat_at       timestamptz not null,      -- by the database's clock, as all times here
	relays        integer not null default 0, -- that it drained then
	backend_pid   integer,                   -- its session, which holds its rights
	backend_start timestamptz,               -- tells it from another one that gets the same number later
	ended_at      timestamptz,               -- another node ended that session, or found it ended
	stopped_at    timestamptz                -- it stopped in good order
);
grant select, insert, update, delete on nodes to postrider_delivery;
alter table nodes enable row level security;
alter table nodes force row level security;
create policy delivery_all on nodes to postrider_delivery using (true) with check (true);

-- +goose Down
drop table nodes;
