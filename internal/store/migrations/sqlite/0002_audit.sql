-- +goose Up
-- The audit log. tenant_id is NULL in the operator's entries. It refers to no tenant: attempts in the name of one that
-- does not exist are told of too.

create table audit_entries (
  tenant_id blob,
  id blob not null primary key check (length(id) = 16),
  at integer not null,
  actor_kind text not null,
  actor_user blob,
  actor_token text not null,
  actor_role text not null,
  request_id text not null,
  action text not null,
  target_kind text not null,
  target_id text not null,
  outcome text not null check (outcome in ('done', 'denied', 'failed')),
  count integer not null check (count > 0),
  detail text not null,
  actor_commitment blob,
  subject_commitment blob
) strict;
create index audit_entries_list on audit_entries (tenant_id, at, id);

-- What names people, part by part (0: where the actor came from, 1: the person that is the target), so that it can be
-- erased with user_id. The entry holds a salted hash of it.
create table audit_people (
  tenant_id blob,
  entry_id blob not null check (length(entry_id) = 16),
  part integer not null check (part in (0, 1)),
  user_id blob,
  salt blob not null,
  data text not null,
  primary key (entry_id, part)
) strict;
create index audit_people_user on audit_people (tenant_id, user_id);

-- The entries that are not in the chain yet. The trigger sees to it that none is forgotten.
create table audit_pending (
  tenant_id blob,
  entry_id blob not null primary key
) strict;

-- hash is the hash of prev, which is that of the link before, and entry_hash.
create table audit_chain (
  seq integer not null primary key,
  tenant_id blob,
  entry_id blob not null unique,
  entry_hash blob not null check (length(entry_hash) = 32),
  prev blob not null check (length(prev) = 32),
  hash blob not null check (length(hash) = 32),
  chained_at integer not null
) strict;

create table audit_checkpoints (
  seq integer not null primary key,
  hash blob not null check (length(hash) = 32),
  at integer not null,
  signature blob not null
) strict;

-- +goose StatementBegin
create trigger audit_entries_wait after insert on audit_entries begin
  insert into audit_pending (tenant_id, entry_id) values (new.tenant_id, new.id);
end;
-- +goose StatementEnd

-- Append-only. Of audit_people rows may be deleted: that is how a person is erased.
-- +goose StatementBegin
create trigger audit_entries_no_update before update on audit_entries begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_entries_no_delete before delete on audit_entries begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_people_no_update before update on audit_people begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_chain_no_update before update on audit_chain begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_chain_no_delete before delete on audit_chain begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_checkpoints_no_update before update on audit_checkpoints begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger audit_checkpoints_no_delete before delete on audit_checkpoints begin
  select raise(abort, 'the audit log is append-only');
end;
-- +goose StatementEnd
