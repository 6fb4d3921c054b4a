-- +goose Up
-- Tenants, users, credentials. Ending in _key: a value in the form in which it is compared.
--
-- The roles postrider_api and postrider_delivery exist before the migrations run. Every table with rows of tenants is
-- guarded by row-level security, also against its owner; keys between such tables, and unique constraints, carry the
-- tenant, since the database checks them past the policies.

-- The tenant and the operator that the transaction works for. A setting that was set once in a session and is unset
-- again reads as the empty string.
-- +goose StatementBegin
create function app_tenant() returns uuid language sql stable parallel safe
  return nullif(current_setting('app.tenant_id', true), '')::uuid;
-- +goose StatementEnd
-- +goose StatementBegin
create function app_operator() returns boolean language sql stable parallel safe
  return coalesce(current_setting('app.operator', true), '') = 'on';
-- +goose StatementEnd

-- app_protect gives a table with a column tenant_id its usual policies: for the API the rows of the tenant that is
-- set, for delivery all rows, and once a tenant is set, that tenant's only. The tenant is read in a SELECT of its own, so once a statement and not once for each row.
-- +goose StatementBegin
create procedure app_protect(target regclass, api boolean, delivery boolean) language plpgsql as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  if api then
    execute format('create policy api_tenant on %s to postrider_api
      using (tenant_id = (select app_tenant())) with check (tenant_id = (select app_tenant()))', target);
  end if;
  if delivery then
    execute format('create policy delivery_all on %s to postrider_delivery using (true) with check (true)', target);
    execute format('create policy delivery_tenant on %s as restrictive to postrider_delivery
      using ((select app_tenant()) is null or tenant_id = (select app_tenant()))
      with check ((select app_tenant()) is null or tenant_id = (select app_tenant()))', target);
  end if;
end $$;
-- +goose StatementEnd
revoke all on procedure app_protect from public;

grant select on goose_db_version to postrider_api, postrider_delivery;

create table tenants (
  id uuid primary key,
  name text not null constraint tenants_name_unique unique,
  state text not null default 'active' check (state in ('active', 'suspended')),
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index tenants_list on tenants (created_at, id);
alter table tenants enable row level security;
alter table tenants force row level security;
create policy api_self on tenants for select to postrider_api using (id = app_tenant());
-- A login names its tenant; the caller sets the one name that it may look for.
create policy api_name on tenants for select to postrider_api
  using (name = nullif(current_setting('app.tenant_name', true), ''));
create policy api_operator on tenants to postrider_api using (app_operator()) with check (app_operator());
create policy delivery_all on tenants for select to postrider_delivery using (true);
create policy delivery_tenant on tenants as restrictive for select to postrider_delivery
  using (app_tenant() is null or id = app_tenant());
grant select, insert, update on tenants to postrider_api;
grant select on tenants to postrider_delivery;

create table tenant_settings (
  tenant_id uuid primary key references tenants (id),
  settings jsonb not null,
  updated_at timestamptz not null
);
call app_protect('tenant_settings', api => true, delivery => true);
grant select, insert, update on tenant_settings to postrider_api;
grant select on tenant_settings to postrider_delivery;

-- A tenant reads its quotas, the operator sets them.
create table tenant_quotas (
  tenant_id uuid primary key references tenants (id),
  messages_per_day bigint not null default 0 check (messages_per_day >= 0),
  messages_per_month bigint not null default 0 check (messages_per_month >= 0),
  queued bigint not null default 0 check (queued >= 0),
  updated_at timestamptz not null
);
call app_protect('tenant_quotas', api => false, delivery => false);
create policy api_self on tenant_quotas for select to postrider_api using (tenant_id = app_tenant());
create policy api_operator on tenant_quotas to postrider_api using (app_operator()) with check (app_operator());
grant select, insert, update on tenant_quotas to postrider_api;

create table users (
  tenant_id uuid not null references tenants (id),
  id uuid not null,
  email text,
  email_key text,
  name text not null default '',
  role text not null check (role in ('user', 'admin')),
  state text not null default 'active' check (state in ('active', 'suspended')),
  password_hash text,
  revoked_before timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id),
  constraint users_email_unique unique (tenant_id, email_key)
);
create index users_list on users (tenant_id, created_at, id);
call app_protect('users', api => true, delivery => false);
grant select, insert, update on users to postrider_api;

create table api_keys (
  tenant_id uuid not null references tenants (id),
  id uuid not null,
  user_id uuid not null,
  name text not null default '',
  role text not null check (role in ('user', 'admin')),
  scope text not null check (scope in ('full', 'sending')),
  test boolean not null default false,
  hash bytea not null check (length(hash) = 32),
  networks jsonb not null default '[]',
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  last_used_addr text,
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references users (tenant_id, id)
);
create index api_keys_list on api_keys (tenant_id, created_at, id);
create index api_keys_user on api_keys (tenant_id, user_id);
call app_protect('api_keys', api => true, delivery => false);
grant select, insert, update on api_keys to postrider_api;

-- A session is what a login began: a family of refresh tokens, of which the last one is good.
create table sessions (
  tenant_id uuid not null references tenants (id),
  id uuid not null,
  user_id uuid not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, user_id) references users (tenant_id, id)
);
create index sessions_user on sessions (tenant_id, user_id);
create index sessions_expiry on sessions (expires_at);
call app_protect('sessions', api => true, delivery => true);
grant select, insert, update on sessions to postrider_api;
grant select, delete on sessions to postrider_delivery;

create table refresh_tokens (
  tenant_id uuid not null references tenants (id),
  hash bytea not null check (length(hash) = 32),
  session_id uuid not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  primary key (tenant_id, hash),
  foreign key (tenant_id, session_id) references sessions (tenant_id, id) on delete cascade
);
create index refresh_tokens_session on refresh_tokens (tenant_id, session_id);
create index refresh_tokens_expiry on refresh_tokens (expires_at);
call app_protect('refresh_tokens', api => true, delivery => true);
grant select, insert, update on refresh_tokens to postrider_api;
grant select, delete on refresh_tokens to postrider_delivery;

create table revoked_tokens (
  tenant_id uuid not null references tenants (id),
  token_id text not null,
  user_id uuid,
  until timestamptz not null,
  created_at timestamptz not null,
  primary key (tenant_id, token_id)
);
create index revoked_tokens_expiry on revoked_tokens (until);
call app_protect('revoked_tokens', api => true, delivery => true);
grant select, insert, update on revoked_tokens to postrider_api;
grant select, delete on revoked_tokens to postrider_delivery;
