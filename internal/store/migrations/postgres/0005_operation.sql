-- What operation needs: which programs work with these tables, and whether they came out of a backup. Nothing here belongs to a
-- tenant.

-- +goose Up
-- One row: version is the schema version for which compatible_from is known, the oldest one whose programs work with the tables.
create table schema_state (
	id              integer primary key check (id = 1),
	version         bigint not null,
	compatible_from bigint not null,
	program         text not null -- the version of the program that made them so
);
insert into schema_state (id, version, compatible_from, program) values (1, 5, 5, '');
grant select on schema_state to postrider_api, postrider_delivery;
alter table schema_state enable row level security;
alter table schema_state force row level security;
create policy api_read on schema_state for select to postrider_api using (true);
create policy delivery_all on schema_state for select to postrider_delivery using (true);

-- One row: where this database lives. A copy that was restored finds itself elsewhere, or behind.
create table installation (
	id          integer primary key check (id = 1),
	place       text not null default '', -- server and database
	timeline    bigint not null default 0,
	mark        uuid,                     -- SQLite: also in a file beside it
	seen_at     timestamptz,              -- when a service was last at work with it
	backup_at   timestamptz,              -- this is a backup, taken then
	restored_at timestamptz,              -- the last time that it was found to be restored
	hold_before timestamptz               -- what was due until then is being put on hold
);
insert into installation (id) values (1);
grant select, update on installation to postrider_delivery;
alter table installation enable row level security;
alter table installation force row level security;
create policy delivery_all on installation to postrider_delivery using (true) with check (true);

-- Of a message on hold since the database was restored: when it was due. due is far away meanwhile.
alter table spool add column restored_due timestamptz;
create index spool_restored on spool (tenant_id, message_id) where restored_due is not null;

-- What a node at work can work with.
alter table nodes add column schema_version bigint not null default 0;

-- +goose Down
alter table nodes drop column schema_version;
alter table spool drop column restored_due;
drop table installation;
drop table schema_state;
