-- +goose Up
-- The audit log. tenant_id is NULL in the operator's entries. It refers to no tenant: attempts in the name of one that
-- does not exist are told of too. Unique constraints carry the tenant, since the database checks them past the policies.

create table audit_entries (
  tenant_id uuid,
  id uuid not null,
  at timestamptz not null,
  actor_kind text not null,
  actor_user uuid,
  actor_token text not null,
  actor_role text not null,
  request_id text not null,
  action text not null,
  target_kind text not null,
  target_id text not null,
  outcome text not null check (outcome in ('done', 'denied', 'failed')),
  count bigint not null check (count > 0),
  detail jsonb not null,
  actor_commitment bytea,
  subject_commitment bytea,
  constraint audit_entries_id unique nulls not distinct (id, tenant_id)
);
create index audit_entries_list on audit_entries (tenant_id, at, id);
call app_protect('audit_entries', api => true, delivery => true);
create policy api_operator on audit_entries to postrider_api
  using (app_operator() and tenant_id is null) with check (app_operator() and tenant_id is null);
grant select, insert on audit_entries to postrider_api, postrider_delivery;

-- What names people, part by part (0: where the actor came from, 1: the person that is the target), so that it can be
-- erased with user_id. The entry holds a salted hash of it.
create table audit_people (
  tenant_id uuid,
  entry_id uuid not null,
  part smallint not null check (part in (0, 1)),
  user_id uuid,
  salt bytea not null,
  data jsonb not null,
  constraint audit_people_id unique nulls not distinct (entry_id, part, tenant_id)
);
create index audit_people_user on audit_people (tenant_id, user_id);
call app_protect('audit_people', api => true, delivery => true);
create policy api_operator on audit_people to postrider_api
  using (app_operator() and tenant_id is null) with check (app_operator() and tenant_id is null);
-- A person is erased in one tenant, which must be named: a forgotten one would be all of them.
create policy delivery_erase on audit_people as restrictive for delete to postrider_delivery using (tenant_id = app_tenant());
grant select, insert on audit_people to postrider_api;
grant select, insert, delete on audit_people to postrider_delivery;

-- The entries that are not in the chain yet. The API cannot touch it: the trigger writes it as the tables' owner, and
-- sees to it that no entry is forgotten.
create table audit_pending (
  tenant_id uuid,
  entry_id uuid not null
);
create index audit_pending_id on audit_pending (entry_id);
call app_protect('audit_pending', api => false, delivery => true);
grant select, delete on audit_pending to postrider_delivery;

-- hash is the hash of prev, which is that of the link before, and entry_hash.
create table audit_chain (
  seq bigint primary key,
  tenant_id uuid,
  entry_id uuid not null,
  entry_hash bytea not null check (length(entry_hash) = 32),
  prev bytea not null check (length(prev) = 32),
  hash bytea not null check (length(hash) = 32),
  chained_at timestamptz not null,
  constraint audit_chain_entry unique nulls not distinct (entry_id, tenant_id)
);
call app_protect('audit_chain', api => false, delivery => true);
grant select, insert on audit_chain to postrider_delivery;

create table audit_checkpoints (
  seq bigint primary key,
  hash bytea not null check (length(hash) = 32),
  at timestamptz not null,
  signature bytea not null
);
alter table audit_checkpoints enable row level security;
alter table audit_checkpoints force row level security;
create policy delivery_all on audit_checkpoints to postrider_delivery using (true) with check (true);
grant select, insert on audit_checkpoints to postrider_delivery;

-- The schema is that of the table that fired the trigger and the search path is fixed, so that nobody can put a table of
-- the same name in the way.
-- +goose StatementBegin
create function audit_wait() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  execute format('insert into %I.audit_pending (tenant_id, entry_id) values ($1, $2)', tg_table_schema) using new.tenant_id, new.id;
  return null;
end $$;
-- +goose StatementEnd
revoke all on function audit_wait from public;
create trigger audit_entries_wait after insert on audit_entries for each row execute function audit_wait();

-- Append-only, for the owner too. Of audit_people rows may be deleted: that is how a person is erased.
-- +goose StatementBegin
create function audit_refuse() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only: % of % is refused', lower(tg_op), tg_table_name using errcode = 'insufficient_privilege';
end $$;
-- +goose StatementEnd
create trigger audit_entries_append_only before update or delete or truncate on audit_entries
  for each statement execute function audit_refuse();
create trigger audit_people_append_only before update or truncate on audit_people
  for each statement execute function audit_refuse();
create trigger audit_chain_append_only before update or delete or truncate on audit_chain
  for each statement execute function audit_refuse();
create trigger audit_checkpoints_append_only before update or delete or truncate on audit_checkpoints
  for each statement execute function audit_refuse();
