-- What operation needs: which programs work with these tables, and whether they came out of a backup.

-- +goose Up
-- One row: version is the schema version for which compatible_from is known, the oldest one whose programs work with the tables.
create table schema_state (
	id              integer not null primary key check (id = 1),
	version         integer not null,
	compatible_from integer not null,
	program         text not null
) strict;
insert into schema_state (id, version, compatible_from, program) values (1, 5, 5, '');

-- One row: where this database lives. A copy that was restored finds itself elsewhere, or behind.
create table installation (
	id          integer not null primary key check (id = 1),
	place       text not null default '',
	timeline    integer not null default 0,
	mark        blob,
	seen_at     integer,
	backup_at   integer,
	restored_at integer,
	hold_before integer
) strict;
insert into installation (id) values (1);

-- Of a message on hold since the database was restored: when it was due. due is far away meanwhile.
alter table spool add column restored_due integer;
create index spool_restored on spool (tenant_id, message_id) where restored_due is not null;

-- What a node at work can work with.
alter table nodes add column schema_version integer not null default 0;

-- +goose Down
alter table nodes drop column schema_version;
drop index spool_restored;
alter table spool drop column restored_due;
drop table installation;
drop table schema_state;
